"""The command line: what it prints, its exit statuses, and that wrong input costs one line and no files."""

import json
from pathlib import Path

import pytest

from cascade_sim import cli

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


def test_run_prints_one_object_and_writes_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
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
    assert len(list((out / "charts").glob("*.png"))) >= 5


@pytest.mark.parametrize(
    "words", [["scenarios"], ["rules"], ["switches"], ["metrics"], ["show", "calm", "--diff", "gamma_shock"]]
)
def test_lists_print_lines(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*words) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5
