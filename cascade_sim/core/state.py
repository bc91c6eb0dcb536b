"""The arrays of one world, in the order in which kernels take them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.book import open_book
from cascade_sim.core.book_layout import BOOK
from cascade_sim.core.memory import allocate


class State(NamedTuple):
    """Everything a run consists of; ``kernel(*state)`` passes it on.

    Attributes
    ----------
    world, book, tape : record
        One record each of :data:`layout.WORLD`, :data:`book_layout.BOOK`, :data:`layout.TAPE`.
    accounts : recarray, shape (accounts,)
        :data:`layout.ACCOUNT`.
    traders : recarray, shape (traders,)
        :data:`layout.TRADER`, late entrants only, by arrival.
    watch : float64, shape (WATCHES, accounts)
        Trigger prices in ticks.
    scratch : int64, shape (3, accounts)
        Lists of account ids: distressed, then two of the screen.
    scores : float64, shape (2, accounts)
        Scores of distressed accounts and of deleveraging counterparties.
    """

    world: Any
    book: Any
    accounts: Any
    traders: Any
    watch: NDArray[np.float64]
    scratch: NDArray[np.int64]
    scores: NDArray[np.float64]
    tape: Any


def allocate_state(accounts: int, traders: int, self_trade: int) -> State:
    """Return zeroed arrays for a world of ``accounts`` accounts and ``traders`` late entrants.

    Large records are committed page by page as they are touched, so capacities cost nothing until used.
    """
    book = allocate(BOOK)[0]
    open_book(book, self_trade)
    watch = np.zeros((lay.WATCHES, accounts))
    watch[lay.WATCH_LIQUIDATE_SHORT :: 2] = np.inf
    world = allocate(lay.WORLD)[0]
    world.watch_bound[1::2] = np.inf
    rows = allocate(lay.ACCOUNT, accounts)
    rows["first_breach_step"] = -1
    rows["breach_event"] = lay.NO_EVENT
    rows["distressed_step"] = np.iinfo(np.int32).min // 2
    return State(
        world=world,
        book=book,
        accounts=rows,
        traders=np.zeros(traders, lay.TRADER).view(np.recarray),
        watch=watch,
        scratch=np.zeros((3, accounts), np.int64),
        scores=np.zeros((2, accounts)),
        tape=allocate(lay.TAPE)[0],
    )
