"""The path of the mark, with and without the mechanisms."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import (
    Clock,
    bin_width,
    clock_of,
    drawn_series,
    headline,
    mark_origin,
    market_series,
    per_bin,
    plain_axis,
    say,
    sum_by_time,
    visible,
)
from cascade_sim.plots.palette import CAUSE_STYLE
from cascade_sim.plots.words import currencies, log_percent
from cascade_sim.result import RunResult


@chart(
    caption="The mark with every mechanism on, against the same draws without them; forced flow below.",
    place=10,
)
def mark_with_counterfactuals(
    result: RunResult,
    arms: Mapping[str, pd.DataFrame] | None = None,
    market: tuple[str, str] | None = None,
    label: str = "everything on",
) -> Figure:
    """Draw the mark against time, with counterfactual runs, and forced sales and hedges below.

    Parameters
    ----------
    result
        Run with every mechanism on.
    arms
        Label -> series table of a run of the same draws with mechanisms switched off; those the result keeps
        when None.
    market
        Venue and instrument; the first of the run when None.
    label
        Name of the result in the key, where there are arms.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels: mark in quote; liquidations and delta hedges in base units per minute.

    Raises
    ------
    OutputError
        If an arm is not a series table or the market is unknown.
    """
    arms = result.arm_marks if arms is None else arms
    clock = clock_of(result)
    base, quote = currencies(result)
    names = [f"{side}_volume_{cause}" for side in ("buy", "sell") for cause in _PANELS]
    series = drawn_series(result, names, clock, market)
    figure = Figure(figsize=(8.0, 6.4))
    top, forced, hedges = figure.subplots(3, 1, sharex=True, height_ratios=(3.0, 1.15, 1.15))
    columns = 4 if len(arms) < 4 else 3
    # Room for the key between title and panel.
    rows_of_key = math.ceil((len(arms) + 1) / columns) if arms else 0
    headline(top, _message(result.summary, bool(arms)), pad=8.0 + 15.0 * rows_of_key)
    top.set_ylabel(f"mark, {quote}")
    hedges.set_xlabel(clock.label)
    if series.empty:
        for axes in (top, forced, hedges):
            say(axes, "no series recorded")
        return figure
    minutes = clock.minutes(series)
    top.plot(minutes, series["mark"], color="black", linestyle="-", linewidth=1.8, label=label)
    spacing = max(len(series) // 16, 1)
    for number, (name, arm) in enumerate(arms.items()):
        rows = visible(market_series(arm, market), clock)
        marker: dict[str, Any] = {
            "marker": _MARKERS[number % len(_MARKERS)],
            "markevery": (spacing * (number + 1) // (len(arms) + 1), spacing),
            "markersize": 5.0,
            "markerfacecolor": "white",
        }
        top.plot(clock.minutes(rows), rows["mark"], linewidth=1.3, label=name, zorder=4, **marker)
    if arms:
        top.legend(
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            ncols=columns,
            handlelength=2.6,
            borderpad=0.1,
            borderaxespad=0.3,
            columnspacing=1.1,
        )
    if minutes[0] < minutes[-1]:
        top.set_xlim(minutes[0], minutes[-1])
    plain_axis(top, "y")
    mark_origin(top, clock)
    _flow_panel(forced, series, clock, "liquidation", base)
    _flow_panel(hedges, series, clock, "delta_hedge", base)
    figure.align_ylabels()
    return figure


_MARKERS = "osD^v<>P"
_NOTHING_BP = 10.0


def _message(summary: Mapping[str, Any], with_arms: bool) -> str:
    """What the mechanisms made of the move, in a sentence, as far as it was measured."""
    move, added = summary.get("max_adverse_excursion"), summary.get("added_move_bp")
    if move is None:
        return "Mark price with and without the mechanisms" if with_arms else "Mark price"
    noun, verb, sign = ("fall", "fell", -1.0) if move < 0.0 else ("rise", "rose", 1.0)
    if move == 0.0:
        return "The mark never moved against most leverage"
    if not with_arms or added is None:
        return f"The mark {verb} by up to {log_percent(move)}"
    without = log_percent(sign * max(abs(move) - added, 0.0))
    if abs(added) < _NOTHING_BP:
        return f"The mechanisms hardly changed a {noun} of {log_percent(move)}"
    if added > 0.0:
        return f"The mechanisms turned a {noun} of {without} into one of {log_percent(move)}"
    return f"The mechanisms kept a {noun} of {without} to {log_percent(move)}"


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
    hatch = hatch or "xxxx"
    bought, sold = sums[:, 0], sums[:, 1]
    up, down = bought > 0.0, sold > 0.0
    axes.bar(edges[up], bought[up], width, align="edge", color="white", edgecolor=colour, lw=0.7, hatch=hatch)
    axes.bar(edges[down], -sold[down], width, align="edge", color=colour)
    axes.axhline(0.0, color="0.35", linewidth=0.8)
    plain_axis(axes, "y")
