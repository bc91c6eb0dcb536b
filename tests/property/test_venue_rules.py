"""Band, limit state, breaker and halt against a state machine in plain Python, step by step."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference.venue import Quotes, Rules, VenueTwin
from venue_world import VenueWorld

from cascade_sim.core import layout as lay
from cascade_sim.core.layout.book import MARKET_TICKS
from cascade_sim.core.venue.book import cancel
from cascade_sim.domain.enums import EventType, OrderType
from cascade_sim.market.circuit_breaker import BAND_REFERENCES

pytestmark = pytest.mark.kernel

NAMES = {int(lay.HALT_BAND): "price_band", int(lay.HALT_BREAKER): "circuit_breaker"}
RULES = st.builds(
    Rules,
    half_width=st.sampled_from([0.0, 0.01, 0.03]),
    update=st.integers(1, 4),
    limit_steps=st.integers(-1, 3),
    band_halt=st.integers(1, 4),
    memory=st.sampled_from([1.0, 0.3]),
    reference=st.sampled_from(sorted(BAND_REFERENCES)),
    levels=st.sampled_from([[], [0.02], [0.01, 0.02, 0.05]]),
    halts=st.just([2, 3, 5]),
    window=st.sampled_from([0, 1, 4]),
    directions=st.sampled_from([{-1, 1}, {-1}, {1}]),
)
SIDE_MISSING = st.sampled_from([(False, False)] * 8 + [(True, False), (False, True)])
STEP = st.tuples(st.integers(-25, 25), st.integers(-15, 15), st.integers(-15, 15), SIDE_MISSING)


def configure(world: VenueWorld, rules: Rules) -> None:
    """Write the twin's rules into the world."""
    kernel = world.rules
    kernel.band, kernel.half_width = int(rules.half_width > 0.0), rules.half_width
    kernel.update_steps, kernel.limit_steps = rules.update, rules.limit_steps
    kernel.band_halt_steps, kernel.average_memory = rules.band_halt, rules.memory
    kernel.band_reference = BAND_REFERENCES[rules.reference]
    kernel.levels, kernel.window_steps = len(rules.levels), rules.window
    kernel.level_move[: len(rules.levels)] = rules.levels
    kernel.level_halt_steps[: len(rules.halts)] = rules.halts
    kernel.on_falls, kernel.on_rises = int(-1 in rules.directions), int(1 in rules.directions)


BOTH = (False, False)


@given(rules=RULES, path=st.lists(STEP, max_size=30))
@example(
    # The market reopens with one side and does not trade: that the band moves on is no price that the breaker sees.
    rules=Rules(
        half_width=0.03,
        update=1,
        limit_steps=0,
        band_halt=1,
        memory=1.0,
        reference="index",
        levels=[0.01, 0.02, 0.05],
        halts=[2, 3, 5],
        window=0,
        directions={-1, 1},
    ),
    path=[
        (0, 0, 0, BOTH),
        (10, 0, 0, BOTH),
        (0, 0, 0, BOTH),
        (10, 0, 0, (True, False)),
        *[(0, 0, 0, BOTH)] * 2,
    ],
)
@settings(max_examples=80)
def test_the_venue_is_its_twin(rules: Rules, path: list[tuple[int, int, int, tuple[bool, bool]]]) -> None:
    if not rules.half_width and not rules.levels:
        rules.levels = [0.02]
    world, twin, price = VenueWorld(1_000), VenueTwin(rules, MARKET_TICKS), 1_000
    configure(world, rules)
    market, book = world.state.world.market, world.state.book
    market.fundamental, mid, resting = 1_000.0, 1_000.0, [0, 0]
    for step, (move, trade, gap, missing) in enumerate(path):
        price += move
        for order_id in resting:
            cancel(book, order_id)
        bid, ask = (None if gone else price + k for gone, k in zip(missing, (-1, 1), strict=True))
        # The gate would keep quotes within the band; the state machine has to stand any book.
        world.rules.gate = 0
        resting = [
            0 if tick is None else world.place(k, 1 - 2 * k, tick, 1, OrderType.POST_ONLY)[0]
            for k, tick in enumerate((bid, ask))
        ]
        if bid is not None and ask is not None and not market.halted:
            mid = float(price)
        market.last, market.fundamental = float(price + trade), float(price + gap)
        assert float(market.mid) == mid
        before = len(world.events())
        world.begin_step(step)
        expected, rule = twin.step(step, Quotes(bid, ask, mid, price + trade, price + gap))
        assert (bool(market.halted), int(world.venue.lower), int(world.venue.upper)) == (
            expected,
            twin.lower if rules.half_width else 1,
            twin.upper if rules.half_width else MARKET_TICKS - 1,
        )
        halts = [row for row in world.events()[before:] if row.type == EventType.HALT]
        assert [NAMES[int(row.rule)] for row in halts] == ([rule] if rule else [])
        if not expected and book.best_bid > 0 and book.best_ask < MARKET_TICKS:
            mid = 0.5 * (book.best_bid + book.best_ask)
