"""The command line: what it prints, its exit statuses, and that wrong input costs one line and no files."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

import cascade_sim as cs
from cascade_sim.cli import program as cli
from cascade_sim.cli.output import announce_compilation
from cascade_sim.domain.errors import OutputError, RunFailed
from cascade_sim.result import RunResult, load_result
from cascade_sim.scenario import load_scenario, parse_override

TINY = [
    "run.steps=90",
    "run.burn_in_steps=20",
    "traders.count=200",
    "traders.open_interest=20000",
    "shock.at_seconds=20",
    "shock.duration_seconds=20",
]
TINY_WORDS = [word for text in TINY for word in ("--set", text)]


def call(*words: str) -> int:
    """Run the command line in this process; returns its exit status."""
    with pytest.raises(SystemExit) as stop:
        cli.main(list(words))
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "no_such"], "no_such"),
        (["run", "--set", "shock.size=3"], "shock.size"),
        (["run", "--set", "traders.long_share=1.2"], "traders.long_share"),
        (["run", "--set", "shock.quantity=-5"], "shock.quantity"),
        (["run", "--set", "clearing.maintenance_margin=0.5"], "clearing.maintenance_margin"),
        (["run", "--set", "clearing.priority.name=wurst"], "worst_margin_ratio_first"),
        (["run", "--set", "options.chain.path=missing.csv"], "missing.csv"),
        (["run", "--counterfactual", "--set", "run.dt=0"], "run.dt"),
        (["run", "--counterfactual=magic"], "magic"),
        (["rules", "nonsense"], "nonsense"),
        (["run", "--counterfactual", "nonsense"], "known: liquidation, delta_hedging"),
        (["run", "--counterfactual", ","], "--counterfactual: expected at least one switch"),
        (["run", "--counterfactual="], "--counterfactual: expected at least one switch"),
        (["run", "--set", "options.chain.path=''"], "options.chain.path"),
        (["run", "--set", "shock.quantity=1e300"], "shock.quantity"),
        (["run", "--set", "run.burn_in_steps=1000000000000"], "run.burn_in_steps"),
        (["run", "--out", "x" * 300], "--out"),
        (["run", "--out", "/".join(40 * ["x" * 120])], "--out"),
        (["contrast"], "known: run, report, compare, sweep"),
        (["run", "--nonsense"], "nonsense"),
    ],
)
def test_wrong_input_is_one_line(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("cascade-sim: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert call("run", "--out", str(tmp_path / "file" / "deeper")) == 2
    assert "--out" in capsys.readouterr().err


def test_a_loop_of_links_is_no_place_for_a_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_run_and_save", lambda *_, **__: pytest.fail("work began"))
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert call("run", "--out", str(tmp_path / "a" / "run")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--out" in line


@pytest.mark.parametrize("cold", [True, False])
def test_compilation_is_announced_once_the_request_is_known_to_be_right(
    cold: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cascade_sim.core.ground.compile.cache_is_cold", lambda: cold)

    def stop(*_: object, **__: object) -> None:
        raise RunFailed("stopped")

    monkeypatch.setattr("cascade_sim.lab.single.run", stop)
    assert call("run", "--out", str(tmp_path / "run"), "--set", "clearing.adl.name=nope") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert call("run", "--out", str(tmp_path / "run")) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "cascade-sim: stopped"
    assert [line for line in lines[:-1] if "happens once" in line] == lines[:-1]
    assert len(lines) == (2 if cold else 1)


def test_a_file_that_ends_too_early_is_no_interrupt(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr("cascade_sim.lab.single.run", fail)
    assert call("run", "--out", str(tmp_path / "run")) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line and "compiling" not in line]
    assert line == "cascade-sim: expected no failure of the system, received: a file that ends too early"


def test_kernels_that_cannot_be_kept_are_not_said_to_be_compiled_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = Path(tempfile.gettempdir()) / "cascade_sim-kernels-x"
    monkeypatch.setattr("cascade_sim.core.ground.compile.cache_directory", lambda: temporary)
    announce_compilation()
    (line,) = capsys.readouterr().err.splitlines()
    assert "once" not in line
    assert "NUMBA_CACHE_DIR" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["switches"], ["run", "--help"]])
def test_output_that_nobody_takes_is_one_line(words: list[str]) -> None:
    program = [sys.executable, "-m", "cascade_sim", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line


def test_a_pipe_that_is_closed_is_one_line() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "cascade_sim", "switches"]
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "Broken pipe" in line


def test_a_scenario_may_follow_a_bare_counterfactual(tmp_path: Path) -> None:
    expected = ["run", f"--counterfactual={cli.DEFAULT_MECHANISMS}"]
    for word in ("calm", "mine.yaml", "folder/mine", str(tmp_path)):
        assert cli._with_default_mechanisms(["run", "--counterfactual", word]) == [*expected, word]
    for word in ("adl", "adl,placebo", "nonsense"):
        words = ["run", "--counterfactual", word]
        assert cli._with_default_mechanisms(words) == words


def test_a_folder_of_the_user_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_run_and_save", lambda *_, **__: pytest.fail("work began"))
    (tmp_path / "notes.txt").write_text("keep")
    assert call("run", "--out", str(tmp_path)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "--out" in lines[0]
    assert "notes.txt" in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_interrupt_that_a_callback_swallows_still_ends_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swallow(*_: object, progress: Callable[[int, int], None], **__: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        progress(1, 2)
        pytest.fail("the run went on")

    monkeypatch.setattr("cascade_sim.lab.single.run", swallow)
    before = signal.getsignal(signal.SIGINT)
    assert call("run", "--out", str(tmp_path / "run")) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 1)])
def test_a_run_that_can_be_kept_nowhere_leaves_nothing(
    error: BaseException,
    status: int,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("cascade_sim.result.write_table", fail)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert call("run", "--json", "--out", str(tmp_path / "some" / "where"), *TINY_WORDS) == status
    captured = capsys.readouterr()
    # What cannot be kept can still be told.
    assert (json.loads(captured.out)["steps"] == 90) if status == 1 else captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("interrupted" if status == 130 else "cascade-sim:")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 1)])
@pytest.mark.parametrize(
    ("place", "missing"),
    [
        ("cascade_sim.lab.single.permanent_impact", "impact probe"),
        ("cascade_sim.report.render_report", "charts"),
    ],
)
def test_a_part_that_cannot_be_made_takes_nothing_away(
    error: BaseException,
    status: int,
    place: str,
    missing: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    out = tmp_path / "run"
    words = ["run", "--json", "--out", str(out), *TINY_WORDS]
    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        assert call(*words) == status
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert missing in line
    assert line.endswith(f" is in {out}")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    kept = load_result(out)
    assert kept.manifest["status"] == "finished"
    assert missing in kept.manifest["missing"]
    assert len(kept.trades) > 0
    assert (kept.summary["permanent_impact"] is None) is (missing == "impact probe")
    if status == 1:
        assert json.loads(captured.out) == kept.summary
        assert (out / "report.html").exists() is (missing != "charts")
    # A second try adds what is missing and makes nothing else anew.
    monkeypatch.setattr(cli, "_run_and_save", lambda *_, **__: pytest.fail("it ran again"))
    assert call(*words, "--resume") == 0
    whole = load_result(out)
    assert json.loads(capsys.readouterr().out) == whole.summary
    assert "missing" not in whole.manifest
    assert whole.summary["permanent_impact"] is not None
    assert (out / "report.html").exists()


def test_an_impact_probe_that_fills_a_book_leaves_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    # Five steps of twenty thousand orders fit into a book; the five minutes in which the probe settles do not.
    changes = ["run.burn_in_steps=0", "run.steps=5", "background.limit_rate=20000"]
    changes += ["background.lifetime_seconds=36000", "shock.at_seconds=1", "shock.duration_seconds=1"]
    words = [word for text in (*TINY, *changes) for word in ("--set", text)]
    out = tmp_path / "run"
    assert call("run", "--json", "--out", str(out), *words) == 1
    captured = capsys.readouterr()
    kept = load_result(out)
    assert json.loads(captured.out) == kept.summary
    assert (kept.summary["steps"], kept.summary["permanent_impact"]) == (5, None)
    assert kept.manifest["status"] == "finished"
    assert list(kept.manifest["missing"]) == ["impact probe"]
    (line,) = captured.err.splitlines()
    assert re.match(r"cascade-sim: impact probe: step -\d+: expected room for more orders in the book", line)
    assert "There is no impact probe: step -" in (out / "report.html").read_text()
    scenario = load_scenario("gamma_shock").with_overrides(dict(map(parse_override, (*TINY, *changes))))
    with pytest.warns(RuntimeWarning, match="the impact probe failed: step -"):
        from_python = cs.run(scenario)
    assert from_python.summary == kept.summary
    assert from_python.manifest["missing"] == kept.manifest["missing"]


def test_a_result_that_finds_no_room_is_kept_elsewhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spare").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spare"))
    save = RunResult.save

    def refuse(self: RunResult, directory: Path, *more: Any) -> Path:
        if "spare" not in str(directory):
            raise OutputError("no room")
        return save(self, directory, *more)

    monkeypatch.setattr(RunResult, "save", refuse)
    assert call("run", "--json", "--out", str(tmp_path / "run"), *TINY_WORDS) == 1
    (line,) = capsys.readouterr().err.splitlines()
    start, _, place = line.rpartition(" is in ")
    assert start == "cascade-sim: no room; the result"
    assert load_result(place).summary["steps"] == 90
    assert Path(place).parents[1] == tmp_path / "spare"
    assert (Path(place) / "report.html").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_the_result_is_saved(
    number: signal.Signals,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = RunResult.save

    def interrupted(self: RunResult, directory: Path, *more: Any) -> Path:
        signal.raise_signal(number)
        return save(self, directory, *more)

    monkeypatch.setattr(RunResult, "save", interrupted)
    out = tmp_path / "run"
    assert call("run", "--out", str(out), *TINY_WORDS) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"interrupted; the result without impact probe and charts is in {out}"
    assert load_result(out).manifest["missing"] == {"impact probe": "interrupted", "charts": "interrupted"}


def test_a_part_that_was_being_added_is_added(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    amend = RunResult.amend
    sent: list[int] = []

    def interrupted(self: RunResult, *words: Any) -> None:
        if not sent:
            sent.append(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        amend(self, *words)

    monkeypatch.setattr(RunResult, "amend", interrupted)
    out = tmp_path / "run"
    assert call("run", "--out", str(out), *TINY_WORDS) == 130
    assert capsys.readouterr().err.splitlines() == [f"interrupted; the result without charts is in {out}"]
    kept = load_result(out)
    assert kept.manifest["missing"] == {"charts": "interrupted"}
    assert kept.summary["permanent_impact"] is not None


@pytest.mark.parametrize("earlier", [False, True])
def test_a_second_interrupt_while_saving_leaves_what_was_there(
    earlier: bool, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    if earlier:
        RunResult(summary={"steps": 1}).save(out)

    def interrupted_twice(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("cascade_sim.result_folder.sync_folder", interrupted_twice)
    assert call("run", "--out", str(out), "--overwrite", *TINY_WORDS) == 130
    assert capsys.readouterr().err.splitlines() == ["interrupted"]
    assert [path.name for path in tmp_path.iterdir()] == (["run"] if earlier else [])
    if earlier:
        assert load_result(out).summary == {"steps": 1}


def test_run_prints_one_object_and_writes_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    overrides = [word for text in TINY for word in ("--set", text)]
    assert call("run", "--counterfactual", "--json", "--out", str(out), *overrides) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["conservation_error"] == 0
    assert summary["amplification"] > 0
    total = sum(summary["attribution"].values())
    assert total == pytest.approx(summary["added_move_bp"], abs=1e-9)
    assert json.loads((out / "summary.json").read_text()) == summary
    assert (out / "report.html").stat().st_size > 10_000
    drawn = {path: path.read_bytes() for path in (out / "report.html", *(out / "charts").glob("*.png"))}
    assert len(drawn) >= 6
    assert list(load_result(out).arm_marks) == [
        "without both",
        "without delta hedging",
        "without liquidation",
    ]
    for path in drawn:
        path.unlink()
    assert call("report", str(out)) == 0
    assert {path: path.read_bytes() for path in drawn} == drawn
    resume = ["run", "--resume", "--json", "--out", str(out), *overrides]
    capsys.readouterr()
    monkeypatch.setattr(cli, "_run_and_save", lambda *_, **__: RunResult(summary={"ran": True}))
    for more, ran in (([], False), (["--counterfactual"], False), (["--counterfactual=adl"], True)):
        assert call(*resume, *more) == 0
        assert ("ran" in json.loads(capsys.readouterr().out)) is ran


@pytest.mark.parametrize(
    "words", [["scenarios"], ["rules"], ["switches"], ["metrics"], ["show", "calm", "--diff", "gamma_shock"]]
)
def test_lists_print_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5


def test_a_scenario_is_shown_with_units_and_meanings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert call("scenarios", "gamma_shock") == 0
    text = capsys.readouterr().out
    file = tmp_path / "shown.yaml"
    file.write_text(text)
    assert load_scenario(file) == load_scenario("gamma_shock")
    values = [line for line in text.splitlines() if re.match(r" +\w+: ", line)]
    assert len(values) > 100
    assert [line for line in values if " # " not in line] == []
    assert re.search(r"interval_seconds: 30\.0 +# s; \w", text)


def test_a_run_says_what_it_left_out_of_an_option_chain(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chain = tmp_path / "chain.json"
    created = pd.Timestamp("2024-01-08 08:00", tz="UTC").timestamp() * 1000
    common = {"underlying_index": "ETH-29MAR24", "underlying_price": 2230.0, "creation_timestamp": created}
    rows = [
        {**common, "instrument_name": name, "mark_price": mark, "open_interest": held}
        for name, mark, held in (
            ("ETH-29MAR24-2200-C", 0.15, 40000.0),
            ("ETH-29MAR24-2200-P", 0.14, 40000.0),
            ("ETH-29MAR24-2400-C", None, 10.0),
            ("ETH-29MAR24-2500-C", 0.08, 0.5),
            ("ETH-PERPETUAL", 2230.0, 0.0),
        )
    ]
    chain.write_text(json.dumps(rows))
    out = tmp_path / "run"
    changes = [word for text in (*TINY, f"options.chain.path={chain}") for word in ("--set", text)]
    assert call("run", "--no-charts", "--out", str(out), *changes) == 0
    said = (
        "The option chain of 2024-01-08 08:00 UTC holds 5 instruments; 2 were used, left out: 1 not an option, "
        "1 no mark price, 1 open interest below minimum."
    )
    assert said in capsys.readouterr().out.splitlines()
    kept = json.loads((out / "manifest.json").read_text())["option_chain"]
    assert (kept["used"], kept["dropped"]["no_mark_price"]) == (2, {"count": 1, "open_interest": 10.0})
    assert call("report", str(out)) == 0
    assert said in (out / "report.html").read_text()


def test_the_time_of_a_counterfactual_counts_all_its_arms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = []

    def slow(scenario: Any, seed: int, *_: object, **__: object) -> Any:
        arms.append(seed)
        time.sleep(0.05)
        return SimpleNamespace(result=RunResult(manifest={"wall_seconds": 0.001}))

    monkeypatch.setattr("cascade_sim.lab.counterfactual.counterfactual", slow)
    out = tmp_path / "run"
    assert call("run", "--json", "--no-charts", "--counterfactual", "--out", str(out)) == 0
    assert arms == [0]
    assert load_result(out).manifest["wall_seconds"] >= 0.05


def test_the_result_of_another_run_is_replaced_only_if_that_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ("run", "--out", str(out), "--no-charts", *TINY_WORDS)
    assert call(*words) == 0
    kept = (out / "summary.json").read_text()
    capsys.readouterr()
    for other, what in (
        (("--seed", "4"), "the result of seed 0"),
        (("--set", "shock.quantity=1"), "of another scenario"),
    ):
        assert call(*words, *other) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"cascade-sim: --out: expected a new folder or --overwrite, received {out}")
        assert what in line
        assert (out / "summary.json").read_text() == kept
    # The same run again only makes the same again.
    assert call(*words) == 0
    assert (out / "summary.json").read_text() == kept
    assert call(*words, "--seed", "4", "--overwrite") == 0
    assert load_result(out).manifest["seed"] == 4
    (out / "manifest.json").write_text("{")
    assert call(*words) == 2
    assert "--out: expected" in capsys.readouterr().err


def test_runs_with_other_settings_get_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("run", "--no-charts", *TINY_WORDS) == 0
    assert call("run", "--no-charts", *TINY_WORDS, "--set", "shock.quantity=1") == 0
    folders = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert len(folders) == 2
    assert all(name.startswith("gamma_shock-0-") for name in folders)
