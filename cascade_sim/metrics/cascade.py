"""How far the mark fell, how fast it came back, and how much of it was forced."""

import numpy as np
from numpy.typing import NDArray

from cascade_sim.domain.enums import CLOSED_BY, Cause
from cascade_sim.domain.units import BASIS_POINTS_PER_UNIT, SECONDS_PER_YEAR
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.runs import Floats, Runs, ratio


def _extreme(runs: Runs) -> Floats:
    """The mark of the largest move against the majority of open leverage."""
    against = runs.figure("majority") >= 0
    return np.where(against, runs.window_prices("mark_lowest"), runs.window_prices("mark_highest"))


def _excursion(runs: Runs) -> Floats:
    return np.asarray(BASIS_POINTS_PER_UNIT * np.log(_extreme(runs) / runs.window_prices("mark_start")))


@metric("log bp", "Price", "largest move against the majority of leverage", cost=1, is_size=True, margin=15.0)
def max_adverse_excursion(runs: Runs) -> Floats:
    """Largest move of mark against the majority of open leverage, in the event window.

    Signed log basis points from the mark as the first shock begins; negative when most are long (the lowest
    point), positive when most are short (the highest); 0 if the mark never moved against them.
    """
    return _excursion(runs)


@metric("fraction", "Price", "largest fall from a peak of mark", cost=1)
def max_drawdown(runs: Runs) -> Floats:
    """Largest fall of mark from its running peak after burn-in, as a fraction of that peak."""
    peak = runs.prices("drawdown_peak")
    return np.asarray((peak - runs.prices("drawdown_trough")) / peak)


@metric("annualised", "Price", "realised volatility, one-minute marks", cost=1)
def realised_volatility(runs: Runs) -> Floats:
    """Annualised volatility of the mark after burn-in, from one-minute log returns.

    The year has 365 days, the mean is not removed. Longer steps than a minute are taken as they are. None
    with fewer than two returns.
    """
    count = np.where(runs.figure("returns") >= 2, runs.figure("returns"), np.nan)
    minute = max(1, round(60.0 / runs.dt)) * runs.dt
    return np.asarray(np.sqrt(runs.figure("squared_returns") / count * SECONDS_PER_YEAR / minute))


@metric("fraction", "Price", "share of the move undone at the end")
def retrace(runs: Runs) -> Floats:
    """Fraction of the excursion that is undone at the end of the event window.

    One minus the final log move over the move at the trough: 0 at the trough, 1 back at the start, above 1
    beyond. None without an excursion.
    """
    depth = _excursion(runs)
    last = BASIS_POINTS_PER_UNIT * np.log(
        runs.window_prices("mark_window_end") / runs.window_prices("mark_start")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(depth != 0.0, 1.0 - last / depth, np.nan)


@metric("s", "Price", "time to recover", cost=1)
def recovery_seconds(runs: Runs) -> Floats:
    """Seconds from the trough of the excursion to the end of the first step at which half of it is undone.

    The trough is the first point of the largest adverse log move in the event window. None if half is not
    undone before the window ends, or without an excursion.
    """
    recovered = runs.figure("recovered_step")
    return runs.seconds(np.where(recovered >= 0, recovered - runs.figure("trough_step"), -1))


@metric("fraction", "Price", "least two-sided depth within 0.1 %, share of calm", cost=-1)
def worst_depth(runs: Runs) -> Floats:
    """Least depth within 0.1 % of mid, both sides together, over the event window, as a share of calm.

    Calm is the mean from step 0 up to the first shock (of the whole run without one). None if the shock
    comes with the first step or calm has no depth.
    """
    least = runs.figure("least_depth")
    calm = ratio(runs.figure("calm_depth"), runs.figure("calm_steps"))
    return ratio(np.where(least >= 0, least, np.nan), calm)


@metric("quote", "Price", "mark as the event window begins")
def mark_start(runs: Runs) -> Floats:
    """Mark as the event window begins: before the step of the first shock, or before step 0 without one."""
    return runs.window_prices("mark_start")


@metric("quote", "Price", "lowest mark of the event window")
def mark_lowest(runs: Runs) -> Floats:
    """Lowest mark of the event window, its beginning included."""
    return runs.window_prices("mark_lowest")


@metric("quote", "Price", "highest mark of the event window")
def mark_highest(runs: Runs) -> Floats:
    """Highest mark of the event window, its beginning included."""
    return runs.window_prices("mark_highest")


@metric("quote", "Price", "mark at the end")
def mark_end(runs: Runs) -> Floats:
    """Mark at the end of the last step."""
    return np.asarray(runs.instrument.ticks_to_prices(runs.total("mark_end")))


@metric("accounts", "Forced closing", "accounts closed by force", cost=1)
def liquidated_accounts(runs: Runs) -> NDArray[np.int64]:
    """Accounts that the liquidation engine closed, in part or in full, each once."""
    return runs.total("liquidated_accounts")


@metric("quote", "Forced closing", "notional closed by force", cost=1)
def liquidated_notional(runs: Runs) -> Floats:
    """Notional closed by force: in the book, by takeover and by deleveraging, each lot once."""
    book, backstop, adl = (runs.closed_by(CLOSED_BY[route]) for route in ("book", "backstop", "adl"))
    return np.asarray(book + backstop + adl)


@metric("base", "Forced closing", "quantity closed by force in the book", cost=1)
def liquidated_quantity(runs: Runs) -> Floats:
    """Base units that the liquidation engine closed in the book."""
    return np.asarray(runs.instrument.lots_to_quantities(runs.total("liquidated_quantity")))


@metric("s", "Forced closing", "time of the first liquidation")
def first_liquidation_seconds(runs: Runs) -> Floats:
    """Seconds from step 0 to the step of the first forced closing; None without any."""
    return runs.seconds(runs.total("first_liquidation_step"))


@metric("s", "Forced closing", "time of the first deleveraging")
def first_adl_seconds(runs: Runs) -> Floats:
    """Seconds from step 0 to the step of the first auto-deleveraging; None without any."""
    return runs.seconds(runs.total("first_adl_step"))


@metric("s", "Forced closing", "time during which the throughput limit bound", cost=1)
def throughput_bound_seconds(runs: Runs) -> Floats:
    """Seconds, in whole steps, in which the engine's limits left somebody waiting: distressed accounts or messages."""
    return runs.seconds(runs.figure("throughput_steps"))


@metric("bp", "Forced closing", "shortfall of close-outs against mark", cost=1)
def liquidation_shortfall(runs: Runs) -> Floats:
    """What close-outs in the book fetched less than the mark as they were decided, basis points of their value there.

    Weighted by quantity; negative if they fetched more. None if nothing was closed in the book.
    """
    return np.asarray(BASIS_POINTS_PER_UNIT * ratio(runs.total("shortfall"), runs.total("decided")))


@metric("fraction", "Forced closing", "liquidations in the densest 5 % of the window", cost=1)
def densest_liquidation_share(runs: Runs) -> Floats:
    """Share of the forced quantity that falls into the densest contiguous 5 % of the event window.

    Forced quantity: filled base units of liquidations in the book, takeovers and deleveraging, each once, by step, in
    windows of more than 4,000 steps by their 4,000th part. None if nothing was closed by force.
    """
    return ratio(runs.total("densest"), runs.total("forced"))


def _volume_share(runs: Runs, cause: Cause) -> Floats:
    """Share of one cause in taker volume in the event window, off-book fills left out."""
    volume = runs.figure("volume")
    return ratio(volume[:, int(cause)], volume.sum(axis=1) - runs.figure("taken"))


@metric("fraction", "Forced closing", "share of liquidations in volume", cost=1)
def liquidation_volume_share(runs: Runs) -> Floats:
    """Share of forced closing in the taker volume of the event window; None without volume."""
    return _volume_share(runs, Cause.LIQUIDATION)


@metric("fraction", "Forced closing", "share of delta hedges in volume")
def hedge_volume_share(runs: Runs) -> Floats:
    """Share of delta hedges in the taker volume of the event window; None without volume."""
    return _volume_share(runs, Cause.DELTA_HEDGE)
