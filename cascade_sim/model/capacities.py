"""The size class that a scenario needs, and capacities of the largest that it is sure to exhaust.

The latter are found before the first step and named by the field that decides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cascade_sim.agents.activity import uses_activity
from cascade_sim.core import layout as lay
from cascade_sim.core.ground.wheel import SLOTS
from cascade_sim.core.layout.book import INDEX_MASK, MARKET_TICKS, WINDOW, order_ticks
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.scenario import Scenario

if TYPE_CHECKING:
    from cascade_sim.model.market import Market

ROOM_TO_MOVE = 8
"""How far a price can at least rise from the initial one."""
CERTAIN = 20.0
"""Events expected of a Poisson number that is then zero once in half a billion runs."""
_WIDER = 8.0
_NEVER_IN_RUNS = 1e9
_SPREADS = 6.0
"""Standard deviations below its mean at which a Poisson number still exhausts a capacity."""
_WAITING = lay.WAITING_PER_CHUNK * lay.LARGE.expiries
"""Orders that can wait for their expiry, where their lists waste no room."""
_BYTES_PER_ACCOUNT = {"summary": 790, "series": 830, "full": 1130}
"""Measured growth of the peak memory of a process with the number of accounts, from 10^5 to 10^6 of them."""


def ticks_of(initial_tick: int) -> int:
    """First price, in ticks, that is too high for a market that begins at ``initial_tick``.

    Any of a window, or a power of two that leaves room for a rise to :data:`ROOM_TO_MOVE` times the initial price.
    """
    return min(MARKET_TICKS, max(WINDOW, 1 << (ROOM_TO_MOVE * initial_tick - 1).bit_length()))


def start_tick(scenario: Scenario, instrument: Instrument, price: float) -> int:
    """Return the price at the start in ticks.

    Raises
    ------
    ScenarioError
        If it is less than one tick, or so many that there is no room for it to rise.
    """
    tick, most = instrument.price_to_tick(price), MARKET_TICKS // ROOM_TO_MOVE
    if not 1 <= tick <= most:
        origin = (
            "market.initial_price"
            if scenario.options.chain.path is None
            else "the forward of the option chain"
        )
        expected = f"a step at which {price:g}, {origin}, is from 1 to {most} ticks, such as {_step_for(price, most):g}"
        raise ScenarioError(expectation("market.tick_size", expected, instrument.tick_size))
    return tick


def largest_order(instrument: Instrument, initial_tick: int) -> int:
    """Lots of the largest order: quantities have 32 bits in the book, and its worth at any price of the market 62."""
    return int(min(2**31 - 1, 2**62 // (ticks_of(initial_tick) * instrument.atoms_per_tick_lot)))


def check_capacities(scenario: Scenario, instrument: Instrument, initial_tick: int) -> None:
    """Refuse a market that whatever is drawn must exhaust a capacity.

    Parameters
    ----------
    scenario : Scenario
        Of one market.
    instrument : Instrument
        Its contract.
    initial_tick : int
        Price at the start.

    Raises
    ------
    ScenarioError
        In one line: the field that decides, and a value of it that works.
    """
    for problems in (
        _cash,
        _ticks,
        _flow_worth,
        _sizes,
        _least_orders,
        _waiting,
        _per_step,
        _in_flight,
        _memory,
    ):
        for line in problems(scenario, instrument, initial_tick):
            raise ScenarioError(line)


def check_opening(market: Market) -> None:
    """Refuse a world whose ladders, as they were drawn, reach beyond the highest price in the first step.

    Raises
    ------
    ScenarioError
        As :func:`check_capacities`.
    """
    world = market.state.world
    if _has_ladders(market.settings):
        count = int(world.config.providers.count)
        widest = max(float(world.providers[k].half_spread) for k in range(count))
        for line in _ladder(market.settings, market.instrument, market.initial_tick, widest):
            raise ScenarioError(line)


def _has_ladders(scenario: Scenario) -> bool:
    return scenario.liquidity.count > 0 and scenario.market.price_formation.name != "linear_impact"


def _cash(scenario: Scenario, instrument: Instrument, tick: int) -> Iterator[str]:
    """Collateral of a class of accounts beyond which sums of 64-bit integers could wrap."""
    amounts = {
        "liquidity.capital": (scenario.liquidity.capital, scenario.liquidity.count),
        "dealers.capital": (scenario.dealers.capital, scenario.dealers.count),
        "value_traders.capital": (scenario.value_traders.capital, 1),
        "arbitrage.capital": (scenario.arbitrage.capital, 1),
        "cross_arbitrage.capital": (scenario.cross_arbitrage.capital, 1),
        "clearing.insurance_fund": (scenario.clearing.insurance_fund, 1),
    }
    for path, (amount, count) in amounts.items():
        most = lay.LARGEST_CASH / ATOMS_PER_UNIT / max(1, count)
        if amount > most:
            among = "" if count == 1 else f", all {count} together {lay.LARGEST_CASH / ATOMS_PER_UNIT:.4g}"
            yield expectation(path, f"at most {_rounded_down(most):g} {scenario.market.quote}{among}", amount)
    # What comes in during the run is not drawn yet: its bound at the initial price.
    traders, price = scenario.traders, tick * instrument.tick_size
    entrants, top_up = traders.entrants, traders.top_up
    worth = entrants.quantity * price * entrants.inverse_leverage[1] if entrants.share > 0.0 else 0.0
    if worth * ATOMS_PER_UNIT > lay.LARGEST_CASH:
        yield _too_rich("traders.entrants.inverse_leverage", worth, list(entrants.inverse_leverage))
    worth = traders.open_interest * price * traders.inverse_leverage[1] * top_up.amount
    if top_up.share > 0.0 and worth * ATOMS_PER_UNIT > lay.LARGEST_CASH:
        yield _too_rich("traders.top_up.amount", worth, top_up.amount)


def _flow_worth(scenario: Scenario, instrument: Instrument, tick: int) -> Iterator[str]:
    """Background flow whose net position, a random walk of its orders, would be worth more than 63 bits of atoms."""
    background, seconds = (
        scenario.background,
        _seconds(scenario),
    )
    sizes = {
        "background.order_size": (
            getattr(background, "order_size", 0.0),
            2.0 * background.market_rate * seconds,
        )
    }
    if background.name == "fixed_rates":
        sizes = {
            "background.market_size": (background.market_size, background.market_rate * seconds),
            "background.limit_size": (background.limit_size, background.limit_rate * seconds),
            "background.patient_size": (background.patient_size, 2.0 * background.patient_orders),
        }
    for path, (size, orders) in sizes.items():
        spread = _SPREADS * math.sqrt(orders)
        most = 2.0**62 / ATOMS_PER_UNIT / (tick * instrument.tick_size) / max(1.0, spread)
        if orders > 0.0 and max(size, instrument.lot_size) > most:
            small = size < instrument.lot_size
            where, received = ("market.lot_size", instrument.lot_size) if small else (path, size)
            expected = (
                f"at most {_rounded_down(most):g}, for the worth of the net flow to fit in 64 bits of atoms"
            )
            yield expectation(where, expected, received)


def _too_rich(path: str, worth: float, received: object) -> str:
    most = lay.LARGEST_CASH / ATOMS_PER_UNIT
    expected = f"collateral of all together of at most {most:.4g}, at least {worth / most:.3g} times less than {worth:.4g}"
    return expectation(path, expected, received)


def _ticks(scenario: Scenario, instrument: Instrument, tick: int) -> Iterator[str]:
    if _has_ladders(scenario):
        liquidity = scenario.liquidity
        narrowest = liquidity.half_spread * (1.0 - liquidity.half_spread_dispersion) / instrument.tick_size
        yield from _ladder(scenario, instrument, tick, narrowest)


def _step_for(price: float, most: int) -> float:
    """A step, round in decimals, of which the price is at most ``most``, and hundreds where that allows it."""
    finest = price / most
    sizes = (step * 10.0**power for power in range(-8, 9) for step in (1.0, 2.0, 5.0))
    return next((size for size in sizes if size >= max(finest, 1e-4 * price)), 5e8)


def _ladder(scenario: Scenario, instrument: Instrument, tick: int, half_spread: float) -> Iterator[str]:
    """Ladders whose last quote of at least one lot has no tick: half-spread in ticks."""
    liquidity = scenario.liquidity
    steps = np.arange(liquidity.levels)
    quoted = np.floor(liquidity.size / instrument.lot_size * liquidity.size_growth**steps + 0.5) >= 1.0
    reach = tick + half_spread * liquidity.level_growth**steps
    ticks = ticks_of(tick)
    if not (quoted & (np.ceil(reach) >= ticks)).any():
        return
    widest = liquidity.half_spread * (1.0 + liquidity.half_spread_dispersion) / instrument.tick_size
    # Spreads widen under stress: what is proposed leaves room for that.
    room = (ticks - 2 - tick) / _WIDER
    if room > widest and liquidity.level_growth > 1.0:
        most = max(1, int(math.log(max(1.0, room / widest)) / math.log(liquidity.level_growth)) + 1)
        path, expected, received = "liquidity.levels", f"at most {most}", float(liquidity.levels)
    else:
        most_spread = room * instrument.tick_size / (1.0 + liquidity.half_spread_dispersion)
        path, received = "liquidity.half_spread", liquidity.half_spread
        expected = f"at most {most_spread / liquidity.level_growth ** (liquidity.levels - 1):.3g}"
    yield expectation(
        path,
        f"{expected} with liquidity.level_growth {liquidity.level_growth:g} and market.tick_size "
        f"{instrument.tick_size:g}, for the last ask to be one of the {ticks - 1} prices of this market",
        received,
    )


def _sizes(scenario: Scenario, instrument: Instrument, tick: int) -> Iterator[str]:
    """Orders larger than the book can hold: always, or so many expected that one must come."""
    most = largest_order(instrument, tick)
    lot, linear = instrument.lot_size, scenario.market.price_formation.name == "linear_impact"
    liquidity, background, shock = scenario.liquidity, scenario.background, scenario.shock
    growth = max(1.0, liquidity.size_growth ** (liquidity.levels - 1))
    if _has_ladders(scenario) and liquidity.size / lot * growth > most:
        yield _too_large(
            "liquidity.size", most * lot / growth, liquidity.size, "the largest quote of a ladder"
        )
    seconds = _seconds(scenario)
    if background.name == "fixed_rates":
        patient = 2 * background.patient_orders * (1.0 + seconds / background.patient_lifetime_seconds)
        means = {
            "background.market_size": (background.market_size, background.market_rate * seconds),
            "background.limit_size": (
                background.limit_size,
                0.0 if linear else background.limit_rate * seconds,
            ),
            "background.patient_size": (background.patient_size, 0.0 if linear else patient),
        }
        for path, (mean, orders) in means.items():
            if orders > CERTAIN and orders * math.exp(-most * lot / mean) > CERTAIN:
                yield _too_large(
                    path, most * lot / math.log(1e3 * orders), mean, f"the largest of {orders:.3g} orders"
                )
    elif background.order_size / lot > most:
        yield _too_large("background.order_size", most * lot, background.order_size, "an order")
    steps = max(1, round(shock.duration_seconds / scenario.run.dt))
    whole = 2**62 // (ticks_of(tick) * instrument.atoms_per_tick_lot)
    if shock.quantity / lot > whole <= most * steps:
        expected = (
            f"at most {_rounded_down(whole * lot):g}, for its worth at any price to fit in 64 bits of atoms"
        )
        yield expectation("shock.quantity", expected, shock.quantity)
    elif shock.quantity / lot / steps > most:
        yield _too_large("shock.quantity", most * lot * steps, shock.quantity, f"each of the {steps} orders")


def _least_orders(scenario: Scenario, instrument: Instrument, tick: int) -> Iterator[str]:
    """A least notional that no order of some flow reaches at the price at which the market begins."""
    least, price, lot = scenario.venue.minimum_notional, tick * instrument.tick_size, instrument.lot_size
    for what, size in _largest_orders(scenario):
        worth = max(size + 0.5 * lot, lot) * price
        if least > worth:
            expected = f"at most {_rounded_down(worth):g} {scenario.market.quote}, for {what} to be taken at {price:g}"
            yield expectation("venue.minimum_notional", expected, least)


def _largest_orders(scenario: Scenario) -> Iterator[tuple[str, float]]:
    """Yield each flow of orders that is on, and about the largest of its orders in base units."""
    background, liquidity, dt = scenario.background, scenario.liquidity, scenario.run.dt
    linear = scenario.market.price_formation.name == "linear_impact"
    if _has_ladders(scenario):
        growth = max(1.0, liquidity.size_growth ** (liquidity.levels - 1))
        yield "the largest quote of a ladder (liquidity.size)", liquidity.size * growth
    seconds = (scenario.run.steps + scenario.run.burn_in_steps) * dt
    if background.name == "fixed_rates":
        patient = 2 * background.patient_orders * (1.0 + seconds / background.patient_lifetime_seconds)
        for name, number in (
            ("market_size", background.market_rate * seconds),
            ("limit_size", 0.0 if linear else background.limit_rate * seconds),
            ("patient_size", 0.0 if linear else patient),
        ):
            if number > 0.0:
                # Sizes are exponential: one so large comes in one of a billion runs.
                multiple = math.log(max(1.0, number) * _NEVER_IN_RUNS)
                yield f"any order of background.{name}", getattr(background, name) * multiple
    elif background.market_rate > 0.0 or not linear:
        yield "any order of background.order_size", background.order_size
    shock = scenario.shock
    if shock.quantity > 0.0:
        steps = max(1, round(shock.duration_seconds / dt))
        yield (
            f"an order of shock.quantity in {steps} steps",
            shock.quantity / steps + scenario.market.lot_size,
        )
    for name, section in (("value_traders", scenario.value_traders), ("arbitrage", scenario.arbitrage)):
        if section.rate_per_price > 0.0:
            yield f"an order of {name}.rate_cap", section.rate_cap * dt + scenario.market.lot_size


def _too_large(path: str, most: float, received: float, what: str) -> str:
    expected = f"at most {_rounded_down(most):g}, for {what} to be one that a book can hold (market.lot_size)"
    return expectation(path, expected, received)


def _rounded_down(value: float) -> float:
    """Three digits, never above the value."""
    if value <= 0.0:
        return value
    scale = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.floor(value / scale) * scale


def _fewest(mean: float) -> float:
    """A number of Poisson events with that mean that is reached in all but one of a billion runs."""
    return mean - _SPREADS * math.sqrt(mean)


def _most(mean: float) -> float:
    """A number of Poisson events with that mean that is exceeded in one of a billion runs."""
    return mean + _SPREADS * math.sqrt(mean)


def needs_of(markets: Iterable[Market]) -> dict[str, float]:
    """Return what the most demanding of some markets needs of each field of :class:`layout.Sizes`.

    What a scenario asks for by number; of orders, as many as wait, rest or travel at once in all but one of a billion runs, as
    far as the background and the ladders decide. What agents written in Python, or stress, may add is not foreseen.

    Parameters
    ----------
    markets : iterable of Market
        Not open yet.
    """
    needs: dict[str, float] = {}
    for market in markets:
        for name, need in _needs(market).items():
            needs[name] = max(needs.get(name, 0.0), need)
    return needs


def _needs(market: Market) -> dict[str, float]:
    scenario = market.settings
    liquidity, traders = scenario.liquidity, scenario.traders
    ladders = 2.0 * liquidity.count * liquidity.levels if _has_ladders(scenario) else 0.0
    waiting = _most(_mean_waiting(scenario))
    pays = scenario.market.funding.interval_seconds > 0.0 and scenario.run.record == "full"
    return {
        "providers": liquidity.count,
        "levels": liquidity.levels,
        "dealers": scenario.dealers.count,
        "options": 0 if market.options is None else market.options[0].size,
        "actors": traders.count if uses_activity(scenario) else 0,
        "lookback": _steps_back(market) + 1,
        "orders": waiting + ladders + _most(sum(_rates(scenario).values()) * scenario.run.dt),
        # A slot in use may hold one chunk with a single order in it.
        "expiries": waiting / lay.WAITING_PER_CHUNK + SLOTS,
        "messages": _most_under_way(scenario),
        "auction": _most_pooled(scenario),
        "transfers": market.account_count + lay.TRANSFERS_KEPT if pays else 0,
    }


def _steps_back(market: Market) -> int:
    """Steps that any rule or population looks back."""
    scenario = market.settings
    traders, window = scenario.traders, scenario.venue.circuit_breaker.window_seconds
    seconds = [source.delay_seconds for source in scenario.index.sources.values()]
    seconds.append(getattr(market.mark_rule, "delay_seconds", 0.0))
    if scenario.liquidity.count > 0:
        seconds.append(scenario.liquidity.volatility_return_seconds)
    if market.entrants > 0:
        seconds.append(traders.entrants.trend_seconds)
    if uses_activity(scenario):
        seconds.append(traders.activity.trend_seconds)
    if window is not None:
        seconds.append(window)
    return round(max(seconds) / scenario.run.dt)


def _seconds(scenario: Scenario) -> float:
    return (scenario.run.steps + scenario.run.burn_in_steps) * scenario.run.dt


def _rates(scenario: Scenario) -> dict[str, float]:
    """Orders of the background per second, by the field that decides; those of queues by the market orders alone."""
    background = scenario.background
    rates = {"background.market_rate": background.market_rate}
    if background.name == "fixed_rates":
        rates["background.limit_rate"] = background.limit_rate
    elif background.name == "santa_fe":
        rates["background.limit_rate"] = background.limit_rate * background.window_ticks
    return rates


def _alive_seconds(life: float, total: float) -> float:
    """Orders that wait at once at the most, per order a second: exponential lifetimes, those beyond the end left out."""
    times = np.linspace(0.0, total, 129)[1:]
    alive = life * ((1.0 - np.exp(-times / life)) - (np.exp(-(total - times) / life) - np.exp(-total / life)))
    return float(alive.max())


def _mean_waiting(scenario: Scenario) -> float:
    """Orders of the background that wait for their expiry."""
    background = scenario.background
    if scenario.market.price_formation.name == "linear_impact":
        return 0.0
    if background.name == "santa_fe" and background.cancel_rate > 0.0:
        return 2.0 * background.window_ticks * background.limit_rate / background.cancel_rate
    if background.name != "fixed_rates":
        return 0.0
    alive = _alive_seconds(background.lifetime_seconds, _seconds(scenario))
    return background.limit_rate * alive + 2.0 * background.patient_orders


def _most_under_way(scenario: Scenario) -> float:
    """Orders of the background and of ladders on their way to the book."""
    latency, total = scenario.latency, _seconds(scenario)
    if scenario.market.price_formation.name == "linear_impact":
        return 0.0
    flow, quotes = (
        min(way.delay_seconds + way.jitter_seconds, total)
        for way in (latency.background, latency.liquidity_providers)
    )
    most = _most(sum(_rates(scenario).values()) * flow)
    if _has_ladders(scenario) and quotes > 0.0:
        liquidity = scenario.liquidity
        # A ladder travels with the order to take the one before it out.
        ladder = liquidity.count * (2 * liquidity.levels + 1)
        most += ladder * (quotes / max(liquidity.requote_seconds, scenario.run.dt) + 1.0)
    return most


def _most_pooled(scenario: Scenario) -> float:
    """Orders of one side that the background sends while the market is halted, as if all of them crossed."""
    venue = scenario.venue
    halts = [*venue.circuit_breaker.halt_seconds]
    if venue.price_band.limit_state_seconds is not None:
        halts.append(venue.price_band.halt_seconds)
    if not halts:
        return 0.0
    background = scenario.background
    rate = background.market_rate + (background.limit_rate if background.name == "fixed_rates" else 0.0)
    return _most(0.5 * rate * min(max(halts), _seconds(scenario)))


def _waiting(scenario: Scenario, _instrument: Instrument, _tick: int) -> Iterator[str]:
    """Orders that wait for their expiry; what trades earlier stays listed until then."""
    background, run = scenario.background, scenario.run
    # A venue that halts or caps may turn orders away, so that nothing is certain.
    if scenario.market.price_formation.name == "linear_impact" or scenario.venue.has_rules:
        return
    total = (run.steps + run.burn_in_steps) * run.dt
    if background.name == "santa_fe" and background.cancel_rate > 0.0:
        opening = 2.0 * background.window_ticks * background.limit_rate / background.cancel_rate
        if _fewest(min(opening, 1e15)) > _WAITING:
            most = _WAITING * background.cancel_rate / (2.0 * background.window_ticks)
            yield _too_many("background.limit_rate", 0.9 * most, background.limit_rate, _WAITING)
    elif background.name == "fixed_rates":
        if 2 * background.patient_orders > _WAITING:
            yield _too_many("background.patient_orders", _WAITING // 4, background.patient_orders, _WAITING)
        share = _alive_seconds(background.lifetime_seconds, total)
        if _fewest(background.limit_rate * share) > _WAITING:
            yield _too_many("background.limit_rate", 0.9 * _WAITING / share, background.limit_rate, _WAITING)


def _too_many(path: str, most: float, received: float, room: int) -> str:
    return expectation(
        path, f"at most {_rounded_down(most):g}, for orders to fit in the room for {room}", received
    )


def _per_step(scenario: Scenario, _instrument: Instrument, _tick: int) -> Iterator[str]:
    """Orders that arrive in one step."""
    background, dt = scenario.background, scenario.run.dt
    for path, rate in _rates(scenario).items():
        if _fewest(rate * dt) > lay.LARGE.orders:
            most = (
                lay.LARGE.orders / dt * (1.0 if "market" in path else getattr(background, path[11:]) / rate)
            )
            yield _too_many(path, most, getattr(background, path[11:]), lay.LARGE.orders)
    if background.name == "fixed_rates":
        arrivals, lifetime = 2.0 * background.patient_orders * dt, background.patient_lifetime_seconds
        if _fewest(arrivals / lifetime) > lay.LARGE.orders:
            least = 1.1 * arrivals / lay.LARGE.orders
            expected = (
                f"at least {least:.3g} s, for orders of a step to fit in the room for {lay.LARGE.orders}"
            )
            yield expectation("background.patient_lifetime_seconds", expected, lifetime)


def _in_flight(scenario: Scenario, _instrument: Instrument, _tick: int) -> Iterator[str]:
    """Orders on their way to the book while the first of them have not arrived."""
    background, latency, run = scenario.background, scenario.latency, scenario.run
    if scenario.market.price_formation.name == "linear_impact":
        return
    total = (run.steps + run.burn_in_steps) * run.dt
    if background.name == "fixed_rates":
        rate = background.limit_rate + background.market_rate
        mean = rate * min(latency.background.delay_seconds, total)
        if _fewest(mean) > lay.LARGE.messages:
            most = 0.9 * lay.LARGE.messages / rate
            yield _too_many(
                "latency.background.delay_seconds", most, latency.background.delay_seconds, lay.LARGE.messages
            )
    liquidity, delay = scenario.liquidity, latency.liquidity_providers.delay_seconds
    if not _has_ladders(scenario) or delay <= 0.0:
        return
    least = liquidity.minimum_size_share if scenario.switches.liquidity_withdrawal else 1.0
    lots = (
        liquidity.size
        / scenario.market.lot_size
        * least
        * liquidity.size_growth ** np.arange(liquidity.levels)
    )
    ladder = 2 * liquidity.count * int((lots + 0.5 >= 1.0).sum())
    between = max(liquidity.requote_seconds, run.dt)
    if ladder * (min(delay, total) / between - 1.0) > lay.LARGE.messages:
        most = 0.5 * lay.LARGE.messages * between / ladder
        yield _too_many("latency.liquidity_providers.delay_seconds", most, delay, lay.LARGE.messages)


def available_memory() -> int | None:
    """Bytes that a process may still take: of the machine, and of its control group; None where nobody says."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        if limit != "max":
            found.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def _memory(scenario: Scenario, _instrument: Instrument, _tick: int) -> Iterator[str]:
    """Accounts for which this machine has no room; only asked where there are many."""
    count = scenario.traders.count + scenario.portfolios.count + scenario.holders.count
    needed = _BYTES_PER_ACCOUNT[scenario.run.record] * count
    if needed < 1 << 28:
        return
    free = available_memory()
    if free is not None and needed > free:
        names = ("traders", "portfolios", "holders")
        path = max(names, key=lambda name: int(getattr(scenario, name).count))
        most = free // _BYTES_PER_ACCOUNT[scenario.run.record]
        expected = (
            f"at most {_rounded_down(float(most)):.0f} accounts in the {free >> 20} MiB of memory that are free with "
            f"run.record {scenario.run.record}"
        )
        yield expectation(f"{path}.count", expected, getattr(scenario, path).count)


STRAIN_DISTANCE = 0.05
"""Move of the price over which forced orders are compared with what rests in the book."""
STRAINED = 10.0
"""Ratio from which a run is said to hold more open interest than its liquidity can take; the library stays below 6."""


def strain(market: Market) -> float:
    """Forced orders over liquidity at the opening: how many times over a move of 5 % would empty the book.

    The lots of all accounts whose liquidation price lies within 5 % of the initial price, over the lots that rest on the
    side that they would be closed against within the same 5 %: patient orders, and the ladders of all providers at full
    size. The larger of both directions; infinite where forced orders meet an empty book.

    Parameters
    ----------
    market : Market
        Opened, before its first step.

    Returns
    -------
    float
    """
    state, tick = market.state, float(market.initial_tick)
    edge = STRAIN_DISTANCE * tick
    lots = np.abs(np.asarray(state.accounts["position"]))
    lows, highs = state.watch[lay.WATCH_LIQUIDATE_LONG], state.watch[lay.WATCH_LIQUIDATE_SHORT]
    ratios = []
    for side, forced in ((1, lots[lows >= tick - edge].sum()), (-1, lots[highs <= tick + edge].sum())):
        depth = _resting(market, side, edge)
        ratios.append(float(forced) / depth if depth > 0.0 else (math.inf if forced > 0 else 0.0))
    return max(ratios)


def _resting(market: Market, side: int, edge: float) -> float:
    """Lots of one side within ``edge`` ticks of the initial price: of the book, and of the ladders still to come."""
    state, tick = market.state, market.initial_tick
    config = state.world.config
    if int(config.formation) == lay.FORMATION_LINEAR:
        impact = float(config.impact)
        return edge / impact if impact > 0.0 else math.inf
    first, last = (max(1, math.ceil(tick - edge)), tick) if side > 0 else (tick, math.floor(tick + edge))
    resting = _resting_between(state.book, first, last)
    providers = config.providers
    count, quotes = int(providers.count), int(providers.levels)
    spreads = np.array([state.world.providers[k].half_spread for k in range(count)])
    reach = np.outer(spreads, providers.level_distance[:quotes])
    ladders = np.where(reach <= edge, np.floor(providers.level_size[:quotes] + 0.5), 0.0).sum()
    return float(resting) + float(ladders)


def _resting_between(book: Any, first: int, last: int) -> int:
    """Lots in the book from one tick to another, both included."""
    orders = book.orders[: int(book.fresh_slot)]
    places = np.asarray(orders["key"], np.int64) & INDEX_MASK
    ticks = order_ticks(book, slice(len(orders)))
    inside = (places > 0) & (first <= ticks) & (ticks <= last)
    return int(np.asarray(orders["quantity_lot"], np.int64)[inside].sum())


def strain_text(ratio: float) -> str:
    """One line about a strained opening."""
    return (
        f"a move of {STRAIN_DISTANCE:.0%} would force {ratio:.3g} times what rests in the book within it: open interest "
        "(traders.open_interest, portfolios.open_interest) beyond what liquidity (liquidity.count, liquidity.size, "
        "background.patient_orders) can take; expect a crash and a long run"
    )
