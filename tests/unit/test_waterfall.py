"""Stages of the waterfall and executions as a scenario lists them; the twin of a whole world walks them lot by lot."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from test_model import small

import cascade_sim as cs
from cascade_sim.clearing.execution import IocAtBankruptcy
from cascade_sim.domain.enums import Stage
from cascade_sim.domain.errors import RunFailed, ScenarioError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "liquidation_rules.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "docs" / "examples"
HERE = __name__
STORM: dict[str, Any] = {
    "run.steps": 300,
    "shock.at_seconds": 20.0,
    "shock.news": -0.08,
    "clearing.insurance_fund": 20_000.0,
}
"""Changes to the small scenario after which the fund is not enough."""


@dataclass(frozen=True)
class ToldIoc(IocAtBankruptcy):
    """The built-in execution, asked as a class of the user's own is."""

    compiled: ClassVar[int] = -1

    def orders(self, accounts: Any, lots: Any, market: Any) -> Any:
        """Return lots and limits."""
        return lots, accounts.bankruptcy_limit


@dataclass(frozen=True)
class Never:
    """An execution that sends nothing."""

    def orders(self, accounts: Any, lots: Any, market: Any) -> Any:
        """Return no lots."""
        return 0 * lots, accounts.bankruptcy_limit


@dataclass(frozen=True)
class Taker:
    """A stage that takes a share of every position at the mark."""

    capital: float = 1e6
    share: float = 1.0
    lots: str = "right"

    def take(self, accounts: Any, party: Any) -> Any:
        """Return lots and prices, or what a rule must not."""
        lots = np.floor(np.abs(accounts.position_lot) * self.share)
        answers = {
            "right": (lots, np.full(len(lots), accounts.mark)),
            "alone": lots,
            "negative": (-lots - 1.0, np.full(len(lots), accounts.mark)),
            "free": (lots, 0.0 * lots),
            "many": (np.append(lots, 1.0), np.full(len(lots) + 1, accounts.mark)),
        }
        return answers[self.lots]


@dataclass(frozen=True)
class Poor:
    """A stage without capital."""

    def take(self, accounts: Any, party: Any) -> Any:
        """Take nothing."""
        return accounts.position_lot * 0, accounts.position_lot * 0.0


def run(seed: int = 3, **changes: Any) -> cs.RunResult:
    scenario = small(**{**STORM, **{name.replace("__", "."): value for name, value in changes.items()}})
    result = cs.run(scenario, seed=seed)
    assert result.summary["conservation_error"] == 0
    return result


def taken(result: cs.RunResult, stage: str) -> float:
    events = result.events[(result.events["type"] == "takeover") & (result.events["stage"] == stage)]
    return float(events["filled"].sum())


def test_the_page_shows_the_files() -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown = [text for _, text in blocks]
    assert (EXAMPLES / "vault.py").read_text(encoding="utf-8") in shown
    assert (EXAMPLES / "vault.yaml").read_text(encoding="utf-8") in shown


def test_rules_beside_a_scenario_run() -> None:
    scenario = cs.load_scenario(EXAMPLES / "vault.yaml").with_overrides(
        {"run.steps": 900, "run.burn_in_steps": 150, "shock.at_seconds": 300.0, "traders.count": 2000}
    )
    assert set(scenario.own_code()) == {"clearing.execution.name", "clearing.waterfall[1]"}
    result = cs.run(scenario, seed=1)
    assert result.summary["conservation_error"] == 0
    events = result.events[result.events["rule"] == "vault:Vault"]
    assert set(events["stage"]) == {"backstop"}
    assert {"takeover", "unwind"} <= set(events["type"])
    vault = result.accounts[result.accounts["account_class"] == "backstop"]
    assert vault["collateral_start"].tolist() == [400_000.0]
    assert set(events.loc[events["type"] == "takeover", "payer_account_id"]) == set(vault["account_id"])
    equity = result.series["backstop_equity"]
    assert equity.iloc[0] == 400_000.0
    assert equity.iloc[-1] == pytest.approx(float(vault["equity_end"].iloc[0]))
    closing = result.events[(result.events["type"] == "liquidation") & (result.events["side"] == -1)]
    assert (closing["limit_price"] >= closing["mark"] * 0.997 - 1e-9).all()


def test_an_execution_asked_in_python_makes_the_same_run() -> None:
    compiled = run()
    asked = run(clearing__execution=f"{HERE}:ToldIoc")
    assert (compiled.events["type"] == "liquidation").sum() > 50
    for name in ("trades", "series", "accounts"):
        assert getattr(compiled, name).equals(getattr(asked, name)), name


def test_an_execution_that_sends_nothing_leaves_accounts_to_the_next_stage() -> None:
    result = run(clearing__execution=f"{HERE}:Never")
    assert not (result.events["type"] == "liquidation").any()
    assert result.summary["liquidated_accounts"] > 0
    assert taken(result, "fund") > 0.0


def test_a_fund_that_may_hold_nothing_takes_nothing() -> None:
    assert taken(run(), "fund") > 0.0
    for limit in ("clearing__insurance_max_leverage", "clearing__insurance_max_notional"):
        result = run(**{limit: 0.0})
        assert taken(result, "fund") == 0.0
        assert result.summary["adl_notional"] > 0.0


def test_a_limit_of_the_fund_is_kept() -> None:
    result = run(clearing__insurance_max_leverage=2.0, clearing__insurance_floor=0.0)
    fund = int(
        result.accounts.loc[result.accounts["account_class"] == "insurance_fund", "account_id"].iloc[0]
    )
    events = result.events
    takeovers = events[(events["payer_account_id"] == fund) & (events["filled"] > 0)]
    assert len(takeovers) > 0
    assert (takeovers["filled"] < takeovers["quantity"]).any()
    fills = result.trades[
        (result.trades["taker_account_id"] == fund) | (result.trades["maker_account_id"] == fund)
    ]
    side = fills["aggressor_side"] * np.where(fills["taker_account_id"] == fund, 1.0, -1.0)
    held = (side * fills["quantity"]).cumsum().abs() * fills["mark"]
    taken_over = held[fills["maker_account_id"] == fund]
    most = 2.0 * result.series["insurance_fund_equity"].max()
    assert 0.5 * most < taken_over.max() <= most


def test_a_default_is_booked_and_the_fund_owes_nothing() -> None:
    changes = {
        "shock.quantity": 20_000.0,
        "shock.news": -0.12,
        "shock.at_seconds": 300.0,
        "traders.open_interest": 150_000.0,
        "clearing.insurance_fund": 100_000.0,
        "run.steps": 900,
    }
    result = cs.run(cs.load_scenario("long_squeeze").with_overrides(changes), seed=0)
    events = result.events
    defaults = events[(events["type"] == "default") & (events["stage"] == "fund")]
    assert len(defaults) > 0
    assert (defaults["loss"] > 0.0).all()
    later = events[(events["account_id"] == defaults["account_id"].iloc[0]) & (events["type"] == "adl")]
    assert len(later) > 0
    assert result.series["insurance_fund_equity"].min() >= 0.0
    assert result.summary["conservation_error"] == 0


def test_a_stage_takes_what_it_says_in_its_place() -> None:
    stages = ["book", {"name": f"{HERE}:Taker", "share": 0.5}, "fund", "adl", "socialised"]
    result = run(clearing__waterfall=stages)
    first, second = taken(result, "backstop"), taken(result, "fund")
    assert first > 0.0
    assert second > 0.0
    behind = [*stages[:1], *stages[2:], stages[1]]
    assert taken(run(clearing__waterfall=behind), "backstop") == 0.0


def test_a_stage_without_capital_bears_nothing() -> None:
    poor = {"name": f"{HERE}:Taker", "capital": 0.0}
    result = run(clearing__waterfall=["book", poor, "fund", "adl", "socialised"])
    backstop = result.accounts[result.accounts["account_class"] == "backstop"]
    assert float(result.series["backstop_equity"].min()) >= 0.0
    assert len(backstop) == 1


def test_without_the_book_accounts_are_taken_over_at_once() -> None:
    result = run(clearing__waterfall=["fund", "adl", "socialised"])
    assert not (result.events["type"] == "liquidation").any()
    assert taken(result, "fund") > 0.0


def test_one_stage_may_stand_alone() -> None:
    scenario = cs.Scenario().with_overrides({"clearing.waterfall": "socialised"})
    assert [stage.name for stage in scenario.clearing.waterfall] == ["socialised"]
    assert cs.Scenario.from_mapping(scenario.tree()) == scenario


def test_stages_of_ones_own_in_an_ensemble() -> None:
    scenario = small(**STORM).with_overrides(
        {"clearing.waterfall": ["book", f"{HERE}:Taker", "fund", "adl", "socialised"]}
    )
    table = cs.run_ensemble(scenario, range(2), workers=1)
    for seed in range(2):
        summary = cs.run(scenario, seed=seed).summary
        for name in ("backstop_notional", "adl_notional", "bad_debt", "insurance_fund_end"):
            assert table[name].iloc[seed] == summary[name]


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        (["fund", "book"], "clearing.waterfall: expected book as the first stage or not at all"),
        (["book", "fund", "fund"], "clearing.waterfall: expected each built-in stage once"),
        (["book"] + [f"{HERE}:Taker"] * 8, "clearing.waterfall: expected at most 8 stages, received 9"),
        (["book", "found"], "clearing.waterfall: expected a known name, received 'found'"),
        (["book", f"{HERE}:Poor"], "with no attribute capital"),
        (
            [{"name": f"{HERE}:Taker", "capital": -1.0}],
            "clearing.waterfall.capital: expected a finite number",
        ),
        ([{"name": "fund", "capital": 1.0}], "clearing.waterfall: expected a parameter of fund"),
    ],
)
def test_a_list_that_cannot_be_walked_is_refused(stages: list[Any], line: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        cs.CascadeModel(cs.Scenario().with_overrides({"clearing.waterfall": stages}), rng=1)
    assert line in str(caught.value)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"clearing\.waterfall"):
        cs.Scenario().with_overrides({"clearing.waterfall": []})


@pytest.mark.parametrize(
    ("lots", "line"),
    [
        ("alone", "expected two arrays, of each number of lots and each price, received a ndarray"),
        ("negative", "expected at least 0 lots"),
        ("free", "expected a price above 0, received 0"),
        ("many", "expected 1 finite number of lots, received 2"),
    ],
)
def test_an_answer_amiss_ends_the_run_with_a_line(lots: str, line: str) -> None:
    stages = ["book", {"name": f"{HERE}:Taker", "lots": lots}, "fund"]
    model = cs.CascadeModel(small(**STORM).with_overrides({"clearing.waterfall": stages}), rng=3)
    with pytest.raises(RunFailed) as caught:
        model.run()
    assert str(caught.value).startswith(f"clearing.waterfall {HERE}:Taker.take(), step ")
    assert line in str(caught.value)


def test_every_stage_is_counted_and_they_add_up() -> None:
    result = run(
        clearing__waterfall=["book", {"name": f"{HERE}:Taker", "share": 0.3}, "fund", "adl", "socialised"]
    )
    assert set(result.events["stage"].dropna()) <= {stage.name.lower() for stage in Stage}
    by_event = result.events[result.events["stage"] == "backstop"]
    assert (by_event["rule"] == f"{HERE}:Taker").all()
