"""Compare with what can be had with pip for the same purpose: same messages, same machine, taking turns.

    pip install bourse pams
    python benchmarks/compare.py --out benchmarks/comparison.json

What is not installed is reported as not measured. Every round runs each program once, in an order of its own; the report
holds medians over the rounds, and medians of the ratios to the first way of each table within a round.
"""

import argparse
import gc
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compared_agents import AGENT_MARKETS, AGENTS, AgentMarket
from compared_books import BOOKS, Book, agreement
from rich.console import Console
from rich.table import Table
from streams import Stream, Trades, make_stream, read_stream, shares, without_cancellations

PACKAGES = ("cascade-sim", "numpy", "numba", "bourse", "pams")
PROFILE, SEED = "sparse", 7
Row = dict[str, Any]


def installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def versions() -> dict[str, str | None]:
    """Versions of everything that is compared; None where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def alternate(runs: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Run everything once a round, each round in another order; returns speeds, one list per run."""
    speeds: list[list[float]] = [[] for _ in runs]
    order = random.Random(SEED)
    for run in runs:
        run()  # the first time compiles and fills caches
    for _ in range(rounds):
        for number in order.sample(range(len(runs)), len(runs)):
            # As the standard library's timeit does: whose garbage is looked for must not depend on the turn.
            gc.collect()
            gc.disable()
            try:
                speeds[number].append(runs[number]())
            finally:
                gc.enable()
    return speeds


def speed_figures(speeds: list[float], first: list[float]) -> Row:
    """Median speed, and median of the ratios to the first way within a round."""
    ratios = [mine / theirs for mine, theirs in zip(speeds, first, strict=True)]
    return {
        "per_second": round(statistics.median(speeds)),
        "ratio": float(f"{statistics.median(ratios):.3g}"),
    }


def table_of(
    entries: Sequence[Book | AgentMarket], speeds: dict[int, list[float]], more: list[Row]
) -> list[Row]:
    """One row per way: names, speed and what else is known; speed None where it was not measured."""
    rows = []
    for number, entry in enumerate(entries):
        row: Row = {"program": entry.program, "way": entry.way, "per_second": None, "ratio": None}
        if number in speeds:
            row |= speed_figures(speeds[number], speeds[min(speeds)])
        rows.append(row | more[number])
    return rows


def compare_books(stream: Stream, short: int, rounds: int) -> list[Row]:
    """Messages per second of every book, and how its trades agree with those of the first."""
    fed = {"all": stream, "orders": without_cancellations(stream), "first": stream[:short]}
    expected = {name: _trades(BOOKS[0], messages) for name, messages in fed.items()}
    more: list[Row] = []
    runs = {}
    for number, book in enumerate(BOOKS):
        messages = fed[book.messages]
        row: Row = {"messages": len(messages), "trades": None}
        if installed(book.module):
            row["trades"] = agreement(_trades(book, messages), expected[book.messages])
            runs[number] = _book_run(book, messages)
        more.append(row)
    speeds = alternate(list(runs.values()), rounds)
    return table_of(BOOKS, dict(zip(runs, speeds, strict=True)), more)


def _trades(book: Book, messages: Stream) -> Trades:
    feed, trades = book.start(messages)
    feed()
    return trades()


def _book_run(book: Book, messages: Stream) -> Callable[[], float]:
    def run() -> float:
        feed, _ = book.start(messages)
        began = time.perf_counter()
        feed()
        return len(messages) / (time.perf_counter() - began)

    return run


def compare_agents(agents: int, rounds: int) -> list[Row]:
    """Orders per second of every market of Python agents."""
    more: list[Row] = []
    runs = {}
    for number, market in enumerate(AGENT_MARKETS):
        more.append({"agents": agents, "steps": market.steps})
        if installed(market.module):
            runs[number] = _agent_run(market, agents, market.steps)
    speeds = alternate(list(runs.values()), rounds)
    return table_of(AGENT_MARKETS, dict(zip(runs, speeds, strict=True)), more)


def _agent_run(market: AgentMarket, agents: int, steps: int) -> Callable[[], float]:
    def run() -> float:
        orders, seconds = market.run(agents, steps)
        return orders / seconds

    return run


def yardstick_stream(source: Path, messages: int) -> Stream:
    """Let a C++ book (docs/performance.md) make the messages; its opening orders come on top."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise SystemExit("--yardstick: expected g++ or clang++, found neither")
    with tempfile.TemporaryDirectory() as name:
        program, stream = Path(name) / "book", Path(name) / "stream.bin"
        subprocess.run([compiler, "-O3", "-std=c++17", "-o", program, source], check=True)
        make: list[str | Path] = [program, "make", PROFILE, str(messages), str(SEED), stream]
        subprocess.run(make, check=True, capture_output=True)
        return read_stream(stream)


def machine() -> Row:
    """What the figures were measured on, and how busy it was."""
    busy = [round(value, 1) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None
    return {"system": platform.system(), "machine": platform.machine(), "cpus": os.cpu_count(), "load": busy}


def compare(request: argparse.Namespace) -> Row:
    """Measure everything that is installed."""
    if request.yardstick is not None:
        stream, source = yardstick_stream(request.yardstick, request.messages), f"yardstick, {PROFILE}"
    else:
        stream, source = make_stream(request.messages, SEED), "generated"
    before = machine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other packages say about their own dependencies
        books = compare_books(stream, min(request.short, len(stream)), request.rounds)
        agents = compare_agents(request.agents, request.rounds)
    return {
        "versions": versions(),
        "machine": before | {"load_after": machine()["load"]},
        "rounds": request.rounds,
        "stream": {"source": source, "messages": len(stream), **shares(stream)},
        "books": books,
        "agents": agents,
    }


def _print(title: str, unit: str, rows: list[Row], last: str) -> None:
    table = Table(title=title)
    for name in ("program", "way", unit, "ratio", last):
        table.add_column(name, justify="right" if name in (unit, "ratio") else "left")
    for row in rows:
        speed, ratio = (
            ("not measured", "") if row["per_second"] is None else (f"{row['per_second']:,}", row["ratio"])
        )
        table.add_row(row["program"], row["way"].replace("`", ""), speed, str(ratio), str(row[last] or ""))
    Console().print(table)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--messages", type=int, default=100_000, help="messages that books are fed")
    parser.add_argument("--short", type=int, default=10_000, help="messages for books that are slow")
    parser.add_argument("--agents", type=int, default=AGENTS, help="agents in each market")
    parser.add_argument("--rounds", type=int, default=7, help="times that everything takes its turn")
    parser.add_argument("--yardstick", type=Path, help="C++ source of a book that makes the messages")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    return parser.parse_args(words)


def main() -> None:
    """Measure, print, and write down."""
    request = arguments()
    report = compare(request)
    text = json.dumps(report, indent=2) + "\n"
    if request.out is not None:
        request.out.write_text(text, encoding="utf-8")
    if request.json:
        sys.stdout.write(text)
    else:
        _print("Order books", "messages/s", report["books"], "trades")
        _print("Agents in Python", "orders/s", report["agents"], "steps")


if __name__ == "__main__":
    main()
