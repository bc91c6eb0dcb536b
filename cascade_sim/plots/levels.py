"""Where the triggers lie: quantity that would be forced, by price."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import (
    MARKET_COLUMNS,
    clock_of,
    headline,
    market_series,
    plain_axis,
    say,
)
from cascade_sim.plots.palette import LONGS, SHORTS
from cascade_sim.plots.words import compact, currencies, percent
from cascade_sim.result import RunResult

_MOVE = 0.05
"""Size of the move that the title speaks of."""


@chart(
    caption="The fuel before the shock: quantity whose liquidation trigger lies in each bin of price, by side.",
    place=40,
)
def liquidation_levels(result: RunResult, market: tuple[str, str] | None = None) -> Figure:
    """Draw the liquidation map at the last record before the first shock.

    Parameters
    ----------
    result
        Run to draw.
    market
        Venue and instrument; the first of the run when None.

    Returns
    -------
    matplotlib.figure.Figure
        Forced quantity in base units per bin of price: longs left of the mark, shorts right of it.
    """
    clock = clock_of(result)
    base, quote = currencies(result)
    figure = Figure()
    axes = figure.subplots()
    axes.set_xlabel(f"mark price at which the position is closed, {quote}")
    axes.set_ylabel(f"forced quantity per bin of price, {base}")
    when = "before the first shock" if clock.has_shock else "at the start of the run"
    headline(axes, f"Liquidation levels {when}")
    series = market_series(result.columns("series", MARKET_COLUMNS), market)
    levels = result.columns("liquidation_map", ("step", "instrument"))
    if len(series):
        levels = levels[levels["instrument"] == series["instrument"].iloc[0]]
    if levels.empty:
        say(axes, "no liquidation map recorded")
        return figure
    shock_steps = series.loc[series["time_seconds"] <= clock.origin_seconds, "step"]
    shock_step = int(shock_steps.max()) if len(shock_steps) else 0
    steps = levels["step"].to_numpy()
    before = steps[steps <= shock_step]
    step = int(before.max()) if before.size else int(steps.min())
    wanted = levels["instrument"].iloc[0]
    pieces = [
        rows[(rows["step"] == step) & (rows["instrument"] == wanted) & (rows["quantity"] > 0.0)]
        for rows in result.pieces("liquidation_map")
    ]
    levels = pd.concat(pieces, ignore_index=True)
    if levels.empty:
        headline(axes, "No liquidation level lies near the mark")
        say(axes, "no trigger within the range of the map")
        return figure
    for side, label, (colour, hatch) in (
        (-1, "longs, sold by force", LONGS),
        (1, "shorts, bought by force", SHORTS),
    ):
        rows = levels[levels["side"] == side]
        if rows.empty:
            continue
        width = rows["price_high"] - rows["price_low"]
        look: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.4, "hatch": hatch}
        axes.bar(rows["price_low"], rows["quantity"], width, align="edge", label=label, **look)
    at_step = series.loc[series["step"] <= step, "mark"]
    if len(at_step):
        mark = float(at_step.iloc[-1])
        axes.axvline(mark, color="black", linewidth=1.4, label="mark")
        headline(axes, _message(levels, mark, base, when))
        bin_size = float((levels["price_high"] - levels["price_low"]).median())
        axes.set_ylabel(f"forced quantity per bin of {compact(bin_size)} {quote}, {base}")
        to_percent, to_price = _scales(mark)
        percent = axes.secondary_xaxis("top", functions=(to_percent, to_price))
        percent.set_xlabel("distance from mark, %", fontsize=9)
    plain_axis(axes, "x")
    plain_axis(axes, "y")
    figure.legend(loc="outside lower center", ncols=3, handlelength=2.4, handleheight=1.2)
    return figure


def _message(levels: pd.DataFrame, mark: float, base: str, when: str) -> str:
    """What a move of the stated size would force, on the side where that is more."""
    middle = (levels["price_low"] + levels["price_high"]) / 2.0
    near = levels[(middle / mark - 1.0).abs() <= _MOVE]
    sold = float(near.loc[near["side"] < 0, "quantity"].sum())
    bought = float(near.loc[near["side"] > 0, "quantity"].sum())
    if max(sold, bought) <= 0.0:
        return f"{when[0].upper()}{when[1:]}, a move of {percent(_MOVE)} would force nobody"
    noun, verb = ("fall", "sale") if sold >= bought else ("rise", "purchase")
    quantity = compact(max(sold, bought))
    return f"{when[0].upper()}{when[1:]}, a {noun} of {percent(_MOVE)} would force the {verb} of {quantity} {base}"


def _scales(mark: float) -> tuple[Callable[[ArrayLike], ArrayLike], Callable[[ArrayLike], ArrayLike]]:
    def to_percent(price: ArrayLike) -> ArrayLike:
        return (np.asarray(price, dtype=np.float64) / mark - 1.0) * 100.0

    def to_price(percent: ArrayLike) -> ArrayLike:
        return (np.asarray(percent, dtype=np.float64) / 100.0 + 1.0) * mark

    return to_percent, to_price
