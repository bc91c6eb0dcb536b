"""Who paid: the layers behind margin, and the losses by class of account."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cascade_sim.domain.enums import CLOSED_BY, AccountClass
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.runs import Floats, Runs


@metric("quote", "Forced closing", "notional taken over by the backstop", cost=1)
def backstop_notional(runs: Runs) -> Floats:
    """Notional at mark of positions that parties of the waterfall (the fund, stages of the user's own) took over."""
    return runs.closed_by(CLOSED_BY["backstop"])


@metric("quote", "Forced closing", "notional closed by auto-deleveraging", cost=1)
def adl_notional(runs: Runs) -> Floats:
    """Notional at mark closed by auto-deleveraging."""
    return runs.closed_by(CLOSED_BY["adl"])


@metric("accounts", "Forced closing", "accounts closed by auto-deleveraging", cost=1)
def adl_accounts(runs: Runs) -> NDArray[np.int64]:
    """Winning accounts that were deleveraged, each once."""
    return runs.total("adl_accounts")


@metric("quote", "Cost", "insurance fund at the start")
def insurance_fund_start(runs: Runs) -> Floats:
    """Capital of the insurance fund at the start."""
    return np.full(len(runs), runs.insurance_fund)


@metric("quote", "Cost", "insurance fund at the end", cost=-1)
def insurance_fund_end(runs: Runs) -> Floats:
    """Equity of the insurance fund at the end of the run, its position at mark."""
    return runs.equity(AccountClass.INSURANCE_FUND, "ended")


@metric("quote", "Cost", "bad debt", cost=1, margin=10_000.0)
def bad_debt(runs: Runs) -> Floats:
    """Losses of bankrupt accounts beyond their collateral, at mark when they were taken off the market."""
    return runs.cash("bad_debt")


@metric("quote", "Cost", "loss of those deleveraged, against mark", cost=1)
def adl_loss(runs: Runs) -> Floats:
    """What deleveraging at the bankruptcy price cost the winners against the mark."""
    return runs.cash("adl_loss")


@metric("quote", "Cost", "socialised loss", cost=1)
def socialised_loss(runs: Runs) -> Floats:
    """Losses shared over the accounts in profit."""
    return runs.cash("socialised")


@metric("quote", "Cost", "capital drawn from outside", cost=1)
def external_capital(runs: Runs) -> Floats:
    """Capital drawn from outside because nobody was left to bear a loss."""
    return runs.cash("external")


@metric("quote", "Cost", "trading fees, rebates taken off")
def fees(runs: Runs) -> Floats:
    """Trading fees that the venue collected after burn-in, rebates taken off."""
    return runs.cash("fees")


@metric("quote", "Cost", "loss by class of account")
def loss_by_class(runs: Runs) -> Mapping[str, Floats]:
    """Loss of each class of account since step 0, gains negative; the classes that have accounts, in order.

    Minus the change of equity at mark, collateral added or taken out not counted. The loss of the class
    ``external`` is the capital drawn from outside. All losses add up to zero. The value of options is not
    part of futures accounts; see ``gamma_drag``.
    """
    # To a millionth: below that lies only what adding floats leaves behind.
    return {
        kind.name.lower(): np.round(0.0 - runs.profit(kind), 6) + 0.0
        for kind in AccountClass
        if runs.has(kind).any()
    }
