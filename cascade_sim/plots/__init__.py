"""Charts of a run. Functions draw and never measure; every one returns a matplotlib Figure.

A module in this package that uses the `chart` decorator is found by itself: a new chart is one new file. Names below, and
matplotlib with them, are imported when one of them is first asked for.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cascade_sim.plots import settings  # before anything that imports matplotlib

if TYPE_CHECKING:
    from cascade_sim.plots.catalogue import CHARTS, Chart, chart, draw_chart
    from cascade_sim.plots.depth import depth_over_time
    from cascade_sim.plots.levels import liquidation_levels
    from cascade_sim.plots.mark import mark_with_counterfactuals
    from cascade_sim.plots.payers import who_paid
    from cascade_sim.plots.volume import volume_by_cause

__all__ = [
    "CHARTS",
    "Chart",
    "chart",
    "depth_over_time",
    "draw_chart",
    "liquidation_levels",
    "mark_with_counterfactuals",
    "settings",
    "volume_by_cause",
    "who_paid",
]


def __getattr__(name: str) -> Any:
    """Return a name of the catalogue, or a chart by its name, those of files that are not named above too."""
    # A module beside this one is not asked for as a chart: imports look here first.
    if name in __all__ or not (name.startswith("_") or find_spec(f"{__name__}.{name}")):
        catalogue = import_module("cascade_sim.plots.catalogue")
        if name in __all__ and hasattr(catalogue, name):
            return getattr(catalogue, name)
        if name in catalogue.CHARTS:
            return catalogue.CHARTS[name].draw
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
