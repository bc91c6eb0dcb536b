"""Every priority rule: one finite score per distressed account, the same in both forms."""

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
from conformance.cases import SEEDS, WORKING, columns_of, model_with, rules, scramble, specifications
from test_model import raw_tables, with_python_rules

from cascade_sim.clearing.views import DistressedAccounts, distressed_view
from cascade_sim.core.clearing.liquidation import score_accounts
from cascade_sim.domain.errors import RunFailed
from cascade_sim.model import CascadeModel
from cascade_sim.registry import PRIORITIES

NAMES = rules(PRIORITIES, "score")
BOTH = rules(PRIORITIES, "score", compiled=True)


def view_of(model: CascadeModel, ids: np.ndarray) -> DistressedAccounts:
    return distressed_view(model.state, ids, model.instrument.lot_size, model.instrument.tick_size)


def test_every_rule_has_a_python_form() -> None:
    assert list(PRIORITIES.names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_finite_repeatable_and_leave_the_view_alone(name: str, seed: int) -> None:
    for specification in specifications(PRIORITIES, name):
        model = model_with("clearing.priority", specification)
        ids = scramble(model, seed, -0.05, 0.02)
        rule = PRIORITIES.create(specification)
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


@pytest.mark.parametrize("name", NAMES)
def test_a_score_belongs_to_its_account(name: str) -> None:
    model = model_with("clearing.priority", name)
    ids = scramble(model, 1, -0.05, 0.02)
    rule = PRIORITIES.create(name)
    whole = rule.score(view_of(model, ids))
    np.testing.assert_array_equal(rule.score(view_of(model, ids[5:40:3])), whole[5:40:3])


def test_views_cannot_be_written_to() -> None:
    model = model_with("clearing.priority", BOTH[0])
    view = view_of(model, scramble(model, 1, -0.05, 0.02))
    for name, column in vars(view).items():
        if isinstance(column, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                column[0] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(view, name, None)


@pytest.mark.kernel
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_rank_random_accounts_alike(name: str, seed: int) -> None:
    for specification in specifications(PRIORITIES, name):
        model = model_with("clearing.priority", specification)
        ids = scramble(model, seed, -0.05, 0.02)
        state = model.state
        state.scratch[0, : len(ids)] = ids
        state.world.control.listed = len(ids)
        score_accounts(state.world, state.accounts, state.scratch, state.scores)
        compiled = state.scores[0, : len(ids)].copy()
        scores = PRIORITIES.create(specification).score(view_of(model, ids))
        np.testing.assert_array_equal(np.argsort(scores, kind="stable"), np.argsort(compiled, kind="stable"))
        # Kernels count money in atoms and views in currency, so scores may differ by one factor for all.
        scale = scores[0] / compiled[0]
        np.testing.assert_allclose(scores, compiled * scale, rtol=1e-14, atol=0.0)
        assert len(np.unique(scores)) > 100


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_make_the_same_run(name: str, seed: int) -> None:
    for specification in specifications(PRIORITIES, name):
        # One account a step makes the order matter.
        throughput = {"clearing.accounts_per_second": 1}
        compiled = model_with("clearing.priority", specification, seed, **throughput)
        python = model_with("clearing.priority", specification, seed, **throughput)
        with_python_rules(python, priority=PRIORITIES.create(specification))
        compiled.run()
        python.run()
        assert raw_tables(compiled) == raw_tables(python)
        assert int(compiled.state.world.totals.liquidated_accounts) > 1


@dataclasses.dataclass(frozen=True)
class Answers:
    """A rule that answers whatever it was made with."""

    answer: Any

    def score(self, accounts: DistressedAccounts) -> Any:
        """Return the answer, repeated if it is a number."""
        return np.full(len(accounts), self.answer) if np.ndim(self.answer) == 0 else self.answer

    lots = score


@pytest.mark.parametrize(
    ("answer", "received"),
    [
        (np.nan, "NaN at position 0"),
        (np.inf, "infinity at position 0"),
        (1j, "values of type complex128"),
        ("a", "values of type <U1"),
        (np.zeros((2, 3)), r"an array of shape \(2, 3\)"),
        (np.zeros(10_000), "10000"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("field", ["priority", "sizing"])
def test_an_answer_that_is_not_one_finite_number_per_account_ends_the_run(
    field: str, answer: Any, received: str
) -> None:
    model = model_with("clearing.priority", BOTH[0])
    with_python_rules(model, **{field: Answers(answer)})
    with pytest.raises(
        RunFailed,
        match=rf"Answers\.(score|lots)\(\), step [0-9]+: expected [0-9]+ finite .*, received {received}$",
    ):
        model.run()


def test_the_order_decides_who_is_closed_first() -> None:
    runs = {}
    for name in BOTH:
        model = model_with("clearing.priority", name, **WORKING | {"clearing.accounts_per_second": 1})
        model.run()
        runs[name] = raw_tables(model)["trades.taker_account"]
    assert len(set(runs.values())) == len(BOTH)
