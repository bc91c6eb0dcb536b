"""Random scenarios, small enough to run in a second or two, as changes of a scenario of the library."""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass
from random import Random
from typing import Any

from fields import AGENTS, Leaf, scenario_leaves

from cascade_sim.domain.errors import ScenarioError
from cascade_sim.registry import REGISTRIES
from cascade_sim.scenario import Scenario, load_scenario, scenario_names

SMALL: dict[str, Any] = {
    "run.steps": 200,
    "run.burn_in_steps": 40,
    "run.event_window_seconds": None,
    "run.depth_every_steps": 20,
    "run.map_every_steps": 20,
    "traders.count": 300,
    "traders.open_interest": 12_000.0,
    "liquidity.count": 6,
    "dealers.count": 3,
    "options.strikes": 12,
    "shock.at_seconds": 60.0,
    "shock.duration_seconds": 30.0,
    "shock.quantity": 1500.0,
}
MOST: dict[str, float] = {
    "run.steps": 500,
    "run.burn_in_steps": 200,
    "run.dt": 30.0,
    "traders.count": 2_000,
    "portfolios.count": 200,
    "holders.count": 60,
    "background.limit_rate": 60.0,
    "background.market_rate": 60.0,
    "background.patient_orders": 3_000,
    "background.window_ticks": 3_000,
    "background.patient_lifetime_seconds": 1e9,
}
"""Bounds of what decides how long a case takes; whatever is beyond has its own test at the ends of every field."""
CHANGED = frozenset({"name", "title", "description", "market.venue"})
_KEPT_REFUSALS = 0.01
_AGENT_LABELS = ("first", "second")


@dataclass(frozen=True)
class Case:
    """A scenario of the library, a seed, and what is changed by path."""

    name: str
    seed: int
    changes: dict[str, Any]

    @property
    def line(self) -> str:
        """The command that runs the case again; agents are found in ``tests/fuzz``."""
        words = ["cascade-sim", "run", self.name, "--seed", str(self.seed), "--no-charts"]
        for path, value in self.changes.items():
            words += ["--set", shlex.quote(f"{path}={json.dumps(value)}")]
        return " ".join(words)

    def as_json(self) -> str:
        """One line for the worker."""
        return json.dumps({"name": self.name, "seed": self.seed, "changes": self.changes})


def random_case(seed: int) -> Case:
    """Return the case of a number: the same one each time."""
    random = Random(seed)
    name = random.choice(scenario_names())
    changes = dict(SMALL)
    if name == "spot_and_perpetual":
        changes = {path: value for path, value in changes.items() if path != "traders.open_interest"}
    base = load_scenario(name)
    wanted = [_change(random, leaf) for leaf in random.sample(_LEAVES, 1 + int(random.expovariate(1 / 9)))]
    if random.random() < 0.2:
        wanted.append(_agents(random))
    if random.random() < 0.2:
        wanted.append(_further_market(random))
    if random.random() < 0.3:
        wanted.append(_latency(random))
    for change in wanted:
        # Most cases shall run, some shall be refused.
        if _is_accepted(base, {**changes, **change}) or random.random() < _KEPT_REFUSALS:
            changes.update(change)
    return Case(name, random.randrange(1000), changes)


def _is_accepted(base: Scenario, changes: dict[str, Any]) -> bool:
    try:
        base.with_overrides(changes)
    except ScenarioError:
        return False
    return True


def _change(random: Random, leaf: Leaf) -> dict[str, Any]:
    """Values for one leaf by path."""
    if leaf.kind == "union":
        chosen = random.choice(sorted(leaf.variants))
        found: dict[str, Any] = {f"{leaf.path}.name": chosen}
        fields = [each for each in leaf.variants[chosen] if not each.path.endswith(".name")]
        for each in random.sample(fields, random.randint(0, len(fields))):
            found.update(_change(random, each))
        return found
    if leaf.kind == "rule":
        return _rule(random, leaf)
    if leaf.kind == "entries":
        entries = {}
        for number in range(random.randint(1, 3)):
            entry: dict[str, Any] = {}
            for each in random.sample(leaf.variants[""], random.randint(0, len(leaf.variants[""]))):
                if each.path != "market":
                    entry.update(_change(random, each))
            entries[f"source{number}"] = entry
        return {leaf.path: entries}
    return {leaf.path: _value(random, leaf)}


def _rule(random: Random, leaf: Leaf) -> dict[str, Any]:
    name = random.choice(leaf.words)
    found = {f"{leaf.path}.name": name}
    for parameter in REGISTRIES[leaf.path].describe(name).parameters:
        usual = parameter.default
        number = isinstance(usual, (int, float)) and not isinstance(usual, bool)
        if parameter.required or (number and random.random() < 0.5):
            value = (usual if number and usual else 1.0) * math.exp(random.gauss(0.0, 1.2))
            whole = isinstance(usual, int) or "whole" in parameter.type
            found[f"{leaf.path}.{parameter.name}"] = round(value) if whole else value
    return found


def _value(random: Random, leaf: Leaf) -> Any:
    if leaf.optional and random.random() < 0.2:
        return None
    if leaf.words:
        return random.choice(leaf.words)
    if leaf.kind == "numbers":
        least, most = leaf.length
        values = [_number(random, leaf, None) for _ in range(random.randint(least, max(least, most)))]
        return sorted(values) if random.random() < 0.8 else values
    if leaf.kind == "windows":
        return [[first, first + random.uniform(1.0, 60.0)] for first in (random.uniform(0, 200.0),)]
    if leaf.kind == "text":
        return random.choice(["X", "ETH", "BTC", "a b", "é"])
    return _number(random, leaf, leaf.default)


def _number(random: Random, leaf: Leaf, usual: float | None) -> float | int:
    """A value within the documented bounds: near the usual one, at an end, or anywhere."""
    low, high = leaf.low, min(leaf.high, MOST.get(leaf.path, math.inf))
    kind = random.random()
    if usual and kind < 0.8:
        value = usual * math.exp(random.gauss(0.0, 1.0))
    elif kind < 0.85:
        value = low
    elif kind < 0.9:
        value = high
    else:
        span = max(abs(low), abs(high), 1e-9)
        value = span * math.exp(random.uniform(math.log(1e-9), 0.0)) * (-1 if low < 0 and kind > 0.95 else 1)
    value = min(max(value, low), high)
    if leaf.kind == "int":
        return round(value)
    if (leaf.above and value == low) or (leaf.below and value == high):
        value = 0.5 * (low + min(high, low + 1.0))
    return value


def _agents(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for label in random.sample(_AGENT_LABELS, random.randint(1, 2)):
        count = random.choice([1, 2, 5, 80])
        found[f"agents.{label}"] = {"name": random.choice(AGENTS), "count": count}
    return found


def _further_market(random: Random) -> dict[str, Any]:
    """A second market that differs in a few fields; sometimes with portfolios over both."""
    change: dict[str, Any] = {}
    for leaf in random.sample(_LEAVES, random.randint(0, 5)):
        if leaf.path.partition(".")[0] in ("run", "switches", "portfolios", "name"):
            continue
        for path, value in _change(random, leaf).items():
            place = change
            *sections, last = path.split(".")
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
    found: dict[str, Any] = {"markets": {"second": change}}
    if random.random() < 0.5:
        found |= {
            "portfolios.count": random.randint(1, 60),
            "portfolios.open_interest": random.uniform(0, 5000),
        }
    return found


def _latency(random: Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for leaf in _LEAVES:
        if leaf.path.startswith("latency.") and random.random() < 0.3:
            found[leaf.path] = random.choice([0.0, random.expovariate(0.3), random.expovariate(0.02)])
            if leaf.kind == "int":
                found[leaf.path] = random.choice([0, 5, 50, 500])
    return found


_LEAVES = [leaf for leaf in scenario_leaves() if leaf.path not in CHANGED and not leaf.path.endswith(".path")]
