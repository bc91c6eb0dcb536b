"""What a model tells a collector of Mesa's after every step: a few numbers that cost next to nothing to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_sim.domain.units import ATOMS_PER_UNIT

if TYPE_CHECKING:
    from cascade_sim.model.simulation import Simulation


def seed(model: Simulation) -> int:
    """Seed of the run: with it, `cascade_sim.run` makes the same run again."""
    return model.seed


def step(model: Simulation) -> int:
    """The step that was made, negative during burn-in."""
    return model.step_number - 1


def mark(model: Simulation) -> float:
    """Mark of the first market, quote currency."""
    return float(model.instrument.ticks_to_prices(np.asarray(float(model.main.parts.market.mark))))


def liquidated_accounts(model: Simulation) -> int:
    """Accounts of the first market closed by force so far."""
    return int(model.state.world.totals.liquidated_accounts)


def bad_debt(model: Simulation) -> float:
    """Bad debt of the first market so far, quote currency."""
    return int(model.state.world.totals.bad_debt) / ATOMS_PER_UNIT


REPORTERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {each.__name__: each for each in (seed, step, mark, liquidated_accounts, bad_debt)}
)
"""Reporters by the name of their column."""
