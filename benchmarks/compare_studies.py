"""Studies beside what users wrote before there were any: a loop over single runs, and one ensemble per point.

    python benchmarks/compare_studies.py compare [--seeds 50]
    python benchmarks/compare_studies.py sweep [--runs 10000]

``compare`` sets `cs.compare` of the three built-in priority rules on ``gamma_shock`` against a loop over
``cs.run(..., probe=False)``, and one arm with a rule in Python likewise. ``sweep`` sets `cs.sweep` against `run_ensemble` of
the same runs: ``benchmark/small``, and a market whose run takes longer. Everything is warm, wall seconds side by side.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cascade_sim as cs

RULES = ("worst_margin_ratio_first", "largest_notional_first", "random")


@dataclass(frozen=True)
class WorstFirst:
    """The built-in rule, written in Python."""

    def score(self, accounts: Any) -> Any:
        """Return equity over notional."""
        return np.asarray(accounts.equity) / np.asarray(accounts.notional)


def _seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _loop(rules: tuple[str, ...], seeds: int) -> None:
    base = cs.load_scenario("gamma_shock")
    for rule in rules:
        scenario = base.with_overrides({"clearing.priority.name": rule})
        for seed in range(seeds):
            cs.run(scenario, seed, probe=False)


def _compared(rules: tuple[str, ...], seeds: int) -> None:
    arms = {rule: {"clearing.priority.name": rule} for rule in rules}
    cs.compare("gamma_shock", arms=arms, replications=seeds, controls=len(rules) == 1)


def compare(seeds: int) -> dict[str, float]:
    """Seconds of loop and comparison, and their ratios."""
    own = f"{Path(__file__).stem}:WorstFirst"
    _loop(RULES[:1], 1)
    cs.run_ensemble("gamma_shock", 2)
    figures: dict[str, float] = {}
    figures["loop_seconds"] = _seconds(lambda: _loop(RULES, seeds))
    figures["compare_seconds"] = _seconds(lambda: _compared(RULES, seeds))
    figures["compare_speedup"] = figures["loop_seconds"] / figures["compare_seconds"]
    scenario = cs.load_scenario("gamma_shock").with_overrides({"clearing.priority.name": own})
    figures["python_loop_seconds"] = _seconds(lambda: _loop((own,), seeds))
    figures["python_ensemble_seconds"] = _seconds(lambda: cs.run_ensemble(scenario, seeds))
    figures["python_speedup"] = figures["python_loop_seconds"] / figures["python_ensemble_seconds"]
    return figures


def sweep(runs: int) -> dict[str, float]:
    """Seconds of ensembles and sweeps of the same runs, and what a sweep costs more."""
    small = Path(cs.__file__).parent / "scenarios" / "benchmark" / "small.yaml"
    longer = {"run.steps": 9000}
    figures: dict[str, float] = {}
    for name, overrides, count in (("small", {}, runs), ("longer", longer, runs // 10)):
        scenario = cs.load_scenario(small).with_overrides(overrides)
        cs.run_ensemble(scenario, 4)
        experiment = {"name": name, "scenario": str(small), "overrides": overrides, "replications": count}
        with tempfile.TemporaryDirectory() as folder:
            figures[f"{name}_sweep_seconds"] = _seconds(lambda: cs.sweep(experiment, Path(folder) / "out"))  # noqa: B023 (called at once)
        figures[f"{name}_ensemble_seconds"] = _seconds(lambda: cs.run_ensemble(scenario, count))  # noqa: B023 (called at once)
        figures[f"{name}_milliseconds_a_run"] = 2e3 * figures[f"{name}_ensemble_seconds"] / count
        figures[f"{name}_ratio"] = figures[f"{name}_sweep_seconds"] / figures[f"{name}_ensemble_seconds"]
    return figures


def main() -> None:
    """Print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("compare", "sweep"))
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--runs", type=int, default=10_000)
    asked = parser.parse_args()
    figures = compare(asked.seeds) if asked.what == "compare" else sweep(asked.runs)
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
