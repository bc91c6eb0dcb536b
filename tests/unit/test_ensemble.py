"""An ensemble is its runs one by one: same rows, whatever the order, the chunks and the threads."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reference import figures as twin

import cascade_sim as cs
from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.blank import renew
from cascade_sim.core.drivers.state import plain
from cascade_sim.core.ground.records import SCRATCH, marks_of
from cascade_sim.core.layout.book import BOOK
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import CapacityError, ScenarioError
from cascade_sim.lab import ensemble
from cascade_sim.lab.single import collect, figures, measure_conservation, run_facts
from cascade_sim.metrics import summarise
from cascade_sim.model import CAPACITIES

SMALL: dict[str, Any] = {
    "run.steps": 60,
    "run.burn_in_steps": 10,
    "traders.count": 200,
    "traders.open_interest": 20_000.0,
    "traders.entrants.quantity": 300.0,
    "clearing.insurance_fund": 10_000.0,
    "dealers.count": 3,
    "dealers.hedging": {"name": "clock", "interval_seconds": 6.0},
    "liquidity.count": 4,
    "options.strikes": 6,
    "background.patient_orders": 200,
    "shock.at_seconds": 10.0,
    "shock.duration_seconds": 10.0,
    "shock.quantity": 3_000.0,
    "shock.news": -0.04,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "gamma_shock": {},
    "no_dealers": {"dealers.count": 0},
    "no_burn_in": {"run.burn_in_steps": 0},
    "linear_impact": {"market.price_formation.name": "linear_impact"},
    "stops_and_top_ups": {"traders.stop_loss.share": 0.4, "traders.top_up.share": 0.4},
    "short_squeeze": {"traders.long_share": 0.1, "shock.side": "buy", "shock.news": 0.04},
    "fees": {"market.taker_fee_rate": 5e-4, "market.maker_fee_rate": -1e-4},
    "window": {"run.event_window_seconds": 20.0, "liquidity.requote_seconds": 3.0},
}
SEEDS = (3, 11, 2**40 + 5)


def small(**changes: Any) -> cs.Scenario:
    """Return a little gamma_shock that hedges and liquidates within a minute."""
    return cs.load_scenario("gamma_shock").with_overrides({**SMALL, **changes})


_MASK = 2**64 - 1


def _mixed(word: int) -> int:
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


def _chained(key: int, first: int, second: int) -> int:
    inner = _mixed(key ^ (first * 0xABC98388FB8FAC03 & _MASK))
    return _mixed(inner ^ (second * 0x8CB92BA72F3D8DD7 & _MASK))


def fingerprint(model: cs.CascadeModel) -> int:
    """Hash of every recorded mark from step 0 on, then of cash and position of every account."""
    series = model.recorder.raw("series")
    series = series[series["step"] >= 0]
    value = 0
    for step, bits in zip(
        series["step"].tolist(), np.ascontiguousarray(series["mark"]).view(np.int64).tolist(), strict=True
    ):
        value = _chained(value, bits, step)
    accounts = model.state.accounts
    for cash, position in zip(accounts["cash"].tolist(), accounts["position"].tolist(), strict=True):
        value = _chained(value, cash, position)
    return value


def setting_of(model: cs.CascadeModel) -> twin.Setting:
    """What the slow twin needs beside the tables."""
    facts, start = run_facts(model.main), model.start_accounts
    assert start is not None
    longs = start["position"][start["account_class"] == int(AccountClass.LEVERAGED_TRADER)].sum()
    options = None
    if model.main.options is not None and model.settings.dealers.count:
        grid, held = model.main.options
        terms = grid.strike, grid.years, grid.is_call, grid.implied_volatility, grid.forward_ratio
        options = twin.Options(*terms, held)
    return twin.Setting(
        steps=facts.steps,
        dt=facts.dt,
        first=facts.window_start,
        last=facts.window_end,
        shock=facts.first_shock_step,
        direction=1 if longs >= 0 else -1,
        initial_price=model.instrument.tick_to_price(model.initial_tick),
        late=model.settings.latency.liquidation.delay_seconds > 0.0,
        options=options,
    )


def plain_tables(result: cs.RunResult) -> dict[str, twin.Table]:
    """The tables of a result as arrays, names as text and missing ids as -1."""
    return {
        name: {
            column: table[column].astype(str).to_numpy()
            if isinstance(table[column].dtype, pd.CategoricalDtype)
            else table[column].fillna(-1).to_numpy()
            if pd.api.types.is_extension_array_dtype(table[column].dtype)
            else table[column].to_numpy()
            for column in table
        }
        for name, table in (
            (name, getattr(result, name)) for name in ("series", "events", "trades", "transfers", "accounts")
        )
    }


def one_by_one(scenario: cs.Scenario, seed: int) -> dict[str, Any]:
    """What a single run with everything recorded says under the names of the ensemble's columns.

    What its tables tell is told by the slow twin as well, which adds in another order and reads shortened numbers.
    """
    model = cs.CascadeModel(scenario.with_overrides({"run.record": "full"}), rng=seed)
    model.run()
    result = collect(model.main)
    error = measure_conservation(model.main, result)
    error += sum(measure_conservation(each, collect(each)) for each in list(model.markets.values())[1:])
    summary = summarise(figures(model, next(iter(model.markets))), {"conservation_error": error})
    losses = {f"loss_by_class_{name}": value for name, value in summary.pop("loss_by_class").items()}
    row = {name: np.nan if value is None else value for name, value in (summary | losses).items()}
    for name, told in twin.figures(plain_tables(result), setting_of(model)).items():
        expected = pytest.approx(np.nan if told is None else told, rel=1e-5, abs=1e-4, nan_ok=True)
        assert row[name] == expected, name
    return row | {"seed": seed, "fingerprint": fingerprint(model)}


def assert_rows(frame: pd.DataFrame, scenario: cs.Scenario, seeds: Sequence[int]) -> None:
    """Compare every figure of every row with the single run's, exactly."""
    assert list(frame.columns) == list(frame.attrs["units"])
    assert frame["seed"].tolist() == list(seeds)
    single = {seed: one_by_one(scenario, seed) for seed in set(seeds)}
    for place, seed in enumerate(seeds):
        for name in frame.columns:
            received, expected = frame[name].iloc[place], single[seed][name]
            equal = received == expected or (np.isnan(received) and np.isnan(expected))
            assert equal, f"{name} of seed {seed}: expected {expected}, received {received}"


@pytest.mark.kernel
def test_an_ensemble_is_its_runs_one_by_one() -> None:
    # Small: it also runs with the compiler off.
    short = {
        "run.steps": 20,
        "run.burn_in_steps": 3,
        "shock.at_seconds": 4.0,
        "background.patient_orders": 60,
    }
    scenario = small(**VARIANTS["stops_and_top_ups"], **short)
    assert_rows(cs.run_ensemble(scenario, (3, 4, 3), workers=1), scenario, (3, 4, 3))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_reused_world_keeps_no_trace_of_the_runs_before(variant: str) -> None:
    scenario = small(**VARIANTS[variant])
    forth = cs.run_ensemble(scenario, SEEDS, workers=1)
    assert_rows(forth, scenario, SEEDS)
    assert (forth["liquidated_accounts"] > 0).any()
    back = cs.run_ensemble(scenario, SEEDS[::-1], workers=2).iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(forth, back, check_exact=True)
    alone = pd.concat([cs.run_ensemble(scenario, [seed], workers=1) for seed in SEEDS], ignore_index=True)
    pd.testing.assert_frame_equal(forth, alone, check_exact=True)


@pytest.mark.parametrize("name", ["small", "tiny"])
def test_the_benchmark_markets_are_ensembles_of_single_runs(name: str) -> None:
    changes = {"run.steps": 100} if name == "small" else {}
    scenario = cs.load_scenario(benchmark(name)).with_overrides(changes)
    assert_rows(cs.run_ensemble(scenario, SEEDS, workers=2), scenario, SEEDS)


def benchmark(name: str) -> Path:
    """Path of a benchmark market."""
    return Path(cs.__file__).parent / "scenarios" / "benchmark" / f"{name}.yaml"


def test_flows_that_follow_the_book_run_too() -> None:
    flow = {
        "name": "santa_fe",
        "market_rate": 2.0,
        "limit_rate": 0.5,
        "cancel_rate": 0.02,
        "window_ticks": 20,
    }
    settings = {name: value for name, value in SMALL.items() if not name.startswith("background.")}
    settings |= {"background": flow, "liquidity.count": 0}
    scenario = cs.load_scenario("gamma_shock").with_overrides(settings)
    assert_rows(cs.run_ensemble(scenario, (5, 6), workers=1), scenario, (5, 6))


def _used_differently(dtype: np.dtype[Any], left: Any, right: Any, place: str) -> list[str]:
    """Names of the fields in which two records differ, those that every run writes before it reads them left out."""
    found = []
    for field, (kind, *_) in (dtype.fields or {}).items():
        mark = marks_of(dtype).get(field)
        if mark is not None and mark.rule == SCRATCH:
            continue
        if kind.base.names:
            rows = zip(np.atleast_1d(left[field]), np.atleast_1d(right[field]), strict=True)
            for number, (mine, theirs) in enumerate(rows):
                if mine.tobytes() != theirs.tobytes():
                    found += _used_differently(kind.base, mine, theirs, f"{place}.{field}[{number}]")
        elif np.asarray(left[field]).tobytes() != np.asarray(right[field]).tobytes():
            found.append(f"{place}.{field}")
    return found


RESET_WORLDS: dict[str, dict[str, Any]] = {
    "stops_and_top_ups": VARIANTS["stops_and_top_ups"],
    "late_orders": {"latency.liquidity_providers": {"delay_seconds": 3.0, "jitter_seconds": 2.0}},
    "halts": {"venue.price_band.half_width": 0.005, "venue.price_band.halt_seconds": 5.0},
}


@pytest.mark.kernel
@pytest.mark.parametrize("world", RESET_WORLDS)
def test_a_reset_world_is_the_blank_one_wherever_it_is_read(world: str) -> None:
    short = {"run.steps": 15, "run.burn_in_steps": 3, "shock.at_seconds": 2.0, "run.record": "summary"}
    scenario = small(**RESET_WORLDS[world], **short)
    (worker,), (fresh,) = ensemble._crew(scenario, 1), ensemble._crew(scenario, 1)
    assert isinstance(worker, ensemble._CompiledWorker)
    assert isinstance(fresh, ensemble._CompiledWorker)
    rows = plain(np.zeros(1, lay.FIGURE_ROW).view(np.recarray))
    worker.run([7], ensemble.market_keys([7], ["main"]), rows, np.zeros(1, np.int64))
    used, blank = worker.model.system, fresh.model.system
    assert int(used.books[0].live_orders) > 0
    (first_keys,) = ensemble.market_keys([0], ["main"])
    renew(
        *(plain(array) for array in (used.worlds, used.books, used.watch)),
        worker.plans,
        worker.blank,
        first_keys,
    )
    if int(used.worlds[0].activity.config.enabled):
        # Those who act are emptied as they are drawn anew.
        used.worlds[0].activity = blank.worlds[0].activity
    assert _used_differently(lay.WORLD, used.worlds[0], blank.worlds[0], "world") == []
    assert _used_differently(BOOK, used.books[0], blank.books[0], "book") == []
    np.testing.assert_array_equal(used.accounts, blank.accounts)
    np.testing.assert_array_equal(used.watch, blank.watch)


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**32, 2**63 + 9, 2**64 - 1, 2**64 + 3, -1])
def test_keys_are_those_of_a_seed_sequence(seed: int) -> None:
    expected = np.random.SeedSequence(seed & _MASK).generate_state(1, np.uint64)[0]
    assert ensemble.seed_keys([4, seed]).tolist()[1] == int(expected)


MECHANISMS: dict[str, dict[str, Any]] = {
    "late_orders": {
        "latency.leveraged_traders": {"delay_seconds": 3.0, "jitter_seconds": 2.0},
        "latency.liquidity_providers.delay_seconds": 2.0,
        "latency.liquidation.delay_seconds": 1.0,
        "traders.stop_loss.share": 0.4,
    },
    "halts": {"venue.price_band.half_width": 0.005, "venue.price_band.halt_seconds": 5.0},
    "breaker": {
        "venue.circuit_breaker": {"levels": [0.01], "halt_seconds": [6.0], "window_seconds": 20.0},
    },
    "funding": {"market.funding.interval_seconds": 20.0},
    "index": {
        "index.sources": {"one": {"delay_seconds": 2.0}, "two": {"weight": 2.0, "noise": 1e-4}},
        "market.mark_price": {"name": "index"},
    },
    "actors": {"traders.activity.wake_rate": 60.0, "traders.activity.momentum_share": 0.5},
    "rule_in_python": {"clearing.priority.name": f"{__name__}:Newest"},
    "agents_in_python": {
        "agents": {
            "noise": {"name": "trading_agents:Noise", "capital": 1e6},
            "many": {"name": "trading_agents:NoiseCohort", "capital": 1e5, "count": 5},
        }
    },
}
"""What only the full driver knows, and what leaves compiled code."""


@dataclass(frozen=True)
class Newest:
    """Close the account with the highest number first."""

    def score(self, accounts: Any) -> Any:
        """Return minus the number of each account."""
        return -np.asarray(accounts.account_id, dtype=np.float64)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_every_mechanism_runs_in_an_ensemble(mechanism: str) -> None:
    scenario = small(**MECHANISMS[mechanism])
    forth = cs.run_ensemble(scenario, SEEDS, workers=1)
    assert_rows(forth, scenario, SEEDS)
    back = cs.run_ensemble(scenario, SEEDS[::-1], workers=2).iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(forth, back, check_exact=True)
    assert (forth["conservation_error"] == 0).all()


def several_markets() -> cs.Scenario:
    """Return a little spot_and_perpetual with portfolios that are closed."""
    changes = {name: value for name, value in SMALL.items() if not name.startswith("dealers.hedging")}
    changes |= {"portfolios.count": 60, "portfolios.open_interest": 4_000.0}
    return cs.load_scenario("spot_and_perpetual").with_overrides(changes)


def test_several_markets_run_in_an_ensemble() -> None:
    scenario = several_markets()
    frame = cs.run_ensemble(scenario, SEEDS, workers=1)
    assert_rows(frame, scenario, SEEDS)
    assert (frame["liquidated_accounts"] > 0).any()
    assert frame["fingerprint"].nunique() == len(SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gamma_shock_halted", "spot_and_perpetual"])
def test_scenarios_of_the_library_are_ensembles_of_single_runs(name: str) -> None:
    scenario = cs.load_scenario(name)
    assert_rows(cs.run_ensemble(scenario, SEEDS), scenario, SEEDS)


def test_wrong_requests_are_refused_in_one_line() -> None:
    with pytest.raises(ScenarioError, match=r"^workers: expected at least 1, received 0"):
        cs.run_ensemble(small(), [1], workers=0)
    none = cs.run_ensemble(small(), [])
    assert len(none) == 0
    assert {"seed", "bad_debt", "fingerprint"} <= set(none.columns)


def test_a_name_and_a_number_of_runs_are_accepted(tmp_path: Path) -> None:
    scenario = small()
    file = tmp_path / "small.yaml"
    file.write_text(scenario.to_yaml(), encoding="utf-8")
    expected = cs.run_ensemble(scenario, [0, 1, 2], workers=1)
    for given in (scenario, file, str(file)):
        pd.testing.assert_frame_equal(cs.run_ensemble(given, 3, workers=1), expected)
    for seeds in (0, -1, True, 2.5):
        with pytest.raises(ScenarioError, match="seeds: expected"):
            cs.run_ensemble(scenario, seeds)  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match="scenario: expected"):
        cs.run_ensemble("gama_shock", 3)
    assert cs.run(str(file), probe=False).summary == cs.run(scenario, probe=False).summary
    alone = cs.counterfactual(file, mechanisms=["liquidation"], probe=False)
    assert sorted(alone.table["liquidation"]) == [False, True]


def test_a_seed_that_cannot_be_opened_is_named() -> None:
    scenario = small(**{"holders.collateral_share": 1e6})
    with pytest.raises(ScenarioError, match=r"^seed 4: capital: expected at most .* in a class, received"):
        cs.run_ensemble(scenario, [4])


def test_a_run_that_outgrows_the_book_is_named_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # An order larger than the book can hold, in the step of the shock, which is refused before the run.
    monkeypatch.setattr("cascade_sim.model.market.check_capacities", lambda *_: None)
    scenario = small(**{"shock.quantity": 9e8})
    what = CAPACITIES[lay.CAPACITY_SIZE]
    with pytest.raises(CapacityError, match=f"^seed 12, step 1[0-9]: expected room for more {what}"):
        cs.run_ensemble(scenario, [12, 13], workers=1)


def test_an_interrupt_keeps_what_had_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, seen = small(), threading.Event()

    def interrupt(done: int, _total: int) -> None:
        if done >= 3:
            seen.set()
            raise KeyboardInterrupt

    with pytest.raises(cs.EnsembleInterrupted) as caught:
        cs.run_ensemble(scenario, range(1_000_000), workers=1, progress=interrupt)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert seen.is_set()
    rows = caught.value.rows
    assert 3 <= len(rows) < 1_000_000
    again = cs.run_ensemble(scenario, range(3), workers=1)
    pd.testing.assert_frame_equal(rows.iloc[:3], again, check_exact=True)


def test_the_documented_example_says_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "ensembles.md"
    text = page.read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"{names['runs']['max_adverse_excursion'].min()} quote"
    listed = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*", text, re.MULTILINE))))
    runs = names["runs"]
    assert {name for name in runs.columns if not name.startswith("loss_by_class_")} <= listed | {"seed"}


def test_progress_ends_with_all_runs() -> None:
    calls: list[tuple[int, int]] = []
    cs.run_ensemble(small(), range(5), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (5, 5)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.slow
def test_tens_of_thousands_of_tiny_runs() -> None:
    scenario = cs.load_scenario(benchmark("tiny"))
    frame = cs.run_ensemble(scenario, range(40_000))
    assert (frame["conservation_error"] == 0).all()
    assert frame["fingerprint"].nunique() == 40_000
    places = [0, 17, 20_003, 39_999]
    assert_rows(frame.iloc[places].reset_index(drop=True), scenario, places)
