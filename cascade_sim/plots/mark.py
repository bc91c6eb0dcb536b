"""The path of the mark, with and without the mechanisms."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import (
    Clock,
    bin_width,
    clock_of,
    currencies,
    mark_origin,
    market_series,
    per_bin,
    plain_axis,
    say,
    sum_by_time,
    visible,
)
from cascade_sim.plots.palette import CAUSE_STYLE
from cascade_sim.result import RunResult


@chart(
    caption="The mark with every mechanism on, against the same draws without them; forced flow below.",
    place=10,
)
def mark_with_counterfactuals(
    result: RunResult,
    arms: Mapping[str, pd.DataFrame] | None = None,
    market: tuple[str, str] | None = None,
) -> Figure:
    """Draw the mark against time, with counterfactual runs, and forced sales and hedges below.

    Parameters
    ----------
    result
        Run with every mechanism on.
    arms
        Label -> series table of a run of the same draws with mechanisms switched off.
    market
        Venue and instrument; the first of the run when None.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels: mark in quote; liquidations and delta hedges in base units per minute.

    Raises
    ------
    OutputError
        If an arm is not a series table or the market is unknown.
    """
    clock = clock_of(result)
    base, quote = currencies(result)
    series = visible(market_series(result.series, market), clock)
    figure = Figure(figsize=(8.0, 6.4))
    top, forced, hedges = figure.subplots(3, 1, sharex=True, height_ratios=(3.0, 1.15, 1.15))
    top.set_title(
        "Mark price with and without the mechanisms" if arms else "Mark price and the flow it forced"
    )
    top.set_ylabel(f"mark, {quote}")
    hedges.set_xlabel(clock.label)
    if series.empty:
        for axes in (top, forced, hedges):
            say(axes, "no series recorded")
        return figure
    lines = top.plot(
        clock.minutes(series), series["mark"], color="black", linestyle="-", linewidth=1.8, zorder=3
    )
    labels = ["as it happened" if arms else "mark"]
    for label, arm in (arms or {}).items():
        rows = visible(market_series(arm, market), clock)
        lines += top.plot(clock.minutes(rows), rows["mark"], zorder=4)
        labels.append(label)
    if arms:
        figure.legend(lines, labels, loc="outside upper center", ncols=min(len(labels), 3), handlelength=3.2)
    plain_axis(top, "y")
    mark_origin(top, clock)
    _flow_panel(forced, series, clock, "liquidation", base)
    _flow_panel(hedges, series, clock, "delta_hedge", base)
    figure.align_ylabels()
    return figure


_PANELS = {
    "liquidation": ("Liquidations in the book", "no liquidation in the book"),
    "delta_hedge": ("Delta hedges", "no delta hedge"),
}


def _flow_panel(axes: Axes, series: pd.DataFrame, clock: Clock, cause: str, base: str) -> None:
    title, nothing = _PANELS[cause]
    axes.set_title(f"{title} (bought above, sold below zero)", fontsize=9, fontweight="normal")
    minutes = clock.minutes(series)
    width = bin_width(minutes)
    edges, sums = sum_by_time(minutes, series[[f"buy_volume_{cause}", f"sell_volume_{cause}"]], width)
    axes.set_ylabel(f"{base}\n{per_bin(width)}")
    mark_origin(axes, clock)
    if not sums.any():
        say(axes, nothing, keep_time=True)
        return
    colour, hatch = CAUSE_STYLE[cause]
    bought, sold = sums[:, 0], sums[:, 1]
    up, down = bought > 0.0, sold > 0.0
    axes.bar(edges[up], bought[up], width, align="edge", color="white", edgecolor=colour, lw=0.7, hatch=hatch)
    axes.bar(edges[down], -sold[down], width, align="edge", color=colour)
    axes.axhline(0.0, color="0.35", linewidth=0.8)
    plain_axis(axes, "y")
