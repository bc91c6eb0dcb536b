"""The page of a sweep, finished or half-way."""

from collections.abc import Mapping

import pandas as pd

from cascade_sim.comparison import label_of
from cascade_sim.page import Report, figure, page, short, table
from cascade_sim.plots.picture import Picture
from cascade_sim.swept import Swept, arm_words

_MOST_ROWS = 200


def draw_sweep_report(swept: Swept) -> Report:
    """Draw the charts of a sweep and compose its page, in memory.

    Parameters
    ----------
    swept
        What to report.

    Returns
    -------
    Report
    """
    from cascade_sim.plots.drawing import draw_sweep

    pictures = draw_sweep(swept)
    return Report(pictures, render_sweep(swept, pictures))


def render_sweep(swept: Swept, pictures: Mapping[str, Picture]) -> str:
    """Compose the page; everything is inline, nothing is fetched.

    Parameters
    ----------
    swept
        What to report.
    pictures
        Chart name -> picture.

    Returns
    -------
    str
        HTML.
    """
    runs, done = swept.table, swept.table["point"].nunique()
    failed = runs[runs["status"] == "failed"]
    lead = f"{len(runs):,} runs of {done} of {swept.points} points"
    lead += "." if swept.status == "finished" else ", as far as they are committed."
    charts = "".join(figure(picture) for picture in pictures.values())
    sections = {"What was found": charts, "Every point": _points(swept), "What failed": _failures(failed)}
    identity = str(runs["experiment_id"].iloc[0])[:12] if len(runs) else ""
    return page(swept.name, lead, sections, f"experiment {identity}")


def _points(swept: Swept) -> str:
    """Mean and half-width of the shown figures at every point."""
    metrics, several = swept.shown, len(swept.arms) > 1
    if not metrics:
        return ""
    by = ["point", *swept.factors, "arm", "off"]
    joined: pd.DataFrame | None = None
    for name in metrics:
        found = (
            swept.means(name, by).rename(columns={"mean": name, "half": f"{name}_half"}).drop(columns="count")
        )
        joined = found if joined is None else joined.merge(found, how="outer", on=by)
    assert joined is not None
    rows = []
    for row in joined.sort_values("point", kind="stable").head(_MOST_ROWS).to_dict("records"):
        factors = [
            short(row[name]) if isinstance(row[name], int | float) else str(row[name])
            for name in swept.factors
        ]
        arm = [arm_words(row["arm"], row["off"])] if several else []
        cells = [_with_half(row[name], row[f"{name}_half"]) for name in metrics]
        rows.append([*factors, *arm, *cells])
    heads = [label_of(name) + (f", {swept.unit(name)}" if swept.unit(name) else "") for name in metrics]
    head = [*swept.factors, *(["arm"] if several else []), *heads]
    first = len(swept.factors) + several
    more = (
        f"<p>The first {_MOST_ROWS} of {len(joined)}; the table holds all.</p>"
        if len(joined) > _MOST_ROWS
        else ""
    )
    return table(head, rows, frozenset(range(first, first + len(metrics)))) + more


def _with_half(mean: float, half: float) -> str:
    return f"{short(mean)} \N{PLUS-MINUS SIGN} {short(float(f'{half:.2g}'))}"


def _failures(failed: pd.DataFrame) -> str:
    if failed.empty:
        return ""
    counts = failed.groupby("reason", sort=False).size()
    return table(
        ["reason", "runs"], [[str(reason), str(count)] for reason, count in counts.items()], frozenset({1})
    )
