"""How the engine's speed and memory depend on the number of leveraged traders, and what a liquidation costs."""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.clearing.views import DistressedAccounts
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import RunFailed
from cascade_sim.model import CascadeModel
from cascade_sim.scenario import load_scenario

MARKET = Path(__file__).resolve().parents[1] / "scenarios" / "benchmark" / "active.yaml"
STRETCHES = {1_000: 40_000, 10_000: 20_000, 100_000: 4_000, 1_000_000: 600}
"""Traders, and steps of one measured stretch."""
_REPEATS = 5
_LIQUIDATIONS: dict[str, Any] = {
    "traders.long_share": 1.0,
    "traders.activity.wake_rate": 0.0,
    "traders.activity.reentry.probability": 0.0,
    "background.patient_orders": 4_000,
    "background.patient_size": 1_000.0,
    "clearing.sizing": {"name": "full"},
    "clearing.accounts_per_second": 1e6,
}
"""A book that takes every close-out whole, accounts that are closed at once, and an engine without a limit."""

_RESIDENT = """
import gc, pathlib, sys
from cascade_sim.lab.scaling import active_model
model = active_model(int(sys.argv[1]))
model.run(until=200)
gc.collect()
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")))
"""


@dataclass(frozen=True)
class MarginRatioInPython:
    """The default priority without its compiled form."""

    def score(self, accounts: DistressedAccounts) -> NDArray[np.float64]:
        """Return equity over notional, shape (n,)."""
        return accounts.margin_ratio


def active_model(traders: int, **changes: Any) -> CascadeModel:
    """Return the benchmark market with a number of traders, after its first steps.

    Parameters
    ----------
    traders : int
    **changes
        Overrides of the scenario by dotted path.
    """
    model = CascadeModel(load_scenario(MARKET).with_overrides({"traders.count": traders, **changes}), rng=1)
    model.run(until=20)
    return model


def _seconds(model: CascadeModel, steps: int) -> float:
    until = model.step_number + steps
    began = time.perf_counter()
    model.run(until=until)
    return time.perf_counter() - began


def steps_per_second() -> dict[str, float]:
    """Steps per second of the active market, by number of traders; the best of several stretches of one run."""
    figures = {}
    for traders, steps in STRETCHES.items():
        model = active_model(traders)
        best = min(_seconds(model, steps) for _ in range(_REPEATS))
        figures[f"steps_per_second_1e{len(str(traders)) - 1}"] = steps / best
        model.close()
    return figures


def growth() -> float:
    """Cost of a step among a million traders over that among a thousand, with one action a step in both.

    The two take turns; the median of the ratios.
    """
    few, steps = active_model(1_000), 10_000
    many = active_model(1_000_000, **{"traders.activity.wake_rate": 1.0e-6})
    ratios = [_seconds(many, steps) / _seconds(few, steps) for _ in range(_REPEATS)]
    few.close()
    many.close()
    return statistics.median(ratios)


def _liquidate(model: CascadeModel, accounts: int) -> tuple[float, int]:
    """Make one step whose liquidation phase sees a mark that has reached some accounts, set by hand.

    Returns the seconds of that phase and the number of accounts that it closed or reduced.
    """
    for phase in range(lay.PHASE_LIQUIDATE):
        model._phase(phase)
    model.state.world.market.mark = np.sort(model.state.watch[lay.WATCH_LIQUIDATE_LONG])[-accounts]
    before = np.array(model.state.accounts["position"])
    began = time.perf_counter()
    model._phase(lay.PHASE_LIQUIDATE)
    seconds = time.perf_counter() - began
    margined = (model.state.accounts["traits"] & lay.FLAG_MARGINED) != 0
    moved = (before != model.state.accounts["position"]) & margined
    model._phase(lay.PHASE_RECORD)
    return seconds, int(moved.sum())


def ns_per_liquidation() -> float:
    """Nanoseconds of the liquidation phase per account that it closes or reduces, with the built-in rules.

    Five hundred accounts become distressed in each of ten steps; the median.
    """
    model = active_model(20_000, **_LIQUIDATIONS)
    found = []
    for _ in range(10):
        seconds, closed = _liquidate(model, 500)
        if closed < 450:
            raise RunFailed(f"liquidations: expected 450 in one step, received {closed}")
        found.append(1.0e9 * seconds / closed)
    model.close()
    return statistics.median(found)


def python_rule_step_us() -> float:
    """Microseconds of a liquidation phase that asks a Python rule about 50 accounts; the median of many."""
    rule = f"{__name__}:MarginRatioInPython"
    settings = {**_LIQUIDATIONS, "clearing.priority": {"name": rule}, "clearing.accounts_per_second": 50.0}
    model = active_model(20_000, **settings)
    found = []
    for _ in range(100):
        seconds, closed = _liquidate(model, 50)
        if closed < 40:
            raise RunFailed(f"liquidations by a Python rule: expected 40 in one step, received {closed}")
        found.append(1.0e6 * seconds)
    model.close()
    return statistics.median(found)


def bytes_per_account() -> float | None:
    """Resident bytes that one more trader adds: the difference between a million and a hundred thousand; Linux only."""
    if not Path("/proc/self/status").exists():
        return None
    sizes = {}
    for traders in (100_000, 1_000_000):
        command = [sys.executable, "-c", _RESIDENT, str(traders)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RunFailed(f"market of {traders} traders: expected status 0, received {done.returncode}")
        sizes[traders] = 1024 * int(done.stdout)
    return (sizes[1_000_000] - sizes[100_000]) / 900_000
