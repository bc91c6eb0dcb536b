"""Every hedging rule: the numbers that kernels take from it, and a rule in Python that decides as the compiled one."""

import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from conformance.cases import SEEDS, model_with, rules, specifications
from test_model import raw_tables

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.options.hedging import HedgeInputs
from cascade_sim.registry import HEDGINGS

NAMES = HEDGINGS.names()
TRADING = rules(HEDGINGS, "trade")
LIMITED = [name for name in NAMES if "price_limit" in HEDGINGS.complete(name)]
NUMBERS = ("interval_seconds", "mark_seconds", "band", "price_limit")
# A lot and a tick that are powers of two lose no bit between the units of kernels and of rules.
EXACT = {"market.lot_size": 0.03125, "market.tick_size": 0.125}


def test_every_rule_has_a_python_form() -> None:
    assert list(TRADING) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_kernels_take_are_finite_and_in_range(name: str) -> None:
    for specification in specifications(HEDGINGS, name):
        rule = HEDGINGS.create(specification)
        for number in NUMBERS:
            value = getattr(rule, number)
            assert isinstance(value, float)
            assert math.isfinite(value)
            assert value >= 0.0
        assert rule.interval_seconds > 0.0
        assert rule.price_limit < 1.0


@pytest.mark.parametrize("name", LIMITED)
@pytest.mark.parametrize("limit", [1.0, 5.0])
def test_a_limit_at_or_beyond_the_whole_price_is_refused(name: str, limit: float) -> None:
    with pytest.raises(ScenarioError, match=r"dealers.hedging.price_limit: expected below 1"):
        HEDGINGS.create({"name": name, "price_limit": limit})


@pytest.mark.parametrize("name", TRADING)
def test_trades_are_finite_repeatable_and_leave_the_inputs_alone(name: str) -> None:
    generator = np.random.default_rng(8)
    for specification in specifications(HEDGINGS, name):
        rule, again = HEDGINGS.create(specification), HEDGINGS.create(specification)
        for delta, position, gamma in generator.normal(0.0, 50.0, (50, 3)).tolist():
            inputs = HedgeInputs(delta, position, gamma, 2_200.0, 0.01)
            before = vars(inputs).copy()
            value = rule.trade(inputs)
            assert math.isfinite(value)
            assert again.trade(inputs) == pickle.loads(pickle.dumps(rule)).trade(inputs) == value
            assert vars(inputs) == before


@pytest.mark.parametrize("name", rules(HEDGINGS, "trade", compiled=True))
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_make_the_same_run(name: str, seed: int) -> None:
    for specification in specifications(HEDGINGS, name):
        compiled, python = (model_with("dealers.hedging", specification, seed, **EXACT) for _ in range(2))
        python.state.world.config.dealers.rule = lay.RULE_PYTHON
        compiled.run()
        python.run()
        assert raw_tables(compiled) == raw_tables(python)


@pytest.mark.parametrize(
    "name", [name for name in NAMES if getattr(HEDGINGS.get(name), "compiled", None) == lay.HEDGE_CLOCK]
)
@pytest.mark.parametrize("band", [0.5, 3.0])
def test_a_short_clock_hedges_in_both_forms(name: str, band: float) -> None:
    specification = {"name": name, "interval_seconds": 3.0, "band": band}
    compiled, python = (model_with("dealers.hedging", specification, **EXACT) for _ in range(2))
    python.state.world.config.dealers.rule = lay.RULE_PYTHON
    compiled.run()
    python.run()
    assert raw_tables(compiled) == raw_tables(python)
    assert int(compiled.state.world.dealers["hedges"].sum()) > 5


@dataclass(frozen=True)
class Bare:
    """A rule that forgot the numbers that kernels need."""

    def trade(self, inputs: HedgeInputs) -> float:
        """Return nothing to trade."""
        return 0.0


def test_a_rule_without_its_numbers_is_refused() -> None:
    with pytest.raises(
        ScenarioError, match=r"and the attributes interval_seconds, .* no attribute interval_seconds"
    ):
        model_with("dealers.hedging", "conformance.test_hedgings:Bare")


def test_without_hedging_nobody_hedges() -> None:
    model = model_with("dealers.hedging", "none")
    model.run()
    assert int(model.state.world.dealers["hedges"].sum()) == 0
