"""A market of twelve accounts without agents, beside a twin that makes the same moves; every move compares the two."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from reference.world import TICKS, Account, Entry, Rules, WorldTwin

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.ledger import place, refresh_triggers, transfer
from cascade_sim.core.clearing.open_orders import cancel_order
from cascade_sim.core.clearing.spending import spend
from cascade_sim.core.clearing.trigger_index import triggered
from cascade_sim.core.drivers.loop import full
from cascade_sim.core.drivers.state import State, System, allocate_system
from cascade_sim.core.ground.compile import kernel
from cascade_sim.core.layout.book import NO_ASK, ORDER_SLOT_BITS, ORDER_SLOT_MASK
from cascade_sim.domain.enums import AccountClass, Cause, EventType, Stage, TransferKind

EXTERNAL, FUND, FEES, ROUNDING = range(4)
TRADERS = range(4, 9)
MAKER, BACKGROUND, PARTY = 9, 10, 11
ACCOUNTS = 12
START = 100
ATOMS = 1_000
SPARE = 1_000_000_000
"""Atoms of those who need not fear liquidation."""
TIERS = ((Fraction(1, 64), 0), (Fraction(1, 16), 30_000))
INITIAL = ((Fraction(1, 32), 640_000), (Fraction(1, 16), float("inf")))
"""Rates of the whole exposure, and where they end (atoms)."""
_LOGGED = {
    EventType.LIQUIDATION: "liquidation",
    EventType.TAKEOVER: "takeover",
    EventType.ADL: "adl",
    EventType.SOCIALISE: "socialise",
    EventType.UNWIND: "unwind",
    EventType.FUNDING: "funding",
    EventType.RESUME: "resume",
    EventType.DEFAULT: "default",
    EventType.CANCEL: "cancel",
}
_COUNTED = (
    "bad_debt",
    "socialised",
    "external",
    "fees",
    "adl_loss",
    "adl_accounts",
    "liquidated_accounts",
    "liquidated_quantity",
    "trades",
    "defaults",
    "refused_orders",
)
STAGES = {
    "book": Stage.BOOK,
    "fund": Stage.FUND,
    "backstop": Stage.BACKSTOP,
    "adl": Stage.ADL,
    "socialised": Stage.SOCIALISED,
}
WATERFALL = ("book", "fund", "adl", "socialised")


@kernel
def deposit(w, accounts, watch, tape, account, amount):  # type: ignore[no-untyped-def]  # records have no static type
    """Bring cash into an account from outside, or take it out (negative)."""
    kind = np.int64(TransferKind.COLLATERAL)
    transfer(w, accounts, tape, w.config.external_account, account, amount, kind, lay.NO_EVENT)
    refresh_triggers(w, accounts, watch, account)


@kernel
def listed(w, accounts, watch, out, scores):  # type: ignore[no-untyped-def]  # records have no static type
    """List who has triggered."""
    return triggered(w, accounts, watch, out, scores)


@dataclass(frozen=True)
class Choices:
    """What may differ between two such markets."""

    self_trade: int = 0
    fees: bool = True
    partial: bool = True
    largest_first: bool = False
    cooldown: int = 0
    rounds: int = 2
    throughput: Fraction = Fraction(3)
    fund: int = 300_000
    collateral: int = 250_000
    waterfall: tuple[str, ...] = WATERFALL
    fund_notional: int | None = None
    fund_leverage: int | None = None
    party: int = 200_000
    initial: bool = False
    minimum: int = 0

    def rules(self) -> Rules:
        """Return the numbers that market and twin share."""
        return Rules(
            external=EXTERNAL,
            fund=FUND,
            fees=FEES,
            rounding=ROUNDING,
            margined=frozenset(TRADERS),
            payers=frozenset((*TRADERS, MAKER)),
            atoms=ATOMS,
            self_trade=self.self_trade,
            tiers=TIERS,
            initial=INITIAL if self.initial else (),
            taker_fee=Fraction(1, 128) if self.fees else Fraction(0),
            maker_fee=Fraction(-1, 512) if self.fees else Fraction(0),
            liquidation_fee=Fraction(1, 256),
            fraction=Fraction(1, 4) if self.partial else None,
            full_below=3,
            full_below_share=Fraction(1, 2),
            largest_first=self.largest_first,
            cooldown=self.cooldown,
            rounds=self.rounds,
            throughput=self.throughput,
            floor=Fraction(1, 8),
            unwind_rate=Fraction(1, 8),
            unwind_limit=Fraction(1, 16),
            funding_share=Fraction(1, 8),
            funding_cap=Fraction(1, 512),
            waterfall=self.waterfall,
            party=PARTY,
            fund_notional=self.fund_notional,
            fund_leverage=None if self.fund_leverage is None else Fraction(self.fund_leverage),
            minimum=self.minimum,
        )


def _configure(world: Any, rules: Rules) -> None:
    config, clearing, prices = world.config, world.config.clearing, world.config.prices
    config.atoms, config.largest_order, config.dt, config.steps = ATOMS, 2**31 - 1, 1.0, 10**6
    config.window_last, config.calm_last, config.minute_steps = 10**6 - 1, -1, 60
    config.forced_bins = config.densest_bins = 1
    config.record, config.own_weight, config.seed = lay.RECORD_FULL, 1.0, 1
    config.depth_every = config.map_every = config.check_every = config.dealers.gamma_every = 1
    config.external_account, config.fund_account = EXTERNAL, FUND
    config.fee_account, config.rounding_account = FEES, ROUNDING
    config.background_account = config.formation_account = BACKGROUND
    config.taker_fee, config.maker_fee = float(rules.taker_fee), float(rules.maker_fee)
    config.mark_rule, config.mark_follows_index, prices.mark_delay = lay.MARK_INDEX, 1, 0
    prices.funding_interval, prices.funding_share = 1, float(rules.funding_share)
    prices.funding_cap = float(rules.funding_cap)
    clearing.tiers = len(TIERS)
    for tier, (rate, deduction) in enumerate(TIERS):
        clearing.tier_rate[tier], clearing.tier_deduction[tier] = float(rate), deduction
    clearing.initial.tiers = len(rules.initial)
    for tier, (rate, end) in enumerate(rules.initial):
        clearing.initial.rate[tier], clearing.initial.end[tier] = float(rate), end
    clearing.priority = (
        lay.PRIORITY_LARGEST_NOTIONAL if rules.largest_first else lay.PRIORITY_WORST_MARGIN_RATIO
    )
    clearing.sizing = lay.SIZING_FULL if rules.fraction is None else lay.SIZING_FRACTION
    clearing.fraction = float(rules.fraction or 1)
    clearing.full_below, clearing.full_below_share = rules.full_below, float(rules.full_below_share)
    clearing.cooldown_steps, clearing.rounds = rules.cooldown, rules.rounds
    clearing.throughput, clearing.fee_rate = float(rules.throughput), float(rules.liquidation_fee)
    _configure_waterfall(clearing, rules)
    for name in ("liquidation", "adl", "backstop", "funding"):
        config.switches[name] = 1
    for name in ("fundamental", "previous_fundamental", "index", "mid", "mark", "last"):
        world.market[name] = START
    config.venue.gate = config.venue.levels = 1
    config.venue.level_move[0], config.venue.open_interest_cap = 0.99, -1
    config.venue.position_cap[:] = -1
    config.venue.minimum_notional = rules.minimum
    world.venue.lower, world.venue.upper = 1, TICKS - 1
    world.totals.first_liquidation_step = world.totals.first_adl_step = -1


def _configure_waterfall(clearing: Any, rules: Rules) -> None:
    stages = [stage for stage in rules.waterfall if stage != "book"]
    clearing.book, clearing.stages = int("book" in rules.waterfall), len(stages)
    holders = [*stages, *(["fund"] if "fund" not in stages else [])]
    clearing.parties = len(holders)
    for entry, stage in zip(clearing.waterfall, holders, strict=False):
        entry.stage = STAGES[stage]
        entry.account = {"fund": FUND, "backstop": PARTY}.get(stage, lay.NO_ACCOUNT)
        entry.floor = float(rules.floor)
        entry.unwind_rate, entry.unwind_limit = float(rules.unwind_rate), float(rules.unwind_limit)
        entry.most_notional = np.inf if rules.fund_notional is None else rules.fund_notional
        entry.most_leverage = np.inf if rules.fund_leverage is None else float(rules.fund_leverage)


def _lots(event: Any) -> int:
    """What was filled, or cancelled."""
    return int(event.quantity if event.type == EventType.CANCEL else event.filled)


class TwinWorld:
    """The two markets. Each method makes one move in both and asserts that they agree."""

    def __init__(self, choices: Choices) -> None:
        rules = choices.rules()
        self.system: System = allocate_system(ACCOUNTS, 0, [rules.self_trade])
        self.state: State = self.system.state(0)
        _configure(self.state.world, rules)
        self.state.book.ticks = TICKS
        rows = self.state.accounts
        rows["account_class"] = [
            AccountClass.EXTERNAL,
            AccountClass.INSURANCE_FUND,
            AccountClass.FEES,
            AccountClass.ROUNDING,
            *[AccountClass.LEVERAGED_TRADER] * len(TRADERS),
            AccountClass.LIQUIDITY_PROVIDER,
            AccountClass.BACKGROUND,
            AccountClass.BACKSTOP,
        ]
        rows["traits"][TRADERS.start : TRADERS.stop] = lay.FLAG_MARGINED
        rows["collateral"][FUND] = choices.fund
        self.twin = WorldTwin(rules, [Account() for _ in range(ACCOUNTS)], choices.fund, Fraction(START))
        self.ids: dict[int, int] = {}
        rows["collateral"][PARTY] = choices.party
        self.deposit(FUND, choices.fund)
        self.deposit(PARTY, choices.party)
        for account in (MAKER, BACKGROUND):
            self.deposit(account, SPARE)
        for account in TRADERS:
            self.deposit(account, choices.collateral)

    # --- moves ----------------------------------------------------------------------------------------------------

    def deposit(self, account: int, amount: int) -> None:
        """Bring in cash, or take it out (negative)."""
        state = self.state
        deposit(state.world, state.accounts, state.watch, state.tape, account, amount)
        self.twin.transfer(EXTERNAL, account, amount)
        self.compare()

    def place(self, account: int, side: int, tick: int, lots: int, kind: int, reduce: bool = False) -> None:
        """Send an order, which may only reduce if it says so."""
        state = self.state
        order_id, filled = place(
            state.world,
            state.book,
            state.accounts,
            state.watch,
            state.tape,
            account,
            side,
            tick,
            lots,
            kind + (int(lay.REQUEST_REDUCE_ONLY) if reduce else 0),
            int(Cause.EXECUTION),
            -1,
        )
        number, expected = self.twin.place(account, side, tick, lots, kind, own=True, reduce=reduce)
        assert int(filled) == expected
        assert (int(order_id) != 0) == (number != 0)
        if number:
            self.ids[number] = int(order_id)
        self.compare()

    def spend(self, account: int, side: int, amount: int) -> None:
        """Send a market order for an amount."""
        state, kind = self.state, int(lay.REQUEST_BY_NOTIONAL)
        order = (account, side, amount, kind, int(Cause.EXECUTION), -1)
        _, filled, _ = spend(state.world, state.book, state.accounts, state.watch, state.tape, *order)
        assert int(filled) == self.twin.spend(account, side, amount)
        self.compare()

    def cancel(self, number: int) -> None:
        """Cancel an order by its number, whether it still rests or not."""
        state = self.state
        removed = cancel_order(state.world, state.book, state.accounts, state.watch, self.ids[number])
        assert int(removed) == self.twin.cancel(number)
        self.compare()

    def halt(self, steps: int) -> None:
        """Stop trading for a number of steps."""
        world = self.state.world
        world.market.halted, world.venue.started = 1, 1
        world.venue.halted_until = int(world.control.step) + steps
        self.twin.halted_until = self.twin.step + steps
        self.compare()

    def switch(self, name: str, on: bool) -> None:
        """Turn a mechanism on or off."""
        self.state.world.config.switches[name] = int(on)
        setattr(self.twin, name, on)

    def advance(self, index: Fraction, funding: bool = False) -> None:
        """Make one step in which the index comes to ``index``."""
        world = self.state.world
        world.market.fundamental = float(index)
        world.config.switches.funding = int(funding)
        while (status := full(*self.system, int(world.control.step) + 1, lay.PHASES)) != lay.RETURN_DONE:
            assert status == lay.RETURN_STAGE
            control = world.control
            size = abs(int(self.state.accounts[control.request_account].position))
            # What the party of the twin takes: half, rounded up, at the mark.
            control.request_quantity = (size + 1) // 2
            control.request_tick = max(1, math.floor(float(world.market.mark) + 0.5))
            control.answered = 1
        self.twin.advance(index, funding)
        self.compare()
        assert np.flatnonzero(self.state.book.levels["quantity_lot"]).tolist() == self._occupied()

    # --- comparison -----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Everything that both sides have is the same, to the atom and order by order."""
        self._compare_accounts()
        self._compare_prices()
        self._compare_book()
        self._compare_triggers()
        self._compare_open_orders()
        self._compare_reductions()
        assert self.logged() == self.twin.log

    def _compare_accounts(self) -> None:
        twin, rows, totals = self.twin, self.state.accounts, self.state.world.totals
        assert rows["cash"].tolist() == [row.cash for row in twin.accounts]
        assert rows["position"].tolist() == [row.position for row in twin.accounts]
        assert rows["entry_tick"].tolist() == [row.entry for row in twin.accounts]
        assert rows["outcome"].tolist() == [row.outcome for row in twin.accounts]
        assert rows["cooldown_until"].tolist() == [row.cooldown_until for row in twin.accounts]
        assert int(rows["cash"].sum()) == int(rows["position"].sum()) == 0
        assert int(totals.cash) == int(totals.position) == 0
        assert int(totals.open_interest) == twin.open_interest()
        found = {name: int(totals[name]) for name in _COUNTED}
        assert found == {name: getattr(twin.sums, name) for name in _COUNTED}
        for name, stage in STAGES.items():
            assert float(totals.closed[stage]) == twin.sums.closed.get(name, 0), name
            assert int(totals.covered[stage]) == twin.sums.covered.get(name, 0), name
        assert int(totals.covered.sum()) == int(totals.bad_debt)
        assert int(totals.check_failures) == int(totals.crossed_books) == 0

    def _compare_prices(self) -> None:
        market, twin = self.state.world.market, self.twin
        for name in ("mark", "index", "mid", "last"):
            assert float(market[name]) == getattr(twin, name), name
        assert float(self.state.world.prices.funding_rate) == twin.rate
        assert bool(market.halted) == (twin.halted_until is not None)
        assert int(self.state.world.control.capacity) == 0

    def _queue(self, tick: int) -> list[tuple[int, int, int]]:
        """Id, owner and lots of the orders of one level, oldest first."""
        book, found = self.state.book, []
        slot = int(book.levels[tick].head)
        while slot:
            order = book.orders[slot]
            found.append(
                (int(order.serial) << ORDER_SLOT_BITS | slot, int(order.owner), int(order.quantity_lot))
            )
            slot = int(order.next)
        return found

    def _compare_book(self) -> None:
        book, twin = self.state.book, self.twin
        expected: dict[int, list[tuple[int, int, int]]] = {}
        for order in twin.book.resting:
            expected.setdefault(order.tick, []).append((self.ids[order.number], order.owner, order.quantity))
        for order in twin.pool:
            expected.setdefault(0, []).append((self.ids[order.number], order.owner, order.quantity))
            assert int(self.state.world.venue.limit[self.ids[order.number] & ORDER_SLOT_MASK]) == (
                order.side * order.tick
            )
        levels = self._occupied()
        assert levels == sorted(expected)
        assert {tick: self._queue(tick) for tick in levels} == expected
        sums = {tick: sum(lots for _, _, lots in queue) for tick, queue in expected.items()}
        assert {tick: int(book.levels[tick].quantity_lot) for tick in levels} == sums
        assert int(book.best_bid) == (twin.book.best(1) or 0)
        assert int(book.best_ask) == (twin.book.best(-1) or NO_ASK)
        assert int(book.best_bid) < int(book.best_ask)
        live = sum(len(queue) for queue in expected.values())
        assert int(book.live_orders) == live
        assert self._free_slots() == int(book.fresh_slot) - 1 - live

    def _occupied(self) -> list[int]:
        """Ticks whose bit is set."""
        words = self.state.book.bits_low
        return [
            int(word) << 6 | bit
            for word in np.flatnonzero(words)
            for bit in range(64)
            if int(words[word]) >> bit & 1
        ]

    def _free_slots(self) -> int:
        """Slots that were used and wait to be used again."""
        book, seen = self.state.book, set()
        slot = int(book.free_slot)
        while slot:
            assert slot not in seen
            seen.add(slot)
            slot = int(book.orders[slot].next)
        return len(seen)

    def _compare_triggers(self) -> None:
        state, twin = self.state, self.twin
        expected = [twin.triggers(account) for account in range(ACCOUNTS)]
        assert list(zip(*state.watch[: lay.WATCHES].tolist(), strict=True)) == expected
        out = np.zeros(ACCOUNTS, np.int64)
        count = listed(state.world, state.accounts, state.watch, out, np.zeros(ACCOUNTS))
        assert out[:count].tolist() == [a for a in range(ACCOUNTS) if twin.distressed(a)]

    def _compare_open_orders(self) -> None:
        """What margined accounts have resting."""
        state, twin = self.state, self.twin
        sides = ((lay.RESTING_BUY, 1), (lay.RESTING_SELL, -1))
        for row, side in sides:
            mine = [twin.open_lots(a, side) if a in TRADERS else 0 for a in range(ACCOUNTS)]
            assert state.watch[row].tolist() == mine
        assert float(state.world.control.open_lots) == state.watch[lay.WATCHES :].sum()
        assert not state.accounts["closing"].any()

    def _compare_reductions(self) -> None:
        """Which orders may only reduce, and that they do no more."""
        twin, world, book = self.twin, self.state.world, self.state.book
        pool = world.reducing.pool[: int(world.reducing.fresh) + 1]["order_id"].tolist()
        alive = [
            order_id
            for order_id in pool
            if order_id
            and int(book.orders[order_id & ORDER_SLOT_MASK].quantity_lot)
            and int(book.orders[order_id & ORDER_SLOT_MASK].serial) == order_id >> ORDER_SLOT_BITS
        ]
        expected = [order for order in twin.book.resting + twin.pool if order.reduce_only]
        assert sorted(alive) == sorted(self.ids[order.number] for order in expected)
        assert int(world.control.reducing) == sum(1 for order_id in pool if order_id)
        assert int(world.reducing.stale) == 0
        for account, row in enumerate(twin.accounts):
            for side in (1, -1):
                waits = sum(o.quantity for o in expected if o.owner == account and o.side == side)
                assert waits <= max(0, -side * row.position)

    def logged(self) -> list[Entry]:
        """What the tape says happened, as the twin writes it."""
        rows = self.state.tape.events[: int(self.state.tape.events_count)]
        limits = np.nan_to_num(rows["limit"], nan=0.0).astype(np.int64)
        return [
            (_LOGGED[EventType(int(row.type))], int(row.account), int(row.payer), _lots(row), int(limit))
            for row, limit in zip(rows, limits, strict=True)
            if int(row.type) in _LOGGED
        ]
