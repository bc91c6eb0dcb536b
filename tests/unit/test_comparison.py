"""The comparison with other simulators: its messages, what it says about trades, and the page written from it."""

import numpy as np
import pytest
from compare import BOOKS, alternate, compare_books, installed, speed_figures
from compared_agents import AGENT_MARKETS
from compared_books import (
    Way,
    agreement,
    bourse_batches,
    bourse_one_by_one,
    one_by_one,
    pams_book,
    replayed,
    submitted,
)
from streams import CANCEL, LIMIT, MARKET, make_stream, shares, without_cancellations
from tables import PAGE, against_first, from_files, number, rewritten, tables

from cascade_sim.domain.enums import Side
from cascade_sim.market.order_book import OrderBook


def trades_of(way: Way, messages: np.ndarray) -> np.ndarray:
    feed, trades = way(messages)
    feed()
    return trades()


def test_streams_hold_what_they_say() -> None:
    stream = make_stream(4_000)
    assert shares(stream) == pytest.approx({"limit": 0.56, "cancel": 0.35, "market": 0.09}, abs=0.02)
    cancelled = stream[stream[:, 0] == CANCEL, 2]
    assert len(np.unique(cancelled)) == len(cancelled)
    assert np.all(stream[cancelled, 0] == LIMIT)
    assert np.all(cancelled < np.flatnonzero(stream[:, 0] == CANCEL))
    assert np.array_equal(stream, make_stream(4_000))
    assert not np.array_equal(stream, make_stream(4_000, seed=8))


def test_market_orders_always_find_a_book() -> None:
    # What an empty book does with a market order differs between programs.
    stream = make_stream(4_000)
    book, ids, found = OrderBook(), {}, 0
    for index, (kind, side, price, quantity) in enumerate(stream.tolist()):
        if kind == LIMIT:
            ids[index] = book.limit(Side(side), price, quantity, 0).order_id
        elif kind == CANCEL:
            book.cancel(ids[price])
        else:
            assert book.market(Side(side), quantity, 0).remaining == 0
            found += 1
    assert found == np.count_nonzero(stream[:, 0] == MARKET) > 0


def test_our_ways_into_the_book_trade_the_same() -> None:
    stream = make_stream(3_000)
    orders = without_cancellations(stream)
    assert agreement(trades_of(one_by_one, stream), trades_of(replayed, stream)) == "same trades"
    assert agreement(trades_of(submitted, orders), trades_of(replayed, orders)) == "same trades"


@pytest.mark.parametrize(("module", "way"), [("bourse", bourse_one_by_one), ("pams", pams_book)])
def test_other_books_trade_the_same_quantities(module: str, way: Way) -> None:
    pytest.importorskip(module)
    stream = make_stream(1_500)
    assert agreement(trades_of(way, stream), trades_of(replayed, stream)).startswith("same trades")


def test_batches_that_are_shuffled_trade_alike() -> None:
    pytest.importorskip("bourse")
    stream = make_stream(20_000)
    found, expected = trades_of(bourse_batches, stream), trades_of(replayed, stream)
    assert len(found) == pytest.approx(len(expected), rel=0.2)


def test_agreement_is_said_in_words() -> None:
    expected = np.array([[100, 2, 1, 2], [101, -3, 4, 5]], np.int64)
    elsewhere = expected.copy()
    elsewhere[1, 0] += 1
    assert agreement(expected, expected) == "same trades"
    assert agreement(elsewhere, expected) == "same trades, 50.0 % of them at other prices"
    assert agreement(expected[:1], expected) == "0.500 of the trades, 0.400 of the volume"


def test_everything_takes_its_turn_in_every_round() -> None:
    turns: list[int] = []
    runs = [lambda number=number: turns.append(number) or float(number) for number in range(3)]
    speeds = alternate(runs, 4)
    assert speeds == [[0.0] * 4, [1.0] * 4, [2.0] * 4]
    rounds = [turns[first : first + 3] for first in range(0, len(turns), 3)]
    assert len(rounds) == 5
    assert all(sorted(each) == [0, 1, 2] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1


def test_ratios_are_taken_within_a_round() -> None:
    assert speed_figures([2.0, 20.0, 3.0], [1.0, 10.0, 1.0]) == {"per_second": 3, "ratio": 2.0}


def test_what_is_not_installed_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compare.installed", lambda module: module.startswith("cascade_sim"))
    rows = compare_books(make_stream(1_200), 600, rounds=1)
    assert [row["program"] for row in rows] == [book.program for book in BOOKS]
    for row in rows:
        assert (row["per_second"] is None) == (row["program"] != "cascade_sim")
    assert not installed("a_package.that_is_not_there")


def test_agents_of_ours_send_what_is_counted() -> None:
    own = [market for market in AGENT_MARKETS if market.program == "cascade_sim"]
    for market in own:
        orders, seconds = market.run(20, 3)
        assert orders == 60
        assert seconds > 0.0


def test_the_page_shows_the_figures_that_are_kept() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == rewritten(page, from_files()), "run python benchmarks/tables.py"


def test_every_table_of_the_page_is_known_and_used() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in from_files():
        assert page.count(f"<!-- table: {name} -->") == 1


def test_a_figure_without_a_row_is_refused() -> None:
    comparison = {"books": [], "agents": []}
    with pytest.raises(KeyError, match="seconds_of_something"):
        tables({"seconds_of_something": 1.0}, comparison)


def test_numbers_are_written_for_reading() -> None:
    assert [number(value) for value in (0.9471, 12.34, 999.0, 14_217.2, 50_323_327.0)] == [
        "0.947",
        "12.3",
        "999",
        "14,200",
        "50,300,000",
    ]
    assert (against_first(1.0), against_first(0.0236), against_first(11.4)) == ("1 x", "1 / 42.4", "11.4 x")
