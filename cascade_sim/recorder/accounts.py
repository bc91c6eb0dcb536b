"""The accounts table: where everybody began, where they ended, and what made the difference."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.margin import liquidation_prices, whole_position_prices
from cascade_sim.core.clearing.worth import bankruptcy_prices, equities, notionals
from cascade_sim.domain.enums import AccountClass, Cause, TransferKind, code_count
from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.recorder.market import Columns, cash, constant, price

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AccountRecords:
    """What the recorder must be told about accounts, because the tape does not hold it.

    Attributes
    ----------
    classes : int8, shape (n,)
        Class code of each account.
    start, closing : structured ndarray of layout.ACCOUNT, shape (n,)
        Copies of all accounts as step 0 begins (after burn-in) and at the end of the run.
    opening_transfers : structured ndarray of layout.TRANSFER
        The cash that accounts were set up with before burn-in: collateral from the external account, and
        the cost of each opening position paid by its buyer to its seller. Steps are negative.
    start_mark, closing_mark : float
        Mark in ticks as step 0 begins and at the end.
    tier_rate, tier_deduction : float64, shape (tiers,)
        Maintenance rates (fractions) and deductions (atoms).
    tier_end : float64, shape (tiers,), or None
        Ends of the tiers (atoms) where rates are of the whole position; None where they are marginal.
    fee_account : int
        Ids of the insurance fund and of the account that collects trading fees.
    """

    classes: NDArray[np.int8]
    start: NDArray[Any]
    closing: NDArray[Any]
    opening_transfers: NDArray[Any]
    start_mark: float
    closing_mark: float
    tier_rate: Floats
    tier_deduction: Floats
    fee_account: int
    tier_end: Floats | None = None

    def __post_init__(self) -> None:
        """Check that the arrays belong together."""
        count = len(self.classes)
        for name in ("start", "closing"):
            rows = getattr(self, name)
            if rows.dtype != lay.ACCOUNT or len(rows) != count:
                raise CascadeError(
                    expectation(name, f"{count} rows of layout.ACCOUNT", f"{len(rows)} rows of {rows.dtype}")
                )
        opening = self.opening_transfers
        if opening.dtype != lay.TRANSFER or (len(opening) and int(opening["step"].max()) >= 0):
            raise CascadeError(
                expectation(
                    "opening_transfers", "rows of layout.TRANSFER with negative steps", f"{opening.dtype}"
                )
            )


@dataclass(frozen=True)
class Flows:
    """Cash of each account since step 0 in atoms, by reason; shape (n,) each.

    Attributes
    ----------
    received : int64, shape (TransferKind, n)
        Received less paid by kind, fees of fills included, variation of fills not.
    variation : int64
        Received less paid for fills.
    forced : float64
        Worth that forced fills added to the account that was closed, against the mark at the fill.
    deleveraged : float64
        Worth that auto-deleveraging added to the account on the winning side, against the mark at the fill.
    """

    received: NDArray[np.int64]
    variation: NDArray[np.int64]
    forced: Floats
    deleveraged: Floats


def measure_flows(
    trades: Iterable[NDArray[Any]], transfers: Iterable[NDArray[Any]], books: AccountRecords, atoms: int
) -> Flows:
    """Sum what every account paid and received from step 0 on.

    Parameters
    ----------
    trades, transfers : iterables of structured ndarrays of layout.TRADE and layout.TRANSFER
        As on the tape, in pieces of any length; the sums do not depend on where they are cut.
    books : AccountRecords
        For the number of accounts and the fund's id.
    atoms : int
        Atoms per tick and lot.
    """
    count = len(books.classes)
    flows = Flows(
        received=np.zeros((code_count(TransferKind), count), np.int64),
        variation=np.zeros(count, np.int64),
        forced=np.zeros(count),
        deleveraged=np.zeros(count),
    )
    for piece in transfers:
        # The tape is in order of steps, so burn-in is cut off without copying.
        rows = piece[np.searchsorted(piece["step"], 0) :]
        np.add.at(flows.received, (rows["kind"], rows["to_account"]), rows["amount"])
        np.subtract.at(flows.received, (rows["kind"], rows["from_account"]), rows["amount"])
    for piece in trades:
        _add_fills(flows, piece[np.searchsorted(piece["step"], 0) :], books, atoms)
    return flows


def _add_fills(flows: Flows, trades: NDArray[Any], books: AccountRecords, atoms: int) -> None:
    received, variation = flows.received, flows.variation
    side, amount = trades["aggressor_side"].astype(np.int64), trades["amount"]
    taker, maker, cause = trades["taker_account"], trades["maker_account"], trades["taker_cause"]
    np.subtract.at(variation, taker, side * amount)
    np.add.at(variation, maker, side * amount)
    for role in ("taker", "maker"):
        fee = trades[f"{role}_fee"]
        paid = fee != 0
        np.subtract.at(received[TransferKind.FEE], trades[f"{role}_account"][paid], fee[paid])
        received[TransferKind.FEE, books.fee_account] += fee[paid].sum()
    adl = cause == Cause.DELEVERAGING
    # The parties' own sales in the book carry the same cause as the takeover that it serves.
    own = np.isin(books.classes[taker], (AccountClass.INSURANCE_FUND, AccountClass.BACKSTOP))
    forced = adl | (cause == Cause.LIQUIDATION) | ((cause == Cause.BACKSTOP) & ~own)
    chosen = np.flatnonzero(forced)
    worth = trades["mark"][chosen] * (trades["quantity_lot"][chosen] * float(atoms)) - amount[chosen]
    worth *= side[chosen]
    adl = adl[chosen]
    np.add.at(flows.forced, taker[chosen], worth)
    np.add.at(flows.deleveraged, maker[chosen][adl], -worth[adl])


def profit_columns(flows: Flows, books: AccountRecords, atoms: int) -> Columns:
    """Split the change of equity since step 0 into its reasons.

    Notes
    -----
    With ``collateral`` the net collateral received from step 0 on (kind ``collateral`` in the transfers
    table)::

        equity_end = equity_start + collateral + trading_pnl - fees - funding - liquidation_loss
                     - adl_loss - socialised_loss + external_capital

    ``fees``, ``funding`` and ``socialised_loss`` are transfers of their kind, paid less received.
    ``liquidation_loss`` is what fills that closed the account by force (in the book, by takeover, by
    deleveraging of its winners) cost it against the mark at the fill, plus takeover transfers paid less
    received: debt that the fund bore makes it smaller for the account and larger for the fund. ``adl_loss``
    is what deleveraging fills cost the account on the winning side against the mark. ``external_capital`` is
    received less paid. ``trading_pnl`` is the rest of the variation: all fills at their price and the change of
    value of the position at mark, plus premia.
    """
    received = flows.received.astype(np.float64)
    value = (
        books.closing["position"] * books.closing_mark - books.start["position"] * books.start_mark
    ) * atoms
    trading = flows.variation + value - flows.forced - flows.deleveraged
    return {
        "trading_pnl": cash(trading + received[TransferKind.PREMIUM]),
        "fees": cash(-received[TransferKind.FEE]),
        "funding": cash(-received[TransferKind.FUNDING]),
        "liquidation_loss": cash(-flows.forced - received[TransferKind.TAKEOVER]),
        "adl_loss": cash(-flows.deleveraged),
        "socialised_loss": cash(-received[TransferKind.SOCIALISED]),
        "external_capital": cash(received[TransferKind.EXTERNAL]),
    }


PROFIT_COLUMNS = (
    "trading_pnl",
    "fees",
    "funding",
    "liquidation_loss",
    "adl_loss",
    "socialised_loss",
    "external_capital",
)


def account_columns(books: AccountRecords, flows: Flows | None, instrument: Instrument) -> Columns:
    """Build the accounts table.

    ``entry_price`` is that of the position at the start, or of the one at the end for accounts that opened
    it later. Without ``flows`` (fills were not recorded) the columns that split the profit are NaN.
    """
    start, closing, count = books.start, books.closing, len(books.classes)
    atoms = instrument.atoms_per_tick_lot
    held = start["position"] != 0
    margined = (closing["traits"] & lay.FLAG_MARGINED) != 0
    scaled = start["position"] * float(atoms)
    cash_start = start["cash"].astype(np.float64)
    if books.tier_end is None:
        trigger = liquidation_prices(scaled, cash_start, books.tier_rate, books.tier_deduction)
    else:
        trigger = whole_position_prices(scaled, cash_start, books.start_mark, books.tier_rate, books.tier_end)
    with np.errstate(divide="ignore", invalid="ignore"):
        bankruptcy = np.where(held, bankruptcy_prices(cash_start, scaled), np.nan)
        equity_start = equities(cash_start, scaled, books.start_mark)
        leverage = np.where(equity_start > 0.0, notionals(scaled, books.start_mark) / equity_start, np.nan)
    entry = np.where(
        held, start["entry_tick"], np.where(closing["position"] != 0, closing["entry_tick"], np.nan)
    )
    equity_end = equities(closing["cash"], closing["position"] * float(atoms), books.closing_mark)
    shared = (closing["traits"] & lay.FLAG_CROSS) != 0
    modes = np.where(shared, "cross", np.where(margined, "isolated", "none")).astype(object)
    # A leg of a portfolio has no prices of its own at which it would be liquidated or bankrupt.
    alone = margined & ~shared
    bankruptcy = np.where(shared, np.nan, bankruptcy)
    data: Columns = {
        "account_id": np.arange(count),
        "account_class": books.classes,
        "venue": constant(instrument.venue, count),
        "margin_mode": modes,
        "position_start": instrument.lots_to_quantities(start["position"]),
        "position_end": instrument.lots_to_quantities(closing["position"]),
        "entry_price": price(instrument, entry),
        "liquidation_price_start": price(instrument, np.where(alone & np.isfinite(trigger), trigger, np.nan)),
        "bankruptcy_price_start": price(instrument, bankruptcy),
        "collateral_start": cash(start["collateral"]),
        "equity_start": cash(equity_start),
        "equity_end": cash(equity_end),
        "leverage_start": np.where(held, leverage, 0.0),
        "first_breach_step": closing["first_breach_step"],
        "outcome": closing["outcome"],
    }
    if flows is None:
        return data | {name: np.full(count, np.nan) for name in PROFIT_COLUMNS}
    return data | profit_columns(flows, books, atoms)
