"""The sort for long lists against numpy's: the order by (score, account) is total, so both must agree exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.ground.sorting import BUCKETS, sort_by_score, sort_long_by_score

SCORE = st.one_of(
    st.floats(allow_nan=False), st.sampled_from([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, 5e-324])
)


@kernel
def long_sort(listed, scores, count, room, room_scores, starts):  # type: ignore[no-untyped-def]  # kernels have no types
    """Sort a long list."""
    sort_long_by_score(listed, scores, count, room, room_scores, starts)


@kernel
def short_sort(listed, scores, count):  # type: ignore[no-untyped-def]  # kernels have no types
    """Sort a short list."""
    sort_by_score(listed, scores, count)


@pytest.mark.kernel
@given(values=st.lists(SCORE, max_size=200), beyond=st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_the_long_sort_orders_by_score_and_then_by_account(values: list[float], beyond: int) -> None:
    count = len(values)
    listed = np.arange(count + beyond, dtype=np.int64) * 3
    scores = np.array([*values, *[-7.0] * beyond])
    order = np.lexsort((listed[:count], scores[:count]))
    wanted, wanted_scores = listed[:count][order].copy(), scores[:count][order].copy()
    twin, twin_scores = listed.copy(), scores.copy()
    room = np.zeros(count + beyond, np.int64)
    long_sort(listed, scores, count, room, np.zeros(count + beyond), np.zeros(BUCKETS + 1, np.int64))
    assert listed[:count].tolist() == wanted.tolist()
    assert (scores[:count] == wanted_scores).all()
    assert listed[count:].tolist() == twin[count:].tolist(), "what lies behind the list must stay"
    short_sort(twin, twin_scores, count)
    assert twin.tolist() == listed.tolist()
