"""The queue of portfolios by distance to liquidation against a look at every portfolio after every move."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import post, refresh_triggers
from cascade_sim.core.clearing.looks import open_queue
from cascade_sim.core.clearing.portfolios import screen_portfolios
from cascade_sim.core.drivers.state import System, allocate_system
from cascade_sim.core.ground.compile import kernel

PORTFOLIOS = 6
FIRST = 2
START = (1000.0, 400.0, 30.0)
RATES = ((0.02, 0.05), (0.01, 0.01), (0.10, 0.25))
ATOMS = (7, 1000, 3)


@kernel
def screen(worlds, accounts, watch, tapes, portfolios):  # type: ignore[no-untyped-def]  # records have no static type
    """Look at those whose turn has come."""
    screen_portfolios(worlds, accounts, watch, tapes, portfolios)


@kernel
def trade(w, accounts, watch, account, lots, amount):  # type: ignore[no-untyped-def]
    """Change a leg as a fill would."""
    post(w, accounts, account, -amount)
    post(w, accounts, w.config.external_account, amount)
    accounts[account].position += lots
    refresh_triggers(w, accounts, watch, account)


def world(cash: int) -> System:
    system = allocate_system(FIRST + PORTFOLIOS, 0, [0, 0, 0], PORTFOLIOS)
    for number, w in enumerate(system.worlds):
        w.config.portfolio_account, w.config.portfolios = FIRST, PORTFOLIOS
        w.config.atoms, w.market.mark = ATOMS[number], START[number]
        w.config.clearing.tiers = 2
        w.config.clearing.tier_rate[:2] = RATES[number]
        w.config.clearing.tier_deduction[1] = 1e5 * (RATES[number][1] - RATES[number][0])
        rows = system.accounts[number]
        rows["traits"][FIRST:] = lay.FLAG_MARGINED | lay.FLAG_CROSS
        for portfolio in range(PORTFOLIOS):
            trade(w, rows, system.watch[number], FIRST + portfolio, 0, -cash)
    open_queue(system.worlds, system.portfolios)
    return system


def condition(system: System, portfolio: int) -> tuple[float, float, int]:
    """Slack, exposure and cash of a portfolio, in the order of addition that the kernels have."""
    worth = needed = exposed = 0.0
    cash = 0
    for number, w in enumerate(system.worlds):
        row = system.accounts[number][FIRST + portfolio]
        mark, atoms = float(w.market.mark), int(w.config.atoms)
        value = abs(int(row.position)) * mark * atoms
        tiers = zip(w.config.clearing.tier_rate[:2], w.config.clearing.tier_deduction[:2], strict=True)
        worth += int(row.cash) + int(row.position) * mark * atoms
        needed += max(0.0, *(value * float(rate) - float(deduction) for rate, deduction in tiers))
        exposed += value * (1.0 + float(max(w.config.clearing.tier_rate[:2])))
        cash += int(row.cash)
    return worth - needed, exposed, cash


def by_scan(system: System) -> set[int]:
    found = set()
    for portfolio in range(PORTFOLIOS):
        slack, exposed, cash = condition(system, portfolio)
        if (cash < 0) if exposed == 0.0 else (slack <= 0.0):
            found.add(portfolio)
    return found


def by_queue(system: System) -> set[int]:
    any_price = [np.isinf(watch[lay.WATCH_LIQUIDATE_LONG, FIRST:]) for watch in system.watch]
    return set(np.flatnonzero(np.logical_or.reduce(any_price)).tolist())


def screened(system: System) -> None:
    s = system
    screen(s.worlds, s.accounts, s.watch, s.tapes, s.portfolios)


MOVE = st.tuples(*(st.floats(-0.03, 0.03) for _ in START))
FILL = st.tuples(
    st.integers(0, 2), st.integers(0, PORTFOLIOS - 1), st.integers(-40, 40), st.floats(0.98, 1.02)
)


@pytest.mark.kernel
@given(
    steps=st.lists(st.tuples(MOVE, st.lists(FILL, max_size=4)), min_size=1, max_size=25),
    cash=st.integers(0, 60_000),
)
@settings(deadline=None, max_examples=60)
def test_queue_and_scan_find_the_same_portfolios_in_every_step(
    steps: list[tuple[tuple[float, ...], list[tuple[int, int, int, float]]]], cash: int
) -> None:
    system = world(cash)
    total = [int(rows["cash"].sum()) for rows in system.accounts]
    for moves, fills in steps:
        for w, move in zip(system.worlds, moves, strict=True):
            w.market.mark = float(w.market.mark) * math.exp(move)
        for number, portfolio, lots, price in fills:
            w = system.worlds[number]
            amount = lots * round(float(w.market.mark) * price * int(w.config.atoms))
            trade(w, system.accounts[number], system.watch[number], FIRST + portfolio, lots, amount)
        before = [condition(system, portfolio) for portfolio in range(PORTFOLIOS)]
        screened(system)
        assert by_queue(system) == by_scan(system)
        after = [condition(system, portfolio) for portfolio in range(PORTFOLIOS)]
        for old, new in zip(before, after, strict=True):
            assert old[2] == new[2]
            assert old[0] == pytest.approx(new[0], rel=1e-9, abs=1e-3)
        heap = system.portfolios
        places = sorted(int(row.place) for row in heap)
        assert places == list(range(PORTFOLIOS))
        for place in range(1, PORTFOLIOS):
            assert heap[int(heap[(place - 1) // 2].entry)].due <= heap[int(heap[place].entry)].due
    assert [int(rows["cash"].sum()) for rows in system.accounts] == total


@pytest.mark.kernel
def test_legs_of_a_distressed_portfolio_have_its_margin_ratio() -> None:
    system = world(20_000)
    for number, lots in ((0, 30), (2, -60)):
        w = system.worlds[number]
        amount = round(lots * START[number] * ATOMS[number])
        trade(w, system.accounts[number], system.watch[number], FIRST, lots, amount)
    system.worlds[0].market.mark = START[0] * 0.735
    screened(system)
    assert by_queue(system) == {0}
    ratios = []
    for number, w in enumerate(system.worlds):
        row, mark = system.accounts[number][FIRST], float(w.market.mark)
        worth = int(row.cash) + int(row.position) * mark * ATOMS[number]
        value = abs(int(row.position)) * mark * ATOMS[number]
        if int(row.position) == 0:
            assert int(row.cash) == 0
            continue
        rates, deductions = w.config.clearing.tier_rate[:2], w.config.clearing.tier_deduction[:2]
        ratios.append(
            worth / max(value * float(r) - float(d) for r, d in zip(rates, deductions, strict=True))
        )
    assert len(ratios) == 2
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)
    assert 0.0 < ratios[0] <= 1.0


@pytest.mark.kernel
def test_a_calm_market_looks_at_few_portfolios() -> None:
    system = world(60_000)
    for portfolio in range(PORTFOLIOS):
        amount = round(10 * START[0] * ATOMS[0])
        trade(system.worlds[0], system.accounts[0], system.watch[0], FIRST + portfolio, 10, amount)
    screened(system)
    looks = 0
    rng = np.random.default_rng(1)
    for _ in range(200):
        dues = system.portfolios["due"].copy()
        system.worlds[0].market.mark = float(system.worlds[0].market.mark) * math.exp(rng.normal(0.0, 1e-4))
        screened(system)
        looks += int(np.count_nonzero(system.portfolios["due"] != dues))
    assert looks < 0.02 * 200 * PORTFOLIOS
    assert not by_queue(system)
