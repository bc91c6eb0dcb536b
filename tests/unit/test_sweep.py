"""Sweeps: experiment files, points, the store that only grows, and processes that are killed."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from scipy.stats import qmc
from test_ensemble import small

import cascade_sim as cs
from cascade_sim.cli import main
from cascade_sim.domain.errors import DataFileError, OutputError, ScenarioError, UnknownNameError
from cascade_sim.lab.experiment import lay_out, load_experiment
from cascade_sim.lab.runner import Cluster, _Queue, check, chunks_of
from cascade_sim.lab.store import Store
from cascade_sim.lab.sweep import view_of
from cascade_sim.plots.catalogue import SWEEP_CHARTS
from cascade_sim.table_files import write_plain_frame


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the scenario of the experiments below, in which one stands."""
    (tmp_path / "little.yaml").write_text(small(name="little", **{"dealers.count": 0}).to_yaml())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def experiment(folder: Path, **changes: Any) -> Path:
    """Write an experiment file."""
    tree = {
        "name": "little_sweep",
        "scenario": "little.yaml",
        "factors": {"shock.quantity": [1000.0, 3000.0]},
        "arms": {"usual": {}, "random": {"clearing.priority.name": "random"}},
        "replications": 3,
        "metrics": ["bad_debt", "max_adverse_excursion"],
    }
    tree |= changes
    file = folder / "experiment.yaml"
    file.write_text(
        yaml.safe_dump({key: value for key, value in tree.items() if value is not None}, sort_keys=False)
    )
    return file


def laid_out(folder: Path, **changes: Any) -> Any:
    return lay_out(*load_experiment(experiment(folder, **changes)))


def test_a_grid_is_every_combination_in_order(folder: Path) -> None:
    factors = {"shock.quantity": {"from": 1000, "to": 4000, "count": 4}, "leverage": [5, 20]}
    design = laid_out(folder, factors=factors)
    assert list(design.points.columns) == ["point", "shock.quantity", "leverage"]
    assert design.points["shock.quantity"].tolist() == [
        1000.0,
        1000.0,
        2000.0,
        2000.0,
        3000.0,
        3000.0,
        4000.0,
        4000.0,
    ]
    assert design.points["leverage"].tolist() == [5, 20] * 4
    assert len(design.cells) == 16
    for cell in design.cells:
        assert cell.scenario is not None
        low, high = cell.scenario.traders.inverse_leverage
        leverage = [5, 20][cell.point % 2]
        assert (low, high) == (0.8 / leverage, 1.25 / leverage)
        assert cell.scenario.clearing.priority.name == (
            "random" if cell.arm == "random" else "worst_margin_ratio_first"
        )


def test_points_fill_the_space_as_the_method_says(folder: Path) -> None:
    factors = {
        "shock.quantity": {"from": 1000.0, "to": 5000.0},
        "liquidity.size": {"from": 0.1, "to": 10.0, "scale": "log"},
        "clearing.priority.name": ["random", "largest_notional_first"],
    }
    for method in ("random", "sobol", "latin_hypercube"):
        sampling = {"method": method, "points": 16, "seed": 3}
        points = laid_out(folder, factors=factors, sampling=sampling).points
        again = laid_out(folder, factors=factors, sampling=sampling).points
        pd.testing.assert_frame_equal(points, again)
        assert points["shock.quantity"].between(1000.0, 5000.0).all()
        assert points["liquidity.size"].between(0.1, 10.0).all()
        if method != "random":
            # One in each sixteenth of the linear and of the logarithmic range; half of the names each.
            sixteenth = np.floor((points["shock.quantity"] - 1000.0) / 250.0)
            assert sorted(sixteenth) == list(range(16))
            assert sorted(np.floor(8.0 * np.log10(points["liquidity.size"]) + 8.0)) == list(range(16))
            assert (points["clearing.priority.name"] == "random").sum() == 8
    unit = qmc.Sobol(3, rng=np.random.default_rng(3)).random(16)
    points = laid_out(folder, factors=factors, sampling={"method": "sobol", "points": 16, "seed": 3}).points
    np.testing.assert_allclose(points["shock.quantity"], 1000.0 + 4000.0 * unit[:, 0])


def test_the_gamma_number_sets_what_the_dealers_trade(folder: Path) -> None:
    (folder / "dealers.yaml").write_text(small(name="dealers").to_yaml())
    design = laid_out(folder, scenario="dealers.yaml", factors={"gamma_x": [-0.2, -0.4]}, arms=None)
    gammas = [cell.scenario.dealers.gamma_per_percent for cell in design.cells]
    assert gammas[1] == pytest.approx(2.0 * gammas[0])
    measured = cs.run(design.cells[0].scenario, 0).summary["gamma_x"]
    # The probe of the run has draws of its own, and options that expire in the run are left out.
    assert measured == pytest.approx(-0.2, rel=0.25)


def test_experiment_files_that_exist_are_read(folder: Path) -> None:
    file = (
        Path(__file__).resolve().parents[2] / "experiments" / "amplification_by_mechanism" / "experiment.yaml"
    )
    design = lay_out(*load_experiment(file))
    assert [cell.off for cell in design.cells] == [
        "",
        "liquidation",
        "delta_hedging",
        "liquidation+delta_hedging",
    ]
    assert design.seeds(0, 6) == [500, 501, 502, 503, 504, 505]
    assert design.replications == 6


BAD: dict[str, dict[str, Any]] = {
    r"experiment.yaml: replication: expected a known key.*did you mean 'replications'": {"replication": 3},
    r"experiment.yaml: replications: expected a number >= 1, received 0": {"replications": 0},
    r"^overrides: shock.quantitty: expected a known key": {"overrides": {"shock.quantitty": 1}},
    r"^factor: .*'leverge'.*did you mean 'leverage'": {"factors": {"leverge": [1]}},
    r"^factors.shock.quantity: expected a list of values": {"factors": {"shock.quantity": []}},
    r"^factors.shock.quantity: expected from below to, received '3 to 3'": {
        "factors": {"shock.quantity": {"from": 3, "to": 3}}
    },
    r"^factors.shock.quantity.count: expected the number of values": {
        "factors": {"shock.quantity": {"from": 1, "to": 3}}
    },
    r"^factors.shock.quantity.from: expected a number above 0 on a log scale": {
        "factors": {"shock.quantity": {"from": 0, "to": 3, "scale": "log", "count": 3}}
    },
    r"^sampling.points: expected the number of points of random": {"sampling": {"method": "random"}},
    r"^sampling.points: expected a power of two": {"sampling": {"method": "sobol", "points": 12}},
    r"^metric: .*'bad_dept'": {"metrics": ["bad_dept"]},
    r"^mechanism: .*'liquidations'": {"mechanisms": ["liquidations"]},
    r"^seeds: expected either seeds or seed and replications": {"seeds": [1, 2]},
    r"^seeds: expected at least one seed, each once": {"seeds": [1, 1], "replications": None},
    r"^stop.most: expected no fewer than replications": {
        "stop": {"metric": "bad_debt", "half_width": 1, "most": 2}
    },
    r"^arms: .*expected a mapping|arms.a: expected": {"arms": {"a": 3}},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_experiment_is_refused_before_anything_is_written(folder: Path, message: str) -> None:
    with pytest.raises((ScenarioError, UnknownNameError), match=message):
        cs.sweep(experiment(folder, **BAD[message]), folder / "out")
    assert not (folder / "out").exists()


def test_wrong_clusters_are_refused(folder: Path) -> None:
    for cluster, line in (
        (Cluster(2, "tcp://127.0.0.1:1"), "expected one of --workers, --scheduler"),
        (Cluster(0), "workers: expected at least 1"),
        (Cluster(None, None, "none.json"), "scheduler-file: expected a file"),
    ):
        with pytest.raises(ScenarioError, match=line):
            check(cluster)


def test_chunks_are_stretches_of_neighbours_and_as_large_as_they_should_be() -> None:
    scenario = small()
    cells = [(0, scenario, [(0, 10), (1, 11), (2, 12), (5, 15), (6, 16)]), (3, scenario, [(0, 10), (1, 11)])]
    for size, expected in (
        (
            2,
            [
                [(0, 0, (10, 11))],
                [(0, 2, (12,)), (0, 5, (15,))],
                [(0, 6, (16,)), (3, 0, (10,))],
                [(3, 1, (11,))],
            ],
        ),
        (9, [[(0, 0, (10, 11, 12)), (0, 5, (15, 16)), (3, 0, (10, 11))]]),
    ):
        found = [[(part.cell, part.first, part.seeds) for part in chunk] for chunk in chunks_of(cells, size)]
        assert found == expected
    queue = _Queue(cells)
    taken: list[Any] = []
    while (chunk := queue.take()) is not None:
        taken += [(part.cell, part.first + k, seed) for part in chunk for k, seed in enumerate(part.seeds)]
    assert taken == [(cell, replication, seed) for cell, _, missing in cells for replication, seed in missing]


def rows(point: int, replication: int) -> pd.DataFrame:
    """A committed run."""
    values = [point, "", "", replication, 7 + replication, "finished", "", 1.5]
    names = ["point", "arm", "off", "replication", "seed", "status", "reason", "bad_debt"]
    return pd.DataFrame([dict(zip(names, values, strict=True))])


def test_the_store_keeps_what_was_committed_and_nothing_half(folder: Path) -> None:
    points = pd.DataFrame({"point": [0, 1]})
    store = Store.create(folder / "out", {"experiment_id": "x"}, "name: x\n", points)
    store.commit(rows(1, 0))
    store.commit(rows(0, 0))
    store.commit(rows(0, 0))
    (store.folder / "runs" / ".cascade_sim-unfinished-1-0123456789ab").write_bytes(b"half")
    assert len(store.rows()) == 2
    with pytest.raises(OutputError, match="expected a new folder, or --resume"):
        Store.create(folder / "out", {"experiment_id": "x"}, "name: x\n", points)
    (folder / "foreign").mkdir()
    (folder / "foreign" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="holds thesis"):
        Store.create(folder / "foreign", {}, "", points)
    next(iter((store.folder / "runs").glob("part-*"))).write_bytes(b"damaged")
    with pytest.raises(DataFileError, match="expected a readable parquet file"):
        store.rows()


@pytest.mark.slow
def test_a_sweep_is_its_runs_one_by_one(folder: Path) -> None:
    told: list[Any] = []
    table = cs.sweep(
        experiment(folder, mechanisms=["liquidation"]), folder / "out", workers=2, progress=told.append
    )
    assert len(table) == 2 * 2 * 2 * 3
    assert table["replication"].tolist() == [0, 1, 2] * 8
    assert table.attrs["units"]["bad_debt"] == "quote"
    assert (told[-1].runs, told[-1].points, told[-1].failures) == (24, 2, 0)
    scenario = cs.load_scenario(folder / "little.yaml")
    row = table[
        (table["point"] == 1)
        & (table["arm"] == "random")
        & (table["off"] == "")
        & (table["replication"] == 2)
    ].iloc[0]
    changes = {"shock.quantity": 3000.0, "clearing.priority.name": "random"}
    single = cs.run(scenario.with_overrides(changes), 2, probe=False).summary
    assert row["shock.quantity"] == 3000.0
    for name in ("bad_debt", "max_adverse_excursion", "trades"):
        assert row[name] == single[name]
    without = cs.run(
        scenario.with_overrides(changes | {"switches.liquidation": False}), 2, probe=False
    ).summary
    move, base = single["max_adverse_excursion"], without["max_adverse_excursion"]
    assert row["amplification"] == move / base
    assert row["added_move_bp"] == abs(move) - abs(base)
    pd.testing.assert_frame_equal(cs.load_sweep(folder / "out"), table, check_exact=True)
    # Another number of processes gives the same bytes.
    cs.sweep(folder / "experiment.yaml", folder / "alone", workers=1)
    assert (folder / "alone" / "table.parquet").read_bytes() == (
        folder / "out" / "table.parquet"
    ).read_bytes()


@pytest.mark.slow
def test_points_that_cannot_run_are_rows_and_the_others_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "own_rules_that_fail.py").write_text(
        "from dataclasses import dataclass\n\n@dataclass(frozen=True)\nclass Raises:\n"
        "    def score(self, accounts):\n        raise ValueError('on purpose')\n"
    )
    arms = {"usual": {}, "own": {"clearing.priority.name": "own_rules_that_fail:Raises"}}
    file = experiment(folder, factors={"leverage": [20, 400]}, arms=arms)
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(file), "--out", str(folder / "out"), "--workers", "1", "--json"])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["failures"] == 9
    assert "9 of 12 runs failed" in told.err
    table = cs.load_sweep(folder / "out")
    assert (table[(table["point"] == 0) & (table["arm"] == "usual")]["status"] == "finished").all()
    reasons = table.groupby(["point", "arm"])["reason"].first()
    assert "on purpose" in reasons[0, "own"]
    assert "traders.inverse_leverage" in reasons[1, "usual"]
    page = (folder / "out" / "report.html").read_text()
    assert "What failed" in page
    assert {path.stem for path in (folder / "out" / "charts").iterdir()} == set(SWEEP_CHARTS)
    assert view_of(folder / "out").status == "finished"


@pytest.mark.slow
def test_points_are_repeated_until_their_mean_is_known(folder: Path) -> None:
    stop = {"metric": "max_adverse_excursion", "half_width": 12.0, "most": 12}
    file = experiment(folder, stop=stop, arms=None)
    table = cs.sweep(file, folder / "out", workers=2)
    for _, own in table.groupby("point"):
        count = len(own)
        assert count in (3, 6, 9, 12)
        half = [
            1.96 * own["max_adverse_excursion"][:k].std(ddof=1) / np.sqrt(k) for k in range(3, count + 1, 3)
        ]
        assert all(width > 12.0 for width in half[:-1])
        assert half[-1] <= 12.0 or count == 12
    cs.sweep(file, folder / "alone", workers=1)
    assert (folder / "alone" / "table.parquet").read_bytes() == (
        folder / "out" / "table.parquet"
    ).read_bytes()


@pytest.mark.slow
def test_a_disk_that_is_full_takes_nothing_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = experiment(folder)
    whole = cs.sweep(file, folder / "whole", workers=1)
    written = []

    def refuse(frame: pd.DataFrame, path: Path, units: Any) -> None:
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_plain_frame(frame, path, units)

    monkeypatch.setattr("cascade_sim.lab.store.write_plain_frame", refuse)
    with pytest.raises(
        OutputError, match=r"expected to write a chunk of .*, received: No space left on device"
    ):
        cs.sweep(file, folder / "out", workers=1)
    kept = cs.load_sweep(folder / "out")
    assert 0 < len(kept) < len(whole)
    assert json.loads((folder / "out" / "manifest.json").read_text())["status"] == "stopped"
    cs.sweep(file, folder / "out", workers=1, resume=True)
    assert (folder / "out" / "table.parquet").read_bytes() == (
        folder / "whole" / "table.parquet"
    ).read_bytes()


@pytest.mark.slow
def test_the_documented_example_runs(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "sweeps.md"
    (example,) = re.findall(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "example.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "shock.quantity" in done.stdout


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command line as a program of its own session; what is left of it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def program(*words: object, cwd: Path, module: str = "cascade_sim") -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, words)],
                cwd=cwd,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield program
    for each in started:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        if each.stderr is not None and not each.stderr.closed:
            each.communicate()


def ended(process: subprocess.Popen[str], status: int, within: float = 300.0) -> str:
    """Wait for the end of a program; what it said on standard error."""
    _, told = process.communicate(timeout=within)
    assert process.returncode == status, told
    return told


def wait_for_parts(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many chunks are committed."""
    until = time.monotonic() + 120.0
    while len(list((folder / "runs").glob("part-*"))) < count:
        assert process.poll() is None, f"it ended with status {process.returncode}"
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep that is long enough to be disturbed."""
    place = tmp_path_factory.mktemp("undisturbed")
    (place / "little.yaml").write_text(
        small(name="little", **{"dealers.count": 0, "run.steps": 300}).to_yaml()
    )
    file = experiment(place, replications=400)
    words = [sys.executable, "-P", "-m", "cascade_sim", "sweep", file, "--out", place / "out", "--no-charts"]
    subprocess.run(words, cwd=place, check=True, timeout=300)
    return place


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills processes")
@pytest.mark.parametrize(
    "disturbance", ["interrupt", "program killed", "worker killed", "all workers killed"]
)
def test_nothing_committed_is_lost_and_the_table_is_the_same(
    undisturbed: Path, tmp_path: Path, start: Start, disturbance: str
) -> None:
    out = tmp_path / "out"
    words = ("sweep", undisturbed / "experiment.yaml", "--out", out, "--no-charts", "--workers", 2)
    process = start(*words, cwd=undisturbed)
    wait_for_parts(out, 3, process)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child.pid for child in children if any("spawn_main" in word for word in child.cmdline())]
    assert len(workers) >= 2
    if disturbance == "interrupt":
        os.kill(process.pid, signal.SIGINT)
        assert "--resume goes on" in ended(process, 130, 60.0)
    elif disturbance == "program killed":
        os.killpg(process.pid, signal.SIGKILL)
        ended(process, -signal.SIGKILL, 60.0)
    else:
        for pid in workers[:1] if disturbance == "worker killed" else workers:
            os.kill(pid, signal.SIGKILL)
        ended(process, 0)
    table = out / "table.parquet"
    if disturbance in ("interrupt", "program killed"):
        assert not table.exists()
        committed = cs.load_sweep(out)
        assert 0 < len(committed) < 1600
        ended(start("report", out, cwd=tmp_path), 0)
        assert "as far as they are committed" in (out / "report.html").read_text()
        assert "--resume" in ended(start(*words, cwd=undisturbed), 2, 60.0)
        ended(start(*words, "--resume", cwd=undisturbed), 0)
        kept = committed.set_index(["point", "arm", "replication"])["bad_debt"]
        whole = cs.load_sweep(out).set_index(["point", "arm", "replication"])["bad_debt"]
        pd.testing.assert_series_equal(whole.loc[kept.index], kept)
    assert table.read_bytes() == (undisturbed / "out" / "table.parquet").read_bytes()
    assert not list(out.rglob(".cascade_sim-*"))


@pytest.mark.slow
def test_another_experiment_does_not_resume(undisturbed: Path) -> None:
    other = experiment(undisturbed, replications=401)
    try:
        with pytest.raises(OutputError, match=r"^--resume: expected the folder of this experiment"):
            cs.sweep(other, undisturbed / "out", resume=True)
    finally:
        experiment(undisturbed, replications=400)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills processes")
def test_a_scheduler_of_ones_own_with_workers_that_come_and_go(
    undisturbed: Path, tmp_path: Path, start: Start
) -> None:
    place = tmp_path / "scheduler.json"
    where = ("--no-dashboard", "--scheduler-file", place)
    tool = "distributed.cli.dask_scheduler"
    scheduler = start("--host", "127.0.0.1", "--port", 0, *where, cwd=tmp_path, module=tool)
    until = time.monotonic() + 60.0
    while not place.is_file() and time.monotonic() < until:
        time.sleep(0.05)

    def worker() -> subprocess.Popen[str]:
        tool = "distributed.cli.dask_worker"
        return start("--nthreads", 1, "--no-nanny", *where, cwd=tmp_path, module=tool)

    first = worker()
    out = tmp_path / "out"
    words = ("sweep", undisturbed / "experiment.yaml", "--out", out, "--no-charts")
    process = start(*words, "--scheduler-file", place, cwd=undisturbed)
    wait_for_parts(out, 2, process)
    worker()
    wait_for_parts(out, 4, process)
    os.killpg(first.pid, signal.SIGKILL)
    wait_for_parts(out, 7, process)
    os.killpg(scheduler.pid, signal.SIGKILL)
    assert "the Dask scheduler" in ended(process, 1, 120.0)
    assert len(cs.load_sweep(out)) > 0
    ended(start(*words, "--resume", cwd=undisturbed), 0)
    assert (out / "table.parquet").read_bytes() == (undisturbed / "out" / "table.parquet").read_bytes()
