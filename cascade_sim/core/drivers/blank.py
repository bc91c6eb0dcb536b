"""Making a used world new again without touching the memory that a run did not touch.

A configured world that is not open yet is copied once, except for its large arrays. :func:`reset` writes that copy back and
empties the large arrays where a run may have written: occupied prices, triggers, the slots of the timing wheel and of the
rings. Orders, waiting expiries and the lists of the screen are dead storage once their heads are gone.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.state import State, System
from cascade_sim.core.ground.compile import routine
from cascade_sim.core.ground.wheel import empty
from cascade_sim.core.layout.book import BOOK, TICKS
from cascade_sim.core.venue.book import clear_bit, next_above

Words = NDArray[np.uint64]
_WORD = 8
_RINGS = ("market.mid_ring", "market.smooth_ring", "prices.value_ring", "prices.index_ring")
_EMPTIED = frozenset((*_RINGS, "wheel.head", "triggers"))
"""Parts of a world that :func:`reset` empties where they were used."""
_DEAD = frozenset(
    (
        "wheel.chunks",
        "dealers.inventory",
        "grid",
        "activity.lists",
        "activity.starts",
        "activity.wheel",
        "activity.actors",
        "activity.guards",
        "activity.calls",
        "flight",
        "venue.past",
        "venue.pool",
        "venue.pool_key",
        "venue.limit",
    )
)
"""Parts that are written before they are read, that only the configuration writes, or that no run of an ensemble uses."""


class Blank(NamedTuple):
    """What :func:`reset` needs.

    Attributes
    ----------
    world_words, book_words, account_words : uint64, shape (n,)
        The memory of the world, the book and the accounts themselves.
    world_saved, book_saved, account_saved : uint64
        Copies of the spans below, one after the other.
    world_spans, book_spans, account_spans : int64, shape (spans, 2)
        First word and the word after the last.
    watch_saved : float64, shape (WATCHES, accounts)
        Trigger prices.
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


def _bytes_kept(
    dtype: "np.dtype[Any]", counts: Mapping[str, int], offset: int = 0, name: str = ""
) -> Iterator[tuple[int, int]]:
    """Yield (begin, end) of every part of a record that is copied; of arrays in ``counts`` only the first rows."""
    for field, (kind, place, *_) in (dtype.fields or {}).items():
        path = f"{name}.{field}" if name else field
        if path in _EMPTIED or path in _DEAD:
            continue
        begin = offset + place
        rows = counts.get(path, kind.shape[0] if kind.shape else 1)
        if kind.base.names and any(part.startswith(f"{path}.") for part in _EMPTIED | _DEAD):
            for row in range(rows):
                yield from _bytes_kept(kind.base, counts, begin + row * kind.base.itemsize, path)
        else:
            yield begin, begin + (kind.itemsize if path not in counts else rows * kind.base.itemsize)


def _spans(parts: Iterator[tuple[int, int]]) -> NDArray[np.int64]:
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
    """Copy a world of one market that is configured and not open.

    Parameters
    ----------
    system : System
        Its arrays stay those that :func:`reset` writes to.

    Returns
    -------
    Blank
    """
    state: State = system.state(0)
    config = state.world.config
    counts = {
        "providers": int(config.providers.count),
        "dealers": int(config.dealers.count),
        "options": int(config.dealers.options),
        "prices.source": int(config.prices.index_sources),
    }
    world = system.worlds.view(np.uint64, np.ndarray)
    book = system.books.view(np.uint64, np.ndarray)
    accounts = system.accounts.reshape(-1).view(np.uint64, np.ndarray)
    world_spans = _spans(_bytes_kept(lay.WORLD, counts))
    header = min(place for name, (_, place, *_) in (BOOK.fields or {}).items() if name.startswith("bits_"))
    book_spans = np.array([[0, header // _WORD]], np.int64)
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
        np.array(state.watch, copy=True),
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
    """Empty every occupied price of a book."""
    tick = next_above(book, 0)
    while tick < TICKS:
        level = book.levels[tick]
        level.head = 0
        level.tail = 0
        level.quantity_lot = 0
        clear_bit(book, tick)
        tick = next_above(book, tick)


@routine
def empty_triggers(lists):
    """Empty every list of liquidation triggers on one side."""
    tick = next_above(lists, 0)
    while tick < TICKS:
        lists.head[tick] = 0
        clear_bit(lists, tick)
        tick = next_above(lists, tick)


@routine
def empty_clocks(w):
    """Empty the slots of the timing wheel and of the rings of past prices that the steps of a run can have used."""
    first = -w.config.burn_in
    steps = w.config.steps - first + 1
    empty(w.wheel, first, w.config.steps)
    for k in range(min(steps, lay.MID_RING)):
        place = (first + k) & (lay.MID_RING - 1)
        w.market.mid_ring[place] = 0.0
        w.market.smooth_ring[place] = 0.0
        if w.config.prices.mark_delay >= 0:
            w.prices.index_ring[place] = 0.0
        if w.config.prices.index_sources > 0:
            w.prices.value_ring[place] = 0.0


@routine
def reset(w, book, watch, blank):
    """Make a used world what it was when :func:`blank_of` copied it."""
    empty_levels(book)
    empty_triggers(w.triggers[lay.WATCH_LIQUIDATE_LONG])
    empty_triggers(w.triggers[lay.WATCH_LIQUIDATE_SHORT])
    empty_clocks(w)
    restore(blank.world_words, blank.world_saved, blank.world_spans)
    restore(blank.book_words, blank.book_saved, blank.book_spans)
    restore(blank.account_words, blank.account_saved, blank.account_spans)
    for row in range(watch.shape[0]):
        for account in range(watch.shape[1]):
            watch[row, account] = blank.watch_saved[row, account]
