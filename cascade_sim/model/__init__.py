"""The model: agents on order books, a clearing house over their accounts, one readable step.

`Simulation` is all of it that is compiled; `CascadeModel` makes it a model of Mesa's, which agents written in Python
need. Mesa is imported when the first of them is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cascade_sim.model.market import Market, instrument_of, market_seed
from cascade_sim.model.simulation import (
    ALL_PHASES,
    CAPACITIES,
    CAPACITY_FIELDS,
    Simulation,
    build,
    capacity_text,
    check_inputs,
    needs_markets_driver,
)

if TYPE_CHECKING:
    from cascade_sim.model.cascade_model import CascadeModel

__all__ = [
    "ALL_PHASES",
    "CAPACITIES",
    "CAPACITY_FIELDS",
    "CascadeModel",
    "Market",
    "Simulation",
    "build",
    "capacity_text",
    "check_inputs",
    "instrument_of",
    "market_seed",
    "needs_markets_driver",
]


def __getattr__(name: str) -> Any:
    """Import the model that is Mesa's when it is first asked for."""
    if name != "CascadeModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("cascade_sim.model.cascade_model").CascadeModel
