"""Sections about time, the venue, the fundamental value and the flow that has no leverage."""

from typing import Annotated, Literal

from pydantic import Field

from cascade_sim.scenario.base import (
    Component,
    Count,
    NonNegativeNumbers,
    Section,
    choice,
    component,
    measure,
)
from cascade_sim.scenario.prices import Funding


class Run(Section):
    """Length of a run and what is recorded of it."""

    dt: float = measure(1.0, "Length of a step", "s", ge=1e-6, le=1e6)
    seconds: float = measure(14400.0, "Length after burn-in; run.steps says it in steps", "s", gt=0)
    burn_in_seconds: float = measure(
        900.0,
        "Time before step 0, with liquidation, hedging and shocks off; run.burn_in_steps says it in steps",
        "s",
        ge=0,
    )
    record: Literal["full", "series", "summary"] = choice(
        "full", "What is kept: every table, the series only, or the summary only"
    )
    depth_every_steps: Count = measure(60, "Steps between two records of the depth profile", "steps", ge=1)
    map_every_steps: Count = measure(60, "Steps between two records of the liquidation map", "steps", ge=1)
    event_window_seconds: float | None = measure(
        None, "Window after the shock in which the move is measured; null for shock to end", "s", gt=0
    )

    @property
    def steps(self) -> int:
        """Steps after burn-in, at least one."""
        return max(1, round(self.seconds / self.dt))

    @property
    def burn_in_steps(self) -> int:
        """Steps before step 0."""
        return round(self.burn_in_seconds / self.dt)

    @property
    def duration_seconds(self) -> float:
        """Length of the run after burn-in (s)."""
        return self.steps * self.dt

    def last_of_window(self, first_step: int, steps: int) -> int:
        """Return the last step of the event window that begins with a step, of a run that has so many."""
        if self.event_window_seconds is None:
            return steps - 1
        return min(steps - 1, first_step + round(self.event_window_seconds / self.dt))


class Contract(Section):
    """The venue and its contract."""

    venue: str = choice("main", "Name of the venue", min_length=1)
    instrument: str = choice("ETH-PERP", "Name of the contract", min_length=1)
    base: str = choice("ETH", "Currency of quantities", min_length=1)
    quote: str = choice("USD", "Currency of prices, cash and margin", min_length=1)
    initial_price: float = measure(
        2200.0,
        "Price at the start; the forward of a real option chain replaces it",
        "quote per base unit",
        gt=0,
    )
    tick_size: float = measure(0.1, "Smallest price step", "quote per base unit", gt=0)
    lot_size: float = measure(0.01, "Smallest quantity", "base units", gt=0, le=1e6)
    maker_fee_rate: float = measure(
        0.0, "Fee of the resting side; negative for a rebate", "share of notional", ge=-0.01, le=0.1
    )
    taker_fee_rate: float = measure(0.0, "Fee of the incoming side", "share of notional", ge=0, le=0.1)
    self_trade: Literal["allow", "cancel_resting", "cancel_incoming", "cancel_both", "decrement"] = choice(
        "cancel_resting", "What happens when an order meets a resting order of its own owner"
    )
    price_formation: Component = choice(
        component("order_book"), "How orders become prices: order_book, linear_impact {impact}"
    )
    mark_price: Component = choice(
        component("ema_mid", time_constant_seconds=3.0),
        "Price that margin is measured at: ema_mid {time_constant_seconds}, "
        "median {basis_time_constant_seconds}, last, and others (see the rules command)",
    )
    impact_notional: float = measure(
        10_000.0, "Size of the order whose average price is the impact price", "quote units", gt=0
    )
    funding: Funding = Funding()


class Fundamental(Section):
    """The value that prices are anchored to: a geometric random walk without drift."""

    volatility: float = measure(
        0.55, "Volatility of the value; a year has 365 days", "per square root of a year", ge=0
    )
    correlation: float = measure(
        0.0,
        "Correlation with the first market's value, for a further market of another asset",
        "1",
        ge=-1,
        le=1,
    )


class FixedRates(Section):
    """Background flow with exogenous clocks: rates ignore the book, lifetimes are drawn at birth."""

    name: Literal["fixed_rates"] = choice("fixed_rates", "Kind of flow")
    limit_rate: float = measure(4.0, "Arrivals of limit orders, both sides", "orders per second", ge=0)
    limit_size: float = measure(0.6, "Mean size of a limit order, exponential", "base units", gt=0)
    distance_scale: float = measure(
        3.0, "Scale of the Pareto distance from the opposite best price", "quote per base unit", gt=0
    )
    distance_tail: float = measure(1.5, "Tail exponent of that distance", "1", gt=0)
    distance_cap: float = measure(0.10, "Largest distance", "share of price", gt=0, lt=1)
    lifetime_seconds: float = measure(60.0, "Mean lifetime of a limit order, exponential", "s", gt=0)
    value_sensitivity: float = measure(
        5.0, "Shift of the buying probability per relative distance of mid below value", "1", ge=0
    )
    value_tilt_cap: float = measure(
        0.3, "Largest shift of the buying probability", "probability", ge=0, le=0.5
    )
    market_rate: float = measure(2.0, "Arrivals of market orders, both sides", "orders per second", ge=0)
    market_size: float = measure(2.5, "Mean size of a market order, exponential", "base units", gt=0)
    market_limit: float = measure(
        0.02, "How far from mid a market order may execute", "share of price", gt=0, lt=1
    )
    imbalance_strength: float = measure(
        0.2, "Weight k in the buying probability 0.5 + 0.5 tanh(k z) of market orders", "1", ge=0
    )
    imbalance_memory_seconds: float = measure(300.0, "Memory of the imbalance process z", "s", gt=0)
    patient_orders: Count = measure(120, "Patient orders alive per side, mean", "orders", ge=0)
    patient_size: float = measure(10.0, "Mean size of a patient order, exponential", "base units", gt=0)
    patient_minimum_distance: float = measure(
        0.005, "Least distance of a patient order from the value", "share of price", ge=0, lt=1
    )
    patient_distance: float = measure(
        0.03, "Mean further distance, exponential", "share of price", gt=0, lt=1
    )
    patient_lifetime_seconds: float = measure(
        5400.0, "Mean lifetime of a patient order, exponential", "s", gt=0
    )


class SantaFe(Section):
    """Zero-intelligence flow of Smith, Farmer, Gillemot and Krishnamurthy (2003); rates follow the book."""

    name: Literal["santa_fe"] = choice("santa_fe", "Kind of flow")
    market_rate: float = measure(1.0, "Market orders per side", "orders per second", ge=0)
    limit_rate: float = measure(0.005, "Limit orders per side and tick", "orders per second", ge=0)
    cancel_rate: float = measure(0.02, "Cancellations per resting order", "per second", ge=0)
    window_ticks: Count = measure(
        2000, "Width of the price window behind the opposite best price", "ticks", ge=1
    )
    order_size: float = measure(1.0, "Size of every order", "base units", gt=0)


class ContStoikovTalreja(Section):
    """Flow of Cont, Stoikov and Talreja (2010), table 2 by default; rates per side and distance."""

    name: Literal["cont_stoikov_talreja"] = choice("cont_stoikov_talreja", "Kind of flow")
    limit_rates: NonNegativeNumbers = measure(
        tuple(rate / 60.0 for rate in (1.85, 1.51, 1.09, 0.88, 0.77)),
        "Limit orders per side at 1, 2, ... ticks from the opposite best price",
        "orders per second",
        min_length=1,
    )
    cancel_rates: NonNegativeNumbers = measure(
        tuple(rate / 60.0 for rate in (0.71, 0.81, 0.68, 0.56, 0.47)),
        "Cancellations per resting order of the flow at the same distances",
        "per second",
        min_length=1,
    )
    market_rate: float = measure(0.94 / 60.0, "Market orders per side", "orders per second", ge=0)
    order_size: float = measure(1.0, "Size of every order", "base units", gt=0)


Background = Annotated[FixedRates | SantaFe | ContStoikovTalreja, Field(discriminator="name")]


class Liquidity(Section):
    """Liquidity providers: ladders that skew with inventory and widen, shrink and pause under stress."""

    count: Count = measure(20, "Liquidity providers", "accounts", ge=0, le=4096)
    levels: Count = measure(10, "Quotes per side", "levels", ge=1, le=128)
    half_spread: float = measure(
        0.4, "Distance of the first level from the centre, mean over providers", "quote per base unit", gt=0
    )
    half_spread_dispersion: float = measure(
        0.5, "Half width of the uniform spread of that mean over providers", "share of the mean", ge=0, lt=1
    )
    level_growth: float = measure(1.6, "Ratio of the distances of successive levels", "1", ge=1, le=100)
    size: float = measure(2.3, "Size of the first level", "base units", ge=0)
    size_growth: float = measure(1.35, "Ratio of the sizes of successive levels", "1", gt=0, le=100)
    impact_per_unit: float = measure(
        0.0037,
        "Shift of all centres per unit of aggregated inventory: the permanent impact",
        "quote per base unit, per base unit",
        ge=0,
    )
    skew_volatility_exponent: float = measure(
        0.25, "Power of relative volatility (above 1) in the skew", "1", ge=0
    )
    skew_volatility_cap: float = measure(2.0, "Largest factor on the skew", "1", ge=1)
    reference_volatility: float = measure(
        1.1e-4, "Volatility that readings are compared with", "per square root of a second", gt=0
    )
    volatility_smoothing_seconds: float = measure(
        20.0, "Time constant of the smoothed mid that volatility is read from", "s", gt=0
    )
    requote_seconds: float = measure(
        1.0, "Time between two rounds of quotes; a step where a step is longer", "s", gt=0
    )
    volatility_return_seconds: float = measure(10.0, "Interval of its returns", "s", gt=0)
    volatility_half_life_seconds: float = measure(90.0, "Half-life of the mean of squared returns", "s", gt=0)
    withdrawal_threshold: float = measure(
        2.5, "Relative volatility at which sizes begin to shrink, mean over providers", "1", gt=0
    )
    withdrawal_dispersion: float = measure(
        0.25, "Half width of the uniform spread of that threshold", "share of the mean", ge=0, lt=1
    )
    withdrawal_exponent: float = measure(1.5, "Power by which sizes shrink beyond the threshold", "1", ge=0)
    minimum_size_share: float = measure(0.1, "Size that is never withdrawn", "share of size", ge=0, le=1)
    return_seconds: float = measure(300.0, "Time constant at which withdrawn size returns", "s", gt=0)
    spread_volatility_exponent: float = measure(
        0.7, "Power of relative volatility (above 1) in the half-spread", "1", ge=0
    )
    belief_noise: float = measure(1e-4, "Private error about the value", "share of price", ge=0)
    belief_noise_seconds: float = measure(60.0, "How often that error is drawn anew", "s", gt=0)
    fundamental_weight: float = measure(
        1.0,
        "Weight of the value in the centre; the rest is the provider's own average of mid",
        "1",
        ge=0,
        le=1,
    )
    own_average_seconds: float = measure(60.0, "Time constant of that own average", "s", gt=0)
    inventory_limit: float = measure(
        1500.0, "Inventory at which a provider stops adding, each", "base units", gt=0
    )
    loss_limit: float = measure(
        150_000.0, "Loss from the peak of equity at which a provider pauses, mean", "quote units", gt=0
    )
    loss_limit_dispersion: float = measure(
        0.5, "Half width of the uniform spread of that loss", "share of the mean", ge=0, lt=1
    )
    loss_pause_seconds: float = measure(1200.0, "Length of the pause", "s", ge=0)
    capital: float = measure(5e6, "Capital of each provider", "quote units", gt=0)


class ValueTraders(Section):
    """Traders who buy below and sell above the value once the gap is wide: the clock of recovery."""

    threshold: float = measure(
        0.015, "Gap between value and average mid that wakes them", "share of price", ge=0
    )
    rate_per_price: float = measure(
        0.15,
        "Trading speed per unit of price beyond the threshold",
        "base units per second per quote unit",
        ge=0,
    )
    rate_cap: float = measure(15.0, "Largest trading speed", "base units per second", ge=0)
    signal_seconds: float = measure(300.0, "Time constant of the average mid", "s", gt=0)
    position_cap: float = measure(60_000.0, "Largest position", "base units", ge=0)
    capital: float = measure(5e8, "Capital", "quote units", gt=0)


class Arbitrage(Section):
    """Small fast traders against the value."""

    threshold: float = measure(0.003, "Gap between value and mid that wakes them", "share of price", ge=0)
    rate_per_price: float = measure(
        0.3,
        "Trading speed per unit of price beyond the threshold",
        "base units per second per quote unit",
        ge=0,
    )
    rate_cap: float = measure(3.0, "Largest trading speed", "base units per second", ge=0)
    position_cap: float = measure(60_000.0, "Largest position", "base units", ge=0)
    capital: float = measure(5e8, "Capital", "quote units", gt=0)


class CrossArbitrage(Section):
    """Arbitrage between this further market and the first market of the same asset and currency."""

    threshold: float = measure(
        0.0005, "Gap between the two mids that pays for trading", "share of price", ge=0
    )
    rate_per_price: float = measure(
        5.0,
        "Trading speed per unit of price beyond the threshold",
        "base units per second per quote unit",
        ge=0,
    )
    rate_cap: float = measure(20.0, "Largest trading speed", "base units per second", ge=0)
    position_cap: float = measure(20_000.0, "Largest position in the further market", "base units", ge=0)
    capital: float = measure(1e8, "Capital in each market", "quote units", gt=0)
