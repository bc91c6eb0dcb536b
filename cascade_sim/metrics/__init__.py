"""Measurements: pure functions of what was recorded.

Every module of this package is loaded, so a metric is one file.
"""

from importlib import import_module
from pkgutil import iter_modules

from cascade_sim.metrics.catalogue import METRICS, Metric, metric
from cascade_sim.metrics.facts import RunFacts

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

from cascade_sim.metrics.summary import summarise  # noqa: E402 - after the loop: it reads the filled registry

__all__ = ["METRICS", "Metric", "RunFacts", "metric", "summarise"]
