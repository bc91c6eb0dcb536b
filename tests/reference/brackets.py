"""Margin at rates of the whole position, by looking: the requirement of a notional, and ticks tried one by one."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

Tiers = Sequence[tuple[Fraction, Fraction]]
"""Rate and upper end of each tier, ascending; the end belongs to the tier, and the last has none."""


def requirement(notional: Fraction, tiers: Tiers) -> Fraction:
    """The rate of the tier that a notional lies in, times all of it."""
    for rate, end in tiers[:-1]:
        if notional <= end:
            return notional * rate
    return notional * tiers[-1][0]


def is_distressed(position: int, cash: int, price: Fraction, tiers: Tiers) -> bool:
    """Whether equity is at most the requirement at a price."""
    return cash + position * price <= requirement(abs(position) * price, tiers)


def first_distress(position: int, cash: int, prices: Iterable[Fraction], tiers: Tiers) -> Fraction | None:
    """The first of ``prices``, in the order in which the market meets them, at which a position is distressed."""
    for price in prices:
        if is_distressed(position, cash, price, tiers):
            return price
    return None
