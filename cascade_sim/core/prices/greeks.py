"""Black-76 prices and sensitivities in the forward measure with rate zero, and implied volatility.

Notation: forward F, strike K, years to expiry tau, volatility sigma, total volatility s = sigma sqrt(tau),
x = ln(F/K), d1 = x/s + s/2, d2 = d1 - s, N and phi the normal distribution and density. Source: F. Black,
"The pricing of commodity contracts", Journal of Financial Economics 3 (1976); the greeks are its
derivatives at r = 0.

At expiry (tau <= 0) and at zero volatility an option is worth its intrinsic value: delta is a step (one
half at the strike, the limit of d1 -> 0), and gamma, vega, vanna and charm are zero, at the strike too.

Values are per option on one base unit, in quote currency; premium-adjusted figures are for an option whose
premium is paid in the base coin.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.ground.compile import allocating_kernel, kernel, leaf

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

_ROOT_HALF = math.sqrt(0.5)
_ROOT_TWO_PI = math.sqrt(2.0 * math.pi)
# min(F, K) is the largest time value; beyond this total volatility N(d) has saturated in double precision.
_LARGEST_TOTAL_VOLATILITY = 100.0
_MOST_ITERATIONS = 200


@leaf
def normal_density(value: float) -> float:
    """Return the standard normal density at ``value``."""
    return math.exp(-0.5 * value * value) / _ROOT_TWO_PI


@leaf
def normal_distribution(value: float) -> float:
    """Return the standard normal distribution function at ``value``, accurate in both tails."""
    return 0.5 * math.erfc(-value * _ROOT_HALF)


@leaf
def intrinsic_value(is_call: bool, forward: float, strike: float) -> float:
    """Return the payoff if the option expired now: max(F - K, 0) for a call, max(K - F, 0) for a put."""
    return max(forward - strike, 0.0) if is_call else max(strike - forward, 0.0)


@leaf
def total_volatility(years: float, volatility: float) -> float:
    """Return sigma sqrt(tau), and zero at or after expiry or for a volatility that is not positive."""
    return volatility * math.sqrt(years) if years > 0.0 and volatility > 0.0 else 0.0


@leaf
def time_value(forward: float, strike: float, total: float) -> float:
    """Return the Black-76 price less its intrinsic value, which calls and puts share by parity.

    With l = min(F, K), h = max(F, K) and m = ln(h/l) it is l N(-m/s + s/2) - h N(-m/s - s/2): the price of
    the option that is out of the money, so nothing of it is lost to cancellation against the intrinsic
    value.

    Parameters
    ----------
    forward, strike : float
        Quote currency per base unit, positive.
    total : float
        Total volatility s.

    Returns
    -------
    float
        Quote currency, between 0 and min(F, K).
    """
    if total <= 0.0:
        return 0.0
    low = min(forward, strike)
    high = max(forward, strike)
    distance = math.log(high / low) / total
    half = 0.5 * total
    value = low * normal_distribution(half - distance) - high * normal_distribution(-half - distance)
    return max(value, 0.0)


@leaf
def black76_price(is_call: bool, forward: float, strike: float, years: float, volatility: float) -> float:
    """Return the Black-76 price in quote currency per option, discounted at rate zero.

    Parameters
    ----------
    is_call : bool
        False for a put.
    forward, strike : float
        Quote currency per base unit, positive.
    years : float
        Time to expiry; at or below zero the intrinsic value is returned.
    volatility : float
        Annualised, as a fraction (0.6 is 60 %).

    Returns
    -------
    float
        C = F N(d1) - K N(d2) or P = K N(-d2) - F N(-d1); never below the intrinsic value.
    """
    return intrinsic_value(is_call, forward, strike) + time_value(
        forward, strike, total_volatility(years, volatility)
    )


@leaf
def first_deviate(forward: float, strike: float, total: float) -> float:
    """Return d1 = ln(F/K)/s + s/2; at s = 0 its limit: plus or minus infinity, zero at the strike."""
    if total > 0.0:
        return math.log(forward / strike) / total + 0.5 * total
    if forward > strike:
        return math.inf
    return -math.inf if forward < strike else 0.0


@leaf
def black76_delta(is_call: bool, forward: float, strike: float, years: float, volatility: float) -> float:
    """Return the derivative of the price by the forward: N(d1) for a call, -N(-d1) for a put.

    Parameters are those of `black76_price`; the result is in base units per option.
    """
    deviate = first_deviate(forward, strike, total_volatility(years, volatility))
    return normal_distribution(deviate) if is_call else -normal_distribution(-deviate)


@leaf
def black76_premium_adjusted_delta(
    is_call: bool, forward: float, strike: float, years: float, volatility: float
) -> float:
    """Return the delta of an option whose premium is paid in the base coin: delta - price / F.

    The holder's dollar value moves as if he also held the premium in coin, so that much less has to be
    hedged. In closed form (K/F) N(d2) for a call and -(K/F) N(-d2) for a put. Parameters are those of
    `black76_price`; the result is in base units per option.
    """
    total = total_volatility(years, volatility)
    deviate = first_deviate(forward, strike, total) - total
    ratio = strike / forward
    return ratio * normal_distribution(deviate) if is_call else -ratio * normal_distribution(-deviate)


@leaf
def black76_gamma(forward: float, strike: float, years: float, volatility: float) -> float:
    """Return the derivative of delta by the forward, phi(d1) / (F s), the same for calls and puts.

    Parameters are those of `black76_price`; the result is in base units per option and unit of quote
    currency.
    """
    total = total_volatility(years, volatility)
    if total <= 0.0:
        return 0.0
    return normal_density(first_deviate(forward, strike, total)) / (forward * total)


@leaf
def black76_premium_adjusted_gamma(
    is_call: bool, forward: float, strike: float, years: float, volatility: float
) -> float:
    """Return the derivative by the forward of the premium-adjusted delta d: gamma - d / F.

    Parameters are those of `black76_price`; the result is in base units per option and unit of quote
    currency.
    """
    adjusted = black76_premium_adjusted_delta(is_call, forward, strike, years, volatility)
    return black76_gamma(forward, strike, years, volatility) - adjusted / forward


@leaf
def black76_vega(forward: float, strike: float, years: float, volatility: float) -> float:
    """Return the derivative of the price by volatility, F phi(d1) sqrt(tau), the same for calls and puts.

    Parameters are those of `black76_price`; the result is in quote currency per option and unit of
    volatility (a hundred volatility points).
    """
    total = total_volatility(years, volatility)
    if total <= 0.0:
        return 0.0
    return forward * normal_density(first_deviate(forward, strike, total)) * math.sqrt(years)


@leaf
def black76_vanna(forward: float, strike: float, years: float, volatility: float) -> float:
    """Return the derivative of delta by volatility, -phi(d1) d2 / sigma, the same for calls and puts.

    Parameters are those of `black76_price`; the result is in base units per option and unit of volatility.
    """
    total = total_volatility(years, volatility)
    if total <= 0.0:
        return 0.0
    deviate = first_deviate(forward, strike, total)
    return -normal_density(deviate) * (deviate - total) / volatility


@leaf
def black76_charm(forward: float, strike: float, years: float, volatility: float) -> float:
    """Return the change of delta as time passes, phi(d1) d2 / (2 tau), the same for calls and puts.

    Parameters are those of `black76_price`; the result is in base units per option and year of calendar
    time (minus the derivative by the time to expiry).
    """
    total = total_volatility(years, volatility)
    if total <= 0.0:
        return 0.0
    deviate = first_deviate(forward, strike, total)
    return normal_density(deviate) * (deviate - total) / (2.0 * years)


@leaf
def _solve_total_volatility(forward: float, strike: float, target: float) -> float:
    """Find s with time_value(F, K, s) = target by Newton's method on the logarithm, kept inside a bracket."""
    low = 0.0
    # The inflection of the time value, where Newton's steps are longest without overshooting.
    guess = math.sqrt(2.0 * abs(math.log(forward / strike)))
    high = max(guess, 0.1)
    while time_value(forward, strike, high) < target:
        low = high
        high *= 2.0
        if high > _LARGEST_TOTAL_VOLATILITY:
            return math.nan
    if not low < guess < high:
        guess = 0.5 * (low + high)
    for _ in range(_MOST_ITERATIONS):
        value = time_value(forward, strike, guess)
        if value < target:
            low = guess
        else:
            high = guess
        following = 0.5 * (low + high)
        # Bounds before dividing: far in the tail the ratio or the step would overflow; there it bisects.
        if value > 0.0 and value * 1e-300 < target:
            slope = forward * normal_density(first_deviate(forward, strike, guess))
            excess = math.log(value / target) * value
            if abs(excess) < slope * _LARGEST_TOTAL_VOLATILITY:
                newton = guess - excess / slope
                if low < newton < high:
                    following = newton
        if abs(following - guess) <= 4e-16 * guess:
            return following
        guess = following
    return guess


@kernel
def implied_volatility(is_call: bool, price: float, forward: float, strike: float, years: float) -> float:
    """Return the volatility at which the Black-76 price equals ``price``.

    Parameters
    ----------
    is_call : bool
        False for a put.
    price : float
        Quote currency per option.
    forward, strike : float
        Quote currency per base unit, positive.
    years : float
        Time to expiry, positive.

    Returns
    -------
    float
        Annualised volatility; 0 if the price equals the intrinsic value; NaN if the price lies below it, or
        at or above its upper bound (F for a call, K for a put), or if an argument is not finite and
        positive.
    """
    if not (0.0 < forward < math.inf and 0.0 < strike < math.inf and 0.0 < years < math.inf):
        return math.nan
    value = price - intrinsic_value(is_call, forward, strike)
    if not 0.0 <= value < min(forward, strike):
        return math.nan
    if value == 0.0:
        return 0.0
    return _solve_total_volatility(forward, strike, value) / math.sqrt(years)


@allocating_kernel
def implied_volatilities(
    is_call: Booleans, price: Floats, forward: Floats, strike: Floats, years: Floats
) -> Floats:
    """Return `implied_volatility` element by element; all arguments and the result have shape (n,)."""
    result = np.empty(strike.size)
    for i in range(strike.size):
        result[i] = implied_volatility(is_call[i], price[i], forward[i], strike[i], years[i])
    return result


@allocating_kernel
def black76_prices(
    is_call: Booleans, forward: Floats, strike: Floats, years: Floats, volatility: Floats
) -> Floats:
    """Return `black76_price` element by element; all arguments and the result have shape (n,)."""
    result = np.empty(strike.size)
    for i in range(strike.size):
        result[i] = black76_price(is_call[i], forward[i], strike[i], years[i], volatility[i])
    return result


@allocating_kernel
def black76_sensitivities(
    is_call: Booleans, forward: Floats, strike: Floats, years: Floats, volatility: Floats
) -> Floats:
    """Return all first-order hedging quantities of n options at once.

    Parameters
    ----------
    is_call, forward, strike, years, volatility : arrays, shape (n,)
        As for `black76_price`.

    Returns
    -------
    array, shape (5, n)
        Rows: delta, gamma, vega, vanna, charm, in the units of the functions of those names.
    """
    result = np.empty((5, strike.size))
    for i in range(strike.size):
        result[0, i] = black76_delta(is_call[i], forward[i], strike[i], years[i], volatility[i])
        result[1, i] = black76_gamma(forward[i], strike[i], years[i], volatility[i])
        result[2, i] = black76_vega(forward[i], strike[i], years[i], volatility[i])
        result[3, i] = black76_vanna(forward[i], strike[i], years[i], volatility[i])
        result[4, i] = black76_charm(forward[i], strike[i], years[i], volatility[i])
    return result


@kernel
def delta_and_gamma(
    is_call: Booleans,
    forward: Floats,
    strike: Floats,
    years: Floats,
    volatility: Floats,
    premium_adjusted: bool,
    delta: Floats,
    gamma: Floats,
) -> None:
    """Write delta and gamma of n options, once per price change for a grid that dealers share.

    Parameters
    ----------
    is_call, forward, strike, years, volatility : arrays, shape (n,)
        As for `black76_price`.
    premium_adjusted : bool
        Write the figures for premiums paid in the base coin.
    delta, gamma : arrays, shape (n,)
        Overwritten: base units per option, and per unit of quote currency.
    """
    for i in range(strike.size):
        total = total_volatility(years[i], volatility[i])
        deviate = first_deviate(forward[i], strike[i], total)
        curvature = normal_density(deviate) / (forward[i] * total) if total > 0.0 else 0.0
        scale = 1.0
        shifted = deviate
        if premium_adjusted:
            scale = strike[i] / forward[i]
            shifted = deviate - total
        slope = normal_distribution(shifted) if is_call[i] else -normal_distribution(-shifted)
        delta[i] = scale * slope
        gamma[i] = curvature - scale * slope / forward[i] if premium_adjusted else curvature
