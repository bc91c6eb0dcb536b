"""Write the tables of docs/performance.md from the figures in this folder.

    python benchmarks/tables.py

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; everything else on the page is written by hand.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
MISSING = "not measured"
Figures = Mapping[str, float | None]
Row = tuple[str, str, str, str]

# name, what it is, unit, goal
ENGINE: tuple[Row, ...] = (
    ("book_ratio_dense", "order book, 20,000 orders resting, time over that of a C++ book", "x", "≤ 1.3"),
    ("book_ratio_sparse", "the same, 4,000 orders resting over many ticks", "x", "≤ 1.3"),
    ("book_ratio_deep", "the same, 200,000 orders resting", "x", "≤ 1.3"),
    ("gamma_shock_seconds", "`gamma_shock`, four simulated hours, everything recorded", "s", "≤ 0.6"),
    ("gamma_shock_steps_per_second", "steps a second of that run", "1/s", ""),
    ("run_over_engine", "a whole run with tables, summary and impact probe over the engine alone", "x", ""),
)
SCALE: tuple[Row, ...] = (
    ("steps_per_second_1e3", "steps a second with 1,000 leveraged accounts", "1/s", "≥ 700,000"),
    ("steps_per_second_1e4", "with 10,000", "1/s", "≥ 250,000"),
    ("steps_per_second_1e5", "with 100,000", "1/s", "≥ 40,000"),
    ("steps_per_second_1e6", "with 1,000,000", "1/s", "≥ 1,700"),
    ("growth_fixed_activity", "cost of a step with 1,000,000 accounts over 1,000, same activity", "x", "≤ 3"),
    ("ns_per_liquidation", "one liquidation, built-in rules", "ns", "≤ 1,000"),
    ("python_rule_step_us", "a step in which a rule in Python is asked", "µs", "≤ 100"),
    ("runs_per_second_1core", "runs a second, 1,000 traders for 2,000 steps, one processor", "1/s", "≥ 350"),
    ("speedup_2cores", "gain from a second processor", "x", "≥ 1.6"),
    ("tiny_runs_per_minute", "runs a minute, 50 traders for 50 steps, all processors", "1/min", "≥ 500,000"),
)
AGENTS: tuple[Row, ...] = (
    ("orders_per_second_single", "orders a second, one call of `OrderBook.limit` each", "1/s", "≥ 500,000"),
    ("orders_per_second_batch", "from 1,000 `Participant` objects", "1/s", "≥ 800,000"),
    ("orders_per_second_cohort", "from one `Cohort` of 100,000 accounts", "1/s", "≥ 15,000,000"),
)
FEATURES: tuple[Row, ...] = (
    ("recording_overhead", "tables of everything, over the summary alone", "x", "≤ 1.5"),
    ("cost_extended_driver", "the driver of the features below, with none of them on", "x", ""),
    (
        "cost_venue_rules",
        "price band, circuit breaker, position and open-interest caps that never bind",
        "x",
        "",
    ),
    ("cost_latency", "one second between decision and arrival for every sender", "x", ""),
    ("cost_second_market", "a second market of the same size", "x", ""),
)
MEMORY: tuple[Row, ...] = (
    ("bytes_per_account", "memory of one more leveraged account", "bytes", "≤ 128"),
    ("rss_small_run_mib", "one more world of 1,000 traders, once it has run", "MiB", "≤ 8"),
    ("rss_ten_million_trades_mib", "peak of a run with ten million trades, report included", "MiB", "≤ 500"),
    ("cold_resident_mib", "peak of the first `cascade-sim run`, which compiles", "MiB", ""),
    ("warm_resident_mib", "peak of a later one", "MiB", ""),
    ("cold_seconds", "the first `cascade-sim run`, with charts and report", "s", "≤ 25"),
    ("warm_seconds", "a later one", "s", "≤ 4"),
    ("soak_messages", "messages through two markets with everything on", "", "≥ 100,000,000"),
    ("soak_failures", "invariants that did not hold on the way", "", "0"),
    ("soak_ns_per_message", "time of one of these messages", "ns", ""),
    ("soak_growth_mib", "memory gained after the first tenth of them", "MiB", ""),
)
GROUPS: Mapping[str, tuple[Row, ...]] = {
    "engine": ENGINE,
    "scale": SCALE,
    "agents": AGENTS,
    "features": FEATURES,
    "memory": MEMORY,
}
"""Tables of single figures; every figure of the baseline has to be in one of them."""


def number(value: float) -> str:
    """Write a figure with three digits, thousands apart."""
    if value >= 1000:
        digits = 3 - len(str(int(value)))
        return f"{round(value, digits):,.0f}"
    return f"{value:.3g}"


def figure_table(rows: tuple[Row, ...], figures: Figures) -> str:
    """Return figures with their goals as a table."""
    lines = ["| | measured | goal | figure |", "|---|---:|---:|---|"]
    for name, meaning, unit, goal in rows:
        value = figures.get(name)
        shown = MISSING if value is None else f"{number(value)} {unit}".rstrip()
        lines.append(f"| {meaning} | {shown} | {goal} | `{name}` |")
    return "\n".join(lines)


def against_first(ratio: float) -> str:
    """Say how fast something is by its ratio to the first row."""
    if ratio >= 1.0:
        return f"{number(ratio)} x"
    return f"1 / {number(1.0 / ratio)}"


def comparison_table(rows: list[dict[str, Any]], unit: str, last: Mapping[str, Callable[[Any], str]]) -> str:
    """Return speeds side by side as a table; ``last`` names further columns and how to write them."""
    names = ["program", "from Python through", unit, "to the first", *last]
    lines = ["| " + " | ".join(names) + " |", "|---|---|---:|---:|" + "---|" * len(last)]
    for row in rows:
        measured = row["per_second"] is not None
        cells = [row["program"], row["way"]]
        cells += [number(row["per_second"]), against_first(row["ratio"])] if measured else [MISSING, ""]
        cells += [write(row) for write in last.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def conditions(comparison: dict[str, Any]) -> str:
    """Say what was compared with what, and where."""
    versions, stream, machine = (comparison[name] for name in ("versions", "stream", "machine"))
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    kinds = ", ".join(f"{100 * stream[kind]:.0f} % {kind}" for kind in ("limit", "cancel", "market"))
    busy = "" if machine["load"] is None else f", load average {machine['load'][0]:g}"
    return (
        f"{named}. Messages: {stream['messages']:,} ({kinds}), {stream['source']}. {machine['cpus']} processors{busy}; "
        f"medians of {comparison['rounds']} rounds."
    )


def tables(figures: Figures, comparison: dict[str, Any]) -> dict[str, str]:
    """Every table of the page by name.

    Raises
    ------
    KeyError
        If a figure has no place in any table.
    """
    known = {name for rows in GROUPS.values() for name, *_ in rows}
    for name in figures:
        if name not in known:
            raise KeyError(f"{name}: expected a row for it in benchmarks/tables.py")
    found = {name: figure_table(rows, figures) for name, rows in GROUPS.items()}
    book_columns = {
        "messages": lambda row: f"{row['messages']:,}",
        "trades, against the first": lambda row: row["trades"] or "",
    }
    found["compared_books"] = comparison_table(comparison["books"], "messages a second", book_columns)
    steps = {"steps": lambda row: str(row["steps"])}
    found["compared_agents"] = comparison_table(comparison["agents"], "orders a second", steps)
    found["conditions"] = conditions(comparison)
    return found


def rewritten(page: str, found: Mapping[str, str]) -> str:
    """Return the page with every marked table replaced."""
    return BLOCK.sub(lambda match: f"{match[1]}{found[match[2]]}\n{match[3]}", page)


def from_files() -> dict[str, str]:
    """Every table from the figures that are kept in this folder."""
    read = [
        json.loads((HERE / name).read_text(encoding="utf-8")) for name in ("baseline.json", "comparison.json")
    ]
    return tables(*read)


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), from_files()), encoding="utf-8")
