"""The model: agents on order books, a clearing house over their accounts, one readable step."""

from cascade_sim.model.cascade_model import (
    CAPACITIES,
    CAPACITY_FIELDS,
    CascadeModel,
    capacity_text,
    check_inputs,
    needs_markets_driver,
)
from cascade_sim.model.market import Market, instrument_of, market_seed

__all__ = [
    "CAPACITIES",
    "CAPACITY_FIELDS",
    "CascadeModel",
    "Market",
    "capacity_text",
    "check_inputs",
    "instrument_of",
    "market_seed",
    "needs_markets_driver",
]
