"""Result folders of the first release: they load with the numbers they were written with, or are refused in one line.

``tests/fixtures/earlier_results.tar.xz`` holds two of them, and the file beside it the digest of every column as the version
that wrote them read it.
"""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import cascade_sim as cs
import cascade_sim.plots as plots
from cascade_sim.cli import main
from cascade_sim.columns import RETIRED_COLUMNS, TABLES
from cascade_sim.domain.errors import DataFileError
from cascade_sim.metrics import summary_keys
from cascade_sim.result import RunResult

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
RUNS = ("two_markets", "summary_only")
TOLD: dict[str, Any] = json.loads((FIXTURES / "earlier_results.json").read_text())


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A copy of the folders that a test may change."""
    with tarfile.open(FIXTURES / "earlier_results.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def digest(column: pd.Series) -> str:
    """Digest of type and values; of a category column the words, not the vocabulary."""
    kind = str(column.dtype)
    if kind in ("category", "str", "object"):
        content = "\n".join(column.astype(object).where(column.notna(), "").astype(str)).encode()
        kind = "category" if kind == "category" else "text"
    elif kind.startswith("Int"):
        content = column.to_numpy(dtype=np.int64, na_value=-1).tobytes()
    else:
        values = column.to_numpy()
        missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), bool)
        content = np.where(missing, values.dtype.type(0) * np.nan, values).astype(values.dtype).tobytes()
    return hashlib.sha256(kind.encode() + b"\n" + content).hexdigest()[:12]


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    return int(stop.value.code or 0)


@pytest.mark.parametrize("run", RUNS)
def test_every_table_holds_what_was_written(folders: Path, run: str) -> None:
    result = cs.load_result(folders / run)
    for name, told in TOLD[run].items():
        table = getattr(result, name)
        assert len(table) == told["rows"], name
        nothing = digest(pd.Series(np.zeros(len(table), np.float32)))
        for column, value in told["columns"].items():
            if column in RETIRED_COLUMNS.get(name, ()):
                assert value == nothing, column  # so that nothing is lost with it
            else:
                assert digest(table[column]) == value, f"{name}.{column}"
    assert result.summary == json.loads((folders / run / "summary.json").read_text())
    assert result.summary["conservation_error"] == 0


def test_what_was_loaded_joins_what_is_made_now(folders: Path) -> None:
    """Categories are those of today, so that tables of both can be put under one another."""
    result = cs.load_result(folders / "two_markets")
    for name in cs.result.RESULT_TABLES:
        for column in TABLES[name]:
            if column.vocabulary is not None:
                assert tuple(getattr(result, name)[column.name].cat.categories) == column.vocabulary


@pytest.mark.parametrize("run", RUNS)
def test_its_report_is_made_again(folders: Path, run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("report", str(folders / run)) == 0
    assert capsys.readouterr().out.strip() == str(folders / run / "report.html")
    page = (folders / run / "report.html").read_text()
    result = cs.load_result(folders / run)
    assert f"{result.summary['liquidated_accounts']} accounts were liquidated" in page
    assert f"{result.summary['messages']:,}" in page
    labels = [key.label for key in summary_keys() if isinstance(result.summary.get(key.name), int | float)]
    assert len(labels) > 15
    for label in labels:
        assert label in page
    assert {path.stem for path in (folders / run / "charts").iterdir()} == set(plots.CHARTS)


def test_its_charts_draw_its_numbers(folders: Path) -> None:
    result: RunResult = cs.load_result(folders / "two_markets")
    market = result.series["instrument"].iloc[0]
    tables = [result.series, *result.arm_marks.values()]
    assert len(tables) == 2
    drawn = [line.get_ydata() for line in plots.mark_with_counterfactuals(result).axes[0].lines]
    for table in tables:
        mark = table.loc[(table["instrument"] == market) & (table["step"] >= 0), "mark"]
        assert any(np.array_equal(mark, line) for line in drawn)
    lengths = [bar.get_width() for bar in plots.who_paid(result).axes[0].patches]
    losses = [loss for loss in result.summary["loss_by_class"].values() if abs(loss) > 1.0]
    assert len(losses) > 5
    np.testing.assert_allclose(sorted(lengths), sorted(losses), rtol=1e-12)
    for chart in plots.CHARTS.values():
        assert chart(result).axes


@pytest.mark.filterwarnings("ignore:clearing.accounts_per_step is deprecated:FutureWarning")
def test_its_scenario_runs_still(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in RUNS:
        scenario = cs.load_scenario(folders / run / "scenario.yaml")
        assert [stage.name for stage in scenario.clearing.waterfall] == ["book", "fund", "adl", "socialised"]
    assert call("show", str(folders / "two_markets" / "scenario.yaml")) == 0


def _refusal(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a folder is refused, the same by every way in."""
    assert call("report", str(folder)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    with pytest.raises(DataFileError) as caught:
        cs.load_result(folder)
    assert line == f"cascade-sim: {caught.value}"
    assert line.endswith(f"; cascade-sim run {folder / 'scenario.yaml'} writes one that this version reads")
    return line


def test_another_schema_is_refused_with_the_way_out(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folders / "summary_only"
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 7}))
    assert "cascade_sim.run of version 7" in _refusal(folder, capsys)


def _rename(path: Path, change: Any) -> None:
    table = pq.read_table(path)
    pq.write_table(change(table), path, compression="zstd")


def test_a_word_that_no_row_uses_need_not_be_known(folders: Path) -> None:
    """A version may drop a name from a vocabulary that nothing ever wrote."""
    path = folders / "two_markets" / "events.parquet"
    before = cs.load_result(folders / "two_markets").events

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("type")
        field = table.schema.field(place)
        words = [*json.loads(field.metadata[b"categories"]), "auctioned_off"]
        field = field.with_metadata({**field.metadata, b"categories": json.dumps(words).encode()})
        return table.set_column(place, field, table.column(place))

    _rename(path, change)
    pd.testing.assert_frame_equal(cs.load_result(folders / "two_markets").events, before)


def test_a_word_that_a_row_uses_must_be_known(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("type")
        words = ["auctioned_off" if word == "shock" else word for word in table.column(place).to_pylist()]
        column = pa.array(words).dictionary_encode()
        return table.set_column(place, table.schema.field(place), column)

    _rename(folders / "two_markets" / "events.parquet", change)
    assert "events.type among shock, " in (line := _refusal(folders / "two_markets", capsys))
    assert "received auctioned_off" in line


def test_other_columns_are_refused_with_the_way_out(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _rename(folders / "two_markets" / "trades.parquet", lambda table: table.drop_columns(["mark"]))
    assert "the documented columns of trades" in _refusal(folders / "two_markets", capsys)
