"""What liquidation rules see: columns over a short list of accounts, read-only."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.clearing.margin import maintenance_margins, whole_position_margins
from cascade_sim.core.clearing.worth import bankruptcy_prices, equities, notionals
from cascade_sim.core.drivers.state import State
from cascade_sim.core.ground.rng import PURPOSE_PRIORITY, uniforms_of
from cascade_sim.core.layout.book import NO_ASK
from cascade_sim.domain.units import ATOMS_PER_UNIT

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class DistressedAccounts:
    """Accounts below maintenance margin, in ascending order of id; every column has shape (n,).

    Attributes
    ----------
    account_id : int64
    position : float64
        Signed, base units.
    position_lot : int64
        Signed, lots (exact).
    equity, notional, maintenance_margin : float64
        Quote currency, at the mark.
    margin_ratio : float64
        Equity over notional; the lowest is nearest to bankruptcy or beyond it.
    shortfall : float64
        Maintenance margin minus equity, quote currency.
    bankruptcy_price : float64
        Quote currency; where equity is zero. Zero or less for what no price makes insolvent.
    bankruptcy_limit : float64
        Quote currency; the worst price of the grid at which closing leaves no debt, the taker fee paid.
    first_breach_step : int64
    random : float64
        One uniform number per account and step, the same in every run of a seed.
    lot_size, mark : float
        Base units per lot; quote currency.
    step : int
    """

    account_id: Integers
    position: Floats
    position_lot: Integers
    equity: Floats
    notional: Floats
    maintenance_margin: Floats
    margin_ratio: Floats
    shortfall: Floats
    bankruptcy_price: Floats
    bankruptcy_limit: Floats
    first_breach_step: Integers
    random: Floats
    lot_size: float
    mark: float
    step: int

    def __len__(self) -> int:
        return len(self.account_id)


@dataclass(frozen=True)
class MarketView:
    """Prices as an execution rule sees them, in quote currency.

    Attributes
    ----------
    mark, mid, last : float
    best_bid, best_ask : float
        NaN where there is none.
    tick_size, lot_size : float
        Quote currency per tick, base units per lot.
    step : int
    """

    mark: float
    mid: float
    last: float
    best_bid: float
    best_ask: float
    tick_size: float
    lot_size: float
    step: int


@dataclass(frozen=True)
class Party:
    """The account of a stage that takes positions over.

    Attributes
    ----------
    account_id : int
    capital : float
        Quote currency; what it began with.
    cash, equity : float
        Quote currency; equity at the mark.
    position : float
        Signed, base units.
    position_lot : int
        Signed, lots (exact).
    mark : float
        Quote currency.
    lot_size : float
        Base units per lot.
    step : int
    """

    account_id: int
    capital: float
    cash: float
    equity: float
    position: float
    position_lot: int
    mark: float
    lot_size: float
    step: int


@dataclass(frozen=True)
class Counterparties:
    """Solvent accounts on the other side of a bankrupt position; every column has shape (n,).

    Attributes
    ----------
    account_id : int64
    position : float64
        Signed, base units.
    entry_price : float64
        Average entry price, quote currency.
    equity, notional : float64
        Quote currency, at the mark.
    profit_ratio : float64
        Open profit over entry value.
    leverage : float64
        Notional over equity.
    mark : float
        Quote currency.
    """

    account_id: Integers
    position: Floats
    entry_price: Floats
    equity: Floats
    notional: Floats
    profit_ratio: Floats
    leverage: Floats
    mark: float

    def __len__(self) -> int:
        return len(self.account_id)


def _frozen(values: NDArray[Any]) -> NDArray[Any]:
    values.flags.writeable = False
    return values


class Parts(NamedTuple):
    """Parts of a world that views look at; a look into a whole world costs as much as a column of a view."""

    control: Any
    market: Any
    atoms: int
    rates: Floats
    deductions: Floats
    ends: Floats | None
    seed: np.uint64
    first_trader: int
    taker_fee: float


def parts_of(state: State) -> Parts:
    """Return the parts of a configured world; control and market stay true as it runs."""
    world = state.world
    config = world.config
    clearing, tiers = config.clearing, int(config.clearing.tiers)
    return Parts(
        control=world.control,
        market=world.market,
        atoms=int(config.atoms),
        rates=np.array(clearing.tier_rate[:tiers]),
        deductions=np.array(clearing.tier_deduction[:tiers]),
        ends=np.array(clearing.whole.ends[:tiers]) if int(clearing.whole.enabled) else None,
        seed=config.seed,
        first_trader=int(config.traders.first_account),
        taker_fee=float(config.taker_fee),
    )


def distressed_view(
    state: State, ids: Integers, lot_size: float, tick_size: float, parts: Parts | None = None
) -> DistressedAccounts:
    """Return the view of the accounts ``ids`` (ascending) at the current mark; ``parts`` spares looking them up."""
    found = parts_of(state) if parts is None else parts
    atoms = found.atoms
    rows = state.accounts.view(np.ndarray)[ids]
    mark = float(found.market.mark)
    step = int(found.control.step)
    lots = rows["position"].astype(np.int64)
    equity = equities(rows["cash"], lots, mark, atoms)
    notional = notionals(lots, mark, atoms)
    if found.ends is not None:
        maintenance = whole_position_margins(notional, found.rates, found.ends)
    else:
        maintenance = maintenance_margins(notional, found.rates, found.deductions)
    # Counted from the first trader, so that other agents do not change a trader's number.
    entities = ids - found.first_trader
    bankruptcy = bankruptcy_prices(rows["cash"], lots, atoms)
    fee = found.taker_fee
    limit = np.where(lots > 0, np.ceil(bankruptcy / (1.0 - fee)), np.floor(bankruptcy / (1.0 + fee)))
    random = uniforms_of(entities, found.seed, PURPOSE_PRIORITY, step, 0)
    return DistressedAccounts(
        account_id=_frozen(ids.copy()),
        position=_frozen(lots * lot_size),
        position_lot=_frozen(lots),
        equity=_frozen(equity / ATOMS_PER_UNIT),
        notional=_frozen(notional / ATOMS_PER_UNIT),
        maintenance_margin=_frozen(maintenance / ATOMS_PER_UNIT),
        margin_ratio=_frozen(equity / notional),
        shortfall=_frozen((maintenance - equity) / ATOMS_PER_UNIT),
        bankruptcy_price=_frozen(bankruptcy * tick_size),
        bankruptcy_limit=_frozen(limit * tick_size),
        first_breach_step=_frozen(rows["first_breach_step"].astype(np.int64)),
        random=_frozen(random),
        lot_size=lot_size,
        mark=mark * tick_size,
        step=step,
    )


def counterparties_view(state: State, ids: Integers, lot_size: float, tick_size: float) -> Counterparties:
    """Return the view of the accounts ``ids`` that could be deleveraged at the current mark."""
    world = state.world
    rows = state.accounts[ids]
    mark = float(world.market.mark)
    lots = rows["position"].astype(np.int64)
    equity = equities(rows["cash"], lots, mark, world.config.atoms)
    notional = notionals(lots, mark, world.config.atoms)
    entry = rows["entry_tick"]
    side = np.where(lots > 0, 1.0, -1.0)
    return Counterparties(
        account_id=_frozen(ids.copy()),
        position=_frozen(lots * lot_size),
        entry_price=_frozen(entry * tick_size),
        equity=_frozen(equity / ATOMS_PER_UNIT),
        notional=_frozen(notional / ATOMS_PER_UNIT),
        profit_ratio=_frozen(side * (mark - entry) / entry),
        leverage=_frozen(notional / equity),
        mark=mark * tick_size,
    )


def market_view(state: State, lot_size: float, tick_size: float) -> MarketView:
    """Return the prices of a market as they are now."""
    world, book = state.world, state.book
    market = world.market
    bid, ask = int(book.best_bid), int(book.best_ask)
    return MarketView(
        mark=float(market.mark) * tick_size,
        mid=float(market.mid) * tick_size,
        last=float(market.last) * tick_size,
        best_bid=bid * tick_size if bid > 0 else np.nan,
        best_ask=ask * tick_size if ask < NO_ASK else np.nan,
        tick_size=tick_size,
        lot_size=lot_size,
        step=int(world.control.step),
    )


def party_view(state: State, account: int, lot_size: float, tick_size: float) -> Party:
    """Return the account of a stage as it is at the current mark."""
    world, row = state.world, state.accounts[account]
    lots, mark = int(row.position), float(world.market.mark)
    return Party(
        account_id=account,
        capital=int(row.collateral) / ATOMS_PER_UNIT,
        cash=int(row.cash) / ATOMS_PER_UNIT,
        equity=equities(int(row.cash), lots, mark, int(world.config.atoms)) / ATOMS_PER_UNIT,
        position=lots * lot_size,
        position_lot=lots,
        mark=mark * tick_size,
        lot_size=lot_size,
        step=int(world.control.step),
    )
