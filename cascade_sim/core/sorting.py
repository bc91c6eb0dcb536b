"""Sorting of short lists of accounts by score, without the allocations and the compile time of a general sort."""

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
