"""Draws stay with those they belong to: equal seeds repeat a run, and a change moves nobody else's numbers."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from draw_log import BASE, Address, DrawLog
from numpy.typing import NDArray
from test_model import small

import cascade_sim as cs
from cascade_sim.agents.leveraged_trader import LeveragedTraders
from cascade_sim.clearing.views import distressed_view
from cascade_sim.core.actors.providers import acting_order
from cascade_sim.domain.enums import Cause
from cascade_sim.result import RESULT_TABLES, RunResult, json_ready

ROOT = Path(__file__).resolve().parents[2]
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "more_traders": {"traders.count": BASE["traders.count"] + 1_000},
    "no_dealers": {"dealers.count": 0},
    "no_hedging": {"switches.delta_hedging": False},
    "one_more_provider": {"liquidity.count": BASE["liquidity.count"] + 1},
    "other_sizing": {"clearing.sizing": {"name": "full"}},
    "random_order": {"clearing.priority": {"name": "random"}},
    "late_hedges": {"latency.dealers": {"delay_seconds": 1.0, "jitter_seconds": 2.0}},
    "late_background": {"latency.background": {"delay_seconds": 1.0, "jitter_seconds": 2.0}},
}
CHANGED = tuple(name for name in VARIANTS if name != "base")
BACKGROUND = (
    "NEWS",
    "LIMIT_COUNT",
    "LIMIT",
    "PATIENT_COUNT",
    "PATIENT",
    "PATIENT_STOCK",
    "MARKET_COUNT",
    "MARKET",
    "IMBALANCE",
)
"""Purposes of the background flow at fixed rates."""
RESTING = ("LIMIT", "PATIENT", "PATIENT_STOCK")
LIFETIME_DRAW = 3
"""Drawn for orders that rest, so whether it is asked for depends on the book; nothing else does."""


def run_python(code: str, *arguments: str, **environment: str) -> str:
    """Run code in a fresh interpreter that finds the package and the test helpers; returns what it printed."""
    path = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "tests", ROOT / "tests" / "unit"))
    done = subprocess.run(
        [sys.executable, "-W", "error", *code.split(maxsplit=1), *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DrawLog]:
    """Everything each variant drew, recorded with the compiler off."""
    target = tmp_path_factory.mktemp("draws") / "logs.pickle"
    script = str(ROOT / "tests" / "unit" / "draw_log.py")
    run_python(script, "3", json.dumps(VARIANTS), str(target), NUMBA_DISABLE_JIT="1")
    found = pickle.loads(target.read_bytes())
    return {name: DrawLog(**values) for name, values in found.items()}


def of_background(log: DrawLog) -> list[tuple[Address, int]]:
    """Return the background draws that do not depend on the book, in order."""
    return [
        (address, word)
        for address, word in log.draws
        if address[0] in BACKGROUND and not (address[0] in RESTING and address[3] == LIFETIME_DRAW)
    ]


def of_purpose(log: DrawLog, purpose: str) -> dict[Address, int]:
    """Return the draws of one purpose by address."""
    return {address: word for address, word in log.draws if address[0] == purpose}


def test_the_recorded_runs_did_something_and_parted(logs: dict[str, DrawLog]) -> None:
    base = logs["base"]
    assert base.totals["hedges"] > 0
    assert base.totals["liquidated"] > 0
    assert {address[0] for address, _ in base.draws} >= {
        *BACKGROUND,
        "TRADER",
        "DEALER",
        "PROVIDER",
        "BELIEF",
    }
    for name in ("more_traders", "no_dealers", "no_hedging", "one_more_provider", "other_sizing"):
        assert logs[name].mid != base.mid, name
        assert logs[name].totals != base.totals, name


@pytest.mark.parametrize("name", CHANGED)
def test_every_background_draw_stays(logs: dict[str, DrawLog], name: str) -> None:
    base, other = logs["base"], logs[name]
    assert len(of_background(base)) > 1_000
    assert of_background(other) == of_background(base)
    assert other.orders == base.orders
    assert other.fundamental == base.fundamental


@pytest.mark.parametrize("name", CHANGED)
def test_an_address_means_the_same_number_in_both_runs(logs: dict[str, DrawLog], name: str) -> None:
    base, other = dict(logs["base"].draws), dict(logs[name].draws)
    common = base.keys() & other.keys()
    assert len(common) > 1_500
    assert {address: base[address] for address in common} == {address: other[address] for address in common}
    for address in (base.keys() ^ other.keys()) & {a for a in base | other if a[0] in BACKGROUND}:
        assert address[0] in RESTING
        assert address[3] == LIFETIME_DRAW


def test_no_two_uses_share_an_address(logs: dict[str, DrawLog]) -> None:
    for log in logs.values():
        # Sorting looks at a word as often as it compares it; a belief is held for an epoch of many steps; orders of
        # one account that arrive together keep their order.
        shared = ("ORDERING", "BELIEF", "ARRIVAL")
        uses = Counter(address for address, _ in log.draws if address[0] not in shared)
        assert [address for address, count in uses.items() if count > 1] == []


@pytest.mark.parametrize("name", CHANGED)
def test_others_keep_their_own_draws(logs: dict[str, DrawLog], name: str) -> None:
    base, other = logs["base"], logs[name]
    purposes = {"TRADER", "PROVIDER", "DEALER", "ORDERING"} - ({"DEALER"} if name == "no_dealers" else set())
    for purpose in purposes:
        before, after = of_purpose(base, purpose), of_purpose(other, purpose)
        assert before
        assert before.items() <= after.items(), purpose
    count = len(base.providers)
    assert count == BASE["liquidity.count"]
    assert other.providers[:count] == base.providers


def test_only_what_was_added_draws_more(logs: dict[str, DrawLog]) -> None:
    base = Counter(address[0] for address, _ in logs["base"].draws)
    grown = {
        name: {
            purpose
            for purpose, count in Counter(a[0] for a, _ in logs[name].draws).items()
            if count > base[purpose]
        }
        for name in CHANGED
    }
    book_dependent = {*RESTING, "BELIEF"}
    assert grown["more_traders"] - book_dependent == {"TRADER", "ENTRANT"}
    assert grown["one_more_provider"] - book_dependent == {"PROVIDER", "ORDERING"}
    assert grown["random_order"] - book_dependent == {"PRIORITY"}
    for name in ("late_hedges", "late_background"):
        assert grown[name] - book_dependent == {"LATENCY", "ARRIVAL"}
    for name in ("no_dealers", "no_hedging", "other_sizing"):
        assert grown[name] <= book_dependent


@pytest.mark.parametrize(
    "changes", [{"liquidity.count": 5}, {"dealers.count": 0}, {"holders.count": 21}], ids=str
)
def test_others_leave_the_random_priority_of_a_trader_alone(changes: dict[str, Any]) -> None:
    columns = []
    for scenario in (small(), small(**changes)):
        model = cs.CascadeModel(scenario, rng=3)
        ids = np.arange(50) + model.populations[LeveragedTraders].first_account
        view = distressed_view(model.state, ids, model.instrument.lot_size, model.instrument.tick_size)
        columns.append(view.random)
    np.testing.assert_array_equal(columns[0], columns[1])


@pytest.mark.kernel
def test_one_more_provider_does_not_reorder_the_others() -> None:
    for step in range(-20, 60):
        few, many = np.empty(7, np.int64), np.empty(8, np.int64)
        acting_order(np.uint64(5), step, 7, few)
        acting_order(np.uint64(5), step, 8, many)
        assert sorted(many) == list(range(8))
        assert many[many < 7].tolist() == few.tolist()


def digests(result: RunResult) -> dict[str, str]:
    """Return a hash of every column, index and dtype of each table; equal exactly when all bits are."""
    found = {}
    for name in RESULT_TABLES:
        frame: pd.DataFrame = getattr(result, name)
        seen = hashlib.sha256(repr((len(frame), frame.dtypes.astype(str).to_dict())).encode())
        for column in frame:
            values = frame[column]
            if isinstance(values.dtype, pd.CategoricalDtype):
                seen.update(repr(list(values.cat.categories)).encode())
                values = values.cat.codes
            seen.update(pickle.dumps(values.to_numpy().tolist()))
        found[name] = seen.hexdigest()
    found["summary"] = hashlib.sha256(json.dumps(json_ready(result.summary)).encode()).hexdigest()
    return found


def test_equal_seeds_give_equal_tables_here_and_in_a_fresh_process() -> None:
    first, second = (cs.run(small(), seed=3) for _ in range(2))
    assert sum(len(getattr(first, name)) > 0 for name in RESULT_TABLES) >= 7
    for name in RESULT_TABLES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)
    expected = digests(first)
    assert digests(second) == expected
    other = digests(cs.run(small(), seed=4))
    assert all(other[name] != expected[name] for name in RESULT_TABLES if len(getattr(first, name)) > 0)
    code = "import json, test_draws as t; print(json.dumps(t.digests(t.cs.run(t.small(), seed=3))))"
    assert json.loads(run_python(f"-c {code}", PYTHONHASHSEED="12345")) == expected


def recorded(changes: dict[str, Any], seed: int) -> tuple[cs.CascadeModel, dict[str, NDArray[Any]]]:
    """Run the small scenario in compiled code; returns the model and its raw tables."""
    model = cs.CascadeModel(small(**changes), rng=seed)
    model.run()
    model.recorder.drain(model.state.tape)
    return model, {name: model.recorder.raw(name) for name in ("series", "trades", "events")}


def assert_rows_equal(
    first: NDArray[Any], second: NDArray[Any], leave_out: frozenset[str] = frozenset()
) -> None:
    """Compare records field by field, so that padding does not count."""
    for name in first.dtype.names or ():
        if name not in leave_out:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("seed", [3, 4, 6])
@pytest.mark.parametrize(
    "changes",
    [
        {"traders.count": 1_400},
        {"dealers.count": 0},
        {"liquidity.count": 5},
        {"clearing.priority": {"name": "largest_notional_first"}, "clearing.maintenance_margin": 0.018},
        {"market.mark_price": {"name": "last"}},
        {"switches.liquidation": False},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_the_fundamental_is_the_same_over_a_whole_run(changes: dict[str, Any], seed: int) -> None:
    (_, base), (_, other) = recorded({}, seed), recorded(changes, seed)
    for name in ("step", "fundamental", "index"):
        np.testing.assert_array_equal(base["series"][name], other["series"][name])
    assert not np.array_equal(base["series"]["mark"], other["series"]["mark"])


FORCED = (Cause.LIQUIDATION, Cause.BACKSTOP, Cause.DELEVERAGING)


@pytest.mark.parametrize("seed", [3, 4, 6])
@pytest.mark.parametrize(
    ("switch", "causes"),
    [
        ("delta_hedging", (Cause.DELTA_HEDGE,)),
        ("liquidation", FORCED),
        ("stop_losses", (Cause.STOP_LOSS,)),
        ("arbitrage", (Cause.ARBITRAGE,)),
    ],
)
def test_everything_is_equal_until_a_mechanism_first_trades(
    switch: str, causes: tuple[Cause, ...], seed: int
) -> None:
    (_, base), (_, other) = recorded({}, seed), recorded({f"switches.{switch}": False}, seed)
    mine = np.isin(base["trades"]["taker_cause"], causes)
    assert not np.isin(other["trades"]["taker_cause"], causes).any()
    assert mine.any()
    first = int(np.argmax(mine))
    step = int(base["trades"]["step"][first])
    # Breaches and hedges take event numbers before anything of them is filled.
    numbered = frozenset({"taker_event"})
    assert_rows_equal(base["trades"][:first], other["trades"][:first], numbered)
    before = base["series"]["step"] < step
    distress = frozenset({"distressed", "queue_notional", "throughput_binding"})
    assert_rows_equal(base["series"][before], other["series"][before], distress)
    assert first >= 50
    assert before.sum() >= 30
    assert not np.array_equal(base["series"]["mid"], other["series"]["mid"])


@pytest.mark.parametrize("seed", [3, 4, 6])
def test_without_dealers_trades_are_equal_until_the_first_hedge(seed: int) -> None:
    (model, base), (_, other) = recorded({}, seed), recorded({"dealers.count": 0}, seed)
    mine = np.isin(base["trades"]["taker_cause"], Cause.DELTA_HEDGE)
    first = int(np.argmax(mine))
    assert first >= 50
    gone = int(model.settings.dealers.count)
    after = model.first_participant
    accounts = frozenset({"taker_account", "maker_account"})
    head, rest = base["trades"][:first], other["trades"][:first]
    assert_rows_equal(head, rest, accounts | {"taker_event"})
    for name in accounts:
        # Dealers stand before participants and traders, so those move up by their number.
        moved = head[name] - gone * (head[name] >= after)
        np.testing.assert_array_equal(moved, rest[name])


@pytest.mark.parametrize("seed", [3, 4, 6])
def test_more_traders_change_no_trade_before_their_first(seed: int) -> None:
    (_, base), (_, other) = recorded({}, seed), recorded({"traders.count": 1_400}, seed)
    theirs = (Cause.SPECULATION, Cause.STOP_LOSS, *FORCED)
    firsts = [int(np.argmax(np.isin(run["trades"]["taker_cause"], theirs))) for run in (base, other)]
    first = min(firsts)
    assert first >= 50
    assert_rows_equal(base["trades"][:first], other["trades"][:first], frozenset({"taker_event"}))
    step = min(int(run["trades"]["step"][first]) for run in (base, other))
    before = base["series"]["step"] < step
    for name in ("mid", "mark", "best_bid", "best_ask", "bid_depth", "ask_depth", "last"):
        np.testing.assert_array_equal(base["series"][name][before], other["series"][name][before])
