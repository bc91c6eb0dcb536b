"""A venue's rules: what passes its gate, and what halts do to a market."""

from typing import Any

import numpy as np
import pytest
from test_model import raw_tables, small
from venue_world import VenueWorld

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import AccountClass, Cause, OrderType
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.scenario.checks import MOST_LEVELS, MOST_WINDOW_STEPS

LIMIT, MARKET, IOC, FOK, POST_ONLY, SLIDE = (OrderType(code) for code in range(6))
BREAKER: dict[str, Any] = {
    "venue.circuit_breaker": {"levels": [0.02, 0.03], "halt_seconds": [20.0, 15.0], "direction": "down"}
}
BAND: dict[str, Any] = {
    "venue.price_band": {
        "half_width": 0.01,
        "average_seconds": 60.0,
        "update_seconds": 10.0,
        "limit_state_seconds": 5.0,
        "halt_seconds": 15.0,
    }
}
LOOSE: dict[str, Any] = {
    "venue.price_band": {"half_width": 0.9},
    "venue.circuit_breaker": {"levels": [0.9], "halt_seconds": [9.0], "window_seconds": 7.0},
    "venue.position_caps": {
        "leveraged_trader": 1e9,
        "liquidity_provider": 1e9,
        "shock": 1e9,
        "options_dealer": 1e9,
    },
    "venue.open_interest_cap": 1e9,
}


def ran(**changes: Any) -> cs.CascadeModel:
    model = cs.CascadeModel(small(**changes), rng=3)
    model.run()
    return model


def with_band(lower: int, upper: int) -> VenueWorld:
    """Bids at 98 and 96, asks at 102 and 104, and the band put around them."""
    world = VenueWorld(100)
    for account, side, tick in ((0, 1, 98), (0, 1, 96), (1, -1, 102), (1, -1, 104)):
        world.place(account, side, tick, 5)
    world.rules.band, world.venue.lower, world.venue.upper = 1, lower, upper
    return world


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("kind", "side", "tick", "filled", "rests_at"),
    [
        (MARKET, 1, 0, 5, None),
        (MARKET, -1, 0, 5, None),
        (IOC, 1, 110, 5, None),
        (IOC, -1, 1, 5, None),
        (FOK, 1, 110, 0, None),
        (LIMIT, 1, 110, 5, 103),
        (LIMIT, -1, 90, 5, 97),
        (LIMIT, 1, 102, 5, 102),
        (LIMIT, 1, 96, 0, None),
        (LIMIT, -1, 104, 0, None),
        (LIMIT, 1, 97, 0, 97),
        (POST_ONLY, 1, 103, 0, None),
        (POST_ONLY, 1, 101, 0, 101),
        (POST_ONLY, 1, 95, 0, None),
        (SLIDE, 1, 103, 0, 101),
        (SLIDE, -1, 120, 0, None),
    ],
)
def test_orders_at_a_price_band(
    kind: OrderType, side: int, tick: int, filled: int, rests_at: int | None
) -> None:
    world = with_band(97, 103)
    before = world.queues()
    order_id, done = world.place(2, side, tick, 8, kind)
    assert done == filled
    mine = {tick: lots for tick, queue in world.queues().items() for owner, lots in queue if owner == 2}
    assert mine == ({} if rests_at is None else {rests_at: 8 - filled})
    assert (order_id != 0) == (rests_at is not None)
    assert set(before) - {98, 102} <= set(world.queues())


@pytest.mark.kernel
def test_a_quote_beyond_the_band_slides_to_its_limit() -> None:
    world = with_band(99, 103)
    world.state.book.best_bid = 0
    assert world.place(2, -1, 97, 3, SLIDE)[0] != 0
    assert world.queues()[99] == [(2, 3)]


@pytest.mark.kernel
def test_a_band_that_moves_takes_what_could_trade_outside_it_along() -> None:
    world = with_band(90, 110)
    world.rules.levels, world.rules.half_width, world.rules.average_memory = 0, 0.03, 1.0
    world.rules.band_reference = lay.BAND_INDEX
    world.state.world.market.fundamental = 107.0
    world.begin_step(0)
    # The band is 104 to 110: nobody may buy at 102, and the bid at 98 can wait for the band to come back.
    assert (int(world.venue.lower), int(world.venue.upper)) == (104, 110)
    assert world.queues() == {96: [(0, 5)], 98: [(0, 5)], 104: [(1, 5)]}
    assert world.place(2, -1, 90, 5, IOC) == (0, 0)


@pytest.mark.kernel
def test_a_position_cap_counts_what_rests_and_never_holds_back_a_reduction() -> None:
    world = VenueWorld(100)
    world.place(0, 1, 90, 50)
    world.place(1, -1, 110, 50)
    world.rules.position_cap[AccountClass.PARTICIPANT] = 10
    assert world.place(2, 1, 110, 30, IOC) == (0, 10)
    assert world.place(2, 1, 95, 5) == (0, 0)
    assert world.place(2, -1, 105, 16)[0] != 0
    assert world.queues()[105] == [(2, 16)]
    # 10 long and 16 for sale: 4 more may be offered, but the 10 may be sold whatever rests.
    assert world.place(2, -1, 104, 6)[0] != 0
    assert world.queues()[104] == [(2, 6)]
    assert world.place(2, -1, 90, 10, IOC) == (0, 10)
    assert world.place(2, -1, 90, 1, IOC) == (0, 0)
    assert world.place(3, 1, 108, 30, LIMIT) == (0, 10)
    assert int(abs(world.state.accounts["position"][:3]).max()) == 10


@pytest.mark.kernel
def test_an_open_interest_cap_lets_positions_change_hands() -> None:
    world = VenueWorld(100)
    world.place(0, 1, 90, 50)
    world.place(1, -1, 110, 50)
    world.rules.open_interest_cap = 12
    assert world.place(2, 1, 110, 30, IOC) == (0, 12)
    assert world.place(3, 1, 110, 1, IOC) == (0, 0)
    # Six lots of the buyer go to the bidder; a seller who had none would open a position.
    assert world.place(2, -1, 90, 6, IOC) == (0, 6)
    assert world.place(3, -1, 90, 1, IOC) == (0, 0)
    assert int(world.state.world.totals.open_interest) == 12
    assert world.place(3, 1, 100, 7)[0] != 0
    assert world.place(1, -1, 100, 7, IOC) == (0, 0)
    assert world.place(2, -1, 100, 9, IOC) == (0, 6)
    assert int(world.state.world.totals.open_interest) == 12


@pytest.mark.kernel
def test_rules_that_never_bind_change_nothing() -> None:
    free, bound = ran(), ran(**LOOSE)
    assert raw_tables(free) == raw_tables(bound)
    assert free.state.accounts.tobytes() == bound.state.accounts.tobytes()


@pytest.mark.kernel
@pytest.mark.parametrize("rules", [BREAKER, BAND])
def test_drivers_agree_through_halts_and_auctions(rules: dict[str, Any]) -> None:
    fused, chunked, stepped = (cs.CascadeModel(small(**rules), rng=3) for _ in range(3))
    fused.run()
    for until in (-7, 1, 33, 41, 150):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    expected = raw_tables(fused)
    assert np.frombuffer(expected["series.halted"], np.int8).sum() > 20
    assert raw_tables(chunked) == expected
    assert raw_tables(stepped) == expected
    assert (
        fused.state.accounts.tobytes() == stepped.state.accounts.tobytes() == chunked.state.accounts.tobytes()
    )


@pytest.mark.parametrize(("rules", "rule"), [(BREAKER, "circuit_breaker"), (BAND, "price_band")])
def test_a_halted_market_stands_still_and_reopens(rules: dict[str, Any], rule: str) -> None:
    model = ran(**rules, **{"market.taker_fee_rate": 0.0005, "market.maker_fee_rate": -0.0002})
    result = collect(model)
    assert measure_conservation(model, result) == 0
    series = result.series.set_index("step")
    halts, resumes = (result.events.query(f"type == '{kind}'") for kind in ("halt", "resume"))
    assert set(halts["rule"]) == set(resumes["rule"]) == {rule}
    assert resumes["parent_event_id"].tolist() == halts["event_id"].tolist()[: len(resumes)]
    assert (halts["side"] == -1).all()
    ends = [*resumes["step"], len(series)][: len(halts)]
    halted = {step for first, end in zip(halts["step"], ends, strict=True) for step in range(first, end)}
    assert set(series.index[series["halted"]]) == {step for step in halted if step in series.index}
    assert not set(result.trades["step"]) & halted
    forced = result.events.query("type in ('liquidation', 'takeover', 'hedge', 'stop_loss', 'shock')")
    assert not set(forced["step"]) & halted
    still = series[series["halted"]]
    assert still["mid"].isna().all()
    assert (still["mark"] == series["mark"].shift()[still.index]).all()
    assert (resumes["filled"] > 0.0).any()
    # The auction trades at one price, and the market is two-sided again.
    first = resumes[resumes["filled"] > 0.0].iloc[0]
    auction = result.trades.query(f"step == {first['step']} and price == {first['fill_price']}")
    assert auction["quantity"].sum() >= first["filled"] * (1.0 - 1e-9)
    assert series.loc[first["step"], "mid"] > 0.0


@pytest.mark.parametrize("mark", ["ema_mid", "mid", "last", "impact_mid"])
def test_a_mark_that_follows_no_index_stands_in_a_halt(mark: str) -> None:
    series = collect(ran(**BREAKER, **{"market.mark_price.name": mark})).series
    still = series.index[series["halted"]]
    assert len(still) > 10
    assert (series["mark"][still] == series["mark"].shift()[still]).all()


def test_liquidations_wait_for_the_end_of_a_halt() -> None:
    rules = {"venue.circuit_breaker": {"levels": [0.02], "halt_seconds": [20.0], "price": "index"}}
    result = collect(ran(**rules, **{"market.mark_price": {"name": "median"}}))
    series = result.series.set_index("step")
    halted = series[series["halted"]]
    # The mark follows the index, so that accounts fall below their margin while nobody can close them.
    assert (halted["queue_accounts"] <= halted["distressed_accounts"]).all()
    # Whoever was closed in part just before is in its cooldown first.
    assert halted["queue_accounts"].iloc[-1] == halted["distressed_accounts"].iloc[-1] > 0
    assert not halted["throughput_binding"].any()
    closed = result.events.query("type == 'liquidation'")["step"]
    assert not set(closed) & set(halted.index)
    assert (closed > halted.index[-1]).any()
    waited = result.events.query(f"type == 'breach' and step in {halted.index.tolist()}")
    assert len(waited) > 0


def test_the_shock_waits_too() -> None:
    def sold(model: cs.CascadeModel) -> int:
        model.recorder.drain(model.state.tape)
        trades = model.recorder.raw("trades")
        return int(trades["quantity_lot"][trades["taker_cause"] == Cause.SHOCK].sum())

    rules = {"venue.circuit_breaker": {"levels": [0.005], "halt_seconds": [30.0]}, "shock.quantity": 60.0}
    free, halted = ran(**{"shock.quantity": 60.0}), ran(**rules)
    assert sold(halted) == sold(free) == 6_000
    steps = halted.recorder.raw("trades")["step"][halted.recorder.raw("trades")["taker_cause"] == Cause.SHOCK]
    assert steps.max() == 20 + 20 - 1 + 30


@pytest.mark.kernel
def test_no_trade_outside_the_band() -> None:
    settings = {"venue.price_band": {"half_width": 0.008, "reference": "auction"}}
    model = ran(**settings)
    model.recorder.drain(model.state.tape)
    venue, trades = model.state.world.venue, model.recorder.raw("trades")
    inside = trades[(trades["step"] > 0) & (trades["on_book"] != 0)]["price_tick"]
    assert int(venue.lower) <= inside.min() <= inside.max() <= int(venue.upper)
    free = ran()
    free.recorder.drain(free.state.tape)
    assert free.recorder.raw("trades")["price_tick"].min() < int(venue.lower)


@pytest.mark.parametrize("extra", [{}, BREAKER])
def test_position_caps_hold_in_every_step(extra: dict[str, Any]) -> None:
    caps = {"venue.position_caps": {"liquidity_provider": 25.0, "shock": 500.0}}
    model = cs.CascadeModel(small(**caps, **extra), rng=3)
    kinds = model.state.accounts["account_class"]
    largest = {AccountClass.LIQUIDITY_PROVIDER: 0, AccountClass.SHOCK: 0}
    while not model.finished:
        model.step()
        for kind in largest:
            held = int(abs(model.state.accounts["position"][kinds == kind]).max())
            largest[kind] = max(largest[kind], held)
    assert largest == {AccountClass.LIQUIDITY_PROVIDER: 2_500, AccountClass.SHOCK: 50_000}
    assert measure_conservation(model, collect(model)) == 0


def test_open_interest_stays_below_its_cap() -> None:
    def largest(model: cs.CascadeModel) -> int:
        model.recorder.drain(model.state.tape)
        return int(model.recorder.raw("series")["open_interest"].max())

    free = largest(ran())
    start = int(cs.CascadeModel(small(), rng=3).state.world.totals.open_interest)
    cap = (start + free) // 2
    assert free > cap
    assert largest(ran(**{"venue.open_interest_cap": cap / 100})) <= cap
    assert largest(ran(**{"venue.open_interest_cap": cap / 100}, **BREAKER)) <= cap
    assert largest(ran(**{"venue.open_interest_cap": 0.0})) == start


def test_caps_hold_without_a_book() -> None:
    settings = {"market.price_formation.name": "linear_impact", "venue.position_caps.shock": 100.0}
    model = ran(**settings)
    position = model.state.accounts["position"][model.state.accounts["account_class"] == AccountClass.SHOCK]
    assert position.tolist() == [-10_000]


@pytest.mark.parametrize("maker_rate", [-0.0003, 0.0, 0.0002])
def test_fees_and_rebates_go_through_the_fee_account_to_the_atom(maker_rate: float) -> None:
    model = ran(**{"market.taker_fee_rate": 0.0005, "market.maker_fee_rate": maker_rate}, **BREAKER)
    result = collect(model)
    model.recorder.drain(model.state.tape)
    trades = model.recorder.raw("trades")
    paid = int(trades["taker_fee"].sum() + trades["maker_fee"].sum())
    account = int(model.state.world.config.fee_account)
    assert int(model.state.accounts["cash"][account]) == paid != 0
    on_book = trades[trades["on_book"] != 0]
    for column, rate in (("taker_fee", 0.0005), ("maker_fee", maker_rate)):
        assert on_book[column].tolist() == np.floor(on_book["amount"] * rate + 0.5).tolist()
    assert measure_conservation(model, result) == 0


def test_the_fee_account_pays_rebates_it_has_not_earned() -> None:
    model = ran(**{"market.maker_fee_rate": -0.001})
    assert int(model.state.accounts["cash"][int(model.state.world.config.fee_account)]) < 0
    assert measure_conservation(model, collect(model)) == 0


class Bargain(cs.Participant):
    """Offers far below the market once trading is halted."""

    sent = 0

    def decide(self, market: Any) -> None:
        if market.step in (60, 61, 62) and not self.sent:
            market.submit(cs.Side.SELL, 1.0, market.mark * 0.9, OrderType.LIMIT)
            market.submit(cs.Side.SELL, 1.0, market.mark * 0.9, OrderType.IOC)
            self.sent = 1
        elif self.sent == 1 and market.open_orders:
            self.sent = 2
            ((_, self.side, self.price, _),) = market.open_orders
            self.limit = market.mark


def test_an_agent_sells_in_the_auction_at_the_auction_price() -> None:
    rules = {"venue.circuit_breaker": {"levels": [0.01], "halt_seconds": [60.0], "window_seconds": 100.0}}
    model = cs.CascadeModel(small(**rules), rng=3)
    agent = model.add_participant(Bargain(model))
    model.run()
    result = collect(model)
    assert (agent.sent, agent.side) == (2, cs.Side.SELL)
    assert agent.price == pytest.approx(0.9 * agent.limit, rel=0.02)
    mine = result.trades.query(f"taker_account_id == {agent.account} or maker_account_id == {agent.account}")
    resumed = result.events.query("type == 'resume'").set_index("step")
    assert mine["quantity"].sum() == pytest.approx(1.0)
    assert set(mine["step"]) <= set(resumed.index)
    assert set(mine["price"]) == {resumed.loc[mine["step"].iloc[0], "fill_price"]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"levels": [0.2, 0.1], "halt_seconds": [1.0, 1.0]},
            "venue.circuit_breaker.levels: expected at most 8 ascending shares of price between 0 and 1",
        ),
        ({"levels": [1.0], "halt_seconds": [1.0]}, "venue.circuit_breaker.levels: expected at most 8"),
        ({"levels": [0.1]}, "halt_seconds: expected as many as venue.circuit_breaker.levels, 1"),
        (
            {"levels": [0.1], "halt_seconds": [1.0], "window_seconds": 1e6},
            "window_seconds: expected at most 131071 s, 131071 steps of run.dt",
        ),
        ({"price": "best"}, "venue.circuit_breaker.price: expected one of the known words, received 'best'"),
    ],
)
def test_refused_rules(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        cs.Scenario().with_overrides({"venue.circuit_breaker": changes})
    assert expected in str(caught.value)


def test_no_halts_without_a_book() -> None:
    settings = {"market.price_formation.name": "linear_impact", "venue.price_band.half_width": 0.1}
    with pytest.raises(ScenarioError, match="venue: expected no price_band and no circuit_breaker"):
        cs.CascadeModel(small(**settings))


def test_the_kernels_hold_what_scenarios_may_ask_for() -> None:
    assert MOST_LEVELS == lay.BREAKER_LEVELS
    assert lay.LARGE.lookback - 1 == MOST_WINDOW_STEPS
