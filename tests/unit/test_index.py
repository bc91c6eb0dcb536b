"""The index of several sources: laws, the plain-Python twin, and what a scenario says about it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.prices import Index, Source
from test_model import raw_tables, small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.ground.rng import PURPOSE_INDEX, normal, stream
from cascade_sim.core.prices.oracle import update_index
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.domain.instruments import Instrument
from cascade_sim.lab.ensemble import run_ensemble
from cascade_sim.market.prices import configure_prices
from cascade_sim.registry import MARK_PRICES
from cascade_sim.scenario.prices import LONGEST_DELAY, MOST_OUTAGES, MOST_SOURCES

FIRST = -3
SHORT: dict[str, Any] = {"run.steps": 60, "run.burn_in_steps": 10, "shock.at_seconds": 10.0}


def series_of(**changes: Any) -> np.ndarray:
    """Return the raw series of a short run."""
    model = cs.CascadeModel(small(**{**SHORT, **changes}), rng=3)
    model.run()
    model.recorder.drain(model.state.tape)
    return model.recorder.raw("series")


def sources(**named: dict[str, Any]) -> dict[str, Any]:
    """Return the override that sets the sources of the index."""
    return {"index.sources": named}


def draws(seed: int) -> Callable[[int, int], float]:
    """Return the draws that the kernel addresses for the errors of sources."""
    key = np.uint64(seed)
    return lambda block, number: float(normal(np.uint64(stream(key, PURPOSE_INDEX, block)), number, 0))


def test_capacities_are_those_of_the_kernel() -> None:
    assert (
        lay.INDEX_SOURCES,
        lay.SOURCE_OUTAGES,
        lay.LARGE.lookback,
    ) == (MOST_SOURCES, MOST_OUTAGES, LONGEST_DELAY + 1)


def test_one_faultless_source_is_the_fundamental_and_changes_nothing() -> None:
    plain, built = (
        cs.CascadeModel(small(**SHORT, **changes), rng=3)
        for changes in ({"market.mark_price": "median"}, {"market.mark_price": "median", **sources(one={})})
    )
    plain.run()
    built.run()
    expected, found = raw_tables(plain), raw_tables(built)
    # The index of events is the price that was published last, not the value that the oracle has yet to read.
    expected.pop("events.index")
    found.pop("events.index")
    assert found == expected


@pytest.mark.parametrize("delay", [1, 7])
def test_a_delayed_index_is_the_fundamental_shifted(delay: int) -> None:
    rows = series_of(**sources(one={"delay_seconds": float(delay)}))
    np.testing.assert_array_equal(rows["index"][delay:], rows["fundamental"][:-delay])
    assert len(np.unique(rows["index"][:delay])) == 1


def test_the_median_of_three_ignores_one_liar() -> None:
    settings = {"index.rule": "median"}
    honest = {"noise": 0.0}
    liar = {"noise": 0.1, "noise_seconds": 1.0}
    rows = series_of(**settings, **sources(a=honest, b=honest, c=liar))
    np.testing.assert_array_equal(rows["index"], rows["fundamental"])
    mean = series_of(**sources(a=honest, b=honest, c=liar))
    assert (mean["index"] != mean["fundamental"]).mean() > 0.9
    # One source in three, held within 3 % of the median, moves the mean by 1 % at most.
    assert np.abs(mean["index"] / mean["fundamental"] - 1.0).max() <= 0.01 + 1e-12


def test_heartbeats_outages_and_staleness() -> None:
    rows = series_of(**sources(one={"update_seconds": 5.0}))
    step, index, value = (rows[name] for name in ("step", "index", "fundamental"))
    np.testing.assert_array_equal(index, value[np.arange(len(step)) // 5 * 5])
    rows = series_of(**sources(one={"outages": [[10, 30]]}))
    down = (rows["step"] >= 10) & (rows["step"] < 30)
    held = rows["fundamental"][rows["step"] == 9][0]
    np.testing.assert_array_equal(rows["index"], np.where(down, held, rows["fundamental"]))
    # The source that is down counts until it is stale, then the other one stands alone.
    two = sources(one={"outages": [[10, 30]]}, two={"delay_seconds": 2.0})
    rows = series_of(**two, **{"index.stale_seconds": 4.0, "index.clamp": 1.0})
    value = dict(zip(rows["step"].tolist(), rows["fundamental"].tolist(), strict=True))
    for at, found in zip(rows["step"].tolist(), rows["index"].tolist(), strict=True):
        if at < -8:
            continue
        one = value[9] if 10 <= at < 30 else value[at]
        expected = value[at - 2] if 14 <= at < 30 else (one + value[at - 2]) / 2.0
        assert found == pytest.approx(expected, rel=1e-15)
    alone = series_of(**sources(one={"outages": [[10, 30]]}), **{"index.stale_seconds": 1.0})
    np.testing.assert_array_equal(
        alone["index"][down], np.full(20, alone["fundamental"][alone["step"] == 9][0])
    )


def test_a_large_move_is_published_before_the_heartbeat() -> None:
    rows = series_of(**sources(one={"update_seconds": 1e6, "deviation": 0.002}))
    value = rows["fundamental"]
    published = float(value[0])
    for row in range(len(rows)):
        if abs(float(value[row]) - published) > 0.002 * published:
            published = float(value[row])
        assert rows["index"][row] == published
    assert 3 < len(np.unique(rows["index"])) < 40


def test_a_clamped_mark_never_leaves_its_band() -> None:
    rule = {"name": "clamped_basis", "clamp": 0.001, "basis_time_constant_seconds": 0.0}
    rows = series_of(**{"market.mark_price": rule, "shock.quantity": 6_000.0, "shock.news": 0.0})
    limit = 0.001 * rows["index"]
    assert (rows["mark"] <= rows["index"] + limit).all()
    assert (rows["mark"] >= rows["index"] - limit).all()
    bound = np.abs(rows["mid"] - rows["index"]) > limit
    assert bound.sum() > 10
    assert not bound.all()
    np.testing.assert_array_equal(
        rows["mark"][bound & (rows["mid"] < rows["index"])], (rows["index"] - limit)[bound]
    )


def test_an_index_mark_with_delay_is_the_index_shifted() -> None:
    rows = series_of(**{"market.mark_price": {"name": "index", "delay_seconds": 5.0}})
    np.testing.assert_array_equal(rows["mark"][5:], rows["index"][:-5])


def test_an_ensemble_forgets_the_index_of_the_run_before() -> None:
    scenario = small(**SHORT, **{"market.mark_price": {"name": "index", "delay_seconds": 5.0}})
    rows = run_ensemble(scenario, [3, 4, 3], workers=1)
    ends = []
    for seed in (3, 4, 3):
        model = cs.CascadeModel(scenario, rng=seed)
        model.run()
        ends.append(model.instrument.tick_to_price(float(model.state.world.market.mark)))
    assert rows["mark_end"].tolist() == ends
    assert ends[0] != ends[1]


@pytest.mark.parametrize("name", ["mid", "impact_mid"])
def test_marks_of_the_book_and_the_premium_stand_while_trading_is_halted(name: str) -> None:
    breaker = {"levels": [0.01], "halt_seconds": [20.0], "window_seconds": 60.0, "direction": "down"}
    paid = {"market.funding.interval_seconds": 60.0, "market.funding.premium": "impact"}
    settings = {"venue.circuit_breaker": breaker, "market.mark_price": name, **paid}
    model = cs.CascadeModel(small(**SHORT, **settings), rng=3)
    premiums, halted, marks = [], [], []
    while not model.finished:
        model.step()
        world = model.state.world
        premiums.append(float(world.prices.premium))
        marks.append(float(world.market.mark))
        halted.append(bool(world.market.halted))
    still = np.flatnonzero(halted)
    assert len(still) >= 19
    for values in (premiums, marks):
        assert np.array_equal(np.array(values)[still], np.array(values)[still - 1])
    assert len(set(marks)) > 10


def random_source(generator: np.random.Generator) -> dict[str, Any]:
    """Return the arguments of a source's twin, some of them at their defaults."""
    begin = generator.integers(-2, 30)
    choices = {
        "market": int(generator.integers(0, 2)),
        "weight": float(generator.choice([0.0, 0.5, 1.0, 3.0])),
        "delay": int(generator.integers(0, 6)),
        "update": int(generator.integers(1, 9)),
        "deviation": float(generator.uniform(0.001, 0.02)),
        "noise": float(generator.uniform(0.0, 0.05)),
        "noise_steps": int(generator.integers(1, 5)),
        "scale": float(generator.choice([0.5, 10.0])),
        "outages": [(int(begin), int(begin + generator.integers(1, 20)))],
    }
    return {name: value for name, value in choices.items() if generator.random() < 0.5}


@pytest.mark.kernel
@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_the_kernel_gives_what_the_twin_gives(seed: int) -> None:
    generator = np.random.default_rng([11, seed])
    worlds = allocate(lay.WORLD, 2)
    w, config = worlds[0], worlds[0].config.prices
    w.config.seed, start = np.uint64(seed), 20_000.0
    twins = [Source(start, **random_source(generator)) for _ in range(generator.integers(1, 6))]
    twin = Index(
        twins,
        start,
        FIRST,
        draws(seed),
        bool(generator.integers(0, 2)),
        float(generator.choice([0.001, 0.03])),
        int(generator.choice([0, 3, 12])),
    )
    config.index_sources, config.index_median = len(twins), int(twin.median)
    config.index_clamp, config.index_stale, w.market.index = twin.clamp, twin.stale, start
    for number, source in enumerate(twins):
        row = w.prices.source[number]
        for name in ("scale", "weight", "delay", "update", "deviation", "noise", "noise_steps"):
            row[name] = getattr(source, name)
        row["market"] = -1 if source.market is None else source.market
        row["outages"] = len(source.outages)
        for k, (first, end) in enumerate(source.outages):
            row["outage_first"][k], row["outage_end"][k] = first, end
        row["value"], row["published"] = start, FIRST - source.update
    for step in range(FIRST, 50):
        w.control.step = step
        w.market.fundamental = start * float(np.exp(generator.normal(0.0, 0.01)))
        for k in range(2):
            worlds[k].market.mid = start * float(np.exp(generator.normal(0.0, 0.01)))
            worlds[k].market.halted = int(generator.random() < 0.1)
        update_index(worlds, 0)
        mids = [float(worlds[k].market.mid) for k in range(2)]
        halted = [bool(worlds[k].market.halted) for k in range(2)]
        assert float(w.market.index) == twin.step(step, float(w.market.fundamental), mids, halted)
        for k in range(2):
            worlds[k].market.mid_ring[step & (lay.STANDARD.lookback - 1)] = mids[k]


def test_a_source_in_other_ticks_is_scaled() -> None:
    scenario = small(**sources(spot={"market": "spot"}))
    worlds = allocate(lay.WORLD, 2)
    worlds[0].market.index = 22_000.0
    own = Instrument("main", "ETH-PERP", "ETH", "USD", 0.1, 0.01)
    spot = Instrument("spot", "ETH-USD", "ETH", "USD", 0.5, 0.01)
    rule = MARK_PRICES.create("index")
    configure_prices(worlds[0], scenario, rule, own, {"main": own, "spot": spot})
    worlds[0].control.step = 4
    worlds[0].market.fundamental = 22_000.0
    worlds[1].market.mid = 4_410.0
    update_index(worlds, 0)
    assert float(worlds[0].market.index) == 22_050.0


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            sources(one={"market": "spto"}),
            "index.sources.one.market: expected a known name, received 'spto', known: main",
        ),
        (sources(one={"weight": 0.0}), "index.sources: expected a source with a weight above 0"),
        (sources(one={"wieght": 1.0}), "index.sources.one.wieght: expected a known key, received 'wieght'"),
        (
            sources(one={"delay_seconds": 200_000.0}),
            "index.sources.one.delay_seconds: expected at most 131071",
        ),
        (sources(one={"outages": [[5, 5]]}), "index.sources.one.outages: expected pairs [a, b] with a < b"),
        (sources(**{f"s{k}": {} for k in range(17)}), "index.sources: expected a list of at most 16"),
        (
            {"market.mark_price": {"name": "index", "delay_seconds": 200_000.0}},
            "market.mark_price.delay_seconds: expected at most 131071 steps of 1 s, received 200000",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        cs.CascadeModel(small(**changes), rng=3)
    assert str(caught.value).startswith(line), str(caught.value)


def test_sources_are_arms() -> None:
    base = small(**sources(a={}, b={"weight": 2.0}))
    arm = base.with_overrides({"index.sources.b.outages": [[20, 40]], "index.sources.a.weight": 0.0})
    assert arm.index.sources["b"].weight == 2.0
    assert arm.index.sources["b"].outages == ((20.0, 40.0),)
    assert cs.Scenario.from_mapping(arm.tree()) == arm
    assert len({base.scenario_hash, arm.scenario_hash}) == 2
    pair = [cs.CascadeModel(scenario, rng=3) for scenario in (base, arm)]
    for model in pair:
        model.run(until=60)
        model.recorder.drain(model.state.tape)
    rows = [model.recorder.raw("series") for model in pair]
    same = rows[0]["step"] < 20
    np.testing.assert_array_equal(rows[0]["index"][same], rows[1]["index"][same])
    assert (rows[0]["index"] != rows[1]["index"]).sum() == 20


@pytest.mark.kernel
def test_the_drivers_agree_with_every_fault_at_once() -> None:
    settings = {
        **sources(
            a={"delay_seconds": 2.0, "noise": 0.001},
            b={"update_seconds": 7.0, "deviation": 0.001, "weight": 2.0},
            c={"outages": [[15, 35]], "market": "main"},
        ),
        "index.stale_seconds": 9.0,
        "market.mark_price": {"name": "clamped_basis", "fair": "impact"},
    }
    fused, chunked, stepped = (cs.CascadeModel(small(**SHORT, **settings), rng=3) for _ in range(3))
    fused.run()
    for until in (-7, 1, 17, 60):
        chunked.run(until=until)
    while not stepped.finished:
        stepped.step()
    expected = raw_tables(fused)
    assert raw_tables(chunked) == expected
    assert raw_tables(stepped) == expected
