"""Results as CSV, for what does not read parquet: a file per table, the unit of a column in its heading."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv as pa_csv

from cascade_sim.columns import unit_words
from cascade_sim.metrics import METRICS
from cascade_sim.result_folder import CSV, MANIFEST, SUMMARY_CSV, save_folder
from cascade_sim.table_files import arrow_frame, arrow_table

SUMMARY_COLUMNS = ("market", "figure", "item", "value", "unit", "meaning")
"""Columns of ``summary.csv``: ``market`` is empty for the run as a whole, ``item`` where a figure is one number."""
Pieces = Callable[[], Iterable[pd.DataFrame]]


def write_csv_folder(
    directory: str | Path,
    tables: Mapping[str, Pieces],
    frames: Mapping[str, pd.DataFrame],
    summary: Mapping[str, Any],
    manifest: Mapping[str, Any],
    tree: Mapping[str, Any],
) -> Path:
    """Write tables and figures as CSV into a folder, whole or not at all.

    Parameters
    ----------
    directory
        Folder to create or replace, see `result_folder.save_folder`.
    tables
        Documented tables by name: a function that gives the pieces, one held at a time.
    frames
        Further tables, whose columns depend on the run.
    summary
        Key figures.
    manifest
        Identity of the run.
    tree
        Its resolved scenario, for the names of the currencies; may be empty.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    OutputError
        If the folder holds something else, or the disk refuses.
    """
    each = currencies_by_market(tree)
    base, quote = (
        _shared({pair[k] for pair in each.values()}, word) for k, word in enumerate(("base", "quote"))
    )

    def write(folder: Path) -> None:
        for name, pieces in tables.items():
            _write(folder / f"{name}.csv", (arrow_table(name, frame) for frame in pieces()), base, quote)
        for name, frame in frames.items():
            _write(folder / f"{name}.csv", [arrow_frame(frame)], base, quote)
        identity = json.dumps({**manifest, "kind": CSV.kind}, indent=2, ensure_ascii=False, allow_nan=False)
        _write_text(folder / MANIFEST, f"{identity}\n")
        figures = StringIO()
        lines = csv.writer(figures, lineterminator="\n")
        lines.writerow(SUMMARY_COLUMNS)
        lines.writerows(_figures(summary, each))
        _write_text(folder / SUMMARY_CSV, figures.getvalue())

    return save_folder(Path(directory), CSV, write)


def currencies_by_market(tree: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the names of base and quote currency of every market of a resolved scenario, the first market's first."""
    first = _section(tree, "market")
    main = str(first.get("base", "base")), str(first.get("quote", "quote"))
    found = {str(first.get("venue", "")): main}
    for name in _section(tree, "markets"):
        own = _section(_section(_section(tree, "markets"), name), "market")
        found[str(name)] = str(own.get("base", main[0])), str(own.get("quote", main[1]))
    return found


def _section(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}


def _shared(names: set[str], word: str) -> str:
    """The currency of all markets; of markets that differ the generic word, which each row's market makes definite."""
    return next(iter(names)) if len(names) == 1 else word


def _write_text(path: Path, text: str) -> None:
    with path.open("wb") as stream:
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _write(path: Path, pieces: Iterable[pa.Table], base: str, quote: str) -> None:
    writer: Any = None
    with path.open("wb") as stream:
        try:
            for piece in pieces:
                plain = _plain(piece, base, quote)
                if writer is None:
                    writer = pa_csv.CSVWriter(stream, plain.schema)
                writer.write_table(plain)
        finally:
            if writer is not None:
                writer.close()
        stream.flush()
        os.fsync(stream.fileno())


def _plain(table: pa.Table, base: str, quote: str) -> pa.Table:
    """The table with names as text, and its units in the headings."""
    columns, heads = [], []
    for field, column in zip(table.schema, table.columns, strict=True):
        columns.append(column.cast(pa.string()) if pa.types.is_dictionary(field.type) else column)
        unit = unit_words((field.metadata or {}).get(b"unit", b"-").decode(), base, quote)
        heads.append(f"{field.name} [{unit}]" if unit else field.name)
    return pa.Table.from_arrays(columns, names=heads)


def _figures(summary: Mapping[str, Any], currencies: Mapping[str, tuple[str, str]]) -> Iterator[list[str]]:
    """One row per number; of several markets, each in its own currencies."""
    main = next(iter(currencies.values()))
    markets = summary.get("markets")
    for name, value in summary.items():
        if name != "markets" or not isinstance(markets, Mapping):
            yield from _rows("", name, value, main)
    for market, figures in markets.items() if isinstance(markets, Mapping) else ():
        for name, value in figures.items():
            yield from _rows(market, name, value, currencies.get(market, main))


def _rows(market: str, name: str, value: Any, currencies: tuple[str, str]) -> Iterator[list[str]]:
    known = METRICS.get(name)
    unit, meaning = (unit_words(known.unit, *currencies), known.label) if known is not None else ("", "")
    items: Iterable[tuple[Any, Any]] = [("", value)]
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for item, number in items:
        text = "" if number is None else number if isinstance(number, str) else json.dumps(number)
        yield [market, name, str(item), text, unit, meaning]
