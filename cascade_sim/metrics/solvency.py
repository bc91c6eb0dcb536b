"""Who paid: the layers behind margin, and the losses by class of account."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.domain.enums import AccountClass, TransferKind
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.facts import RunFacts
from cascade_sim.result import RunResult

TRANSFER_COLUMNS = ("step", "from_account_id", "to_account_id", "amount_atom", "kind")
"""What the metrics need of the transfers table."""


def collateral_added(transfers: Iterable[pd.DataFrame], accounts_count: int) -> NDArray[np.float64]:
    """Return the collateral that each account received less what it gave from step 0 on.

    Parameters
    ----------
    transfers : iterable of DataFrame
        Complete transfers table in pieces, see `RunResult.pieces`; of its columns at least :data:`TRANSFER_COLUMNS`.
    accounts_count : int
        Number of accounts n.

    Returns
    -------
    float64 array, shape (n,)
        Quote currency; the external account's is negative.
    """
    added = np.zeros(accounts_count, np.int64)
    for piece in transfers:
        kind = piece["kind"].cat.categories.get_loc(TransferKind.COLLATERAL.name.lower())
        chosen = (piece["kind"].cat.codes.to_numpy() == kind) & (piece["step"].to_numpy() >= 0)
        rows = piece.loc[chosen, ["from_account_id", "to_account_id", "amount_atom"]]
        amount = rows["amount_atom"].to_numpy()
        np.add.at(added, rows["to_account_id"].to_numpy(), amount)
        np.subtract.at(added, rows["from_account_id"].to_numpy(), amount)
    return np.asarray(added / ATOMS_PER_UNIT)


def profit(result: RunResult) -> NDArray[np.float64]:
    """Return the change of equity of each account since step 0 without added collateral, quote currency."""
    accounts = result.accounts
    change = accounts["equity_end"].to_numpy() - accounts["equity_start"].to_numpy()
    transfers = result.pieces("transfers", TRANSFER_COLUMNS)
    return np.asarray(change - collateral_added(transfers, len(accounts)))


def _by_class(accounts: pd.DataFrame, values: NDArray[np.float64]) -> dict[str, float]:
    """Sum by class, to a millionth: below that lies only what adding floats leaves behind."""
    sums = pd.Series(values).groupby(accounts["account_class"].array, observed=True).sum()
    return {str(name): round(float(value), 6) + 0.0 for name, value in sums.items()}


@metric("quote")
def loss_by_class(result: RunResult, facts: RunFacts) -> dict[str, float] | None:
    """Loss of each class of account since step 0, gains negative; the classes that have accounts, in order.

    Minus the change of equity at mark, collateral added or taken out not counted. The loss of the class
    ``external`` is the capital drawn from outside. All losses add up to zero. The value of options is not
    part of futures accounts; see ``gamma_drag``. None without accounts or where transfers were not
    recorded.
    """
    if result.accounts.empty or not result.rows("transfers"):
        return None
    return _by_class(result.accounts, 0.0 - profit(result))


@metric("quote")
def insurance_fund_start(result: RunResult, facts: RunFacts) -> float:
    """Capital of the insurance fund at the start."""
    return facts.insurance_fund_start


@metric("quote")
def insurance_fund_end(result: RunResult, facts: RunFacts) -> float | None:
    """Equity of the insurance fund at the end of the run, its position at mark; None without a fund."""
    name = AccountClass.INSURANCE_FUND.name.lower()
    rows = result.accounts.loc[result.accounts["account_class"] == name, "equity_end"]
    return float(rows.sum()) if len(rows) else None


@metric("quote")
def bad_debt(result: RunResult, facts: RunFacts) -> float:
    """Losses of bankrupt accounts beyond their collateral, at mark when they were taken off the market."""
    return float(facts.total("bad_debt"))


@metric("quote")
def backstop_notional(result: RunResult, facts: RunFacts) -> float:
    """Notional at mark of positions that parties of the waterfall (the fund, stages of the user's own) took over."""
    return float(facts.total("backstop_notional"))


@metric("quote")
def adl_notional(result: RunResult, facts: RunFacts) -> float:
    """Notional at mark closed by auto-deleveraging."""
    return float(facts.total("adl_notional"))


@metric("accounts")
def adl_accounts(result: RunResult, facts: RunFacts) -> int:
    """Winning accounts that were deleveraged, each once."""
    return int(facts.total("adl_accounts"))


@metric("quote")
def adl_loss(result: RunResult, facts: RunFacts) -> float:
    """What deleveraging at the bankruptcy price cost the winners against the mark."""
    return float(facts.total("adl_loss"))


@metric("quote")
def socialised_loss(result: RunResult, facts: RunFacts) -> float:
    """Losses shared over the accounts in profit."""
    return float(facts.total("socialised_loss"))


@metric("quote")
def external_capital(result: RunResult, facts: RunFacts) -> float:
    """Capital drawn from outside because nobody was left to bear a loss."""
    return float(facts.total("external_capital"))
