"""Every sizing rule: whole lots between one and the position, the same in both forms."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conformance.cases import SEEDS, columns_of, model_with, rules, scramble, specifications
from test_model import raw_tables, with_python_rules

from cascade_sim.clearing.views import DistressedAccounts, distressed_view
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.liquidation import size_account
from cascade_sim.model import CascadeModel
from cascade_sim.registry import SIZINGS

NAMES = rules(SIZINGS, "lots")
BOTH = rules(SIZINGS, "lots", compiled=True)


def view_of(model: CascadeModel, ids: np.ndarray) -> DistressedAccounts:
    return distressed_view(model.state, ids, model.instrument.lot_size, model.instrument.tick_size)


def test_every_rule_has_a_python_form() -> None:
    assert list(SIZINGS.names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_lots_are_whole_repeatable_and_leave_the_view_alone(name: str, seed: int) -> None:
    for specification in specifications(SIZINGS, name):
        model = model_with("clearing.sizing", specification)
        ids = scramble(model, seed, -0.01, 0.03)
        rule = SIZINGS.create(specification)
        for chosen in (ids, ids[:1], ids[:0]):
            view = view_of(model, chosen)
            before = columns_of(view)
            lots = rule.lots(view)
            assert isinstance(lots, np.ndarray)
            assert lots.shape == (len(chosen),)
            assert lots.dtype == np.int64
            assert (lots >= 1).all()
            assert (lots <= np.abs(view.position_lot)).all()
            assert columns_of(view) == before
            assert rule.lots(view_of(model, chosen)).tobytes() == lots.tobytes()
            assert pickle.loads(pickle.dumps(rule)).lots(view).tobytes() == lots.tobytes()


@pytest.mark.kernel
@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_size_random_accounts_alike(name: str, seed: int) -> None:
    for specification in specifications(SIZINGS, name):
        model = model_with("clearing.sizing", specification)
        ids = scramble(model, seed, -0.01, 0.03)
        lots = SIZINGS.create(specification).lots(view_of(model, ids))
        rows = model.state.accounts
        compiled = [int(size_account(model.state.world, rows[account])) for account in ids]
        assert lots.tolist() == compiled


def plain_values(record: Any) -> Iterator[Any]:
    """Yield every field of a record that is no record itself."""
    for field in record.dtype.names:
        if record.dtype[field].names:
            yield from plain_values(record[field])
        elif record.dtype[field].base.names:
            for item in record[field]:
                yield from plain_values(item)
        else:
            yield record[field]


@pytest.mark.parametrize("name", NAMES)
def test_configuring_writes_finite_numbers_and_nothing_else(name: str) -> None:
    for specification in specifications(SIZINGS, name):
        model, rule = model_with("clearing.sizing", name), SIZINGS.create(specification)
        if not hasattr(rule, "configure"):
            continue
        clearing = np.zeros(1, lay.CLEARING_CONFIG).view(np.recarray)[0]
        again = np.zeros(1, lay.CLEARING_CONFIG).view(np.recarray)[0]
        rule.configure(clearing, 0.5, model.instrument.lot_size)
        rule.configure(again, 0.5, model.instrument.lot_size)
        assert clearing.tobytes() == again.tobytes()
        assert all(np.isfinite(values).all() for values in plain_values(clearing))
        assert int(clearing.cooldown_steps) >= 0
        assert rule == SIZINGS.create(specification)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("seed", SEEDS)
def test_both_forms_make_the_same_run(name: str, seed: int) -> None:
    for specification in specifications(SIZINGS, name):
        compiled, python = (model_with("clearing.sizing", specification, seed) for _ in range(2))
        with_python_rules(python, sizing=SIZINGS.create(specification))
        compiled.run()
        python.run()
        assert raw_tables(compiled) == raw_tables(python)
        assert int(compiled.state.world.totals.liquidated_accounts) > 1
