"""Making a used world new again without touching the memory that a run did not touch.

A configured world that is not open yet is copied once, except for its large arrays: what is done with a field stands beside
it in the layout (:mod:`cascade_sim.core.ground.records`). :func:`renew` writes that copy back and empties the large arrays
where a run may have written: occupied prices, triggers, the slots of the timing wheel and of the rings. Orders, waiting
expiries and the lists of the screen are dead storage once their heads are gone.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.trigger_index import empty_triggers
from cascade_sim.core.drivers.state import System
from cascade_sim.core.ground.compile import kernel, part, routine
from cascade_sim.core.ground.records import Field, marks_of
from cascade_sim.core.ground.wheel import empty
from cascade_sim.core.layout.book import WINDOW
from cascade_sim.core.venue.window import clear_bit, next_above

Words = NDArray[np.uint64]
_WORD = 8


class Blank(NamedTuple):
    """What :func:`renew` needs.

    Attributes
    ----------
    world_words, book_words, account_words : uint64, shape (n,)
        The memory of the world, the book and the accounts themselves.
    world_saved, book_saved, account_saved : uint64
        Copies of the spans below, one after the other.
    world_spans, book_spans, account_spans : int64, shape (spans, 2)
        First word and the word after the last.
    watch_saved : float64, shape (markets, ACCOUNT_ROWS, accounts)
        Trigger prices and resting lots.
    """

    world_words: Words
    world_saved: Words
    world_spans: NDArray[np.int64]
    book_words: Words
    book_saved: Words
    book_spans: NDArray[np.int64]
    account_words: Words
    account_saved: Words
    account_spans: NDArray[np.int64]
    watch_saved: NDArray[np.float64]


def _count(world: Any, name: str) -> int:
    """The number that a dotted name of a world stands for."""
    for step in name.split("."):
        world = world[step]
    return int(world)


def _has_marks(dtype: "np.dtype[Any]") -> bool:
    kinds = (kind.base for kind, *_ in (dtype.fields or {}).values())
    return bool(marks_of(dtype)) or any(_has_marks(kind) for kind in kinds if kind.names)


def _bytes_kept(dtype: "np.dtype[Any]", world: Any, offset: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of every part of a record that is copied; of arrays with unused rows only those in use."""
    marks = marks_of(dtype)
    for field, (kind, place, *_) in (dtype.fields or {}).items():
        mark = marks.get(field, Field(kind))
        if mark.rule is not None:
            continue
        begin = offset + place
        count = math.prod(kind.shape) if mark.used is None else _count(world, mark.used)
        if kind.base.names and _has_marks(kind.base):
            for row in range(count):
                yield from _bytes_kept(kind.base, world, begin + row * kind.base.itemsize)
        else:
            yield begin, begin + count * kind.base.itemsize


def _spans(parts: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """Join byte ranges that touch, as ranges of words."""
    joined: list[list[int]] = []
    for begin, end in sorted(parts):
        first, after = begin // _WORD, -(-end // _WORD)
        if joined and first <= joined[-1][1]:
            joined[-1][1] = max(after, joined[-1][1])
        else:
            joined.append([first, after])
    return np.array(joined, np.int64).reshape(-1, 2)


def _copied(words: Words, spans: NDArray[np.int64]) -> Words:
    return np.concatenate([words[begin:end] for begin, end in spans])


def blank_of(system: System) -> Blank:
    """Copy a world, of any number of markets, that is configured and not open.

    Parameters
    ----------
    system : System
        Its arrays stay those that :func:`renew` writes to.

    Returns
    -------
    Blank
    """
    worlds, kind = system.worlds, system.books.dtype
    world = worlds.view(np.uint64, np.ndarray)
    book = system.books.view(np.uint64, np.ndarray)
    accounts = system.accounts.reshape(-1).view(np.uint64, np.ndarray)
    kept: list[tuple[int, int]] = []
    for number, each in enumerate(worlds):
        kept += _bytes_kept(worlds.dtype, each, number * worlds.dtype.itemsize)
    world_spans = _spans(kept)
    books = len(system.books)
    book_spans = _spans(part for k in range(books) for part in _bytes_kept(kind, None, k * kind.itemsize))
    account_spans = np.array([[0, len(accounts)]], np.int64)
    return Blank(
        world,
        _copied(world, world_spans),
        world_spans,
        book,
        _copied(book, book_spans),
        book_spans,
        accounts,
        _copied(accounts, account_spans),
        account_spans,
        np.array(system.watch, copy=True),
    )


@routine
def restore(words, saved, spans):
    """Write saved words back to their spans."""
    place = 0
    for k in range(len(spans)):
        for word in range(spans[k, 0], spans[k, 1]):
            words[word] = saved[place]
            place += 1


@routine
def empty_levels(book):
    """Empty every occupied level of a book, in the window and beyond."""
    for half in range(2):
        first = half * WINDOW
        index = next_above(book, first)
        while index < first + WINDOW:
            level = book.levels[index]
            level.head = 0
            level.tail = 0
            level.quantity_lot = 0
            clear_bit(book, index)
            index = next_above(book, index)


@routine
def empty_clocks(w):
    """Empty the slots of the timing wheel and of the rings of past prices that the steps of a run can have used."""
    first = -w.config.burn_in
    steps = w.config.steps - first + 1
    empty(w.wheel, first, w.config.steps)
    ring = len(w.market.mid_ring)
    for k in range(min(steps, ring)):
        place = (first + k) & (ring - 1)
        w.market.mid_ring[place] = 0.0
        w.market.smooth_ring[place] = 0.0
        if w.config.prices.mark_delay >= 0:
            w.prices.index_ring[place] = 0.0
        if w.config.prices.index_sources > 0:
            w.prices.value_ring[place] = 0.0


@routine
def empty_flights(flight):
    """Forget the messages that were under way when a run ended."""
    for slot in range(len(flight.head)):
        flight.head[slot] = 0
        flight.tail[slot] = 0


@routine
def empty_reductions(reducing):
    """Forget the reduce-only orders of a run."""
    if reducing.fresh > 0:
        for bucket in range(len(reducing.head)):
            reducing.head[bucket] = 0


@kernel
def renew(worlds, books, watch, plans, blank, keys):
    """Make a used world what it was when :func:`blank_of` copied it, with other keys.

    Those who act during a run, and their lists, are emptied as they are drawn anew (``open_activity``).

    Parameters
    ----------
    worlds, books, watch : arrays, shape (markets, ...)
        Of the :class:`core.drivers.state.System` that was copied.
    plans : array of PLAN, shape (markets,)
        What the scenario decides about the opening.
    blank : Blank
    keys : uint64, shape (markets,)
        ``config.seed`` of each market. Values that follow another market's, and portfolios, take their keys from these.
    """
    _reset(worlds, books, watch, blank)
    for market in range(len(worlds)):
        config = worlds[market].config
        config.seed = keys[market]
        config.value_seed = keys[config.value_of]
        if market > 0:
            config.common_seed = keys[0]
        plans[market].portfolios.shared_seed = keys[0]


@part
def _reset(worlds, books, watch, blank):
    for market in range(len(worlds)):
        w = worlds[market]
        empty_levels(books[market])
        empty_triggers(w.triggers[lay.WATCH_LIQUIDATE_LONG])
        empty_triggers(w.triggers[lay.WATCH_LIQUIDATE_SHORT])
        empty_clocks(w)
        empty_reductions(w.reducing)
        if w.config.latency.active != 0:
            empty_flights(w.flight)
    restore(blank.world_words, blank.world_saved, blank.world_spans)
    restore(blank.book_words, blank.book_saved, blank.book_spans)
    restore(blank.account_words, blank.account_saved, blank.account_spans)
    for market in range(watch.shape[0]):
        for row in range(watch.shape[1]):
            for account in range(watch.shape[2]):
                watch[market, row, account] = blank.watch_saved[market, row, account]
