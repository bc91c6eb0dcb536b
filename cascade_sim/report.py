"""A run in words, and a self-contained HTML page with its charts and tables."""

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from cascade_sim.input_words import bracket_words, chain_words
from cascade_sim.manifest import stop_words
from cascade_sim.metrics import METRICS, Metric, summary_keys
from cascade_sim.page import MISSING, Report, figure, number, page, short, table, unit_words
from cascade_sim.plots.picture import Picture
from cascade_sim.plots.words import compact, currencies, log_percent, percent, plain, ranked_losses
from cascade_sim.result import RunResult

_MECHANISM_WORDS = {
    "liquidation": "liquidations",
    "delta_hedging": "delta hedging",
    "adl": "auto-deleveraging",
}


def narrate(summary: Mapping[str, Any], quote: str = "quote units") -> list[str]:
    """Say in sentences what happened, what was forced, who paid, and what the mechanisms added.

    Sentences whose figures are missing are left out.

    Parameters
    ----------
    summary
        Summary of a run; with a counterfactual also ``amplification``, ``added_move_bp``, ``attribution``.
    quote
        Name of the quote currency.

    Returns
    -------
    list of str
        One sentence or two each, in the order of the story.
    """
    figures = {key: value for key, value in summary.items() if value is not None}
    parts = [_what_happened(figures), _what_was_forced(figures, quote), _who_paid(figures, quote)]
    parts += [_what_mechanisms_did(figures), _what_is_wrong(figures)]
    return [sentence for part in parts for sentence in part]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _count(number: float, one: str, many: str) -> str:
    return f"{plain(number)} {one if number == 1 else many}"


def _what_happened(figures: Mapping[str, Any]) -> Iterable[str]:
    move = figures.get("max_adverse_excursion")
    if move == 0:
        yield "The mark never moved against most leverage."
    elif move is not None:
        verb = "fell" if move < 0 else "rose"
        sentence = (
            f"The mark {verb} by up to {log_percent(move)} ({abs(move):.0f} log bp) against most leverage"
        )
        if "retrace" in figures:
            sentence += f"; {percent(figures['retrace'])} of that was undone by the end"
        yield sentence + "."
    elif "max_drawdown" in figures:
        yield f"The mark fell by up to {percent(figures['max_drawdown'])} from its peak."
    if "recovery_seconds" in figures:
        yield f"Recovery took {_duration(figures['recovery_seconds'])}."
    if "worst_depth" in figures:
        share = figures["worst_depth"]
        level = "nothing at all" if share <= 0 else f"{percent(share)} of its calm level"
        yield f"At the worst moment, depth within 0.1 % of the mid was {level}."


def _what_was_forced(figures: Mapping[str, Any], quote: str) -> Iterable[str]:
    accounts, notional = figures.get("liquidated_accounts"), figures.get("liquidated_notional")
    if accounts == 0:
        yield "No account was liquidated."
    elif accounts is not None:
        sentence = f"{_count(accounts, 'account was', 'accounts were')} liquidated"
        if notional is not None:
            sentence += f", {compact(notional)} {quote} of positions"
        if "densest_liquidation_share" in figures:
            sentence += (
                f", {percent(figures['densest_liquidation_share'])} of it in the densest 5 % of the time"
            )
        yield sentence + "."
    shares = [
        f"{words} {percent(figures[key])}"
        for key, words in (
            ("liquidation_volume_share", "liquidations took"),
            ("hedge_volume_share", "dealers' hedges"),
        )
        if figures.get(key)
    ]
    if shares:
        yield f"Of all volume, {' and '.join(shares)}."


def _who_paid(figures: Mapping[str, Any], quote: str) -> Iterable[str]:
    ranked = ranked_losses(figures)
    for verb, sign, pairs in (("lost", 1.0, ranked[:3]), ("gained", -1.0, ranked[::-1][:2])):
        chosen = [f"{name} {compact(abs(loss))}" for name, loss in pairs if sign * loss > 0]
        if chosen:
            yield f"Who {verb} most, in {quote}: {', '.join(chosen)}."
    start, end = figures.get("insurance_fund_start"), figures.get("insurance_fund_end")
    if start is not None and end is not None:
        if start == end:
            yield f"The insurance fund kept its {compact(start)} {quote}."
        else:
            verb = "fell" if end < start else "grew"
            yield f"The insurance fund {verb} from {compact(start)} to {compact(end)} {quote}."
    amounts = [
        f"{words} {compact(figures[key])} {quote}"
        for key, words in (
            ("bad_debt", "bad debt came to"),
            ("backstop_notional", "the backstop took over"),
            ("adl_notional", "auto-deleveraging closed"),
            ("socialised_loss", "all winners together gave up"),
            ("external_capital", "drawn from outside:"),
        )
        if figures.get(key)
    ]
    if amounts:
        text = "; ".join(amounts)
        yield f"{text[0].upper()}{text[1:]}."
    elif figures.get("bad_debt") == 0:
        yield "There was no bad debt."


def _what_mechanisms_did(figures: Mapping[str, Any]) -> Iterable[str]:
    added, ratio = figures.get("added_move_bp"), figures.get("amplification")
    parts = figures.get("attribution") or {}
    names = (
        " and ".join(_MECHANISM_WORDS.get(name, name.replace("_", " ")) for name in parts) or "the mechanisms"
    )
    if added is not None:
        # The added move counts adverse basis points, whichever way adverse is; a mechanism that damps has minus.
        without = "smaller" if added > 0 else "larger"
        sentence = f"With the same draws but without {names}, "
        sentence += f"the move would have been {abs(added):.0f} bp {without}"
        yield (sentence + (f": they multiplied it by {ratio:.2f}." if ratio is not None else "."))
    elif ratio is not None:
        yield f"Together, {names} multiplied the move by {ratio:.2f}."
    if len(parts) > 1:
        shares = ", ".join(
            f"{_MECHANISM_WORDS.get(name, name.replace('_', ' '))} {plain(round(value))} bp"
            for name, value in parts.items()
            if value is not None
        )
        yield f"Shared out between them (Shapley): {shares}."


def _what_is_wrong(figures: Mapping[str, Any]) -> Iterable[str]:
    if figures.get("conservation_error"):
        error = plain(figures["conservation_error"])
        yield f"Warning: the ledger does not balance, it is off by {error} atoms."


def write_report(result: RunResult, directory: str | Path) -> Path:
    """Write ``charts/*.png`` and a self-contained ``report.html`` into a folder.

    Parameters
    ----------
    result
        Run to report, with its counterfactual if it has one.
    directory
        Folder of the result; created if missing.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    return draw_report(result).write(directory)


def draw_report(result: RunResult, pictures: Mapping[str, Picture] | None = None) -> Report:
    """Draw every chart of a run and compose its page, in memory.

    Parameters
    ----------
    result
        Run to report, with its counterfactual if it has one.
    pictures
        Its charts where they have been drawn already.

    Returns
    -------
    Report
    """
    if pictures is None:
        from cascade_sim.plots.drawing import draw_all

        pictures = draw_all(result)
    return Report(pictures, render_report(result, pictures))


_SECTIONS = {
    "mark_with_counterfactuals": "What happened",
    "volume_by_cause": "How much was forced",
    "depth_over_time": "How much was forced",
    "liquidation_levels": "How much was forced",
    "who_paid": "Who paid",
}


def render_report(result: RunResult, pictures: Mapping[str, Picture]) -> str:
    """Compose the page; everything is inline, nothing is fetched.

    Parameters
    ----------
    result
        Run to report.
    pictures
        Chart name -> picture.

    Returns
    -------
    str
        HTML.
    """
    base, quote = currencies(result)
    tree = result.scenario_tree
    sections = {"What happened": _story(result, quote), "How much was forced": "", "Who paid": ""}
    for name, picture in pictures.items():
        heading = _SECTIONS.get(name, "Further charts")
        sections[heading] = sections.get(heading, "") + figure(picture)
    sections["Who paid"] += _payerstable(result.summary, quote)
    if len(result.counterfactual):
        sections["What would have happened without"] = _counterfactual(result.counterfactual, base, quote)
    sections["Key figures"] = _key_figures(result.summary, base, quote)
    sections["Every market"] = _every_market(result.summary)
    if result.scenario_yaml:
        sections["Parameters"] = (
            "<details><summary>Every setting of this run, with <code>scenario.yaml</code> word for word</summary>"
            f"<pre>{escape(result.scenario_yaml)}</pre></details>"
        )
        sections["How to reproduce"] = _reproduce(result)
    return page(_title(tree), str(tree.get("description") or ""), sections, _identity(result.manifest))


def render_view(result: RunResult) -> str:
    """Compose what a notebook shows of a result: what happened in sentences, and the key figures.

    Parameters
    ----------
    result
        Run to show; nothing of it is read from disk.

    Returns
    -------
    str
        HTML, a part of a page.
    """
    base, quote = currencies(result)
    rows = [
        row
        for key in summary_keys()
        if key.name in _KEY_FIGURES and result.summary.get(key.name) is not None
        for row in _figure_rows(key, result.summary, base, quote)
    ]
    every = _key_figures(result.summary, base, quote)
    body = [
        f"<style>{_VIEW_STYLE}</style>",
        f"<p><strong>{escape(_title(result.scenario_tree))}</strong></p>",
        _story(result, quote),
        table(("figure", "value", "unit"), rows, frozenset({1}), "key") if rows else "",
        f"<details><summary>Every figure</summary>{every}</details>" if rows else "",
        f"<p>{escape(_identity(result.manifest))}</p>",
    ]
    # Half of a pair of surrogates, which a title may hold, has no place in any encoding.
    return f'<div class="cascade-sim">{"".join(body)}</div>'.encode("utf-8", "backslashreplace").decode()


_VIEW_STYLE = (
    ".cascade-sim th, .cascade-sim td {text-align: left; padding: 0.1em 0.8em 0.1em 0}"
    " .cascade-sim .n {text-align: right; font-variant-numeric: tabular-nums}"
)


def _title(tree: Mapping[str, Any]) -> str:
    return str(tree.get("title") or tree.get("name") or "Cascade simulation")


def _story(result: RunResult, quote: str) -> str:
    sentences = stop_words(result.manifest) + (narrate(result.summary, quote) or ["No figures."])
    sentences += chain_words(result.manifest.get("option_chain"))
    sentences += bracket_words(result.manifest.get("margin_brackets"))
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="story">{items}</ul>'


def _identity(manifest: Mapping[str, Any]) -> str:
    versions = manifest.get("versions") or {}
    parts = [
        f"{label} {value}"
        for label, value in (
            ("seed", manifest.get("seed")),
            ("scenario", str(manifest.get("scenario_hash") or "")[:12] or None),
            ("cascade-sim", versions.get("cascade-sim")),
            ("commit", str(manifest.get("git_commit") or "")[:12] or None),
        )
        if value is not None
    ]
    return " \N{MIDDLE DOT} ".join(parts)


def _reproduce(result: RunResult) -> str:
    """The command that gives the same tables, bit for bit, and the versions it was run with."""
    words = ["cascade-sim", "run", "scenario.yaml", "--seed", str(result.manifest.get("seed", 0))]
    switches = [name for name in result.counterfactual.columns if result.counterfactual[name].dtype == bool]
    if switches:
        words.append(f"--counterfactual={','.join(switches)}")
    versions = result.manifest.get("versions") or {}
    used = ", ".join(f"{name} {number}" for name, number in versions.items() if number is not None)
    return (
        "<p>In the folder of this page; equal versions give equal tables, bit for bit.</p>"
        f"<pre>{escape(' '.join(words))}</pre>" + (f"<p>Made with {escape(used)}.</p>" if used else "")
    )


def _payerstable(summary: Mapping[str, Any], quote: str) -> str:
    rows = [(name, number(round(loss))) for name, loss in ranked_losses(summary)]
    if not rows:
        measured = summary.get("loss_by_class") is not None
        return f"<p>{'Nobody lost or gained.' if measured else 'Losses were not measured.'}</p>"
    return table(("class of account", f"loss, {quote} (negative: gain)"), rows, frozenset({1}))


def _key_figures(summary: Mapping[str, Any], base: str, quote: str) -> str:
    blocks = []
    for group in dict.fromkeys(key.group for key in summary_keys()):
        rows = [
            row
            for key in summary_keys()
            if key.group == group
            for row in _figure_rows(key, summary, base, quote)
        ]
        if rows:
            blocks.append(
                f"<h3>{escape(group)}</h3>{table(('figure', 'value', 'unit'), rows, frozenset({1}), 'key')}"
            )
    return "".join(blocks) or "<p>No figures.</p>"


def _every_market(summary: Mapping[str, Any]) -> str:
    """A column per market, where there are several; their currencies may differ."""
    markets = summary.get("markets") or {}
    if len(markets) < 2:
        return ""
    rows = []
    for key in summary_keys():
        values = [figures.get(key.name) for figures in markets.values()]
        if any(value is not None for value in values):
            unit = "" if key.unit == "-" else f", {key.unit}"
            rows.append(
                [
                    f"{key.label}{unit}",
                    *(short(v) if isinstance(v, int | float) else MISSING for v in values),
                ]
            )
    head = ["figure", *map(str, markets)]
    return table(head, rows, frozenset(range(1, len(head)))) if rows else ""


def _figure_rows(
    key: Metric, summary: Mapping[str, Any], base: str, quote: str
) -> Iterable[tuple[str, str, str]]:
    if key.name not in summary or key.name in ("loss_by_class", "markets"):
        return
    value = summary[key.name]
    unit = unit_words(key.unit, base, quote)
    if unit == "fraction" and isinstance(value, int | float):
        value, unit = 100.0 * value, "%"
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield f"{key.label}: {str(name).replace('_', ' ')}", number(item), unit
    elif isinstance(value, list):
        largest = max((item for item in value if item is not None), default=None)
        yield f"{key.label}: number", number(len(value)), ""
        yield f"{key.label}: largest", number(largest), unit
    else:
        yield key.label, number(value), unit


_KEY_FIGURES = (
    "max_adverse_excursion",
    "max_drawdown",
    "retrace",
    "recovery_seconds",
    "worst_depth",
    "liquidated_accounts",
    "liquidated_notional",
    "bad_debt",
    "insurance_fund_end",
    "adl_notional",
    "socialised_loss",
    "external_capital",
    "added_move_bp",
    "amplification",
)
_COMPARED = (
    "max_adverse_excursion",
    "added_move_bp",
    "amplification",
    "worst_depth",
    "liquidated_accounts",
    "liquidated_notional",
    "liquidation_volume_share",
    "hedge_volume_share",
    "backstop_notional",
    "adl_notional",
    "bad_debt",
    "insurance_fund_end",
    "socialised_loss",
    "external_capital",
)


def _counterfactual(arms: pd.DataFrame, base: str, quote: str) -> str:
    """A column per arm, the run itself first: few arms and many figures fit a page this way round."""
    whole = (arms["arm"] == "everything on").to_numpy()
    ordered = pd.concat([arms[whole], arms[~whole]])
    rows = []
    for name in _COMPARED:
        if name not in arms.columns or not arms[name].notna().any():
            continue
        unit = unit_words(METRICS[name].unit, base, quote)
        scale, unit = (100.0, "%") if unit == "fraction" else (1.0, unit)
        cells = [short(scale * float(value)) for value in ordered[name]]
        rows.append([f"{METRICS[name].label}, {unit}" if unit else METRICS[name].label, *cells])
    head = ["the same draws", *(str(label) for label in ordered["arm"])]
    return table(head, rows, frozenset(range(1, len(head))))
