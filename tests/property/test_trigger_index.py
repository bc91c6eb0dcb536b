"""The index of liquidation triggers against a flat scan over all accounts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_model import small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.trigger_index import lots_between, set_triggers, triggered
from cascade_sim.core.drivers.state import State, allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.layout.book import WINDOW

ACCOUNTS = 12
PRICE = st.one_of(st.floats(0.2, 9.0), st.integers(1, 9).map(float), st.just(3e5))
MARK = st.one_of(st.floats(0.5, 10.0), st.integers(1, 9).map(float))
TRIGGER = st.one_of(
    st.tuples(PRICE, st.just(np.inf)),
    st.tuples(st.just(0.0), PRICE),
    st.sampled_from([(0.0, np.inf), (np.inf, np.inf)]),
)


@kernel
def move(w, accounts, watch, account, low, high):  # type: ignore[no-untyped-def]  # records have no static type
    """Set the triggers of one account."""
    set_triggers(w, accounts, watch, account, low, high)


@kernel
def listed(w, accounts, watch, out, scores):  # type: ignore[no-untyped-def]  # records have no static type
    """List who has triggered."""
    return triggered(w, accounts, watch, out, scores)


def by_index(state: State) -> list[int]:
    out = np.zeros(len(state.accounts), np.int64)
    return out[: listed(state.world, state.accounts, state.watch, out, np.zeros(len(out)))].tolist()


def by_scan(state: State) -> list[int]:
    mark = float(state.world.market.mark)
    watch: NDArray[np.float64] = state.watch
    hit = (mark <= watch[lay.WATCH_LIQUIDATE_LONG]) | (mark >= watch[lay.WATCH_LIQUIDATE_SHORT])
    return np.flatnonzero(hit).tolist()


@pytest.mark.kernel
@given(
    moves=st.lists(st.tuples(st.integers(0, ACCOUNTS - 1), TRIGGER, MARK), max_size=60),
)
@settings(deadline=None, max_examples=60)
def test_index_and_scan_agree_after_every_move(
    moves: list[tuple[int, tuple[float, float], float]],
) -> None:
    state = allocate_state(ACCOUNTS, 0, 0)
    for account, (low, high), mark in moves:
        move(state.world, state.accounts, state.watch, account, low, high)
        state.world.market.mark = mark
        assert by_index(state) == by_scan(state)


FAR = st.one_of(st.floats(0.5, 3e6), st.integers(1, 12).map(lambda k: k * WINDOW / 2), st.floats(1.0, 2e9))
FAR_TRIGGER = st.one_of(
    st.tuples(FAR, st.just(np.inf)),
    st.tuples(st.just(0.0), FAR),
    st.sampled_from([(0.0, np.inf), (np.inf, np.inf)]),
)


@pytest.mark.kernel
@given(
    moves=st.lists(st.tuples(st.integers(0, ACCOUNTS - 1), FAR_TRIGGER, FAR), max_size=60), lots=st.booleans()
)
@settings(deadline=None, max_examples=60)
def test_index_and_scan_agree_wherever_the_mark_goes(
    moves: list[tuple[int, tuple[float, float], float]], lots: bool
) -> None:
    state = allocate_state(ACCOUNTS, 0, 0)
    state.accounts["position"] = 1
    for account, (low, high), mark in moves:
        move(state.world, state.accounts, state.watch, account, low, high)
        state.world.market.mark = mark
        if lots:
            for row in (lay.WATCH_LIQUIDATE_LONG, lay.WATCH_LIQUIDATE_SHORT):
                prices = state.watch[row]
                expected = int(((0.9 * mark <= prices) & (prices <= mark)).sum())
                assert (
                    lots_between(state.world, state.accounts, state.watch, row, 0.9 * mark, mark) == expected
                )
        assert by_index(state) == by_scan(state)


@pytest.mark.kernel
@given(
    moves=st.lists(st.tuples(st.integers(0, ACCOUNTS - 1), TRIGGER), max_size=60),
    bounds=st.lists(st.tuples(st.floats(0.2, 10.0), st.floats(0.0, 9.0)), min_size=1, max_size=5),
)
@settings(deadline=None, max_examples=60)
def test_lots_within_a_range_are_those_of_a_scan(
    moves: list[tuple[int, tuple[float, float]]], bounds: list[tuple[float, float]]
) -> None:
    state = allocate_state(ACCOUNTS, 0, 0)
    state.accounts["position"] = np.arange(ACCOUNTS) * np.where(np.arange(ACCOUNTS) % 2, 3, -5)
    for account, (low, high) in moves:
        move(state.world, state.accounts, state.watch, account, low, high)
    lots = np.abs(state.accounts["position"])
    for row in (lay.WATCH_LIQUIDATE_LONG, lay.WATCH_LIQUIDATE_SHORT):
        for low, width in bounds:
            prices = state.watch[row]
            expected = int(lots[(low <= prices) & (prices <= low + width)].sum())
            assert lots_between(state.world, state.accounts, state.watch, row, low, low + width) == expected


@pytest.mark.parametrize("side", ["sell", "buy"])
def test_index_and_scan_agree_in_every_step_of_a_cascade(side: str) -> None:
    news = -0.06 if side == "sell" else 0.06
    long_share = 0.9 if side == "sell" else 0.1
    changes = {"shock.side": side, "shock.news": news, "traders.long_share": long_share}
    model = cs.CascadeModel(small(**changes, **{"market.taker_fee_rate": 0.001}), rng=4)
    most = 0
    while not model.finished:
        model.step()
        found = by_index(model.state)
        assert found == by_scan(model.state)
        most = max(most, len(found))
    assert most > 10
    assert int(model.state.world.totals.liquidated_accounts) >= 30


@pytest.mark.kernel
@pytest.mark.parametrize("triggering", [1000, 1024, 1025, 1700, 3000])
def test_index_and_scan_agree_when_most_accounts_have_triggered(triggering: int) -> None:
    state = allocate_state(3000, 0, 0)
    state.world.market.mark = 5.0
    for account in range(3000):
        near = (account * 7) % 3000 < triggering
        long = account % 3 > 0
        price = (6.0 if near else 4.0) if long else (4.0 if near else 6.0)
        low, high = (price, np.inf) if long else (0.0, price)
        move(state.world, state.accounts, state.watch, account, low, high)
    found = by_index(state)
    assert len(found) == triggering
    assert found == by_scan(state)
