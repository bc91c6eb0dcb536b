"""Long runs: rows that spill to disk, tables that stay there, and results that read them in pieces."""

import dataclasses
import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tape import INSTRUMENT, cascade_ledger, fill_tape
from test_model import small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.memory import allocate
from cascade_sim.domain.errors import CapacityError, DataFileError, OutputError
from cascade_sim.plots import CHARTS
from cascade_sim.recorder import Recorder
from cascade_sim.recorder.money import transfer_columns, transfer_pieces
from cascade_sim.recorder.rows import Rows, StepReader
from cascade_sim.result import RESULT_TABLES, RunResult, load_result
from cascade_sim.table_files import TableFile

ROW = np.dtype([("step", np.int32), ("value", np.int64)])
LONG_TABLES = [name for name in RESULT_TABLES if name not in ("accounts", "causes")]


def numbered(count: int, dtype: Any = ROW) -> np.ndarray:
    rows = np.zeros(count, dtype)
    rows["step"] = np.arange(count) // 3
    return rows


@pytest.fixture(scope="module")
def runs() -> tuple[RunResult, RunResult]:
    """The same run recorded in memory, and on disk in pieces of 300 rows."""
    with pytest.MonkeyPatch.context() as patch:
        in_memory = cs.run(small(), 3)
        patch.setattr("cascade_sim.recorder.recorder.MEMORY_BYTES", 1000)
        patch.setattr("cascade_sim.recorder.recorder.ROW_GROUP", 300)
        return in_memory, cs.run(small(), 3)


def test_a_run_on_disk_has_the_tables_and_the_summary_of_one_in_memory(
    runs: tuple[RunResult, RunResult],
) -> None:
    in_memory, on_disk = runs
    assert on_disk.summary == in_memory.summary
    assert on_disk.summary["conservation_error"] == 0
    fresh = on_disk.replaced()
    for name in RESULT_TABLES:
        expected = getattr(in_memory, name)
        pieces = list(fresh.pieces(name))
        assert fresh.rows(name) == len(expected) == sum(map(len, pieces))
        assert len(pieces) == max(1, -(-len(expected) // 300)) or name not in LONG_TABLES
        pd.testing.assert_frame_equal(getattr(fresh, name), expected)
        assert getattr(fresh, name).attrs == expected.attrs
        chosen = list(expected.columns[3::-2])
        pd.testing.assert_frame_equal(on_disk.columns(name, chosen), expected[chosen])
    assert len(in_memory.transfers) > 900
    assert in_memory.events["waited_seconds"].notna().sum() > 10


def test_nothing_is_read_whole_unless_it_is_asked_for(
    runs: tuple[RunResult, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory, on_disk = runs
    whole: list[str] = []
    load = TableFile.load

    def watched(self: TableFile, columns: Any = None) -> pd.DataFrame:
        whole.extend([self.name] if columns is None else [])
        return load(self, columns)

    monkeypatch.setattr(TableFile, "load", watched)
    fresh = on_disk.replaced(summary=on_disk.summary)
    folder = fresh.save(tmp_path / "run")
    for draw in CHARTS.values():
        draw(fresh)
    assert whole == []
    assert fresh.trades is fresh.trades
    assert whole == ["trades"]
    monkeypatch.setattr("cascade_sim.result.VALUES_READ_AT_ONCE", 2000)
    loaded = load_result(folder)
    assert whole == ["trades"]
    assert load_result(loaded.save(folder)).rows("trades") == len(in_memory.trades)
    assert whole == ["trades"]
    pd.testing.assert_frame_equal(loaded.trades, in_memory.trades)
    with pytest.raises(AttributeError, match="no attribute 'prices'"):
        _ = loaded.prices  # type: ignore[attr-defined]  # there is none
    for copied in (pickle.loads(pickle.dumps(on_disk)), dataclasses.replace(on_disk, summary={})):
        pd.testing.assert_frame_equal(copied.events, in_memory.events)


def test_pieces_of_the_usual_length_give_the_bytes_of_a_table_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cs.run(small(), 4).save(tmp_path / "memory")
    monkeypatch.setattr("cascade_sim.recorder.recorder.MEMORY_BYTES", 1000)
    second = cs.run(small(), 4).save(tmp_path / "disk")
    for name in RESULT_TABLES:
        assert (first / f"{name}.parquet").read_bytes() == (second / f"{name}.parquet").read_bytes(), name


def test_damage_is_found_where_it_is_read(
    runs: tuple[RunResult, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade_sim.result.VALUES_READ_AT_ONCE", 2000)
    folder = runs[1].save(tmp_path / "run")
    content = bytearray((folder / "trades.parquet").read_bytes())
    content[len(content) // 3] ^= 0xFF
    (folder / "trades.parquet").write_bytes(content)
    loaded = load_result(folder)
    with pytest.raises(DataFileError, match=r"trades\.parquet"):
        _ = loaded.trades


def test_a_disk_that_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr("cascade_sim.recorder.recorder.MEMORY_BYTES", 0)
    recorder = Recorder(INSTRUMENT, 1.0, lay.RECORD_FULL)
    tape = allocate(lay.TAPE)[0]
    fill_tape(tape, "trades", np.zeros(1, lay.TRADE))
    with pytest.raises(OutputError, match=r"temporary files \(TMPDIR\), received 'No space left on device'"):
        recorder.drain(tape)


class _Draining(cs.CascadeModel):
    """A model whose tape is full every 30 steps."""

    def run(self, until: int | None = None, progress: Any = None) -> None:
        """Advance, and take what the tape holds on the way."""
        for step in (*range(30, until or 150, 30), until):
            super().run(until=step, progress=progress)
            self.main.recorder.drain(self.state.tape)


class _Full:
    """Temporary files on a disk that takes only so many bytes in all."""

    def __init__(self, room: int, folder: Path) -> None:
        self.room, self.folder = room, folder

    def file(self, mode: str = "w+b", buffering: int = -1) -> Any:
        full, path = self, self.folder / "spool"
        opened = path.open("w+b", buffering=0)
        path.unlink()

        class Raw(io.FileIO):
            def write(self, content: Any) -> int:
                size = len(memoryview(content).cast("B"))
                if full.room <= 0:
                    raise OSError(28, "No space left on device")
                taken = min(size, full.room)
                full.room -= taken
                return super().write(memoryview(content).cast("B")[:taken])

        raw = Raw(os.dup(opened.fileno()), "w+b")
        opened.close()
        return raw if buffering == 0 else io.BufferedRandom(raw)


@pytest.mark.parametrize("room", [0, 3000, 20_000, 60_000, 400_000, 1 << 30])
def test_a_run_whose_records_find_no_room_keeps_all_it_has_recorded(
    room: int, runs: tuple[RunResult, RunResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade_sim.recorder.recorder.MEMORY_BYTES", 1000)
    monkeypatch.setattr("cascade_sim.recorder.recorder.ROW_GROUP", 300)
    monkeypatch.setattr("cascade_sim.lab.single.build", _Draining)
    monkeypatch.setattr(tempfile, "TemporaryFile", _Full(room, tmp_path).file)
    stop = None
    try:
        result = cs.run(small(), 3, probe=False)
    except CapacityError as error:
        stop, result = error, error.result
    if stop is not None:
        assert "expected room in the folder for temporary files" in str(stop)
        assert result.manifest["status"] == "stopped"
    if room in (0, 1 << 30):
        assert (stop is not None) is (room == 0)
    monkeypatch.undo()
    assert result.summary["conservation_error"] == 0
    kept = load_result(result.save(tmp_path / "run"))
    steps = int(kept.series["step"].max()) + 1
    assert steps == kept.summary["steps"] > 0
    for name in ("series", "trades", "events"):
        whole = getattr(runs[0], name)
        expected = whole[whole["step"] < steps].reset_index(drop=True)
        rows = getattr(kept, name)
        pd.testing.assert_frame_equal(rows[rows["step"] < steps].reset_index(drop=True), expected)


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(0, 12), st.integers(1, 50))
def test_rows_come_back_from_memory_and_from_disk(sizes: list[int], spill_at: int, count: int) -> None:
    everything = numbered(sum(sizes))
    everything["value"] = np.arange(len(everything))
    rows = Rows(ROW)
    done = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cascade_sim.recorder.rows._SMALL_BYTES", 20 * ROW.itemsize)
        patch.setattr("cascade_sim.recorder.rows._BLOCK_BYTES", 32 * ROW.itemsize)
        for k, size in enumerate(sizes):
            if k == spill_at:
                rows.spill()
            rows.append(everything[done : done + size])
            done += size
            assert rows.all().tobytes() == everything[:done].tobytes()
    pieces = list(rows.pieces(count))
    assert [len(piece) for piece in pieces] == [min(count, done - k) for k in range(0, done, count)]
    assert b"".join(piece.tobytes() for piece in pieces) == everything.tobytes()


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 20))
def test_a_reader_takes_whole_steps(steps: list[int], count: int) -> None:
    everything = np.zeros(len(steps), ROW)
    everything["step"] = sorted(steps)
    rows = Rows(ROW)
    rows.append(everything)
    reader = StepReader(rows, count)
    taken = []
    while (horizon := reader.horizon()) is not None:
        below = reader.take(horizon)
        assert (below["step"] < horizon).all()
        taken += [below, reader.take(horizon + 1)]
        assert (taken[-1]["step"] == horizon).all()
    assert sum(map(len, taken)) == len(steps)
    assert np.concatenate([everything[:0], *taken])["step"].tolist() == sorted(steps)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000])
def test_pieces_of_the_transfers_are_the_table(count: int) -> None:
    ledger, books, _ = cascade_ledger()
    trades, transfers = Rows(lay.TRADE), Rows(lay.TRANSFER)
    trades.append(np.concatenate(ledger.trades))
    transfers.append(np.concatenate(ledger.transfers))
    terms = books.fee_account, INSTRUMENT
    whole = pd.DataFrame(transfer_columns(books.opening_transfers, trades.all(), transfers.all(), *terms))
    pieces = [
        pd.DataFrame(columns)
        for columns in transfer_pieces(books.opening_transfers, trades, transfers, *terms, count)
    ]
    assert {len(piece) for piece in pieces[:-1]} <= {count}
    assert 0 < len(pieces[-1]) <= count
    joined = pd.concat(pieces, ignore_index=True)
    pd.testing.assert_frame_equal(joined[whole.columns], whole, check_dtype=False)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.skipif(
    bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="ten million trades need compiled kernels"
)
def test_ten_million_trades_fit_into_half_a_gigabyte() -> None:
    from cascade_sim.bench import Request, bench

    peak = bench(Request(), ["long_run"])["rss_ten_million_trades_mib"]
    assert peak is not None
    assert 50.0 < peak < 500.0
