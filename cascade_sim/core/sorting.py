"""Sorting of short lists by score or by random word, without the allocations and the compile time of a general sort."""

from cascade_sim.core.compile import part, routine


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
