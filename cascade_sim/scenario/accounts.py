"""Sections about leverage: traders, dealers, their options, clearing, the shock and the switches."""

from typing import Literal

from cascade_sim.scenario.activity import Activity
from cascade_sim.scenario.base import (
    Component,
    Count,
    NonNegativeNumbers,
    PositiveNumbers,
    PositivePair,
    Section,
    Stages,
    choice,
    component,
    measure,
)


class Brackets(Section):
    """Real leverage brackets, from which traders' inverse leverage is drawn instead of uniformly."""

    path: str | None = choice(
        None,
        "Leverage brackets, CSV or the JSON of ccxt, relative to the working directory; null for none",
        min_length=1,
    )
    symbol: str | None = choice(None, "Contract to read from the file", min_length=1)
    mode: Literal["marginal", "whole_position"] = choice(
        "marginal", "What the rate of a bracket is charged on: what lies within it, or the whole position"
    )
    unit: Literal["quote", "base", "contracts"] | None = choice(
        None, "What bounds and deductions count; null for what the file says"
    )
    contract_size: float | None = measure(
        None, "One contract; in quote currency where it settles in its base", "base units per contract", gt=0
    )
    price: float | None = measure(
        None,
        "Price at which bounds in coins are converted; null for the price at the start",
        "quote per base unit",
        gt=0,
    )
    minimum_inverse_leverage: float = measure(
        0.02, "Least inverse leverage that is drawn", "collateral over notional", gt=0
    )


class StopLoss(Section):
    """Stop-loss orders of leveraged traders."""

    share: float = measure(0.0, "Traders who hold one", "share of traders", ge=0, le=1)
    distance_low: float = measure(
        0.01, "Nearest stop, uniform up to the farthest", "share of entry price", gt=0, lt=1
    )
    distance_high: float = measure(0.05, "Farthest stop", "share of entry price", gt=0, lt=1)


class TopUp(Section):
    """Traders who add collateral before they are liquidated."""

    share: float = measure(0.0, "Traders who do", "share of traders", ge=0, le=1)
    trigger_ratio: float = measure(
        1.5, "Ratio of equity to maintenance margin that makes them add", "1", gt=1
    )
    amount: float = measure(0.5, "What they add, once", "share of initial collateral", gt=0)


class Entrants(Section):
    """Leveraged traders who open a position during the run."""

    share: float = measure(0.15, "Entrants among all traders", "share of traders.count", ge=0, lt=1)
    quantity: float = measure(9000.0, "Sum of their positions; none when the share is 0", "base units", ge=0)
    inverse_leverage: PositivePair = measure(
        (0.02, 0.10), "Range of their uniform inverse leverage", "collateral over notional"
    )
    after_shock_share: float = measure(
        0.7, "Entrants who arrive in the window after the shock", "share of entrants", ge=0, le=1
    )
    window_seconds: float = measure(1200.0, "Length of that window", "s", gt=0)
    trend_seconds: float = measure(300.0, "Look-back of the trend that they follow", "s", gt=0)
    trend_probability: float = measure(
        0.35, "Largest shift of the buying probability by the trend", "probability", ge=0, le=0.5
    )
    trend_saturation: float = measure(0.004, "Trend at which the shift is full", "share of price", gt=0)


class Traders(Section):
    """Leveraged traders with isolated margin accounts."""

    count: Count = measure(10_000, "Accounts, late entrants included", "accounts", ge=0)
    open_interest: float = measure(
        75_000.0, "Sum of absolute positions at the start, entrants apart", "base units", ge=0
    )
    long_share: float = measure(0.9, "Longs in that sum", "share of open interest", ge=0, le=1)
    inverse_leverage: PositivePair = measure(
        (0.025, 0.40), "Range of the uniform inverse leverage", "collateral over notional"
    )
    entry_spread: float = measure(
        0.004, "Standard deviation of entry prices around the initial price", "share of price", ge=0, lt=0.5
    )
    size_dispersion: float = measure(1.2, "Sigma of the lognormal position size", "1", ge=0, le=10)
    nearest_trigger_share: float = measure(
        0.6,
        "Least distance of a liquidation price from the initial price; nearer ones are margined anew",
        "share of the least inverse leverage",
        ge=0,
        lt=1,
    )
    brackets: Brackets = Brackets()
    stop_loss: StopLoss = StopLoss()
    top_up: TopUp = TopUp()
    entrants: Entrants = Entrants()
    activity: Activity = Activity()


class Portfolios(Section):
    """Leveraged traders with a position in every market of the world and one pool of collateral for all of them."""

    count: Count = measure(0, "Portfolios, in every market as many", "accounts", ge=0)
    open_interest: float = measure(
        0.0, "Sum of absolute positions at the start in this market", "base units", ge=0
    )
    long_share: float = measure(0.5, "Probability that a position is long", "probability", ge=0, le=1)
    hedged_share: float = measure(
        0.0,
        "Portfolios whose positions in further markets are opposite to the one in the first",
        "share of portfolios",
        ge=0,
        le=1,
    )
    inverse_leverage: PositivePair = measure(
        (0.05, 0.40), "Range of the uniform inverse leverage", "collateral over notional"
    )
    size_dispersion: float = measure(1.2, "Sigma of the lognormal size of a portfolio", "1", ge=0, le=10)


class Holders(Section):
    """Unlevered holders: the named other side of open interest."""

    count: Count = measure(20, "Holders", "accounts", ge=1)
    collateral_share: float = measure(1.0, "Collateral of each", "share of notional", gt=0)


class Dealers(Section):
    """Options dealers who hedge their delta in the book."""

    count: Count = measure(10, "Dealers; without dealers there is no gamma", "accounts", ge=0, le=1024)
    gamma_per_percent: float = measure(
        -1500.0,
        "What all dealers must trade when the price moves 1 % from its start; negative for short gamma",
        "base units per 1 %",
    )
    share_concentration: float = measure(
        5.0, "Dirichlet concentration of the dealers' shares; larger is more equal", "1", gt=0
    )
    capital: float = measure(2e7, "Capital of each", "quote units", gt=0)
    hedging: Component = choice(
        component("clock", interval_seconds=30.0, mark_seconds=20.0, band=1.0, price_limit=0.003),
        "When and how far they hedge: clock {interval_seconds, mark_seconds, band, price_limit}, "
        "fixed_band, none",
    )


class Chain(Section):
    """A real option chain in place of the synthetic strikes."""

    path: str | None = choice(
        None,
        "Option chain, CSV or JSON, relative to the working directory; null for the strikes above",
        min_length=1,
    )
    dealer_share: float = measure(0.05, "Dealers' part of the open interest", "share", gt=0, le=1)
    sign: Literal["customers_long", "customers_short", "calls_sold_puts_bought"] = choice(
        "customers_long",
        "What customers did: bought every option (dealers are short gamma), sold every option, or sold calls "
        "and bought puts",
    )
    minimum_open_interest: float = measure(1.0, "Options with less are left out", "base units", ge=0)
    coin: str | None = choice(
        None, "Whose options, where the file holds several coins; null where it holds one", min_length=1
    )
    contract_size: float | None = measure(
        None,
        "One contract, where the file counts open interest in contracts",
        "base units per contract",
        gt=0,
    )


class Options(Section):
    """Options that dealers hold: a grid of strikes and expiries scaled to ``dealers.gamma_per_percent``."""

    strikes: Count = measure(50, "Strikes", "strikes", ge=2, le=8192)
    strike_low: float = measure(0.7, "Lowest strike", "share of the initial price", gt=0)
    strike_high: float = measure(1.3, "Highest strike", "share of the initial price", gt=0)
    strike_center: float = measure(
        -0.03, "Centre of the normal weight of log strikes", "log of strike over price", gt=-1
    )
    strike_width: float = measure(0.06, "Standard deviation of that weight", "log of strike over price", gt=0)
    expiry_days: PositiveNumbers = measure((1.5, 8.0, 30.0), "Times to expiry", "days", min_length=1)
    expiry_weights: NonNegativeNumbers = measure(
        (0.4, 0.35, 0.25), "Weights of the expiries; sum 1", "share", min_length=1
    )
    implied_volatility: float = measure(0.6, "Flat implied volatility", "per square root of a year", gt=0)
    chain: Chain = Chain()


class Clearing(Section):
    """Margin, the liquidation engine and who pays when it fails."""

    margin: Component = choice(component("isolated_linear"), "How much equity a position needs")
    initial_margin: float = measure(
        0.02, "Equity needed to open; brackets bring their own", "share of notional", gt=0, le=1
    )
    maintenance_margin: float = measure(
        0.0125, "Equity below which an account is liquidated", "share of notional", ge=0, lt=1
    )
    priority: Component = choice(
        component("worst_margin_ratio_first"), "Which distressed account is closed first"
    )
    sizing: Component = choice(
        component(
            "fraction",
            fraction=0.5,
            cooldown_seconds=10.0,
            full_below_quantity=1.0,
            full_below_maintenance_share=0.5,
        ),
        "How much is closed at once: fraction {fraction, cooldown_seconds, full_below_quantity, "
        "full_below_maintenance_share}, full",
    )
    execution: Component = choice(component("ioc_at_bankruptcy"), "How a close-out is sent to the book")
    accounts_per_second: float = measure(
        50.0, "Throughput of the engine; fractions add up over the steps", "accounts per second", gt=0
    )
    rounds_per_step: Count = measure(
        1,
        "Rounds of rank, size, execute, screen again; 0 for as many as it takes until nobody is left to close",
        "rounds per step",
        ge=0,
    )
    liquidation_fee_rate: float = measure(
        0.002, "Fee of a liquidated account, to the insurance fund", "share of notional", ge=0, le=0.1
    )
    insurance_fund: float = measure(300_000.0, "Insurance fund at the start", "quote units", ge=0)
    insurance_floor: float = measure(
        0.7, "The fund takes no position over once its equity is below this", "share of its start", ge=0, le=1
    )
    unwind_rate: float = measure(
        0.02, "Speed at which the fund sells what it took over", "share per second", ge=0
    )
    unwind_price_limit: float = measure(0.003, "How far from mid it may sell", "share of price", gt=0, lt=1)
    insurance_max_leverage: float | None = measure(
        None, "Most that the fund may hold; null for no limit", "multiple of its equity", ge=0
    )
    insurance_max_notional: float | None = measure(
        None, "Most that the fund may hold; null for no limit", "quote units", ge=0
    )
    adl: Component = choice(component("profit_leverage"), "Ranking of winners for auto-deleveraging")
    waterfall: Stages = choice(
        tuple(component(name) for name in ("book", "fund", "adl", "socialised")),
        "Stages that a distressed account goes through, in order",
    )


class Shock(Section):
    """The scheduled exogenous orders and the news that comes with them."""

    quantity: float = measure(
        6000.0, "Market orders in all, spread evenly over the duration", "base units", ge=0
    )
    side: Literal["sell", "buy"] = choice("sell", "Direction of these orders")
    at_seconds: float = measure(3600.0, "Start, counted from step 0", "s", ge=0)
    duration_seconds: float = measure(180.0, "Length", "s", gt=0)
    news: float = measure(
        -0.018, "Log move of the fundamental value over the same seconds", "log of value", ge=-2, le=2
    )

    @property
    def is_active(self) -> bool:
        """Whether anything is shocked at all."""
        return self.quantity > 0.0 or self.news != 0.0


class Agents(Component):
    """Agents of one kind that are written in Python: the class, how many, and its parameters.

    A participant has one account each; of a cohort ``count`` is the number of accounts of the one agent.
    """

    count: Count = measure(1, "How many", "accounts", ge=1)


class Switches(Section):
    """Mechanisms that a counterfactual can turn off; off removes what a mechanism does, not the accounts."""

    liquidation: bool = choice(True, "Close accounts below maintenance margin")
    delta_hedging: bool = choice(True, "Let dealers hedge")
    liquidity_withdrawal: bool = choice(True, "Let liquidity providers widen, shrink and pause under stress")
    adl: bool = choice(True, "Auto-deleverage winners when the insurance fund is at its floor")
    backstop: bool = choice(True, "Let backstop and insurance fund take positions over")
    stop_losses: bool = choice(True, "Execute stop-loss orders")
    arbitrage: bool = choice(True, "Let arbitrage trade")
    funding: bool = choice(True, "Pay funding")
    cross_margin: bool = choice(True, "Share collateral between positions where the margin model does")
    impact_off: bool = choice(
        False, "Control: close distressed positions at mark outside the book, without price impact"
    )
    placebo: bool = choice(False, "Control: add one lot of exogenous flow")
