"""Fingerprints of the scenario library: what a redesign must leave as it is, bit for bit.

``python tests/fingerprints/take.py`` compares with ``library.json`` and prints what differs; ``--write`` replaces the file.
A change of results on purpose is written down in the changelog together with the new file.
"""

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cascade_sim as cs
from cascade_sim.columns import RETIRED_COLUMNS
from cascade_sim.domain.errors import ScenarioError

FILE = Path(__file__).with_name("library.json")
SEEDS = range(10)
TABLES = ("series", "events", "trades", "transfers", "accounts", "depth", "liquidation_map")
FIGURES = (
    "steps",
    "messages",
    "trades",
    "max_adverse_excursion",
    "max_drawdown",
    "liquidated_accounts",
    "liquidated_notional",
    "adl_accounts",
    "adl_notional",
    "backstop_notional",
    "bad_debt",
    "insurance_fund_end",
    "socialised_loss",
    "external_capital",
    "conservation_error",
)
"""Keys of a summary that an ensemble has as well."""


def short_hash(pieces: Iterable[bytes]) -> str:
    """Return 16 hexadecimal digits over bytes."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "little") + piece)
    return digest.hexdigest()[:16]


def mathematics() -> str:
    """Return a hash over results of the machine's exp, log, pow and erfc, the last bit of which differs among machines."""
    grid = [0.001 * k + 1e-9 for k in range(1, 20_000, 7)]
    values = [f(x) for x in grid for f in (math.exp, math.log, math.erfc, math.sin)]
    values += [math.pow(x, y) for x in grid[::50] for y in (-2.5, 0.3, 1.7)]
    return short_hash([np.array(values).tobytes()])


def column_bytes(column: pd.Series) -> bytes:
    """Return the values of a column; text and nested values by their written form."""
    if column.dtype.kind in "iufb":
        return np.ascontiguousarray(column.to_numpy()).tobytes()
    return "\x1f".join(map(repr, column.astype(object).where(column.notna(), None))).encode()


def table_hash(name: str, table: pd.DataFrame, columns: Iterable[str]) -> str:
    """Hash the named columns of a table: columns that come later change nothing, and those that went were all zeros."""
    zeros = pd.Series(np.zeros(len(table), np.float32))
    retired = RETIRED_COLUMNS.get(name, frozenset())
    return short_hash(
        piece
        for column in columns
        for piece in (column.encode(), column_bytes(zeros if column in retired else table[column]))
    )


def single(name: str, seed: int, columns: dict[str, list[str]]) -> dict[str, str]:
    """Fingerprint one run: mark of every step, cash and position of every account, figures, tables."""
    scenario = cs.load_scenario(name)
    model = cs.CascadeModel(scenario, rng=seed)
    model.run()
    accounts = [market.state.accounts[: market.account_count] for market in model.markets.values()]
    prints = {
        "accounts": short_hash(
            np.ascontiguousarray(rows[field]).tobytes() for rows in accounts for field in ("cash", "position")
        )
    }
    model.close()
    result = cs.run(scenario, seed, probe=False)
    for table in TABLES:
        frame = getattr(result, table)
        known = columns.setdefault(table, list(frame.columns))
        prints[table] = table_hash(table, frame, known)
    marks = [np.ascontiguousarray(result.series["mark"].to_numpy()).tobytes()]
    prints["mark"] = short_hash(marks)
    prints["figures"] = short_hash(repr(result.summary.get(key)).encode() for key in FIGURES)
    return prints


def ensemble(name: str, columns: dict[str, list[str]]) -> list[str] | None:
    """Fingerprint the rows of an ensemble; None where ensembles refuse the scenario."""
    try:
        frame = cs.run_ensemble(cs.load_scenario(name), SEEDS, workers=1)
    except ScenarioError:
        return None
    known = columns.setdefault("ensemble", list(frame.columns))
    return [short_hash(repr(value).encode() for value in row) for row in frame[known].itertuples(index=False)]


def take(
    name: str, seeds: Iterable[int], columns: dict[str, list[str]], *, rows: bool = True
) -> dict[str, Any]:
    """Return the fingerprints of one scenario."""
    prints: dict[str, Any] = {"single": {str(seed): single(name, seed, columns) for seed in seeds}}
    if rows:
        prints["ensemble"] = ensemble(name, columns)
    return prints


def differences(kept: dict[str, Any], taken: dict[str, Any]) -> list[str]:
    """Say what of the fingerprints of one scenario has changed; seeds that were not taken are passed over."""
    found = []
    for seed, prints in taken["single"].items():
        wrong = [part for part, value in prints.items() if kept["single"][seed].get(part) != value]
        if wrong:
            found.append(f"seed {seed}: {', '.join(wrong)}")
    if "ensemble" in taken and kept["ensemble"] is not None and kept["ensemble"] != taken["ensemble"]:
        found.append("ensemble")
    return found


def main() -> int:
    """Compare the library with the file, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="replace the file")
    parser.add_argument(
        "--seeds", type=int, default=len(SEEDS), help="how many seeds of each scenario to compare"
    )
    request = parser.parse_args()
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() and not request.write else None
    columns: dict[str, list[str]] = kept["columns"] if kept else {}
    seeds = SEEDS if request.write else range(request.seeds)
    scenarios, changed = {}, 0
    for name in cs.scenario_names():
        taken = take(name, seeds, columns)
        scenarios[name] = taken
        known = kept is not None and name in kept["scenarios"]
        found = differences(kept["scenarios"][name], taken) if kept and known else []
        changed += bool(found)
        print(f"{name}: {'; '.join(found) if found else ('equal' if known else 'taken')}", flush=True)
    if request.write:
        content = {"mathematics": mathematics(), "columns": columns, "scenarios": scenarios}
        FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
