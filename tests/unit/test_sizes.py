"""Size classes: which one a scenario gets, and that results do not depend on it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_model import raw_tables, small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import _RETURN as RETURN
from cascade_sim.core.ground.compile import compilation_enabled
from cascade_sim.core.layout.book import ORDER_SLOT_BITS
from cascade_sim.core.layout.kinds import kinds_of
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.model import CascadeModel, Simulation
from cascade_sim.model.capacities import needs_of
from cascade_sim.model.simulation import check_inputs

SOAK = Path(cs.__file__).parent / "scenarios" / "benchmark" / "soak.yaml"
LEAN = {"traders.stop_loss.share": 0.0, "traders.top_up.share": 0.0}
"""What makes the little run one of the lean driver, the first that a size class has compiled."""
LARGEST_RECORD = 2**31
"""Bytes: what older systems count in 32 bits, and what a machine with little memory still lends addresses for."""


needs_compiler = pytest.mark.skipif(
    not compilation_enabled(), reason="runs of every class take minutes without the compiler"
)


class _Unopened(Simulation):
    """A world that is configured and has no accounts opened."""

    def _open(self) -> None:
        """Leave it blank."""


def _class_of(scenario: cs.Scenario) -> str:
    model = _Unopened(scenario)
    name = model.sizes.name
    model.close()
    return name


def test_classes_grow_in_every_field() -> None:
    for smaller, larger in zip(lay.SIZES[:-1], lay.SIZES[1:], strict=True):
        for name in lay.Sizes._fields[1:]:
            assert getattr(smaller, name) < getattr(larger, name)
    assert len({sizes.name for sizes in lay.SIZES}) == len(lay.SIZES)


@pytest.mark.parametrize("sizes", lay.SIZES, ids=lambda sizes: sizes.name)
def test_what_the_code_counts_on_holds_in_every_class(sizes: lay.Sizes) -> None:
    assert sizes.orders <= 1 << ORDER_SLOT_BITS
    assert sizes.lookback.bit_count() == 1
    # Keys of the auction are a price of 31 bits and an arrival of 21, in doubles.
    assert 2 * sizes.auction <= 1 << 21
    assert sizes.trades > lay.TRADES_KEPT
    assert sizes.events > lay.EVENTS_KEPT
    assert sizes.transfers > lay.TRANSFERS_KEPT
    assert sizes.agent_fills > lay.AGENT_FILLS_KEPT
    # What waits on the wheel of actors is a number of one and, above it, whether it returns.
    assert sizes.actors <= RETURN
    # Every actor waits at most once, in chunks of seven of which each slot in use may waste one.
    assert 7 * (sizes.wakes - 8256) >= sizes.actors
    for kind in kinds_of(sizes):
        assert kind.itemsize < LARGEST_RECORD


def test_the_library_fits_the_standard_class() -> None:
    for name in cs.scenario_names():
        assert _class_of(cs.load_scenario(name)) == "standard"


@pytest.mark.parametrize(
    ("fits", "more"),
    [
        ({"liquidity.count": 256}, {"liquidity.count": 257}),
        ({"liquidity.levels": 32, "liquidity.level_growth": 1.0}, {"liquidity.levels": 33}),
        ({"dealers.count": 64}, {"dealers.count": 65}),
        ({"options.strikes": 341, "dealers.count": 3}, {"options.strikes": 400}),
        (
            {"liquidity.volatility_return_seconds": 16_383.0},
            {"liquidity.volatility_return_seconds": 16_384.0},
        ),
        ({"traders.entrants.trend_seconds": 16_383.0}, {"traders.entrants.trend_seconds": 16_384.0}),
        ({"traders.activity.trend_seconds": 16_383.0}, {"traders.activity.trend_seconds": 16_384.0}),
        (
            {"venue.circuit_breaker": {"levels": [0.1], "halt_seconds": [30.0], "window_seconds": 16_383.0}},
            {"venue.circuit_breaker": {"levels": [0.1], "halt_seconds": [30.0], "window_seconds": 16_384.0}},
        ),
        (
            {"index.sources": {"one": {"delay_seconds": 16_383.0}}},
            {"index.sources": {"one": {"delay_seconds": 16_384.0}}},
        ),
        ({"background.limit_rate": 4_000.0}, {"background.limit_rate": 20_000.0}),
        ({"background.patient_orders": 200_000}, {"background.patient_orders": 300_000}),
        (
            {"latency.background.delay_seconds": 3_000.0, "run.steps": 4_000, "background.limit_rate": 60.0},
            {"background.limit_rate": 250.0},
        ),
        (
            {"venue.circuit_breaker": {"levels": [0.1], "halt_seconds": [300.0]}},
            {"background.market_rate": 2_000.0},
        ),
    ],
    ids=[
        "providers",
        "levels",
        "dealers",
        "options",
        "returns",
        "entrants",
        "actors",
        "window",
        "index",
        "limit orders",
        "patient orders",
        "latency",
        "auction",
    ],
)
def test_the_smallest_class_that_fits_is_taken(fits: dict[str, Any], more: dict[str, Any]) -> None:
    assert _class_of(small(**fits)) == "standard"
    assert _class_of(small(**{**fits, **more})) == "large"


def test_the_most_demanding_market_decides() -> None:
    assert _class_of(small(markets={"spot": {"liquidity": {"count": 257}}})) == "large"


def test_needs_of_accounts_are_counted() -> None:
    class _Counted:
        settings = small(
            **{
                "traders.count": lay.STANDARD.actors + 1,
                "traders.stop_loss.share": 0.5,
                "market.funding.interval_seconds": 60.0,
                "run.record": "full",
            }
        )
        options = None
        mark_rule = None
        entrants = 0
        account_count = lay.STANDARD.transfers

    needs = needs_of([_Counted()])  # type: ignore[list-item]
    assert needs["actors"] == lay.STANDARD.actors + 1
    assert needs["transfers"] > lay.STANDARD.transfers
    assert lay.smallest({"actors": needs["actors"]}) is lay.LARGE
    assert lay.smallest({"transfers": needs["transfers"]}) is lay.LARGE
    assert lay.smallest({"actors": lay.STANDARD.actors}) is lay.STANDARD
    # What no class has room for is refused by those who know the field.
    assert lay.smallest({"options": lay.LARGE.options + 1}) is lay.LARGE


def test_more_than_the_largest_class_holds_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"^options\.strikes: expected at most 8192 options over all of"):
        small(**{"options.strikes": 2731})
    with pytest.raises(ScenarioError, match=r"^liquidity\.count: expected a number <= 4096, received 4097$"):
        small(**{"liquidity.count": 4097})
    with pytest.raises(ScenarioError, match=r"^background\.patient_orders: expected at most 1\.04e\+06, for"):
        check_inputs(small(**{"background.patient_orders": 3_000_000}))


def _ran(scenario: cs.Scenario, seed: int, *, full_slots: bool = False) -> tuple[str, dict[str, bytes]]:
    """Run, and return the size class and everything that came of it as bytes."""
    model = CascadeModel(scenario, rng=seed)
    if full_slots:
        # As if the rows of the standard class were taken: what comes now has slots beyond.
        for market in model.markets.values():
            book, world = market.state.book, market.state.world
            book.fresh_slot = lay.STANDARD.orders - 2
            world.wheel.fresh = lay.STANDARD.expiries - 1
            world.flight.fresh = lay.STANDARD.messages - 2
            world.reducing.fresh = lay.STANDARD.reducing - 2
            world.activity.wheel.fresh = max(int(world.activity.wheel.fresh), lay.STANDARD.wakes - 1)
    model.run()
    found: dict[str, bytes] = {}
    for name, market in model.markets.items():
        for field in market.state.accounts.dtype.names:
            found[f"{name}.accounts.{field}"] = np.ascontiguousarray(market.state.accounts[field]).tobytes()
        found[f"{name}.watch"] = np.ascontiguousarray(market.state.watch).tobytes()
        world, run = market.state.world, scenario.run
        for part in ("totals", "figures"):
            found[f"{name}.{part}"] = world[part].tobytes()
        for field in world.market.dtype.names:
            values = np.asarray(world.market[field])
            if field.endswith("_ring"):
                # The same steps, wherever they stand in rings of different lengths.
                values = values[np.arange(-run.burn_in_steps, run.steps) & (len(values) - 1)]
            found[f"{name}.market.{field}"] = values.tobytes()
        model.main = market
        found |= {f"{name}.{key}": value for key, value in raw_tables(model).items()}
    return model.sizes.name, found


def _large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lay, "smallest", lambda _needs: lay.LARGE)


def _differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if one[name] != other[name]]


@pytest.mark.kernel
@needs_compiler
def test_results_do_not_depend_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = small(**LEAN)
    name, standard = _ran(scenario, 3)
    assert name == "standard"
    assert len(standard["main.trades.trade_id"]) > 100
    ensemble = cs.run_ensemble(scenario, range(3), workers=1)
    _large(monkeypatch)
    name, large = _ran(scenario, 3)
    assert name == "large"
    assert _differing(standard, large) == []
    assert cs.run_ensemble(scenario, range(3), workers=1).equals(ensemble)
    _, beyond = _ran(scenario, 3, full_slots=True)
    assert _differing(standard, beyond) == []


@pytest.mark.slow
@pytest.mark.kernel
@needs_compiler
def test_results_with_every_mechanism_do_not_depend_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = cs.load_scenario(SOAK).with_overrides(
        {"run.steps": 600, "run.record": "full", "shock.at_seconds": 100.0}
    )
    _, standard = _ran(scenario, 5)
    _large(monkeypatch)
    name, large = _ran(scenario, 5)
    assert name == "large"
    assert _differing(standard, large) == []
    _, beyond = _ran(scenario, 5, full_slots=True)
    assert _differing(standard, beyond) == []


@pytest.mark.kernel
@needs_compiler
def test_a_world_beyond_the_standard_class_runs() -> None:
    wide = {"dealers.count": 70, "liquidity.count": 260, "options.strikes": 400, "run.steps": 60}
    model = CascadeModel(small(**LEAN, **wide, **{"dealers.capital": 1e6, "liquidity.capital": 1e6}), rng=1)
    assert model.sizes is lay.LARGE
    model.run()
    world = model.state.world
    assert int(world.config.dealers.count) == 70
    assert int(world.config.dealers.options) > lay.STANDARD.options
    assert all(int(world.dealers[k].hedges) > 0 for k in range(64, 70))
    assert all(int(world.providers[k].quotes) > 0 for k in range(256, 260))
    assert int(model.state.accounts["cash"].sum()) == 0
    assert int(model.state.accounts["position"].sum()) == 0
    model.close()
