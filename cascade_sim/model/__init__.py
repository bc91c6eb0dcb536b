"""The model: agents on order books, a clearing house over their accounts, one readable step."""

from cascade_sim.model.cascade_model import (
    CAPACITIES,
    CascadeModel,
    Market,
    check_inputs,
    needs_markets_driver,
)

__all__ = [
    "CAPACITIES",
    "CascadeModel",
    "Market",
    "check_inputs",
    "needs_markets_driver",
]
