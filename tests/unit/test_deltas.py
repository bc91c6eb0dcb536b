"""Deltas of a whole grid against the Black-76 formula one by one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from cascade_sim.core.prices.deltas import fast_distribution, fast_exponential, fill_deltas

pytestmark = pytest.mark.kernel


@given(st.floats(-700.0, 0.0))
def test_the_exponential_is_exact_to_a_few_units_in_the_last_place(value: float) -> None:
    assert fast_exponential(value) == pytest.approx(math.exp(value), rel=1e-15, abs=0.0)


@given(st.floats(-36.0, 36.0))
def test_the_distribution_function_holds_in_both_tails(value: float) -> None:
    # Absolutely as good as doubles near one; relatively to eight digits where hardly anything is left.
    assert fast_distribution(value) == pytest.approx(norm.cdf(value), rel=1e-13, abs=1e-15)
    assert fast_distribution(value) == pytest.approx(norm.cdf(value), rel=1e-8, abs=0.0)


@pytest.mark.parametrize("value", [math.inf, 1e300, 40.0])
def test_far_out_there_is_nothing_left(value: float) -> None:
    assert fast_distribution(value) == 1.0
    assert 0.0 <= fast_distribution(-value) < 1e-290


@given(st.floats(0.5, 2.0), st.floats(0.0, 0.003))
def test_a_grid_has_the_deltas_of_the_formula(move: float, elapsed: float) -> None:
    strike = np.linspace(15_000.0, 29_000.0, 23)
    years = np.tile([0.004, 0.02, 0.5, 3.0], 6)[:23]
    volatility = np.tile([0.2, 0.6, 1.4], 8)[:23]
    ratio = 1.0 + 0.01 * years
    sign = np.where(np.arange(23) % 2 == 0, 1.0, -1.0)
    price, delta = 22_000.0 * move, np.zeros(23)
    fill_deltas(22, math.log(price), elapsed, np.log(ratio / strike), years, volatility, sign, ratio, delta)
    total = volatility * np.sqrt(years - elapsed)
    deviate = np.log(price * ratio / strike) / total + 0.5 * total
    expected = sign * norm.cdf(sign * deviate) * ratio
    np.testing.assert_allclose(delta[:22], expected[:22], rtol=0.0, atol=1e-13)
    assert delta[22] == 0.0


def test_without_volatility_a_delta_is_a_step() -> None:
    strike, none = np.array([90.0, 99.99, 100.01, 110.0]), np.zeros(4)
    delta, ones = np.zeros(4), np.ones(4)
    fill_deltas(4, math.log(100.0), 0.0, np.log(1.0 / strike), ones, none, ones, ones, delta)
    np.testing.assert_allclose(delta, [1.0, 1.0, 0.0, 0.0], atol=1e-290)
