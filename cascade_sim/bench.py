"""How fast the program is, as ratios and counts that can be compared across machines and versions.

Absolute times say little on a shared machine. A comparison with another program therefore alternates the two in one
session and reports the median of the ratios; what has no partner is reported in its own unit, the best of several.
"""

import functools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cascade_sim.agents.cohort import Cohort, CohortMarket
from cascade_sim.agents.participant import Participant, ParticipantMarket
from cascade_sim.core.drivers.loop import full
from cascade_sim.core.ground.compile import cache_directory
from cascade_sim.domain.enums import OrderType, Side
from cascade_sim.domain.errors import DataFileError, RunFailed, UnknownNameError, expectation
from cascade_sim.lab.ensemble import processors, run_ensemble
from cascade_sim.lab.scaling import (
    bytes_per_account,
    growth,
    ns_per_liquidation,
    python_rule_step_us,
    steps_per_second,
)
from cascade_sim.lab.single import run
from cascade_sim.lab.soak import soak as run_soak
from cascade_sim.market.order_book import OrderBook
from cascade_sim.model import CascadeModel
from cascade_sim.scenario import Scenario, load_scenario

Figures = dict[str, float | None]
PROFILES = ("dense", "sparse", "deep")
_STREAM_SEED = "7"
_REPEATS = 5


@dataclass(frozen=True)
class Request:
    """What a measurement may use.

    Attributes
    ----------
    yardstick : Path or None
        Source of the C++ book to compare with; without it, or without a compiler, its ratios are None.
    messages : int
        Length of each replayed stream.
    pairs : int
        Alternating pairs per ratio.
    soak : int
        Messages of the soak.
    """

    yardstick: Path | None = None
    messages: int = 5_000_000
    pairs: int = 5
    soak: int = 100_000_000


def _compile(source: Path, folder: Path) -> Path | None:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return None
    program = folder / "book"
    command = [compiler, "-O3", "-march=native", "-std=c++17", "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise DataFileError(expectation("--yardstick", "C++ source that compiles", lines[0]))
    return program


def _replayed(stream: NDArray[np.int32]) -> tuple[float, NDArray[np.int32]]:
    """Seconds and fills of one replay in a new book; making the book is not counted, checking the stream is."""
    book = OrderBook()
    began = time.perf_counter()
    fills = book.replay(stream)
    return time.perf_counter() - began, fills


def order_book(request: Request) -> Figures:
    """Time of ``OrderBook.replay`` over that of the C++ book on the same stream; fills must be the same."""
    ratios: Figures = {f"book_ratio_{profile}": None for profile in PROFILES}
    if request.yardstick is None:
        return ratios
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = _compile(request.yardstick, folder)
        if program is None:
            return ratios
        for profile in PROFILES:
            stream = folder / f"{profile}.bin"
            make: list[str | Path] = [program, "make", profile, str(request.messages), _STREAM_SEED, stream]
            subprocess.run(make, check=True, capture_output=True)
            ratios[f"book_ratio_{profile}"] = _ratio(program, stream, folder / "tape.bin", request.pairs)
    return ratios


def _ratio(program: Path, stream: Path, tape: Path, pairs: int) -> float:
    messages = np.fromfile(stream, np.int32).reshape(-1, 4)
    subprocess.run([program, "tape", stream, tape], check=True, capture_output=True)
    _, fills = _replayed(messages)
    if not np.array_equal(fills, np.fromfile(tape, np.int32).reshape(-1, 4)):
        raise RunFailed(f"{stream.stem}: expected the yardstick's fills, received others")
    found = []
    for _ in range(pairs):
        done = subprocess.run([program, "run", stream, "1"], check=True, capture_output=True, text=True)
        theirs = float(json.loads(done.stdout)["ns_per_message"])
        seconds, _ = _replayed(messages)
        found.append(1.0e9 * seconds / len(messages) / theirs)
    return statistics.median(found)


def _engine_seconds(scenario: Scenario, seed: int, *, extended: bool = False) -> float:
    """Seconds of one run inside the engine, in the extended driver if need be; building the model is not counted."""
    model = CascadeModel(scenario, rng=seed)
    if extended:
        model._advance = functools.partial(full, *model.system.arrays())
    began = time.perf_counter()
    model.run()
    seconds = time.perf_counter() - began
    model.close()
    return seconds


def engine(_request: Request) -> Figures:
    """Seconds of four simulated hours of ``gamma_shock`` inside the engine, everything recorded; best of five."""
    scenario = load_scenario("gamma_shock")
    found = [_engine_seconds(scenario, seed) for seed in range(_REPEATS + 1)]
    seconds = min(found[1:])
    steps = scenario.run.steps + scenario.run.burn_in_steps
    return {"gamma_shock_seconds": seconds, "gamma_shock_steps_per_second": steps / seconds}


def recording(_request: Request) -> Figures:
    """Time of ``gamma_shock`` with everything recorded over that with the summary alone; medians of pairs."""
    full = load_scenario("gamma_shock")
    bare = full.with_overrides({"run.record": "summary"})
    found = [_engine_seconds(full, seed) / _engine_seconds(bare, seed) for seed in range(_REPEATS + 1)]
    return {"recording_overhead": statistics.median(found[1:])}


# Rules that are looked at in every step and never bind, so that the run with them trades the same.
_VENUE_RULES: dict[str, object] = {
    "venue.price_band.half_width": 0.9,
    "venue.circuit_breaker.levels": [0.9],
    "venue.circuit_breaker.halt_seconds": [300],
    "venue.circuit_breaker.window_seconds": 300,
    "venue.position_caps.leveraged_trader": 1e6,
    "venue.open_interest_cap": 1e9,
}


def features(_request: Request) -> Figures:
    """Time of ``gamma_shock`` with a feature over that without; medians of pairs.

    ``cost_extended_driver`` is the driver that the other features need, with none of them on.
    """
    plain = load_scenario("gamma_shock")
    added: dict[str, dict[str, object]] = {
        "cost_extended_driver": {},
        "cost_venue_rules": _VENUE_RULES,
        "cost_latency": {f"latency.{sender}.delay_seconds": 1.0 for sender in plain.latency.delays()},
        "cost_second_market": {"markets": {"second": {}}},
    }
    found: Figures = {}
    for name, changes in added.items():
        richer = plain.with_overrides(changes)
        pairs = []
        for seed in range(_REPEATS + 1):
            # Whoever comes second finds the memory of the first: each comes first as often.
            turns = ((richer, True), (plain, False))[:: 1 if seed % 2 else -1]
            seconds = {extended: _engine_seconds(who, seed, extended=extended) for who, extended in turns}
            pairs.append(seconds[True] / seconds[False])
        found[name] = statistics.median(pairs[1:])
    return found


def analysis(_request: Request) -> Figures:
    """Time of a whole run with tables, summary and impact probe over that of the engine alone; median of pairs."""
    scenario = load_scenario("gamma_shock")
    found = []
    for seed in range(_REPEATS + 1):
        alone = _engine_seconds(scenario, seed)
        began = time.perf_counter()
        run(scenario, seed)
        found.append((time.perf_counter() - began) / alone)
    return {"run_over_engine": statistics.median(found[1:])}


_LAUNCH = """
import pathlib, resource, sys
from cascade_sim.cli import entry
sys.argv[1:] = ["run", "--json", "--out", *sys.argv[1:]]
try:
    entry()
finally:
    # On Linux the usage of a process includes what its parent used before it started.
    status = pathlib.Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peak = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    print(*peak or [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss], file=sys.stderr)
"""


def _launch(cache: Path, out: Path, *words: str) -> tuple[float, float]:
    """Seconds and peak resident MiB of ``run``, by default of the default scenario, in a process of its own."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCH, str(out), *words],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        raise RunFailed(f"cascade-sim run: expected status 0, received {done.returncode}")
    unit = 1024.0**2 if sys.platform == "darwin" else 1024.0
    return seconds, float(done.stderr.split()[-1]) / unit


BENCHMARKS = Path(__file__).parent / "scenarios" / "benchmark"
SMALL, TINY = BENCHMARKS / "small.yaml", BENCHMARKS / "tiny.yaml"
"""The markets that speeds are measured on: 1,000 traders for 2,000 steps, and 50 traders for 50 steps."""
_SMALL_RUNS = 400
_TINY_RUNS = 20_000


def _ensemble_seconds(scenario: Scenario, runs: int, workers: int) -> float:
    began = time.perf_counter()
    run_ensemble(scenario, range(runs), workers=workers)
    return time.perf_counter() - began


def ensemble(_request: Request) -> Figures:
    """Runs a second of the small market, what a second processor adds (median of pairs), tiny runs a minute.

    ``tiny_runs_per_minute`` uses every processor, as a user's ensemble does.
    """
    small, tiny = load_scenario(SMALL), load_scenario(TINY)
    _ensemble_seconds(small, 2, 1)
    pairs = [[_ensemble_seconds(small, _SMALL_RUNS, workers) for workers in (1, 2)] for _ in range(_REPEATS)]
    best = min(_ensemble_seconds(tiny, _TINY_RUNS, processors()) for _ in range(_REPEATS))
    speedup = statistics.median(one / two for one, two in pairs)
    return {
        "runs_per_second_1core": _SMALL_RUNS / min(one for one, _ in pairs),
        "speedup_2cores": speedup if processors() > 1 else None,
        "tiny_runs_per_minute": 60.0 * _TINY_RUNS / best,
    }


_RESIDENT = """
import gc, pathlib, sys
from cascade_sim.model import CascadeModel
from cascade_sim.scenario import load_scenario

def resident():
    gc.collect()
    return next(int(line.split()[1]) for line in pathlib.Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmRSS"))

scenario = load_scenario(sys.argv[1])
first = CascadeModel(scenario, rng=0)
first.run()
before = resident()
kept = [CascadeModel(scenario, rng=seed) for seed in range(1, 9)]
for model in kept:
    model.run()
print((resident() - before) / len(kept) / 1024)
"""


def memory(_request: Request) -> Figures:
    """Resident MiB that one more world of the small market adds once it has run; Linux only."""
    if not Path("/proc/self/status").exists():
        return {"rss_small_run_mib": None}
    done = subprocess.run([sys.executable, "-c", _RESIDENT, str(SMALL)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RunFailed(f"small market: expected status 0, received {done.returncode}")
    return {"rss_small_run_mib": float(done.stdout)}


def start(_request: Request) -> Figures:
    """Seconds of the default ``run`` with charts and report from an empty kernel cache and from a full one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cold, cold_mib = _launch(folder / "cache", folder / "first")
        warm, warm_mib = min(_launch(folder / "cache", folder / f"again-{k}") for k in range(3))
    return {
        "cold_seconds": cold,
        "warm_seconds": warm,
        "cold_resident_mib": cold_mib,
        "warm_resident_mib": warm_mib,
    }


_LONG = ("run.steps=25000", "background.market_rate=400", "background.market_size=0.03")
_MANY_TRADES = 10_000_000


def long_run(_request: Request) -> Figures:
    """Peak resident MiB of a ``run`` with ten million trades, from the first import to the saved folder."""
    changes = [word for change in _LONG for word in ("--set", change)]
    with tempfile.TemporaryDirectory() as name:
        out, cache = Path(name) / "run", cache_directory()
        _, mib = _launch(cache.parent if cache else Path(name) / "cache", out, *changes)
        trades = json.loads((out / "summary.json").read_text())["trades"]
    if trades < _MANY_TRADES:
        raise RunFailed(expectation("long run", f"at least {_MANY_TRADES} trades", trades))
    return {"rss_ten_million_trades_mib": mib}


def scaling(_request: Request) -> Figures:
    """Speed by number of leveraged traders, what a liquidation and a Python rule cost, and memory per trader."""
    return {
        **steps_per_second(),
        "growth_fixed_activity": growth(),
        "ns_per_liquidation": ns_per_liquidation(),
        "python_rule_step_us": python_rule_step_us(),
        "bytes_per_account": bytes_per_account(),
    }


class _Quoter(Participant):
    """Sends one limit order in each step, at a distance from the mid of its own; some of them trade."""

    ticks: int = 0

    def decide(self, market: ParticipantMarket) -> None:
        price = market.mid + self.ticks * market.tick_size
        if self.unique_id % 2:
            market.buy(1.0, price)
        else:
            market.sell(1.0, price)


class _Quoters(Cohort):
    """The same for all of its accounts at once, at random distances."""

    def decide(self, market: CohortMarket) -> None:
        side = np.where(market.uniform(0) < 0.5, 1, -1)
        price = market.mid + market.tick_size * (10.0 * market.uniform(1) - 5.0)
        market.submit(side, 1.0, price, OrderType.LIMIT)


def _agent_orders_per_second(count: int, steps: int, *, cohort: bool) -> float:
    """Orders per second of a run in which nearly all orders come from Python agents."""
    quiet = {"traders.count": 0, "traders.open_interest": 0.0, "dealers.count": 0}
    quiet |= {"shock.quantity": 0.0, "shock.news": 0.0}
    short = {"run.steps": steps, "run.burn_in_steps": 2, "run.record": "summary"}
    model = CascadeModel(load_scenario("gamma_shock").with_overrides(quiet | short), rng=1)
    if cohort:
        model.add_cohort(_Quoters(model, count=count))
    else:
        for number in range(count):
            model.add_participant(_Quoter(model, ticks=number // 2 % 7 - 3))
    model.run(until=0)
    began = time.perf_counter()
    model.run()
    seconds = time.perf_counter() - began
    model.close()
    return count * steps / seconds


def _single_orders_per_second(count: int) -> float:
    """Orders per second through ``OrderBook.limit``, one after the other; about half of them trade."""
    rng = np.random.default_rng(1)
    sides = [Side.BUY if buys else Side.SELL for buys in rng.random(count) < 0.5]
    ticks, quantities = rng.integers(19_995, 20_006, count).tolist(), rng.integers(1, 20, count).tolist()
    book = OrderBook()
    began = time.perf_counter()
    for number, (side, tick, quantity) in enumerate(zip(sides, ticks, quantities, strict=True)):
        book.limit(side, tick, quantity, number & 1023)
    return count / (time.perf_counter() - began)


def agents(_request: Request) -> Figures:
    """Orders per second from Python, with the agents' own code: through the book, batched, and from a cohort."""
    single = [_single_orders_per_second(50_000) for _ in range(_REPEATS + 1)]
    batch = [_agent_orders_per_second(1_000, 100, cohort=False) for _ in range(_REPEATS + 1)]
    cohort = [_agent_orders_per_second(100_000, 15, cohort=True) for _ in range(_REPEATS + 1)]
    return {
        "orders_per_second_single": max(single[1:]),
        "orders_per_second_batch": max(batch[1:]),
        "orders_per_second_cohort": max(cohort[1:]),
    }


def soak(request: Request) -> Figures:
    """A hundred million messages through two busy markets: invariants that failed on the way, time per message."""
    found = run_soak(request.soak)
    for line in found.failures:
        sys.stderr.write(f"{line}\n")
    return {
        "soak_messages": float(found.messages),
        "soak_failures": float(len(found.failures)),
        "soak_ns_per_message": 1.0e9 * found.seconds / found.messages,
        "soak_growth_mib": found.growth_mib,
    }


MEASUREMENTS: Mapping[str, Callable[[Request], Figures]] = {
    "order_book": order_book,
    "engine": engine,
    "recording": recording,
    "features": features,
    "analysis": analysis,
    "scaling": scaling,
    "agents": agents,
    "ensemble": ensemble,
    "memory": memory,
    "start": start,
    "long_run": long_run,
    "soak": soak,
}
"""Every measurement by name; each returns figures whose names carry their unit unless they are ratios."""


def bench(request: Request, only: Collection[str] = (), *, check_only: bool = False) -> Figures:
    """Take the measurements named in ``only``, or all.

    Parameters
    ----------
    request : Request
    only : collection of str
        Names in :data:`MEASUREMENTS`.
    check_only : bool
        Look at the request and measure nothing.

    Returns
    -------
    dict
        Figure -> value; None where this machine cannot measure it.

    Raises
    ------
    UnknownNameError
        If a name is not known.
    DataFileError
        If the yardstick cannot be read or compiled.
    RunFailed
        If what is measured gives wrong results.
    """
    for name in only:
        if name not in MEASUREMENTS:
            raise UnknownNameError("measurement", name, list(MEASUREMENTS))
    if request.yardstick is not None and not request.yardstick.is_file():
        raise DataFileError(expectation("--yardstick", "a C++ source file", str(request.yardstick)))
    if check_only:
        return {}
    figures: Figures = {}
    for name, measure in MEASUREMENTS.items():
        if not only or name in only:
            figures.update(measure(request))
    return figures
