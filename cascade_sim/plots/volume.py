"""Traded volume by the cause of the taker."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cascade_sim.domain.enums import Cause
from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import (
    bin_width,
    clock_of,
    drawn_series,
    headline,
    mark_origin,
    per_bin,
    plain_axis,
    say,
    sum_series_by_time,
)
from cascade_sim.plots.palette import CAUSE_STYLE, OTHER_STYLE, hatch_colour
from cascade_sim.plots.words import currencies, percent
from cascade_sim.result import RunResult

_MECHANICAL = frozenset(("liquidation", "delta_hedge", "stop_loss", "backstop", "deleveraging", "shock"))
_MOST_FREE = 3


@chart(
    caption="Who took liquidity: volume by the cause of the taker, bought above and sold below zero.",
    place=20,
)
def volume_by_cause(result: RunResult, market: tuple[str, str] | None = None) -> Figure:
    """Draw traded volume per minute, stacked by the taker's cause.

    Parameters
    ----------
    result
        Run to draw.
    market
        Venue and instrument; the first of the run when None.

    Returns
    -------
    matplotlib.figure.Figure
        Base units bought above and sold below zero. Mechanical flow lies next to zero; of the flow of
        free will the smaller causes are drawn as one.
    """
    clock = clock_of(result)
    base, _ = currencies(result)
    figure = Figure()
    axes = figure.subplots()
    headline(axes, _message(result.summary))
    axes.set_xlabel(clock.label)
    causes = [cause.name.lower() for cause in Cause]
    names = [f"{side}_volume_{cause}" for side in ("buy", "sell") for cause in causes]
    series = drawn_series(result, (), clock, market)
    if series.empty:
        say(axes, "no series recorded")
        return figure
    minutes = clock.minutes(series)
    width = bin_width(minutes)
    edges, sums = sum_series_by_time(result, names, clock, market, width)
    if not sums.any():
        say(axes, "nothing was traded")
        return figure
    buys, sells = sums[:, : len(causes)], sums[:, len(causes) :]
    totals = buys.sum(axis=0) + sells.sum(axis=0)
    ranked = [int(k) for k in np.argsort(-totals, kind="stable") if totals[k] > 0.0]
    mechanical = [k for k in ranked if causes[k] in _MECHANICAL]
    free = [k for k in ranked if causes[k] not in _MECHANICAL]
    # One left over needs no collective name.
    room = len(free) if len(free) <= _MOST_FREE + 1 else _MOST_FREE
    shown, rest = mechanical + free[:room], free[room:]
    layers: list[tuple[str, str, str, NDArray[np.float64], NDArray[np.float64]]] = [
        (causes[k].replace("_", " "), *CAUSE_STYLE[causes[k]], buys[:, k], sells[:, k]) for k in shown
    ]
    if rest:
        layers.append(("other", *OTHER_STYLE, buys[:, rest].sum(axis=1), sells[:, rest].sum(axis=1)))
    bounds = np.append(edges, edges[-1] + width)
    above, below = np.zeros(len(edges)), np.zeros(len(edges))
    for label, colour, hatch, bought, sold in layers:
        look: dict[str, Any] = {
            "facecolor": colour,
            "edgecolor": hatch_colour(colour),
            "hatch": hatch,
            # An outline would draw a fence through quiet times; the hatching takes its colour all the same.
            "linewidth": 0.0,
        }
        axes.stairs(above + bought, bounds, baseline=above, fill=True, label=label, **look)
        axes.stairs(-(below + sold), bounds, baseline=-below, fill=True, **look)
        above, below = above + bought, below + sold
    axes.axhline(0.0, color="0.15", linewidth=0.8)
    axes.set_xlim(bounds[0], bounds[-1])
    axes.set_ylim(-1.06 * below.max(), 1.06 * above.max())
    axes.set_ylabel(f"{base} {per_bin(width)}, bought above, sold below zero")
    plain_axis(axes, "y")
    mark_origin(axes, clock)
    figure.legend(loc="outside lower center", ncols=4, handlelength=2.4, handleheight=1.2)
    return figure


def _message(summary: Mapping[str, Any]) -> str:
    shares = (summary.get("liquidation_volume_share"), summary.get("hedge_volume_share"))
    if None in shares:
        return "Volume by cause of the taker"
    closed, hedged = (float(share) for share in shares if share is not None)
    if closed == 0.0 and hedged == 0.0:
        return "Nobody was forced to trade"
    if closed == 0.0:
        return f"Delta hedges took {percent(hedged)} of all volume, liquidations nothing"
    if hedged == 0.0:
        return f"Liquidations took {percent(closed)} of all volume"
    return f"Of all volume, liquidations took {percent(closed)} and delta hedges {percent(hedged)}"
