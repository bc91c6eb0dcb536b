"""Instruments, units and errors: exact conversions and one-line refusals."""

import pickle
from math import log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade_sim.domain.errors import (
    CapacityError,
    CascadeError,
    DataFileError,
    OutputError,
    RunFailed,
    ScenarioError,
    UnknownNameError,
    expectation,
    value_text,
)
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import (
    added,
    decimal_fraction,
    log_basis_points,
    volatility_per_sqrt_second,
)


def perpetual(tick_size: float = 0.1, lot_size: float = 0.01) -> Instrument:
    return Instrument("main", "ETH-PERP", "ETH", "USD", tick_size, lot_size)


@pytest.mark.parametrize(
    ("tick_size", "lot_size", "atoms"),
    [(0.1, 0.01, 100_000), (0.05, 0.01, 50_000), (0.5, 0.001, 50_000), (1e-4, 1e-4, 1), (1, 1, 10**8)],
)
def test_atoms_per_tick_lot_are_exact(tick_size: float, lot_size: float, atoms: int) -> None:
    instrument = perpetual(tick_size, lot_size)
    assert instrument.atoms_per_tick_lot == atoms
    assert type(instrument.atoms_per_tick_lot) is int


@pytest.mark.parametrize(("tick_size", "lot_size"), [(0.1, 1e-8), (1e-5, 1e-4), (0.3, 0.123456789)])
def test_a_grid_without_whole_atoms_is_refused(tick_size: float, lot_size: float) -> None:
    with pytest.raises(CascadeError, match=r"tick_size \* lot_size: expected a whole number of atoms"):
        perpetual(tick_size, lot_size)


@pytest.mark.parametrize("size", [0.0, -0.1, nan, float("inf")])
def test_a_size_must_be_positive_and_finite(size: float) -> None:
    with pytest.raises(CascadeError, match="tick_size: expected a positive finite number"):
        perpetual(tick_size=size)
    with pytest.raises(CascadeError, match="lot_size: expected a positive finite number"):
        perpetual(lot_size=size)


@given(st.integers(1, 10**7), st.sampled_from([0.1, 0.05, 0.5, 0.25, 0.001, 1e-4]))
def test_ticks_survive_the_way_through_prices(tick: int, tick_size: float) -> None:
    instrument = perpetual(tick_size, 0.01 if tick_size > 1e-3 else 1.0)
    price = instrument.tick_to_price(tick)
    for rounding in ("nearest", "down", "up"):
        assert instrument.price_to_tick(price, rounding) == tick
    assert instrument.ticks_to_prices([tick])[0] == price


def test_prices_are_the_decimals_people_write() -> None:
    instrument = perpetual()
    assert instrument.tick_to_price(22001) == 2200.1
    # The plain product is another float, which is why the conversion goes through the decimal.
    assert 3 * 0.1 != 0.3
    assert instrument.tick_to_price(3) == 0.3
    np.testing.assert_array_equal(instrument.ticks_to_prices(np.array([22001, 3])), [2200.1, 0.3])
    np.testing.assert_array_equal(instrument.lots_to_quantities(np.array([[7], [-29]])), [[0.07], [-0.29]])
    assert np.isnan(instrument.ticks_to_prices([nan])[0])


def test_rounding_between_two_steps() -> None:
    instrument = perpetual()
    assert instrument.price_to_tick(2200.13) == 22001
    assert instrument.price_to_tick(2200.17) == 22002
    assert instrument.price_to_tick(2200.17, "down") == 22001
    assert instrument.price_to_tick(2200.13, "up") == 22002
    assert instrument.quantity_to_lot(-0.017, "down") == -2
    assert instrument.quantity_to_lot(-0.017, "up") == -1
    assert instrument.lot_to_quantity(-2) == -0.02


def test_conversions_refuse_what_is_no_number() -> None:
    instrument = perpetual()
    with pytest.raises(CascadeError, match="price: expected a finite number, received nan"):
        instrument.price_to_tick(nan)
    with pytest.raises(CascadeError, match="quantity: expected a finite number, received inf"):
        instrument.quantity_to_lot(float("inf"))
    with pytest.raises(CascadeError, match="known: nearest, down, up; did you mean 'down'"):
        instrument.price_to_tick(1.234, "dwn")


@given(st.integers(1, 10**6), st.integers(-(10**6), 10**6))
def test_notional_in_atoms_is_price_times_quantity(tick: int, lot: int) -> None:
    instrument = perpetual()
    exact = decimal_fraction(0.1) * tick * decimal_fraction(0.01) * lot * 10**8
    assert instrument.notional_atoms(tick, lot) == exact


def test_cash_in_atoms() -> None:
    instrument = perpetual()
    assert instrument.cash_to_atoms(0.29) == 29_000_000
    assert instrument.cash_to_atoms(-1.5e-8) == -2
    assert instrument.atoms_to_cash(29_000_000) == 0.29
    assert instrument.cash_to_atoms(9.2e10) == 92 * 10**17
    with pytest.raises(CascadeError, match="cash: expected at most"):
        instrument.cash_to_atoms(9.3e10)
    with pytest.raises(CascadeError, match="cash: expected a finite amount"):
        instrument.cash_to_atoms(nan)


def test_volatility_per_second_uses_a_year_of_365_days() -> None:
    assert volatility_per_sqrt_second(0.55) == pytest.approx(9.79398390599494e-05, rel=1e-14)


def test_log_basis_points() -> None:
    assert log_basis_points(99.0, 100.0) == pytest.approx(1e4 * log(0.99))
    with pytest.raises(CascadeError, match=r"reference: expected a positive finite price, received 0\.0"):
        log_basis_points(1.0, 0.0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CascadeError, 2),
        (ScenarioError, 2),
        (DataFileError, 2),
        (OutputError, 2),
        (CapacityError, 1),
        (RunFailed, 1),
    ],
)
def test_errors_know_their_exit_status_and_stay_on_one_line(error: type[CascadeError], status: int) -> None:
    assert error.exit_code == status
    assert str(error("first\nsecond\r\n  third")) == "first second third"
    assert str(pickle.loads(pickle.dumps(error("text")))) == "text"


def test_an_unknown_name_proposes_the_nearest_and_survives_pickling() -> None:
    error = UnknownNameError("metric", "worst_dept", ("worst_depth", "retrace"))
    line = (
        "metric: expected a known name, received 'worst_dept', known: worst_depth, retrace; "
        "did you mean 'worst_depth'?"
    )
    assert str(error) == line
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.kind, copy.known) == (line, "metric", ("worst_depth", "retrace"))
    assert error.exit_code == 2


def test_nothing_is_proposed_when_nothing_is_near() -> None:
    assert expectation("x", "a word", "zzz", ["alpha"]) == "x: expected a word, received 'zzz', known: alpha"
    assert expectation("x", "a word", 3, []) == "x: expected a word, received 3, known: none"


def test_values_are_shown_the_way_yaml_writes_them() -> None:
    assert [value_text(value) for value in (None, True, False, "a\nb", 1e-4)] == [
        "null",
        "true",
        "false",
        "'a\\nb'",
        "0.0001",
    ]
    assert len(value_text("x" * 1000)) == 120
    assert value_text(10**5000) == "a value of type int"


def test_floats_are_added_one_after_the_other() -> None:
    assert added([0.1] * 10) == 0.9999999999999999
    assert added(value for value in (1e16, 1.0, -1e16)) == 0.0
    assert added([]) == 0.0
