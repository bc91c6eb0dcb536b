"""Measurements: pure functions of what a run came to, and of what was recorded.

Every module of this package is loaded, so a metric is one file.
"""

from importlib import import_module
from pkgutil import iter_modules

from cascade_sim.metrics.catalogue import METRICS, TABLE_METRICS, Metric, metric, table_metric
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.metrics.runs import Runs

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

from cascade_sim.metrics.summary import columns, summarise, summary_keys  # noqa: E402 - after the others, in order

__all__ = [
    "METRICS",
    "TABLE_METRICS",
    "Metric",
    "RunFacts",
    "Runs",
    "columns",
    "metric",
    "summarise",
    "summary_keys",
    "table_metric",
]
