"""Paired replications of two arms: how far apart they are, how sure that is, and whether it matters."""

import math
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.domain.errors import CascadeError, expectation

Floats = NDArray[np.float64]
Verdict = Literal["better", "worse", "equivalent", "undecided"]

RESAMPLES = 9999
_MOST_AT_ONCE = 4_000_000
"""Draws of a resampling that are held in memory together."""


class Difference(NamedTuple):
    """The mean of paired differences with its interval, in the unit of the metric.

    Attributes
    ----------
    pairs : int
        Number of pairs in which both values are defined.
    estimate, low, high : float
        NaN with fewer than two pairs.
    p_value : float
        Of a two-sided sign-flip test; NaN where it was not asked for.
    """

    pairs: int
    estimate: float
    low: float
    high: float
    p_value: float


def paired_difference(
    treated: ArrayLike,
    control: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    test: bool = True,
    seed: int = 0,
) -> Difference:
    """Return the mean difference of replications that share their draws.

    Parameters
    ----------
    treated, control : array_like of float, shape (n,)
        Values by replication; a pair with a NaN is left out.
    confidence : float
        Of the bootstrap interval, between 0 and 1.
    resamples : int
        Resamples of the bootstrap and sign flips of the test.
    test : bool
        Whether to test.
    seed : int
        Of the resampling: equal input gives equal output.

    Returns
    -------
    Difference

    Raises
    ------
    CascadeError
        If the lengths differ or the confidence lies outside (0, 1).

    Notes
    -----
    The interval is that of the bias-corrected accelerated bootstrap (Efron 1987) of ``scipy.stats.bootstrap``; the test
    flips the signs of the differences (Fisher 1935), ``scipy.stats.permutation_test``, exactly where there are fewer flips
    than resamples. Where all differences are equal the interval has no width.
    """
    left, right = (np.asarray(values, dtype=np.float64) for values in (treated, control))
    if left.shape != right.shape or left.ndim != 1:
        raise CascadeError(expectation("control", f"{left.size} values, one per pair", right.shape))
    if not 0.0 < confidence < 1.0:
        raise CascadeError(expectation("confidence", "a number between 0 and 1", confidence))
    both = np.isfinite(left) & np.isfinite(right)
    gaps = left[both] - right[both]
    if gaps.size < 2:
        return Difference(gaps.size, *[math.nan] * 4)
    estimate = float(gaps.mean())
    if np.ptp(gaps) == 0.0:
        certain = 1.0 if estimate == 0.0 else 2.0 ** (1 - gaps.size)
        return Difference(gaps.size, estimate, estimate, estimate, certain if test else math.nan)
    from scipy import stats  # half a second that a single run does not need

    interval = stats.bootstrap(
        (gaps,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _MOST_AT_ONCE // gaps.size),
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    p_value = math.nan
    if test:
        p_value = float(
            stats.permutation_test(
                (gaps,),
                np.mean,
                permutation_type="samples",
                vectorized=True,
                n_resamples=resamples,
                batch=max(1, _MOST_AT_ONCE // gaps.size),
                rng=np.random.default_rng(seed + 1),
            ).pvalue
        )
    return Difference(gaps.size, estimate, float(interval.low), float(interval.high), p_value)


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted for their number (Holm 1979); NaN stays and is not counted.

    Parameters
    ----------
    p_values : array_like of float, shape (n,)

    Returns
    -------
    float64 array, shape (n,)
    """
    given = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(given.shape, np.nan)
    known = np.isfinite(given)
    if known.any():
        from statsmodels.stats.multitest import multipletests

        adjusted[known] = multipletests(given[known], method="holm")[1]
    return adjusted


def verdict(low: float, high: float, p_value: float, margin: float | None, level: float = 0.05) -> Verdict:
    """Say what a difference of a cost comes to.

    Parameters
    ----------
    low, high : float
        Interval of the difference; positive costs more.
    p_value : float
        Adjusted for the number of comparisons.
    margin : float or None
        Differences within it do not matter; None if every difference does.
    level : float
        Of the test.

    Returns
    -------
    str
        ``equivalent`` if the interval lies within the margin; else ``better`` or ``worse`` if the interval and the test
        both exclude no difference; else ``undecided``.
    """
    if margin is not None and -margin <= low and high <= margin:
        return "equivalent"
    if p_value <= level and (low > 0.0 or high < 0.0):
        return "worse" if low > 0.0 else "better"
    return "undecided"


def needed(difference: Difference, margin: float | None, tests: int = 1, level: float = 0.05) -> int | None:
    """Return about how many pairs a decision would take, by the normal approximation; None if no number would do.

    Parameters
    ----------
    difference : Difference
        What is undecided so far.
    margin : float or None
        As for :func:`verdict`.
    tests : int
        How many differences are tested together.
    level : float
        Of the test and of the interval.

    Returns
    -------
    int or None
        More than there are. The interval shrinks with the square root of their number until it fits into the margin, or,
        as wide as so many tests ask for, leaves zero, whichever comes first.
    """
    half = 0.5 * (difference.high - difference.low)
    if not math.isfinite(half):
        return None
    normal = NormalDist()
    wider = normal.inv_cdf(1.0 - 0.5 * level / max(1, tests)) / normal.inv_cdf(1.0 - 0.5 * level)
    ratios = [half * wider / abs(difference.estimate)] if difference.estimate != 0.0 else []
    if margin is not None and margin > abs(difference.estimate):
        ratios.append(half / (margin - abs(difference.estimate)))
    if not ratios:
        return None
    return max(difference.pairs + 1, math.ceil(difference.pairs * min(ratios) ** 2))


def confidence_sequence(gaps: ArrayLike, level: float = 0.05, tuned_for: int = 50) -> tuple[float, float]:
    """Return an interval for a mean that holds at every number of pairs at once, so that looking early costs nothing.

    Parameters
    ----------
    gaps : array_like of float, shape (n,)
        Paired differences so far.
    level : float
        Probability that the mean is ever outside.
    tuned_for : int
        Number of pairs at which it is narrowest.

    Returns
    -------
    tuple of float
        Low and high; infinite with fewer than two pairs.

    Notes
    -----
    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2021), theorem 2.2: mean plus or
    minus s sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / level)).
    """
    values = np.asarray(gaps, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size < 2:
        return -math.inf, math.inf
    count, spread, mean = values.size, float(values.std(ddof=1)), float(values.mean())
    twice = -2.0 * math.log(level)
    square = (twice + math.log(twice + 1.0)) / tuned_for
    grown = count * square + 1.0
    half = spread * math.sqrt(2.0 * grown / (count**2 * square) * math.log(math.sqrt(grown) / level))
    return mean - half, mean + half


def tail_mean(values: ArrayLike, share: float = 0.05) -> float:
    """Return the mean of the largest values, a ``share`` of all (conditional value at risk).

    Parameters
    ----------
    values : array_like of float, shape (n,)
        Costs; NaN is left out.
    share : float
        Of the distribution, between 0 and 1.

    Returns
    -------
    float
        Where the share is no whole number of values, the last counts in part (Rockafellar and Uryasev 2002). NaN without
        values.
    """
    given = np.asarray(values, dtype=np.float64)
    given = np.sort(given[np.isfinite(given)])[::-1]
    if not given.size:
        return math.nan
    weights = np.clip(share * given.size - np.arange(given.size), 0.0, 1.0)
    return float((weights * given).sum() / weights.sum())
