"""Rates of the whole position: the prices of distress, and who is found by a screen, against trying every tick."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.brackets import Tiers, first_distress, is_distressed, requirement

from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.core import layout as lay
from cascade_sim.core.clearing import margin
from cascade_sim.core.clearing.ledger import refresh_triggers
from cascade_sim.core.clearing.liquidation import screen
from cascade_sim.core.drivers.state import allocate_state
from cascade_sim.core.ground.compile import kernel
from cascade_sim.recorder.events import notional_at_requirement

HIGHEST = 60
ACCOUNTS = 8

# Dyadic rates and small integers: every sum and product is exact, so the two must agree to the last tick.
RATE = st.sampled_from([Fraction(1, 128), Fraction(1, 32), Fraction(1, 8), Fraction(1, 4), Fraction(1, 2)])


@st.composite
def tiers_of(draw: st.DrawFn) -> Tiers:
    """Two to four tiers with ends among small notionals."""
    count = draw(st.integers(2, 4))
    rates = sorted(draw(st.lists(RATE, min_size=count, max_size=count)))
    ends = sorted(draw(st.lists(st.integers(4, 400), min_size=count, max_size=count, unique=True)))
    return [(rate, Fraction(end)) for rate, end in zip(rates, ends, strict=True)]


POSITION = st.integers(-16, 16).filter(lambda position: position not in (0,))
ACCOUNT = st.tuples(st.integers(-16, 16), st.integers(-500, 500))


@kernel
def arm(w, accounts, watch):  # type: ignore[no-untyped-def]  # records have no static type
    """Set the triggers of every account at the present mark."""
    for account in range(len(accounts)):
        refresh_triggers(w, accounts, watch, account)


@kernel
def look(w, book, accounts, watch, scratch, scores, tape):  # type: ignore[no-untyped-def]
    """Screen once; returns how many are listed."""
    return screen(w, book, accounts, watch, scratch, scores, tape)


def _arrays(tiers: Tiers) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(rate) for rate, _ in tiers]), np.array([float(end) for _, end in tiers])


@pytest.mark.kernel
@given(tiers=tiers_of(), position=POSITION, cash=st.integers(-500, 500), start=st.integers(1, HIGHEST))
def test_the_prices_of_distress_are_the_first_ticks_that_a_search_meets(
    tiers: Tiers, position: int, cash: int, start: int
) -> None:
    rates, ends = _arrays(tiers)
    found = margin.whole_position_prices(
        np.array([float(position)]), np.array([float(cash)]), float(start), rates, ends
    )[0]
    if position > 0:
        below = [Fraction(tick) for tick in range(start, 0, -1)]
        expected = first_distress(position, cash, below, tiers)
        if is_distressed(position, cash, Fraction(start), tiers):
            assert found == math.inf
        else:
            assert (math.floor(found) if found >= 1.0 else None) == expected
    else:
        expected = first_distress(position, cash, map(Fraction, range(1, 50 * HIGHEST)), tiers)
        assert expected is not None
        # A tier begins above the end of the one before: at that very price the account is still safe.
        reached = is_distressed(position, cash, Fraction(found), tiers) if found > 0.0 else True
        assert max(1, math.ceil(found) if reached else math.floor(found) + 1) == expected


@pytest.mark.kernel
@given(
    tiers=tiers_of(),
    holdings=st.lists(ACCOUNT, min_size=ACCOUNTS, max_size=ACCOUNTS),
    marks=st.lists(st.integers(2, 2 * HIGHEST), min_size=1, max_size=12),
)
def test_a_screen_finds_who_is_distressed_wherever_the_mark_goes(
    tiers: Tiers, holdings: list[tuple[int, int]], marks: list[int]
) -> None:
    state = allocate_state(ACCOUNTS, 0, 0)
    w, clearing = state.world, state.world.config.clearing
    w.config.atoms, clearing.tiers, clearing.whole.enabled = 1, len(tiers), 1
    rates, ends = _arrays(tiers)
    clearing.tier_rate[: len(tiers)], clearing.whole.ends[: len(tiers)] = rates, ends
    for account, (position, cash) in enumerate(holdings):
        row = state.accounts[account]
        row.position, row.traits, row.breach_event = position, lay.FLAG_MARGINED, 0
        row.cash = cash if position != 0 else 0
    w.market.mark = 0.5 * marks[0]
    arm(w, state.accounts, state.watch)
    for halves in marks:
        w.market.mark = 0.5 * halves
        listed = look(w, state.book, state.accounts, state.watch, state.scratch, state.scores, state.tape)
        expected = [
            account
            for account, (position, cash) in enumerate(holdings)
            if position != 0 and is_distressed(position, cash, Fraction(halves, 2), tiers)
        ]
        assert state.scratch[0, :listed].tolist() == expected


@pytest.mark.kernel
@given(tiers=tiers_of(), notionals=st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_table_and_reference_require_the_same_and_the_inverse_undoes_it(
    tiers: Tiers, notionals: list[int]
) -> None:
    rates, ends = _arrays(tiers)
    table = BracketTable(
        "T",
        np.concatenate(([0.0], ends[:-1])),
        ends,
        rates,
        np.full(len(tiers), 1.0),
        np.zeros(len(tiers)),
        whole_position=True,
    )
    expected = [float(requirement(Fraction(notional), tiers)) for notional in notionals]
    required = table.maintenance(notionals)
    assert required.tolist() == expected
    back = notional_at_requirement(required, rates, np.zeros(len(tiers)), ends)
    positive = np.array(notionals) > 0
    assert back[positive].tolist() == np.array(notionals, float)[positive].tolist()
    assert np.isnan(back[~positive]).all()


def test_a_long_that_shrinks_into_the_lower_bracket_pays_its_rate() -> None:
    rates, ends = np.array([0.005, 0.05]), np.array([50_000.0, 1e6])
    # One coin bought at 52,000 with 2,500: 5 % of 50,001 is more than its equity there, 0.5 % of 50,000 less.
    cash = np.array([2_500.0 - 52_000.0])
    one = np.array([1.0])
    high = margin.whole_position_prices(one, cash, 60_000.0, rates, ends)[0]
    assert high == pytest.approx(49_500.0 / 0.95)
    low = margin.whole_position_prices(one, cash, 50_000.0, rates, ends)[0]
    assert low == pytest.approx(49_500.0 / 0.995)
