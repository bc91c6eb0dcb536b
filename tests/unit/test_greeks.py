"""Black-76 against QuantLib, finite differences and its limits; implied volatility there and back."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from cascade_sim.core.prices import greeks

pytestmark = pytest.mark.kernel

FORWARD = 2200.0
CASES = [
    (is_call, strike, years, volatility)
    for is_call in (True, False)
    for strike in (1400.0, 2100.0, 2200.0, 2350.0, 4000.0)
    for years in (0.01, 0.25, 1.5)
    for volatility in (0.3, 0.6, 1.5)
]


def _slope(function: Callable[[float], float], at: float, step: float) -> float:
    """Central difference of fourth order."""
    near = function(at + step) - function(at - step)
    far = function(at + 2.0 * step) - function(at - 2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


@pytest.mark.parametrize(("is_call", "strike", "years", "volatility"), CASES)
def test_against_quantlib(is_call: bool, strike: float, years: float, volatility: float) -> None:
    quantlib = pytest.importorskip("QuantLib")
    kind = quantlib.Option.Call if is_call else quantlib.Option.Put
    payoff = quantlib.PlainVanillaPayoff(kind, strike)
    other = quantlib.BlackCalculator(payoff, FORWARD, volatility * math.sqrt(years), 1.0)
    arguments = FORWARD, strike, years, volatility
    assert greeks.black76_price(is_call, *arguments) == pytest.approx(other.value(), rel=1e-11, abs=1e-10)
    assert greeks.black76_delta(is_call, *arguments) == pytest.approx(
        other.deltaForward(), rel=1e-10, abs=1e-13
    )
    assert greeks.black76_gamma(*arguments) == pytest.approx(other.gammaForward(), rel=1e-9, abs=1e-15)
    assert greeks.black76_vega(*arguments) == pytest.approx(other.vega(years), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("is_call", "strike", "years", "volatility"), CASES)
def test_against_finite_differences(is_call: bool, strike: float, years: float, volatility: float) -> None:
    arguments = FORWARD, strike, years, volatility

    def price(forward: float) -> float:
        return greeks.black76_price(is_call, forward, strike, years, volatility)

    def delta(forward: float = FORWARD, later: float = 0.0, at: float = volatility) -> float:
        return greeks.black76_delta(is_call, forward, strike, years - later, at)

    def adjusted(forward: float) -> float:
        return greeks.black76_premium_adjusted_delta(is_call, forward, strike, years, volatility)

    step = FORWARD * volatility * math.sqrt(years) * 1e-3
    assert delta() == pytest.approx(_slope(price, FORWARD, step), abs=1e-9)
    assert greeks.black76_gamma(*arguments) * FORWARD == pytest.approx(
        _slope(delta, FORWARD, step) * FORWARD, rel=1e-7, abs=1e-7
    )
    assert adjusted(FORWARD) == pytest.approx(delta() - price(FORWARD) / FORWARD, abs=1e-13)
    assert greeks.black76_premium_adjusted_gamma(is_call, *arguments) * FORWARD == pytest.approx(
        _slope(adjusted, FORWARD, step) * FORWARD, rel=1e-7, abs=1e-7
    )
    by_volatility = _slope(
        lambda at: greeks.black76_price(is_call, FORWARD, strike, years, at), volatility, volatility * 1e-3
    )
    assert greeks.black76_vega(*arguments) == pytest.approx(by_volatility, rel=1e-7, abs=1e-6)
    vanna = _slope(lambda at: delta(at=at), volatility, volatility * 1e-3)
    assert greeks.black76_vanna(*arguments) == pytest.approx(vanna, rel=1e-7, abs=1e-9)
    charm = _slope(lambda later: delta(later=later), 0.0, years * 1e-3)
    assert greeks.black76_charm(*arguments) == pytest.approx(charm, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize(("years", "volatility"), [(0.0, 0.6), (-0.1, 0.6), (0.1, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("strike", [2000.0, 2200.0, 2400.0])
def test_at_expiry_and_without_volatility(strike: float, years: float, volatility: float) -> None:
    arguments = FORWARD, strike, years, volatility
    step = 0.5 if strike == FORWARD else float(strike < FORWARD)
    assert greeks.black76_price(True, *arguments) == max(FORWARD - strike, 0.0)
    assert greeks.black76_price(False, *arguments) == max(strike - FORWARD, 0.0)
    assert greeks.black76_delta(True, *arguments) == step
    assert greeks.black76_delta(False, *arguments) == step - 1.0
    assert greeks.black76_premium_adjusted_delta(True, *arguments) == pytest.approx(step * strike / FORWARD)
    for function in (greeks.black76_gamma, greeks.black76_vega, greeks.black76_vanna, greeks.black76_charm):
        assert function(*arguments) == 0.0


def test_put_call_parity_and_bounds() -> None:
    for is_call, strike, years, volatility in CASES:
        price = greeks.black76_price(is_call, FORWARD, strike, years, volatility)
        other = greeks.black76_price(not is_call, FORWARD, strike, years, volatility)
        sign = 1.0 if is_call else -1.0
        assert price - other == pytest.approx(sign * (FORWARD - strike), abs=1e-9)
        assert greeks.intrinsic_value(is_call, FORWARD, strike) <= price < (FORWARD if is_call else strike)


def test_implied_volatility_recovers_what_priced_the_option() -> None:
    generator = np.random.default_rng(7)
    count = 20_000
    forward = np.full(count, FORWARD)
    strike = FORWARD * np.exp(generator.normal(0.0, 0.5, count))
    years = 10.0 ** generator.uniform(-4.0, 0.5, count)
    volatility = 10.0 ** generator.uniform(-1.3, 0.7, count)
    is_call = strike >= FORWARD
    price = greeks.black76_prices(is_call, forward, strike, years, volatility)
    usable = (price > 1e-290) & (price < 0.999 * np.minimum(forward, strike))
    assert usable.sum() > 10_000
    found = greeks.implied_volatilities(is_call, price, forward, strike, years)
    assert np.max(np.abs(found / volatility - 1.0)[usable]) < 1e-10


def test_implied_volatility_in_the_money_reproduces_the_price() -> None:
    for is_call, strike, years, volatility in CASES:
        price = greeks.black76_price(is_call, FORWARD, strike, years, volatility)
        found = greeks.implied_volatility(is_call, price, FORWARD, strike, years)
        assert greeks.black76_price(is_call, FORWARD, strike, years, found) == pytest.approx(price, rel=1e-14)


@pytest.mark.parametrize(
    ("is_call", "price", "forward", "strike", "years"),
    [
        (True, 199.0, 2200.0, 2000.0, 0.1),
        (True, 2200.0, 2200.0, 2000.0, 0.1),
        (False, 199.0, 2000.0, 2200.0, 0.1),
        (False, 2200.0, 2000.0, 2200.0, 0.1),
        (True, -1.0, 2200.0, 2400.0, 0.1),
        (True, math.nan, 2200.0, 2400.0, 0.1),
        (True, 10.0, math.nan, 2400.0, 0.1),
        (True, 10.0, 0.0, 2400.0, 0.1),
        (True, 10.0, math.inf, 2400.0, 0.1),
        (True, 10.0, 2200.0, -1.0, 0.1),
        (True, 10.0, 2200.0, 2400.0, 0.0),
    ],
)
def test_no_implied_volatility(
    is_call: bool, price: float, forward: float, strike: float, years: float
) -> None:
    assert math.isnan(greeks.implied_volatility(is_call, price, forward, strike, years))


def test_implied_volatility_of_the_intrinsic_value_is_zero() -> None:
    assert greeks.implied_volatility(True, 200.0, 2200.0, 2000.0, 0.1) == 0.0
    assert greeks.implied_volatility(False, 0.0, 2200.0, 2000.0, 0.1) == 0.0


def test_implied_volatility_near_the_bounds() -> None:
    for price in (1e-250, 1e-12, 1e-3, 2199.0, 2199.999999):
        found = greeks.implied_volatility(True, price, 2200.0, 2200.0, 0.1)
        assert greeks.black76_price(True, 2200.0, 2200.0, 0.1, found) == pytest.approx(
            price, rel=1e-12, abs=1e-12
        )


def test_array_drivers_equal_the_scalars() -> None:
    is_call = np.array([case[0] for case in CASES])
    strike, years, volatility = (np.array([case[i] for case in CASES]) for i in (1, 2, 3))
    years[3] = 0.0
    forward = np.linspace(1800.0, 2600.0, strike.size)
    table = greeks.black76_sensitivities(is_call, forward, strike, years, volatility)
    plain, adjusted = (np.empty((2, strike.size)) for _ in range(2))
    greeks.delta_and_gamma(is_call, forward, strike, years, volatility, False, *plain)
    greeks.delta_and_gamma(is_call, forward, strike, years, volatility, True, *adjusted)
    for i in range(strike.size):
        call, arguments = bool(is_call[i]), (forward[i], strike[i], years[i], volatility[i])
        scalars = [
            greeks.black76_delta(call, *arguments),
            greeks.black76_gamma(*arguments),
            greeks.black76_vega(*arguments),
            greeks.black76_vanna(*arguments),
            greeks.black76_charm(*arguments),
        ]
        assert table[:, i].tolist() == scalars
        assert plain[:, i].tolist() == scalars[:2]
        expected = [
            greeks.black76_premium_adjusted_delta(call, *arguments),
            greeks.black76_premium_adjusted_gamma(call, *arguments),
        ]
        assert adjusted[:, i].tolist() == expected
