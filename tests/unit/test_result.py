"""Result tables and the result folder."""

import dataclasses
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from synthetic import synthetic_result, synthetic_series

import cascade_sim.result
import cascade_sim.result_folder
from cascade_sim.columns import MARK_MOVE_SOURCES, TABLES
from cascade_sim.domain.enums import Cause, Stage
from cascade_sim.domain.errors import DataFileError, OutputError, UnknownNameError
from cascade_sim.result import (
    RESULT_TABLES,
    RunResult,
    arm_table,
    build_manifest,
    cast_table,
    check_table,
    check_target,
    columns_of,
    empty_table,
    json_ready,
    load_result,
)
from cascade_sim.scenario import load_scenario


@pytest.fixture(scope="module")
def result() -> RunResult:
    return synthetic_result()


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _set(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


def test_every_column_is_documented_once() -> None:
    for name, columns in TABLES.items():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names), name
        assert all(column.unit and column.description for column in columns), name


def test_cause_columns_follow_the_enum() -> None:
    names = [column.name for column in columns_of("series")]
    for cause in Cause:
        word = cause.name.lower()
        assert {f"buy_volume_{word}", f"sell_volume_{word}", f"mark_move_{word}"} <= set(names)
    moves = [name for name in names if name.startswith("mark_move_")]
    assert moves == [f"mark_move_{source}" for source in MARK_MOVE_SOURCES]


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"serie.*series, events"):
        columns_of("serie")


@pytest.mark.parametrize("name", list(TABLES))
def test_an_empty_table_has_the_documented_types(name: str) -> None:
    frame = empty_table(name)
    assert len(frame) == 0
    assert [str(dtype) for dtype in frame.dtypes] == [column.dtype for column in columns_of(name)]
    check_table(name, frame)


def test_round_trip_is_exact(result: RunResult, tmp_path: Path) -> None:
    loaded = load_result(result.save(tmp_path / "run"))
    for name in RESULT_TABLES:
        before, after = getattr(result, name), getattr(loaded, name)
        assert len(before) > 0
        pd.testing.assert_frame_equal(before, after, check_exact=True, check_categorical=True)
        assert before.attrs == after.attrs
    assert loaded.series.attrs == {"impact_estimator": "depth within 50 bp"}
    assert loaded.summary == result.summary
    assert loaded.manifest == result.manifest
    assert loaded.scenario_yaml == result.scenario_yaml


def test_a_counterfactual_round_trips(result: RunResult, tmp_path: Path) -> None:
    series = {"without both": synthetic_series(0.03), "placebo": synthetic_series()}
    table = pd.DataFrame(
        {"arm": ["without both", "everything on"], "liquidation": [False, True], "bad_debt": [np.nan, 1.5]}
    )
    run = dataclasses.replace(result, arms=arm_table(series), counterfactual=table)
    folder = run.save(tmp_path / "run")
    loaded = load_result(folder)
    pd.testing.assert_frame_equal(loaded.arms, run.arms)
    pd.testing.assert_frame_equal(loaded.counterfactual, table)
    assert list(loaded.arm_marks) == list(series)
    for label, frame in loaded.arm_marks.items():
        np.testing.assert_array_equal(frame["mark"], series[label]["mark"])
        np.testing.assert_array_equal(frame["step"], series[label]["step"])
    fields = pq.read_schema(folder / "arms.parquet")
    assert fields.field("mark").metadata[b"unit"] == b"quote"
    assert fields.field("time_seconds").metadata[b"unit"] == b"s"
    assert pq.read_schema(folder / "counterfactual.parquet").field("bad_debt").metadata[b"unit"] == b"quote"
    result.save(folder)
    assert load_result(folder).arm_marks == {}  # what is replaced leaves nothing behind
    assert not (folder / "counterfactual.parquet").exists()


@pytest.mark.parametrize("name", ["arms.parquet", "counterfactual.parquet"])
def test_damaged_counterfactuals_are_one_line_errors(result: RunResult, tmp_path: Path, name: str) -> None:
    folder = result.save(tmp_path / "run")
    (folder / name).write_bytes(b"PAR1")
    with pytest.raises(DataFileError, match=name):
        load_result(folder)
    (folder / name).unlink()
    result.series[["step", "mark"]].to_parquet(folder / "arms.parquet")
    with pytest.raises(DataFileError, match="expected the columns arm, step"):
        load_result(folder)


def test_what_is_added_belongs_to_the_folder_or_there_is_none(result: RunResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "run", lambda unfinished: (unfinished / "report.html").write_text("page"))
    assert (folder / "report.html").read_text() == "page"

    def fail(unfinished: Path) -> None:
        (unfinished / "report.html").write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left on device"):
        result.save(tmp_path / "deep" / "er", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_moved_is_filled(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result.save(tmp_path, lambda unfinished: (unfinished / "report.html").write_text("page"))
    assert load_result(tmp_path).summary == result.summary
    changed = dataclasses.replace(result, summary={"steps": 1})
    changed.save(Path())
    assert load_result(tmp_path).summary == {"steps": 1}
    assert not (tmp_path / "report.html").exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    with pytest.raises(OutputError):
        changed.save(Path(), lambda _: (_ for _ in ()).throw(OSError("disk full")))
    assert load_result(tmp_path).summary == {"steps": 1}


def test_a_target_is_checked_before_any_work(result: RunResult, tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "deeper")
    check_target(result.save(tmp_path / "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name, message in (
        ("mine", r"notes\.txt"),
        ("file", "the file"),
        ("file/deeper", "can be written"),
        ("x" * 300, "too long"),
    ):
        with pytest.raises(OutputError, match=message):
            check_target(tmp_path / name)


def test_an_empty_result_round_trips(tmp_path: Path) -> None:
    loaded = load_result(RunResult().save(tmp_path / "run"))
    for name in RESULT_TABLES:
        pd.testing.assert_frame_equal(empty_table(name), getattr(loaded, name), check_categorical=True)


def test_equal_runs_give_equal_bytes_outside_the_manifest(result: RunResult, tmp_path: Path) -> None:
    other = dataclasses.replace(synthetic_result(), manifest={"seed": 7, "wall_seconds": 3.0})
    first, second = _contents(result.save(tmp_path / "a")), _contents(other.save(tmp_path / "b"))
    assert first.keys() == second.keys()
    assert {name for name in first if first[name] != second[name]} == {"manifest.json"}


def test_parquet_carries_units_and_descriptions(result: RunResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "run")
    for name in RESULT_TABLES:
        schema = pq.read_schema(folder / f"{name}.parquet")
        assert schema.metadata[b"table"] == name.encode()
        for column in columns_of(name):
            metadata = schema.field(column.name).metadata
            assert metadata[b"unit"].decode() == column.unit
            assert metadata[b"description"].decode() == column.description
    chunk = pq.ParquetFile(folder / "trades.parquet").metadata.row_group(0).column(0)
    assert chunk.compression == "ZSTD"


def test_json_holds_no_nan(tmp_path: Path) -> None:
    summary = {"a": float("nan"), "b": [np.inf, np.float32(0.5)], "c": {"d": np.int64(2**60), 1: pd.NA}}
    run = RunResult(summary=summary)
    expected = {"a": None, "b": [None, 0.5], "c": {"d": 2**60, "1": None}}
    assert run.summary == expected
    text = (run.save(tmp_path / "run") / "summary.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == expected


def test_json_refuses_what_has_no_form() -> None:
    assert json_ready((True, np.arange(2), Path("a"))) == [True, [0, 1], "a"]
    with pytest.raises(OutputError, match="JSON form, received set"):
        json_ready({"a": {1, 2}})


def test_saving_replaces_an_earlier_result_with_its_charts(result: RunResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "run")
    (folder / "charts").mkdir()
    (folder / "report.html").write_text("old")
    changed = dataclasses.replace(result, summary={"steps": 1})
    changed.save(folder)
    assert load_result(folder).summary == {"steps": 1}
    assert not (folder / "charts").exists()
    assert not (folder / "report.html").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_saving_refuses_what_is_not_a_result(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    RunResult().save(folder)  # an empty folder has nothing to lose
    (folder / "notes.txt").write_text("keep")
    before = _contents(folder)
    with pytest.raises(OutputError, match=r"notes\.txt"):
        RunResult().save(folder)
    assert _contents(folder) == before
    file = tmp_path / "file"
    file.write_text("keep")
    with pytest.raises(OutputError, match="received the file"):
        RunResult().save(file)
    alien = tmp_path / "alien"
    alien.mkdir()
    (alien / "manifest.json").write_text('{"kind": "something else"}')
    with pytest.raises(OutputError, match="without a manifest of a run"):
        RunResult().save(alien)
    assert file.read_text() == "keep"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
@pytest.mark.parametrize("place", ["write_table", "sync_folder", "move_into_place"])
@pytest.mark.parametrize("earlier", [False, True])
def test_an_interrupted_save_leaves_nothing_half_written(
    result: RunResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException] | BaseException,
    place: str,
    earlier: bool,
) -> None:
    folder = tmp_path / "run"
    if earlier:
        RunResult(summary={"steps": 1}).save(folder)

    def fail(*_: object) -> None:
        raise error

    home = cascade_sim.result if place == "write_table" else cascade_sim.result_folder
    monkeypatch.setattr(home, place, fail)
    with pytest.raises((KeyboardInterrupt, OutputError)):
        result.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == (["run"] if earlier else [])
    if earlier:
        assert load_result(folder).summary == {"steps": 1}


def test_an_interrupt_between_the_two_moves_brings_the_earlier_result_back(
    result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunResult(summary={"steps": 1}).save(tmp_path / "run")
    monkeypatch.setattr("cascade_sim.result_folder.exchange", lambda *_: False)
    real = cascade_sim.result_folder.os.replace
    moves: list[str] = []

    def replace(source: Path, target: Path) -> None:
        if Path(source).is_dir():
            moves.append(Path(target).name)
            if len(moves) == 2:
                raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(cascade_sim.result_folder.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        result.save(folder)
    monkeypatch.undo()
    assert len(moves) == 3
    assert load_result(folder).summary == {"steps": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "summary.json").unlink(), "finished result folder"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "JSON object"),
        (lambda folder: (folder / "manifest.json").write_text('{"kind": "cascade_sim.run"}'), "version None"),
        (lambda folder: (folder / "trades.parquet").unlink(), "trades.parquet"),
        (lambda folder: (folder / "trades.parquet").write_bytes(b"PAR1"), "trades.parquet"),
        (
            lambda folder: (folder / "depth.parquet").replace(folder / "trades.parquet"),
            "expected table trades",
        ),
        (lambda folder: (folder / "scenario.yaml").write_bytes(b"\xff"), "scenario.yaml"),
        (lambda folder: (folder / "scenario.yaml").write_text("a: ["), "scenario.yaml: .* error at line 1"),
        (lambda folder: (folder / "scenario.yaml").write_text("a: &a [*a]"), "anchors and aliases"),
        (lambda folder: (folder / "summary.json").write_text('{"bad_debt": "much"}'), "bad_debt: .*'much'"),
        (lambda folder: (folder / "summary.json").write_text('{"bad_debt": {"a": 1}}'), "bad_debt"),
        (
            lambda folder: (folder / "summary.json").write_text('{"loss_by_class": {"a": []}}'),
            "loss_by_class",
        ),
        (lambda folder: _set(folder, versions=3), "versions: expected a mapping, received 3"),
        (lambda folder: _set(folder, option_chain="x"), "option_chain: expected a mapping, received 'x'"),
        (lambda folder: (folder / "summary.json").write_text('{"bad_debt": NaN}'), "received NaN"),
        (lambda folder: (folder / "summary.json").write_text("[" * 100_000), "summary.json"),
        (
            lambda folder: (folder / "trades.parquet").rename(folder / "counterfactual.parquet"),
            "trades.parquet, received No such file",
        ),
    ],
)
def test_damaged_folders_are_one_line_errors(tmp_path: Path, damage: object, message: str) -> None:
    folder = RunResult().save(tmp_path / "run")
    damage(folder)  # type: ignore[operator]  # parametrised lambdas have no common signature
    with pytest.raises(DataFileError, match=message) as caught:
        load_result(folder)
    assert "\n" not in str(caught.value)


def test_what_does_not_belong_to_the_run_is_refused(tmp_path: Path) -> None:
    scenario = load_scenario("calm")
    run = RunResult(
        summary={"steps": 1},
        manifest={"scenario_hash": scenario.scenario_hash},
        scenario_yaml=scenario.to_yaml(),
    )
    folder = run.save(tmp_path / "run")
    assert load_result(folder).scenario_yaml == scenario.to_yaml()
    for text in (
        "",
        scenario.to_yaml()[: scenario.to_yaml().index("switches:")],
        scenario.to_yaml().replace("seconds: 180.0", "seconds: 181.0"),
    ):
        (folder / "scenario.yaml").write_text(text)
        with pytest.raises(DataFileError, match=r"manifest\.json names in scenario\.yaml, received another"):
            load_result(folder)
    run.save(folder)
    (folder / "summary.json").write_text("{}")
    with pytest.raises(DataFileError, match=r"expected figures in .*summary\.json, received none"):
        load_result(folder)


@pytest.mark.parametrize("name", ["trades", "series", "events"])
def test_another_table_is_no_counterfactual(result: RunResult, tmp_path: Path, name: str) -> None:
    folder = result.save(tmp_path / "run")
    shutil.copy(folder / f"{name}.parquet", folder / "counterfactual.parquet")
    with pytest.raises(DataFileError, match="expected a column arm, switches and numbers"):
        load_result(folder)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="not a folder"):
        load_result(tmp_path / "nowhere")


def test_save_refuses_undocumented_tables(tmp_path: Path) -> None:
    depth = empty_table("depth")
    for wrong, message in (
        (depth.drop(columns="side"), "1 missing .side"),
        (depth.assign(extra=1), "1 unknown .extra"),
        (depth.astype({"step": "int64"}), r"int32 in depth\.step, received int64"),
        (depth[depth.columns[::-1]], "another order"),
    ):
        with pytest.raises(OutputError, match=message):
            RunResult(depth=wrong).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_check_refuses_names_outside_the_vocabulary_and_loose_indices(result: RunResult) -> None:
    kind = result.transfers["kind"].cat.rename_categories({"fee": "gift"})
    with pytest.raises(OutputError, match="received gift"):
        check_table("transfers", result.transfers.assign(kind=kind))
    with pytest.raises(OutputError, match="numbered from 0"):
        check_table("trades", result.trades.iloc[1:])


def _causes(**changes: object) -> dict[str, object]:
    return {
        "child_event_id": np.array([2, 3]),
        "parent_event_id": np.array([1, -1]),
        "source": np.array(["shock", None], dtype=object),
        "weight": np.array([1.0, 1.0]),
        "mark_move": np.array([0.5, np.nan]),
    } | changes


def test_cast_maps_missing_values() -> None:
    frame = cast_table("causes", _causes())
    assert frame["parent_event_id"].tolist() == [1, pd.NA]
    assert frame["source"].isna().tolist() == [False, True]
    assert frame["source"].cat.categories.tolist() == ["shock"]
    for missing in (np.array([1.0, np.nan]), [1, None], pd.array([1, None], dtype="Int64")):
        again = cast_table("causes", _causes(parent_event_id=missing))
        pd.testing.assert_frame_equal(frame, again)


def test_cast_keeps_large_ids_exact() -> None:
    large = 2**53 + 1
    frame = cast_table("causes", _causes(parent_event_id=[large, None]))
    assert frame["parent_event_id"].iloc[0] == large


def test_cast_reads_names_and_codes_alike(result: RunResult) -> None:
    plain = {name: result.events[name] for name in result.events.columns}
    named = cast_table("events", plain | {"stage": result.events["stage"].astype(object)})
    pd.testing.assert_frame_equal(named, result.events)
    stage = np.array([Stage.NONE, Stage.TRIGGER, Stage.BOOK, Stage.BACKSTOP, -1])
    pd.testing.assert_frame_equal(cast_table("events", plain | {"stage": stage}), result.events)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"child_event_id": np.array([1.5, 2.0])}, "whole numbers in causes.child_event_id, received 1.5"),
        ({"child_event_id": np.array([np.nan, 2.0])}, "causes.child_event_id"),
        ({"child_event_id": np.array(["1", "2"])}, "whole numbers"),
        ({"parent_event_id": np.array([1.5, 2.0])}, "whole numbers"),
        ({"source": np.array([1, 2])}, "expected names in causes.source"),
    ],
)
def test_cast_never_changes_a_value(changes: dict[str, object], message: str) -> None:
    with pytest.raises(OutputError, match=message):
        cast_table("causes", _causes(**changes))


def test_cast_refuses_overflow_and_unknown_codes(result: RunResult) -> None:
    columns = {name: result.transfers[name] for name in result.transfers.columns}
    with pytest.raises(OutputError, match="fit int32"):
        cast_table("transfers", columns | {"step": np.array([0, 2**31])})
    with pytest.raises(OutputError, match=r"codes of TransferKind in transfers\.kind, received 99"):
        cast_table("transfers", columns | {"kind": np.array([0, 99])})
    with pytest.raises(OutputError, match="received 'gift'"):
        cast_table("transfers", columns | {"kind": np.array(["fee", "gift"], dtype=object)})


def test_manifest_identifies_the_run() -> None:
    start = datetime(2030, 1, 1, tzinfo=UTC)
    manifest = build_manifest(
        scenario_hash="ab", seed=3, command_line=("run",), started_at=start, ended_at=start, wall_seconds=0.5
    )
    assert manifest == json_ready(manifest)
    assert manifest["started_at"] == "2030-01-01T00:00:00+00:00"
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["command_line"] == ["run"]
    commit = manifest["git_commit"]
    assert commit is None or len(commit.removesuffix("-dirty")) == 40


def test_result_does_not_import_matplotlib() -> None:
    code = "import sys, cascade_sim.result; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
