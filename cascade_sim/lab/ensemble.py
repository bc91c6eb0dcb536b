"""Many runs of one scenario in compiled code: a row of figures per seed."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from os import PathLike
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.looks import open_queue
from cascade_sim.core.drivers.blank import blank_of, renew
from cascade_sim.core.drivers.loop import full, lean
from cascade_sim.core.drivers.opening import Opener
from cascade_sim.core.drivers.state import plain
from cascade_sim.core.layout.opening import OPENED
from cascade_sim.core.record.figures import finish_figures
from cascade_sim.domain.errors import CapacityError, RunFailed, ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.lab.single import runs_of
from cascade_sim.metrics import columns
from cascade_sim.model import (
    ALL_PHASES,
    Simulation,
    build,
    capacity_text,
    check_inputs,
    instrument_of,
    market_seed,
)
from cascade_sim.scenario import Scenario, as_scenario

Progress = Callable[[int, int], None]
Rows = NDArray[Any]
Keys = NDArray[np.uint64]

_CHUNK_SECONDS = 0.75
"""Work that a thread takes at once: little of it is lost to taking it, and the last pieces are shared out evenly."""
_FIRST_CHUNK = 4

_DONE = 0
_STOPPED = 1
_NOT_OPENED = 2
_WAITING = -1
"""Status of a row: finished, stopped in the middle, a world that could not be opened, or not begun."""


class EnsembleInterrupted(KeyboardInterrupt):
    """The interrupt of an ensemble.

    Attributes
    ----------
    rows : DataFrame
        The runs that had finished, as :func:`run_ensemble` returns them.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        super().__init__(f"{len(rows)} runs had finished")
        self.rows = rows


def seed_keys(seeds: Iterable[int]) -> NDArray[np.uint64]:
    """Return the keys of all draws that :class:`CascadeModel` derives from seeds, shape (n,).

    Parameters
    ----------
    seeds : iterable of int
        Of a seed beyond 64 bits the lowest 64 count, as in a single run.

    Returns
    -------
    uint64 array
        ``SeedSequence(seed).generate_state(1, uint64)[0]`` of each: the seed sequence of O'Neill (2015), whose constants
        do not depend on the entropy, so that all seeds are mixed at once.
    """
    words = np.array([int(seed) & 0xFFFFFFFFFFFFFFFF for seed in seeds], np.uint64)
    zero = np.zeros(len(words), np.uint32)
    entropy = [words.astype(np.uint32), (words >> np.uint64(32)).astype(np.uint32), zero, zero]
    constant = 0x43B0D7E5

    def hashed(value: NDArray[np.uint32], multiplier: int) -> NDArray[np.uint32]:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * multiplier & 0xFFFFFFFF
        value = value * np.uint32(constant)
        return value ^ (value >> np.uint32(16))

    pool = [hashed(word, 0x931E8875) for word in entropy]
    for source in range(4):
        for target in range(4):
            if source != target:
                mixed = pool[target] * np.uint32(0xCA01F9DD)
                mixed = mixed - hashed(pool[source], 0x931E8875) * np.uint32(0x4973F715)
                pool[target] = mixed ^ (mixed >> np.uint32(16))
    constant = 0x8B51F9DD
    low, high = (hashed(word, 0x58F38DED) for word in pool[:2])
    return low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))


def market_keys(seeds: Sequence[int], markets: Sequence[str]) -> Keys:
    """Return the keys of every market of a world, shape (n, markets); the names of further markets enter theirs."""
    keys = np.empty((len(seeds), len(markets)), np.uint64)
    keys[:, 0] = seed_keys(seeds)
    for number, name in enumerate(markets[1:], start=1):
        keys[:, number] = [market_seed(seed, name) for seed in seeds]
    return keys


class _ConfiguredModel(Simulation):
    """A model whose world is configured and stays blank: the compiled loop opens it, once per run."""

    def _open(self) -> None:
        """Leave the world blank."""


def _finish(worlds: Rows, books: Rows, accounts: Rows, row: Rows, stopped_by: int) -> int:
    """Write down in its row what a run came to; returns its status."""
    status = _DONE if stopped_by == lay.RETURN_DONE else _STOPPED
    finish_figures(worlds, books, accounts, row, stopped_by, status)
    return status


class _CompiledWorker:
    """One world, made new for every run: each is a few calls of the kernels that a single run is made of."""

    def __init__(self, model: Simulation) -> None:
        self.model = model
        self.blank = blank_of(model.system)
        self.transfers = plain(np.zeros(0, lay.TRANSFER).view(np.recarray))
        plans = [market.opening.plan for market in model.markets.values()]
        self.plans = plain(np.array(plans, plans[0].dtype).view(np.recarray))
        self.arrays = model.system.arrays()
        self.openers = [
            Opener(model.system.rows(number), self.plans[number : number + 1]) for number in range(len(plans))
        ]
        self.steps = model.settings.run.steps
        self.kernel: Any = full if model.needs_full_driver else lean

    def run(self, _seeds: Sequence[int], keys: Keys, out: Rows, stop: NDArray[np.int64]) -> int:
        """Run every row of keys (n, markets) into its row; returns how many were begun."""
        for place in range(len(keys)):
            if stop[0]:
                return place
            if self._run(keys[place], out[place : place + 1]) != _DONE:
                return place + 1
        return len(keys)

    def _run(self, keys: Keys, row: Rows) -> int:
        """Make one run from the keys of its markets; returns the status of its row, which the row holds as well."""
        worlds, books, accounts, _, watch, *_, portfolios = self.arrays
        renew(worlds, books, watch, self.plans, self.blank, keys)
        for opener in self.openers:
            if opener.open_accounts(self.transfers) != OPENED:
                row["status"] = _NOT_OPENED
                return _NOT_OPENED
            opener.open_orders()
        if len(portfolios):
            open_queue(worlds, portfolios)
        return _finish(worlds, books, accounts, row, self.kernel(*self.arrays, self.steps, ALL_PHASES))

    def close(self) -> None:
        """Give the memory back."""
        self.openers.clear()
        del self.arrays, self.blank
        self.model.close()


class _PythonWorker:
    """Runs that ask Python on the way: a model of its own for each, between whose kernels Python answers."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario

    def run(self, seeds: Sequence[int], keys: Keys, out: Rows, stop: NDArray[np.int64]) -> int:
        """Run every seed into its row; returns how many were begun."""
        for place, seed in enumerate(seeds):
            if stop[0]:
                return place
            row, stopped_by = out[place : place + 1], lay.RETURN_DONE
            try:
                model = build(self.scenario, rng=seed)
            except ScenarioError:
                row["status"] = _NOT_OPENED
                return place + 1
            try:
                model.run()
            except CapacityError:
                stopped_by = lay.RETURN_CAPACITY
            worlds, books, accounts = model.system.arrays()[:3]
            status = _finish(worlds, books, accounts, row, stopped_by)
            model.close()
            if status != _DONE:
                return place + 1
        return len(seeds)

    def close(self) -> None:
        """Nothing is held between runs."""


_Worker = _CompiledWorker | _PythonWorker


def _asks_python(model: Simulation) -> bool:
    """Whether a run has to leave compiled code for a rule."""
    for market in model.markets.values():
        config = market.state.world.config
        codes = (
            config.mark_rule,
            config.dealers.rule,
            config.clearing.priority,
            config.clearing.sizing,
            config.clearing.execution,
            config.clearing.adl,
        )
        if market.engine.parties or any(int(code) == lay.RULE_PYTHON for code in codes):
            return True
    return False


def _crew(scenario: Scenario, threads: int) -> Sequence[_Worker]:
    """As many workers as threads. Every world is built here: a wrong request fails before anything runs."""
    if any(each.agents for each in scenario.market_scenarios().values()):
        check_inputs(scenario)
        return [_PythonWorker(scenario) for _ in range(threads)]
    first = _ConfiguredModel(scenario, rng=0)
    if _asks_python(first):
        first.close()
        return [_PythonWorker(scenario) for _ in range(threads)]
    models = [first] + [_ConfiguredModel(scenario, rng=0) for _ in range(threads - 1)]
    return [_CompiledWorker(model) for model in models]


class _Ensemble:
    """The shared part of a request: what is left to do, and the rows that are done."""

    def __init__(self, scenario: Scenario, seeds: list[int], workers: int) -> None:
        self.scenario, self.seeds, self.workers = scenario, seeds, workers
        self.keys = market_keys(seeds, list(scenario.market_scenarios()))
        self.rows = plain(np.zeros(len(seeds), lay.FIGURE_ROW).view(np.recarray))
        self.rows["status"] = _WAITING
        self.stop = np.zeros(1, np.int64)
        self.next = 0
        self.lock = threading.Lock()

    def take(self, wanted: int) -> tuple[int, int]:
        """Reserve the next seeds: at most ``wanted``, and towards the end no more than a fair share."""
        with self.lock:
            begin = self.next
            left = len(self.seeds) - begin
            self.next = begin + min(left, max(1, min(wanted, -(-left // (2 * self.workers)))))
            return begin, self.next

    def work(self, worker: _Worker) -> None:
        """Run seeds until none is left, somebody stops the ensemble, or a run fails."""
        size = _FIRST_CHUNK
        while not self.stop[0]:
            begin, end = self.take(size)
            if begin == end:
                return
            started = time.perf_counter()
            part = slice(begin, end)
            done = worker.run(self.seeds[part], self.keys[part], self.rows[part], self.stop)
            self.check(range(begin, begin + done))
            rate = max(1, done) / (time.perf_counter() - started)
            size = max(1, min(8 * size, round(rate * _CHUNK_SECONDS)))

    def check(self, done: range) -> None:
        """Raise what went wrong in the last run of a chunk, if anything, with its seed."""
        if not done:
            return
        row, seed = self.rows[done[-1]], self.seeds[done[-1]]
        if int(row.status) == _DONE:
            return
        self.stop[0] = 1
        if int(row.status) == _NOT_OPENED:
            try:
                build(self.scenario, rng=seed)
            except ScenarioError as error:
                raise ScenarioError(f"seed {seed}: {error}") from error
        if int(row.stopped_by) == lay.RETURN_CAPACITY:
            text = capacity_text(int(row.capacity))
            raise CapacityError(f"seed {seed}, step {int(row.step)}: {text}")
        raise RunFailed(
            f"seed {seed}, step {int(row.step)}: expected the end, received {int(row.stopped_by)}"
        )

    def frame(self, instrument: Instrument) -> pd.DataFrame:
        """The finished rows in user units, in the order of the seeds."""
        done = self.rows["status"] == _DONE
        rows = self.rows[done]
        seeds = [seed for seed, finished in zip(self.seeds, done, strict=True) if finished]
        return _frame(rows, seeds, self.scenario, instrument)


def _frame(rows: Rows, seeds: list[int], scenario: Scenario, instrument: Instrument) -> pd.DataFrame:
    """The seeds, every metric of every run, and the fingerprints."""
    figures, units = columns(runs_of(rows, scenario, instrument))
    column = pd.array(seeds, dtype="int64") if _fits(seeds) else pd.array(seeds, dtype=object)
    frame = pd.concat([pd.Series(np.asarray(column), name="seed"), figures], axis=1)
    frame["fingerprint"] = np.array(rows["fingerprint"])
    frame.attrs["units"] = {"seed": "-", **units, "fingerprint": "-"}
    return frame


def _fits(seeds: list[int]) -> bool:
    return all(-(2**63) <= seed < 2**63 for seed in seeds)


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_ensemble(
    scenario: Scenario | str | PathLike[str],
    seeds: Iterable[int] | int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Run a scenario once per seed, in compiled code from one run to the next wherever no rule or agent is Python's.

    Parameters
    ----------
    scenario : Scenario, str or path
        Any; text and paths as for `cascade_sim.load_scenario`. Only figures are kept, whatever it says about recording: those
        of the first market, and the conservation error of all. Where a rule or an agent is written in Python, each run is a
        model of its own, between whose kernels Python answers; elsewhere one world is made new for every run.
    seeds : iterable of int, or int
        The seeds, or how many runs: those of the seeds from 0 on. Run k is the run of ``CascadeModel(scenario,
        rng=seeds[k])``, bit by bit.
    workers : int, optional
        Threads, each with a world of its own; by default one per processor. The rows do not depend on it.
    progress : callable, optional
        Called now and then with (runs done, runs in all).

    Returns
    -------
    DataFrame
        A row per seed, in order; the seed, every metric of `cascade_sim.metrics.METRICS` that a run has by itself, and a
        fingerprint; units in ``frame.attrs["units"]``.

    Raises
    ------
    ScenarioError, DataFileError
        If the request is wrong, or the draws of a seed cannot be opened.
    CapacityError, RunFailed
        If a run could not be finished; the line names its seed.
    EnsembleInterrupted
        On an interrupt from the keyboard (it is a KeyboardInterrupt); its ``rows`` are the runs that had finished.
    """
    scenario = as_scenario(scenario)
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool):
        if seeds < 1:
            raise ScenarioError(expectation("seeds", "at least 1 run, or the seeds", seeds))
        seeds = range(int(seeds))
    elif not isinstance(seeds, Iterable):
        raise ScenarioError(expectation("seeds", "how many runs, or the seeds", seeds))
    chosen = [int(seed) for seed in seeds]
    if workers is not None and workers < 1:
        raise ScenarioError(expectation("workers", "at least 1", workers))
    with Crew(scenario, max(1, min(workers or processors(), len(chosen)))) as crew:
        return crew.run(chosen, progress)


class Crew:
    """Threads with a world each, for any number of ensembles of one scenario; a context, at whose end they are gone.

    Parameters
    ----------
    scenario : Scenario
    threads : int

    Raises
    ------
    ScenarioError, DataFileError
        If the scenario is wrong.
    """

    def __init__(self, scenario: Scenario, threads: int) -> None:
        self._scenario = scenario.with_overrides({"run.record": "summary"})
        self._workers = _crew(self._scenario, threads)
        self._instrument = instrument_of(self._scenario)

    def __enter__(self) -> Self:
        """Begin with the worlds as they are."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give their memory back."""
        self.close()

    def close(self) -> None:
        """Give the memory of the worlds back."""
        for worker in self._workers:
            worker.close()

    def run(self, seeds: list[int], progress: Progress | None = None) -> pd.DataFrame:
        """Run the scenario once per seed; as :func:`run_ensemble`."""
        ensemble = _Ensemble(self._scenario, seeds, len(self._workers))
        try:
            _run_threads(ensemble, self._workers, progress)
        except KeyboardInterrupt:
            raise EnsembleInterrupted(ensemble.frame(self._instrument)) from None
        return ensemble.frame(self._instrument)


def _run_threads(ensemble: _Ensemble, crew: Sequence[_Worker], progress: Progress | None) -> None:
    """Let every worker run in a thread of its own and wait for all; the first error stops them."""
    with ThreadPoolExecutor(len(crew), thread_name_prefix="ensemble") as pool:
        waiting: set[Future[None]] = {pool.submit(ensemble.work, worker) for worker in crew}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for finished in done:
                    finished.result()
                if progress is not None:
                    count = int(np.count_nonzero(ensemble.rows["status"] == _DONE))
                    progress(count, len(ensemble.seeds))
        except BaseException:
            ensemble.stop[0] = 1
            raise
