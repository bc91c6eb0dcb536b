"""Chunks of replications on the processes of a Dask cluster: this machine's own, or one that somebody started.

A worker only computes; whoever asked commits. So a worker, a scheduler or this program may die at any time: what was
committed stays, and what was not is run again.
"""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cascade_sim.domain.components import error_text
from cascade_sim.domain.errors import CascadeError, RunFailed, ScenarioError, expectation
from cascade_sim.lab.ensemble import Crew, processors
from cascade_sim.lab.replicas import FAILED, failure, joined, run_replicas
from cascade_sim.scenario import Scenario

_AHEAD = 2
"""Chunks that a worker has waiting: none is idle, and little is lost with one that dies."""
_CHUNK_SECONDS = 1.0
"""Work in a chunk: what it takes to send it is little beside it, and commits are seconds apart."""
_SILENCE_SECONDS = 5.0
"""Between two looks whether the scheduler is still there."""


class Part(NamedTuple):
    """Some replications of one cell, one after the other.

    Attributes
    ----------
    cell : int
    scenario : Scenario
    first : int
        Number of the first replication.
    seeds : tuple of int
    """

    cell: int
    scenario: Scenario
    first: int
    seeds: tuple[int, ...]


Chunk = tuple[Part, ...]
"""What a worker takes at once: parts of as many cells as make about a second of work."""
Work = tuple[int, Scenario, list[tuple[int, int]]]
"""A cell: number, scenario, and (replication, seed) of what is left to run of it."""


class Done(NamedTuple):
    """What became of a chunk.

    Attributes
    ----------
    chunk : Chunk
    rows : list of DataFrame
        Of each part, as `run_replicas` returns them.
    units : dict
        Unit by figure.
    seconds : float
        That it took.
    """

    chunk: Chunk
    rows: list[pd.DataFrame]
    units: dict[str, str]
    seconds: float


class Cluster(NamedTuple):
    """Where chunks are run.

    Attributes
    ----------
    workers : int or None
        Processes on this machine; None for one per processor.
    scheduler : str or None
        Address of a Dask scheduler that is already there.
    scheduler_file : str or None
        File in which such a scheduler has written where it is.
    """

    workers: int | None = None
    scheduler: str | None = None
    scheduler_file: str | None = None


class _Kept:
    """The world of the last chunk of this process: the next is mostly of the same cell."""

    scenario_hash = ""
    crew: Crew | None = None


def _crew_of(scenario: Scenario) -> Crew:
    if _Kept.crew is None or _Kept.scenario_hash != scenario.scenario_hash:
        _forget()
        _Kept.crew, _Kept.scenario_hash = Crew(scenario, 1), scenario.scenario_hash
    return _Kept.crew


def _forget() -> None:
    if _Kept.crew is not None:
        _Kept.crew.close()
    _Kept.crew = None


def work(chunk: Sequence[tuple[Any, ...]]) -> tuple[list[pd.DataFrame], dict[str, str], float]:
    """Run a chunk, in a worker: rows of each part, units, seconds."""
    started = time.perf_counter()
    found: list[pd.DataFrame] = []
    units: dict[str, str] = {}
    for each in chunk:
        part = Part(*each)
        try:
            crew = _crew_of(part.scenario)
            rows = run_replicas(part.scenario, list(part.seeds), part.first, workers=1, crew=crew)
            if (rows["status"] == FAILED).any():
                _forget()
        except CascadeError as error:
            rows = _failed(part, error)
        except Exception as error:
            # Whatever it was, it belongs to these runs: the others go on.
            rows = _failed(part, error_text(error))
        units |= rows.attrs["units"]
        rows.attrs = {}
        found.append(rows)
    return found, units, time.perf_counter() - started


def _failed(part: Part, error: BaseException | str) -> pd.DataFrame:
    return joined([failure(part.first + k, seed, error) for k, seed in enumerate(part.seeds)])


def check(cluster: Cluster) -> None:
    """Refuse a request that makes no sense.

    Raises
    ------
    ScenarioError
    """
    given = [
        name for name in ("workers", "scheduler", "scheduler_file") if getattr(cluster, name) is not None
    ]
    if len(given) > 1:
        raise ScenarioError(
            f"workers: expected one of --workers, --scheduler and --scheduler-file, received {given[0]} and {given[1]}"
        )
    if cluster.workers is not None and cluster.workers < 1:
        raise ScenarioError(expectation("workers", "at least 1", cluster.workers))
    if cluster.scheduler_file is not None and not os.path.isfile(cluster.scheduler_file):
        raise ScenarioError(
            expectation("scheduler-file", "a file that a scheduler has written", cluster.scheduler_file)
        )


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Lend a client of a cluster, of processes of this machine that end with it if no other is named.

    Raises
    ------
    RunFailed
        If there is no scheduler there.
    """
    import dask
    import distributed

    tools: Any = distributed  # it has no types of its own

    # Many small results come at once; a scheduler of one program needs no page to look at. A worker that kills three
    # others in a row is no accident.
    settings = {
        "distributed.scheduler.allowed-failures": 10,
        "distributed.worker.daemon": True,
        "distributed.comm.timeouts.connect": "10s",
        "distributed.admin.tick.limit": "1h",
    }
    with dask.config.set(settings), _silence("distributed"):
        if cluster.scheduler is None and cluster.scheduler_file is None:
            with (
                tools.LocalCluster(
                    n_workers=cluster.workers or processors(),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs=50,
                ) as local,
                tools.Client(local, set_as_default=False) as client,
            ):
                yield client
            return
        place = cluster.scheduler or cluster.scheduler_file
        try:
            client = tools.Client(
                address=cluster.scheduler,
                scheduler_file=cluster.scheduler_file,
                set_as_default=False,
                timeout="20s",
            )
        except Exception as error:
            raise RunFailed(f"expected a Dask scheduler at {place}, received: {error_text(error)}") from error
        try:
            yield client
        finally:
            with suppress(Exception):
                client.close(timeout=2)


@contextmanager
def _silence(name: str) -> Iterator[None]:
    """Keep a library from telling on standard error what is told in one line here."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def chunks_of(cells: Iterable[Work], size: int) -> Iterator[Chunk]:
    """Cut cells into chunks of so many runs, a part for each stretch of neighbouring replications."""
    chunk: list[Part] = []
    room = size
    for cell, scenario, missing in cells:
        stretch: list[tuple[int, int]] = []
        for replication, seed in missing:
            if stretch and (len(stretch) == room or replication != stretch[-1][0] + 1):
                chunk.append(_part(cell, scenario, stretch))
                room -= len(stretch)
                stretch = []
                if room == 0:
                    yield tuple(chunk)
                    chunk, room = [], size
            stretch.append((replication, seed))
        if stretch:
            chunk.append(_part(cell, scenario, stretch))
            room -= len(stretch)
            if room == 0:
                yield tuple(chunk)
                chunk, room = [], size
    if chunk:
        yield tuple(chunk)


def _part(cell: int, scenario: Scenario, stretch: list[tuple[int, int]]) -> Part:
    return Part(cell, scenario, stretch[0][0], tuple(seed for _, seed in stretch))


def _runs(chunk: Chunk) -> int:
    return int(np.sum([len(part.seeds) for part in chunk]))


class _Queue:
    """Cells that are left to run, cut into chunks as they are asked for, by how long a run has taken so far."""

    def __init__(self, cells: Iterable[Work]) -> None:
        self.cells = deque(cells)
        self.again: deque[Chunk] = deque()
        self.seconds_per_run = 0.0

    def take(self) -> Chunk | None:
        """The next chunk, None if there is none."""
        if self.again:
            return self.again.popleft()
        if not self.cells:
            return None
        # Of the first runs nobody knows how long they take.
        size = 4 if self.seconds_per_run == 0.0 else max(1, round(_CHUNK_SECONDS / self.seconds_per_run))
        chunk = next(chunks_of(self.cells, size))
        for part in chunk:
            cell, scenario, missing = self.cells.popleft()
            left = missing[len(part.seeds) :]
            if left:
                self.cells.appendleft((cell, scenario, left))
        return chunk

    def learn(self, done: Done) -> None:
        """Take in how long a chunk took."""
        took = done.seconds / max(1, _runs(done.chunk))
        self.seconds_per_run = (
            took if self.seconds_per_run == 0.0 else 0.7 * self.seconds_per_run + 0.3 * took
        )


def execute(
    cells: Iterable[Work],
    client: Any,
    tell: Callable[[], None] | None = None,
) -> Iterator[Done]:
    """Run cells on a cluster and yield what is done, in whatever order that is.

    Parameters
    ----------
    cells : iterable of (int, Scenario, list of (replication, seed))
        Number, scenario, and what is left to run of each.
    client : distributed.Client
    tell : callable, optional
        Called at least every few seconds.

    Yields
    ------
    Done

    Raises
    ------
    RunFailed
        If the scheduler is gone.
    """
    import distributed

    tools: Any = distributed
    queue = _Queue(cells)
    waiting: dict[Any, Chunk] = {}
    while True:
        while len(waiting) < _AHEAD * max(1, _threads(client)) and (chunk := queue.take()) is not None:
            waiting[client.submit(work, [tuple(part) for part in chunk], pure=False)] = chunk
        if not waiting:
            return
        # Futures know their client, but waiting for them asks for the current one. A scheduler that dies cancels them.
        with (
            suppress(TimeoutError, tools.CancelledError),
            client.as_current(),
        ):
            tools.wait(list(waiting), timeout=_SILENCE_SECONDS, return_when="FIRST_COMPLETED")
        if tell is not None:
            tell()
        if client.status != "running":
            raise RunFailed(
                "expected the Dask scheduler to stay, received nothing more of it; what is committed stays, --resume goes on"
            )
        for future in [each for each in waiting if each.done()]:
            chunk = waiting.pop(future)
            if future.status == "finished":
                rows, units, seconds = future.result()
                done = Done(chunk, rows, units, seconds)
                queue.learn(done)
                yield done
            elif future.status == "cancelled":
                # A scheduler that dies cancels all that it had: whether it is gone is seen above, at the next look.
                time.sleep(0.2)
                queue.again.append(chunk)
            else:
                reason = error_text(future.exception())
                yield Done(chunk, [_failed(part, reason) for part in chunk], {}, 0.0)
            future.release()


def _threads(client: Any) -> int:
    """Threads of all workers that are there now; they may come and go."""
    try:
        return int(np.sum(list(client.nthreads().values())))
    except Exception:
        return 1
