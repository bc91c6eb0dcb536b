"""Every numeric field of a scenario at both ends of its documented range: it runs, or it is refused in one line."""

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from cases import Case
from fields import Leaf, numeric_leaves, scenario_leaves
from fuzz import Outcome, Worker

TINY: dict[str, Any] = {
    "run.steps": 30,
    "run.burn_in_steps": 5,
    "run.event_window_seconds": None,
    "traders.count": 60,
    "traders.open_interest": 3000.0,
    "liquidity.count": 4,
    "dealers.count": 2,
    "options.strikes": 6,
    "shock.at_seconds": 8.0,
    "shock.duration_seconds": 10.0,
    "shock.quantity": 300.0,
}
LONG = {"run.steps", "run.burn_in_steps", "traders.count", "portfolios.count", "holders.count"}
"""Fields whose upper end is accepted and takes hours, or more memory than a test may."""


def background_name(leaf: Leaf) -> str | None:
    """The kind of background flow that a field belongs to."""
    if not leaf.path.startswith("background."):
        return None
    union = next(each for each in scenario_leaves() if each.kind == "union")
    return next(name for name, variant in union.variants.items() if leaf in variant)


def ends(leaf: Leaf) -> Iterator[float | int]:
    """The least and the largest number that the field documents; just inside where the bound itself is outside."""
    low, high = leaf.low, leaf.high
    if leaf.above:
        low = math.nextafter(low, math.inf) if low else 1e-9
    if leaf.below:
        high = math.nextafter(high, -math.inf)
    for value in (low, high):
        if not (value == high and leaf.path in LONG):
            yield round(value) if leaf.kind == "int" else value


def end_cases() -> Iterator[tuple[str, Case]]:
    """One case for each end of each field, with the mechanism switched on that reads it where one is off by default."""
    for leaf in numeric_leaves():
        name = background_name(leaf)
        for value in ends(leaf):
            inside = {} if name is None else {"background.name": name}
            # The fields of an entry have no section of their own: a source of the index.
            path = leaf.path if "." in leaf.path else f"index.sources.one.{leaf.path}"
            changes = {**TINY, **inside, path: value}
            yield f"{path}={value!r}", Case("gamma_shock", 1, changes)


@pytest.mark.slow
def test_both_ends_of_every_number_run_or_are_refused_in_one_line() -> None:
    worker = Worker(300.0)
    cases = list(end_cases())
    assert len(cases) > 350
    wrong = []
    accepted = 0
    try:
        for label, case in cases:
            outcome: Outcome = worker.run(case.as_json())
            accepted += outcome.outcome in ("finished", "stopped")
            if not outcome.is_sound:
                wrong.append(f"{label}: {outcome.outcome} {outcome.detail}\n  {case.line}")
            elif outcome.outcome == "refused" and not outcome.detail:
                wrong.append(f"{label}: refused without a reason")
    finally:
        worker.close()
    assert not wrong, "\n".join(wrong)
    assert accepted > len(cases) // 2, "most ends are meant to be accepted"


def test_a_case_is_told_by_its_line() -> None:
    _, case = next(iter(end_cases()))
    assert case.line.startswith("cascade-sim run gamma_shock --seed 1 --no-charts --set run.steps=30 ")
    assert json.loads(case.as_json())["changes"] == case.changes
