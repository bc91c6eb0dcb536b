"""What the suites share: every registered component, variations of its parameters, worlds with random accounts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from test_model import small

import cascade_sim as cs
from cascade_sim.agents.leveraged_trader import LeveragedTraders
from cascade_sim.registry import REGISTRIES, Registry

COMPONENTS = tuple((kind, name) for kind, registry in REGISTRIES.items() for name in registry.names())
"""Every registered component as (scenario path, name)."""
SHORT: Mapping[str, Any] = {"run.steps": 60, "run.burn_in_steps": 10, "shock.at_seconds": 10.0}
"""Changes to the small scenario with which it still liquidates and hedges."""
WORKING: Mapping[str, Any] = {**SHORT, "dealers.hedging": {"name": "clock", "interval_seconds": 5.0}}
SEEDS = (1, 2, 3)


def rules(registry: Registry[Any], method: str | None = None, *, compiled: bool | None = None) -> list[str]:
    """Return the names of a registry whose classes have a method and, or not, a compiled code.

    Parameters
    ----------
    registry : Registry
        Whose components.
    method : str, optional
        Name of the method of the Python form.
    compiled : bool, optional
        Whether there must be a compiled code; any by default.
    """
    found = []
    for name in registry.names():
        rule = registry.get(name)
        if method is not None and not hasattr(rule, method):
            continue
        if compiled is None or hasattr(rule, "compiled") == compiled:
            found.append(name)
    return found


def parameters() -> Iterator[tuple[str, str, str, Any]]:
    """Yield (scenario path, component, parameter, its annotation) of everything registered."""
    for kind, name in COMPONENTS:
        component = REGISTRIES[kind].get(name)
        hints = get_type_hints(component)
        for parameter in fields(component):
            if parameter.init:
                yield kind, name, parameter.name, hints[parameter.name]


def parameter_text(component: type[Any], parameter: str) -> str:
    """Return what the ``Parameters`` section of a docstring says about a parameter; empty when nothing."""
    lines = (component.__doc__ or "").splitlines()
    for place, line in enumerate(lines):
        if re.match(rf"\s*{parameter}\b.* : ", line) or re.match(rf"\s*(\w+, )*{parameter}(, \w+)* :", line):
            indent = len(line) - len(line.lstrip())
            text = []
            for following in lines[place + 1 :]:
                if following.strip() and len(following) - len(following.lstrip()) <= indent:
                    break
                text.append(following.strip())
            return " ".join(text).strip()
    return ""


def varied(registry: Registry[Any], name: str) -> dict[str, Any]:
    """Return a specification of a component with every number moved away from its default but kept valid."""
    specification = registry.complete(name)
    for key, value in specification.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        specification[key] = type(value)(value / 2) if isinstance(value, float) else value + 1
    return specification


def specifications(registry: Registry[Any], name: str) -> list[dict[str, Any]]:
    """Return a component with its defaults and, if it has parameters, with others."""
    plain = registry.complete(name)
    other = varied(registry, name)
    return [plain] if other == plain else [plain, other]


def model_with(kind: str, specification: Any, seed: int = 3, **changes: Any) -> cs.CascadeModel:
    """Return a model of the short scenario with one component replaced."""
    return cs.CascadeModel(small(**{**WORKING, **changes, kind: specification}), rng=seed)


def random_ids(model: cs.CascadeModel) -> NDArray[np.int64]:
    """Return the ids, ascending, of the leveraged traders."""
    cohort = model.populations[LeveragedTraders]
    return np.arange(cohort.first_account, cohort.first_account + cohort.count, dtype=np.int64)


def scramble(model: cs.CascadeModel, seed: int, low: float, high: float) -> NDArray[np.int64]:
    """Give the leveraged traders random positions and equity over notional in [low, high) under a random mark.

    Notionals fall in several of three margin tiers. Returns the ids of those accounts.
    """
    generator = np.random.default_rng([7, seed])
    world, instrument = model.state.world, model.instrument
    world.market.mark = model.initial_tick * generator.uniform(0.8, 1.2)
    world.control.step = int(generator.integers(0, 50))
    clearing = world.config.clearing
    clearing.tiers = 3
    clearing.tier_rate[:3] = [0.01, 0.02, 0.05]
    bounds = [instrument.cash_to_atoms(20_000.0), instrument.cash_to_atoms(300_000.0)]
    clearing.tier_deduction[:3] = [0.0, 0.01 * bounds[0], 0.01 * bounds[0] + 0.03 * bounds[1]]
    ids = random_ids(model)
    size = np.ceil(10.0 ** generator.uniform(0.0, 6.0, len(ids))).astype(np.int64)
    lots = size * generator.choice([-1, 1], len(ids))
    value = lots * float(world.market.mark) * int(world.config.atoms)
    equity = generator.uniform(low, high, len(ids)) * np.abs(value)
    rows = model.state.accounts
    rows["position"][ids] = lots
    rows["cash"][ids] = np.round(equity - value).astype(np.int64)
    rows["entry_tick"][ids] = float(world.market.mark) * np.exp(generator.normal(0.0, 0.05, len(ids)))
    rows["first_breach_step"][ids] = generator.integers(-1, 50, len(ids))
    # Some accounts are twins, so that scores tie.
    rows[ids[10:14]] = rows[ids[20:24]]
    return ids


def columns_of(view: object) -> dict[str, bytes]:
    """Return every array of a view as bytes, and every other value as text."""
    found = {}
    for name, value in vars(view).items():
        found[name] = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
    return found
