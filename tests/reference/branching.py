"""Closed forms for cascades of liquidations and for delta hedgers on linear permanent impact. Imports nothing of ours."""

from math import lgamma

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def generalized_poisson(theta: float, ratio: float, largest: int) -> Floats:
    """Probability of k = 0 ... ``largest`` liquidations in all (Consul and Jain 1973).

    Parameters
    ----------
    theta : float
        Mean number of accounts that the shock itself liquidates, a Poisson variable.
    ratio : float
        Branching ratio: mean number of accounts that one liquidation liquidates, Poisson as well; 0 to below 1.
    largest : int
        Last count.

    Returns
    -------
    array, shape (largest + 1,)
        theta (theta + n k)^(k - 1) exp(-theta - n k) / k!.
    """
    k = np.arange(largest + 1)
    log_factorial = np.array([lgamma(count + 1.0) for count in k])
    return np.exp(np.log(theta) + (k - 1) * np.log(theta + ratio * k) - theta - ratio * k - log_factorial)


def borel_tanner(roots: int, ratio: float, largest: int) -> Floats:
    """Probability of ``roots`` ... ``largest`` liquidations in all when ``roots`` accounts start (Tanner 1961).

    Parameters
    ----------
    roots : int
        Accounts that the shock itself liquidates, at least 1.
    ratio : float
        Branching ratio, 0 to below 1.
    largest : int
        Last count.

    Returns
    -------
    array, shape (largest + 1 - roots,)
        (r / k) exp(-n k) (n k)^(k - r) / (k - r)!.
    """
    k = np.arange(roots, largest + 1)
    log_factorial = np.array([lgamma(count - roots + 1.0) for count in k])
    return np.asarray(
        roots / k * np.exp(-ratio * k + (k - roots) * np.log(ratio * k) - log_factorial), dtype=np.float64
    )


def fano_branching_ratio(sizes: NDArray[np.int64]) -> float:
    """Branching ratio from sizes (n,): 1 - sqrt(mean / variance) (Hardiman and Bouchaud 2014)."""
    return float(1.0 - np.sqrt(sizes.mean() / sizes.var()))


def amplification(ratio: float, feedback: float) -> float:
    """Drawdown over its exogenous part: 1 / (1 - n + x).

    ``ratio`` is n = impact x position x trigger density; ``feedback`` is x = impact x gamma of the hedgers, negative
    for short gamma. With A_1 = 1 / (1 - n) and A_2 = 1 / (1 + x) this is 1 / A = 1 / A_1 + 1 / A_2 - 1.
    """
    return 1.0 / (1.0 - ratio + feedback)


def chi_square(counts: NDArray[np.int64], probabilities: Floats, least: float = 10.0) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom.

    Parameters
    ----------
    counts : array, shape (m,)
        How often each outcome was seen; outcomes from m on were not.
    probabilities : array, shape (p,), p >= m
        Their probabilities; what is missing to 1 belongs to the last cell.
    least : float
        Neighbouring outcomes are pooled until a cell expects this many.
    """
    total = counts.sum()
    seen = np.zeros(len(probabilities))
    seen[: len(counts)] = counts
    cells: list[list[float]] = [[0.0, 0.0]]
    for observed, expected in zip(seen, probabilities * total, strict=True):
        cells[-1][0] += observed
        cells[-1][1] += expected
        if cells[-1][1] >= least:
            cells.append([0.0, 0.0])
    rest = cells.pop()
    cells[-1][0] += rest[0]
    cells[-1][1] += rest[1] + total * max(0.0, 1.0 - float(probabilities.sum()))
    table = np.array(cells)
    return float(((table[:, 0] - table[:, 1]) ** 2 / table[:, 1]).sum()), len(table) - 1


def autoregressive_volatility(feedback: float) -> float:
    """Volatility per step over that of the noise when hedges lag one step: dP = e - x dP_before."""
    return float(1.0 / np.sqrt(1.0 - feedback**2))


def autoregressive_variance_ratio(feedback: float, lag: int) -> float:
    """Variance of ``lag`` steps over ``lag`` variances of one (Lo and MacKinlay 1988), autocorrelation (-x)^k."""
    k = np.arange(1, lag)
    return float(1.0 + 2.0 * np.sum((1.0 - k / lag) * (-feedback) ** k))
