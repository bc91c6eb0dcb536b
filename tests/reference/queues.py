"""Two queues that are born and die: which of them empties first. Imports nothing of ours."""

import numpy as np
from numpy.typing import NDArray


def probability_up(arrival: float, market: float, cancel: float, largest: int = 40) -> NDArray[np.float64]:
    """Probability that the mid moves up next while the spread is one tick (Cont, Stoikov and Talreja 2010).

    Each best queue gains an order at rate ``arrival`` and loses one at rate ``market + n cancel`` when it holds n;
    the mid moves up when the ask queue empties first.

    Parameters
    ----------
    arrival, market, cancel : float
        Rates in one unit of time.
    largest : int
        Queue length at which arrivals stop counting.

    Returns
    -------
    array, shape (largest + 1, largest + 1)
        By orders at the bid, orders at the ask. Row 0 is 0, column 0 (beyond row 0) is 1.
    """
    size = largest + 1
    system = np.eye(size * size)
    given = np.zeros(size * size)
    for bid in range(size):
        for ask in range(size):
            row = bid * size + ask
            if bid == 0 or ask == 0:
                given[row] = 1.0 if bid > 0 else 0.0
                continue
            moves = (
                (min(bid + 1, largest), ask, arrival),
                (bid, min(ask + 1, largest), arrival),
                (bid - 1, ask, market + bid * cancel),
                (bid, ask - 1, market + ask * cancel),
            )
            total = sum(rate for _, _, rate in moves)
            for to_bid, to_ask, rate in moves:
                system[row, to_bid * size + to_ask] -= rate / total
    solution: NDArray[np.float64] = np.linalg.solve(system, given).reshape(size, size)
    return solution
