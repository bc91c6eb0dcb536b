"""Charts of a run. Functions draw and never measure; every one returns a matplotlib Figure.

A module in this package that uses the `chart` decorator is found by itself: a new chart is one new file.
"""

from importlib import import_module
from pkgutil import iter_modules

from cascade_sim.plots import settings  # before anything that imports matplotlib
from cascade_sim.plots.catalogue import CHARTS, Chart, chart, draw_chart
from cascade_sim.plots.depth import depth_over_time
from cascade_sim.plots.levels import liquidation_levels
from cascade_sim.plots.mark import mark_with_counterfactuals
from cascade_sim.plots.payers import who_paid
from cascade_sim.plots.volume import volume_by_cause

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

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
