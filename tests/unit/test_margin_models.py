"""Margin models of one's own: what they ask for is what accounts need, and when they are looked at is when they must be."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ensemble import fingerprint, small

import cascade_sim as cs
from cascade_sim.clearing.margin import MarginMarket, margin_table
from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import RunFailed, ScenarioError
from cascade_sim.model import check_inputs

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
HERE = __name__
MARKET = MarginMarket("ETH-PERP", "USD", 2_000.0, 10_000.0, 0.01, 0.02, None)


@dataclass(frozen=True)
class Flat:
    """One tier at the rates of the scenario."""

    whole_position: bool = False

    def tiers(self, market: MarginMarket) -> Any:
        """Return the tier."""
        return [np.inf], [market.maintenance_margin], [market.initial_margin]


@dataclass(frozen=True)
class Steep:
    """Two tiers of a lot more than the other, on what lies within or on the whole."""

    whole_position: bool = False
    end: float = 2e5

    def tiers(self, market: MarginMarket) -> Any:
        """Return both."""
        return [self.end, np.inf], [0.01, 0.05], [0.02, 0.1]


ANSWERS: dict[str, Any] = {
    "none": None,
    "two": ([np.inf], [0.01]),
    "text": (["a"], [0.01], [0.02]),
    "table": ([[1.0]], [0.01], [0.02]),
    "lengths": ([1.0, np.inf], [0.01], [0.02]),
    "many": ([float(k + 1) for k in range(65)], [0.01] * 65, [0.02] * 65),
    "falling": ([1.0, np.inf], [0.02, 0.01], [0.05, 0.05]),
    "low": ([np.inf], [0.02], [0.01]),
    "nothing": ([np.inf], [0.02], [0.0]),
    "endless": ([np.inf, np.inf], [0.01, 0.02], [0.05, 0.05]),
    "nan": ([np.inf], [np.nan], [0.02]),
}


@dataclass(frozen=True)
class Odd:
    """Answer amiss."""

    answer: str = "none"

    def tiers(self, market: MarginMarket) -> Any:
        """Return what the parameter names, or raise."""
        return ANSWERS[self.answer]


def tiers_of(starts: list[Fraction], rates: list[Fraction]) -> Any:
    """The requirement as a sum over tiers, written from what "charged on what lies within" means."""

    def requirement(notional: Fraction) -> Fraction:
        ends = [*starts[1:], None]
        parts = zip(starts, ends, rates, strict=True)
        return sum(
            (
                rate * max(Fraction(0), (notional if end is None else min(notional, end)) - start)
                for start, end, rate in parts
            ),
            Fraction(0),
        )

    return requirement


def test_the_page_shows_the_files() -> None:
    page = (EXAMPLES.parent / "liquidation_rules.md").read_text(encoding="utf-8")
    shown = [text for _, text in re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    assert (EXAMPLES / "concentration.py").read_text(encoding="utf-8") in shown
    assert (EXAMPLES / "concentration.yaml").read_text(encoding="utf-8") in shown


def test_a_model_beside_a_scenario_runs_and_asks_for_what_it_says() -> None:
    changes = {"run.steps": 900, "run.burn_in_steps": 150, "shock.at_seconds": 300.0, "traders.count": 2000}
    changes |= {"clearing.sizing": "full"}
    scenario = cs.load_scenario(EXAMPLES / "concentration.yaml").with_overrides(changes)
    assert set(scenario.own_code()) == {"clearing.margin.name"}
    result = cs.run(scenario, seed=1)
    assert result.summary["conservation_error"] == 0
    whole = Fraction(scenario.traders.open_interest) * Fraction(scenario.market.initial_price)
    starts = [Fraction(k, 1000) * whole for k in range(8)]
    requirement = tiers_of(starts, [Fraction(4, 1000) * (1 + Fraction(k, 2)) for k in range(8)])
    closed = result.events[result.events["type"] == "liquidation"]
    assert len(closed) > 100
    tiers_met = set()
    for _, event in closed.iterrows():
        notional = Fraction(float(event["quantity"])) * Fraction(float(event["mark"]))
        tiers_met.add(sum(start <= notional for start in starts))
        assert float(event["maintenance_margin"]) == pytest.approx(float(requirement(notional)), rel=1e-7)
        assert event["equity_before"] <= event["maintenance_margin"]
    assert len(tiers_met) >= 3


@pytest.mark.parametrize("whole", [False, True])
def test_accounts_are_looked_at_when_and_only_when_they_are_distressed(whole: bool) -> None:
    model = cs.CascadeModel(small(**{"clearing.margin": f"{HERE}:Steep"}), rng=5)
    if whole:
        margin = {"name": f"{HERE}:Steep", "whole_position": True}
        model = cs.CascadeModel(small(**{"clearing.margin": margin}), rng=5)
    end = Fraction(200_000)
    within = tiers_of([Fraction(0), end], [Fraction(1, 100), Fraction(5, 100)])

    def required(notional: Fraction) -> Fraction:
        if whole:
            return notional * (Fraction(5, 100) if notional > end else Fraction(1, 100))
        return Fraction(within(notional))

    state = model.state
    world, atoms = state.world, int(state.world.config.atoms)
    unit = 10**8
    met = 0
    for until in range(5, int(world.config.steps), 5):
        model.run(until=until)
        mark = Fraction(float(world.market.mark))
        rows = np.asarray(state.accounts)
        for account in np.flatnonzero(rows["traits"] & lay.FLAG_MARGINED):
            position, cash = int(rows["position"][account]), int(rows["cash"][account])
            if position == 0:
                continue
            equity = cash + position * mark * atoms
            needed = required(abs(position) * mark * atoms / unit) * unit
            if abs(float(equity - needed)) < 1e-6 * float(needed):
                continue
            low, high = (float(state.watch[row, account]) for row in (0, 1))
            seen = low >= float(mark) or high <= float(mark)
            # Where requirements jump a long may be looked at and freed.
            assert seen >= (equity <= needed)
            assert whole or seen == (equity <= needed)
            met += equity <= needed
    assert met > 10


def test_one_tier_of_the_scenario_is_the_built_in_model() -> None:
    built_in = cs.CascadeModel(small(), rng=4)
    built_in.run()
    own = cs.CascadeModel(small(**{"clearing.margin.name": f"{HERE}:Flat"}), rng=4)
    own.run()
    assert fingerprint(own) == fingerprint(built_in)


def test_ensembles_ask_the_same_model() -> None:
    scenario = small(**{"clearing.margin.name": f"{HERE}:Steep"})
    rows = cs.run_ensemble(scenario, range(3), workers=1)
    for seed in range(3):
        alone = cs.run(scenario, seed=seed).summary
        row = rows[rows["seed"] == seed].iloc[0]
        assert row["liquidated_accounts"] == alone["liquidated_accounts"]
        assert row["max_adverse_excursion"] == alone["max_adverse_excursion"]
    base = cs.run_ensemble(small(), range(3), workers=1)
    assert rows["liquidated_accounts"].tolist() != base["liquidated_accounts"].tolist()


def test_rates_of_the_whole_position_are_an_attribute() -> None:
    table = margin_table(Steep(whole_position=True), MARKET)
    assert table is not None
    assert table.whole_position
    assert table.maintenance([2e5, 200_001.0]).tolist() == pytest.approx([2_000.0, 10_000.05])
    within = margin_table(Steep(), MARKET)
    assert within is not None
    assert within.maintenance([2e5, 200_001.0]).tolist() == pytest.approx([2_000.0, 2_000.05])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("none", r"expected three arrays, of ends of tiers, .*, received a NoneType$"),
        ("two", r"expected three arrays, .*, received a tuple of 2$"),
        ("text", r"expected numbers as ends of tiers, received a list$"),
        ("table", r"expected 1 to 64 ends of tiers, received an array of shape \(1, 1\)$"),
        ("lengths", r"expected as many ends as maintenance and initial rates, received 2, 1 and 1$"),
        ("many", r"expected 1 to 64 ends of tiers, received an array of shape \(65,\)$"),
        ("falling", r"maintenance rate: expected fractions .* that do not decrease"),
        ("low", r"max_leverage: expected 1 / max_leverage not below the rate"),
        ("nothing", r"expected initial rates above 0, received 0$"),
        ("endless", r"min_notional: expected finite numbers"),
        ("nan", r"maintenance_rate: expected finite numbers"),
    ],
)
def test_answers_amiss_are_refused_before_the_run(answer: str, expected: str) -> None:
    scenario = small(**{"clearing.margin": {"name": f"{HERE}:Odd", "answer": answer}})
    for ask in (check_inputs, lambda each: cs.CascadeModel(each, rng=1)):
        with pytest.raises(ScenarioError) as refused:
            ask(scenario)
        line = str(refused.value)
        assert "\n" not in line
        assert line.startswith(f"clearing.margin {HERE}:Odd.tiers(): ")
        assert re.search(expected, line)


def test_what_a_model_raises_is_told() -> None:
    scenario = small(**{"clearing.margin": {"name": f"{HERE}:Odd", "answer": "unknown"}})
    with pytest.raises(RunFailed, match=r"^clearing\.margin .*:Odd\.tiers\(\): raised KeyError: 'unknown'$"):
        check_inputs(scenario)
