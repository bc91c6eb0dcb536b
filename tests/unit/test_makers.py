"""Everybody who makes the market, in short runs beside twins in plain Python: each message of each phase is compared."""

from collections.abc import Iterable
from typing import Any

import pytest
from street_world import SENDERS, StreetWorld, late

import cascade_sim as cs

SEED = 3
STEPS = 40
SMALL: dict[str, Any] = {
    "run.steps": 1_200,
    "run.burn_in_steps": 8,
    "traders.count": 60,
    "traders.open_interest": 6_000.0,
    "traders.entrants.quantity": 80.0,
    "traders.entrants.share": 0.4,
    "traders.entrants.window_seconds": 25.0,
    "traders.entrants.trend_seconds": 5.0,
    "clearing.insurance_fund": 500.0,
    "liquidity.count": 4,
    "liquidity.levels": 4,
    "shock.at_seconds": 6.0,
    "shock.duration_seconds": 12.0,
}
FEW_ORDERS: dict[str, Any] = {
    "background.patient_orders": 30,
    "background.patient_lifetime_seconds": 60.0,
    "background.lifetime_seconds": 6.0,
}
TIGHT: dict[str, Any] = {
    "liquidity.inventory_limit": 8.0,
    "liquidity.loss_limit": 300.0,
    "liquidity.loss_pause_seconds": 6.0,
    "liquidity.reference_volatility": 5e-5,
    "liquidity.return_seconds": 5.0,
    "liquidity.volatility_smoothing_seconds": 2.0,
    "liquidity.volatility_return_seconds": 3.0,
    "liquidity.volatility_half_life_seconds": 5.0,
    "liquidity.fundamental_weight": 0.6,
    "liquidity.own_average_seconds": 5.0,
    "liquidity.belief_noise_seconds": 4.0,
    "shock.quantity": 400.0,
}
"""Providers whose limits a short run reaches."""
EAGER: dict[str, Any] = {
    "arbitrage.threshold": 1e-4,
    "arbitrage.rate_per_price": 50.0,
    "arbitrage.rate_cap": 7.77,
    "arbitrage.position_cap": 60.0,
    "value_traders.threshold": 1e-3,
    "value_traders.rate_per_price": 3.333,
    "value_traders.rate_cap": 5.0,
    "value_traders.position_cap": 20.0,
    "value_traders.signal_seconds": 10.0,
    "liquidity.fundamental_weight": 0.1,
}
"""Traders against the value who come to their caps."""
SANTA_FE: dict[str, Any] = {
    "background": {"name": "santa_fe", "window_ticks": 60, "limit_rate": 0.02, "cancel_rate": 0.1}
}
QUEUES: dict[str, Any] = {
    "background": {
        "name": "cont_stoikov_talreja",
        "market_rate": 1.0,
        "limit_rates": [2.0, 1.5, 1.0],
        "cancel_rates": [0.3, 0.25, 0.4],
    }
}
WILD: dict[str, Any] = {
    "background.distance_cap": 0.001,
    "background.distance_tail": 0.6,
    "background.value_sensitivity": 100.0,
    "background.imbalance_strength": 2.0,
    "background.market_limit": 0.0003,
    "liquidity.fundamental_weight": 0.3,
}
"""Background flow at its bounds."""
BUY: dict[str, Any] = {"shock.side": "buy", "shock.news": 0.018}


def short(name: str, **changes: Any) -> cs.Scenario:
    """Return a scenario of the library with few accounts and fast clocks."""
    few = {} if "background" in changes else FEW_ORDERS
    return cs.load_scenario(name).with_overrides({**SMALL, **few, **changes})


def run(scenario: cs.Scenario, steps: int = STEPS, seed: int = SEED) -> StreetWorld:
    """Run a scenario beside its twins."""
    world = StreetWorld(scenario, seed)
    world.run(SMALL["run.burn_in_steps"] + steps)
    return world


def require(world: StreetWorld, happened: Iterable[str]) -> None:
    """Assert that a run has something to show for itself."""
    assert not set(happened) - world.seen(), sorted(world.seen())


@pytest.mark.parametrize(
    ("name", "happened"),
    [
        ("calm", ["quote", "background", "speculation", "dealers within the band"]),
        ("gamma_shock", ["shrunk", "trade: delta_hedge", "value sells", "entrants turned by a fall"]),
        ("gamma_shock_halted", ["shrunk", "trade: shock", "halted", "reopened"]),
        ("long_gamma", ["dealers buys", "trade: delta_hedge"]),
        ("long_squeeze", ["shrunk", "value sells"]),
        ("short_squeeze", ["shrunk", "value buys", "entrants turned by a rise"]),
        ("spot_and_perpetual", ["cross sells", "trade: arbitrage", "trade: value"]),
    ],
)
def test_the_library_is_what_its_twins_send(name: str, happened: list[str]) -> None:
    changes = {"venue.circuit_breaker.halt_seconds": [7.0]} if name == "gamma_shock_halted" else {}
    require(run(short(name, **changes)), happened)


@pytest.mark.parametrize("sender", [*SENDERS, "everybody"])
def test_messages_under_way_are_those_that_twins_send(sender: str) -> None:
    changes = TIGHT | EAGER if sender in ("value_traders", "arbitrage") else TIGHT
    world = run(short("gamma_shock", **changes, **late(*(SENDERS if sender == "everybody" else [sender]))))
    causes = {
        "background": ["background"],
        "liquidity_providers": ["quote", "cancellation: quote_revision"],
        "value_traders": ["value"],
        "arbitrage": ["arbitrage"],
        "leveraged_traders": ["speculation"],
        "dealers": ["delta_hedge"],
    }
    require(world, causes.get(sender, [cause for some in causes.values() for cause in some]))


def test_a_provider_that_has_lost_too_much_sends_for_its_quotes() -> None:
    world = StreetWorld(short("gamma_shock", **TIGHT, **late("dealers")), SEED)
    world.run(SMALL["run.burn_in_steps"] + 8)
    world.delay("quote")
    world.run(12)
    require(world, ["cancellation: withdrawal", "cancellation: quote_revision"])


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("changes", "happened"),
    [
        (
            TIGHT,
            ["withdrawal", "return", "skew capped", "full", "shrunk", "arbitrage buys", "arbitrage sells"],
        ),
        (TIGHT | BUY | {"liquidity.requote_seconds": 3.0}, ["withdrawal", "return", "full"]),
        (TIGHT | {"switches.liquidity_withdrawal": False}, ["quote"]),
        (EAGER, ["value full", "arbitrage full", "arbitrage buys", "arbitrage sells", "trade: value"]),
        (EAGER | BUY, ["value full", "value buys", "arbitrage fastest"]),
        (WILD, ["flow farthest", "flow tilted most", "trade: background"]),
        ({"traders.entrants.trend_seconds": 0.3}, ["entrants turned by a fall", "trade: speculation"]),
        (EAGER | {"run.dt": 0.5, "run.steps": 2_400}, ["trade: shock", "value fastest"]),
        ({"dealers.hedging.interval_seconds": 1.0}, ["trade: delta_hedge", "dealers sells"]),
        ({"switches.delta_hedging": False, "switches.arbitrage": False}, ["trade: shock"]),
    ],
    ids=[
        "tight",
        "tight-and-slow",
        "no-withdrawal",
        "eager",
        "eager-for-a-rise",
        "wild",
        "short-look-back",
        "half-a-second",
        "hedges-together",
        "no-hedging",
    ],
)
def test_limits_are_reached_as_the_twins_reach_them(changes: dict[str, Any], happened: list[str]) -> None:
    require(run(short("gamma_shock", **changes)), happened)


@pytest.mark.kernel
@pytest.mark.parametrize("providers", [0, 4])
@pytest.mark.parametrize("flow", [SANTA_FE, QUEUES], ids=["santa_fe", "queues"])
def test_flows_whose_rates_follow_the_book(flow: dict[str, Any], providers: int) -> None:
    changes = flow | {"liquidity.count": providers}
    require(run(short("gamma_shock", **changes)), ["background", "trade: background", "trade: shock"])
    require(run(short("gamma_shock", **changes, **late("background")), 10), ["background"])


def test_a_shock_that_would_begin_in_a_halt_begins_after_it() -> None:
    rules = {"venue.circuit_breaker.levels": [0.0003], "venue.circuit_breaker.halt_seconds": [9.0]}
    world = StreetWorld(short("gamma_shock_halted", **rules), SEED)
    world.run(SMALL["run.burn_in_steps"] + 7)
    assert "halted" in world.seen()
    assert not world.compared["shock"]
    world.run(20)
    require(world, ["reopened", "trade: shock"])


@pytest.mark.kernel
def test_a_book_that_empties() -> None:
    thin = {"background.patient_orders": 2, "background.limit_rate": 0.5, "liquidity.count": 0}
    require(run(short("gamma_shock", **thin)), ["background", "one-sided", "trade: background"])


@pytest.mark.kernel
@pytest.mark.parametrize("quantity", [0.0, 1.0])
def test_a_placebo_is_one_lot_more(quantity: float) -> None:
    changes = {"switches.placebo": True, "shock.quantity": quantity, "shock.news": 0.0}
    world = run(short("gamma_shock", **changes), 20)
    assert world.compared["shock"] == (12 if quantity else 1)
    require(world, ["trade: shock"])


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("changes", "happened"),
    [
        ({"lot_size": 0.025, "tick_size": 0.25}, ["cross full", "cross buys"]),
        ({}, ["one-sided", "cross sells"]),
    ],
    ids=["other-units", "thin"],
)
def test_arbitrage_between_markets(changes: dict[str, Any], happened: list[str]) -> None:
    spot: dict[str, Any] = {
        "market": changes,
        "cross_arbitrage": {"position_cap": 12.0, "threshold": 1e-4, "rate_per_price": 3.33},
    }
    if not changes:
        spot["liquidity"] = {"count": 0}
        spot["background"] = {"patient_orders": 1, "limit_rate": 1.0}
    more = {"portfolios.count": 0, "index.sources": {}} | BUY if changes else {}
    require(
        run(short("spot_and_perpetual", **more, **{"markets.spot": spot})), ["trade: arbitrage", *happened]
    )
