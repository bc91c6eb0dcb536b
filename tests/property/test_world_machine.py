"""A whole market against its twin: whatever is done to them, in any order, they stay the same to the atom."""

import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from reference.world import Entry
from twin_world import BACKGROUND, FUND, MAKER, PARTY, STAGES, TRADERS, WATERFALL, Choices, TwinWorld

from cascade_sim.domain.enums import OrderType, SelfTradePolicy

KINDS = [kind for kind in OrderType if kind != OrderType.REDUCE_ONLY]
SIDE = st.sampled_from([1, -1])
PEOPLE = st.sampled_from([*TRADERS, MAKER, BACKGROUND])
LOWEST, HIGHEST = 4 * 20, 4 * 300
"""Quarters of a tick between which the index moves."""
OTHERS = (
    ("book", "backstop", "fund", "adl", "socialised"),
    ("book", "fund", "backstop", "socialised"),
    ("book", "adl"),
    ("fund", "adl", "socialised"),
    ("backstop", "socialised"),
    ("book", "socialised", "fund"),
)
"""Waterfalls in other orders, without a stage, without the book, with a party of the user's own."""
PARTIES = {FUND: "fund", PARTY: "party"}
CHOICES = st.builds(
    Choices,
    self_trade=st.sampled_from([int(policy) for policy in SelfTradePolicy]),
    fees=st.booleans(),
    partial=st.booleans(),
    largest_first=st.booleans(),
    cooldown=st.integers(0, 3),
    rounds=st.integers(1, 3),
    throughput=st.sampled_from([Fraction(1, 4), Fraction(2, 3), *map(Fraction, range(1, 6)), Fraction(7, 2)]),
    fund=st.sampled_from([0, 50_000, 300_000, 3_000_000]),
    collateral=st.sampled_from([40_000, 250_000]),
    waterfall=st.sampled_from([WATERFALL, *OTHERS]),
    fund_notional=st.sampled_from([None, 0, 400_000]),
    fund_leverage=st.sampled_from([None, 1, 3]),
    party=st.sampled_from([0, 200_000]),
    initial=st.booleans(),
    minimum=st.sampled_from([0, 0, 450_000]),
)


def ladder(world: TwinWorld, spread: int, lots: int, levels: int, owner: int = MAKER) -> None:
    """Let one account quote both sides around the index."""
    middle = round(world.twin.index)
    for level in range(levels):
        for side in (1, -1):
            world.place(owner, side, middle - side * (spread + 2 * level), lots, OrderType.POST_ONLY_SLIDE)


def come_to_the_edge(world: TwinWorld, account: int, down: bool) -> None:
    """Give a trader cash with which a price nearby is exactly that of its liquidation, and let the index go there."""
    twin = world.twin
    price = 8 * (round(twin.index / 8) - (1 if down else -1))
    row = twin.accounts[account]
    if row.position == 0 or not LOWEST <= 4 * price <= HIGHEST:
        return
    needed = twin.requirement(abs(row.position) * price * twin.rules.atoms)
    cash = needed - row.position * price * twin.rules.atoms
    assert cash.denominator == 1
    world.deposit(account, int(cash) - row.cash)
    assert price in twin.triggers(account)
    world.advance(Fraction(price))


class WorldMachine(RuleBasedStateMachine):
    """Moves of traders, of prices and of the venue; the comparison is part of each (:class:`TwinWorld`)."""

    @initialize(choices=CHOICES)
    def begin(self, choices: Choices) -> None:
        """Open a market with a few quotes."""
        self.world = TwinWorld(choices)
        ladder(self.world, 1, 6, 3)

    @rule(spread=st.integers(1, 4), lots=st.integers(1, 12), levels=st.integers(1, 3))
    def quote(self, spread: int, lots: int, levels: int) -> None:
        """Renew liquidity."""
        ladder(self.world, spread, lots, levels)

    @rule(
        account=PEOPLE,
        side=SIDE,
        away=st.integers(-8, 8),
        lots=st.integers(1, 15),
        kind=st.sampled_from(KINDS),
    )
    def order(self, account: int, side: int, away: int, lots: int, kind: OrderType) -> None:
        """Any order of anybody near the index."""
        self.world.place(account, side, round(self.world.twin.index) + away, lots, kind)

    @rule(account=st.sampled_from([*TRADERS]), side=SIDE, lots=st.integers(1, 15))
    def enter(self, account: int, side: int, lots: int) -> None:
        """A leveraged position at market."""
        self.world.place(account, side, 0, lots, OrderType.MARKET)

    @rule(
        account=PEOPLE,
        away=st.integers(-8, 8),
        lots=st.integers(1, 15),
        kind=st.sampled_from(KINDS),
        wrong=st.booleans(),
    )
    def reduce(self, account: int, away: int, lots: int, kind: OrderType, wrong: bool) -> None:
        """An order that may only reduce, and sometimes cannot."""
        side = -1 if (self.world.twin.accounts[account].position > 0) != wrong else 1
        self.world.place(account, side, round(self.world.twin.index) + away, lots, kind, reduce=True)

    @rule(account=PEOPLE, side=SIDE, amount=st.integers(1, 1_800_000))
    def spend(self, account: int, side: int, amount: int) -> None:
        """What an amount pays for at market."""
        self.world.spend(account, side, amount)

    @rule(account=PEOPLE, side=SIDE, tick=st.sampled_from([-5, 0, 1, 2, 2**18 - 1, 2**18, 2**18 + 9]))
    def order_at_the_edge(self, account: int, side: int, tick: int) -> None:
        """Orders at the ends of the price range; a sale for nothing sweeps the book."""
        self.world.place(account, side, tick, 2, OrderType.LIMIT)

    @rule(pick=st.integers(0, 200))
    def cancel(self, pick: int) -> None:
        """An order of the past, resting or not."""
        numbers = list(self.world.ids)
        if numbers:
            self.world.cancel(numbers[-1 - pick % len(numbers)])

    @rule(account=st.sampled_from([*TRADERS]), amount=st.integers(-120_000, 120_000))
    def move_cash(self, account: int, amount: int) -> None:
        """Collateral comes and goes, even where the account cannot afford it."""
        self.world.deposit(account, amount)

    @rule(quarters=st.integers(-12, 12), funding=st.booleans())
    def step(self, quarters: int, funding: bool) -> None:
        """The next step, a small move."""
        self._advance(quarters, funding)

    @rule(quarters=st.sampled_from([-160, -80, -40, -20, 20, 40, 80, 160]))
    def crash(self, quarters: int) -> None:
        """The next step, a large move."""
        self._advance(quarters, False)

    def _advance(self, quarters: int, funding: bool) -> None:
        index = min(max(4 * self.world.twin.index + quarters, LOWEST), HIGHEST)
        self.world.advance(Fraction(index, 4), funding)

    @rule(account=st.sampled_from([*TRADERS]), down=st.booleans())
    def edge(self, account: int, down: bool) -> None:
        """The next step, in which the mark comes to a trigger and no further."""
        come_to_the_edge(self.world, account, down)

    @rule(steps=st.integers(1, 3))
    def halt(self, steps: int) -> None:
        """The venue stops trading; orders are collected for the auction."""
        if self.world.twin.halted_until is None:
            self.world.halt(steps)

    @rule(name=st.sampled_from(["liquidation", "backstop", "adl"]), on=st.booleans())
    def switch(self, name: str, on: bool) -> None:
        """A mechanism is taken out, or comes back."""
        self.world.switch(name, on)


def test_the_world_is_its_twin() -> None:
    run_state_machine_as_test(WorldMachine, settings=settings(stateful_step_count=40))


@pytest.mark.kernel
def test_the_world_is_its_twin_for_a_few_moves() -> None:
    run_state_machine_as_test(WorldMachine, settings=settings(max_examples=5, stateful_step_count=20))


def storm(world: TwinWorld, draw: random.Random, steps: int) -> None:
    """Traders keep entering positions that the next moves destroy."""
    owner = draw.choice([MAKER, BACKGROUND, TRADERS[0]])
    if owner in TRADERS:
        world.deposit(owner, 5_000_000)
    for _ in range(steps):
        ladder(world, draw.randint(1, 3), draw.randint(2, 12), draw.randint(1, 3), owner)
        for _ in range(draw.randint(1, 4)):
            kind = draw.choice([OrderType.MARKET, OrderType.LIMIT])
            away = round(world.twin.index) + draw.randint(-4, 4)
            world.place(draw.choice([*TRADERS]), draw.choice([1, -1]), away, draw.randint(1, 15), kind)
        if draw.random() < 0.2:
            world.cancel(draw.choice(list(world.ids)))
        if draw.random() < 0.4:
            world.deposit(draw.choice([*TRADERS]), draw.randint(-200_000, 250_000))
        if draw.random() < 0.1 and world.twin.halted_until is None:
            world.halt(draw.randint(1, 2))
        if draw.random() < 0.2:
            world.switch(draw.choice(["adl", "backstop"]), draw.random() < 0.5)
        if draw.random() < 0.2:
            come_to_the_edge(world, draw.choice([*TRADERS]), draw.random() < 0.5)
        quarters = draw.choice([-90, -40, -12, -3, 0, 3, 12, 40, 90])
        index = min(max(4 * world.twin.index + quarters, LOWEST), HIGHEST)
        world.advance(Fraction(index, 4), draw.random() < 0.3)


def test_an_amount_that_pays_for_nothing_does_not_reach_the_book() -> None:
    # The best order is gone, and the mid of its time stays until somebody else's order reaches the book.
    world = TwinWorld(Choices())
    ladder(world, 1, 6, 3)
    before = world.twin.mid
    numbers = list(world.ids)
    world.cancel(numbers[-1 - 4])
    world.spend(4, 1, 1)
    assert world.twin.mid == before


def test_storms_of_orders_that_may_only_reduce() -> None:
    cuts = resumed = 0
    for seed in range(12):
        draw, world = random.Random(seed), TwinWorld(Choices(self_trade=seed % 5, fund=300_000))
        people = [*TRADERS, MAKER]
        for _ in range(30):
            ladder(world, draw.randint(1, 3), draw.randint(2, 9), 2, BACKGROUND)
            for _ in range(8):
                account, away = draw.choice(people), round(world.twin.index) + draw.randint(-4, 4)
                held = world.twin.accounts[account].position
                side = -1 if held > 0 else 1
                before = sum(order.quantity for order in world.twin.book.reductions(account, side))
                reduce = draw.random() < 0.6
                kind = draw.choice([OrderType.LIMIT, OrderType.LIMIT, OrderType.IOC, OrderType.FOK])
                way = side if reduce else draw.choice([1, -1])
                world.place(account, way, away, draw.randint(1, 12), kind, reduce=reduce)
                after = sum(order.quantity for order in world.twin.book.reductions(account, side))
                cuts += not reduce and after < before
            if draw.random() < 0.25 and world.twin.halted_until is None:
                world.halt(draw.randint(1, 2))
            quarters = draw.choice([-60, -12, -3, 0, 3, 12, 60])
            index = min(max(4 * world.twin.index + quarters, LOWEST), HIGHEST)
            world.advance(Fraction(index, 4))
        resumed += sum(lots for name, _, _, lots, _ in world.twin.log if name == "resume")
    assert cuts > 20
    assert resumed > 50


def test_storms_reach_every_stage_of_the_pipeline() -> None:
    happened: Counter[str] = Counter()
    for seed in range(18):
        varied: dict[str, Any] = {"self_trade": seed % 3, "partial": seed % 2 == 0, "cooldown": seed % 4}
        world = TwinWorld(Choices(fund=[0, 300_000, 3_000_000][seed % 3], initial=seed % 4 == 3, **varied))
        storm(world, random.Random(seed), 25)
        happened.update(name for name, *_ in world.twin.log)
        happened["refused for initial margin"] += world.twin.sums.refused_orders
        happened["debt of a closed account"] += ("takeover", 0) in [(e[0], e[3]) for e in world.twin.log]
        happened["shared loss"] += world.twin.sums.socialised > 0
        happened["capital from outside"] += world.twin.sums.external > 0
        happened["both deleveraged and socialised"] += _mixed(world.twin.log)
    assert min(happened.values()) > 0, happened
    assert len(happened) == 14, happened


def test_storms_reach_what_other_waterfalls_do() -> None:
    happened: Counter[str] = Counter()
    for seed in range(18):
        limits: dict[str, Any] = {
            "fund_notional": [None, 400_000][seed % 2],
            "fund_leverage": [1, None][seed % 2],
        }
        world = TwinWorld(
            Choices(waterfall=OTHERS[seed % len(OTHERS)], party=[200_000, 20_000][seed % 2], **limits)
        )
        storm(world, random.Random(seed), 25)
        sums, log = world.twin.sums, world.twin.log
        happened.update(f"closed by {stage}" for stage, value in sums.closed.items() if value > 0)
        happened.update(f"covered by {stage}" for stage, debt in sums.covered.items() if debt > 0)
        happened.update(f"{name} by {PARTIES[account]}" for name, account, *_ in log if account in PARTIES)
        happened["part taken by the fund"] += _in_parts(log)
    expected = {f"closed by {stage}" for stage in STAGES}
    expected |= {f"covered by {stage}" for stage in STAGES if stage != "book"}
    expected |= {f"{what} by {who}" for what in ("default", "unwind") for who in PARTIES.values()}
    expected |= {"socialise by party", "adl by fund", "part taken by the fund"}
    assert expected <= {name for name, times in happened.items() if times}, happened


def _in_parts(log: list[Entry]) -> bool:
    """Whether the fund took a position over and the next stage had to take more of it."""
    return any(
        a[0] == "takeover"
        and a[2] == FUND
        and a[3] > 0
        and b[1] == a[1]
        and b[0] in ("adl", "takeover", "socialise")
        for a, b in pairwise(log)
    )


def test_no_rounds_mean_as_many_as_it_takes() -> None:
    happened: dict[int, list[list[Entry]]] = {0: [], 1: [], 40: []}
    for rounds, logs in happened.items():
        for seed in range(12):
            choices = Choices(
                rounds=rounds, throughput=Fraction(40), partial=False, waterfall=("book", "socialised")
            )
            world = TwinWorld(choices)
            storm(world, random.Random(seed), 25)
            logs.append(world.twin.log)
    assert happened[0] == happened[40]
    assert happened[0] != happened[1]


def _mixed(log: list[Entry]) -> bool:
    """Whether some account was deleveraged as far as that went and then socialised."""
    return any(a[0] == "adl" and b[0] == "socialise" and a[1] == b[1] for a, b in pairwise(log))


@pytest.mark.kernel
@pytest.mark.parametrize("adl", [False, True])
def test_a_loss_beyond_collateral_is_paid_by_the_winners(adl: bool) -> None:
    world = TwinWorld(Choices(fund=0, collateral=40_000))
    world.switch("adl", adl)
    ladder(world, 1, 6, 3, BACKGROUND if adl else MAKER)
    world.place(TRADERS[0], 1, 0, 12, OrderType.MARKET)
    world.place(TRADERS[1], -1, 101, 4, OrderType.LIMIT)
    world.place(TRADERS[0], 1, 110, 4, OrderType.LIMIT)
    world.advance(Fraction(60))
    assert world.twin.sums.bad_debt > 0
    stages = ["adl", "socialise", "unwind"] if adl else ["socialise", "unwind"]
    assert [name for name, *_ in world.twin.log] == stages
    assert (world.twin.sums.socialised > 0) == (not adl)
