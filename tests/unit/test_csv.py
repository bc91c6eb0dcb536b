"""Results as CSV: what pandas reads is what was measured, and the folder is whole or not there."""

import dataclasses
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import SUMMARY, synthetic_result, synthetic_series

import cascade_sim.csv_folder
import cascade_sim.result
import cascade_sim.result_folder
from cascade_sim.columns import TABLES
from cascade_sim.csv_folder import SUMMARY_COLUMNS, currencies_by_market
from cascade_sim.domain.errors import OutputError
from cascade_sim.metrics import METRICS
from cascade_sim.result import RunResult, arm_table, load_result
from cascade_sim.table_files import TableFile

EXACT: dict[str, Any] = {} if int(pd.__version__.split(".")[0]) >= 3 else {"float_precision": "round_trip"}
"""What pandas needs to read every digit; since its third version it does so by itself."""


@pytest.fixture(scope="module")
def result() -> RunResult:
    table = pd.DataFrame(
        {
            "arm": ["everything on", "without liquidation"],
            "liquidation": [True, False],
            "max_adverse_excursion": [-702.4, np.nan],
            "liquidated_notional": [20_312_000.0, 1 / 3],
        }
    )
    arms = arm_table({"without liquidation": synthetic_series(0.05).iloc[:50]})
    return dataclasses.replace(synthetic_result(), arms=arms, counterfactual=table)


def read(path: Path) -> pd.DataFrame:
    """Read a table as anybody would, the units cut off."""
    frame = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False, **EXACT)
    return frame.rename(columns=lambda head: head.split(" [")[0])


def equal(read_back: pd.DataFrame, table: pd.DataFrame) -> None:
    """Check that every value is there, in the type that the table has it in."""
    assert list(read_back.columns) == list(table.columns)
    for name, column in table.items():
        dtype = column.dtype if str(column.dtype) != "category" else object
        found, expected = read_back[name].astype(dtype), column.astype(dtype)
        gone = expected.isna()
        assert (found.isna() == gone).all(), name
        assert (found[~gone] == expected[~gone]).all(), name


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_table_comes_back_with_equal_values(result: RunResult, tmp_path: Path) -> None:
    folder = result.to_csv(tmp_path / "csv")
    filled = [name for name in TABLES if result.rows(name)]
    assert len(filled) >= 7
    expected = {f"{name}.csv" for name in (*filled, "arms", "counterfactual", "summary")}
    assert {path.name for path in folder.iterdir()} == expected | {"manifest.json"}
    for name in (*filled, "arms", "counterfactual"):
        equal(read(folder / f"{name}.csv"), getattr(result, name))


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    draws = np.random.default_rng(5)
    table = synthetic_series()
    for column in table.columns[table.dtypes.astype(str).str.startswith("float")]:
        wide = draws.normal(size=len(table)) * 10.0 ** draws.uniform(-30, 30, len(table))
        wide[draws.random(len(table)) < 0.1] = np.nan
        table[column] = wide.astype(table[column].dtype)
    equal(read(RunResult(series=table).to_csv(tmp_path / "csv") / "series.csv"), table)


def test_headings_say_the_unit_in_the_currencies_of_the_scenario(result: RunResult, tmp_path: Path) -> None:
    folder = result.to_csv(tmp_path / "csv")
    heads = {
        name: list(pd.read_csv(folder / f"{name}.csv", nrows=0)) for name in ("series", "trades", "arms")
    }
    for head in ("step", "time_seconds [s]", "mark [USD]", "bid_depth_10bp [ETH]", "spread [bp]"):
        assert head in heads["series"]
    assert "gamma_exposure [USD per 1 % move]" in heads["series"]
    assert "impact_local [bp per ETH]" in heads["series"]
    assert {"price_tick [ticks]", "quantity_lot [lots]", "price [USD]"} <= set(heads["trades"])
    assert heads["arms"][-1] == "mark [USD]"
    assert "liquidated_notional [USD]" in list(pd.read_csv(folder / "counterfactual.csv", nrows=0))
    for name, columns in TABLES.items():
        if result.rows(name):
            units = {column.name: column.unit for column in columns}
            for head in pd.read_csv(folder / f"{name}.csv", nrows=0):
                assert (" [" in head) == (units[head.split(" [")[0]] != "-")


def test_currencies_of_several_markets_are_named_where_they_are_one(tmp_path: Path) -> None:
    text = "market: {{venue: perp, base: ETH, quote: USD}}\nmarkets:\n  spot: {}\n"
    for other, heads in (
        ("{market: {instrument: S}}", ["mark [USD]", "open_interest [ETH]"]),
        ("{market: {base: BTC}}", ["mark [USD]", "open_interest [base]"]),
        ("{market: {base: BTC, quote: EUR}}", ["mark [quote]", "open_interest [base]"]),
    ):
        summary = {"bad_debt": 1.0, "markets": {"perp": {"bad_debt": 1.0}, "spot": {"bad_debt": 2.0}}}
        run = RunResult(series=synthetic_series(), summary=summary, scenario_yaml=text.format(other))
        folder = run.to_csv(tmp_path / "csv")
        assert set(heads) <= set(pd.read_csv(folder / "series.csv", nrows=0))
        figures = pd.read_csv(folder / "summary.csv", keep_default_na=False)
        last = "EUR" if "EUR" in other else "USD"
        assert figures[["market", "value", "unit"]].to_numpy().tolist() == [
            ["", 1.0, "USD"],
            ["perp", 1.0, "USD"],
            ["spot", 2.0, last],
        ]
    assert currencies_by_market({}) == {"": ("base", "quote")}


def test_the_summary_comes_back_with_equal_values(result: RunResult, tmp_path: Path) -> None:
    markets = {"main": {"bad_debt": 61_250.0, "steps": 7200}, "a,b": {"bad_debt": None}}
    whole = dataclasses.replace(result, summary={**SUMMARY, "markets": markets, "of_ones_own": True})
    table = pd.read_csv(
        whole.to_csv(tmp_path / "csv") / "summary.csv", dtype=str, keep_default_na=False, na_values=[]
    )
    assert tuple(table.columns) == SUMMARY_COLUMNS
    rebuilt: dict[str, Any] = {}
    for row in table.to_dict("records"):
        into = rebuilt.setdefault("markets", {}).setdefault(row["market"], {}) if row["market"] else rebuilt
        value = json.loads(row["value"]) if row["value"] else None
        if not row["item"]:
            into[row["figure"]] = value
        elif row["item"].isdigit():
            into.setdefault(row["figure"], []).append(value)
        else:
            into.setdefault(row["figure"], {})[row["item"]] = value
    assert rebuilt == whole.summary
    of = table.set_index("figure")
    assert of.loc["bad_debt", "unit"].tolist() == ["USD"] * 3
    assert of.loc["permanent_impact", "unit"] == "USD per ETH"
    assert of.loc["retrace", "meaning"] == METRICS["retrace"].label


def test_a_result_without_anything_has_an_empty_summary(tmp_path: Path) -> None:
    folder = RunResult().to_csv(tmp_path / "deep" / "csv")
    assert contents(folder)["summary.csv"] == b"market,figure,item,value,unit,meaning\n"
    assert sorted(contents(folder)) == ["manifest.json", "summary.csv"]


def test_tables_on_disk_are_never_held_whole(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade_sim.table_files.ROW_GROUP", 500)
    held = result.to_csv(tmp_path / "held")
    result.save(tmp_path / "run")
    monkeypatch.setattr("cascade_sim.result.VALUES_READ_AT_ONCE", 2000)
    loaded = load_result(tmp_path / "run")
    assert loaded.is_on_disk
    longest = 0
    pieces = TableFile.pieces

    def watched(self: TableFile, columns: Any = None) -> Iterator[pd.DataFrame]:
        nonlocal longest
        for piece in pieces(self, columns):
            longest = max(longest, len(piece))
            yield piece

    def refuse(self: TableFile, columns: Any = None) -> pd.DataFrame:
        raise AssertionError(f"{self.name} was read whole")

    monkeypatch.setattr(TableFile, "pieces", watched)
    monkeypatch.setattr(TableFile, "load", refuse)
    streamed = contents(loaded.to_csv(tmp_path / "streamed"))
    assert 0 < longest <= 500 < len(result.series)
    assert streamed == contents(held)


def test_equal_results_give_equal_bytes_and_an_earlier_folder_is_replaced(
    result: RunResult, tmp_path: Path
) -> None:
    first = contents(result.to_csv(tmp_path / "csv"))
    RunResult(summary={"steps": 1}).to_csv(tmp_path / "csv")
    assert sorted(contents(tmp_path / "csv")) == ["manifest.json", "summary.csv"]
    assert contents(result.to_csv(tmp_path / "csv")) == first
    assert [path.name for path in tmp_path.iterdir()] == ["csv"]


def test_what_is_no_folder_of_this_kind_is_refused(result: RunResult, tmp_path: Path) -> None:
    saved = result.save(tmp_path / "run")
    before = contents(saved)
    with pytest.raises(
        OutputError, match=r"expected a folder of CSV tables or a new one, received .*run, which"
    ):
        result.to_csv(saved)
    assert contents(saved) == before
    folder = result.to_csv(tmp_path / "csv")
    before = contents(folder)
    with pytest.raises(OutputError, match=r"expected a result folder or a new one, received .*\.csv"):
        result.save(folder)
    (folder / "notes.csv").write_text("keep")
    with pytest.raises(OutputError, match=r"which holds notes\.csv"):
        result.to_csv(folder)
    (folder / "notes.csv").unlink()
    assert contents(folder) == before
    alien = tmp_path / "alien"
    alien.mkdir()
    (alien / "series.csv").write_text("step\n1\n")
    with pytest.raises(OutputError, match="without a manifest of a csv"):
        result.to_csv(alien)
    assert contents(alien) == {"series.csv": b"step\n1\n"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
@pytest.mark.parametrize("place", ["_write", "_write_text", "sync_folder", "move_into_place"])
@pytest.mark.parametrize("earlier", [False, True])
def test_what_is_interrupted_leaves_nothing_half_written(
    result: RunResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException] | BaseException,
    place: str,
    earlier: bool,
) -> None:
    folder = tmp_path / "csv"
    if earlier:
        RunResult(summary={"steps": 1}).to_csv(folder)
    before = contents(folder) if earlier else {}

    def fail(*_: object) -> None:
        raise error

    home = cascade_sim.csv_folder if place.startswith("_write") else cascade_sim.result_folder
    monkeypatch.setattr(home, place, fail)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        result.to_csv(folder)
    assert [path.name for path in tmp_path.iterdir()] == (["csv"] if earlier else [])
    assert not earlier or contents(folder) == before


@pytest.mark.parametrize("moves", [0, 1, 3, 6])
def test_the_folder_one_stands_in_is_replaced_or_as_it_was(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    folder = RunResult(summary={"steps": 1}, series=synthetic_series().iloc[:3]).to_csv(tmp_path / "csv")
    before = contents(folder)
    monkeypatch.chdir(folder)
    real, left = os.replace, [moves]

    def replace(source: Path, target: Path) -> None:
        if left[0] == 0:
            left[0] = -1
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    monkeypatch.setattr(cascade_sim.result_folder.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        result.to_csv(".")
    monkeypatch.setattr(cascade_sim.result_folder.os, "replace", real)
    assert contents(folder) == before
    result.to_csv(".")
    equal(read(folder / "trades.csv"), result.trades)


def test_a_table_that_is_not_as_documented_is_refused(tmp_path: Path) -> None:
    wrong = RunResult(series=synthetic_series().rename(columns={"mark": "price"}))
    with pytest.raises(OutputError, match="expected the documented columns of series"):
        wrong.to_csv(tmp_path / "csv")
    assert list(tmp_path.iterdir()) == []


def test_text_with_commas_quotes_and_lines_is_one_cell(tmp_path: Path) -> None:
    table = synthetic_series().iloc[:4].reset_index(drop=True)
    names = ['a,"b"', "two\nlines", "NA", "\N{GREEK SMALL LETTER GAMMA}"]
    table["venue"] = pd.Categorical(names)
    folder = RunResult(series=table).to_csv(tmp_path / "csv")
    text = (folder / "series.csv").read_text(encoding="utf-8")
    assert list(pd.read_csv(io.StringIO(text), keep_default_na=False)["venue"]) == names
