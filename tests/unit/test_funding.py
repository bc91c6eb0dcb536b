"""Funding: payments exact to the atom, rates against fractions, what a run with it does, and impact prices."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.prices import average_price, funding_payments, funding_rates
from test_model import raw_tables, small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.funding import pay_funding, payment
from cascade_sim.core.clearing.ledger import refresh_triggers
from cascade_sim.core.drivers.state import allocate_state
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.prices.funding import sample_premium
from cascade_sim.core.prices.mark_rules import note_impact
from cascade_sim.core.venue.book import submit
from cascade_sim.domain.enums import EventType, OrderType, TransferKind
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.lab.single import collect, measure_conservation

SHORT: dict[str, Any] = {"run.steps": 90, "run.burn_in_steps": 10, "shock.at_seconds": 10.0}
FUNDED: dict[str, Any] = {
    **SHORT,
    "market.funding.interval_seconds": 30.0,
    "market.funding.rate_seconds": 60.0,
    "market.mark_price": "median",
}


def finished(**changes: Any) -> cs.CascadeModel:
    """Return a funded model that has run."""
    model = cs.CascadeModel(small(**{**FUNDED, **changes}), rng=3)
    model.run()
    return model


@pytest.mark.kernel
@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=12), st.floats(-(10.0**5), 10.0**5))
def test_payments_are_exact_and_sum_to_zero(positions: list[int], unit: float) -> None:
    positions = [*positions, -sum(positions)]
    state = allocate_state(len(positions) + 1, 1, 0)
    state.world.config.record = lay.RECORD_FULL
    hub = len(positions)
    state.world.config.rounding_account = hub
    state.accounts["position"][:hub] = positions
    pay_funding(state.world, state.accounts, state.watch, state.tape, unit)
    expected, residue = funding_payments(positions, unit)
    paid = [-int(cash) for cash in state.accounts["cash"][:hub]]
    assert paid == expected
    assert int(state.accounts["cash"][hub]) == residue
    assert int(state.accounts["cash"].sum()) == 0 == int(state.world.totals.cash)
    assert abs(residue) <= len(positions) / 2
    rows = state.tape.transfers[: state.tape.transfers_count]
    assert len(rows) == sum(amount != 0 for amount in expected)
    assert (rows["kind"] == TransferKind.FUNDING).all()
    assert (rows["amount"] > 0).all()
    assert int(state.tape.events_count) == 1


@pytest.mark.kernel
@given(st.integers(-(2**50), 2**50), st.integers(-(2**11), 2**11), st.integers(0, 2**31 - 1))
def test_a_payment_is_rounded_once(position: int, whole: int, parts: int) -> None:
    exact = position * (whole + Fraction(parts, 2**31))
    arguments = (np.int64(position), np.int64(whole), np.int64(parts))
    assert int(payment(*arguments)) == (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


@pytest.mark.kernel
@given(
    st.lists(st.floats(-0.01, 0.01), min_size=1, max_size=20),
    st.booleans(),
    st.sampled_from([1.0, 0.125]),
    st.sampled_from([0.0, 5e-4]),
    st.sampled_from([2e-4, 0.04]),
)
def test_rates_are_those_of_the_published_formula(
    premiums: list[float], linear: bool, share: float, clamp: float, cap: float
) -> None:
    w = allocate(lay.WORLD)[0]
    config = w.config.prices
    config.funding_interval, config.funding_linear = len(premiums), int(linear)
    config.funding_share, config.funding_interest = share, 1e-4
    config.funding_clamp, config.funding_cap = clamp, cap
    w.market.index = 20_000.0
    found, seen = [], []
    for step, premium in enumerate(premiums):
        w.control.step = step
        w.market.mid = 20_000.0 * (1.0 + premium)
        sample_premium(w)
        found.append(float(w.prices.funding_rate))
        seen.append(float(w.prices.premium))
    expected = funding_rates(seen, share=share, interest=1e-4, clamp=clamp, cap=cap, linear=linear)
    np.testing.assert_allclose(found, [float(rate) for rate in expected], rtol=1e-12, atol=1e-18)
    assert max(map(abs, found)) <= cap


def test_within_the_clamp_the_rate_is_the_interest() -> None:
    rates = funding_rates([3e-4, -2e-4], share=1.0, interest=1e-4, clamp=5e-4, cap=1.0, linear=False)
    assert rates == [Fraction(1e-4)] * 2


@pytest.mark.kernel
@given(
    st.dictionaries(st.integers(90, 99), st.integers(1, 50), max_size=6),
    st.dictionaries(st.integers(101, 110), st.integers(1, 50), max_size=6),
    st.integers(1, 9_000),
)
def test_impact_prices_walk_the_book(bids: dict[int, int], asks: dict[int, int], value: int) -> None:
    state = allocate_state(2, 1, 0)
    book, prices = state.book, state.world.prices
    state.world.config.prices.impact_value = float(value)
    prices.impact_mid = 77.0
    for side, levels in ((1, bids), (-1, asks)):
        for tick, lots in levels.items():
            submit(book, side, tick, lots, 0, np.int64(OrderType.LIMIT), 0, 0)
    note_impact(state.world, book)
    expected = [
        average_price(sorted(bids.items(), reverse=True), value),
        average_price(sorted(asks.items()), value),
    ]
    for found, exact in zip((prices.impact_bid, prices.impact_ask), expected, strict=True):
        assert float(found) == pytest.approx(float(exact or 0), rel=1e-13)
    both = [price for price in expected if price is not None]
    middle = float(sum(both) / 2) if len(both) == 2 else 77.0
    assert float(prices.impact_mid) == pytest.approx(middle, rel=1e-13)


def test_a_funded_run_pays_at_the_end_of_each_interval_and_conserves_cash() -> None:
    model = finished()
    result = collect(model)
    assert measure_conservation(model, result) == 0
    events = result.events.query("type == 'funding'")
    assert list(events["step"]) == [29, 59, 89]
    assert events["account_id"].isna().all()
    assert events["cause"].isna().all()
    transfers = result.transfers.query("kind == 'funding'")
    assert set(transfers["step"]) == {29, 59, 89}
    assert set(transfers["event_id"]) == set(events["event_id"])
    hub = int(model.state.world.config.rounding_account)
    assert ((transfers["from_account_id"] == hub) ^ (transfers["to_account_id"] == hub)).all()
    paid = result.accounts.set_index("account_id")["funding"]
    assert paid.sum() == pytest.approx(0.0, abs=1e-3)
    assert (paid != 0.0).sum() > 300
    assert abs(paid[hub]) <= 1e-8 * len(paid)


def test_an_account_pays_position_times_mark_times_rate() -> None:
    model = finished(**{"run.steps": 30, "switches.liquidation": False})
    result = collect(model)
    last = result.series.iloc[-1]
    assert float(last["funding_rate"]) != 0.0
    positions = model.state.accounts["position"].tolist()
    # Nobody trades between the payment and the end of the step when nothing is liquidated.
    unit = (
        float(model.state.world.market.mark)
        * float(last["funding_rate"])
        * int(model.state.world.config.atoms)
    )
    expected, _ = funding_payments(positions, unit)
    found = np.rint(-1e8 * result.accounts["funding"].to_numpy()).astype(np.int64)
    expected[int(model.state.world.config.rounding_account)] = -sum(expected)
    assert (-found).tolist() == expected


def test_the_drivers_agree() -> None:
    changes = {**FUNDED, "market.funding.premium": "impact", "market.funding.average": "linear"}
    fused, chunked, stepped = (cs.CascadeModel(small(**changes), rng=3) for _ in range(3))
    fused.run()
    for until in (-7, 1, 29, 30, 90):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    expected = raw_tables(fused)
    assert raw_tables(chunked) == expected
    assert raw_tables(stepped) == expected
    assert fused.state.accounts.tobytes() == stepped.state.accounts.tobytes()


def test_the_switch_stops_payments_and_nothing_else_before_the_first() -> None:
    on, off = finished(), finished(**{"switches.funding": False})
    for model in (on, off):
        model.recorder.drain(model.state.tape)
    kinds = [set(model.recorder.raw("transfers")["kind"]) for model in (on, off)]
    assert TransferKind.FUNDING in kinds[0]
    assert TransferKind.FUNDING not in kinds[1]
    rows = [model.recorder.raw("series") for model in (on, off)]
    before = rows[0]["step"] < 29
    for name in ("mark", "mid", "funding_rate", "open_interest", "fund_cash"):
        np.testing.assert_array_equal(rows[0][name][before], rows[1][name][before])
    plain = cs.CascadeModel(small(**{**SHORT, "market.mark_price": "median"}), rng=3)
    plain.run()
    expected, found = raw_tables(plain), raw_tables(off)
    expected.pop("series.funding_rate")
    found.pop("series.funding_rate")
    assert found == expected


@pytest.mark.kernel
def test_whoever_cannot_pay_is_liquidated() -> None:
    quiet = {"shock.quantity": 0.0, "shock.news": 0.0, "fundamental.volatility": 0.0, "dealers.count": 0}
    heavy = {"market.funding.interest_rate": 0.1, "market.funding.clamp": 1.0, "market.funding.cap": 0.03}
    free, charged = (finished(**quiet, **change) for change in ({"switches.funding": False}, heavy))
    assert int(free.state.world.totals.liquidated_accounts) == 0
    result = collect(charged)
    assert measure_conservation(charged, result) == 0
    closed = result.events.query("type == 'breach'")
    assert len(closed) > 10
    assert int(closed["step"].min()) == 29
    for account in range(len(charged.state.accounts)):
        before = charged.state.watch[:2, account].copy()
        refresh_triggers(charged.state.world, charged.state.accounts, charged.state.watch, account)
        assert charged.state.watch[:2, account].tolist() == before.tolist()


def test_funding_pulls_against_the_premium_that_it_is_paid_for() -> None:
    scenario = {"market.funding.interest_rate": 0.0, "market.funding.clamp": 0.0, "shock.news": 0.0}
    model = finished(**scenario, **{"shock.quantity": 6_000.0})
    result = collect(model)
    start, end = result.series.query("step == 30").index[0], result.series.query("step == 59").index[0]
    window = result.series.loc[start:end]
    premium = (window["mid"] / window["index"] - 1.0).mean()
    assert premium < 0.0
    assert float(window["funding_rate"].iloc[-1]) == pytest.approx(0.5 * premium, rel=1e-9)
    assert int(model.state.tape.events_count) == 0
    kinds = result.events["type"].astype(str)
    assert int((kinds == EventType.FUNDING.name.lower()).sum()) == 3


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"market.funding.interval_seconds": 0.4}, "market.funding.interval_seconds: expected a multiple of"),
        ({"market.funding.interval_seconds": 2.5}, "market.funding.interval_seconds: expected a multiple of"),
        ({"market.funding.cap": 1.5}, "market.funding.cap: expected a number <= 1, received 1.5"),
        ({"market.funding.premium": "last"}, "market.funding.premium: expected "),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        small(**changes)
    assert str(caught.value).startswith(line), str(caught.value)
