"""What cannot work is refused before the first step, in one line that names what to change."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_model import small

import cascade_sim as cs
from cascade_sim.clearing.brackets import load_brackets
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import DataFileError, ScenarioError, StrainWarning
from cascade_sim.domain.files import LARGEST_SCENARIO, LONGEST_INTEGER, read_bounded
from cascade_sim.model import CAPACITIES, CAPACITY_FIELDS, capacity_text, check_inputs
from cascade_sim.model.capacities import STRAINED, strain
from cascade_sim.options.chain import load_chain
from cascade_sim.result import load_result
from cascade_sim.scenario import Scenario, load_scenario

GAMMA = load_scenario("gamma_shock")


class Mute(cs.Participant):
    """Does not say what it does."""


class MuteCohort(cs.Cohort):
    """The same for many accounts."""


class Skipping(cs.Participant):
    """Forgets the constructor of its base."""

    def __init__(self, model: Any) -> None:
        self.note = "forgot"

    def decide(self, market: Any) -> None:
        """Do nothing."""


class SkippingCohort(cs.Cohort):
    """Forgets the constructor of its base."""

    def __init__(self, model: Any, count: int = 1) -> None:
        self.account_count = count

    def decide(self, market: Any) -> None:
        """Do nothing."""


CERTAIN_ENDS: list[tuple[dict[str, Any], str]] = [
    ({"liquidity.levels": 30}, "liquidity.levels: expected at most 19 with liquidity.level_growth 1.6"),
    ({"liquidity.half_spread": 1e6}, "liquidity.half_spread: expected at most"),
    (
        {"market.tick_size": 1e-6, "market.lot_size": 1.0},
        "market.tick_size: expected a step at which 2200, market.initial_price, is from 1 to 268435456 ticks, such as 0.5",
    ),
    ({"liquidity.size": 1e9, "liquidity.size_growth": 1}, "liquidity.size: expected at most 1.75e+06"),
    ({"background.market_size": 1e10}, "background.market_size: expected at most"),
    (
        {"background.name": "santa_fe", "background.order_size": 1e9},
        "background.order_size: expected at most",
    ),
    ({"shock.quantity": 1e10}, "shock.quantity: expected at most 1.75e+06, for its worth at any price"),
    (
        {"background.limit_rate": 1e5, "background.lifetime_seconds": 90.0},
        "background.limit_rate: expected at most",
    ),
    ({"background.patient_orders": 10**7}, "background.patient_orders: expected at most 1.04e+06"),
    ({"background.patient_lifetime_seconds": 1e-9}, "background.patient_lifetime_seconds: expected at least"),
    (
        {"background.market_rate": 1e5, "run.dt": 240.0, "dealers.count": 0},
        "background.market_rate: expected at most",
    ),
    (
        {"latency.background.delay_seconds": 1e6, "background.limit_rate": 4000.0},
        "latency.background.delay_seconds: ",
    ),
    (
        {"latency.liquidity_providers.delay_seconds": 1e6},
        "latency.liquidity_providers.delay_seconds: expected at",
    ),
    ({"liquidity.capital": 1e10}, "liquidity.capital: expected at most 5.76e+08 USD, all 20 together"),
    ({"clearing.insurance_fund": 1e12}, "clearing.insurance_fund: expected a number <= 1e+10"),
    (
        {"liquidity.volatility_return_seconds": 2e5},
        "liquidity.volatility_return_seconds: expected at most 131071",
    ),
    (
        {"traders.entrants.inverse_leverage": [0.5, 1e5]},
        "traders.entrants.inverse_leverage: expected collateral of",
    ),
    (
        {"traders.top_up.amount": 1e10, "traders.top_up.share": 0.5},
        "traders.top_up.amount: expected collateral of all",
    ),
    ({"market.lot_size": 1e6, "market.tick_size": 1.0}, "market.lot_size: expected at most"),
    ({"liquidity.count": 4097, "liquidity.capital": 1e6}, "liquidity.count: expected a number <= 4096"),
    ({"dealers.count": 1025, "dealers.capital": 1e6}, "dealers.count: expected a number <= 1024"),
]


@pytest.mark.parametrize(("changes", "line"), CERTAIN_ENDS, ids=lambda value: str(value)[:40])
def test_a_capacity_that_must_run_out_is_refused_by_its_field(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        check_inputs(GAMMA.with_overrides(changes))
    assert str(refused.value).startswith(line)
    assert "received" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        case[0]
        for case in CERTAIN_ENDS
        if case[1].startswith(next(iter(case[0]))) and not re.search("collateral|tick_size|lot_size", case[1])
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_value_that_is_proposed_works(changes: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError) as refused:
        check_inputs(GAMMA.with_overrides(changes))
    path = next(iter(changes))
    proposed = re.search(r"expected (?:at most|at least|a number <=) ([0-9.e+-]+)", str(refused.value))
    assert proposed is not None
    check_inputs(GAMMA.with_overrides(changes | {path: float(proposed[1])}))


def test_ladders_that_are_drawn_too_wide_are_refused_before_the_first_step() -> None:
    reaching = {
        "liquidity.half_spread": 13_000.0,
        "liquidity.levels": 1,
        "liquidity.half_spread_dispersion": 0.9,
    }
    check_inputs(small(**reaching))
    with pytest.raises(ScenarioError, match=r"^liquidity.half_spread: expected at most"):
        cs.CascadeModel(small(**{**reaching, "liquidity.half_spread": 26_000.0}), rng=1)


def test_every_capacity_names_the_fields_that_decide() -> None:
    assert CAPACITY_FIELDS.keys() == CAPACITIES.keys()
    known = {*GAMMA.leaves(), *GAMMA.with_overrides({"background.name": "santa_fe"}).leaves(), *GAMMA.tree()}
    for code in CAPACITIES:
        text = capacity_text(code)
        assert text.startswith(
            f"expected room for more {CAPACITIES[code]}, received more than fit; fields that"
        )
        named = re.findall(r"[a-z_]+(?:\.[a-z_]+)+", CAPACITY_FIELDS[code])
        assert named or code == lay.CAPACITY_AGENT_FILLS
        assert set(named) - known == set()


@pytest.mark.parametrize("kind", [Mute, MuteCohort])
def test_an_agent_that_does_not_decide_is_refused_at_the_start(kind: type[Any]) -> None:
    line = rf"{__name__}:{kind.__name__}"
    scenario = small(**{"agents.mine": {"name": f"{__name__}:{kind.__name__}"}})
    for start in (check_inputs, cs.CascadeModel):
        with pytest.raises(
            ScenarioError, match=rf"^agents.mine.name: expected a \w+ with a method decide.*{line}"
        ):
            start(scenario)
    model = cs.CascadeModel(small(), rng=1)
    join = model.add_cohort if issubclass(kind, cs.Cohort) else model.add_participant
    with pytest.raises(ScenarioError, match=rf"{line}: expected a \w+ with a method decide"):
        join(kind(model))


@pytest.mark.parametrize("kind", [Skipping, SkippingCohort])
def test_an_agent_that_skips_the_constructor_of_its_base_is_refused_at_the_start(kind: type[Any]) -> None:
    line = rf"{__name__}:{kind.__name__}: expected an agent whose __init__ calls that of"
    with pytest.raises(ScenarioError, match=line):
        cs.CascadeModel(small(**{"agents.mine": {"name": f"{__name__}:{kind.__name__}"}}), rng=1)
    model = cs.CascadeModel(small(), rng=1)
    join = model.add_cohort if issubclass(kind, cs.Cohort) else model.add_participant
    with pytest.raises(ScenarioError, match=line):
        join(kind(model))


READERS: dict[str, Any] = {
    "large.yaml": load_scenario,
    "large.json": load_chain,
    "large.csv": lambda path: load_brackets(path, "X"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_large_or_special_file_is_refused_without_reading_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse: whoever read it would read for hours
    with pytest.raises(
        (ScenarioError, DataFileError), match="a file of 1,099,511,627,776 bytes, more than the"
    ):
        READERS[name](path)
    pipe = tmp_path / f"pipe{path.suffix}"
    os.mkfifo(pipe)
    for special in (pipe, Path("/dev/zero")):
        with pytest.raises((ScenarioError, DataFileError), match="a pipe or device, not a regular file"):
            READERS[name](special)


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "full"
    path.write_bytes(b"#" * LARGEST_SCENARIO)
    assert len(read_bounded(path, LARGEST_SCENARIO)) == LARGEST_SCENARIO
    with pytest.raises(ValueError, match="more than"):
        read_bounded(path, LARGEST_SCENARIO - 1)


@pytest.mark.parametrize("text", ["[" * 200_000, "{a: " * 50_000, "a: &x [1]\nb: *x\n"])
def test_deep_nesting_and_aliases_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioError, match="expected YAML, received an error"):
        load_scenario(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "\ud800"},
        {"description": "a\udfffb"},
        {"market.base": "\ud800"},
        {"clearing.priority": {"name": "random", "text": "\ud800"}},
        {"index.sources": {"\ud800": {}}},
    ],
)
def test_text_that_no_file_can_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ScenarioError, match="expected") as refused:
        GAMMA.with_overrides(changes)
    assert str(refused.value).encode("utf-8")
    assert "\n" not in str(refused.value)


def test_text_from_escapes_and_from_python_is_checked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "escaped.yaml"
    path.write_text('title: "\\ud800"\n', encoding="utf-8")
    with pytest.raises(ScenarioError, match="title: expected text"):
        load_scenario(path)
    with pytest.raises(ScenarioError, match="title: expected text"):
        Scenario(title="\ud800")


@pytest.mark.parametrize("digits", [LONGEST_INTEGER + 1, 4_000, 6_000])
def test_integers_of_thousands_of_digits_are_refused_in_chains(digits: int, tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    path.write_text('[{"open_interest": ' + "9" * digits + "}]", encoding="utf-8")
    with pytest.raises(DataFileError, match=r"digits") as refused:
        load_chain(path)
    assert len(str(refused.value)) < 500


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder of a short run."""
    return cs.run(small(), 1, probe=False).save(tmp_path_factory.mktemp("refusals") / "result")


def _damaged(saved: Path, tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "result"
    folder.mkdir()
    for entry in saved.iterdir():
        (folder / entry.name).write_bytes(entry.read_bytes())
    assert (folder / name).is_file()
    return folder


@pytest.mark.parametrize("digits", [LONGEST_INTEGER + 1, 4_000, 6_000])
@pytest.mark.parametrize("name", ["summary.json", "manifest.json"])
def test_integers_of_thousands_of_digits_are_refused_in_results(
    name: str, digits: int, saved: Path, tmp_path: Path
) -> None:
    folder = _damaged(saved, tmp_path, name)
    tree = json.loads((folder / name).read_text(encoding="utf-8"))
    key = "trades" if name == "summary.json" and "trades" in tree else next(iter(tree))
    text = json.dumps({**tree, key: "HERE"}).replace('"HERE"', "9" * digits)
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(DataFileError, match=r"digits") as refused:
        load_result(folder)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "column", ["mark", "index", "fundamental", "last", "bid_depth_10bp", "open_interest"]
)
def test_a_series_without_numbers_is_refused_in_one_line(column: str, saved: Path, tmp_path: Path) -> None:
    folder = _damaged(saved, tmp_path, "series.parquet")
    table = pq.read_table(folder / "series.parquet")
    place = table.schema.get_field_index(column)
    field = table.schema.field(column)
    pq.write_table(
        table.set_column(place, field, pa.nulls(len(table), field.type)), folder / "series.parquet"
    )
    with pytest.raises(DataFileError, match=rf"series.parquet: {column}, row 0: expected a .*, received nan"):
        load_result(folder)


def test_a_strained_opening_is_said_as_the_run_starts() -> None:
    ratios = []
    for factor in (1.0, 10.0):
        scenario = small(
            **{"traders.open_interest": 4_000.0 * factor, "shock.quantity": 0.0, "shock.news": 0.0}
        )
        model = cs.CascadeModel(scenario, rng=1)
        ratios.append(strain(model.main))
        model.close()
    # Liquidity is the same and positions are ten times as large, to a lot each.
    assert ratios[1] == pytest.approx(10.0 * ratios[0], rel=1e-3)
    assert 0.0 < ratios[0] < STRAINED


def test_strain_counts_what_triggers_within_five_percent_and_what_rests_there() -> None:
    model = cs.CascadeModel(small(**{"liquidity.count": 0}), rng=1)
    state, tick = model.state, model.main.initial_tick
    lots = pd.Series(abs(state.accounts["position"]))
    low, high = state.watch[lay.WATCH_LIQUIDATE_LONG], state.watch[lay.WATCH_LIQUIDATE_SHORT]
    bids = sum(
        int(state.book.levels[t]["quantity_lot"]) for t in range(int(0.95 * tick), tick) if t >= 0.95 * tick
    )
    asks = sum(int(state.book.levels[t]["quantity_lot"]) for t in range(tick + 1, int(1.05 * tick) + 1))
    wanted = max(lots[low >= 0.95 * tick].sum() / bids, lots[high <= 1.05 * tick].sum() / asks)
    assert strain(model.main) == pytest.approx(wanted, rel=1e-12)


def test_the_run_warns_and_its_manifest_keeps_the_ratio() -> None:
    scenario = small(
        **{
            "traders.open_interest": 400_000.0,
            "run.steps": 20,
            "shock.at_seconds": 1.0,
            "shock.duration_seconds": 5.0,
        }
    )
    with pytest.warns(StrainWarning, match=r"^market main: a move of 5% would force .* times what rests"):
        result = cs.run(scenario, 1, probe=False)
    assert result.manifest["forced_over_depth"]["main"] > STRAINED


@pytest.mark.parametrize("level", ["summary", "full"])
def test_accounts_beyond_the_memory_of_the_machine_are_refused(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = cs.load_scenario("gamma_shock").with_overrides({"traders.count": 400_000, "run.record": level})
    monkeypatch.setattr("cascade_sim.model.capacities.available_memory", lambda: 1 << 40)
    check_inputs(scenario)
    monkeypatch.setattr("cascade_sim.model.capacities.available_memory", lambda: 200 << 20)
    expected = rf"^traders\.count: expected at most \d+ accounts in the 200 MiB .* run\.record {level}, received 400000$"
    with pytest.raises(ScenarioError, match=expected):
        check_inputs(scenario)
