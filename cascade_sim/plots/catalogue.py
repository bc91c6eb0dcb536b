"""The list of charts and the style they share."""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import as_file, files
from io import BytesIO
from pkgutil import iter_modules
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from cascade_sim import plots
from cascade_sim.domain.errors import UnknownNameError
from cascade_sim.plots.picture import NO_GLYPH
from cascade_sim.result import RunResult

_NO_STYLE = ("backend", "backend_fallback", "interactive", "toolbar", "timezone")
_PLACES: dict[str, int] = {}


class ChartFigure(Figure):
    """A figure that every notebook shows: one that pyplot did not make is text there until ``%matplotlib inline``."""

    def _repr_png_(self) -> bytes:
        picture = BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", NO_GLYPH, UserWarning)
            self.savefig(picture, format="png", dpi="figure")
        return picture.getvalue()


@dataclass(frozen=True)
class Chart:
    """One chart of the catalogue.

    Attributes
    ----------
    name
        Name of the drawing function; also the name of the picture file.
    draw
        Function of a result (and, for some, of counterfactual arms) that returns a figure.
    caption
        One line that says what the reader sees.
    """

    name: str
    draw: Callable[..., Figure]
    caption: str

    def __call__(self, result: Any, arms: Mapping[str, pd.DataFrame] | None = None) -> Figure:
        """Draw the chart, with the arms where the chart shows them.

        Parameters
        ----------
        result
            Run, or comparison, to draw.
        arms
            Label -> series table of a counterfactual run; those the result keeps when None.

        Returns
        -------
        matplotlib.figure.Figure
        """
        if "arms" in inspect.signature(self.draw).parameters:
            return self.draw(result, arms)
        return self.draw(result)


CHARTS: dict[str, Chart] = {}
"""Charts of a run."""
COMPARISON_CHARTS: dict[str, Chart] = {}
"""Charts of a comparison."""


SWEEP_CHARTS: dict[str, Chart] = {}
"""Charts of a sweep."""


def sweep_chart(*, caption: str, place: int) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Enter a drawing function of a `Swept` into the catalogue; see `chart`."""
    return _entering(SWEEP_CHARTS, caption, place)


def comparison_chart(*, caption: str, place: int) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Enter a drawing function of a `Comparison` into the catalogue; see `chart`."""
    return _entering(COMPARISON_CHARTS, caption, place)


def chart(*, caption: str, place: int) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Enter a drawing function into the catalogue and draw it in the shared style.

    Parameters
    ----------
    caption
        One line that says what the reader sees.
    place
        Position in reports; smaller comes first, equal places go by name.

    Returns
    -------
    callable
        Decorator.
    """
    return _entering(CHARTS, caption, place)


def _entering(
    charts: dict[str, Chart], caption: str, place: int
) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    def enter(draw: Callable[..., Figure]) -> Callable[..., Figure]:
        @functools.wraps(draw)
        def styled(*args: Any, **keywords: Any) -> Figure:
            with matplotlib.rc_context(_style()):
                figure = draw(*args, **keywords)
            figure.__class__ = ChartFigure  # how it is shown is no matter of those who draw
            return figure

        name = draw.__name__
        _PLACES[name] = place
        charts[name] = Chart(name, styled, caption)
        for key in sorted(charts, key=lambda item: (_PLACES[item], item)):
            charts[key] = charts.pop(key)
        return styled

    return enter


@functools.cache
def _style() -> Any:
    """Read every setting of the shared style, the rest as matplotlib has it; where it draws to stays as it is."""
    with as_file(files("cascade_sim.plots").joinpath("cascade.mplstyle")) as path:
        settings = matplotlib.rc_params_from_file(path)
    return {name: settings[name] for name in settings if name not in _NO_STYLE}


def draw_chart(name: str, result: RunResult, arms: Mapping[str, pd.DataFrame] | None = None) -> Figure:
    """Draw a chart of the catalogue by name.

    Parameters
    ----------
    name
        Key of `CHARTS`.
    result
        Run to draw.
    arms
        Label -> series table of a counterfactual run.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    UnknownNameError
        If there is no such chart.
    """
    if name not in CHARTS:
        raise UnknownNameError("chart", name, CHARTS)
    return CHARTS[name](result, arms)


# Last of all: the modules of charts import this one.
for _module in iter_modules(plots.__path__):
    import_module(f"{plots.__name__}.{_module.name}")
