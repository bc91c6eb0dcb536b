"""Resting quantity near the mid over time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter
from numpy.typing import NDArray

from cascade_sim.domain.errors import UnknownNameError
from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import (
    bin_width,
    clock_of,
    drawn_series,
    headline,
    mark_origin,
    plain_axis,
    say,
)
from cascade_sim.plots.words import compact, currencies, percent
from cascade_sim.result import RunResult

_BANDS = ((100, "#009E73", "-", "o"), (50, "#0072B2", "--", "s"), (10, "#D55E00", ":", "^"))


@chart(
    caption="Resting quantity near the mid, both sides together: median of each half minute, least to most shaded.",
    place=30,
)
def depth_over_time(result: RunResult, scale: str = "log", market: tuple[str, str] | None = None) -> Figure:
    """Draw two-sided depth within 0.1, 0.5 and 1 % of mid against time.

    Parameters
    ----------
    result
        Run to draw.
    scale
        ``log`` (zero is drawn below a break, an empty book has no logarithm) or ``linear``.
    market
        Venue and instrument; the first of the run when None.

    Returns
    -------
    matplotlib.figure.Figure
        Bid plus ask depth in base units.

    Raises
    ------
    UnknownNameError
        If the scale is unknown.
    """
    if scale not in ("log", "linear"):
        raise UnknownNameError("scale of the depth chart", scale, ("log", "linear"))
    clock = clock_of(result)
    base, _ = currencies(result)
    figure = Figure()
    axes = figure.subplots()
    headline(axes, _message(result.summary))
    axes.set_xlabel(clock.label)
    axes.set_ylabel(f"bid plus ask quantity, {base}")
    names = [f"{side}_depth_{band}bp" for side in ("bid", "ask") for band, *_ in _BANDS]
    series = drawn_series(result, names, clock, market)
    depths = {
        band: (series[f"bid_depth_{band}bp"] + series[f"ask_depth_{band}bp"]).to_numpy(dtype=np.float64)
        for band, *_ in _BANDS
    }
    everything = np.concatenate(list(depths.values()))
    positive = everything[everything > 0.0]
    if positive.size == 0:
        say(axes, "no series recorded" if series.empty else "no resting quantity near the mid was recorded")
        return figure
    minutes = clock.minutes(series)
    if minutes[0] < minutes[-1]:
        axes.set_xlim(minutes[0], minutes[-1])
    for band, colour, line, marker in _BANDS:
        middle, median, least_and_most = _by_time(minutes, depths[band])
        axes.fill_between(middle, *least_and_most, color=colour, alpha=0.18, linewidth=0.0)
        axes.plot(
            middle,
            median,
            color=colour,
            linestyle=line,
            linewidth=1.5,
            marker=marker,
            markevery=0.09,
            markersize=5.0,
            markerfacecolor="white",
            label=f"within {band / 100:g} %",
        )
    if scale == "log":
        _log_with_zero(axes, positive)
    else:
        axes.set_ylim(bottom=0.0)
        plain_axis(axes, "y")
    mark_origin(axes, clock)
    figure.legend(loc="outside lower center", ncols=3, handlelength=3.2)
    return figure


def _message(summary: Mapping[str, Any]) -> str:
    worst = summary.get("worst_depth")
    if worst is None:
        return "Depth of the book near the mid"
    if worst <= 0.0:
        return "The book within 0.1 % of the mid ran empty"
    verb = "fell to" if worst < 0.5 else "never fell below"
    return f"Depth within 0.1 % of the mid {verb} {percent(worst)} of its calm level"


def _by_time(
    minutes: NDArray[np.float64], depth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Middle of each bin of half a minute (or half the bin of long runs), median depth in it, least and most."""
    width = 0.5 * bin_width(minutes)
    bins = pd.Series(depth).groupby(np.floor(np.round(minutes / width, 9)))
    middle = (np.asarray(list(bins.groups), dtype=np.float64) + 0.5) * width
    return middle, np.asarray(bins.median()), (np.asarray(bins.min()), np.asarray(bins.max()))


def _log_with_zero(axes: Axes, positive: NDArray[np.float64]) -> None:
    """Logarithmic above the decade of the thinnest moments, linear below it down to an empty book."""
    top = np.ceil(np.log10(positive.max()))
    # At most four decades: a single leftover lot must not push the calm level into the top of the chart.
    bottom = np.clip(np.floor(np.log10(np.quantile(positive, 0.001))), top - 4.0, top - 1.0)
    axes.set_yscale("symlog", linthresh=10.0**bottom, linscale=0.6)
    axes.set_ylim(bottom=0.0)
    decades = 10.0 ** np.arange(bottom, top + 1.0)
    axes.yaxis.set_major_locator(FixedLocator([0.0, *decades]))
    axes.yaxis.set_major_formatter(FuncFormatter(compact))
    axes.yaxis.set_minor_locator(FixedLocator([float(m * d) for d in decades[:-1] for m in range(2, 10)]))
