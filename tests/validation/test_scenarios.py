"""What the scenario library must show over paired seeds (reference values: the calibrated prototype)."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

import cascade_sim as cs
from cascade_sim.lab.single import run, switch_arm

pytestmark = pytest.mark.slow

SEEDS = range(500, 512)
MECHANISMS = ("liquidation", "delta_hedging")


@cache
def excursions(scenario: str, off: tuple[str, ...]) -> NDArray[np.float64]:
    """Adverse excursions in log bp over the seeds, with some mechanisms off; every run conserves exactly."""
    arm = switch_arm(cs.load_scenario(scenario), off)
    found = []
    for seed in SEEDS:
        summary = run(arm, seed, record="series", probe=False).summary
        assert summary["conservation_error"] == 0
        found.append(abs(summary["max_adverse_excursion"]))
    return np.array(found)


def amplification(scenario: str, off: tuple[str, ...] = ()) -> NDArray[np.float64]:
    """Excursion over that of the same seed with both mechanisms off."""
    return np.asarray(excursions(scenario, off) / excursions(scenario, MECHANISMS))


def test_gamma_shock_cascades_through_both_channels_and_each() -> None:
    assert np.median(amplification("gamma_shock")) >= 1.5
    assert np.median(amplification("gamma_shock", ("delta_hedging",))) >= 1.2
    assert np.median(amplification("gamma_shock", ("liquidation",))) >= 1.2
    added = excursions("gamma_shock", ()) - excursions("gamma_shock", MECHANISMS)
    assert np.median(added) >= 150.0


def test_long_gamma_damps() -> None:
    hedged, unhedged = excursions("long_gamma", ()), excursions("long_gamma", ("delta_hedging",))
    assert np.mean(hedged < unhedged) >= 0.9


def test_calm_stays_calm() -> None:
    assert abs(np.median(amplification("calm")) - 1.0) <= 0.02


def test_short_squeeze_mirrors_long_squeeze() -> None:
    longs, shorts = amplification("long_squeeze"), amplification("short_squeeze")
    error = np.hypot(longs.std(ddof=1), shorts.std(ddof=1)) / np.sqrt(len(longs))
    assert abs(longs.mean() - shorts.mean()) < 3.0 * error
