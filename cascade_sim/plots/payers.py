"""Who bore the losses."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cascade_sim.plots.catalogue import chart
from cascade_sim.plots.frames import headline, say
from cascade_sim.plots.palette import GAIN, LOSS, TOTAL
from cascade_sim.plots.words import amount_of, compact, currencies, ranked_losses
from cascade_sim.result import RunResult


@chart(
    caption="Who paid: losses and gains of the futures accounts by class, and the layers behind margin; options are apart.",
    place=50,
)
def who_paid(result: RunResult) -> Figure:
    """Draw the losses by class of account as a waterfall, and the layers behind the margin.

    Parameters
    ----------
    result
        Run whose summary holds ``loss_by_class``, ``insurance_fund_start``, ``insurance_fund_end``,
        ``bad_debt``, ``socialised_loss`` and ``external_capital`` (quote currency).

    Returns
    -------
    matplotlib.figure.Figure
        Two panels of horizontal bars in quote currency.
    """
    _, quote = currencies(result)
    losses = ranked_losses(result.summary)
    layers = _layers(result.summary)
    figure = Figure(figsize=(8.0, 2.6 + 0.34 * (max(len(losses), 2) + len(layers))))
    upper, lower = figure.subplots(2, 1, height_ratios=(max(len(losses), 2) + 1, len(layers) + 0.5))
    headline(upper, _message(losses, quote), width=58)
    lower.set_title("The layers behind margin", fontsize=10)
    for axes in (upper, lower):
        axes.set_xlabel(
            f"loss, {quote} (each bar starts where the one above ends; gains run back)"
            if axes is upper
            else f"amount, {quote}"
        )
        axes.xaxis.set_major_formatter(FuncFormatter(compact))
        axes.grid(axis="y", visible=False)
    if any(amount for _, amount in losses):
        _bars(upper, losses, running=True)
    else:
        measured = result.summary.get("loss_by_class") is not None
        say(upper, "nobody lost or gained" if measured else "losses were not measured")
    if any(amount for _, amount in layers):
        _bars(lower, layers, running=False)
    else:
        measured = result.summary.get("bad_debt") is not None
        say(
            lower, "margin covered every loss: nothing was drawn" if measured else "bad debt was not measured"
        )
    return figure


def _message(losses: list[tuple[str, float]], quote: str) -> str:
    if not losses or losses[0][1] <= 0.0:
        return "Who paid"
    (loser, loss), (winner, gain) = losses[0], losses[-1]
    text = f"{loser[0].upper()}{loser[1:]} lost {compact(loss)} {quote}"
    return f"{text}, {winner} gained {compact(-gain)}" if gain < 0.0 else text


def _layers(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    drawn = amount_of(summary.get("insurance_fund_start")) - amount_of(summary.get("insurance_fund_end"))
    return [
        ("bad debt", amount_of(summary.get("bad_debt"))),
        ("fall of the insurance fund", drawn) if drawn >= 0.0 else ("growth of the insurance fund", -drawn),
        ("socialised loss", amount_of(summary.get("socialised_loss"))),
        ("capital from outside", amount_of(summary.get("external_capital"))),
    ]


def _bars(axes: Axes, pairs: list[tuple[str, float]], *, running: bool) -> None:
    amounts = np.array([amount for _, amount in pairs])
    starts = np.concatenate(([0.0], np.cumsum(amounts)[:-1])) if running else np.zeros(len(pairs))
    for row, (amount, start) in enumerate(zip(amounts, starts, strict=True)):
        colour, hatch = (LOSS if amount >= 0.0 else GAIN) if running else TOTAL
        axes.barh(
            row, amount, left=start, height=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0.4
        )
        # Beside the bar on its outer end: inside it, the hatching would run through the digits.
        end = max(start, start + amount)
        axes.annotate(
            compact(amount), (end, row), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
        if running and row:
            axes.plot([start, start], [row - 0.69, row - 0.31], color="0.4", linewidth=0.8, linestyle="-")
    axes.set_yticks(range(len(pairs)), [name for name, _ in pairs])
    axes.invert_yaxis()
    axes.axvline(0.0, color="0.35", linewidth=0.8)
    axes.margins(x=0.12)
