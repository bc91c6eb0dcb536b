"""How far the mark fell, how fast it came back, and how much of it was forced."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.domain.enums import Cause, EventType
from cascade_sim.domain.units import BASIS_POINTS_PER_UNIT, SECONDS_PER_YEAR, added
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.result import RunResult

Floats = NDArray[np.float64]

RECOVERED_SHARE = 0.5
"""Share of the excursion that must be undone for the mark to count as recovered."""
DENSEST_SHARE = 0.05
"""Length of the densest stretch of liquidations, as a share of the event window."""
OFF_BOOK = ("takeover", "adl", "socialise")
"""Events whose fills are made outside the book."""


def between(frame: pd.DataFrame, first: int, last: int) -> pd.DataFrame:
    """Return the rows of a table ordered by step whose step lies in ``first`` .. ``last``, both included."""
    steps = frame["step"].to_numpy()
    left, right = np.searchsorted(steps, first, side="left"), np.searchsorted(steps, last, side="right")
    return frame.iloc[int(left) : int(right)]


def mark_from(result: RunResult, facts: RunFacts, first: int, last: int) -> Floats:
    """Return the mark before step ``first`` and at the end of each step up to ``last``; empty without a series.

    The row of a step is written at its end, so the value *at* a shock is that of the row before; the
    initial price where the run has no such row.
    """
    series = result.columns("series", ("step", "mark"))
    marks = between(series, first, last)["mark"].to_numpy(np.float64)
    if not len(marks):
        return marks
    before = between(series, first - 1, first - 1)["mark"].to_numpy(np.float64)
    return np.concatenate((before if len(before) else [facts.initial_price], marks))


def excursion_path(result: RunResult, facts: RunFacts) -> Floats:
    """Return the log move of the mark over the event window, basis points, beginning with 0 at the shock."""
    marks = mark_from(result, facts, facts.window_start, facts.window_end)
    return np.asarray(BASIS_POINTS_PER_UNIT * np.log(marks / marks[0])) if len(marks) else marks


def _trough(path: Floats, direction: int) -> int:
    """Index of the first point of the largest move against ``direction``."""
    return int(np.argmin(path * direction))


@metric("log bp")
def max_adverse_excursion(result: RunResult, facts: RunFacts) -> float | None:
    """Largest move of mark against the majority of open leverage, in the event window.

    Signed log basis points from the mark as the first shock begins; negative when most are long (the lowest
    point), positive when most are short (the highest); 0 if the mark never moved against them.
    """
    path = excursion_path(result, facts)
    return float(path[_trough(path, facts.majority_direction)]) if len(path) else None


@metric("fraction")
def max_drawdown(result: RunResult, facts: RunFacts) -> float | None:
    """Largest fall of mark from its running peak after burn-in, as a fraction of that peak."""
    marks = mark_from(result, facts, 0, facts.steps - 1)
    if not len(marks):
        return None
    peak = np.maximum.accumulate(marks)
    return float(np.max((peak - marks) / peak))


@metric("fraction")
def retrace(result: RunResult, facts: RunFacts) -> float | None:
    """Fraction of the excursion that is undone at the end of the event window.

    One minus the final log move over the move at the trough: 0 at the trough, 1 back at the start, above 1
    beyond. None without an excursion.
    """
    path = excursion_path(result, facts)
    if not len(path):
        return None
    depth = path[_trough(path, facts.majority_direction)]
    return float(1.0 - path[-1] / depth) if depth != 0.0 else None


@metric("s")
def recovery_seconds(result: RunResult, facts: RunFacts) -> float | None:
    """Seconds from the trough of the excursion to the end of the first step at which half of it is undone.

    The trough is the first point of the largest adverse log move in the event window. None if half is not
    undone before the window ends, or without an excursion.
    """
    path = excursion_path(result, facts)
    if not len(path):
        return None
    trough = _trough(path, facts.majority_direction)
    if path[trough] == 0.0:
        return None
    undone = 1.0 - path[trough:] / path[trough]
    recovered = np.flatnonzero(undone >= RECOVERED_SHARE)
    return float(recovered[0] * facts.dt) if len(recovered) else None


def two_sided_depth(frame: pd.DataFrame, band: int) -> Floats:
    """Return bid plus ask quantity within ``band`` basis points of mid, base units, float64."""
    bid, ask = (frame[f"{side}_depth_{band}bp"].to_numpy(np.float64) for side in ("bid", "ask"))
    return np.asarray(bid + ask)


@metric("fraction")
def worst_depth(result: RunResult, facts: RunFacts) -> float | None:
    """Least depth within 0.1 % of mid, both sides together, over the event window, as a share of calm.

    Calm is the median from step 0 up to the first shock (of the whole run without one). None if the shock
    comes with the first step or calm has no depth.
    """
    series = result.columns("series", ("step", "bid_depth_10bp", "ask_depth_10bp"))
    window = two_sided_depth(between(series, facts.window_start, facts.window_end), 10)
    calm_end = facts.steps - 1 if facts.first_shock_step is None else facts.first_shock_step - 1
    calm = two_sided_depth(between(series, 0, calm_end), 10)
    if not len(window) or not len(calm) or not (usual := float(np.median(calm))) > 0.0:
        return None
    return float(window.min() / usual)


@metric("annualised")
def realised_volatility(result: RunResult, facts: RunFacts) -> float | None:
    """Annualised volatility of the mark after burn-in, from one-minute log returns.

    The year has 365 days, the mean is not removed. Longer steps than a minute are taken as they are. None
    with fewer than two returns.
    """
    marks = mark_from(result, facts, 0, facts.steps - 1)
    stride = max(1, round(60.0 / facts.dt))
    returns = np.diff(np.log(marks[::stride]))
    if len(returns) < 2:
        return None
    return float(np.sqrt(np.mean(returns**2) * SECONDS_PER_YEAR / (stride * facts.dt)))


def close_outs(events: pd.DataFrame) -> pd.DataFrame:
    """Return the events that closed a distressed position: each lot is in exactly one of them."""
    kinds = [EventType.LIQUIDATION.name.lower(), *OFF_BOOK]
    codes = events["type"].cat.categories.get_indexer(pd.Index(kinds))
    return events[np.isin(events["type"].cat.codes.to_numpy(), codes[codes >= 0])]


def _closed(result: RunResult) -> pd.DataFrame:
    return close_outs(result.columns("events", ("step", "type", "filled")))


def densest_share(amounts: Floats, width: int) -> float | None:
    """Return the largest share of a total that falls into ``width`` consecutive entries.

    Parameters
    ----------
    amounts : float64 array, shape (n,)
        Not negative.
    width : int
        At least 1; more than n counts as n.

    Returns
    -------
    float or None
        None if the total is 0.
    """
    total = amounts.sum()
    if not total > 0.0:
        return None
    sums = np.concatenate(([0.0], np.cumsum(amounts)))
    width = min(width, len(amounts))
    return float(min(1.0, (sums[width:] - sums[:-width]).max() / total))


@metric("fraction")
def densest_liquidation_share(result: RunResult, facts: RunFacts) -> float | None:
    """Share of the forced quantity that falls into the densest contiguous 5 % of the event window.

    Forced quantity per step: filled base units of liquidations in the book, takeovers and deleveraging,
    each once. None if nothing was closed by force.
    """
    window = facts.window_end - facts.window_start + 1
    events = between(_closed(result), facts.window_start, facts.window_end)
    place = events["step"].to_numpy(np.int64) - facts.window_start
    amounts = np.bincount(place, weights=events["filled"].to_numpy(np.float64), minlength=window).astype(
        np.float64
    )
    return densest_share(amounts, max(1, round(DENSEST_SHARE * window)))


def volume_share(result: RunResult, facts: RunFacts, cause: Cause) -> float | None:
    """Return the share of one cause in taker volume in the event window, off-book fills left out."""

    def volume(of: Cause) -> float:
        names = [f"{side}_volume_{of.name.lower()}" for side in ("buy", "sell")]
        window = between(result.columns("series", ("step", *names)), facts.window_start, facts.window_end)
        return added(float(window[name].to_numpy(np.float64).sum()) for name in names)

    events = between(_closed(result), facts.window_start, facts.window_end)
    outside = events.loc[events["type"].isin(OFF_BOOK), "filled"].to_numpy(np.float64).sum()
    total = added(volume(each) for each in Cause) - float(outside)
    return volume(cause) / total if total > 0.0 else None


@metric("fraction")
def liquidation_volume_share(result: RunResult, facts: RunFacts) -> float | None:
    """Share of forced closing in the taker volume of the event window; None without volume."""
    return volume_share(result, facts, Cause.LIQUIDATION)


@metric("fraction")
def hedge_volume_share(result: RunResult, facts: RunFacts) -> float | None:
    """Share of delta hedges in the taker volume of the event window; None without volume."""
    return volume_share(result, facts, Cause.DELTA_HEDGE)


@metric("accounts")
def liquidated_accounts(result: RunResult, facts: RunFacts) -> int:
    """Accounts that the liquidation engine closed, in part or in full, each once."""
    return int(facts.total("liquidated_accounts"))


@metric("quote")
def liquidated_notional(result: RunResult, facts: RunFacts) -> float:
    """Notional closed by force: in the book, by takeover and by deleveraging, each lot once."""
    return added(facts.total(f"{route}_notional") for route in ("book", "backstop", "adl"))
