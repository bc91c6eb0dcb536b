"""How much a world has room for: size classes, of which the dtypes of worlds, books and tapes are made.

Kernels ask the array itself how long it is. numba compiles them for the dtypes that it is given: a class is compiled when the
first world needs it, and nothing in one class is slower for there being another.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Sizes(NamedTuple):
    """Rows of every array whose length a scenario decides.

    Attributes
    ----------
    name : str
    providers, levels, dealers, options, actors : int
        What a scenario asks for by number: liquidity providers, quotes on each side of a ladder, dealers, options, and
        leveraged traders who act during the run.
    lookback : int
        Steps of which past prices are kept; those looked back to are fewer. A power of two.
    orders, reducing : int
        Slots of a book, and entries of the lists of orders in it that may only reduce.
    expiries, wakes : int
        Chunks of timing wheels: four orders that wait for their expiry, seven actors that wait to act.
    messages : int
        Orders on their way to the book.
    auction : int
        Orders of one side that cross in a call auction.
    trades, events, transfers, agent_fills : int
        Rows of the tape, of which a step must not fill more than what is left beyond those at which it is copied away.
    """

    name: str
    providers: int
    levels: int
    dealers: int
    options: int
    actors: int
    lookback: int
    orders: int
    reducing: int
    expiries: int
    wakes: int
    messages: int
    auction: int
    trades: int
    events: int
    transfers: int
    agent_fills: int


STANDARD = Sizes(
    name="standard",
    providers=256,
    levels=32,
    dealers=64,
    options=1 << 10,
    actors=1 << 21,
    lookback=1 << 14,
    orders=1 << 21,
    reducing=1 << 19,
    expiries=1 << 17,
    wakes=1 << 19,
    messages=1 << 18,
    auction=1 << 16,
    trades=1 << 16,
    events=1 << 15,
    transfers=1 << 21,
    agent_fills=1 << 21,
)
"""Any scenario of the library, a whole chain of one coin, two million accounts that act."""

LARGE = Sizes(
    name="large",
    providers=1 << 12,
    levels=1 << 7,
    dealers=1 << 10,
    options=1 << 13,
    actors=1 << 23,
    lookback=1 << 17,
    orders=1 << 24,
    reducing=1 << 22,
    expiries=1 << 20,
    wakes=1 << 21,
    messages=1 << 21,
    auction=1 << 19,
    trades=1 << 19,
    events=1 << 18,
    transfers=1 << 23,
    agent_fills=1 << 22,
)
"""Chains of several venues together, every desk of a market as a dealer or provider of its own, eight times the orders
and the steps back. Its
records stay below 2 GiB of addresses each, of which a run takes what it touches."""

SIZES = (STANDARD, LARGE)
"""From the smallest to the largest."""


def smallest(needs: Mapping[str, float]) -> Sizes:
    """Return the smallest class with room for all needs, the largest where none has: what cannot work is refused elsewhere.

    Parameters
    ----------
    needs : dict
        Rows needed, by field of :class:`Sizes`.
    """
    for sizes in SIZES:
        if all(need <= getattr(sizes, name) for name, need in needs.items()):
            return sizes
    return SIZES[-1]
