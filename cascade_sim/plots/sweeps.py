"""Charts of a sweep: a figure against what was varied, and the plane of two factors."""

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cascade_sim.comparison import compared_words, label_of
from cascade_sim.plots.catalogue import sweep_chart
from cascade_sim.plots.frames import headline_above, say
from cascade_sim.plots.palette import ARM_COLOURS, ARM_LINES, ARM_MARKERS
from cascade_sim.plots.words import compact
from cascade_sim.swept import Swept, arm_words

_MOST_LINES = 8
_MOST_PANELS = 4
_MOST_VALUES = 24
"""More values of a factor than these are drawn as a cloud and not as a line."""


def _factor(name: str) -> str:
    parts = [part for part in name.split(".") if part != "name"]
    return " ".join(parts[-2:]).replace("_", " ")


@sweep_chart(
    caption="Mean over the replications with its 95 % interval, over all values of the other factors.",
    place=10,
)
def response(swept: Swept) -> Figure:
    """Draw each figure against each factor that is a number, a line per arm.

    Parameters
    ----------
    swept
        What to draw; of more than four figures and four factors the first four.

    Returns
    -------
    matplotlib.figure.Figure
    """
    factors, metrics = swept.numbers[:_MOST_PANELS], swept.shown[:_MOST_PANELS]
    rows, columns = max(1, len(metrics)), max(1, len(factors))
    figure = Figure(figsize=(max(8.0, 3.2 * columns), 0.9 + 2.5 * rows))
    panels = figure.subplots(rows, columns, squeeze=False, sharex="col", sharey="row")
    if not factors or not metrics:
        say(panels[0, 0], "no factor is a number" if metrics else "no run has finished")
        return figure
    for row, metric in enumerate(metrics):
        for column, factor in enumerate(factors):
            _response(panels[row, column], swept, metric, factor)
        unit = swept.unit(metric)
        panels[row, 0].set_ylabel(fill(compared_words(metric) + (f", {unit}" if unit else ""), 30))
        panels[row, 0].yaxis.set_major_formatter(FuncFormatter(compact))
    for column, factor in enumerate(factors):
        panels[-1, column].set_xlabel(_factor(factor))
    headline_above(figure, f"{swept.name}: {' and '.join(_factor(name) for name in factors)}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower left", ncols=min(3, len(labels)))
    return figure


def _response(axes: Axes, swept: Swept, metric: str, factor: str) -> None:
    means = swept.means(metric, ["arm", "off", factor])
    for number, (arm, off) in enumerate(swept.arms[:_MOST_LINES]):
        own = means[(means["arm"] == arm) & (means["off"] == off)].sort_values(factor)
        x, y, half = (own[name].to_numpy(np.float64) for name in (factor, "mean", "half"))
        style = {"color": ARM_COLOURS[number], "marker": ARM_MARKERS[number], "label": arm_words(arm, off)}
        if len(x) > _MOST_VALUES:
            axes.plot(x, y, linestyle="", markersize=3, alpha=0.6, **style)  # type: ignore[arg-type]
            continue
        axes.plot(x, y, linestyle=ARM_LINES[number], markersize=4, **style)  # type: ignore[arg-type]
        axes.fill_between(x, y - half, y + half, color=ARM_COLOURS[number], alpha=0.15, linewidth=0.0)
    values = np.sort(swept.table[factor].unique().astype(np.float64))
    steps = values[1:] / values[:-1] if (values > 0.0).all() else np.zeros(0)
    if len(steps) > 1 and np.ptp(steps) < 0.05 * steps.mean():
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(MaxNLocator(1))
        axes.set_xticks(values[:: max(1, len(values) // 5)])
    axes.xaxis.set_major_formatter(FuncFormatter(compact))


@sweep_chart(
    caption="Mean over the replications in the plane of two factors; a cross marks points without a finished run.",
    place=20,
)
def phase_diagram(swept: Swept) -> Figure:
    """Draw the first figure in the plane of the first two factors that are numbers, a panel per arm.

    Parameters
    ----------
    swept
        What to draw; says so where it has no two such factors.

    Returns
    -------
    matplotlib.figure.Figure
    """
    factors, metrics, arms = swept.numbers[:2], swept.shown[:1], swept.arms[:_MOST_PANELS]
    figure = Figure(figsize=(8.0, 4.6 if len(arms) < 3 else 7.6))
    columns = 1 if len(arms) == 1 else 2
    panels = figure.subplots(-(-len(arms) // columns), columns, squeeze=False, sharex=True, sharey=True)
    for spare in panels.ravel()[len(arms) :]:
        spare.set_axis_off()
    if len(factors) < 2 or not metrics:
        say(panels[0, 0], "takes two factors that are numbers, and a run that finished")
        return figure
    means = swept.means(metrics[0], ["arm", "off", *factors])
    low, high = float(means["mean"].min()), float(means["mean"].max())
    image = None
    for axes, (arm, off) in zip(panels.ravel(), arms, strict=False):
        own = means[(means["arm"] == arm) & (means["off"] == off)]
        grid = own.pivot(index=factors[1], columns=factors[0], values="mean")
        x, y = (np.asarray(each, np.float64) for each in (grid.columns, grid.index))
        image = axes.pcolormesh(
            _edges(x),
            _edges(y),
            grid.to_numpy(np.float64),
            cmap="cividis",
            vmin=low,
            vmax=high,
            rasterized=True,
        )
        missing = np.argwhere(np.isnan(grid.to_numpy(np.float64)))
        axes.plot(x[missing[:, 1]], y[missing[:, 0]], linestyle="", marker="x", color="0.4")
        if len(arms) > 1:
            axes.set_title(arm_words(arm, off), fontsize=10)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(compact))
        axes.grid(visible=False)
    for axes in panels[-1]:
        axes.set_xlabel(_factor(factors[0]))
    for axes in panels[:, 0]:
        axes.set_ylabel(_factor(factors[1]))
    unit = swept.unit(metrics[0])
    if image is not None:
        bar = figure.colorbar(image, ax=list(panels.ravel()), format=FuncFormatter(compact))
        bar.set_label(fill(compared_words(metrics[0]) + (f", {unit}" if unit else ""), 40))
    headline_above(figure, f"{swept.name}: {label_of(metrics[0])}")
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Edges of cells around their centres, half-way between them."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(([2.0 * centres[0] - middle[0]], middle, [2.0 * centres[-1] - middle[-1]]))
