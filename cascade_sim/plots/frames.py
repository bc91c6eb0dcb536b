"""What several charts need from a result: the clock, bins of time, titles and axes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from cascade_sim.domain.errors import OutputError
from cascade_sim.plots.words import plain
from cascade_sim.result import RunResult

MARKET_COLUMNS = ("step", "time_seconds", "venue", "instrument", "mark")
"""What every chart over time needs of the series."""
LEAD_MINUTES = 15.0
TAIL_MINUTES = 90.0
_BIN_MINUTES = (1.0, 5.0, 15.0, 60.0, 240.0, 1440.0)
_MOST_BINS = 300


@dataclass(frozen=True)
class Clock:
    """The time axis of a chart.

    Attributes
    ----------
    origin_seconds
        Model time that the axis calls zero.
    label
        Axis label.
    has_shock
        Whether the origin is the first shock.
    last_minute
        Where the axis ends; infinite for the end of the run.
    """

    origin_seconds: float
    label: str
    has_shock: bool
    last_minute: float = math.inf

    def minutes(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Minutes since the origin for every row of a table with ``time_seconds``."""
        return (frame["time_seconds"].to_numpy(dtype=np.float64) - self.origin_seconds) / 60.0


def clock_of(result: RunResult) -> Clock:
    """Time axis of a run: minutes after the first recorded shock, or after the end of burn-in.

    After a shock from which the mark recovered, the axis ends when that is well over, and its label says so:
    hours of calm would press what happened into a corner.

    Parameters
    ----------
    result
        Run to draw.

    Returns
    -------
    Clock
    """
    events = result.columns("events", ("type", "time_seconds"))
    shocks = events.loc[events["type"] == "shock", "time_seconds"]
    if not len(shocks):
        return Clock(0.0, "minutes after the start of the run", False)
    origin, label = float(shocks.min()), "minutes after the first shock"
    recovery = result.summary.get("recovery_seconds")
    if recovery is None or not result.rows("series"):
        return Clock(origin, label, True)
    last = max(TAIL_MINUTES, 15.0 * math.ceil(recovery / 600.0))
    end = (float(result.columns("series", ("time_seconds",))["time_seconds"].max()) - origin) / 60.0
    if end <= last:
        return Clock(origin, label, True)
    return Clock(origin, f"{label}; drawn: {last:.0f} of {end:.0f}", True, last)


def market_series(frame: pd.DataFrame, market: tuple[str, str] | None = None) -> pd.DataFrame:
    """Rows of one market after burn-in, in the order of time.

    Parameters
    ----------
    frame
        Series table of one or several markets.
    market
        Venue and instrument; the first in the table when None.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    OutputError
        If a column that identifies the market is missing or the market is not in the table.
    """
    missing = set(MARKET_COLUMNS) - set(frame.columns)
    if missing:
        raise OutputError(f"expected a series table, received one without {', '.join(sorted(missing))}")
    if frame.empty:
        return frame
    if market is None:
        market = (str(frame["venue"].iloc[0]), str(frame["instrument"].iloc[0]))
    chosen = frame[(frame["venue"] == market[0]) & (frame["instrument"] == market[1])]
    if chosen.empty:
        raise OutputError(f"expected a market of the run, received {' '.join(market)}")
    return chosen[chosen["step"] >= 0].sort_values("step")


def visible(frame: pd.DataFrame, clock: Clock) -> pd.DataFrame:
    """Rows from a quarter of an hour before the origin to the end of the clock: without hours of calm."""
    minutes = clock.minutes(frame)
    return frame[(minutes >= -LEAD_MINUTES) & (minutes <= clock.last_minute)]


def drawn_series(
    result: RunResult, names: Sequence[str], clock: Clock, market: tuple[str, str] | None = None
) -> pd.DataFrame:
    """Rows of one market that a chart over time shows, read piece by piece.

    Parameters
    ----------
    result
        Run to draw.
    names
        Columns of the series beside those of every chart.
    clock
        Time axis.
    market
        As for `market_series`.

    Returns
    -------
    pandas.DataFrame
    """
    pieces = list(_drawn_pieces(result, names, clock, market))
    return pd.concat(pieces, ignore_index=True) if len(pieces) > 1 else pieces[0]


def _drawn_pieces(
    result: RunResult, names: Sequence[str], clock: Clock, market: tuple[str, str] | None
) -> Iterator[pd.DataFrame]:
    """Pieces of the series, at least one, cut to the rows of `drawn_series`."""
    found = False
    other = None
    for rows in result.pieces("series", (*MARKET_COLUMNS, *names)):
        if market is None and len(rows):
            market = (str(rows["venue"].iloc[0]), str(rows["instrument"].iloc[0]))
        if market is None or ((rows["venue"] == market[0]) & (rows["instrument"] == market[1])).any():
            found = True
            yield visible(market_series(rows, market), clock)
        else:
            other = rows
    if not found and other is not None:
        yield market_series(other, market)


def bin_width(minutes: NDArray[np.float64]) -> float:
    """Width of a time bin in minutes: one, or the next round number that keeps bars apart on long runs."""
    span = float(minutes.max() - minutes.min()) if len(minutes) else 0.0
    return next((width for width in _BIN_MINUTES if span / width <= _MOST_BINS), _BIN_MINUTES[-1])


def per_bin(width: float) -> str:
    """Words for an amount per bin of ``width`` minutes."""
    return "per minute" if width == 1.0 else f"per {width:g} minutes"


def sum_by_time(
    minutes: NDArray[np.float64], columns: pd.DataFrame, width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Add up columns in bins of time.

    Parameters
    ----------
    minutes
        Time of each row, shape (n,), minutes.
    columns
        Amounts, shape (n, k).
    width
        Bin width in minutes.

    Returns
    -------
    tuple of numpy.ndarray
        Left edges, shape (b,), in minutes; sums, shape (b, k).
    """
    number, edges = _bins(minutes, width)
    sums = np.zeros((len(edges), columns.shape[1]))
    _add_to_bins(sums, number, columns)
    return edges, sums


def sum_series_by_time(
    result: RunResult, names: Sequence[str], clock: Clock, market: tuple[str, str] | None, width: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Add up columns of the rows of `drawn_series` in bins of time, holding one piece of them at a time.

    Parameters
    ----------
    result, names, clock, market
        As for `drawn_series`; there must be rows.
    width
        Bin width in minutes.

    Returns
    -------
    tuple of numpy.ndarray
        As of `sum_by_time`.
    """
    number, edges = _bins(clock.minutes(drawn_series(result, (), clock, market)), width)
    sums = np.zeros((len(edges), len(names)))
    done = 0
    for rows in _drawn_pieces(result, names, clock, market):
        _add_to_bins(sums, number[done : done + len(rows)], rows[list(names)])
        done += len(rows)
    return edges, sums


def _bins(minutes: NDArray[np.float64], width: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of each row's bin, from 0, and the left edges of all bins."""
    # The rounding keeps a row that lies on an edge, up to float error, in the bin it opens.
    number = np.floor(np.round(minutes / width, 9)).astype(np.int64)
    first, last = int(number.min()), int(number.max())
    # A run that ends on an edge opens a bin with its last row only, which would look like silence.
    if last > first and np.count_nonzero(number == last) == 1:
        last -= 1
        number = np.minimum(number, last)
    return number - first, np.arange(first, last + 1, dtype=np.float64) * width


def _add_to_bins(sums: NDArray[np.float64], number: NDArray[np.int64], columns: pd.DataFrame) -> None:
    for k in range(columns.shape[1]):
        np.add.at(sums[:, k], number, columns.iloc[:, k].to_numpy(dtype=np.float64))


def headline(axes: Axes, text: str, *, width: int = 76, pad: float | None = None) -> None:
    """Give a chart the sentence that it shows as its title, broken into lines where it is long."""
    axes.set_title(fill(text, width), pad=pad)


def headline_above(figure: Figure, text: str) -> None:
    """Give a chart of several panels the sentence that it shows, broken into lines where it is long."""
    figure.suptitle(fill(text, 76), x=0.01, ha="left", fontweight="bold", fontsize=12)


def plain_axis(axes: Axes, which: str) -> None:
    """Give the x or y axis plain numbers with thousands separators."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(plain))


def mark_origin(axes: Axes, clock: Clock) -> None:
    """Draw a thin line at the first shock."""
    if clock.has_shock:
        axes.axvline(0.0, color="0.35", linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)


def say(axes: Axes, text: str, *, keep_time: bool = False) -> None:
    """Write into an empty panel why it is empty; ``keep_time`` leaves the time axis it shares with others."""
    axes.set_yticks([])
    if not keep_time:
        axes.set_xticks([])
    axes.grid(False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="0.3", fontsize=11)
