"""The index of stop-losses, take-profits and margin calls against a flat scan over all traders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cascade_sim.core.actors.guard_index import reached, set_guards
from cascade_sim.core.drivers.state import State, allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.layout.book import WINDOW

TRADERS = 10
PRICE = st.one_of(st.just(0.0), st.floats(0.25, 9.0, width=32), st.integers(1, 9).map(float), st.just(3e5))
MOVE = st.tuples(
    st.integers(0, TRADERS - 1), st.sampled_from([1, -1]), PRICE, PRICE, PRICE, st.floats(0.5, 10.0)
)


@kernel
def move(activity, number, side, stop, take, call):  # type: ignore[no-untyped-def]  # records have no static type
    """Set the triggers of one trader."""
    set_guards(activity, number, side, stop, take, call)


@kernel
def listed(activity, mark, out):  # type: ignore[no-untyped-def]  # records have no static type
    """List whose trigger the mark has reached."""
    return reached(activity, mark, out)


def by_scan(state: State, mark: float) -> list[int]:
    activity = state.world.activity
    side = activity.actors["side"][:TRADERS].astype(float)
    hit: NDArray[np.bool_] = np.zeros(TRADERS, bool)
    for price, against in (
        (activity.guards["stop"], 1.0),
        (activity.calls, 1.0),
        (activity.guards["profit"], -1.0),
    ):
        trigger = np.asarray(price[:TRADERS], np.float64)
        hit |= (trigger > 0.0) & (against * side * (mark - trigger) <= 0.0) & (side != 0.0)
    return np.flatnonzero(hit).tolist()


@pytest.mark.kernel
@settings(deadline=None, max_examples=60)
@given(moves=st.lists(MOVE, max_size=60))
def test_index_and_scan_agree_after_every_move(
    moves: list[tuple[int, int, float, float, float, float]],
) -> None:
    state = allocate_state(TRADERS, 0, 0)
    out = np.zeros(TRADERS, np.int64)
    for number, side, stop, take, call, mark in moves:
        move(state.world.activity, number, np.int64(side), stop, take, call)
        found = out[: listed(state.world.activity, mark, out)].tolist()
        assert len(found) == len(set(found))
        assert sorted(found) == by_scan(state, mark)


FAR = st.one_of(
    st.just(0.0),
    st.floats(1.0, 3e6, width=32),
    st.integers(1, 12).map(lambda k: k * WINDOW / 2),
    st.floats(1.0, 1e9, width=32),
)
FAR_MOVE = st.tuples(
    st.integers(0, TRADERS - 1), st.sampled_from([1, -1]), FAR, FAR, FAR, FAR.filter(lambda mark: mark > 0.0)
)


@pytest.mark.kernel
@settings(deadline=None, max_examples=60)
@given(moves=st.lists(FAR_MOVE, max_size=60))
def test_index_and_scan_agree_wherever_the_mark_goes(
    moves: list[tuple[int, int, float, float, float, float]],
) -> None:
    state = allocate_state(TRADERS, 0, 0)
    state.world.activity.config.count = TRADERS
    out = np.zeros(TRADERS, np.int64)
    for number, side, stop, take, call, mark in moves:
        move(state.world.activity, number, np.int64(side), stop, take, call)
        found = out[: listed(state.world.activity, mark, out)].tolist()
        assert len(found) == len(set(found))
        assert sorted(found) == by_scan(state, mark)
