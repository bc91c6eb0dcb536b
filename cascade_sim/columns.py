"""What every column of every result table means.

The documentation here is data: it is written into the parquet files, checked when a result is saved and
shown in reports, so that a table and its description cannot drift apart.
"""

from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from cascade_sim.domain.enums import AccountClass, Cause, EventType, Outcome, Stage, TransferKind

SCHEMA_VERSION = 1
DEPTH_BANDS_BP = (10, 50, 100, 500)
MARK_MOVE_SOURCES = (
    *(cause.name.lower() for cause in Cause),
    "quote_revision",
    "liquidity_withdrawal",
    "news",
)
NO_MOVES: MappingProxyType[str, str] = MappingProxyType(
    {
        "quote": "always 0: what quotes do is quote_revision or liquidity_withdrawal",
        "deleveraging": "always 0: positions change hands outside the book",
    }
)
"""Causes whose orders never move the mid, and why."""
_ADDS_UP = "all sources add up to the log change"
RETIRED_COLUMNS: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {"series": frozenset(("buy_volume_customer", "sell_volume_customer", "mark_move_customer"))}
)
"""Columns by table that earlier versions wrote and nothing ever filled; in a file that has them they are passed over."""


def unit_words(unit: str, base: str, quote: str) -> str:
    """Unit of a documented figure with the currencies of the scenario; empty for a pure number.

    Parameters
    ----------
    unit
        Unit of a column here, or as in `metrics.METRICS`.
    base, quote
        Names of the currencies.

    Returns
    -------
    str
    """
    words = {"quote": quote, "base": base, "-": ""}
    return " ".join(words.get(word, word) for word in unit.split(" ")).strip()


@dataclass(frozen=True)
class Column:
    """One documented column of a result table.

    Attributes
    ----------
    name
        Column name.
    dtype
        pandas dtype name; a capital initial (``Int64``) marks a nullable integer.
    unit
        Unit of the values; ``-`` for none.
    description
        One sentence for a reader who has only the file.
    enum
        Closed vocabulary of a category column, or None when names are free. A member called ``NONE``
        stands for a missing value.
    """

    name: str
    dtype: str
    unit: str
    description: str
    enum: type[IntEnum] | None = None

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """Names that a closed category column may hold, in the order of the enum, or None."""
        if self.enum is None:
            return None
        return tuple(member.name.lower() for member in self.enum if member.name != "NONE")


def _category(name: str, description: str, enum: type[IntEnum] | None = None) -> Column:
    return Column(name, "category", "-", description, enum)


def _floats(unit: str, **descriptions: str) -> tuple[Column, ...]:
    return tuple(Column(name, "float64", unit, text) for name, text in descriptions.items())


_STEP = Column("step", "int32", "-", "step number; 0 is the end of burn-in")
_SEQUENCE = Column("sequence", "int32", "-", "order inside the step")
_TIME = Column("time_seconds", "float64", "s", "time since the end of burn-in; negative during burn-in")
_VENUE = _category("venue", "venue name")
_INSTRUMENT = _category("instrument", "instrument name")
_ACCOUNT_CLASS = _category("account_class", "who holds the account", AccountClass)


def _depth_columns() -> tuple[Column, ...]:
    return tuple(
        Column(f"{side}_depth_{band}bp", "float32", "base", f"{side} quantity within {band} bp of mid")
        for side in ("bid", "ask")
        for band in DEPTH_BANDS_BP
    )


def _volume_columns() -> tuple[Column, ...]:
    return tuple(
        Column(
            f"{side}_volume_{cause.name.lower()}",
            "float32",
            "base",
            f"quantity taken by {side} orders with cause {cause.name.lower()} in this step",
        )
        for side in ("buy", "sell")
        for cause in Cause
    )


def _mark_move_columns() -> tuple[Column, ...]:
    return tuple(
        Column(
            f"mark_move_{source}",
            "float32",
            "bp",
            f"log change of mark due to {source.replace('_', ' ')}; {NO_MOVES.get(source, _ADDS_UP)}",
        )
        for source in MARK_MOVE_SOURCES
    )


_SERIES: tuple[Column, ...] = (
    _STEP,
    _TIME,
    _VENUE,
    _INSTRUMENT,
    *_floats(
        "quote",
        mid="middle of best bid and best ask; NaN if the book is one-sided or trading is halted",
        last="price of the last trade; NaN before the first",
        mark="mark price, on which margin is judged",
        index="index price from the oracle",
        fundamental="exogenous fundamental value",
        best_bid="highest resting bid; NaN if none",
        best_ask="lowest resting ask; NaN if none",
    ),
    Column("one_sided", "bool", "-", "at least one side of the book is empty"),
    Column("halted", "bool", "-", "trading is halted"),
    Column(
        "throughput_binding",
        "bool",
        "-",
        "a limit of one step, of liquidations or of messages, left something waiting",
    ),
    Column("spread", "float32", "bp", "best ask minus best bid, of mid; NaN if there is no mid"),
    *_depth_columns(),
    *_volume_columns(),
    *_mark_move_columns(),
    Column("open_interest", "float64", "base", "sum of the long positions"),
    Column(
        "funding_rate",
        "float64",
        "fraction",
        "funding rate of one interval; an estimate until its last step, when it is paid",
    ),
    Column(
        "distressed_accounts", "int32", "accounts", "accounts below maintenance margin at the end of the step"
    ),
    Column(
        "queue_accounts",
        "int32",
        "accounts",
        "eligible accounts that the throughput limit or a halt left waiting at the end of the step",
    ),
    *_floats(
        "quote",
        queue_notional="notional of the accounts that wait",
        liquidated_notional_book="notional closed by force in the book",
        liquidated_notional_backstop="notional taken over by the backstop or the fund",
        liquidated_notional_adl="notional closed by auto-deleveraging",
        insurance_fund_cash="cash of the insurance fund",
        insurance_fund_equity="equity of the insurance fund at mark",
        backstop_equity="equity of the backstop providers at mark",
        bad_debt_cumulative="losses beyond the collateral of bankrupt accounts so far",
        socialised_cumulative="losses spread over all winners so far",
    ),
    Column("gamma_exposure", "float64", "quote per 1 % move", "gamma exposure of the options dealers"),
    Column("dealer_unhedged_delta", "float64", "base", "delta of the dealers that is not hedged"),
    Column(
        "forced_sale_next_1pct",
        "float64",
        "base",
        "quantity that a further fall of mark by 1 % would force to sell",
    ),
    Column(
        "forced_buy_next_1pct",
        "float64",
        "base",
        "quantity that a further rise of mark by 1 % would force to buy",
    ),
    Column(
        "impact_local", "float32", "bp per base", "local price impact; the estimator is named in the metadata"
    ),
    Column(
        "branching_local", "float32", "base per base", "local impact times the density of forced quantity"
    ),
)

_EVENTS: tuple[Column, ...] = (
    Column("event_id", "int64", "-", "unique number of the event"),
    _STEP,
    _SEQUENCE,
    _TIME,
    _category("type", "what happened", EventType),
    _category("stage", "stage of the liquidation pipeline; missing outside it", Stage),
    _category("cause", "cause of the orders that follow from the event", Cause),
    Column("parent_event_id", "Int64", "-", "event that provoked this one directly"),
    Column("breach_id", "Int64", "-", "breach episode that the event belongs to"),
    Column("root_event_id", "Int64", "-", "earliest ancestor along the edges of largest weight"),
    Column("generation", "int16", "-", "number of ancestors; 0 is exogenous"),
    Column("account_id", "Int64", "-", "account concerned; missing for a venue"),
    _ACCOUNT_CLASS,
    _VENUE,
    _INSTRUMENT,
    _category("rule", "name of the component that decided"),
    Column("side", "int8", "-", "+1 buys, -1 sells, 0 where there is no side"),
    Column("quantity", "float64", "base", "quantity asked for"),
    Column("filled", "float64", "base", "quantity that was filled"),
    *_floats(
        "quote",
        notional="quantity at mark",
        mark="mark price at the event",
        index="index price at the event",
        bankruptcy_price="price at which the equity of the account is zero",
        limit_price="limit of the order sent; NaN if none",
        fill_price="average price of the fills; NaN if none",
        equity_before="equity of the account before",
        equity_after="equity of the account after",
        maintenance_margin="maintenance margin of the account",
    ),
    Column("margin_ratio", "float32", "-", "equity over maintenance margin"),
    Column("leverage", "float32", "-", "notional over equity"),
    Column("loss", "float64", "quote", "loss borne at this stage, never negative"),
    Column("payer_account_id", "Int64", "-", "account that bears the loss"),
    Column(
        "waited_seconds",
        "float32",
        "s",
        "time since the breach, or since the order that now arrived was decided",
    ),
)

_TRADES: tuple[Column, ...] = (
    Column("trade_id", "int64", "-", "unique number of the fill"),
    _STEP,
    _SEQUENCE,
    _TIME,
    _VENUE,
    _INSTRUMENT,
    Column("price_tick", "int32", "ticks", "exact price"),
    Column("quantity_lot", "int64", "lots", "exact quantity"),
    Column("price", "float64", "quote", "price of the fill"),
    Column("quantity", "float64", "base", "quantity of the fill"),
    Column("aggressor_side", "int8", "-", "+1 if the taker bought, -1 if it sold"),
    Column("taker_order_id", "int64", "-", "order that crossed"),
    Column("maker_order_id", "int64", "-", "order that rested"),
    Column("taker_account_id", "int32", "-", "account of the taker"),
    Column("maker_account_id", "int32", "-", "account of the maker"),
    _category("taker_class", "class of the taker's account", AccountClass),
    _category("maker_class", "class of the maker's account", AccountClass),
    _category("taker_cause", "cause of the taker's order", Cause),
    _category("maker_cause", "cause of the maker's order", Cause),
    Column("taker_event_id", "Int64", "-", "event behind the taker's order, joins events.event_id"),
    *_floats(
        "quote",
        taker_fee="fee of the taker, positive if paid",
        maker_fee="fee of the maker, positive if paid",
        mid_before="mid before the fill; NaN if one-sided",
        mid_after="mid after the fill; NaN if one-sided",
        mark="mark price when the fill happened",
    ),
)

_CAUSES: tuple[Column, ...] = (
    Column("child_event_id", "int64", "-", "event that was provoked"),
    Column("parent_event_id", "Int64", "-", "event that provoked it; missing if exogenous"),
    _category("source", "what carried the effect: a cause, quote_revision, liquidity_withdrawal or news"),
    Column(
        "weight",
        "float64",
        "fraction",
        "share of the parent, >= 0; the shares of a child add up to 1",
    ),
    Column("mark_move", "float32", "bp", "log change of mark along this edge"),
)

_TRANSFERS: tuple[Column, ...] = (
    Column("transfer_id", "int64", "-", "unique number of the transfer"),
    _STEP,
    Column("event_id", "Int64", "-", "event behind the transfer"),
    Column("trade_id", "Int64", "-", "fill behind the transfer"),
    Column("from_account_id", "int32", "-", "account that pays"),
    Column("to_account_id", "int32", "-", "account that receives"),
    _category("asset", "settlement asset"),
    Column("amount_atom", "int64", "atoms", "exact amount in the smallest unit of the asset"),
    _category("kind", "reason for the transfer", TransferKind),
)

_ACCOUNTS: tuple[Column, ...] = (
    Column("account_id", "int32", "-", "unique number of the account"),
    _ACCOUNT_CLASS,
    _VENUE,
    _category("margin_mode", "how margin is shared between positions"),
    Column("position_start", "float64", "base", "signed position at the end of burn-in"),
    Column("position_end", "float64", "base", "signed position at the end of the run"),
    *_floats(
        "quote",
        entry_price="average entry price; NaN without a position",
        liquidation_price_start="mark at which the account becomes distressed; NaN if none",
        bankruptcy_price_start="mark at which its equity is zero; NaN if none",
        collateral_start="collateral at the end of burn-in",
        equity_start="equity at the end of burn-in",
        equity_end="equity at the end of the run",
    ),
    Column("leverage_start", "float32", "-", "notional over equity at the end of burn-in"),
    Column("first_breach_step", "Int32", "-", "first step below maintenance margin; missing if never"),
    _category("outcome", "how the run ended for the account; the most severe that applies", Outcome),
    *_floats(
        "quote",
        trading_pnl="profit and loss of trading",
        fees="fees paid, negative if received",
        funding="funding paid, negative if received",
        liquidation_loss="lost to forced closing beyond mark",
        adl_loss="lost to auto-deleveraging",
        socialised_loss="share of socialised losses",
        external_capital="drawn from outside because no counterparty was left",
    ),
)

_DEPTH: tuple[Column, ...] = (
    _STEP,
    _VENUE,
    _INSTRUMENT,
    Column("side", "int8", "-", "+1 bids, -1 asks"),
    Column("distance_bp", "float32", "bp", "outer edge of the bin, from mid"),
    Column("quantity", "float32", "base", "resting quantity in the bin"),
)

_LIQUIDATION_MAP: tuple[Column, ...] = (
    _STEP,
    _INSTRUMENT,
    Column("price_low", "float64", "quote", "lower edge of the bin"),
    Column("price_high", "float64", "quote", "upper edge of the bin"),
    Column("side", "int8", "-", "side of the forced order: -1 sells (closes longs), +1 buys (closes shorts)"),
    Column("quantity", "float64", "base", "quantity whose trigger lies in the bin"),
    Column("accounts", "int32", "accounts", "accounts whose trigger lies in the bin"),
)

TABLES: MappingProxyType[str, tuple[Column, ...]] = MappingProxyType(
    {
        "series": _SERIES,
        "events": _EVENTS,
        "trades": _TRADES,
        "transfers": _TRANSFERS,
        "accounts": _ACCOUNTS,
        "depth": _DEPTH,
        "liquidation_map": _LIQUIDATION_MAP,
        "causes": _CAUSES,
    }
)

TABLE_DESCRIPTIONS: MappingProxyType[str, str] = MappingProxyType(
    {
        "series": "one row per (step, venue, instrument)",
        "events": "one row per thing that happened to an account or a venue",
        "trades": "one row per fill",
        "transfers": "double entry: one row per movement of cash between two named accounts",
        "accounts": "one row per account",
        "depth": "resting quantity by distance from mid, every few steps",
        "liquidation_map": "quantity that would be forced, by price, every few steps",
        "causes": "weighted edges between events",
    }
)
