"""Mark-price rules. A rule with a ``compiled`` code runs inside the kernels; any other is asked once per step.

A rule that is ``instant`` has no memory and is asked again after every round of liquidation within a step. For one that
``follows_index`` a move of the mark that no order explains counts as news, otherwise as a revision of quotes. One that
``needs_impact`` is given impact prices of ``market.impact_notional``, its basis being theirs; one that ``needs_book`` is
given the median of best bid, best ask and last trade.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cascade_sim.core import layout as lay
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.registry import MARK_PRICES


@dataclass(frozen=True)
class MarkInputs:
    """What a mark-price rule sees, all in quote currency.

    ``mid`` is the last two-sided mid; ``one_sided`` says that the book has lost a side since. ``basis`` is the
    exponential average of mid minus index with the weight that the rule's ``memory`` gives. ``delayed_index`` is the
    index as long ago as the rule's ``delay_seconds``; ``impact_mid`` and ``book_median`` are kept for rules that need
    them, ``book_average`` with the weight that ``book_memory`` gives. ``funding_basis`` is the rate of the last
    interval times the share of this one that is left.
    """

    mid: float
    last: float
    index: float
    mark: float
    basis: float
    one_sided: bool
    dt: float
    delayed_index: float = math.nan
    impact_mid: float = math.nan
    book_median: float = math.nan
    book_average: float = math.nan
    funding_basis: float = 0.0


def _memory(seconds: float, dt: float) -> float:
    return 1.0 - math.exp(-dt / seconds) if seconds > 0.0 else 1.0


def _at_least_0(rule: object, *names: str) -> None:
    for name in names:
        value = getattr(rule, name)
        if value < 0.0:
            raise ScenarioError(expectation(f"market.mark_price.{name}", "at least 0", value))


def _median_of_three(a: float, b: float, c: float) -> float:
    return max(min(a, b), min(max(a, b), c))


@MARK_PRICES.register("ema_mid")
@dataclass(frozen=True)
class EmaMid:
    """Exponential average of the mid.

    Parameters
    ----------
    time_constant_seconds : float
        Seconds after which 63 % of a step in the mid has arrived; 0 gives the mid itself.
    """

    time_constant_seconds: float = 3.0

    compiled: ClassVar[int] = lay.MARK_EMA_MID

    def __post_init__(self) -> None:
        if self.time_constant_seconds < 0.0:
            raise ScenarioError(
                expectation(
                    "market.mark_price.time_constant_seconds", "at least 0", self.time_constant_seconds
                )
            )

    def memory(self, dt: float) -> float:
        """Weight of the newest observation per step of ``dt`` seconds."""
        return _memory(self.time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        if inputs.one_sided:
            return inputs.mark
        return inputs.mark + (inputs.mid - inputs.mark) * self.memory(inputs.dt)


@MARK_PRICES.register("median")
@dataclass(frozen=True)
class Median:
    """Median of index, index plus smoothed basis, and last trade, as derivative venues publish it.

    Parameters
    ----------
    basis_time_constant_seconds : float
        Memory of the average of mid minus index, in seconds.
    """

    basis_time_constant_seconds: float = 30.0

    compiled: ClassVar[int] = lay.MARK_MEDIAN
    follows_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.basis_time_constant_seconds < 0.0:
            raise ScenarioError(
                expectation(
                    "market.mark_price.basis_time_constant_seconds",
                    "at least 0",
                    self.basis_time_constant_seconds,
                )
            )

    def memory(self, dt: float) -> float:
        """Weight of the newest basis per step of ``dt`` seconds."""
        return _memory(self.basis_time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        based = inputs.index + inputs.basis
        low, high = min(inputs.index, based), max(inputs.index, based)
        return max(low, min(high, inputs.last))


@MARK_PRICES.register("last")
@dataclass(frozen=True)
class Last:
    """The last trade; under linear impact the current price. It has no memory and moves between rounds."""

    compiled: ClassVar[int] = lay.MARK_LAST
    instant: ClassVar[bool] = True

    def memory(self, dt: float) -> float:
        """Weight of the newest price: all of it."""
        return 1.0

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.last


@MARK_PRICES.register("mid")
@dataclass(frozen=True)
class Mid:
    """The mid without memory, between rounds too; a one-sided book leaves the mark where it was."""

    compiled: ClassVar[int] = lay.MARK_MID
    instant: ClassVar[bool] = True

    def memory(self, dt: float) -> float:
        """Weight of the newest price: all of it."""
        return 1.0

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.mark if inputs.one_sided else inputs.mid


@MARK_PRICES.register("ema_basis")
@dataclass(frozen=True)
class EmaBasis:
    """Index plus smoothed basis (Thalex: 30 s average of impact mid minus index; Binance's second price: of the mid).

    Parameters
    ----------
    basis_time_constant_seconds : float
        Memory of the average of mid minus index, in seconds.
    fair : {"mid", "impact"}
        What the index is taken from: the mid, or the middle of the impact prices.
    """

    basis_time_constant_seconds: float = 30.0
    fair: Literal["mid", "impact"] = "mid"

    compiled: ClassVar[int] = lay.MARK_BASIS
    follows_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least_0(self, "basis_time_constant_seconds")

    @property
    def needs_impact(self) -> bool:
        """Whether the basis is that of the impact prices."""
        return self.fair == "impact"

    def memory(self, dt: float) -> float:
        """Weight of the newest basis per step of ``dt`` seconds."""
        return _memory(self.basis_time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.index + inputs.basis


@MARK_PRICES.register("clamped_basis")
@dataclass(frozen=True)
class ClampedBasis:
    """Index plus smoothed basis within a band around the index (Deribit: 30 s average of the fair impact price's basis).

    Parameters
    ----------
    basis_time_constant_seconds : float
        Memory of the average of mid minus index, in seconds.
    clamp : float
        Largest basis either way, share of the index.
    fair : {"mid", "impact"}
        What the index is taken from: the mid, or the middle of the impact prices.
    """

    basis_time_constant_seconds: float = 30.0
    clamp: float = 0.005
    fair: Literal["mid", "impact"] = "mid"

    compiled: ClassVar[int] = lay.MARK_BASIS
    follows_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least_0(self, "basis_time_constant_seconds", "clamp")
        if self.clamp >= 1.0:
            raise ScenarioError(expectation("market.mark_price.clamp", "less than 1", self.clamp))

    @property
    def needs_impact(self) -> bool:
        """Whether the basis is that of the impact prices."""
        return self.fair == "impact"

    def memory(self, dt: float) -> float:
        """Weight of the newest basis per step of ``dt`` seconds."""
        return _memory(self.basis_time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        limit = self.clamp * inputs.index
        return inputs.index + max(-limit, min(limit, inputs.basis))


@MARK_PRICES.register("index")
@dataclass(frozen=True)
class IndexPrice:
    """The index, as it was some time ago: oracle-priced margin (dYdX v4; with an hour's delay, Maker's price feed).

    Parameters
    ----------
    delay_seconds : float
        Age of the index that is used, in seconds.
    """

    delay_seconds: float = 0.0

    compiled: ClassVar[int] = lay.MARK_INDEX
    follows_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least_0(self, "delay_seconds")

    def memory(self, dt: float) -> float:
        """Weight of the newest price: all of it."""
        return 1.0

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.delayed_index


@MARK_PRICES.register("impact_mid")
@dataclass(frozen=True)
class ImpactMid:
    """The middle of the average prices at which an order of ``market.impact_notional`` would sell and buy.

    BitMEX calls it the impact mid price, Deribit the fair price. While a side cannot take such an order it stands.
    """

    compiled: ClassVar[int] = lay.MARK_IMPACT_MID
    needs_impact: ClassVar[bool] = True

    def memory(self, dt: float) -> float:
        """Weight of the newest price: all of it."""
        return 1.0

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.impact_mid


@MARK_PRICES.register("funding_basis")
@dataclass(frozen=True)
class FundingBasis:
    """Index x (1 + last funding rate x share of the interval left): the fair price of BitMEX perpetuals."""

    compiled: ClassVar[int] = lay.MARK_FUNDING_BASIS
    follows_index: ClassVar[bool] = True

    def memory(self, dt: float) -> float:
        """Weight of the newest price: all of it."""
        return 1.0

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return inputs.index * (1.0 + inputs.funding_basis)


@MARK_PRICES.register("funding_median")
@dataclass(frozen=True)
class FundingMedian:
    """Median of the fair price by funding, index plus smoothed basis, and last trade (Binance USD-M perpetuals).

    Parameters
    ----------
    basis_time_constant_seconds : float
        Memory of the average of mid minus index, in seconds.
    """

    basis_time_constant_seconds: float = 30.0

    compiled: ClassVar[int] = lay.MARK_FUNDING_MEDIAN
    follows_index: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least_0(self, "basis_time_constant_seconds")

    def memory(self, dt: float) -> float:
        """Weight of the newest basis per step of ``dt`` seconds."""
        return _memory(self.basis_time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        fair = inputs.index * (1.0 + inputs.funding_basis)
        return _median_of_three(fair, inputs.index + inputs.basis, inputs.last)


@MARK_PRICES.register("book_median")
@dataclass(frozen=True)
class BookMedian:
    """Median of index plus smoothed basis, the median of bid, ask and last trade, and its average (Hyperliquid).

    Hyperliquid's third price is a median of other venues' perpetuals and gives way to the average where there is none.

    Parameters
    ----------
    basis_time_constant_seconds : float
        Memory of the average of mid minus index, in seconds.
    book_time_constant_seconds : float
        Memory of the average of the median of bid, ask and last trade, in seconds.
    """

    basis_time_constant_seconds: float = 150.0
    book_time_constant_seconds: float = 30.0

    compiled: ClassVar[int] = lay.MARK_BOOK_MEDIAN
    follows_index: ClassVar[bool] = True
    needs_book: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least_0(self, "basis_time_constant_seconds", "book_time_constant_seconds")

    def memory(self, dt: float) -> float:
        """Weight of the newest basis per step of ``dt`` seconds."""
        return _memory(self.basis_time_constant_seconds, dt)

    def book_memory(self, dt: float) -> float:
        """Weight of the newest median of bid, ask and last trade per step of ``dt`` seconds."""
        return _memory(self.book_time_constant_seconds, dt)

    def mark(self, inputs: MarkInputs) -> float:
        """Return the new mark in quote currency."""
        return _median_of_three(inputs.index + inputs.basis, inputs.book_median, inputs.book_average)
