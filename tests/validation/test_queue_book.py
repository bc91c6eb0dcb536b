"""Cont, Stoikov and Talreja (2010) on the real book: the direction of the next move of the mid, given both best queues.

Sources: parameters of their table 2 (the scenario defaults); exact solution in ``reference.queues``.
"""

from typing import Any

import numpy as np
import pytest
from reference.queues import probability_up
from scipy.stats import chi2

import cascade_sim as cs
from cascade_sim.core.actors.background import rate_driven_flow
from cascade_sim.core.clearing.ledger import place
from cascade_sim.core.ground.compile import kernel
from cascade_sim.domain.enums import Cause, OrderType

PATHS = 20_000
TICK = 20_000
SHORTEST, LONGEST = 1, 5
EVERYTHING = np.int64(1_000_000)
BEHIND = 5
"""Levels of the flow; one order on each level behind the best gives the mid somewhere to move to."""

_MARKET = np.int64(OrderType.MARKET)
_LIMIT = np.int64(OrderType.LIMIT)
_BACKGROUND = np.int64(Cause.BACKGROUND)
_NO_EVENT = np.int64(-1)


def quiet_book() -> cs.Scenario:
    """Queue flow alone, five levels per side.

    A step sees where the mid ended, not where it went first. At 0.2 s a move and its return within one step shift a
    probability by less than 0.001, a quarter of the standard error of a cell.
    """
    return cs.load_scenario("gamma_shock").with_overrides(
        {
            "background": {"name": "cont_stoikov_talreja"},
            # The flow is a crowd that shares one account, so its orders must be able to meet.
            "market.self_trade": "allow",
            "run.dt": 0.2,
            "run.steps": 1,
            "run.burn_in_steps": 0,
            "run.record": "summary",
            "traders.count": 0,
            "traders.open_interest": 0.0,
            "traders.entrants.quantity": 0.0,
            "traders.entrants.trend_seconds": 1.0,
            "dealers.count": 0,
            "liquidity.count": 0,
            "shock.quantity": 0.0,
            "shock.news": 0.0,
        }
    )


@kernel
def _queue_up(w, book, accounts, watch, tape, bid, ask):  # type: ignore[no-untyped-def]
    """Empty the book and line up ``bid`` and ``ask`` unit orders one tick apart."""
    owner = w.config.background_account
    size = w.config.flow.order_size
    for side in (1, -1):
        place(w, book, accounts, watch, tape, owner, side, 0, EVERYTHING, _MARKET, _BACKGROUND, _NO_EVENT)
    for side in (1, -1):
        best = TICK if side > 0 else TICK + 1
        for _ in range(bid if side > 0 else ask):
            place(w, book, accounts, watch, tape, owner, side, best, size, _LIMIT, _BACKGROUND, _NO_EVENT)
        for level in range(1, BEHIND):
            tick = best - side * level
            place(w, book, accounts, watch, tape, owner, side, tick, size, _LIMIT, _BACKGROUND, _NO_EVENT)


@kernel
def _moves_up(w, book, accounts, watch, tape, bid, ask, paths):  # type: ignore[no-untyped-def]
    """Of ``paths`` paths, how many move the mid up first. Draws are addressed by step, which never repeats."""
    ups = 0
    for _ in range(paths):
        _queue_up(w, book, accounts, watch, tape, bid, ask)
        start = w.market.mid
        while w.market.mid == start:
            rate_driven_flow(w, book, accounts, watch, tape)
            w.control.step += 1
        if w.market.mid > start:
            ups += 1
    return ups


def flow_arguments(seed: int) -> tuple[Any, ...]:
    """State of a fresh world as the flow's kernels take it."""
    state = cs.CascadeModel(quiet_book(), rng=seed).state
    return state.world, state.book, state.accounts, state.watch, state.tape


def table_two() -> tuple[float, float, float]:
    """Arrival, market and cancellation rate at the best quotes, from the scenario."""
    background = quiet_book().background
    assert background.name == "cont_stoikov_talreja"
    return background.limit_rates[0], background.market_rate, background.cancel_rates[0]


def test_exact_solution_is_the_published_one() -> None:
    exact = probability_up(*table_two())
    published = {(1, 2): 0.336, (2, 1): 0.664, (1, 1): 0.5, (5, 5): 0.5, (5, 1): 0.812, (3, 4): 0.437}
    for queues, value in published.items():
        assert exact[queues] == pytest.approx(value, abs=1.1e-3)


def test_set_up_gives_the_queues_asked_for() -> None:
    world, book, accounts, watch, tape = flow_arguments(seed=1)
    _queue_up(world, book, accounts, watch, tape, 3, 2)
    size = int(world.config.flow.order_size)
    assert (int(book.best_bid), int(book.best_ask)) == (TICK, TICK + 1)
    levels = book.levels["quantity_lot"][TICK - 1 : TICK + 3] // size
    assert levels.tolist() == [1, 3, 2, 1]
    assert int(book.live_orders) == 3 + 2 + 2 * (BEHIND - 1)


@pytest.mark.slow
def test_direction_of_the_next_move() -> None:
    arguments = flow_arguments(seed=5)
    exact = probability_up(*table_two())
    deviations = {}
    for bid in range(SHORTEST, LONGEST + 1):
        for ask in range(SHORTEST, LONGEST + 1):
            expected = exact[bid, ask]
            error = np.sqrt(expected * (1.0 - expected) / PATHS)
            deviations[bid, ask] = (_moves_up(*arguments, bid, ask, PATHS) / PATHS - expected) / error
    outside = {queues: value for queues, value in deviations.items() if abs(value) >= 4.0}
    assert not outside
    # All cells together, so that a bias too small for any one of them is seen.
    assert chi2.sf(sum(value**2 for value in deviations.values()), len(deviations)) > 1e-3
    world, book, accounts = arguments[:3]
    assert int(accounts["cash"].sum()) == 0
    assert int(accounts["position"].sum()) == 0
    assert int(world.totals.cash) == 0
    assert int(book.status) == 0
