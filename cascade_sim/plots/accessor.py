"""The charts of one result as its own methods: what ``result.plot`` is."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cascade_sim.domain.errors import UnknownNameError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cascade_sim.plots.catalogue import Chart
    from cascade_sim.result import RunResult

_PACKAGE = f"{__name__.rpartition('.')[0]}."


class UnknownChart(UnknownNameError, AttributeError):  # noqa: N818 - an attribute that is none, for hasattr too
    """A result was asked for a chart that the catalogue does not have."""


class ResultCharts:
    """Every chart of the catalogue as a method, by its name and, in short, by that of its file.

    ``result.plot.mark_with_counterfactuals()`` and ``result.plot.mark()`` draw the same. A method takes what the drawing
    function takes beside the result, and returns a figure that a notebook shows and ``savefig`` writes.

    Parameters
    ----------
    result
        Run to draw.
    """

    def __init__(self, result: RunResult) -> None:
        self._result = result

    def __getattr__(self, name: str) -> Callable[..., Figure]:
        """Return the method that draws a chart; matplotlib is imported when the first is asked for."""
        if name.startswith("_"):  # what Python and notebooks ask of any object is no chart
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        known = _charts()
        if name not in known:
            raise UnknownChart("chart", name, known)
        return _method(known[name], self._result)

    def __dir__(self) -> list[str]:
        return list(_charts())

    def __repr__(self) -> str:
        """One line for each chart."""
        lines: dict[str, list[str]] = {}
        for name, chart in _charts().items():
            lines.setdefault(chart.caption, []).append(f"{name}()")
        return "\n".join(f"{' or '.join(names)}: {caption}" for caption, names in lines.items())


def _charts() -> dict[str, Chart]:
    """Chart by every name that it goes by; of several in one file, the first has the short one."""
    # Not above: the catalogue imports this file among the others beside it, and matplotlib.
    from cascade_sim.plots.catalogue import CHARTS

    names: dict[str, Chart] = {}
    for name, chart in CHARTS.items():
        names[name] = chart
        home = chart.draw.__module__
        short = home.removeprefix(_PACKAGE)
        if home.startswith(_PACKAGE) and short not in CHARTS:
            names.setdefault(short, chart)
    return names


def _method(chart: Chart, result: RunResult) -> Callable[..., Figure]:
    """Return the drawing function with its first argument given, its documentation and its other arguments kept."""

    @functools.wraps(chart.draw)
    def draw(*args: Any, **keywords: Any) -> Figure:
        return chart.draw(result, *args, **keywords)

    signature = inspect.signature(chart.draw)
    others = list(signature.parameters.values())[1:]
    draw.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # as inspect documents it
    return draw
