"""Order latency and the engine's messages per step: what arrives when, and what must not change."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_model import raw_tables, small

import cascade_sim as cs
from cascade_sim.agents.liquidity_provider import LiquidityProviders
from cascade_sim.agents.options_dealer import OptionsDealers
from cascade_sim.core import layout as lay
from cascade_sim.core.layout import STANDARD
from cascade_sim.domain.enums import Cause, EventType
from cascade_sim.domain.errors import CapacityError, ScenarioError
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.model import needs_markets_driver

CLASSES = (
    "background",
    "liquidity_providers",
    "value_traders",
    "arbitrage",
    "leveraged_traders",
    "dealers",
    "liquidation",
    "participants",
)


def delayed(*classes: str, delay: float = 3.0, jitter: float = 0.0) -> dict[str, Any]:
    """Return the overrides that give classes latency."""
    changes: dict[str, Any] = {}
    for name in classes:
        changes[f"latency.{name}.delay_seconds"] = delay
        changes[f"latency.{name}.jitter_seconds"] = jitter
    return changes


def finished(**changes: Any) -> cs.CascadeModel:
    """Run a little gamma_shock."""
    model = cs.CascadeModel(small(**changes), rng=3)
    model.run()
    return model


def events_of(model: cs.CascadeModel, *types: EventType) -> Any:
    """Return the raw events of some types."""
    model.recorder.drain(model.state.tape)
    events = model.recorder.raw("events")
    return events[np.isin(events["type"], [int(kind) for kind in types])]


def test_without_latency_the_other_driver_is_not_needed() -> None:
    assert not needs_markets_driver(small())
    assert needs_markets_driver(small(**delayed("dealers")))
    assert needs_markets_driver(small(**delayed("dealers", delay=0.0, jitter=2.0)))
    assert needs_markets_driver(small(**{"latency.messages_per_step": 9}))


def test_a_limit_that_is_never_reached_changes_nothing() -> None:
    limited = finished(**{"latency.messages_per_step": 10**9})
    assert raw_tables(limited) == raw_tables(finished())
    assert int(limited.state.world.flight.fresh) == 0


def test_latency_of_those_who_send_nothing_changes_nothing() -> None:
    assert raw_tables(finished(**delayed("participants", jitter=2.0))) == raw_tables(finished())


@pytest.mark.kernel
def test_drivers_agree_on_orders_under_way() -> None:
    changes = {**delayed(*CLASSES, delay=1.0, jitter=1.5), "latency.messages_per_step": 400}
    fused, chunked, stepped = (cs.CascadeModel(small(**changes), rng=3) for _ in range(3))
    fused.run()
    for until in (-7, 1, 33, 41, 150):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    expected = raw_tables(fused)
    assert raw_tables(chunked) == expected
    assert raw_tables(stepped) == expected
    assert fused.state.accounts.tobytes() == stepped.state.accounts.tobytes()
    assert fused.state.world.flight.tobytes() == stepped.state.world.flight.tobytes()


@pytest.mark.parametrize("formation", ["order_book", "linear_impact"])
@pytest.mark.parametrize("limit", [0, 200])
def test_everything_is_conserved_with_orders_under_way(formation: str, limit: int) -> None:
    changes = {
        **delayed(*CLASSES, delay=2.0, jitter=2.0),
        "latency.messages_per_step": limit,
        "market.price_formation.name": formation,
        "market.taker_fee_rate": 0.001,
        "traders.stop_loss.share": 0.5,
        "clearing.insurance_fund": 1_000.0,
        "clearing.unwind_rate": 0.05,
        "shock.news": -0.1,
    }
    model = finished(**changes)
    result = collect(model)
    assert measure_conservation(model, result) == 0
    assert int(model.state.accounts["position"].sum()) == 0
    assert int(model.state.world.totals.crossed_books) == 0
    assert {"stop_loss", "hedge", "liquidation"} <= set(result.events["type"].astype(str))
    orders = result.events.query("type in ('stop_loss', 'hedge', 'unwind')")
    assert (orders["waited_seconds"].dropna() >= 0.0).all()
    assert (orders["waited_seconds"] >= 2.0).sum() > 5
    assert (result.events["filled"] <= result.events["quantity"] * (1.0 + 1e-12)).all()


HALTS = {"levels": [0.01], "halt_seconds": [15.0], "window_seconds": 60.0, "direction": "down"}
BESIDES: dict[str, dict[str, Any]] = {
    "halts": {"venue.circuit_breaker": HALTS},
    "caps": {"venue.open_interest_cap": 41_000.0},
    "markets": {"markets": {"futures": {"market": {"instrument": "ETH-FUT"}}}},
}


@pytest.mark.parametrize("name", BESIDES)
def test_latency_beside_other_mechanisms(name: str) -> None:
    changes = {**delayed(*CLASSES, delay=1.0, jitter=2.0), "latency.messages_per_step": 400, **BESIDES[name]}
    model = finished(**changes)
    for market in model.markets.values():
        totals = market.state.world.totals
        assert int(totals.cash) == int(totals.position) == int(totals.check_failures) == 0
        assert int(totals.crossed_books) == 0
        assert int(totals.trades) > 500
    if name == "halts":
        assert len(events_of(model, EventType.HALT)) > 0


def test_fills_are_attributed_to_the_event_that_arrived() -> None:
    model = finished(
        **delayed("leveraged_traders", "dealers", "liquidation"), **{"traders.stop_loss.share": 0.5}
    )
    result = collect(model)
    trades = pd.DataFrame(
        model.recorder.raw("trades")[["taker_event", "taker_cause", "quantity_lot", "step"]]
    )
    caused = trades[
        trades["taker_cause"].isin([int(Cause.STOP_LOSS), int(Cause.DELTA_HEDGE), int(Cause.LIQUIDATION)])
    ]
    filled = caused.groupby("taker_event")["quantity_lot"].sum()
    raw = events_of(model, EventType.STOP_LOSS, EventType.HEDGE, EventType.LIQUIDATION)
    expected = {int(row["event_id"]): int(row["filled"]) for row in raw if row["filled"] > 0}
    assert len(expected) > 10
    assert filled.to_dict() == expected
    steps = dict(zip(raw["event_id"], raw["step"], strict=True))
    assert all(
        steps[event] == step for event, step in zip(caused["taker_event"], caused["step"], strict=True)
    )
    assert set(raw["waited"].tolist()) == {3.0}
    assert len(result.events) > 0


def test_an_account_is_closed_by_one_order_at_a_time_and_never_turned() -> None:
    changes = {
        **delayed("leveraged_traders", "liquidation", delay=4.0, jitter=3.0),
        "traders.stop_loss.share": 0.9,
    }
    model = cs.CascadeModel(
        small(**changes, **{"traders.entrants.share": 0.0, "traders.entrants.quantity": 0.0}), rng=3
    )
    accounts = model.state.accounts
    margined = (accounts["traits"] & lay.FLAG_MARGINED) != 0
    signs = np.sign(accounts["position"][margined])
    while not model.finished:
        model.step()
        now = np.sign(accounts["position"][margined])
        assert np.isin(now * signs, (0, 1)).all()
        signs = np.where(now == 0, 0, signs)
    for kind in (EventType.LIQUIDATION, EventType.STOP_LOSS):
        events = events_of(model, kind)
        assert len(events) > 5
        for account in np.unique(events["account"]):
            mine = events[events["account"] == account]
            sent = mine["step"] - mine["waited"]
            assert (sent[1:] >= mine["step"][:-1]).all()
    both = events_of(model, EventType.LIQUIDATION, EventType.STOP_LOSS)
    assert (both["filled"] < both["quantity"]).any()


def test_dealers_count_the_hedges_that_are_under_way() -> None:
    settings = {"dealers.hedging": {"name": "clock", "interval_seconds": 2.0}, "shock.news": -0.06}
    model = cs.CascadeModel(small(**settings, **delayed("dealers", delay=7.0)), rng=3)
    world, accounts = model.state.world, model.state.accounts
    dealers = world.dealers[: model.populations[OptionsDealers].count]
    band = int(world.config.dealers.band)
    deltas, decided, sent = dealers["delta"].copy(), 0, 0
    while not model.finished:
        before = dealers["pending"].copy()
        hedges = dealers["hedges"].copy()
        model.step()
        due = dealers["delta"] != deltas
        position = accounts["position"][dealers["account"].astype(int)]
        gap = -np.floor(dealers["delta"] + 0.5) - position - dealers["pending"]
        assert (np.abs(gap[due]) < max(band, 1)).all()
        decided += int(due.sum())
        sent += int(((dealers["pending"] != before) & (dealers["hedges"] == hedges)).sum())
        deltas = dealers["delta"].copy()
    assert decided > 50
    assert sent > 3
    raw = events_of(model, EventType.HEDGE)
    assert len(raw) == int(dealers["hedges"].sum())
    assert set(raw["waited"].tolist()) == {7.0}
    under_way = int(np.abs(dealers["pending"]).sum())
    volume = int(raw["quantity"].sum()) + under_way
    at_once = finished(**settings)
    usual = int(events_of(at_once, EventType.HEDGE)["quantity"].sum())
    # Sending what is under way again would multiply the volume by delay over interval.
    assert volume < 2 * usual


class Buyer(cs.Participant):
    """Buys one unit in step 0."""

    def decide(self, market: Any) -> None:
        if market.step == 0:
            market.submit(cs.Side.BUY, 1.0)


@pytest.mark.kernel
def test_orders_of_participants_take_their_time() -> None:
    held = {}
    for delay in (0.0, 4.0):
        model = cs.CascadeModel(small(**delayed("participants", delay=delay)), rng=3)
        buyer = model.add_participant(Buyer(model))
        model.run(until=0)
        positions = []
        for _ in range(7):
            model.step()
            positions.append(int(model.state.accounts[buyer.account].position) > 0)
        held[delay] = positions.index(True)
    assert held == {0.0: 0, 4.0: 4}


PICKED: dict[str, Any] = {
    "run.steps": 30,
    "run.burn_in_steps": 10,
    "fundamental.volatility": 0.0,
    "background.limit_rate": 0.0,
    "background.market_rate": 0.0,
    "background.patient_orders": 0,
    "liquidity.half_spread_dispersion": 0.0,
    "liquidity.belief_noise": 0.0,
    "liquidity.fundamental_weight": 1.0,
    "liquidity.impact_per_unit": 0.0,
    "liquidity.size": 10.0,
    "switches.liquidity_withdrawal": False,
    "value_traders.rate_per_price": 0.0,
    "arbitrage.rate_per_price": 1e3,
    "arbitrage.rate_cap": 3.0,
    "traders.count": 0,
    "traders.open_interest": 0.0,
    "dealers.count": 0,
    "shock.quantity": 0.0,
    "shock.at_seconds": 5.0,
    "shock.duration_seconds": 1.0,
    "shock.news": 0.01,
}


@pytest.mark.kernel
@pytest.mark.parametrize("delay", [0, 1, 4, 9])
def test_stale_quotes_lose_in_proportion_to_their_delay(delay: int) -> None:
    # News moves the value once. Arbitrage then buys 3 units a second at the old best ask, which every late ladder
    # renews in full, until the first ladder that knows the news: the loss is exactly delay x rate x (value - ask).
    model = cs.CascadeModel(small(**PICKED, **delayed("liquidity_providers", delay=delay)), rng=3)
    model.run(until=5)
    ask = int(model.state.book.best_ask)
    world, providers = model.state.world, model.populations[LiquidityProviders].accounts
    start = int(model.state.accounts["cash"][providers].sum())
    model.run()
    rows = model.state.accounts[providers]
    lots = 300 * delay
    assert int(rows["position"].sum()) == -lots
    atoms = int(world.config.atoms)
    assert int(rows["cash"].sum()) - start == lots * ask * atoms
    loss = lots * (float(world.market.fundamental) - ask) * atoms
    assert loss == pytest.approx(300 * delay * (22_000 * np.exp(0.01) - 22_004) * atoms)


@pytest.mark.kernel
def test_the_engine_takes_no_more_messages_than_it_can() -> None:
    changes = {
        "latency.messages_per_step": 150,
        "background.limit_rate": 0.0,
        "background.patient_orders": 0,
        "liquidity.requote_seconds": 4.0,
    }
    model = cs.CascadeModel(small(**changes), rng=3)
    taken, waiting = [], []
    while not model.finished:
        before = int(model.state.book.messages)
        model.step()
        taken.append(int(model.state.book.messages) - before)
        waiting.append(int(model.state.world.flight.waiting))
    assert max(taken) == 150
    busy = np.array(waiting) > 0
    assert 10 < busy.sum() < 150
    # While orders wait the engine is never idle.
    assert set(np.array(taken)[busy].tolist()) == {150}
    series = collect(model).series
    queued = series["queue_accounts"].to_numpy() > 0
    assert (series["throughput_binding"].to_numpy() == (busy | queued)).all()


@pytest.mark.kernel
def test_too_many_orders_under_way_stop_the_run_by_name() -> None:
    model = cs.CascadeModel(small(**delayed("background")), rng=3)
    model.state.world.flight.fresh = STANDARD.messages - 1
    with pytest.raises(CapacityError, match="orders on their way to the book"):
        model.run()


def test_a_delay_that_no_step_can_show_is_refused() -> None:
    expected = r"^latency\.dealers\.delay_seconds: expected 0 or at least half a step, 0\.5 s \(run\.dt\), received 0\.3"
    with pytest.raises(ScenarioError, match=expected):
        small(**delayed("dealers", delay=0.3))
    assert small(**delayed("dealers", delay=0.3, jitter=1.0)).latency.is_active
