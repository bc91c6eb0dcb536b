"""Listed options as an exchange shows them, and the dealer inventory that a sign rule reads into them.

Every expiry is priced off its own forward, and a move of 1 % moves every forward by 1 % of itself. Gamma is
that of the value in quote currency (the premium is not counted as a holding of coin). With dealers short the
whole open interest, the snapshot of ETH options of 8 January 2024, 11:19 UTC, gives -28,563 ETH per 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cascade_sim.core.prices.greeks import implied_volatilities
from cascade_sim.domain.errors import CascadeError, DataFileError, UnknownNameError, expectation
from cascade_sim.domain.units import SECONDS_PER_YEAR
from cascade_sim.options.contracts import OptionGrid, gamma_per_percent
from cascade_sim.options.formats import rounding_of
from cascade_sim.options.snapshot import read_snapshot

SIGN_RULES: dict[str, tuple[float, float]] = {
    "customers_long": (-1.0, -1.0),
    "customers_short": (1.0, 1.0),
    "calls_sold_puts_bought": (1.0, -1.0),
}
"""Dealers' sign in calls and in puts per rule. The third is the naive convention for equity indices:
customers sell calls for income and buy puts for protection. Open interest does not tell who is long: a rule
is a guess."""

DROP_REASONS = (
    "not_an_option",
    "expired",
    "no_underlying_price",
    "no_mark_price",
    "price_outside_bounds",
    "zero_time_value",
    "volatility_not_found",
    "open_interest_below_minimum",
)

_SYNTHETIC = "SYN."
# Marks are rounded to a millionth of a coin or coarser, so less time value than a thousandth of that is none.
_LEAST_TIME_VALUE = 1e-9
# The coarsest steps that marks are quoted in; the digits of a short file may look coarser than its quotes are.
_COARSEST_IN_COIN, _COARSEST_IN_QUOTE, _COARSEST_FORWARD = 1e-4, 1e-2, 1e-2
_LARGEST_VOLATILITY_GAP = 0.1
"""Half of the options may differ by no more from the exchange's own volatility, relative; else the marks are misread."""


@dataclass(frozen=True, eq=False)
class Chain:
    """The usable options of one snapshot.

    Parameters
    ----------
    coin : str
        Base currency; quantities are units of it.
    snapshot_time : Timestamp
        Latest creation time in the file, UTC.
    forward : float
        Reference forward that starts the market: the underlying price of the nearest expiry whose
        underlying is a listed future. Where all underlyings are synthetic (``SYN.`` forwards, which the
        exchange interpolates), that of the nearest expiry.
    forward_source : str
        Name of the underlying that gave ``forward``.
    names : tuple of str
        Instrument names in the order of the grid.
    grid : OptionGrid
        Terms, implied volatilities and open interest; forward ratios are relative to ``forward``.
    dropped : DataFrame
        What was left out and why: columns ``reason``, ``count``, ``open_interest`` (base units), one row for
        each of `DROP_REASONS`. An option with several faults counts under the first.
    quote : str
        Currency of strikes and values: that of a linear option's settlement, USD for one settled in its coin.
    settles_in_coin : bool
        Whether marks were in the coin.
    volatility_gap : float or None
        Largest difference between an implied volatility and the one that the exchange states, annualised fraction;
        None where the file states none.
    """

    coin: str
    snapshot_time: pd.Timestamp
    forward: float
    forward_source: str
    names: tuple[str, ...]
    grid: OptionGrid
    dropped: pd.DataFrame
    quote: str = "USD"
    settles_in_coin: bool = True
    volatility_gap: float | None = None

    def dealer_inventory(self, share: float, sign: str) -> NDArray[np.float64]:
        """Return the positions of dealers who face a share of the open interest.

        Parameters
        ----------
        share : float
            Part of the open interest that has a dealer on one side, 0 to 1.
        sign : str
            One of `SIGN_RULES`: ``customers_long`` (dealers are short everything), ``customers_short`` (long
            everything) or ``calls_sold_puts_bought`` (long calls, short puts).

        Returns
        -------
        array, shape (n,)
            Signed base units; positive is long the option.

        Raises
        ------
        CascadeError
            If the share is not within 0 to 1.
        UnknownNameError
            If the sign rule is not known.
        """
        if not 0.0 <= share <= 1.0:
            raise CascadeError(expectation("share", "a number from 0 to 1", share))
        if sign not in SIGN_RULES:
            raise UnknownNameError("sign rule", sign, SIGN_RULES)
        in_calls, in_puts = SIGN_RULES[sign]
        return share * self.grid.open_interest * np.where(self.grid.is_call, in_calls, in_puts)

    def use(self, run_seconds: float = 0.0) -> dict[str, Any]:
        """Return how many instruments of the file a run can use, and how many it cannot for which reason.

        Parameters
        ----------
        run_seconds : float
            Length of the run after burn-in; options that expire within it are left out.

        Returns
        -------
        dict
            ``coin``, ``quote``, ``snapshot_time`` (ISO 8601), ``forward`` (quote per base unit) and its ``forward_source``,
            ``instruments``, ``used``, and ``dropped``: reason -> ``count`` and ``open_interest`` (base units), for
            each of `DROP_REASONS` that occurs, ``expires_within_the_run`` and ``no_open_interest``; and where the
            exchange states volatilities ``volatility_gap``, the largest difference from them.
        """
        dropped = {
            str(reason): {"count": int(count), "open_interest": float(open_interest)}
            for reason, count, open_interest in self.dropped.itertuples(index=False)
            if count
        }
        held = self.grid.open_interest
        early = self.grid.years <= run_seconds / SECONDS_PER_YEAR
        empty = ~early & (held == 0.0)
        for reason, out in (("expires_within_the_run", early), ("no_open_interest", empty)):
            if out.any():
                dropped[reason] = {"count": int(out.sum()), "open_interest": float(held[out].sum())}
        instruments = len(self.names) + int(self.dropped["count"].sum())
        stated = {} if self.volatility_gap is None else {"volatility_gap": self.volatility_gap}
        return stated | {
            "coin": self.coin,
            "quote": self.quote,
            "snapshot_time": self.snapshot_time.isoformat(),
            "forward": self.forward,
            "forward_source": self.forward_source,
            "instruments": instruments,
            "used": instruments - sum(entry["count"] for entry in dropped.values()),
            "dropped": dropped,
        }

    def gamma_per_percent(self, inventory: ArrayLike, forward: float | None = None) -> float:
        """Return the change of the inventory's delta per +1 % move, in base units; negative when short gamma.

        Parameters
        ----------
        inventory : array_like, shape (n,)
            Signed base units, e.g. from `dealer_inventory`.
        forward : float, optional
            Reference forward; that of the snapshot if it is left out. All expiries' forwards move in
            proportion.

        Returns
        -------
        float
            See `cascade_sim.options.contracts.gamma_per_percent`.

        Raises
        ------
        CascadeError
            If the inventory does not fit the grid or the forward is not positive.
        """
        return gamma_per_percent(self.grid, inventory, self.forward if forward is None else forward)


def load_chain(
    path: str | Path,
    minimum_open_interest: float = 0.0,
    *,
    coin: str | None = None,
    contract_size: float | None = None,
) -> Chain:
    """Load a snapshot of the options on one coin and invert its marks.

    Marks of coin-settled options are quoted in the coin: an option is worth mark_price * underlying_price in quote
    currency, where underlying_price is the forward of its expiry. Marks of linear options are in quote currency.
    Implied volatility is solved from that value by Black-76 at rate zero over years of 365 days to 08:00 UTC on the
    expiry date. Where the file states volatilities too, they check that its marks were read in the right unit.

    Parameters
    ----------
    path : str or Path
        CSV or JSON, see `cascade_sim.options.snapshot.read_snapshot`.
    minimum_open_interest : float
        Leave out options with less, base units.
    coin : str, optional
        Which options, where the file holds those on several coins.
    contract_size : float, optional
        Base units per contract, where the file counts open interest in contracts.

    Returns
    -------
    Chain

    Raises
    ------
    DataFileError
        If the file cannot be read as a snapshot, no option in it can be used, or at most of them the stated
        volatility is not the one that the mark gives.
    ScenarioError
        If it takes a coin or a contract size that is not given.
    CascadeError
        If the minimum is negative or not finite.
    """
    if not 0.0 <= minimum_open_interest < np.inf:
        raise CascadeError(
            expectation("minimum_open_interest", "a number not below 0", minimum_open_interest)
        )
    options, others = read_snapshot(path, coin, contract_size)
    snapshot_time = pd.Timestamp(float(options["creation_timestamp"].max()), unit="ms", tz="UTC")
    options["years"] = (options["expiry"] - snapshot_time).dt.total_seconds() / SECONDS_PER_YEAR
    options["implied_volatility"] = _volatilities(options)
    reason = _reasons(options, minimum_open_interest)
    dropped = _dropped_table(options, reason, others)
    usable = options[reason == ""].sort_values(["expiry", "strike", "is_call"], kind="stable")
    if usable.empty:
        counts = dict(zip(dropped["reason"], dropped["count"], strict=True))
        received = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        raise DataFileError(expectation(str(path), "at least one usable option", received))
    source, forward = _reference_forward(usable)
    gap = _volatility_gap(path, usable)
    return Chain(
        coin=str(usable["coin"].iloc[0]),
        snapshot_time=snapshot_time,
        forward=forward,
        forward_source=source,
        names=tuple(usable["instrument_name"]),
        grid=_grid(usable, forward),
        dropped=dropped,
        quote=str(usable["quote"].iloc[0]),
        settles_in_coin=bool(usable["inverse"].iloc[0]),
        volatility_gap=gap,
    )


def _column(options: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return options[name].to_numpy(dtype=np.float64)


def _volatility_gap(path: str | Path, usable: pd.DataFrame) -> float | None:
    """Compare implied volatilities with those that the exchange states, and return the largest difference."""
    stated, found = _column(usable, "mark_iv"), _column(usable, "implied_volatility")
    known = stated > 0.0
    if not known.any():
        return None
    gaps = np.abs(found - stated)[known]
    if np.median(gaps / stated[known]) > _LARGEST_VOLATILITY_GAP:
        worst = int(np.argmax(np.where(known, np.abs(found - stated), -1.0)))
        name = usable["instrument_name"].iloc[worst]
        expected = "marks that give the volatilities the file states, within 10 % at half of the options"
        received = f"{found[worst]:.4g} for {name}, stated as {stated[worst]:.4g}"
        raise DataFileError(expectation(str(path), expected, received))
    return float(gaps.max())


def _volatilities(options: pd.DataFrame) -> NDArray[np.float64]:
    forward, mark = _column(options, "underlying_price"), _column(options, "mark_price")
    return implied_volatilities(
        options["is_call"].to_numpy(dtype=np.bool_),
        np.where(options["inverse"].to_numpy(dtype=np.bool_), mark * forward, mark),
        forward,
        _column(options, "strike"),
        _column(options, "years"),
    )


def _rounding(options: pd.DataFrame) -> NDArray[np.float64]:
    """Return how far rounding may move the time value of an option in the money, share of its forward.

    A whole step of its mark, since some round and some cut off, and half a step of the forward, which intrinsic value is
    taken from.
    """
    inverse, forward = options["inverse"].to_numpy(dtype=np.bool_), _column(options, "underlying_price")
    mark = _column(options, "mark_price")
    step = np.zeros(len(options))
    for group, coarsest in ((inverse, _COARSEST_IN_COIN), (~inverse, _COARSEST_IN_QUOTE)):
        step[group] = rounding_of(mark[group], coarsest)
    synthetic = options["underlying_index"].astype(str).str.startswith(_SYNTHETIC).to_numpy(dtype=np.bool_)
    forward_step = np.zeros(len(options))
    for group in (synthetic, ~synthetic):
        forward_step[group] = rounding_of(forward[group], _COARSEST_FORWARD)
    share = _column(options, "strike") / forward
    return np.where(inverse, step, step / forward) + 0.5 * forward_step / forward * np.where(
        inverse, share, 1.0
    )


def _reasons(options: pd.DataFrame, minimum_open_interest: float) -> NDArray[np.str_]:
    """Return, per option, the first of `DROP_REASONS` that applies, or an empty text."""
    mark, forward = _column(options, "mark_price"), _column(options, "underlying_price")
    years, volatility = _column(options, "years"), _column(options, "implied_volatility")
    with np.errstate(divide="ignore", invalid="ignore"):
        mark = np.where(options["inverse"].to_numpy(dtype=np.bool_), mark, mark / forward)
        ratio = _column(options, "strike") / forward
        is_call = options["is_call"].to_numpy(dtype=np.bool_)
        intrinsic = np.maximum(np.where(is_call, 1.0 - ratio, ratio - 1.0), 0.0)
        largest = np.where(is_call, 1.0, ratio)
        rounding = np.where(intrinsic > 0.0, _rounding(options), 0.0)
    least = np.maximum(rounding, _LEAST_TIME_VALUE)
    faults = {
        "expired": years <= 0.0,
        "no_underlying_price": ~(forward > 0.0),
        "no_mark_price": np.isnan(mark) | (mark == 0.0),
        "price_outside_bounds": (mark < intrinsic - least) | (mark >= largest),
        "zero_time_value": mark <= intrinsic + least,
        "volatility_not_found": ~(volatility > 0.0),
        "open_interest_below_minimum": ~(_column(options, "open_interest") >= minimum_open_interest),
    }
    return np.select(list(faults.values()), list(faults), default="")


def _dropped_table(options: pd.DataFrame, reason: NDArray[np.str_], others: int) -> pd.DataFrame:
    open_interest = np.nan_to_num(_column(options, "open_interest"))
    rows = [
        (name, int((reason == name).sum()), float(open_interest[reason == name].sum()))
        for name in DROP_REASONS
    ]
    table = pd.DataFrame(rows, columns=["reason", "count", "open_interest"])
    table.loc[table["reason"] == "not_an_option", "count"] = others
    return table


def _reference_forward(usable: pd.DataFrame) -> tuple[str, float]:
    listed = usable[~usable["underlying_index"].astype(str).str.startswith(_SYNTHETIC)]
    candidates = usable if listed.empty else listed
    nearest = candidates.iloc[int(candidates["expiry"].argmin())]
    return str(nearest["underlying_index"]), float(nearest["underlying_price"])


def _grid(usable: pd.DataFrame, forward: float) -> OptionGrid:
    return OptionGrid(
        strike=_column(usable, "strike"),
        years=_column(usable, "years"),
        is_call=usable["is_call"].to_numpy(dtype=np.bool_),
        implied_volatility=_column(usable, "implied_volatility"),
        open_interest=_column(usable, "open_interest"),
        forward_ratio=_column(usable, "underlying_price") / forward,
    )
