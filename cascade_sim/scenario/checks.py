"""What must hold between fields.

A field of a mechanism that is off is held against no field of another: it says nothing, and another scenario that turns
the mechanism on has it checked. What a field or two of one section say by themselves is checked either way.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import fsum
from typing import TYPE_CHECKING, Any

from cascade_sim.domain.errors import CascadeError, ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.scenario.base import LARGEST_NUMBER, Section
from cascade_sim.scenario.market import ContStoikovTalreja, FixedRates
from cascade_sim.scenario.prices import LONGEST_DELAY

if TYPE_CHECKING:
    from cascade_sim.scenario import Scenario

_WEIGHT_TOLERANCE = 1e-6
_SECONDS_PER_DAY = 86_400.0
MOST_STEPS = 1_000_000_000
"""Steps of a run with its burn-in; steps are numbered in 32 bits."""
MOST_LOTS = 10**15
"""Largest quantity in lots; doubles hold every whole number up to nine times that."""
MOST_OPTIONS = 8192
"""Options that dealers can hold."""
MOST_LEVELS = 8
"""Levels of a circuit breaker."""
MOST_WINDOW_STEPS = 131_071
"""Steps of the window of a circuit breaker."""


def check_consistency(scenario: "Scenario") -> None:
    """Check every relation between fields.

    Parameters
    ----------
    scenario : Scenario
        A scenario whose fields are valid one by one.

    Raises
    ------
    ScenarioError
        For the first relation that does not hold, in one line.
    """
    for problems in (
        _texts,
        _market,
        _lots,
        _background,
        _ladders,
        _volatility,
        _margins,
        _traders,
        _options,
        _time,
        _prices,
        _venue,
        _latency,
    ):
        for line in problems(scenario):
            raise ScenarioError(line)


def _texts(scenario: "Scenario") -> Iterator[str]:
    for path, text in _all_text(scenario, ""):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            yield expectation(path, "text that UTF-8 can hold, without lone surrogates", text)


def _all_text(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield path and text of every text in a tree, the names of entries included."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Section):
        for name, item in {**value.__dict__, **(value.__pydantic_extra__ or {})}.items():
            yield from _all_text(item, f"{path}.{name}" if path else name)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield path, name
            yield from _all_text(item, f"{path}.{name}" if path else name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _all_text(item, path)


def _market(scenario: "Scenario") -> Iterator[str]:
    market = scenario.market
    try:
        Instrument(
            market.venue, market.instrument, market.base, market.quote, market.tick_size, market.lot_size
        )
    except CascadeError as error:
        yield f"market.{error}"
    if market.initial_price < market.tick_size:
        yield expectation(
            "market.initial_price", f"at least one tick of {market.tick_size:g}", market.initial_price
        )


def _venue(scenario: "Scenario") -> Iterator[str]:
    breaker = scenario.venue.circuit_breaker
    levels, halts = list(breaker.levels), list(breaker.halt_seconds)
    where = "venue.circuit_breaker"
    rising = all(low < high for low, high in pairwise([0.0, *levels, 1.0]))
    if not rising or len(levels) > MOST_LEVELS:
        expected = f"at most {MOST_LEVELS} ascending shares of price between 0 and 1"
        yield expectation(f"{where}.levels", expected, levels)
    if len(halts) != len(levels):
        yield expectation(f"{where}.halt_seconds", f"as many as {where}.levels, {len(levels)}", halts)
    window, longest = breaker.window_seconds, MOST_WINDOW_STEPS * scenario.run.dt
    if levels and window is not None and window > longest:
        expected = f"at most {longest:g} s, {MOST_WINDOW_STEPS} steps of run.dt"
        yield expectation(f"{where}.window_seconds", expected, window)


def _lots(scenario: "Scenario") -> Iterator[str]:
    largest = MOST_LOTS * scenario.market.lot_size
    unused = tuple(_unused(scenario))
    for path, value in _quantities(scenario, ""):
        if value is not None and value > largest and not path.startswith(unused):
            yield expectation(path, f"at most {largest:g}, {MOST_LOTS:g} lots of market.lot_size", value)


def _unused(scenario: "Scenario") -> Iterator[str]:
    """Yield where the paths of quantities begin that nobody trades, because their mechanism is off."""
    traders, background = scenario.traders, scenario.background
    if scenario.liquidity.count == 0:
        yield "liquidity."
    if traders.count == 0 or traders.entrants.share == 0.0:
        yield "traders.entrants."
    if scenario.portfolios.count == 0:
        yield "portfolios."
    if scenario.options.chain.path is None:
        yield "options.chain."
    if isinstance(background, FixedRates):
        orders = {
            "limit_size": background.limit_rate,
            "market_size": background.market_rate,
            "patient_size": background.patient_orders,
        }
        yield from (f"background.{name}" for name, number in orders.items() if number == 0)


def _quantities(section: Section, prefix: str) -> Iterator[tuple[str, float | None]]:
    """Yield path and value of every number in base units."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _quantities(value, f"{prefix}{name}.")
        elif isinstance(field.json_schema_extra, dict) and field.json_schema_extra["unit"] == "base units":
            yield f"{prefix}{name}", value


def _ladders(scenario: "Scenario") -> Iterator[str]:
    liquidity = scenario.liquidity
    quoted = (
        liquidity.count * liquidity.size * fsum(liquidity.size_growth**k for k in range(liquidity.levels))
    )
    largest = min(LARGEST_NUMBER, MOST_LOTS * scenario.market.lot_size)
    if quoted > largest:
        yield expectation(
            "liquidity.size_growth",
            f"ladders of at most {largest:g} base units in all, not {quoted:g}",
            liquidity.size_growth,
        )
    farthest = liquidity.half_spread * liquidity.level_growth ** (liquidity.levels - 1)
    if farthest > LARGEST_NUMBER:
        yield expectation(
            "liquidity.level_growth",
            f"a last level at most {LARGEST_NUMBER:g} away, not {farthest:g}",
            liquidity.level_growth,
        )


def _background(scenario: "Scenario") -> Iterator[str]:
    background = scenario.background
    if isinstance(background, ContStoikovTalreja) and len(background.cancel_rates) != len(
        background.limit_rates
    ):
        yield expectation(
            "background.cancel_rates",
            f"as many rates as background.limit_rates, {len(background.limit_rates)}",
            list(background.cancel_rates),
        )


def _margins(scenario: "Scenario") -> Iterator[str]:
    clearing = scenario.clearing
    if clearing.maintenance_margin >= clearing.initial_margin:
        yield expectation(
            "clearing.maintenance_margin",
            f"less than clearing.initial_margin, {clearing.initial_margin:g}",
            clearing.maintenance_margin,
        )
    traders, portfolios = scenario.traders, scenario.portfolios
    ranges = {
        "traders.inverse_leverage": (traders.inverse_leverage, traders.count > 0),
        "traders.entrants.inverse_leverage": (
            traders.entrants.inverse_leverage,
            traders.count > 0 and traders.entrants.share > 0.0,
        ),
        "portfolios.inverse_leverage": (portfolios.inverse_leverage, portfolios.count > 0),
    }
    for path, ((low, high), drawn) in ranges.items():
        if low >= high:
            yield expectation(path, "[a, b] with a < b", [low, high])
        if drawn and low <= clearing.maintenance_margin:
            yield expectation(
                path,
                f"[a, b] with a above clearing.maintenance_margin, {clearing.maintenance_margin:g}",
                [low, high],
            )


def _traders(scenario: "Scenario") -> Iterator[str]:
    traders = scenario.traders
    present = traders.count - round(traders.count * traders.entrants.share)
    if traders.open_interest > 0.0 and present < 1:
        yield expectation(
            "traders.open_interest",
            f"0 when no trader is present at the start (traders.count {traders.count})",
            traders.open_interest,
        )
    if traders.brackets.symbol is not None and traders.brackets.path is None:
        yield expectation(
            "traders.brackets.symbol", "null without traders.brackets.path", traders.brackets.symbol
        )
    if traders.brackets.contract_size is not None and traders.brackets.unit in ("quote", "base"):
        yield expectation(
            "traders.brackets.contract_size",
            f"null where traders.brackets.unit is {traders.brackets.unit}",
            traders.brackets.contract_size,
        )
    stop_loss = traders.stop_loss
    if stop_loss.distance_low > stop_loss.distance_high:
        yield expectation(
            "traders.stop_loss.distance_low",
            f"at most traders.stop_loss.distance_high, {stop_loss.distance_high:g}",
            stop_loss.distance_low,
        )
    take_profit, reentry = traders.activity.take_profit, traders.activity.reentry
    if take_profit.distance_low > take_profit.distance_high:
        yield expectation(
            "traders.activity.take_profit.distance_low",
            f"at most traders.activity.take_profit.distance_high, {take_profit.distance_high:g}",
            take_profit.distance_low,
        )
    if traders.count > 0 and reentry.probability > 0.0 and traders.activity.wake_rate == 0.0:
        yield expectation(
            "traders.activity.reentry.probability",
            "0 when traders.activity.wake_rate is 0, since traders notice a closure when they wake",
            reentry.probability,
        )


def _options(scenario: "Scenario") -> Iterator[str]:
    options = scenario.options
    if options.strike_low >= options.strike_high:
        yield expectation(
            "options.strike_low",
            f"less than options.strike_high, {options.strike_high:g}",
            options.strike_low,
        )
    weights = list(options.expiry_weights)
    if len(weights) != len(options.expiry_days):
        yield expectation(
            "options.expiry_weights",
            f"as many weights as options.expiry_days, {len(options.expiry_days)}",
            weights,
        )
    if abs(fsum(weights) - 1.0) > _WEIGHT_TOLERANCE:
        yield expectation("options.expiry_weights", "weights that sum to 1", weights)
    if options.strikes * len(weights) > MOST_OPTIONS:
        yield expectation(
            "options.strikes",
            f"at most {MOST_OPTIONS} options over all of options.expiry_days, {len(weights)}",
            options.strikes,
        )
    dealers, duration = scenario.dealers, scenario.run.duration_seconds
    held = dealers.count > 0 and dealers.gamma_per_percent != 0.0 and options.chain.path is None
    if held and max(options.expiry_days) * _SECONDS_PER_DAY <= duration:
        yield expectation(
            "options.expiry_days",
            f"an expiry after the run of {duration:g} s (run.steps, run.dt)",
            list(options.expiry_days),
        )


def _volatility(scenario: "Scenario") -> Iterator[str]:
    dt = scenario.run.dt
    if (
        scenario.liquidity.count > 0
        and round(scenario.liquidity.volatility_return_seconds / dt) > LONGEST_DELAY
    ):
        yield expectation(
            "liquidity.volatility_return_seconds",
            f"at most {LONGEST_DELAY} steps of {dt:g} s",
            scenario.liquidity.volatility_return_seconds,
        )


def _latency(scenario: "Scenario") -> Iterator[str]:
    dt = scenario.run.dt
    absent = {
        "liquidity_providers": scenario.liquidity.count == 0,
        "leveraged_traders": scenario.traders.count == 0,
        "dealers": scenario.dealers.count == 0,
    }
    for name, delay in scenario.latency.delays().items():
        if (
            not absent.get(name, False)
            and 0.0 < delay.delay_seconds < 0.5 * dt
            and delay.jitter_seconds == 0.0
        ):
            yield expectation(
                f"latency.{name}.delay_seconds",
                f"0 or at least half a step, {0.5 * dt:g} s (run.dt)",
                delay.delay_seconds,
            )


def _time(scenario: "Scenario") -> Iterator[str]:
    run, shock = scenario.run, scenario.shock
    if run.steps + run.burn_in_steps > MOST_STEPS:
        yield expectation(
            "run.steps", f"at most {MOST_STEPS} with run.burn_in_steps, {run.burn_in_steps}", run.steps
        )
    # Without a shock its schedule means nothing, and a short run need not move it.
    if shock.is_active and shock.at_seconds + shock.duration_seconds > run.duration_seconds:
        yield expectation(
            "shock.at_seconds",
            f"a shock of {shock.duration_seconds:g} s that ends within the run of {run.duration_seconds:g} s",
            shock.at_seconds,
        )
    window = run.event_window_seconds
    begins, what = (
        (shock.at_seconds, "what remains of the run at the shock")
        if shock.is_active
        else (0.0, "the whole run")
    )
    remaining = max(run.duration_seconds - begins, 0.0)
    if window is not None and window > remaining:
        yield expectation("run.event_window_seconds", f"at most {remaining:g} s, {what}", window)


def _prices(scenario: "Scenario") -> Iterator[str]:
    funding, dt = scenario.market.funding, scenario.run.dt
    intervals = funding.interval_seconds / dt
    if funding.interval_seconds > 0.0 and (round(intervals) < 1 or abs(intervals - round(intervals)) > 1e-6):
        yield expectation(
            "market.funding.interval_seconds", f"a multiple of run.dt, {dt:g} s", funding.interval_seconds
        )
    sources = scenario.index.sources
    if sources and not any(source.weight > 0.0 for source in sources.values()):
        yield expectation("index.sources", "a source with a weight above 0", list(sources))
    for name, source in sources.items():
        path = f"index.sources.{name}"
        if source.delay_seconds / dt > LONGEST_DELAY:
            yield expectation(
                f"{path}.delay_seconds", f"at most {LONGEST_DELAY} steps of {dt:g} s", source.delay_seconds
            )
        for first, end in source.outages:
            if first >= end:
                yield expectation(f"{path}.outages", "pairs [a, b] with a < b", [first, end])
