"""Every deleveraging rule: one finite score per counterparty, the same in both forms."""

import pickle

import numpy as np
import pytest
from conformance.cases import SEEDS, columns_of, model_with, rules, scramble, specifications
from test_model import raw_tables, with_python_rules

from cascade_sim.clearing.views import Counterparties, counterparties_view
from cascade_sim.core.clearing.waterfall.deleveraging import score_counterparties
from cascade_sim.model import CascadeModel
from cascade_sim.registry import DELEVERAGINGS

NAMES = rules(DELEVERAGINGS, "score")
BOTH = rules(DELEVERAGINGS, "score", compiled=True)


def view_of(model: CascadeModel, ids: np.ndarray) -> Counterparties:
    return counterparties_view(model.state, ids, model.instrument.lot_size, model.instrument.tick_size)


def test_every_rule_has_a_python_form() -> None:
    assert list(DELEVERAGINGS.names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_finite_repeatable_and_leave_the_view_alone(name: str, seed: int) -> None:
    for specification in specifications(DELEVERAGINGS, name):
        model = model_with("clearing.adl", specification)
        ids = scramble(model, seed, 0.001, 1.2)
        rule = DELEVERAGINGS.create(specification)
        for chosen in (ids, ids[:1], ids[:0]):
            view = view_of(model, chosen)
            before = columns_of(view)
            scores = rule.score(view)
            assert isinstance(scores, np.ndarray)
            assert scores.shape == (len(chosen),)
            assert scores.dtype == np.float64
            assert np.isfinite(scores).all()
            assert columns_of(view) == before
            assert rule.score(view_of(model, chosen)).tobytes() == scores.tobytes()
            assert pickle.loads(pickle.dumps(rule)).score(view).tobytes() == scores.tobytes()


@pytest.mark.kernel
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_score_random_accounts_to_the_bit(name: str, seed: int) -> None:
    for specification in specifications(DELEVERAGINGS, name):
        model = model_with("clearing.adl", specification)
        ids = scramble(model, seed, 0.001, 1.2)
        state = model.state
        state.scratch[1, : len(ids)] = ids
        score_counterparties(state.world, state.accounts, state.scratch, state.scores, len(ids))
        scores = DELEVERAGINGS.create(specification).score(view_of(model, ids))
        np.testing.assert_array_equal(scores, state.scores[1, : len(ids)])
        assert len(np.unique(scores)) > 100


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_make_the_same_run(name: str, seed: int) -> None:
    for specification in specifications(DELEVERAGINGS, name):
        # Without a fund every bankrupt position goes to deleveraging.
        bare = {"clearing.insurance_fund": 0.0, "shock.news": -0.1, "shock.quantity": 6_000.0}
        compiled, python = (model_with("clearing.adl", specification, seed, **bare) for _ in range(2))
        with_python_rules(python, adl=DELEVERAGINGS.create(specification))
        compiled.run()
        python.run()
        assert raw_tables(compiled) == raw_tables(python)
        assert int(compiled.state.world.totals.adl_accounts) > 1
