"""The window of prices is nobody's business: whatever it holds, what happens is the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_model import raw_tables, small

import cascade_sim as cs
from cascade_sim.core.layout.book import WINDOW, order_ticks
from cascade_sim.core.venue.window import tick_of_order
from cascade_sim.lab.soak import check_actors, check_book, check_triggers

pytestmark = pytest.mark.kernel

FINE = {"market.tick_size": 0.001}
"""A price of two million ticks, whose ladders and patient orders reach over several windows."""
STOPS = {"traders.stop_loss.share": 0.5, "traders.top_up.share": 0.5}
HALTS = {
    "venue.circuit_breaker.levels": [0.01],
    "venue.circuit_breaker.halt_seconds": [10.0],
    "venue.circuit_breaker.window_seconds": 60.0,
    "venue.circuit_breaker.direction": "both",
}
LATE = {"latency.background.delay_seconds": 2.0}


def run_from(monkeypatch: pytest.MonkeyPatch, below: int, **changes: Any) -> dict[str, bytes]:
    """Run a little market whose windows first end ``below`` ticks below its price; returns all it recorded."""
    with monkeypatch.context() as patch:
        patch.setattr("cascade_sim.model.market.WINDOW", 2 * below)
        model = cs.CascadeModel(small(**FINE, **changes), rng=3)
    assert int(model.state.world.control.trigger_origin) == model.main.initial_tick - below
    model.run()
    assert int(model.state.world.totals.liquidated_accounts) > 0
    for check in (check_book, check_triggers, check_actors):
        assert list(check(model.state)) == []
    tables = raw_tables(model)
    model.close()
    return tables


@pytest.mark.parametrize("changes", [STOPS, {**HALTS, **LATE}], ids=["stops", "halts"])
def test_a_run_does_not_depend_on_where_its_windows_begin(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run_from(monkeypatch, WINDOW // 2, **changes)
    # Ends beside the price, and windows wholly above and below it.
    for below in (3, WINDOW - 40, -10_000, 2_000_000):
        assert run_from(monkeypatch, below, **changes) == usual


def test_prices_of_orders_are_read_alike_by_kernels_and_python() -> None:
    model = cs.CascadeModel(small(**FINE, **STOPS), rng=3)
    model.run(5)
    book = model.state.book
    slots = np.flatnonzero(np.asarray(book.orders["quantity_lot"][: int(book.fresh_slot)]))
    told = [int(tick_of_order(book, slot)) for slot in slots]
    assert order_ticks(book, slots).tolist() == told
    far = (np.array(told) <= int(book.origin)) | (np.array(told) >= int(book.origin) + WINDOW)
    assert 0 < far.sum() < len(slots)


def test_one_place_outside_of_the_kernels_reads_the_price_of_an_order() -> None:
    package = Path(cs.__file__).parent
    readers = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "far_ticks" in path.read_text(encoding="utf-8")
    }
    assert {name for name in readers if not name.startswith("core/")} == set()
