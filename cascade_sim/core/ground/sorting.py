"""Sorting of short lists by score or by random word, without the allocations and the compile time of a general sort."""

import numpy as np

from cascade_sim.core.ground.compile import part, routine

LONG = 2048
"""Entries from which :func:`sort_long_by_score` pays."""
_DIGIT_BITS = 11
_DIGITS = 6
BUCKETS = 1 << _DIGIT_BITS
_DIGIT_MASK = np.uint64(BUCKETS - 1)
_SIGN = np.uint64(1 << 63)


@part
def _after(listed, scores, i, j):
    """Whether entry ``i`` belongs behind entry ``j``; equal scores are ordered by account."""
    return scores[i] > scores[j] or (scores[i] == scores[j] and listed[i] > listed[j])


@routine
def sort_by_score(listed, scores, count):
    """Sort the first ``count`` accounts of ``listed`` and their ``scores`` in place, lowest score first.

    Heapsort (Williams 1964): the order by (score, account) is total, so stability does not matter.
    """
    start = count // 2
    end = count
    while end > 1:
        if start > 0:
            start -= 1
        else:
            end -= 1
            listed[0], listed[end] = listed[end], listed[0]
            scores[0], scores[end] = scores[end], scores[0]
        root = start
        child = 2 * root + 1
        while child < end:
            if child + 1 < end and _after(listed, scores, child + 1, child):
                child += 1
            if not _after(listed, scores, child, root):
                break
            listed[root], listed[child] = listed[child], listed[root]
            scores[root], scores[child] = scores[child], scores[root]
            root = child
            child = 2 * root + 1


@routine
def sort_long_by_score(listed, scores, count, room, room_scores, starts):
    """As :func:`sort_by_score` for accounts listed in ascending order; many times as fast for tens of thousands.

    Radix sort by the bits of the scores, the lowest digit first; it keeps the order of equal scores.

    Parameters
    ----------
    listed, scores, count
        As for :func:`sort_by_score`.
    room, room_scores : int64 and float64, shape (n,)
        Room for as many.
    starts : int64, shape (BUCKETS + 1,)
        Room for the counts of a digit.
    """
    for k in range(count):
        scores[k] += 0.0  # a negative zero would come before the zero that it equals
    keys = scores.view(np.int64)
    others = room_scores.view(np.int64)
    for turn in range(0, _DIGITS, 2):
        _distribute(listed, keys, room, others, count, turn * _DIGIT_BITS, starts)
        _distribute(room, others, listed, keys, count, (turn + 1) * _DIGIT_BITS, starts)


@part
def _distribute(listed, keys, out, out_keys, count, shift, starts):
    """Put the entries in the order of one digit, those that share it in the order that they have."""
    for bucket in range(BUCKETS + 1):
        starts[bucket] = 0
    for k in range(count):
        starts[_digit(keys[k], shift) + 1] += 1
    for bucket in range(BUCKETS):
        starts[bucket + 1] += starts[bucket]
    for k in range(count):
        bucket = _digit(keys[k], shift)
        place = starts[bucket]
        starts[bucket] = place + 1
        out[place] = listed[k]
        out_keys[place] = keys[k]


@part
def _digit(key, shift):
    """Digit of a float's bits, so mapped that whole numbers of that order sort as the floats do."""
    bits = np.uint64(key)
    bits = ~bits if key < 0 else bits | _SIGN
    return np.int64((bits >> np.uint64(shift)) & _DIGIT_MASK)


@routine
def order_by_word(words, order, count, starts):
    """Put into ``order`` the numbers 0 .. count - 1 by their random words, lowest word first.

    One pass distributes them over as many buckets as there are entries, by their leading bits; what shares a bucket
    is then put in order by insertion. Equal words keep the order of their numbers.

    Parameters
    ----------
    words : int64, shape (n,)
        Random numbers of 63 bits.
    order : int64, shape (n,)
        Receives the order.
    count : int
        Entries.
    starts : int64, shape (2**k + 1,)
        Room for the buckets.
    """
    shift = 63
    buckets = 1
    while buckets < count and buckets < len(starts) - 1:
        buckets *= 2
        shift -= 1
    for bucket in range(buckets + 1):
        starts[bucket] = 0
    for k in range(count):
        starts[(words[k] >> shift) + 1] += 1
    for bucket in range(buckets):
        starts[bucket + 1] += starts[bucket]
    for k in range(count):
        bucket = words[k] >> shift
        order[starts[bucket]] = k
        starts[bucket] += 1
    for k in range(1, count):
        moved = order[k]
        hole = k
        while hole > 0 and words[order[hole - 1]] > words[moved]:
            order[hole] = order[hole - 1]
            hole -= 1
        order[hole] = moved
