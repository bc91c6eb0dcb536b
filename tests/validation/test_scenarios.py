"""What the scenario library must show over paired seeds."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pytest
from numpy.typing import NDArray

import cascade_sim as cs
from cascade_sim.lab.single import collect, figures, measure_conservation, run, switch_arm
from cascade_sim.metrics import summarise

pytestmark = pytest.mark.slow

SEEDS = range(500, 512)
MECHANISMS = ("liquidation", "delta_hedging")


@dataclass(frozen=True)
class Arm:
    """What is looked at of one arm, a value per seed."""

    excursion: NDArray[np.float64]
    """Adverse excursion, log bp."""
    worst_depth: NDArray[np.float64]
    """Mean two-sided depth within 0.1 % in the worst minute after step 0, base units."""
    densest: NDArray[np.float64]
    """Share of liquidations in the densest 5 % of the window."""
    first_liquidation: NDArray[np.int64]
    first_adl: NDArray[np.int64]
    """Steps; -1 where there was none."""


def _minutes(result: cs.RunResult, dt: float) -> NDArray[np.float64]:
    series = result.series.loc[result.series["step"] >= 0]
    depth = (series["bid_depth_10bp"] + series["ask_depth_10bp"]).to_numpy(np.float64)
    per_minute = round(60.0 / dt)
    return depth[: len(depth) // per_minute * per_minute].reshape(-1, per_minute).mean(axis=1)


@cache
def arm(scenario: str, off: tuple[str, ...] = (), dt: float = 1.0, placebo: bool = False) -> Arm:
    """Run the seeds with some mechanisms off; every run conserves exactly."""
    tree = switch_arm(cs.load_scenario(scenario), off)
    changes = {"run.dt": dt, "run.steps": round(14_400 / dt), "run.burn_in_steps": round(900 / dt)}
    tree = tree.with_overrides({**changes, "run.record": "series", "switches.placebo": placebo})
    rows = []
    for seed in SEEDS:
        model = cs.CascadeModel(tree, rng=seed)
        model.run()
        result = collect(model)
        assert measure_conservation(model, result) == 0
        market, totals = next(iter(model.markets)), model.state.world.totals
        summary = summarise(figures(model, market))
        share = summary["densest_liquidation_share"]
        rows.append(
            (
                abs(summary["max_adverse_excursion"]),
                _minutes(result, dt).min(),
                np.nan if share is None else share,
                int(totals.first_liquidation_step),
                int(totals.first_adl_step),
            )
        )
        model.close()
    return Arm(*(np.array(column) for column in zip(*rows, strict=True)))


def excursions(scenario: str, off: tuple[str, ...] = ()) -> NDArray[np.float64]:
    """Adverse excursions in log bp over the seeds, with some mechanisms off."""
    return arm(scenario, off).excursion


def amplification(scenario: str, off: tuple[str, ...] = (), dt: float = 1.0) -> NDArray[np.float64]:
    """Excursion over that of the same seed with both mechanisms off."""
    return np.asarray(arm(scenario, off, dt).excursion / arm(scenario, MECHANISMS, dt).excursion)


def test_gamma_shock_cascades_through_both_channels_and_each() -> None:
    assert np.median(amplification("gamma_shock")) >= 1.5
    assert np.median(amplification("gamma_shock", ("delta_hedging",))) >= 1.2
    assert np.median(amplification("gamma_shock", ("liquidation",))) >= 1.2
    added = excursions("gamma_shock", ()) - excursions("gamma_shock", MECHANISMS)
    assert np.median(added) >= 150.0


def test_gamma_shock_empties_the_book_and_concentrates_liquidations() -> None:
    both, none = arm("gamma_shock"), arm("gamma_shock", MECHANISMS)
    assert np.all(both.worst_depth < none.worst_depth)
    assert np.mean(both.densest >= 0.6) >= 0.9
    late = (both.first_adl < 0) | (both.first_adl > both.first_liquidation)
    assert np.all(late & (both.first_liquidation > 0))


def test_one_lot_more_moves_nothing_that_matters() -> None:
    both, none = arm("gamma_shock"), arm("gamma_shock", MECHANISMS)
    drift = np.abs(arm("gamma_shock", placebo=True).excursion - both.excursion)
    assert np.median(drift) < 0.1 * np.median(both.excursion - none.excursion)


@pytest.mark.parametrize("dt", [0.5, 2.0])
def test_the_step_length_does_not_make_the_cascade(dt: float) -> None:
    reference = float(np.median(amplification("gamma_shock")))
    assert np.median(amplification("gamma_shock", dt=dt)) == pytest.approx(reference, rel=0.1)


def test_long_gamma_damps() -> None:
    hedged, unhedged = excursions("long_gamma", ()), excursions("long_gamma", ("delta_hedging",))
    assert np.mean(hedged < unhedged) >= 0.9


def test_calm_stays_calm() -> None:
    assert abs(np.median(amplification("calm")) - 1.0) <= 0.02


def test_short_squeeze_mirrors_long_squeeze() -> None:
    longs, shorts = amplification("long_squeeze"), amplification("short_squeeze")
    error = np.hypot(longs.std(ddof=1), shorts.std(ddof=1)) / np.sqrt(len(longs))
    assert abs(longs.mean() - shorts.mean()) < 3.0 * error


@pytest.mark.parametrize("name", cs.scenario_names())
def test_measured_numbers_stand_in_the_scenario(name: str) -> None:
    text = (files("cascade_sim") / "scenarios" / f"{name}.yaml").read_text(encoding="utf-8")
    (stated,) = re.findall(r"^# Measured over seeds 0 to 5: (.*)\.$", text, re.MULTILINE)
    summaries = [run(cs.load_scenario(name), seed, record="summary").summary for seed in range(6)]
    for part in stated.split("; "):
        key, value = part.split()[:2]
        measured = float(np.mean([summary[key] for summary in summaries]))
        assert measured == pytest.approx(float(value), rel=0.03, abs=0.001)
