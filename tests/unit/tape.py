"""Small hand-made tapes: a ledger in plain Python that writes the rows which the kernels would write."""

from typing import Any

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import AccountClass, Cause, TransferKind
from cascade_sim.domain.instruments import Instrument
from cascade_sim.recorder import AccountRecords

INSTRUMENT = Instrument("main", "ETH-PERP", "ETH", "USD", 0.1, 0.01)
ATOMS = INSTRUMENT.atoms_per_tick_lot
EXTERNAL, FUND, FEES, MAKER, LONG, SHORT = range(6)
CLASSES = np.array(
    [
        AccountClass.EXTERNAL,
        AccountClass.INSURANCE_FUND,
        AccountClass.FEES,
        AccountClass.LIQUIDITY_PROVIDER,
        AccountClass.LEVERAGED_TRADER,
        AccountClass.UNLEVERED_HOLDER,
    ],
    np.int8,
)


def blank(count: int, dtype: Any, **columns: Any) -> np.ndarray:
    """Rows of a record dtype, zero but for the given columns."""
    rows = np.zeros(count, dtype)
    for name, values in columns.items():
        rows[name] = values
    return rows


class Ledger:
    """Dictionaries of cash and positions, and lists of rows."""

    def __init__(self) -> None:
        self.cash = dict.fromkeys(range(len(CLASSES)), 0)
        self.position = dict.fromkeys(range(len(CLASSES)), 0)
        self.opening: list[np.ndarray] = []
        self.trades: list[np.ndarray] = []
        self.transfers: list[np.ndarray] = []

    def open(self, payer: int, payee: int, amount: int, kind: TransferKind) -> None:
        """Set-up cash, before burn-in."""
        self.cash[payer] -= amount
        self.cash[payee] += amount
        self.opening.append(self._row(-11, payer, payee, amount, kind, -1))

    def pay(
        self, step: int, payer: int, payee: int, amount: int, kind: TransferKind, event: int = -1
    ) -> None:
        """A transfer on the tape."""
        self.cash[payer] -= amount
        self.cash[payee] += amount
        self.transfers.append(self._row(step, payer, payee, amount, kind, event))

    def fill(
        self,
        step: int,
        side: int,
        taker: int,
        maker: int,
        tick: int,
        lots: int,
        cause: Cause,
        *,
        mark: float,
        fees: tuple[int, int] = (0, 0),
        event: int = -1,
    ) -> None:
        """A fill on the tape; fees of taker and maker in atoms."""
        amount = tick * lots * ATOMS
        self.cash[taker] -= side * amount
        self.cash[maker] += side * amount
        self.position[taker] += side * lots
        self.position[maker] -= side * lots
        for account, fee in zip((taker, maker), fees, strict=True):
            self.cash[account] -= fee
            self.cash[FEES] += fee
        off_book = cause in (Cause.BACKSTOP, Cause.DELEVERAGING)
        self.trades.append(
            blank(
                1,
                lay.TRADE,
                trade_id=len(self.trades),
                step=step,
                sequence=len(self.trades),
                price_tick=tick,
                aggressor_side=side,
                taker_cause=cause,
                maker_cause=cause if off_book else Cause.QUOTE,
                quantity_lot=lots,
                amount=amount,
                taker_order=0 if off_book else 100 + len(self.trades),
                maker_order=0 if off_book else 50,
                taker_account=taker,
                maker_account=maker,
                taker_event=event,
                taker_fee=fees[0],
                maker_fee=fees[1],
                mid_before=mark,
                mid_after=mark,
                mark=mark,
            )
        )

    def accounts(self) -> np.ndarray:
        """Copy of the accounts as they are now."""
        return blank(
            len(CLASSES),
            lay.ACCOUNT,
            cash=list(self.cash.values()),
            position=list(self.position.values()),
            account_class=CLASSES,
            first_breach_step=-1,
            traits=np.where(CLASSES == AccountClass.LEVERAGED_TRADER, lay.FLAG_MARGINED, 0),
        )

    def positions(self) -> np.ndarray:
        """Positions now, lots."""
        return np.array(list(self.position.values()), np.int64)

    @staticmethod
    def _row(step: int, payer: int, payee: int, amount: int, kind: TransferKind, event: int) -> np.ndarray:
        return blank(
            1,
            lay.TRANSFER,
            step=step,
            kind=kind,
            from_account=payer,
            to_account=payee,
            event=event,
            trade=-1,
            amount=amount,
        )


def fill_tape(tape: Any, name: str, rows: list[np.ndarray] | np.ndarray) -> None:
    """Put rows on a tape."""
    rows = np.concatenate(rows) if isinstance(rows, list) else rows
    getattr(tape, name)[: len(rows)] = rows
    setattr(tape, f"{name}_count", len(rows))


def records(ledger: Ledger, start: np.ndarray, start_mark: float, closing_mark: float) -> AccountRecords:
    """What the recorder is told about accounts."""
    return AccountRecords(
        classes=CLASSES,
        start=start,
        closing=ledger.accounts(),
        opening_transfers=np.concatenate(ledger.opening),
        start_mark=start_mark,
        closing_mark=closing_mark,
        tier_rate=np.array([0.0125]),
        tier_deduction=np.array([0.0]),
        fee_account=FEES,
    )


def cascade_ledger() -> tuple[Ledger, AccountRecords, np.ndarray]:
    """One long that is liquidated in part and taken over, and a short that is deleveraged.

    Marks: 22000 ticks at the start, 20000 in the fall and at the end. 1000 lots at
    22000 ticks are 22,000 USD.
    """
    ledger = Ledger()
    unit = 10**8
    for account, dollars in ((FUND, 500), (MAKER, 5000), (LONG, 1000), (SHORT, 3000)):
        ledger.open(EXTERNAL, account, dollars * unit, TransferKind.COLLATERAL)
    ledger.open(LONG, SHORT, 22000 * 1000 * ATOMS, TransferKind.VARIATION)
    ledger.position[LONG], ledger.position[SHORT] = 1000, -1000
    opening = ledger.positions()
    ledger.fill(-5, 1, MAKER, SHORT, 21990, 10, Cause.VALUE, mark=22000.0, fees=(30, -10))
    start = ledger.accounts()
    start["entry_tick"][[LONG, SHORT, MAKER]] = (22000.0, 22000.0, 21990.0)
    start["collateral"][LONG] = 1000 * unit
    ledger.pay(3, EXTERNAL, LONG, 200 * unit, TransferKind.COLLATERAL, event=0)
    ledger.fill(
        5, -1, LONG, MAKER, 19900, 400, Cause.LIQUIDATION, mark=20000.0, fees=(7_000_000, -2_000_000), event=1
    )
    ledger.pay(5, LONG, FUND, 16 * unit, TransferKind.FEE, event=1)
    ledger.fill(6, -1, LONG, SHORT, 20800, 250, Cause.DELEVERAGING, mark=20000.0, event=2)
    ledger.fill(6, -1, LONG, FUND, 20000, 350, Cause.BACKSTOP, mark=20000.4, event=3)
    debt = -ledger.cash[LONG]
    assert debt > 0
    ledger.pay(6, FUND, LONG, debt, TransferKind.TAKEOVER, event=3)
    ledger.pay(6, SHORT, FUND, 11 * unit, TransferKind.SOCIALISED, event=3)
    ledger.pay(6, EXTERNAL, FUND, 4 * unit, TransferKind.EXTERNAL, event=3)
    ledger.fill(8, -1, FUND, MAKER, 19950, 50, Cause.BACKSTOP, mark=20000.0)
    return ledger, records(ledger, start, 22000.0, 20000.0), opening
