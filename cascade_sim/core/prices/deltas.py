"""Deltas of the whole option grid at once, for dealers who hedge every few steps.

:mod:`cascade_sim.core.prices.greeks` takes exponentials and distribution functions from the C library, one by one. Here
they are polynomials without branches over arrays, so that several options are computed in one instruction; the two
differ by about two units in the fifteenth decimal.
"""

import math

import numpy as np

from cascade_sim.core.ground.compile import kernel, leaf

_LOG2_E = 1.4426950408889634
# ln 2 in two parts, so that a whole multiple of the first is exact.
_LN2_HIGH = 6.93147180369123816490e-01
_LN2_LOW = 1.90821492927058770002e-10
_EXPONENT = 1.5 * 2.0**52 + 1023.0
"""Adding a whole number to it puts that number plus the bias of an exponent into the lowest bits."""
_FARTHEST = 37.0
"""Beyond this the normal distribution function is below the smallest normal number, or one."""
_JUNCTION = 7.07106781186547
_ROOT_TWO_PI = 2.506628274631
_SMALLEST = 1.0e-300


@leaf
def fast_exponential(value):
    """Exponential of a number between -708 and 0: Taylor's polynomial on half an octave, then the power of two."""
    whole = math.floor(value * _LOG2_E + 0.5)
    rest = value - whole * _LN2_HIGH - whole * _LN2_LOW
    power = rest / 6227020800.0 + 1.0 / 479001600.0
    power = power * rest + 1.0 / 39916800.0
    power = power * rest + 1.0 / 3628800.0
    power = power * rest + 1.0 / 362880.0
    power = power * rest + 1.0 / 40320.0
    power = power * rest + 1.0 / 5040.0
    power = power * rest + 1.0 / 720.0
    power = power * rest + 1.0 / 120.0
    power = power * rest + 1.0 / 24.0
    power = power * rest + 1.0 / 6.0
    power = power * rest + 0.5
    power = power * rest + 1.0
    power = power * rest + 1.0
    bits = np.float64(whole + _EXPONENT).view(np.int64) << np.int64(52)
    return power * np.int64(bits).view(np.float64)


@leaf
def fast_distribution(value):
    """Standard normal distribution function: the rational approximation of Hart (1968) as given by West (2005)."""
    size = min(abs(value), _FARTHEST)
    density = fast_exponential(-0.5 * size * size)
    above = 3.52624965998911e-02 * size + 0.700383064443688
    above = above * size + 6.37396220353165
    above = above * size + 33.912866078383
    above = above * size + 112.079291497871
    above = above * size + 221.213596169931
    above = above * size + 220.206867912376
    below = 8.83883476483184e-02 * size + 1.75566716318264
    below = below * size + 16.064177579207
    below = below * size + 86.7807322029461
    below = below * size + 296.564248779674
    below = below * size + 637.333633378831
    below = below * size + 793.826512519948
    below = below * size + 440.413735824752
    fraction = size + 1.0 / (size + 2.0 / (size + 3.0 / (size + 4.0 / (size + 0.65))))
    near = density * above / below
    far = density / (fraction * _ROOT_TWO_PI)
    tail = near if size < _JUNCTION else far
    return 1.0 - tail if value > 0.0 else tail


@kernel
def fill_deltas(count, log_price, elapsed, log_ratio, years, volatility, sign, scale, delta):
    """Write the deltas of ``count`` options, Black (1976) with rate zero, to ``delta``.

    Parameters
    ----------
    count : int
    log_price : float
        Logarithm of the underlying price in ticks.
    elapsed : float
        Years since the start; every option outlives it.
    log_ratio, years, volatility, sign, scale, delta : float64, shape (capacity,)
        As in :data:`GRID`.
    """
    for index in range(count):
        total = max(volatility[index] * math.sqrt(years[index] - elapsed), _SMALLEST)
        deviate = (log_price + log_ratio[index]) / total + 0.5 * total
        delta[index] = sign[index] * fast_distribution(sign[index] * deviate) * scale[index]
