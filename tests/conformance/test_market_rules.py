"""Every mark-price rule and every price formation."""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from conformance.cases import SEEDS, model_with, rules, specifications
from test_model import raw_tables

from cascade_sim.core import layout as lay
from cascade_sim.core.mark import mark
from cascade_sim.lab.single import collect, measure_conservation
from cascade_sim.market.mark_price import MarkInputs
from cascade_sim.model import CascadeModel
from cascade_sim.registry import MARK_PRICES, PRICE_FORMATIONS

MARKS = rules(MARK_PRICES)
PYTHON_MARKS = rules(MARK_PRICES, "mark")
BOTH = rules(MARK_PRICES, "mark", compiled=True)
# A tick that is a power of two loses no bit between ticks and quote currency.
EXACT_TICK = {"market.tick_size": 0.125}


def random_inputs(seed: int, one_sided: bool) -> MarkInputs:
    generator = np.random.default_rng([9, seed])
    mid, last, index, previous = (2_200.0 * generator.uniform(0.9, 1.1, 4)).tolist()
    return MarkInputs(mid=mid, last=last, index=index, mark=previous, one_sided=one_sided, dt=0.5)


def test_every_mark_price_is_compiled_or_has_a_python_form() -> None:
    assert set(PYTHON_MARKS) | set(rules(MARK_PRICES, compiled=True)) == set(MARKS)


@pytest.mark.parametrize("name", MARKS)
def test_memory_is_a_weight_that_grows_with_the_step(name: str) -> None:
    for specification in specifications(MARK_PRICES, name):
        rule = MARK_PRICES.create(specification)
        weights = [rule.memory(dt) for dt in (1e-3, 0.1, 1.0, 10.0, 1e6)]
        assert all(isinstance(weight, float) and 0.0 < weight <= 1.0 for weight in weights)
        assert weights == sorted(weights)
        assert rule.memory(1.0) == MARK_PRICES.create(specification).memory(1.0)


@pytest.mark.parametrize("name", PYTHON_MARKS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("one_sided", [False, True])
def test_marks_are_finite_and_repeatable(name: str, seed: int, one_sided: bool) -> None:
    for specification in specifications(MARK_PRICES, name):
        rule, inputs = MARK_PRICES.create(specification), random_inputs(seed, one_sided)
        before = vars(inputs).copy()
        value = rule.mark(inputs)
        assert isinstance(value, float)
        assert 0.9 * 2_200.0 <= value <= 1.1 * 2_200.0
        assert vars(inputs) == before
        assert MARK_PRICES.create(specification).mark(inputs) == value
        assert pickle.loads(pickle.dumps(rule)).mark(inputs) == value


@pytest.mark.kernel
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("one_sided", [False, True])
def test_both_forms_mark_random_markets_to_the_bit(name: str, seed: int, one_sided: bool) -> None:
    for specification in specifications(MARK_PRICES, name):
        model, inputs = model_with("market.mark_price", specification), random_inputs(seed, one_sided)
        market = model.state.world.market
        # Rules do not know their unit, so ticks do as well as currency.
        for field in ("mid", "last", "index", "mark"):
            market[field] = getattr(inputs, field)
        market.one_sided = int(one_sided)
        rule = MARK_PRICES.create(specification)
        model.state.world.config.mark_memory = rule.memory(inputs.dt)
        assert mark(model.state.world) == lay.RETURN_DONE
        assert float(market.mark) == rule.mark(inputs)


def with_python_mark(model: CascadeModel, rule: Any) -> CascadeModel:
    model.mark_rule = rule
    model.state.world.config.mark_rule = lay.RULE_PYTHON
    return model


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_make_the_same_run(name: str, seed: int) -> None:
    for specification in specifications(MARK_PRICES, name):
        rule = MARK_PRICES.create(specification)
        # A compiled mark without memory is refreshed between rounds of liquidation, which a Python rule is not.
        changes = EXACT_TICK | {"switches.liquidation": rule.memory(1.0) < 1.0}
        compiled, python = (model_with("market.mark_price", specification, seed, **changes) for _ in range(2))
        with_python_mark(python, rule)
        compiled.run()
        python.run()
        assert raw_tables(compiled) == raw_tables(python)
        assert len(np.unique(compiled.recorder.raw("series")["mark"])) > 20


@dataclass(frozen=True)
class PythonMedian:
    """The compiled median over Python floats; remembers the basis of one run in a list."""

    weight: float
    basis: tuple[list[float], ...] = ()

    def mark(self, inputs: MarkInputs) -> float:
        """Return the median of index, index plus basis, and last trade."""
        (held,) = self.basis
        if not inputs.one_sided:
            held[0] += (inputs.mid - inputs.index - held[0]) * self.weight
        return sorted((inputs.index, inputs.index + held[0], inputs.last))[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_compiled_median_is_the_plain_median(seed: int) -> None:
    compiled, python = (model_with("market.mark_price", "median", seed, **EXACT_TICK) for _ in range(2))
    with_python_mark(python, PythonMedian(compiled.mark_rule.memory(1.0), ([0.0],)))
    # What a mark's move is put down to depends on the rule's code, so prices are compared and not its parts.
    compiled.run()
    python.run()
    for table in (
        "series.mark",
        "series.mid",
        "trades.price_tick",
        "trades.quantity_lot",
        "events.equity_before",
    ):
        assert raw_tables(compiled)[table] == raw_tables(python)[table]


@pytest.mark.parametrize("name", PRICE_FORMATIONS.names())
def test_configuring_a_formation_writes_its_code_and_finite_numbers(name: str) -> None:
    for specification in specifications(PRICE_FORMATIONS, name):
        model, rule = (
            model_with("market.price_formation", "order_book"),
            PRICE_FORMATIONS.create(specification),
        )
        records = np.zeros(2, lay.CONFIG).view(np.recarray)
        for record in records:
            rule.configure(record, model.instrument)
        assert records[0].tobytes() == records[1].tobytes()
        assert int(records[0].formation) == rule.compiled
        untouched = np.zeros(1, lay.CONFIG)[0]
        changed = {
            field
            for field in lay.CONFIG.names or ()
            if records[0][field].tobytes() != untouched[field].tobytes()
        }
        assert changed <= {"formation", "impact"}
        assert np.isfinite(records[0].impact)
        assert rule == PRICE_FORMATIONS.create(specification)


def test_formations_have_codes_of_their_own() -> None:
    codes = [PRICE_FORMATIONS.get(name).compiled for name in PRICE_FORMATIONS.names()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("name", PRICE_FORMATIONS.names())
@pytest.mark.parametrize("seed", SEEDS)
def test_prices_under_every_formation_are_finite_and_nothing_is_lost(name: str, seed: int) -> None:
    for specification in specifications(PRICE_FORMATIONS, name):
        model = model_with("market.price_formation", specification, seed)
        model.run()
        result = collect(model)
        series = model.recorder.raw("series")
        for field in ("mark", "last", "index", "fundamental"):
            assert np.isfinite(series[field]).all()
            assert (series[field] > 0.0).all()
        assert measure_conservation(model, result) == 0
        assert int(model.state.accounts["position"].sum()) == 0
