"""A whole market, obviously right and slow: book, ledger, isolated margin, liquidation pipeline, funding, halts.

Everything is an integer or a fraction, except what is a double by definition: average entry prices, what is decided
from them (scores of deleveraging, shares of a socialised loss), and the rate of funding. Imports nothing of ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from reference.order_book import FOK, LIMIT, MARKET, POST_ONLY, SLIDE, Order, ReferenceBook
from reference.prices import funding_payments, rounded
from reference.venue import Fill, hold_auction
from reference.venue import Order as CallOrder

IOC = 2
TICKS = 1 << 18
"""First price that is too high for an order of this market."""
NOBODY = -1
PARTIAL, LIQUIDATED, TAKEN_OVER, DELEVERAGED = 3, 4, 5, 6
Entry = tuple[str, int, int, int, int]
"""One line of the log: what happened, to which account, who paid for it, lots, limit of the order (0: there is none)."""


@dataclass(frozen=True)
class Rules:
    """Numbers of the market: ``tiers`` are maintenance rates and deductions, ``initial`` rates and where each ends.

    Rates are sums of few powers of two, so that doubles hold every product exactly.
    """

    external: int
    fund: int
    fees: int
    rounding: int
    margined: frozenset[int]
    payers: frozenset[int]
    atoms: int
    self_trade: int
    tiers: Sequence[tuple[Fraction, int]]
    initial: Sequence[tuple[Fraction, float]]
    taker_fee: Fraction
    maker_fee: Fraction
    liquidation_fee: Fraction
    fraction: Fraction | None
    full_below: int
    full_below_share: Fraction
    largest_first: bool
    cooldown: int
    rounds: int
    throughput: Fraction
    floor: Fraction
    unwind_rate: Fraction
    unwind_limit: Fraction
    funding_share: Fraction
    funding_cap: Fraction
    waterfall: tuple[str, ...]
    party: int
    fund_notional: int | None
    fund_leverage: Fraction | None
    minimum: int = 0


@dataclass
class Account:
    """``cash`` is collateral less the cost of the open position."""

    cash: int = 0
    position: int = 0
    entry: float = 0.0
    outcome: int = 0
    cooldown_until: int = 0


@dataclass
class Sums:
    """What the market counts from the start on."""

    bad_debt: int = 0
    socialised: int = 0
    external: int = 0
    fees: int = 0
    adl_loss: int = 0
    adl_accounts: int = 0
    liquidated_accounts: int = 0
    liquidated_quantity: int = 0
    trades: int = 0
    turnover: int = 0
    closed: dict[str, Fraction] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    defaults: int = 0
    refused_orders: int = 0


@dataclass
class WorldTwin:
    """The market between two calls; prices in ticks, cash in atoms."""

    rules: Rules
    accounts: list[Account]
    fund_capital: int
    mark: Fraction
    book: ReferenceBook = field(init=False)
    sums: Sums = field(default_factory=Sums)
    log: list[Entry] = field(default_factory=list)
    step: int = 0
    halted_until: int | None = None
    liquidation: bool = True
    backstop: bool = True
    adl: bool = True
    premium: float = 0.0
    rate: float = 0.0
    unwind_carry: dict[int, Fraction] = field(default_factory=dict)
    defaulted_at: dict[int, int] = field(default_factory=dict)
    defaulting: bool = False

    def __post_init__(self) -> None:
        """Begin with an empty book around the mark."""
        self.book = ReferenceBook(self.rules.self_trade, ticks=TICKS)
        self.index = self.last = self.mid = self.mark

    @property
    def pool(self) -> list[Order]:
        """Orders that wait for the auction, because they cross the book."""
        return self.book.waiting

    # --- accounts -----------------------------------------------------------------------------------------------

    def transfer(self, source: int, target: int, amount: int) -> int:
        """Move cash; returns what was moved."""
        self.accounts[source].cash -= amount
        self.accounts[target].cash += amount
        return amount

    def equity(self, account: int) -> Fraction:
        """Equity at the mark."""
        row = self.accounts[account]
        return row.cash + row.position * self.mark * self.rules.atoms

    def notional(self, account: int) -> Fraction:
        """Absolute value of the position at the mark."""
        return abs(self.accounts[account].position) * self.mark * self.rules.atoms

    def maintenance(self, account: int) -> Fraction:
        """What the account's position requires."""
        return self.requirement(self.notional(account))

    def requirement(self, value: Fraction | int) -> Fraction:
        """The highest tier line at a notional."""
        return max(Fraction(0), *(value * rate - deduction for rate, deduction in self.rules.tiers))

    def distressed(self, account: int) -> bool:
        """Whether a margined account has no more than it needs, or closed and owes."""
        row = self.accounts[account]
        if account not in self.rules.margined:
            return False
        if row.position == 0:
            return row.cash < 0
        return self.equity(account) <= self.maintenance(account)

    def triggers(self, account: int) -> tuple[float, float]:
        """Mark at or below which a long, at or above which a short is distressed; 0 and infinity for never."""
        row = self.accounts[account]
        if account not in self.rules.margined or (row.position == 0 and row.cash >= 0):
            return 0.0, math.inf
        if row.position == 0:
            return math.inf, math.inf
        size = abs(row.position) * self.rules.atoms
        if row.position > 0:
            prices = [(-row.cash - deduction) / (size * (1 - rate)) for rate, deduction in self.rules.tiers]
            return float(max(Fraction(0), *prices)), math.inf
        prices = [(row.cash + deduction) / (size * (1 + rate)) for rate, deduction in self.rules.tiers]
        return 0.0, float(max(Fraction(0), min(prices)))

    def open_interest(self) -> int:
        """Lots held long."""
        return sum(max(row.position, 0) for row in self.accounts)

    def _move(self, account: int, change: int, price: float) -> None:
        row = self.accounts[account]
        before, after = row.position, row.position + change
        if after == 0:
            row.entry = 0.0
        elif before * after <= 0:
            row.entry = price
        elif abs(after) > abs(before):
            row.entry = (row.entry * abs(before) + price * abs(change)) / abs(after)
        row.position = after

    def settle(self, side: int, price: int, lots: int, taker: int, maker: int, on_book: bool = True) -> None:
        """Settle one fill; only those in the book pay trading fees."""
        rules, amount = self.rules, price * lots * self.rules.atoms
        buyer, seller = (taker, maker) if side > 0 else (maker, taker)
        self.transfer(buyer, seller, amount)
        self._move(buyer, lots, float(price))
        self._move(seller, -lots, float(price))
        if not on_book:
            for account in (taker, maker):
                self.book.positions[account] = self.accounts[account].position
                self.book.shrink(account)
        if on_book:
            for account, rate in ((taker, rules.taker_fee), (maker, rules.maker_fee)):
                self.sums.fees += self.transfer(account, rules.fees, rounded(amount * rate))
        self.sums.trades += 1
        self.sums.turnover += amount

    # --- book -----------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Renew the mid; without two sides, or in a halt, it stays what it was."""
        bid, ask = self.book.best(1), self.book.best(-1)
        if bid is not None and ask is not None and self.halted_until is None:
            self.mid = Fraction(bid + ask, 2)

    def is_one_sided(self) -> bool:
        """Whether the mid is an old one."""
        return self.book.best(1) is None or self.book.best(-1) is None or self.halted_until is not None

    def _know_positions(self) -> None:
        """Tell the book what everybody holds."""
        self.book.positions = {number: row.position for number, row in enumerate(self.accounts)}

    def place(
        self,
        account: int,
        side: int,
        tick: int,
        lots: int,
        kind: int,
        own: bool = False,
        reduce: bool = False,
    ) -> tuple[int, int]:
        """Enter an order; returns its number (0: nothing rests) and what was filled.

        Initial margin is asked of those who decide for themselves (``own``), but not of an order that may only reduce: what
        rests of it beyond the position, that of other such orders included, is never there.
        """
        self._know_positions()
        if reduce:
            rests = kind in (LIMIT, POST_ONLY, SLIDE)
            allowed = self.book.reducible(account, side) if rests else -side * self.accounts[account].position
            lots = min(lots, max(0, allowed))
        elif own and account in self.rules.margined:
            lots = self._allowed(account, side, tick, lots, kind)
        tick = min(max(tick, 1), TICKS - 1)
        if lots <= 0:
            return 0, 0
        halted = self.halted_until is not None
        if halted and kind not in (LIMIT, POST_ONLY, SLIDE):
            return 0, 0
        if self._too_small(account, side, tick, lots, kind):
            self.sums.refused_orders += self.step >= 0
            return 0, 0
        if halted:
            crosses = self.book.crosses(side, tick)
            self.book.arrivals += 1
            queue = self.pool if crosses else self.book.resting
            queue.append(Order(self.book.arrivals, side, tick, lots, account, reduce))
            return self.book.arrivals, 0
        number, fills, _ = self.book.enter(side, tick, lots, account, kind)
        for price, quantity, maker, _ in fills:
            self.last = Fraction(price)
            self.settle(side, price, quantity, account, maker)
        for order in self.book.resting:
            if order.number == number:
                order.reduce_only = reduce
        self.touch()
        return number, sum(fill[1] for fill in fills)

    def spend(self, account: int, side: int, amount: int) -> int:
        """Enter a market order for an amount of one who decides for himself; returns what was filled."""
        self._know_positions()
        notional = amount // self.rules.atoms
        lots, last = self.book.payable(side, notional, account)
        halted, closing = self.halted_until is not None, max(0, -side * self.accounts[account].position)
        if not halted and amount < self.rules.minimum and not 0 < lots <= closing:
            self.sums.refused_orders += self.step >= 0
            return 0
        allowed = lots
        if account in self.rules.margined and lots:
            allowed = self._allowed(account, side, last, lots, IOC)
        if halted or (lots and not allowed) or not last:
            # What pays for nothing and takes nothing away does not reach the book.
            return 0
        fills, _ = self.book.spend(side, notional, account, 2**62 if allowed == lots else allowed)
        for price, quantity, maker, _ in fills:
            self.last = Fraction(price)
            self.settle(side, price, quantity, account, maker)
        self.touch()
        return sum(fill[1] for fill in fills)

    def _allowed(self, account: int, side: int, tick: int, lots: int, kind: int) -> int:
        """What initial margin lets through: everything, or what only closes."""
        row, waits = self.accounts[account], self.open_lots(account, side)
        waits -= sum(order.quantity for order in self.book.reductions(account, side))
        closing = -side * row.position - (waits if kind in (LIMIT, POST_ONLY, SLIDE) else 0)
        if lots <= max(closing, 0) or not self.rules.initial:
            return lots
        # Everything that waits on this side is taken for filled, at the mark.
        value = (side * row.position + waits + lots) * self.mark * self.rules.atoms
        rate = next((rate for rate, end in self.rules.initial if value <= end), self.rules.initial[-1][0])
        if value * rate <= self.equity(account) and not self._distressed_by(account, side, tick, lots, kind):
            return lots
        self.sums.refused_orders += self.step >= 0
        return 0 if kind == FOK else max(closing, 0)

    def _distressed_by(self, account: int, side: int, tick: int, lots: int, kind: int) -> bool:
        """Whether what an order trades at once would leave its account with no more than maintenance asks for."""
        if kind in (POST_ONLY, SLIDE) or self.halted_until is not None:
            return False
        cost, left = 0, lots
        for order in self.book.queue(-side):
            if left == 0 or (kind != MARKET and side * (tick - order.tick) < 0):
                break
            cost += order.tick * min(left, order.quantity)
            left -= min(left, order.quantity)
        taken = lots - left
        worth = self.equity(account) - side * (cost - taken * self.mark) * self.rules.atoms
        value = abs(self.accounts[account].position + side * taken) * self.mark * self.rules.atoms
        return taken > 0 and worth <= self.requirement(value)

    def _too_small(self, account: int, side: int, tick: int, lots: int, kind: int) -> bool:
        """Whether the venue does not take an order because of its worth: at its limit, at the mark without one."""
        worth = (self.mark if kind == MARKET else tick) * lots * self.rules.atoms
        only_reduces = lots <= -side * self.accounts[account].position
        return worth < self.rules.minimum and not only_reduces

    def cancel(self, number: int) -> int:
        """Take an order out of the book or the pool; returns its lots."""
        for order in self.pool:
            if order.number == number:
                self.pool.remove(order)
                return order.quantity
        return self.book.cancel(number)

    def _reopen(self) -> None:
        self.halted_until = None
        orders = [
            CallOrder(order.number, order.side, order.tick, order.quantity, order.owner, order.reduce_only)
            for order in self.book.resting + self.pool
        ]

        def after(price: int, fill: Fill) -> None:
            self.settle(fill.side, price, fill.quantity, fill.taker, fill.maker)
            self.last = Fraction(price)
            for account in (fill.taker, fill.maker):
                self._shrink_call(orders, account)

        _, fills, left = hold_auction(orders, rounded(self.last), after)
        kept = sorted(left, key=lambda order: order.number)
        self.book.resting = [
            Order(o.number, o.side, o.tick, o.quantity, o.owner, o.reduce_only) for o in kept
        ]
        self.book.waiting = []
        self.touch()
        self.log.append(("resume", NOBODY, NOBODY, sum(fill.quantity for fill in fills), 0))

    def _shrink_call(self, orders: Sequence[CallOrder], account: int) -> None:
        """Cut the reduce-only orders of an account in the auction, the newest first."""
        for side in (1, -1):
            mine = [o for o in orders if o.reduce_only and o.owner == account and o.side == side]
            excess = sum(o.quantity for o in mine) - max(0, -side * self.accounts[account].position)
            for order in sorted(mine, key=lambda o: -o.number):
                cut = min(max(excess, 0), order.quantity)
                order.quantity -= cut
                excess -= cut

    # --- a step ---------------------------------------------------------------------------------------------------

    def advance(self, index: Fraction, funding: bool) -> None:
        """Make one step in which nobody but the engine acts: venue, mark, funding, liquidation, unwinding."""
        self.index = index
        if self.halted_until is not None and self.step >= self.halted_until:
            self._reopen()
        self.touch()
        if not self.is_one_sided():
            self.premium = float((self.mid - index) / index)
        cap = float(self.rules.funding_cap)
        self.rate = max(-cap, min(cap, float(self.rules.funding_share) * self.premium))
        self.mark = index
        if funding and self.rate != 0.0:
            self._pay_funding(float(self.mark) * self.rate * self.rules.atoms)
        self._liquidate()
        self._settle_defaults()
        self.touch()
        self._unwind()
        self.step += 1

    def _pay_funding(self, unit: float) -> None:
        payments, _ = funding_payments([row.position for row in self.accounts], unit)
        for account, amount in enumerate(payments):
            self.transfer(account, self.rules.rounding, amount)
        self.log.append(("funding", NOBODY, NOBODY, 0, 0))

    def _liquidate(self) -> None:
        rules = self.rules
        handled, rounds = 0, 0
        # Accounts per step: what a fraction is short of a whole one is made up for in a later step.
        allowed = math.floor((self.step + 1) * rules.throughput) - math.floor(self.step * rules.throughput)
        while self.liquidation and (rounds == 0 or handled < allowed):
            if rules.rounds > 0 and rounds >= rules.rounds:
                return
            listed = self._screen()
            if not listed or self.halted_until is not None:
                return
            listed.sort(key=self._priority)
            for account in listed[: allowed - handled]:
                self._process(account)
                handled += 1
            rounds += 1

    def _screen(self) -> list[int]:
        eligible = []
        distressed = [number for number in range(len(self.accounts)) if self.distressed(number)]
        for account in distressed:
            if self.accounts[account].position == 0:
                self._cover_debt(account)
            elif self.accounts[account].cooldown_until <= self.step:
                eligible.append(account)
        for account in distressed:
            self._cancel_orders(account)
        return eligible

    def open_orders(self, account: int) -> list[Order]:
        """Orders of an account, in the book and in the pool."""
        return [order for order in self.book.resting + self.pool if order.owner == account]

    def open_lots(self, account: int, side: int) -> int:
        """Lots that an account has open on one side."""
        return sum(order.quantity for order in self.open_orders(account) if order.side == side)

    def _cancel_orders(self, account: int) -> None:
        """Take every order of an account that is being closed out of the market."""
        orders = self.open_orders(account)
        for order in orders:
            self.cancel(order.number)
        if orders:
            self.touch()
            self.log.append(("cancel", account, NOBODY, sum(order.quantity for order in orders), 0))

    def _priority(self, account: int) -> tuple[Fraction, int]:
        value = self.notional(account)
        return (-value if self.rules.largest_first else self.equity(account) / value), account

    def _process(self, account: int) -> None:
        row, stages = self.accounts[account], self.rules.waterfall
        if row.position == 0:
            return
        if stages[0] == "book":
            row.cooldown_until = self.step + max(1, self.rules.cooldown)
            if self.equity(account) > 0:
                self._close_out(account, self._size(account))
        if row.position != 0 and (self.equity(account) <= 0 or stages[0] != "book"):
            self._absorb(account, stages)
        if row.position == 0:
            self._cover_debt(account)

    def _size(self, account: int) -> int:
        rules, size = self.rules, abs(self.accounts[account].position)
        if rules.fraction is None or size < rules.full_below:
            return size
        if self.equity(account) < rules.full_below_share * self.maintenance(account):
            return size
        return min(size, math.ceil(size * rules.fraction))

    def _close_out(self, account: int, lots: int) -> None:
        """Immediate or cancel at the worst tick that leaves no debt, the taker fee paid."""
        row, rules = self.accounts[account], self.rules
        before, side = self.sums.turnover, -1 if row.position > 0 else 1
        price = Fraction(-row.cash, row.position * rules.atoms)
        tick = (
            math.ceil(price / (1 - rules.taker_fee))
            if side < 0
            else math.floor(price / (1 + rules.taker_fee))
        )
        _, filled = self.place(account, side, tick, lots, IOC)
        traded = self.sums.turnover - before
        self._closed("book", Fraction(traded))
        fee = math.floor(traded * rules.liquidation_fee)
        fee = min(fee, math.floor(max(Fraction(0), self.equity(account))))
        self.transfer(account, rules.fund, fee)
        self.sums.liquidated_quantity += filled
        if filled and row.outcome < PARTIAL:
            self.sums.liquidated_accounts += 1
            row.outcome = PARTIAL
        if filled and row.position == 0:
            row.outcome = max(row.outcome, LIQUIDATED)
        self.log.append(("liquidation", account, NOBODY, filled, tick))

    def _cover_debt(self, account: int) -> None:
        debt, rules = -self.accounts[account].cash, self.rules
        if debt <= 0:
            return
        missing = debt - math.floor(max(Fraction(0), self.equity(rules.fund)))
        if missing > 0:
            self.sums.external += self.transfer(rules.external, rules.fund, missing)
        self.transfer(rules.fund, account, debt)
        self._covered("fund", debt)
        self.log.append(("takeover", account, rules.fund, 0, 0))

    def _absorb(self, account: int, stages: Sequence[str]) -> None:
        """Walk the stages; each takes what it can, and a party that owes goes through them without a position too."""
        takes = {
            "fund": self._fund_takes,
            "backstop": self._party_takes,
            "adl": self._deleverage,
            "socialised": self._socialise,
        }
        for stage in stages:
            if stage != "book" and (self.accounts[account].position != 0 or self.defaulting):
                takes[stage](account)

    def _settle_defaults(self) -> None:
        """Whoever took positions over and owes more than it has goes through the stages after its own."""
        rules = self.rules
        stages = [stage for stage in rules.waterfall if stage != "book"]
        parties = {"fund": rules.fund, "backstop": rules.party}
        holders = [*stages, *(["fund"] if "fund" not in stages else [])]
        for place, stage in enumerate(holders):
            party = parties.get(stage)
            if party is None or self.equity(party) >= 0:
                continue
            if self.defaulted_at.get(party, -9) < self.step - 1:
                self.sums.defaults += 1
                self.log.append(("default", party, party, 0, 0))
            self.defaulted_at[party] = self.step
            self.defaulting = True
            self._absorb(party, stages[place + 1 :] if place < len(stages) else stages)
            self.defaulting = False

    def _closed(self, stage: str, value: Fraction) -> None:
        self.sums.closed[stage] = self.sums.closed.get(stage, Fraction(0)) + value

    def _covered(self, stage: str, debt: int) -> None:
        self.sums.covered[stage] = self.sums.covered.get(stage, 0) + debt
        self.sums.bad_debt += debt

    def _debt(self, account: int) -> Fraction:
        return max(Fraction(0), -self.equity(account))

    def _count(self, account: int) -> None:
        row = self.accounts[account]
        if not self.defaulting:
            self.sums.liquidated_accounts += row.outcome < PARTIAL
            row.outcome = max(row.outcome, TAKEN_OVER)

    def _fund_room(self, account: int) -> int:
        """Lots that the fund may take of an account: what it holds afterwards is limited."""
        rules, size = self.rules, self.accounts[account].position
        held = self.accounts[rules.fund].position * (1 if size > 0 else -1)
        limits = []
        if rules.fund_notional is not None:
            limits.append(Fraction(rules.fund_notional))
        if rules.fund_leverage is not None:
            limits.append(rules.fund_leverage * max(Fraction(0), self.equity(rules.fund)))
        if not limits:
            return abs(size)
        return max(0, min(abs(size), math.floor(min(limits) / (self.mark * rules.atoms)) - held))

    def _fund_takes(self, account: int) -> None:
        rules, size = self.rules, abs(self.accounts[account].position)
        if not self.backstop or self.equity(rules.fund) <= rules.floor * self.fund_capital or size == 0:
            return
        lots = self._fund_room(account)
        if lots == 0:
            return
        self._count(account)
        debt = self._debt(account)
        self._closed("fund", lots * self.mark * rules.atoms)
        self._hand_over(account, lots)
        self._covered("fund", math.floor(debt - (self._debt(account) if lots < size else 0)))
        self.log.append(("takeover", account, rules.fund, lots, 0))

    def _hand_over(self, account: int, lots: int) -> None:
        """Give lots and the cash that belongs to them to the fund; with the last lot the account keeps nothing."""
        row, fund, tick = self.accounts[account], self.rules.fund, rounded(self.mark)
        side, size = -1 if row.position > 0 else 1, abs(row.position)
        self.settle(side, tick, lots, account, fund, on_book=False)
        amount = row.cash
        if lots < size:
            # The share is a double by definition.
            amount = int((row.cash + row.position * tick * self.rules.atoms) * (lots / size))
        self.transfer(account, fund, amount)

    def _party_takes(self, account: int) -> None:
        """A party that takes half of what there is, rounded up, at the mark, as far as its equity bears it."""
        rules, row = self.rules, self.accounts[account]
        if not self.backstop or row.position == 0:
            return
        tick = max(1, rounded(self.mark))
        lots = (abs(row.position) + 1) // 2
        cost = (1 if row.position > 0 else -1) * (tick - self.mark) * rules.atoms
        equity = max(Fraction(0), self.equity(rules.party))
        if cost * lots > equity:
            lots = min(lots, math.floor(equity / cost))
        if lots == 0:
            return
        self._count(account)
        debt = self._debt(account)
        self.settle(-1 if row.position > 0 else 1, tick, lots, account, rules.party, on_book=False)
        self._closed("backstop", lots * self.mark * rules.atoms)
        self._covered("backstop", math.floor(max(Fraction(0), debt - self._debt(account))))
        self.log.append(("takeover", account, rules.party, lots, 0))

    def _deleverage(self, account: int) -> None:
        """Close against the winners, the highest profit times leverage first, at the bankruptcy price."""
        row, rules = self.accounts[account], self.rules
        if not self.adl or row.position == 0:
            return
        self._count(account)
        debt = math.floor(self._debt(account))
        side = 1 if row.position > 0 else -1
        price = Fraction(-row.cash, row.position * rules.atoms)
        tick = max(1, math.ceil(price) if side > 0 else math.floor(price))
        others = [
            number
            for number, other in enumerate(self.accounts)
            if other.position * side < 0 and number in rules.payers and self.equity(number) > 0
        ]
        for winner in sorted(others, key=lambda number: (self._score(number), number)):
            other = self.accounts[winner]
            lots = min(abs(row.position), abs(other.position))
            if lots == 0 or self.equity(winner) < lots * abs(self.mark - tick) * rules.atoms:
                continue
            before = self.equity(winner)
            self.settle(-side, tick, lots, account, winner, on_book=False)
            self._closed("adl", lots * self.mark * rules.atoms)
            self.sums.adl_loss += math.floor(max(Fraction(0), before - self.equity(winner)))
            self.sums.adl_accounts += other.outcome != DELEVERAGED
            other.outcome = DELEVERAGED
            self.log.append(("adl", account, winner, lots, 0))
        self._covered("adl", debt - math.ceil(self._debt(account)))

    def _score(self, account: int) -> float:
        row, mark = self.accounts[account], float(self.mark)
        profit = (1.0 if row.position > 0 else -1.0) * (mark - row.entry) / row.entry
        leverage = float(self.notional(account) / self.equity(account))
        return -(profit * leverage) if profit > 0.0 else -(profit / leverage)

    def _socialise(self, account: int) -> None:
        """The fund takes the position; open profits pay for the deficit, and the outside for the rest.

        A party that owes keeps its position.
        """
        rules = self.rules
        deficit, lots = math.ceil(self._debt(account)), abs(self.accounts[account].position)
        payee = account if self.defaulting else rules.fund
        if self.defaulting:
            lots = 0
            if deficit == 0:
                return
        else:
            self._count(account)
            self._closed("socialised", self.notional(account))
            self._hand_over(account, lots)
        gains = {
            number: max(0.0, row.position * (float(self.mark) - row.entry))
            for number, row in enumerate(self.accounts)
            if row.position != 0 and number in rules.payers
        }
        total, paid = 0.0, 0
        for gain in gains.values():
            total += gain
        for number, gain in gains.items():
            if total > 0.0:
                solvent = math.floor(max(Fraction(0), self.equity(number)))
                share = min(int(deficit * (gain / total)), solvent, deficit - paid)
                paid += self.transfer(number, payee, share)
        self.sums.socialised += paid
        self._covered("socialised", deficit)
        self.sums.external += self.transfer(rules.external, payee, deficit - paid)
        self.log.append(("socialise", account, NOBODY, lots, 0))

    def _unwind(self) -> None:
        """Every party sells a share of what it holds, near the mid, in the order of their stages."""
        rules = self.rules
        if self.halted_until is not None:
            return
        stages = [stage for stage in rules.waterfall if stage in ("fund", "backstop")]
        for stage in [*stages, *(["fund"] if "fund" not in stages else [])]:
            party = rules.fund if stage == "fund" else rules.party
            position = self.accounts[party].position
            if position == 0:
                continue
            carry = self.unwind_carry.get(party, Fraction(0)) + abs(position) * rules.unwind_rate
            lots = min(abs(position), math.floor(carry))
            self.unwind_carry[party] = carry - lots
            if lots == 0:
                continue
            side = -1 if position > 0 else 1
            limit = self.mid * (1 + side * rules.unwind_limit)
            tick = math.floor(limit) if side > 0 else math.ceil(limit)
            _, filled = self.place(party, side, tick, lots, IOC)
            self.log.append(("unwind", party, NOBODY, filled, tick))


__all__ = ["LIMIT", "MARKET", "Account", "Entry", "Rules", "Sums", "WorldTwin"]
