"""Margin models: how much equity a position needs."""

from dataclasses import dataclass

from cascade_sim.registry import MARGINS


@MARGINS.register("isolated_linear")
@dataclass(frozen=True)
class IsolatedLinear:
    """Isolated margin on a linear contract, tiered by notional: N m_k - c_k of the tier in force."""
