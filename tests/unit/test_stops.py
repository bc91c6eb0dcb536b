"""Runs that end before their last step: what they recorded is whole, exact and kept."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_cli import TINY, call
from test_model import small

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import CapacityError, RunInterrupted
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.model import CascadeModel
from cascade_sim.result import RunResult, load_result

OVERRIDES = [word for text in TINY for word in ("--set", text)]


def _orders(model: CascadeModel) -> None:
    model.state.book.free_slot = 0
    model.state.book.fresh_slot = len(model.state.book.orders) - 2


def _wheel(model: CascadeModel) -> None:
    model.state.world.wheel.free = 0
    model.state.world.wheel.fresh = lay.STANDARD.expiries - 1


def _price(model: CascadeModel) -> None:
    model.state.book.status = 2


def _size(model: CascadeModel) -> None:
    model.state.world.config.largest_order = 40


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("exhaust", "message"),
    [
        (_orders, "orders in the book"),
        (_wheel, "orders waiting for their expiry"),
        (_price, "price ticks"),
        (_size, "lots in one order"),
    ],
)
def test_a_capacity_that_runs_out_is_named_and_leaves_exact_accounts(
    exhaust: Callable[[CascadeModel], None], message: str
) -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.run(until=25)
    exhaust(model)
    with pytest.raises(CapacityError, match=rf"step \d+: expected room for more {message}"):
        model.run()
    assert model.step_number < 150
    result = collect(model)
    assert measure_conservation(model, result) == 0
    assert int(result.series["step"].max()) == model.step_number - 1


_LOWERED = """
import sys, numpy as np
from cascade_sim.core import layout as lay
name, capacity = sys.argv[1], int(sys.argv[2])
smaller = lay.STANDARD._replace(**{name: capacity})
lay.smallest = lambda needs: smaller
for kept in ("TRADES_KEPT", "EVENTS_KEPT", "TRANSFERS_KEPT"):
    setattr(lay, kept, 1 << 40)
import cascade_sim as cs
from cascade_sim.domain.errors import CapacityError
from test_model import small
changes = {"switches.backstop": False, "clearing.insurance_fund": 0.0, "market.taker_fee_rate": 0.001}
if name == "transfers":
    changes["switches.adl"] = False
try:
    cs.run(small(**changes), 3, probe=False)
except CapacityError as error:
    result = error.result
    assert result.summary["conservation_error"] == 0
    assert result.manifest["status"] == "stopped"
    assert result.manifest["stopped_at_step"] == result.series["step"].max() + 1
    if name != "transfers":
        assert len(getattr(result, name)) == capacity
    causes = result.trades.dropna(subset="taker_event_id")
    assert causes["taker_event_id"].isin(result.events["event_id"]).all()
    print(error)
"""


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("name", "capacity", "message"),
    [
        ("trades", 40, "fills"),
        ("trades", 700, "fills"),
        ("trades", 701, "fills"),
        ("events", 1, "events"),
        ("events", 60, "events"),
        ("events", 61, "events"),
        ("transfers", 5, "transfers"),
        ("transfers", 150, "transfers"),
        ("transfers", 151, "transfers"),
    ],
)
def test_full_records_stop_the_run_before_anything_happens_that_they_do_not_hold(
    name: str, capacity: int, message: str
) -> None:
    # A size class of its own for each would have to be compiled: plain functions take any.
    folders = [Path(__file__).parent, Path(cs.__file__).parents[1]]
    paths = os.pathsep.join([*map(os.fspath, folders), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", _LOWERED, name, str(capacity)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"expected room for more {message} recorded in one step" in done.stdout


class _Stopping(CascadeModel):
    """A model in which something happens before step 30."""

    happens: Callable[[CascadeModel], Any]

    def run(self, until: int | None = None, progress: Callable[[int, int], None] | None = None) -> None:
        """Advance; what happens comes between two calls of the kernels."""
        super().run(until=30, progress=progress)
        type(self).happens(self)
        super().run(until=until, progress=progress)


def _fill_up(model: CascadeModel) -> None:
    model.state.world.control.capacity = lay.CAPACITY_EVENTS


def _interrupt(_model: CascadeModel) -> None:
    signal.raise_signal(signal.SIGINT)


def _stop(monkeypatch: pytest.MonkeyPatch, happens: Callable[[CascadeModel], Any]) -> None:
    monkeypatch.setattr(_Stopping, "happens", happens, raising=False)
    monkeypatch.setattr("cascade_sim.lab.single.build", _Stopping)
    monkeypatch.setattr("cascade_sim.model.simulation.STEPS_PER_CALL", 8)


def _check_kept(result: RunResult, step: int, reason: str) -> None:
    manifest = result.manifest
    assert (manifest["status"], manifest["stopped_at_step"]) == ("stopped", step)
    assert reason in manifest["reason"]
    assert result.summary["steps"] == step
    assert result.summary["conservation_error"] == 0
    assert result.summary["max_adverse_excursion"] is not None
    assert int(result.series["step"].max()) == step - 1
    assert len(result.trades) > 0


def test_the_errors_of_python_carry_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    _stop(monkeypatch, _fill_up)
    with pytest.raises(CapacityError, match="step 30: expected room for more events") as full:
        cs.run(small(), 3)
    _check_kept(full.value.result, 30, "expected room for more events")
    _stop(monkeypatch, _interrupt)
    with pytest.raises(KeyboardInterrupt, match="interrupted in step 38 of 150") as stopped:
        cs.run(small(), 3)
    assert isinstance(stopped.value, RunInterrupted)
    _check_kept(stopped.value.result, 38, "interrupted")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("until", [-30, -10, 0, 1, 21])
def test_a_run_may_stop_anywhere(until: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(self: CascadeModel, progress: Any) -> None:
        CascadeModel.run(self, until=until)
        raise CapacityError("step 0: no room")

    monkeypatch.setattr("cascade_sim.lab.single.build", type("Model", (CascadeModel,), {"run": run}))
    for record in ("full", "series", "summary"):
        with pytest.raises(CapacityError) as stop:
            cs.run(small(), 3, record=record)
        kept = load_result(stop.value.result.save(tmp_path / record))
        assert kept.summary["steps"] == max(0, until)
        assert kept.summary["conservation_error"] == 0
        assert len(kept.series) == (0 if record == "summary" else until + 30)
        assert call("report", str(tmp_path / record)) == 0


@pytest.mark.parametrize(
    ("happens", "status", "line"),
    [
        (_fill_up, 1, "cascade-sim: step 30: expected room for more events recorded in one step, received"),
        (_interrupt, 130, "interrupted in step 38 of 90; what was recorded until then is in"),
    ],
)
def test_a_stopped_run_is_kept(
    happens: Callable[[CascadeModel], Any],
    status: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        _stop(patch, happens)
        assert call("run", "--json", "--out", str(out), *OVERRIDES) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (said,) = captured.err.splitlines()
    assert said.startswith(line)
    assert said.endswith(f"is in {out}")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    step = 30 if happens is _fill_up else 38
    _check_kept(load_result(out), step, "room" if happens is _fill_up else "interrupted")
    assert f"The run stopped in step {step}" in (out / "report.html").read_text()
    assert call("report", str(out)) == 0
    capsys.readouterr()
    assert call("run", "--json", "--no-charts", "--resume", "--out", str(out), *OVERRIDES) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 90
    assert load_result(out).manifest["status"] == "finished"


def test_an_interrupt_while_the_charts_are_drawn_leaves_the_rest_whole(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop(monkeypatch, _interrupt)
    monkeypatch.setattr("cascade_sim.report.render_report", lambda *_: signal.raise_signal(signal.SIGINT))
    out = tmp_path / "run"
    assert call("run", "--out", str(out), *OVERRIDES) == 130
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"interrupted in step 38 of 90; what was recorded until then is in {out}"
    assert second == f"interrupted; the result without charts is in {out}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    _check_kept(load_result(out), 38, "interrupted")
    assert not (out / "report.html").exists()


def test_an_interrupted_arm_keeps_the_run_and_the_arms_before_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def happens(model: CascadeModel) -> None:
        begun.append(model.settings.switches)
        if len(begun) == 3:
            signal.raise_signal(signal.SIGINT)

    _stop(monkeypatch, happens)
    out = tmp_path / "run"
    assert call("run", "--counterfactual", "--no-charts", "--out", str(out), *OVERRIDES) == 130
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("interrupted in the arm 'without delta hedging'")
    kept = load_result(out)
    assert kept.manifest["status"] == "stopped"
    assert list(kept.arm_marks) == ["without both"]
    assert kept.summary["steps"] == 90
    assert begun[0].liquidation
    assert begun[0].delta_hedging
