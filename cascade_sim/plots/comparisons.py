"""Charts of a comparison: differences, distributions, who paid, and what venue and traders lose against each other."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from cascade_sim.comparison import Comparison, compared_words, unit_of
from cascade_sim.domain.enums import AccountClass
from cascade_sim.metrics import METRICS
from cascade_sim.plots.catalogue import comparison_chart
from cascade_sim.plots.frames import headline_above, say
from cascade_sim.plots.palette import ARM_COLOURS, ARM_HATCHES, ARM_MARKERS
from cascade_sim.plots.words import class_words, compact

Floats = NDArray[np.float64]

_VERDICTS = {
    "better": ("#009E73", "o"),
    "worse": ("#D55E00", "s"),
    "less": ("#0072B2", "<"),
    "more": ("#CC79A7", ">"),
    "equivalent": ("#000000", "D"),
    "undecided": ("0.55", "x"),
}
_VENUE = ("insurance_fund", "external")
_MOST_ROWS = 40
_MOST_CLASSES = 10


def _short(name: str, width: int = 30) -> str:
    """A name that fits beside a chart; rules of the user's own are named without their module."""
    words = name.rpartition(":")[2].replace("_", " ")
    return words if len(words) <= width else f"{words[: width - 1]}\N{HORIZONTAL ELLIPSIS}"


def _places(comparison: Comparison) -> list[tuple[str, str]]:
    """Scenarios and settings in the order in which they were run."""
    rows = comparison.runs[["scenario", "setting"]].drop_duplicates()
    return [(str(scenario), str(setting)) for scenario, setting in rows.itertuples(index=False)]


def _plain_places(comparison: Comparison) -> list[str]:
    """Scenarios as they are, with nothing changed for all arms."""
    return [scenario for scenario, setting in _places(comparison) if not setting]


def _arms(comparison: Comparison, *, controls: bool = True) -> list[str]:
    return [str(arm["name"]) for arm in comparison.design["arms"] if controls or not arm["is_control"]]


def _finished(comparison: Comparison, scenario: str, arm: str) -> pd.DataFrame:
    runs = comparison.runs
    chosen = (runs["scenario"] == scenario) & (runs["setting"] == "") & (runs["arm"] == arm)
    return runs[chosen & (runs["status"] == "finished")].set_index("replication")


@comparison_chart(
    caption="Mean difference of every arm to the first on the same draws, with its 95 % interval. Within the grey band it "
    "does not matter.",
    place=10,
)
def paired_differences(comparison: Comparison) -> Figure:
    """Draw the difference to the first arm, one row per arm, one panel per primary metric.

    Parameters
    ----------
    comparison
        What to draw; of more than 40 rows the first.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = comparison.differences[comparison.differences["primary"]]
    metrics = list(comparison.design["primary"])
    count = max(1, min(_MOST_ROWS, len(shown) // max(1, len(metrics))))
    figure = Figure(figsize=(8.0, 1.6 + 0.36 * count))
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    several = len(_places(comparison)) > 1
    for axes, metric in zip(panels, metrics, strict=True):
        rows = shown[shown["metric"] == metric].head(_MOST_ROWS)
        _difference_panel(axes, comparison, metric, rows)
    labels = [
        " \N{MIDDLE DOT} ".join(
            _short(word) for word in ((row.scenario, row.setting, row.arm) if several else (row.arm,)) if word
        )
        for row in shown[shown["metric"] == metrics[0]].head(_MOST_ROWS).itertuples()
    ]
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    headline_above(figure, _message(shown, _short(_arms(comparison)[0])))
    used = [word for word in _VERDICTS if (shown["verdict"] == word).any()]
    handles = [
        panels[0].plot([], [], color=_VERDICTS[word][0], marker=_VERDICTS[word][1], linestyle="")[0]
        for word in used
    ]
    if handles:
        figure.legend(handles, used, loc="outside lower left", ncols=len(used))
    return figure


def _message(shown: pd.DataFrame, first: str) -> str:
    counts = shown["verdict"].value_counts()
    parts = [f"{counts[word]} {word}" for word in _VERDICTS if word in counts]
    return f"Against {first}: {', '.join(parts)}" if parts else f"Against {first}: nothing to compare"


def _difference_panel(axes: Axes, comparison: Comparison, metric: str, rows: pd.DataFrame) -> None:
    margin = comparison.design["margins"].get(metric)
    if margin:
        axes.axvspan(-margin, margin, color="0.9", zorder=0)
    axes.axvline(0.0, color="0.35", linewidth=0.8)
    for place, row in enumerate(rows.to_dict("records")):
        colour, marker = _VERDICTS.get(row["verdict"], _VERDICTS["undecided"])
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linestyle="-", linewidth=2.0)
        axes.plot([row["difference"]], [place], color=colour, marker=marker, markersize=6)
    _metric_axis(axes, comparison, metric)
    axes.margins(y=0.5 / max(1, len(rows)))


def _metric_axis(axes: Axes, comparison: Comparison, metric: str) -> None:
    """Name the metric above a panel, and its unit below."""
    axes.set_title(fill(compared_words(metric), 34), fontsize=10)
    axes.set_xlabel(unit_of(comparison, metric))
    axes.xaxis.set_major_formatter(FuncFormatter(compact))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.grid(axis="y", visible=False)


@comparison_chart(
    caption="Every run of every arm: the box holds the middle half, the lines nine tenths, the bar is the median, the diamond "
    "the mean.",
    place=20,
)
def distributions_by_arm(comparison: Comparison) -> Figure:
    """Draw the values of the primary metrics by arm, one panel per metric.

    Parameters
    ----------
    comparison
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
    """
    scenarios, arms, metrics = (
        _plain_places(comparison),
        _arms(comparison),
        list(comparison.design["primary"]),
    )
    places = [(scenario, arm) for scenario in scenarios for arm in arms][:_MOST_ROWS]
    figure = Figure(figsize=(8.0, 1.6 + 0.42 * len(places)))
    panels = np.atleast_1d(figure.subplots(1, len(metrics), sharey=True))
    for axes, metric in zip(panels, metrics, strict=True):
        for row, (scenario, arm) in enumerate(places):
            _box(axes, row, comparison, scenario, arm, metric)
        _metric_axis(axes, comparison, metric)
    labels = [
        f"{_short(scenario)} \N{MIDDLE DOT} {_short(arm)}" if len(scenarios) > 1 else _short(arm)
        for scenario, arm in places
    ]
    panels[0].set_yticks(range(len(places)), labels)
    panels[0].invert_yaxis()
    headline_above(figure, f"{comparison.design['replications']} runs of every arm")
    return figure


def _box(axes: Axes, row: int, comparison: Comparison, scenario: str, arm: str, metric: str) -> None:
    values = _finished(comparison, scenario, arm)[metric].to_numpy(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return
    values = METRICS[metric].sized(values) if metric in METRICS else values
    colour = ARM_COLOURS[_arms(comparison).index(arm) % len(ARM_COLOURS)]
    spread = ((np.arange(len(values)) * 0.618034) % 1.0 - 0.5) * 0.5
    axes.plot(values, row + spread, linestyle="", marker=".", markersize=3, color=colour, alpha=0.45)
    low, first, middle, third, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    axes.barh(row, third - first, left=first, height=0.5, facecolor="none", edgecolor="black", linewidth=1.0)
    for begin, end in ((low, first), (third, high)):
        axes.plot([begin, end], [row, row], color="black", linestyle="-", linewidth=1.0)
    axes.plot([middle, middle], [row - 0.25, row + 0.25], color="black", linestyle="-", linewidth=1.8)
    axes.plot([values.mean()], [row], marker="D", color=colour, markeredgecolor="black", markersize=6)


@comparison_chart(
    caption="Who pays more than with the first arm (to the right), and who less, by class of account; means with 95 % "
    "intervals.",
    place=30,
)
def who_paid_by_arm(comparison: Comparison) -> Figure:
    """Draw the difference to the first arm of the loss of every class that loses or gains, one panel per scenario.

    Parameters
    ----------
    comparison
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = comparison.differences
    shown = shown[shown["metric"].str.startswith("loss_by_class_") & (shown["setting"] == "")]
    scenarios, arms = _plain_places(comparison), _arms(comparison, controls=False)[1:]
    sizes = (
        shown[shown["arm"].isin(arms)].assign(size=shown["difference"].abs()).groupby("metric")["size"].max()
    )
    classes = [str(name) for name, size in sizes.items() if size > 0.01 * sizes.max()]
    classes = sorted(classes, key=lambda name: -float(sizes[name]))[:_MOST_CLASSES]
    figure = Figure(
        figsize=(8.0, 1.4 + len(scenarios) * (0.9 + 0.17 * max(2, len(classes)) * max(1, len(arms))))
    )
    panels = np.atleast_1d(figure.subplots(len(scenarios), 1, sharex=True))
    quote = unit_of(comparison, "bad_debt")
    for axes, scenario in zip(panels, scenarios, strict=True):
        _class_panel(axes, shown[shown["scenario"] == scenario], classes, arms)
        if len(scenarios) > 1:
            axes.set_title(_short(scenario), fontsize=10)
    panels[-1].set_xlabel(f"loss more than with {_short(_arms(comparison)[0])}, {quote}")
    panels[-1].xaxis.set_major_formatter(FuncFormatter(compact))
    if not classes:
        say(panels[0], "nobody lost more or less")
    headline_above(figure, f"Who pays for the change from {_short(_arms(comparison)[0])}")
    handles, labels = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left", ncols=min(3, len(labels)))
    return figure


def _class_panel(axes: Axes, rows: pd.DataFrame, classes: Sequence[str], arms: Sequence[str]) -> None:
    height = 0.8 / max(1, len(arms))
    for number, arm in enumerate(arms):
        own = rows[rows["arm"] == arm].set_index("metric").reindex(list(classes))
        at = np.arange(len(classes)) - 0.4 + height * (number + 0.5)
        gap = own["difference"].to_numpy(np.float64)
        errors = np.abs(np.stack([gap - own["low"], own["high"] - gap]).astype(np.float64))
        axes.barh(
            at,
            gap,
            height=0.9 * height,
            xerr=errors,
            color=ARM_COLOURS[(number + 1) % len(ARM_COLOURS)],
            hatch=ARM_HATCHES[number % len(ARM_HATCHES)],
            edgecolor="white",
            linewidth=0.4,
            label=_short(arm),
            error_kw={"elinewidth": 1.0, "capsize": 2.0},
        )
    axes.axvline(0.0, color="0.35", linewidth=0.8)
    axes.set_yticks(
        range(len(classes)), [class_words(name.removeprefix("loss_by_class_")) for name in classes]
    )
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


@comparison_chart(
    caption="What the venue loses (insurance fund and capital from outside) against what leveraged traders lose; means with "
    "95 % intervals. On the line no other arm is better for both.",
    place=40,
)
def venue_against_traders(comparison: Comparison) -> Figure:
    """Draw the mean loss of the venue against that of the leveraged traders, one panel per scenario.

    Parameters
    ----------
    comparison
        What to draw.

    Returns
    -------
    matplotlib.figure.Figure
    """
    scenarios, arms = _plain_places(comparison), _arms(comparison, controls=False)
    figure = Figure(figsize=(8.0, 0.8 + 3.2 * len(scenarios)))
    panels = np.atleast_1d(figure.subplots(len(scenarios), 1))
    quote = unit_of(comparison, "bad_debt")
    for axes, scenario in zip(panels, scenarios, strict=True):
        points = {arm: _losses(_finished(comparison, scenario, arm)) for arm in arms}
        _pareto(axes, {arm: point for arm, point in points.items() if point.shape[1] > 0})
        axes.set_ylabel(f"loss of the venue, {quote}")
        if len(scenarios) > 1:
            axes.set_title(_short(scenario), fontsize=10)
    panels[-1].set_xlabel(f"loss of leveraged traders, {quote}")
    headline_above(figure, "What the venue and the leveraged traders lose")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=min(3, max(1, len(labels))))
    return figure


def _losses(runs: pd.DataFrame) -> Floats:
    """Losses of traders and of the venue, shape (2, runs)."""
    traders = runs[f"loss_by_class_{AccountClass.LEVERAGED_TRADER.name.lower()}"]
    venue = sum(runs[f"loss_by_class_{name}"] for name in _VENUE)
    both = np.stack([traders.to_numpy(np.float64), np.asarray(venue, np.float64)])
    return both[:, np.isfinite(both).all(axis=0)]


def _pareto(axes: Axes, points: dict[str, Floats]) -> None:
    means = {arm: values.mean(axis=1) for arm, values in points.items()}
    for number, (arm, values) in enumerate(points.items()):
        half = (
            1.96 * values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])
            if values.shape[1] > 1
            else np.zeros(2)
        )
        colour = ARM_COLOURS[number % len(ARM_COLOURS)]
        at = means[arm]
        axes.errorbar(
            at[0],
            at[1],
            xerr=half[0],
            yerr=half[1],
            color=colour,
            marker=ARM_MARKERS[number % len(ARM_MARKERS)],
            markersize=7,
            linestyle="",
            elinewidth=1.0,
            label=_short(arm),
        )
    best = [mean for mean in means.values() if not any((other < mean).all() for other in means.values())]
    if len(best) > 1:
        line = np.array(sorted(best, key=lambda mean: float(mean[0])))
        axes.plot(line[:, 0], line[:, 1], color="0.6", linestyle="-", linewidth=1.0, zorder=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(compact))
    axes.margins(0.15)
