"""Closed-form liquidation prices against bisection on equity = requirement with the tier in force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cascade_sim.core.clearing import margin, worth

pytestmark = pytest.mark.kernel

UPPER = np.array([5e4, 6e5, 3e6, 1.2e7, 7e7, 1e8, 2.3e8, 4.8e8, 6e8, 8e8, 1.2e9, 1.8e9])
RATES = np.array([0.004, 0.005, 0.0065, 0.01, 0.02, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5])
DEDUCTIONS = np.concatenate(([0.0], np.cumsum(UPPER[:-1] * np.diff(RATES))))


def _requirement_by_slices(notional: float) -> float:
    """Charge each slice of the notional the rate of its bracket, as a table of marginal rates reads."""
    requirement, floor = 0.0, 0.0
    for i, rate in enumerate(RATES):
        last = i == RATES.size - 1
        requirement += rate * max((notional if last else min(notional, UPPER[i])) - floor, 0.0)
        floor = UPPER[i]
    return float(requirement)


def _bisect(position: float, cash: float) -> float:
    """Find where equity less requirement changes sign; zero where it does not for positive prices."""

    def distressed(price: float) -> bool:
        return cash + position * price < _requirement_by_slices(abs(position) * price)

    low, high = 0.0, 1e9
    if distressed(low) == distressed(high):
        return 0.0
    at_low = distressed(low)
    for _ in range(200):
        middle = 0.5 * (low + high)
        if distressed(middle) == at_low:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def test_maintenance_is_the_sum_over_slices() -> None:
    notionals = np.concatenate(([0.0], UPPER, UPPER * 0.37, UPPER * 1.01))
    expected = [_requirement_by_slices(value) for value in notionals]
    np.testing.assert_allclose(margin.maintenance_margins(notionals, RATES, DEDUCTIONS), expected, rtol=1e-12)


def test_maintenance_uses_the_tier_in_force() -> None:
    notionals = np.geomspace(1.0, 3e9, 400)
    tiers = margin.bracket_tiers(notionals, UPPER)
    expected = notionals * RATES[tiers] - DEDUCTIONS[tiers]
    np.testing.assert_allclose(margin.maintenance_margins(notionals, RATES, DEDUCTIONS), expected, rtol=1e-12)
    assert set(tiers) == set(range(RATES.size))


def test_bounds_belong_to_the_lower_tier() -> None:
    assert margin.bracket_tiers(UPPER, UPPER).tolist() == list(range(UPPER.size))
    assert margin.bracket_tiers(np.nextafter(UPPER, np.inf), UPPER).tolist() == [*range(1, UPPER.size), 11]


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_liquidation_price_equals_bisection(side: float) -> None:
    generator = np.random.default_rng(11)
    count = 400
    entry = 10.0 ** generator.uniform(0.0, 5.0, count)
    quantity = 10.0 ** generator.uniform(2.0, 9.3, count) / entry
    leverage = 10.0 ** generator.uniform(-0.3, 2.0, count)
    position = side * quantity
    cash = quantity * entry / leverage - position * entry
    found = margin.liquidation_prices(position, cash, RATES, DEDUCTIONS)
    expected = np.array([_bisect(*account) for account in zip(position, cash, strict=True)])
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)
    tiers = margin.bracket_tiers(quantity * found, UPPER)
    assert len(set(tiers)) >= 10


def test_single_tier_is_the_isolated_formula() -> None:
    rates, deductions = np.array([0.0125]), np.array([0.0])
    entry, quantity, collateral = 2200.0, 3.0, 330.0
    long = margin.liquidation_price(quantity, collateral - quantity * entry, rates, deductions)
    short = margin.liquidation_price(-quantity, collateral + quantity * entry, rates, deductions)
    assert long == pytest.approx((quantity * entry - collateral) / (quantity * (1.0 - 0.0125)), rel=1e-15)
    assert short == pytest.approx((quantity * entry + collateral) / (quantity * (1.0 + 0.0125)), rel=1e-15)
    assert worth.bankruptcy_prices(collateral - quantity * entry, quantity) == pytest.approx(
        2090.0, rel=1e-15
    )
    assert worth.bankruptcy_prices(collateral + quantity * entry, -quantity) == pytest.approx(
        2310.0, rel=1e-15
    )


def test_prices_without_a_cross() -> None:
    assert margin.liquidation_price(2.0, 10.0, RATES, DEDUCTIONS) == 0.0
    assert margin.liquidation_price(-2.0, -10.0, RATES, DEDUCTIONS) == 0.0
    assert math.isnan(margin.liquidation_price(0.0, 10.0, RATES, DEDUCTIONS))
