"""Every mark-price rule and every price formation."""

import pickle
from typing import Any

import numpy as np
import pytest
from conformance.cases import SEEDS, model_with, rules, specifications
from test_model import raw_tables

from cascade_sim.core import layout as lay
from cascade_sim.core.prices.mark import mark
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
    basis = float(generator.normal(0.0, 20.0))
    impact, median, average = (2_200.0 * generator.uniform(0.9, 1.1, 3)).tolist()
    return MarkInputs(
        mid=mid,
        last=last,
        index=index,
        mark=previous,
        basis=basis,
        one_sided=one_sided,
        dt=0.5,
        delayed_index=index,
        impact_mid=impact,
        book_median=median,
        book_average=average,
        funding_basis=float(generator.uniform(-0.01, 0.01)),
    )


def test_every_mark_price_has_a_python_form() -> None:
    assert list(PYTHON_MARKS) == list(MARKS)


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
        # Never beyond every price that a rule sees, those with a basis included.
        fair = (inputs.index + inputs.basis, inputs.index * (1.0 + inputs.funding_basis))
        assert min(0.9 * 2_200.0, *fair) <= value <= max(1.1 * 2_200.0, *fair)
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
        for field in ("mid", "last", "index", "mark", "basis"):
            market[field] = getattr(inputs, field)
        for field in ("delayed_index", "impact_mid", "book_median", "book_average", "funding_basis"):
            model.state.world.prices[field] = getattr(inputs, field)
        market.one_sided = int(one_sided)
        rule = MARK_PRICES.create(specification)
        model.state.world.config.mark_memory = rule.memory(inputs.dt)
        model.state.world.config.basis_memory = (
            0.0  # the inputs hold the basis as it is after the step's update
        )
        assert mark(model.state.world) == lay.RETURN_DONE
        assert float(market.mark) == rule.mark(inputs)


def with_python_mark(model: CascadeModel, rule: Any) -> CascadeModel:
    for market in model.markets.values():
        market.mark_rule = rule
    model.state.world.config.mark_rule = lay.RULE_PYTHON
    return model


def mark_specifications(name: str) -> list[dict[str, Any]]:
    """Return a rule with its defaults, other numbers, its other choices, and with a memory of the index."""
    found = specifications(MARK_PRICES, name)
    if "fair" in found[0]:
        found.append({**found[0], "fair": "impact"})
    if "delay_seconds" in found[0]:
        found.append({**found[0], "delay_seconds": 7.0})
    return found


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_make_the_same_run(name: str, seed: int) -> None:
    funding = {"market.funding.interval_seconds": 20.0, "market.funding.rate_seconds": 40.0}
    for specification in mark_specifications(name):
        rule = MARK_PRICES.create(specification)
        changes = EXACT_TICK | (funding if "funding" in name else {})
        compiled, python = (model_with("market.mark_price", specification, seed, **changes) for _ in range(2))
        with_python_mark(python, rule)
        compiled.run()
        python.run()
        assert raw_tables(compiled) == raw_tables(python)
        assert len(np.unique(compiled.recorder.raw("series")["mark"])) > 20


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
