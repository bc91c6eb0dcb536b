"""The messages that every order book is given: a generated stream, or a file in the same format.

A message is four 32-bit integers: kind, side, price, quantity. Kind 0 is a limit order; 1 cancels the limit order of the
message whose index stands in place of the price, and is ignored when that order has gone; 2 is a market order. The owner
of message i is i mod 1024.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Stream = NDArray[np.int32]
Trades = NDArray[np.int64]
"""Rows of price, quantity signed by the side of the taker, owner of the maker, owner of the taker."""

LIMIT, CANCEL, MARKET = 0, 1, 2
OWNERS = 1024
CENTRE = 100_000
OPENING_ORDERS = 500


def make_stream(messages: int, seed: int = 7) -> Stream:
    """Generate half limit orders, two fifths cancellations and one tenth market orders after an opening of limit orders.

    Limit prices lie at geometric distances around a fixed centre and some of them trade at once; quantities are 1 to 5
    lots; each cancellation names a random earlier limit order that was not cancelled yet.

    Returns
    -------
    int32 array, shape (messages, 4)
    """
    rng = np.random.default_rng(seed)
    kinds, places = rng.random(messages), rng.random(messages)
    sides = np.where(rng.random(messages) < 0.5, 1, -1)
    prices = CENTRE - sides * (rng.geometric(0.1, messages) - 2)
    quantities = rng.integers(1, 6, messages)
    stream = np.zeros((messages, 4), np.int32)
    alive: list[int] = []
    for index in range(messages):
        draw = 0.0 if index < OPENING_ORDERS else kinds[index]
        if 0.5 <= draw < 0.9 and alive:
            chosen = int(places[index] * len(alive))
            alive[chosen], alive[-1] = alive[-1], alive[chosen]
            stream[index] = CANCEL, 0, alive.pop(), 0
        elif draw < 0.9:
            alive.append(index)
            stream[index] = LIMIT, sides[index], prices[index], quantities[index]
        else:
            stream[index] = MARKET, sides[index], 0, quantities[index]
    return stream


def read_stream(path: Path) -> Stream:
    """Read a file of messages, four little-endian 32-bit integers each."""
    return np.fromfile(path, "<i4").reshape(-1, 4)


def without_cancellations(stream: Stream) -> Stream:
    """Return the orders of a stream alone."""
    orders: Stream = stream[stream[:, 0] != CANCEL]
    return orders


def shares(stream: Stream) -> dict[str, float]:
    """Share of each kind of message."""
    names = {"limit": LIMIT, "cancel": CANCEL, "market": MARKET}
    return {name: round(float(np.mean(stream[:, 0] == kind)), 3) for name, kind in names.items()}
