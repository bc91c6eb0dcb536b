"""The command line: what it prints, its exit statuses, and that wrong input costs one line and no files."""

import contextlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cascade_sim import cli
from cascade_sim.result import load_result

TINY = [
    "run.steps=90",
    "run.burn_in_steps=20",
    "traders.count=200",
    "traders.open_interest=20000",
    "shock.at_seconds=20",
    "shock.duration_seconds=20",
]


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
    lines = [line for line in captured.err.splitlines() if line.startswith("cascade-sim:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert call("run", "--out", str(tmp_path / "file" / "deeper")) == 2
    assert "--out" in capsys.readouterr().err


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


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "No space left"), 2)])
@pytest.mark.parametrize("place", ["cascade_sim.report.render_report", "cascade_sim.result.write_table"])
def test_a_run_that_cannot_be_kept_leaves_nothing(
    error: BaseException,
    status: int,
    place: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(place, fail)
    overrides = [word for text in TINY for word in ("--set", text)]
    assert call("run", "--out", str(tmp_path / "some" / "where"), *overrides) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("interrupted" if status == 130 else "cascade-sim:")
    assert list(tmp_path.iterdir()) == []


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
    monkeypatch.setattr(cli, "_run_and_save", lambda *_, **__: {"ran": True})
    for more, ran in (([], False), (["--counterfactual"], False), (["--counterfactual=adl"], True)):
        assert call(*resume, *more) == 0
        assert ("ran" in json.loads(capsys.readouterr().out)) is ran


@pytest.mark.parametrize(
    "words", [["scenarios"], ["rules"], ["switches"], ["metrics"], ["show", "calm", "--diff", "gamma_shock"]]
)
def test_lists_print_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5
