"""The arrays of one world, in the order in which kernels take them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.layout.kinds import kinds_of
from cascade_sim.core.venue.book import open_book

_kinds: dict[np.dtype[Any], np.dtype[Any]] = {}


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of records as a plain one, whose rows keep their attributes; see :meth:`System.arrays`.

    Equal dtypes become one and the same: numba knows the types of arguments by the dtype it saw first, and compares another
    that is equal field by field in every call.
    """
    kind = _kinds.get(array.dtype)
    if kind is None:
        kind = np.dtype((np.record, array.dtype)) if array.dtype.names else array.dtype
        _kinds[array.dtype] = kind
    return np.asarray(array).view(np.ndarray).view(kind)


class State(NamedTuple):
    """Everything a run consists of; ``kernel(*state)`` passes it on.

    Attributes
    ----------
    world, book, tape : record
        One record each of the dtypes of a size class, see :func:`layout.kinds.kinds_of`.
    accounts : recarray, shape (accounts,)
        :data:`layout.ACCOUNT`.
    traders : recarray, shape (traders,)
        :data:`layout.TRADER`, late entrants only, by arrival.
    watch : float64, shape (ACCOUNT_ROWS, accounts)
        Trigger prices in ticks, then lots that rest.
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


class System(NamedTuple):
    """The arrays of several markets that step together, one row each; ``kernel(*system)`` passes them on.

    Attributes
    ----------
    worlds, books, tapes : recarray, shape (markets,)
        As the records of :class:`State`.
    portfolios : recarray, shape (portfolios,)
        :data:`layout.PORTFOLIO`: accounts that share collateral over all markets.
    accounts, traders : recarray, shape (markets, rows)
        Every market has as many rows as the largest needs; the others' last rows stay unused.
    watch, scratch, scores : arrays, shape (markets, ...)
        As in :class:`State`.
    """

    worlds: Any
    books: Any
    accounts: Any
    traders: Any
    watch: NDArray[np.float64]
    scratch: NDArray[np.int64]
    scores: NDArray[np.float64]
    tapes: Any
    portfolios: Any

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return the arrays as plain ones, in which a call of compiled code costs a microsecond.

        For records, and for the subclass of arrays whose fields are attributes, numba looks through the whole dtype in
        every call.
        """
        return tuple(map(plain, self))

    def rows(self, market: int) -> tuple[NDArray[Any], ...]:
        """Return the arrays of one market, one row each, in the order of :class:`State` and plain as in :meth:`arrays`."""
        return tuple(array[market : market + 1] for array in self.arrays()[:-1])

    def state(self, market: int) -> State:
        """Return the arrays of one market; they share their memory with the system's."""
        return State(*(array[market] for array in self[:-1]))


def _lists(dtype: np.dtype[Any], *shape: int) -> NDArray[Any]:
    """Return zeros that :func:`core.ground.memory.clear` can give back."""
    return np.asarray(allocate(dtype, math.prod(shape))).reshape(shape)


def allocate_system(
    accounts: int,
    traders: int,
    self_trade: Sequence[int],
    portfolios: int = 0,
    sizes: lay.Sizes = lay.STANDARD,
) -> System:
    """Return zeroed arrays for as many markets as there are self-trade policies.

    Parameters
    ----------
    accounts, traders : int
        Rows of accounts and late entrants of the largest market.
    self_trade : sequence of int
        :class:`SelfTradePolicy` of each market.
    portfolios : int
        Portfolios over all markets.
    sizes : layout.Sizes
        How much else there is room for.

    Notes
    -----
    Large records are committed page by page as they are touched, so capacities cost nothing until used.
    """
    markets = len(self_trade)
    kinds = kinds_of(sizes)
    books = allocate(kinds.book, markets)
    for book, policy in zip(books, self_trade, strict=True):
        open_book(book, policy)
    worlds = allocate(kinds.world, markets)
    entrants = np.zeros((markets, traders), lay.TRADER).view(np.recarray)
    entrants["arrival_step"] = np.iinfo(np.int32).max
    return System(
        worlds=worlds,
        books=books,
        traders=entrants,
        tapes=allocate(kinds.tape, markets),
        portfolios=allocate(lay.PORTFOLIO, portfolios),
        **_account_arrays(markets, accounts),
    )


def grow_system(system: System, accounts: int) -> System:
    """Return the arrays with room for ``accounts`` accounts in every market; everything else is shared.

    Parameters
    ----------
    system : System
        Its arrays of accounts are copied.
    accounts : int
        Rows wanted, more than there are.
    """
    markets, held = system.accounts.shape
    fresh = _account_arrays(markets, accounts)
    for name, array in fresh.items():
        array[..., :held] = getattr(system, name)
    return system._replace(**fresh)


def _account_arrays(markets: int, accounts: int) -> dict[str, Any]:
    """Return what has a row per account, for accounts that hold nothing."""
    watch = np.zeros((markets, lay.ACCOUNT_ROWS, accounts))
    watch[:, lay.WATCH_LIQUIDATE_SHORT] = np.inf
    rows = allocate(lay.ACCOUNT, markets * accounts).reshape(markets, accounts)
    rows["first_breach_step"] = -1
    rows["breach_event"] = lay.NO_EVENT
    rows["distressed_step"] = np.iinfo(np.int32).min // 2
    return {
        "accounts": rows,
        "watch": watch,
        "scratch": _lists(np.dtype(np.int64), markets, 3, accounts),
        "scores": _lists(np.dtype(np.float64), markets, 2, accounts),
    }


def allocate_state(accounts: int, traders: int, self_trade: int) -> State:
    """Return zeroed arrays for one market of ``accounts`` accounts and ``traders`` late entrants."""
    return allocate_system(accounts, traders, [self_trade]).state(0)
