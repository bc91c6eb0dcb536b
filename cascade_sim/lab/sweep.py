"""Sweeps: every point of an experiment, replicated, on any number of processes, kept chunk by chunk, resumed at will."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.lab.experiment import Design, cell_keys, lay_out, load_experiment
from cascade_sim.lab.replicas import FAILED, failure, stacked
from cascade_sim.lab.runner import Cluster, Work, check, connected, execute
from cascade_sim.lab.store import HEAD, Store
from cascade_sim.manifest import build_study_manifest
from cascade_sim.metrics import METRICS
from cascade_sim.swept import Swept
from cascade_sim.table_files import read_plain_frame


class State(NamedTuple):
    """How far a sweep is.

    Attributes
    ----------
    runs, of : int
        Runs that are committed, and that are asked for so far.
    points, of_points : int
        Points of which every run is committed.
    failures : int
    per_second : float
        Runs, since this program began.
    """

    runs: int
    of: int
    points: int
    of_points: int
    failures: int
    per_second: float


Progress = Callable[[State], None]


class SweepInterrupted(KeyboardInterrupt):
    """The interrupt of a sweep; what was committed is in its folder."""


def sweep(
    experiment: str | PathLike[str] | Mapping[str, Any],
    out: str | PathLike[str] | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: str | PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run an experiment.

    Parameters
    ----------
    experiment : str, path or mapping
        A YAML file, or what one holds: see docs/sweeps.md.
    out : path, optional
        Folder of the sweep; ``results/NAME`` by default. Every chunk is committed there as it is done.
    workers : int, optional
        Processes on this machine; one per processor by default. Results do not depend on it.
    scheduler, scheduler_file : str, optional
        A Dask scheduler that is already there, by its address or the file that it wrote.
    resume : bool
        Go on with the sweep that is in the folder.
    progress : callable, optional
        Called every few seconds with a :class:`State`.

    Returns
    -------
    DataFrame
        A row per run, ordered by point, arm, mechanisms that are off, and replication: ``experiment_id``, ``point``, every
        factor, ``arm``, ``off``, ``replication``, ``seed``, ``status``, ``reason`` and every figure; with mechanisms also
        ``amplification`` and ``added_move_bp``. Units in ``attrs["units"]``. Runs that failed say why.

    Raises
    ------
    ScenarioError, UnknownNameError, OutputError, DataFileError
        Before the first run, if the request is wrong or the folder holds something else.
    RunFailed
        If the cluster is gone; what was committed stays, and ``resume`` goes on.
    SweepInterrupted
        After Ctrl-C, likewise.
    """
    cluster = Cluster(workers, scheduler, None if scheduler_file is None else str(scheduler_file))
    check(cluster)
    read, folder = load_experiment(experiment)
    design = lay_out(read, folder)
    place = Path(out) if out is not None else Path("results") / read.name
    store = _store(place, design, resume=resume)
    work = _Work(design, store, progress)
    status = "stopped"
    try:
        work.run(cluster)
        status = "finished"
    except KeyboardInterrupt:
        raise SweepInterrupted(f"{work.committed} of {work.asked} runs are in {place}") from None
    finally:
        with suppress(OSError, OutputError):  # a full disk takes no note, and what stopped the sweep is told
            work.note(status)
    return work.finish()


def _store(place: Path, design: Design, *, resume: bool) -> Store:
    if resume and (place / "manifest.json").exists():
        store = Store(place)
        held = store.manifest.get("experiment_id")
        if held != design.experiment_id:
            received = f"{place}, which holds another ({str(held)[:12]})"
            raise OutputError(
                f"--resume: expected the folder of this experiment ({design.experiment_id[:12]}), received {received}"
            )
        store.tidy()
        return store
    manifest = {
        "experiment_id": design.experiment_id,
        "name": design.experiment.name,
        "status": "running",
        "units": {},
    }
    return Store.create(place, manifest, design.to_yaml(), design.points)


class _Work:
    """A sweep under way: what is committed, what is left."""

    def __init__(self, design: Design, store: Store, progress: Progress | None) -> None:
        self.design, self.store, self.progress = design, store, progress
        self.started, self.clock = datetime.now(UTC), time.perf_counter()
        self.units: dict[str, str] = dict(store.manifest.get("units", {}))
        self.began = self.failures = 0
        self.held: list[dict[int, float]] = [{} for _ in design.cells]
        """By cell: replication -> value of the metric that decides when to stop, NaN without one."""
        self.wanted = [design.replications] * len(design.cells)
        self.number = {(cell.point, cell.arm, cell.off): k for k, cell in enumerate(design.cells)}
        self._last_told = 0.0
        for _, rows in store.rows().groupby(["point", "arm", "off"], sort=False):
            first = rows.iloc[0]
            self._hold(self.number[first["point"], first["arm"], first["off"]], rows)
        self.began = self.committed

    def _hold(self, cell: int, rows: pd.DataFrame) -> None:
        stop = self.design.experiment.stop
        known = stop is not None and stop.metric in rows
        values = rows[stop.metric].tolist() if stop is not None and known else [math.nan] * len(rows)
        self.held[cell] |= dict(zip(rows["replication"].tolist(), values, strict=True))
        self.failures += int((rows["status"] == FAILED).sum())

    @property
    def committed(self) -> int:
        """Runs that are kept."""
        return int(np.sum([len(held) for held in self.held]))

    @property
    def asked(self) -> int:
        """Runs that are wanted so far."""
        return int(np.sum(self.wanted))

    def run(self, cluster: Cluster) -> None:
        """Run what is missing, and more where more is wanted."""
        self._refuse_cells()
        while True:
            left = self._left()
            if not left:
                if not self._wants_more():
                    return
                continue
            with connected(cluster) as client:
                while left:
                    for done in execute(left, client, self._tell):
                        self._commit([part.cell for part in done.chunk], done.rows, done.units)
                        self._tell()
                    left = self._left() if self._wants_more() else []
            return

    def _refuse_cells(self) -> None:
        """Commit the failures of cells whose scenario is refused."""
        for number, cell in enumerate(self.design.cells):
            missing = self._missing(number) if cell.scenario is None else []
            if missing:
                rows = [failure(replication, seed, cell.reason) for replication, seed in missing]
                self._commit([number], [pd.concat(rows, ignore_index=True)], {})

    def _missing(self, cell: int) -> list[tuple[int, int]]:
        seeds = self.design.seeds(0, self.wanted[cell])
        return [(k, seed) for k, seed in enumerate(seeds) if k not in self.held[cell]]

    def _left(self) -> list[Work]:
        cells = ((k, cell.scenario, self._missing(k)) for k, cell in enumerate(self.design.cells))
        return [(k, scenario, missing) for k, scenario, missing in cells if scenario is not None and missing]

    def _wants_more(self) -> bool:
        """Ask for as many replications again of cells whose mean is not known well enough; whether any is."""
        stop, step = self.design.experiment.stop, self.design.replications
        if stop is None:
            return False
        more = False
        for number, held in enumerate(self.held):
            # What a disturbed sweep made beyond what is wanted decides nothing yet.
            values = np.array([held[k] for k in range(self.wanted[number]) if k in held])
            values = values[np.isfinite(values)]
            if not len(values) or self.wanted[number] >= stop.most:
                continue
            half = 1.96 * values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.inf
            if half > stop.half_width:
                self.wanted[number] = min(stop.most, self.wanted[number] + step)
                more = True
        return more

    def _commit(
        self, numbers: Sequence[int], parts: Sequence[pd.DataFrame], units: Mapping[str, str]
    ) -> None:
        """Keep the rows of some cells in one go."""
        kept: list[pd.DataFrame] = []
        for number, rows in zip(numbers, parts, strict=True):
            cell = self.design.cells[number]
            rows.attrs = {}
            kept.append(rows.assign(point=cell.point, arm=cell.arm, off=cell.off))
            self._hold(number, rows)
        together = stacked(kept)
        self.store.commit(together[[*HEAD, *(name for name in together.columns if name not in HEAD)]])
        if units.keys() - self.units.keys():
            self.units |= units
            self.note("running")

    def note(self, status: str) -> None:
        """Write down how it stands."""
        made = build_study_manifest(
            command_line=sys.argv,
            started_at=self.started,
            ended_at=datetime.now(UTC),
            wall_seconds=time.perf_counter() - self.clock,
            status=status,
        )
        market = self.design.base.market
        identity = {
            "experiment_id": self.design.experiment_id,
            "name": self.design.experiment.name,
            "currencies": {"base": market.base, "quote": market.quote},
        }
        told = {"units": self.units, "runs": self.committed, "failures": self.failures}
        self.store.note(identity | told | made)

    def _tell(self) -> None:
        if self.progress is None or time.perf_counter() - self._last_told < 0.2:
            return
        self._last_told = time.perf_counter()
        self.progress(self.state())

    def state(self) -> State:
        """How far it is."""
        full = {cell.point: True for cell in self.design.cells}
        for number, cell in enumerate(self.design.cells):
            full[cell.point] &= len(self.held[number]) >= self.wanted[number]
        seconds = time.perf_counter() - self.clock
        rate = (self.committed - self.began) / seconds if seconds > 0.0 else 0.0
        done = len([1 for each in full.values() if each])
        return State(self.committed, self.asked, done, len(full), self.failures, rate)

    def finish(self) -> pd.DataFrame:
        """Put the table together and write it."""
        table = table_of(
            self.store.rows(), self.design.points, list(self.number), self.design.experiment_id, self.units
        )
        summary = {
            "runs": len(table),
            "failures": int((table["status"] == FAILED).sum()),
            "points": len(self.design.points),
        }
        self.store.finish(table, table.attrs["units"], summary)
        if self.progress is not None:
            self.progress(self.state())
        return table


def table_of(
    rows: pd.DataFrame,
    points: pd.DataFrame,
    cells: Sequence[tuple[int, str, str]],
    experiment_id: str,
    units: Mapping[str, str],
) -> pd.DataFrame:
    """Return the tidy table of a sweep, or of what there is of one.

    Parameters
    ----------
    rows : DataFrame
        Committed runs.
    points : DataFrame
        A row per point.
    cells : sequence of (int, str, str)
        Point, arm and mechanisms that are off, in the order of the table.
    experiment_id : str
    units : mapping
        Unit by figure.

    Returns
    -------
    DataFrame
        As `sweep` returns it.
    """
    order = {cell: k for k, cell in enumerate(cells)}
    places = np.array(
        [order[key] for key in zip(rows["point"], rows["arm"], rows["off"], strict=True)], np.int64
    )
    rows = rows.iloc[np.lexsort((rows["replication"].to_numpy(np.int64), places))].reset_index(drop=True)
    known = [name for name in units if name in rows.columns]
    figures = rows[known].astype("float64") if known else pd.DataFrame(index=rows.index)
    factors = points.set_index("point").reindex(rows["point"].to_numpy(np.int64)).reset_index(drop=True)
    head = rows[["arm", "off", "replication", "seed", "status", "reason"]].reset_index(drop=True)
    head = head.astype({"replication": "int64", "seed": "int64"})
    first = pd.DataFrame({"experiment_id": experiment_id, "point": rows["point"].astype("int64")})
    table = pd.concat([first, factors, head, figures], axis=1)
    told = dict(units)
    if any(off for _, _, off in cells):
        table = pd.concat([table, _added(table, cells)], axis=1)
        told |= {
            "amplification": METRICS["amplification"].unit,
            "added_move_bp": METRICS["added_move_bp"].unit,
        }
    table.attrs["units"] = {name: told[name] for name in table.columns if name in told}
    return table


def _added(table: pd.DataFrame, cells: Sequence[tuple[int, str, str]]) -> pd.DataFrame:
    """What the mechanisms of a row add to the excursion of the same draws with none of them."""
    name, none = (
        "max_adverse_excursion",
        max((off for _, _, off in cells), key=lambda off: off.count("+") + bool(off)),
    )
    own = table[name] if name in table else pd.Series(math.nan, table.index)
    base = table.loc[table["off"] == none, ["point", "arm", "replication"]].assign(base=own)
    paired = table[["point", "arm", "replication"]].merge(
        base, how="left", on=["point", "arm", "replication"]
    )
    without = paired["base"].to_numpy(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(without != 0.0, own.to_numpy(np.float64) / without, np.nan)
    return pd.DataFrame(
        {"amplification": ratio, "added_move_bp": own.abs().to_numpy(np.float64) - np.abs(without)}
    )


def load_sweep(folder: str | PathLike[str]) -> pd.DataFrame:
    """Read the table of a sweep, finished or half-way.

    Parameters
    ----------
    folder : path

    Returns
    -------
    DataFrame
        As `sweep` returns it, of the runs that are committed.

    Raises
    ------
    DataFileError
        If it is no folder of a sweep, or damaged.
    """
    store = Store(folder)
    manifest = store.manifest
    table_file = store.folder / "table.parquet"
    if manifest.get("status") == "finished" and table_file.exists():
        table = read_plain_frame(table_file)
        table.attrs["units"] = {n: u for n, u in manifest.get("units", {}).items() if n in table.columns}
        return table
    experiment, _ = load_experiment(store.folder / "experiment.yaml")
    points = store.points()
    cells = cell_keys(experiment, len(points))
    return table_of(store.rows(), points, cells, manifest["experiment_id"], manifest.get("units", {}))


def view_of(folder: str | PathLike[str]) -> Swept:
    """Read a sweep, finished or half-way, as charts and pages see it.

    Parameters
    ----------
    folder : path

    Raises
    ------
    DataFileError
        As for `load_sweep`.
    """
    store = Store(folder)
    manifest, points = store.manifest, store.points()
    experiment, _ = load_experiment(store.folder / "experiment.yaml")
    table = load_sweep(folder)
    return Swept(
        name=experiment.title or experiment.name,
        table=table,
        factors=[name for name in points.columns if name != "point"],
        points=len(points),
        metrics=list(experiment.metrics),
        units=dict(manifest.get("units", {})),
        currencies=dict(manifest.get("currencies", {})),
        status=str(manifest.get("status")),
        manifest=manifest,
    )


def is_sweep(folder: str | PathLike[str]) -> bool:
    """Return whether a folder says that it holds a sweep."""
    try:
        return bool(Store(folder).manifest)
    except DataFileError:
        return False
