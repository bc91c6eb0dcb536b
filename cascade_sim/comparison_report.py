"""The page of a comparison: the verdict first, then how sure it is, who pays, and every figure."""

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from cascade_sim.comparison import PLACE, Comparison, label_of, unit_of
from cascade_sim.page import MISSING, Report, figure, page, short, table
from cascade_sim.plots.picture import Picture

_FIGURES = (
    "max_adverse_excursion",
    "max_drawdown",
    "recovery_seconds",
    "worst_depth",
    "liquidated_accounts",
    "liquidated_notional",
    "liquidation_shortfall",
    "throughput_bound_seconds",
    "bad_debt",
    "insurance_fund_end",
    "adl_accounts",
    "adl_notional",
    "adl_loss",
    "socialised_loss",
    "external_capital",
)
"""What the table of all arms shows; the tables in the folder hold everything."""


def draw_comparison_report(comparison: Comparison) -> Report:
    """Draw the charts of a comparison and compose its page, in memory.

    Parameters
    ----------
    comparison
        What to report.

    Returns
    -------
    Report
    """
    from cascade_sim.plots.drawing import draw_comparison

    pictures = draw_comparison(comparison)
    return Report(pictures, render_comparison(comparison, pictures))


def render_comparison(comparison: Comparison, pictures: Mapping[str, Picture]) -> str:
    """Compose the page; everything is inline, nothing is fetched.

    Parameters
    ----------
    comparison
        What to report.
    pictures
        Chart name -> picture.

    Returns
    -------
    str
        HTML.
    """
    design = comparison.design
    arms = [str(arm["name"]) for arm in design["arms"]]
    title = f"{' and '.join(design['scenarios'])}: {len(arms)} arms compared"
    lead = f"{design['replications']} replications of every arm on the same draws, seeds from {design['seed']} on."
    if comparison.manifest.get("status") == "stopped":
        lead = f"Interrupted: what had finished until then. {lead}"
    story = "".join(f"<li>{escape(sentence)}</li>" for sentence in comparison.sentences)
    sections = {
        "The verdict": f'<ul class="story">{story}</ul>',
        "How sure that is": _figures_of(pictures, "paired_differences", "distributions_by_arm")
        + _differences(comparison),
        "Who paid": _figures_of(pictures, "who_paid_by_arm", "venue_against_traders"),
        "Further charts": _rest(pictures),
        "Figures of every arm": _arms(comparison),
        "What was compared": _design(comparison),
    }
    versions = comparison.manifest.get("versions") or {}
    parts = [f"cascade-sim {versions.get('cascade-sim')}", f"{len(comparison.runs):,} runs"]
    return page(title, lead, sections, " \N{MIDDLE DOT} ".join(parts))


_SHOWN = ("paired_differences", "distributions_by_arm", "who_paid_by_arm", "venue_against_traders")


def _figures_of(pictures: Mapping[str, Picture], *names: str) -> str:
    return "".join(figure(pictures[name]) for name in names if name in pictures)


def _rest(pictures: Mapping[str, Picture]) -> str:
    return _figures_of(pictures, *(name for name in pictures if name not in _SHOWN))


def _place(row: Mapping[Any, Any], several: bool) -> str:
    words = [row["scenario"], row["setting"]] if several else []
    return ", ".join(str(word) for word in words if word)


def _several(comparison: Comparison) -> bool:
    return len(comparison.runs[["scenario", "setting"]].drop_duplicates()) > 1


def _value(value: Any) -> str:
    return MISSING if pd.isna(value) else short(float(value))


def _differences(comparison: Comparison) -> str:
    several = _several(comparison)
    rows = []
    for row in comparison.differences[comparison.differences["primary"]].to_dict("records"):
        unit = unit_of(comparison, row["metric"])
        label = label_of(row["metric"]) + (f", {unit}" if unit else "")
        cells = [
            row["arm"],
            label,
            _value(row["difference"]),
            f"{_value(row['low'])} to {_value(row['high'])}",
        ]
        cells += [_value(row["p_holm"]), str(row["verdict"])]
        rows.append([_place(row, several), *cells] if several else cells)
    head = ["arm", "metric", "difference", "95 % interval", "p, Holm", "verdict"]
    head = ["where", *head] if several else head
    numbers = frozenset(k + several for k in (2, 3, 4))
    return table(head, rows, numbers) if rows else ""


def _arms(comparison: Comparison) -> str:
    """Mean (and mean of the worst twentieth) of the figures, a column per arm, a table per scenario and setting."""
    names = [str(arm["name"]) for arm in comparison.design["arms"]]
    parts = []
    several = _several(comparison)
    for place in comparison.arms[list(PLACE[:2])].drop_duplicates().to_dict("records"):
        chosen = (comparison.arms[list(place)] == pd.Series(place)).all(axis=1)
        found = {(row["metric"], row["arm"]): row for row in comparison.arms[chosen].to_dict("records")}
        lines = []
        for metric in _FIGURES:
            if metric not in comparison.units:
                continue
            unit = unit_of(comparison, metric)
            cells = [
                f"{_value(row['mean'])} ({_value(row['cvar_95'])})"
                for row in (found[metric, name] for name in names)
            ]
            lines.append([label_of(metric) + (f", {unit}" if unit else ""), *cells])
        text = f"<h3>{escape(_place(place, several))}</h3>" if several else ""
        parts.append(
            text + table(["mean (worst twentieth)", *names], lines, frozenset(range(1, len(names) + 1)))
        )
    return "".join(parts)


def _design(comparison: Comparison) -> str:
    rows = []
    for arm in comparison.design["arms"]:
        changes = ", ".join(f"{path}: {value}" for path, value in arm["overrides"].items()) or "nothing"
        rows.append([f"{arm['name']} (control)" if arm["is_control"] else arm["name"], changes])
    return table(["arm", "what it changes"], rows, frozenset())
