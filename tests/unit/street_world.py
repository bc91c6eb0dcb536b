"""A model that runs phase by phase beside the twins of those who send orders; every phase is compared.

At the start of a phase the twins are given the book, the mid, positions and equities; what they remember over the steps is
their own. What the book has made of their orders is compared, and for a class of sender with a delay beyond the steps that
are made (:func:`late`) the messages themselves, which stay under way.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import isclose
from typing import Any

import numpy as np
import reference.background as flows
import reference.dealers as hedgers
import reference.discretionary as traders
import reference.providers as quoters
from reference.draws import Draws
from reference.order_book import Order, ReferenceBook
from reference.street import Cancellation, Message, Street, Trade

import cascade_sim as cs
from cascade_sim.agents.discretionary import Arbitrageurs, CrossArbitrageurs, ShockSource, ValueTraders
from cascade_sim.agents.leveraged_trader import TrendFollowers, entrant_count
from cascade_sim.agents.liquidity_provider import LiquidityProviders
from cascade_sim.agents.options_dealer import OptionsDealers
from cascade_sim.core import layout as lay
from cascade_sim.core.ground import rng
from cascade_sim.core.layout.book import INDEX_BITS, INDEX_MASK, WINDOW
from cascade_sim.core.layout.flight import FLIGHT_SLOTS
from cascade_sim.domain.enums import Cause, EventType
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.model.market import Market

DELAY = 1_000
"""Steps that nobody waits for in a test."""
SENDERS = ("background", "liquidity_providers", "value_traders", "arbitrage", "leveraged_traders", "dealers")
PURPOSES = {
    name.removeprefix("PURPOSE_"): int(number)
    for name, number in vars(rng).items()
    if name.startswith("PURPOSE_")
}
BUCKETS = {
    "quote_revision": lay.MOVE_QUOTE_REVISION,
    "withdrawal": lay.MOVE_WITHDRAWAL,
    "news": lay.MOVE_NEWS,
}
ACTING = {
    lay.PHASE_QUOTES: frozenset({"quote"}),
    lay.PHASE_FLOW: frozenset({"background"}),
    lay.PHASE_TRADE: frozenset({"value", "arbitrage", "speculation"}),
    lay.PHASE_HEDGE: frozenset({"delta_hedge"}),
}
"""Causes of what is sent in a phase and takes time."""


def late(*senders: str) -> dict[str, float]:
    """Return what to change in a scenario of one-second steps for the messages of some classes to stay under way."""
    return {f"latency.{sender}.delay_seconds": float(DELAY) for sender in senders}


_CAUSE_NAMES = {int(cause): cause.name.lower() for cause in Cause}


def cause_name(number: int) -> str:
    """Name of a cause as twins say it."""
    return _CAUSE_NAMES[number]


def flow_rules(scenario: cs.Scenario) -> flows.Rules:
    """Return the rules of a scenario's background flow."""
    given, dt, lot = scenario.background, scenario.run.dt, scenario.market.lot_size
    values = given.model_dump(exclude={"name"})
    if given.name == "fixed_rates":
        for name in ("limit_size", "market_size", "patient_size"):
            values[name] /= lot
        values["distance_scale"] /= scenario.market.tick_size
        return flows.FixedRateRules(dt=dt, **values)
    values["order_size"] = max(1, round(values["order_size"] / lot))
    kind: Any = flows.SantaFeRules if given.name == "santa_fe" else flows.QueueRules
    rules: flows.Rules = kind(dt=dt, **values)
    return rules


def provider_rules(scenario: cs.Scenario) -> quoters.ProviderRules:
    """Return the rules of a scenario's liquidity providers."""
    tick, lot = scenario.market.tick_size, scenario.market.lot_size
    values = scenario.liquidity.model_dump(exclude={"capital", "impact_per_unit"})
    values["half_spread"] /= tick
    for name in ("size", "inventory_limit"):
        values[name] /= lot
    values["loss_limit"] *= ATOMS_PER_UNIT
    return quoters.ProviderRules(
        dt=scenario.run.dt,
        impact_per_lot=scenario.liquidity.impact_per_unit / tick * lot,
        withdrawal=scenario.switches.liquidity_withdrawal,
        **values,
    )


def value_rules(scenario: cs.Scenario, cause: str) -> traders.ValueRules:
    """Return the rules of a scenario's value traders, or of its arbitrage."""
    given: Any = scenario.value_traders if cause == "value" else scenario.arbitrage
    lot = scenario.market.lot_size
    return traders.ValueRules(
        dt=scenario.run.dt,
        threshold=given.threshold,
        rate_per_price=given.rate_per_price / lot * scenario.market.tick_size,
        rate_cap=given.rate_cap / lot,
        position_cap=given.position_cap / lot,
        signal_seconds=given.signal_seconds if cause == "value" else None,
        cause=cause,
    )


def shock_rules(scenario: cs.Scenario) -> traders.ShockRules:
    """Return the schedule of a scenario's shock."""
    shock = scenario.shock
    return traders.ShockRules(
        dt=scenario.run.dt,
        quantity=round(shock.quantity / scenario.market.lot_size),
        side=-1 if shock.side == "sell" else 1,
        at_seconds=shock.at_seconds,
        duration_seconds=shock.duration_seconds,
        placebo=scenario.switches.placebo,
    )


def entrant_rules(scenario: cs.Scenario, atoms: int) -> traders.EntrantRules:
    """Return the rules of a scenario's late entrants."""
    values = scenario.traders.entrants.model_dump(exclude={"share", "quantity"})
    return traders.EntrantRules(
        dt=scenario.run.dt,
        run_seconds=scenario.run.duration_seconds,
        count=entrant_count(scenario),
        lots=round(scenario.traders.entrants.quantity / scenario.market.lot_size),
        shock_seconds=scenario.shock.at_seconds,
        market_limit=0.02,
        atoms=atoms,
        **values,
    )


def dealer_rules(scenario: cs.Scenario, count: int) -> hedgers.DealerRules:
    """Return the rules of a scenario's options dealers."""
    hedging: Any = scenario.dealers.hedging
    return hedgers.DealerRules(
        dt=scenario.run.dt,
        count=count,
        interval_seconds=hedging.interval_seconds,
        mark_seconds=hedging.mark_seconds,
        band=hedging.band / scenario.market.lot_size,
        price_limit=hedging.price_limit,
        hedging=scenario.switches.delta_hedging,
    )


def read_book(state: Any) -> tuple[ReferenceBook, list[Order], dict[int, str]]:
    """Return the book, what waits for an auction, and the causes of all of it by number."""
    book, twin, pool, causes = state.book, ReferenceBook(), [], {}
    twin.policy, twin.anonymous = int(book.self_trade), int(book.anonymous)
    twin.arrivals = int(book.serial)
    best_bid = int(book.best_bid)
    rows = np.asarray(book.orders[: int(book.fresh_slot)]).view(np.ndarray)
    limits = state.world.venue.limit[: len(rows)]
    live = np.flatnonzero(rows["quantity_lot"] > 0)
    live = live[np.argsort(rows["serial"][live])]
    columns = (rows[name][live].tolist() for name in ("key", "serial", "quantity_lot", "owner"))
    far = book.far_ticks[: len(rows)][live].tolist()
    for key, number, lots, owner, limit, beyond in zip(*columns, limits[live].tolist(), far, strict=True):
        place = key & INDEX_MASK
        tick = beyond if place >= WINDOW else int(book.origin) + place
        causes[number] = _CAUSE_NAMES[key >> INDEX_BITS]
        if place == 0:
            pool.append(Order(number, 1 if limit > 0 else -1, abs(limit), lots, owner))
        else:
            twin.resting.append(Order(number, 1 if tick <= best_bid else -1, tick, lots, owner))
    return twin, pool, causes


@dataclass
class Counts:
    """Where the sums of a market stand."""

    cash: list[int]
    moves: list[float]
    trades: int
    events: int
    messages: int


def listed(orders: list[Order], causes: Mapping[int, str]) -> list[tuple[int, int, int, int, int, str]]:
    """Return orders by number."""
    rows = [(o.number, o.side, o.tick, o.quantity, o.owner, causes[o.number]) for o in orders]
    return sorted(rows)


class Twins:
    """All twins of one market."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.state, scenario = market.state, market.settings
        config = self.state.world.config
        self.atoms, price = int(config.atoms), float(market.initial_tick)
        draws = Draws(int(config.seed), PURPOSES)
        first = {kind: cohort.first_account for kind, cohort in market.populations.items()}
        self.late = frozenset(
            cause_name(cause) for cause in range(lay.CAUSES) if int(config.latency.late[cause])
        )
        self.flow = flows.flow(flow_rules(scenario), draws, int(config.background_account))
        self.providers = quoters.Providers(
            provider_rules(scenario),
            draws,
            first[LiquidityProviders],
            round(scenario.liquidity.capital * ATOMS_PER_UNIT),
            price,
        )
        self.value = traders.ValueTrader(value_rules(scenario, "value"), first[ValueTraders], price)
        self.arbitrage = traders.ValueTrader(value_rules(scenario, "arbitrage"), first[Arbitrageurs], price)
        self.shock = traders.Shock(shock_rules(scenario), first[ShockSource])
        self.entrants = traders.Entrants(entrant_rules(scenario, self.atoms), draws, first[TrendFollowers])
        world, count = self.state.world, int(config.dealers.count)
        size = int(config.dealers.options)
        options = [
            hedgers.Option(
                float(o.strike), float(o.years), float(o.volatility), float(o.forward_ratio), bool(o.is_call)
            )
            for o in world.options[:size]
        ]
        held = [dealer.inventory[:size].tolist() for dealer in world.dealers[:count]]
        self.dealers = hedgers.Dealers(
            dealer_rules(scenario, count), draws, first[OptionsDealers], options, held, price
        )
        self.scenario = scenario
        self._compare_opening(price)

    def _compare_opening(self, price: float) -> None:
        """What rests before the first step is what the flow says, and providers are those that were drawn."""
        world = self.state.world
        book, _, causes = read_book(self.state)
        empty = ReferenceBook(book.policy, book.anonymous)
        street = Street(empty, price, price, int(world.control.step), {}, {})
        self.flow.open(street)
        assert listed(street.book.resting, street.causes) == listed(book.resting, causes)
        for twin in self.providers.all:
            row = world.providers[twin.number]
            assert float(row.half_spread) == twin.half_spread
            assert float(row.threshold) == twin.threshold
            assert (int(row.loss_limit), int(row.peak_equity)) == (twin.loss_limit, twin.peak)
        rows, first = self.state.traders[: len(self.entrants.all)], self.entrants.first_account
        found = [(int(row.arrival_step), int(row.account) - first, int(row.quantity)) for row in rows]
        assert found == [(one.step, one.number, one.lots) for one in self.entrants.all]

    def street(self) -> Street:
        """Return the market as it is now."""
        world = self.state.world
        book, pool, causes = read_book(self.state)
        return Street(
            book=book,
            mid=float(world.market.mid),
            value=float(world.market.fundamental),
            step=int(world.control.step),
            positions=dict(enumerate(self.state.accounts["position"].tolist())),
            causes=causes,
            pool=pool,
            halted=bool(world.market.halted),
            late=self.late,
        )

    def counts(self) -> Counts:
        """Return what a phase adds to."""
        world, tape = self.state.world, self.state.tape
        return Counts(
            self.state.accounts["cash"].tolist(),
            world.market.mid_move.tolist(),
            int(tape.trades_count),
            int(tape.events_count),
            int(self.state.book.messages),
        )

    def equities(self) -> dict[int, int]:
        """Return equities in atoms, by account."""
        mark, rows = float(self.state.world.market.mark), self.state.accounts
        values = zip(rows["cash"].tolist(), rows["position"].tolist(), strict=True)
        return {account: int(cash + lots * mark * self.atoms) for account, (cash, lots) in enumerate(values)}

    def act(self, phase: int, street: Street, equities: dict[int, int]) -> None:
        """Let those act who do in a phase."""
        if phase == lay.PHASE_QUOTES:
            self.providers.act(street, equities)
        elif phase == lay.PHASE_FLOW:
            self.flow.act(street)
        elif phase == lay.PHASE_SHOCK and (self.scenario.shock.is_active or self.scenario.switches.placebo):
            self.shock.act(street)
        elif phase == lay.PHASE_TRADE:
            self.value.act(street)
            if self.scenario.switches.arbitrage:
                self.arbitrage.act(street)
            self.entrants.act(street)
        elif phase == lay.PHASE_HEDGE:
            self.dealers.act(street)

    def end_step(self, step: int, mid: float) -> None:
        """Remember the mid of a step, as it is when the mark is set."""
        self.providers.end_step(mid)
        self.value.end_step(mid)
        self.entrants.end_step(step, mid)
        self.dealers.end_step(mid)

    def compare_memory(self, step: int) -> None:
        """What twins remember is what the kernels keep, but for the order of floating-point operations."""
        market = self.state.world.market
        pairs = {
            "own_mid": self.providers.own_average,
            "slow_mid": self.value.average,
            "hedge_mid": self.dealers.average,
            "value_carry": self.value.carry,
            "arbitrage_carry": self.arbitrage.carry,
        }
        if isinstance(self.flow, flows.FixedRates):
            pairs["imbalance"] = self.flow.imbalance
        for name, value in pairs.items():
            assert isclose(float(market[name]), value, rel_tol=1e-12, abs_tol=1e-9), (step, name)
        assert float(market.mid_ring[step & len(market.mid_ring) - 1]) == self.entrants.mids[step]

    def compare_providers(self, before: Counts, after: Counts, step: int) -> None:
        """Volatility, sizes and pauses of providers, and the events that say so."""
        world, providers = self.state.world, self.providers
        if not providers.all:
            return
        assert isclose(float(world.market.provider_mid), providers.smooth, rel_tol=1e-12)
        assert isclose(float(world.market.volatility), providers.variance, rel_tol=1e-9, abs_tol=1e-30)
        for twin in providers.all:
            row = world.providers[twin.number]
            assert isclose(float(row.size_factor), twin.share, rel_tol=1e-9), (step, twin)
            assert (bool(row.paused), int(row.peak_equity)) == (twin.out, twin.peak), (step, twin)
        rows = self.state.tape.events[before.events : after.events]
        found = [
            (int(row.step), EventType(int(row.type)).name.lower(), int(row.account), int(row.loss))
            for row in rows
            if int(row.type) in (EventType.WITHDRAWAL, EventType.RETURN)
        ]
        assert found == [entry for entry in providers.happened if entry[0] == step]

    def compare_hedges(self, before: Counts, after: Counts, street: Street) -> None:
        """Every hedge that goes to the book at once has its event, and none has that was not sent."""
        rows = self.state.tape.events[before.events : after.events]
        found = [
            (int(row.account), int(row.side), int(row.limit), int(row.quantity))
            for row in rows
            if int(row.type) == EventType.HEDGE
        ]
        sent = [one for one in street.sent if isinstance(one, Message) and one.cause not in self.late]
        assert found == [(one.account, one.side, one.tick, one.lots) for one in sent], street.step

    def compare_shock(self, before: Counts, after: Counts) -> None:
        """A shock has its event when it begins, whether it is of orders or of news alone."""
        rows = self.state.tape.events[before.events : after.events]
        found = [(int(r.side), int(r.quantity)) for r in rows if int(r.type) == EventType.SHOCK]
        rules = self.shock.rules
        assert found == ([(rules.side, rules.quantity)] if self.shock.begins else [])

    def compare_collateral(self, before: Counts, after: Counts) -> None:
        """Late entrants have brought in their collateral from outside."""
        brought, config = self.entrants.collateral, self.state.world.config
        outside = int(config.external_account)
        assert before.cash[outside] - after.cash[outside] == sum(brought.values())
        for account, amount in brought.items():
            row = self.state.accounts[account]
            assert int(row.collateral) == amount
            assert int(row.traits) & lay.FLAG_ACTIVE

    def follow_reopening(self) -> None:
        """Take over what the providers did in the step in which an auction came before them."""
        world, providers = self.state.world, self.providers
        providers.smooth = float(world.market.provider_mid)
        step = int(world.control.step)
        providers.smoothed[step] = providers.smooth
        providers.variance = float(world.market.volatility)
        providers.quoted_value = float(world.market.quoted_fundamental)
        numbers = read_book(self.state)[0].resting
        for twin in providers.all:
            row = world.providers[twin.number]
            twin.share, twin.peak = float(row.size_factor), int(row.peak_equity)
            twin.out, twin.out_until = bool(row.paused), int(row.paused_until)
            twin.quotes = [order.number for order in numbers if order.owner == twin.account]


class StreetWorld:
    """A model and its twins, in step.

    Parameters
    ----------
    scenario : Scenario
        Without activity of leveraged traders and without Python agents.
    seed : int

    Attributes
    ----------
    compared : Counter
        Messages and trades that were compared, by cause.
    """

    def __init__(self, scenario: cs.Scenario, seed: int) -> None:
        self.model = cs.CascadeModel(scenario, rng=seed)
        self.twins = [Twins(market) for market in self.model.markets.values()]
        self.compared: Counter[str] = Counter()
        self.venue: set[str] = set()
        self.crossers: list[tuple[int, int, traders.CrossArbitrage]] = []
        for number, twins in enumerate(self.twins):
            cross = twins.state.world.config.cross
            if float(cross.rate) > 0.0 and scenario.switches.arbitrage:
                self.crossers.append((number, int(cross.partner), self._crosser(number, int(cross.partner))))

    def _crosser(self, number: int, partner: int) -> traders.CrossArbitrage:
        here, there = self.twins[number], self.twins[partner]
        given, market, other = here.scenario.cross_arbitrage, here.scenario.market, there.scenario.market
        rules = traders.CrossRules(
            dt=here.scenario.run.dt,
            threshold=given.threshold,
            rate_per_price=given.rate_per_price / market.lot_size,
            rate_cap=given.rate_cap / market.lot_size,
            position_cap=given.position_cap / market.lot_size,
            tick=market.tick_size,
            lot=market.lot_size,
            other_tick=other.tick_size,
            other_lot=other.lot_size,
        )
        accounts = [twins.market.populations[CrossArbitrageurs].first_account for twins in (here, there)]
        return traders.CrossArbitrage(rules, *accounts)

    def seen(self) -> set[str]:
        """Return what was compared and what the twins had to deal with."""
        found = set(self.compared) | self.venue
        for twins in self.twins:
            found |= {name for _, name, *_ in twins.providers.happened} | twins.providers.seen
            for name in ("flow", "value", "arbitrage", "entrants", "dealers"):
                found |= {f"{name} {what}" for what in getattr(twins, name).seen}
        return found | {f"cross {what}" for _, _, crosser in self.crossers for what in crosser.seen}

    def delay(self, cause: str) -> None:
        """From now on, let what the first market sends for a cause stay under way; something of it must do so already."""
        twins = self.twins[0]
        config = twins.state.world.config.latency
        assert int(config.active)
        config.delay[Cause[cause.upper()]], config.late[Cause[cause.upper()]] = DELAY, 1
        twins.late |= {cause}

    def run(self, steps: int) -> None:
        """Make and compare a number of steps."""
        for _ in range(steps):
            for phase in range(lay.PHASES):
                self._phase(phase)

    def _phase(self, phase: int) -> None:
        acting = phase in ACTING or phase == lay.PHASE_SHOCK
        streets = [twins.street() for twins in self.twins if acting]
        equities = [twins.equities() if phase == lay.PHASE_QUOTES else {} for twins in self.twins]
        before = [twins.counts() for twins in self.twins]
        self.model._phase(phase)
        step = int(self.twins[0].state.world.control.step) - (phase == lay.PHASES - 1)
        if phase == lay.PHASE_MARK:
            for twins in self.twins:
                twins.end_step(step, float(twins.state.world.market.mid))
                twins.compare_memory(step)
        if not acting:
            return
        reopened = [False] * len(self.twins)
        for number, twins in enumerate(self.twins):
            if phase == lay.PHASE_QUOTES:
                # The venue's rules come first: a halt begins, or an auction ends one.
                reopened[number] = streets[number].halted and not bool(twins.state.world.market.halted)
                streets[number].halted = bool(twins.state.world.market.halted)
            if not reopened[number]:
                twins.act(phase, streets[number], equities[number])
        if phase == lay.PHASE_TRADE:
            for here, there, crosser in self.crossers:
                crosser.act(streets[here], streets[there])
        for number, twins in enumerate(self.twins):
            if streets[number].halted:
                self.venue.add("halted")
            elif streets[number].one_sided:
                self.venue.add("one-sided")
            if reopened[number]:
                self.venue.add("reopened")
                twins.follow_reopening()
            else:
                self._compare(twins, phase, streets[number], before[number])

    def _compare(self, twins: Twins, phase: int, street: Street, before: Counts) -> None:
        after, state, where = twins.counts(), twins.state, (street.step, phase)
        book, pool, causes = read_book(state)
        if phase == lay.PHASE_QUOTES:
            twins.compare_providers(before, after, street.step)
        if phase == lay.PHASE_TRADE:
            twins.compare_collateral(before, after)
        if phase == lay.PHASE_SHOCK:
            twins.compare_shock(before, after)
        if phase == lay.PHASE_HEDGE:
            twins.compare_hedges(before, after, street)
        sent = [one for one in street.sent if isinstance(one, Cancellation) or one.cause in twins.late]
        if twins.late & ACTING.get(phase, frozenset()):
            assert messages_under_way(state, phase, street.step) == by_account(sent), where
        assert listed(book.resting, causes) == listed(street.book.resting, street.causes), where
        assert listed(pool, causes) == listed(street.pool, street.causes), where
        trades = [
            Trade(
                int(row.taker_account),
                int(row.maker_account),
                int(row.aggressor_side),
                int(row.price_tick),
                int(row.quantity_lot),
                cause_name(int(row.taker_cause)),
            )
            for row in state.tape.trades[before.trades : after.trades]
        ]
        assert trades == street.trades, where
        assert dict(enumerate(state.accounts["position"].tolist())) == street.positions, where
        assert float(state.world.market.mid) == street.mid, where
        assert after.messages - before.messages == street.messages, where
        for name, bucket in BUCKETS.items():
            moved = after.moves[bucket] - before.moves[bucket]
            assert isclose(moved, street.moves.get(name, 0.0), abs_tol=1e-6), (*where, name)
        for one in street.sent:
            self.compared[one.cause if isinstance(one, Message) else f"cancellation: {one.bucket}"] += 1
        for trade in trades:
            self.compared[f"trade: {trade.cause}"] += 1


def by_account(sent: list[Any]) -> dict[int, list[Any]]:
    """Sort messages into lists of one sender each."""
    found: dict[int, list[Any]] = {}
    for one in sent:
        found.setdefault(one.account, []).append(one)
    return found


def messages_under_way(state: Any, phase: int, step: int) -> dict[int, list[Message | Cancellation]]:
    """Return by account what was sent in a phase of a step, in the order of sending."""
    flight, found = state.world.flight, []
    entry = int(flight.head[phase * FLIGHT_SLOTS + (step + DELAY & FLIGHT_SLOTS - 1)])
    buckets = {bucket: name for name, bucket in BUCKETS.items()}
    while entry:
        row = flight.pool[entry]
        assert (int(row.due), int(row.decided)) == (step + DELAY, step)
        account, lots, cause = int(row.account), int(row.quantity), cause_name(int(row.cause))
        if lots == 0:
            found.append(Cancellation(account, buckets[int(row.tick)]))
        else:
            order = (account, int(row.side), int(row.tick), lots, int(row.order_type), cause)
            found.append(Message(*order, int(row.lifetime)))
        entry = int(row.next)
    return by_account(found)
