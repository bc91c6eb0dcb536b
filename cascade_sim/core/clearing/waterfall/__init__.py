"""What follows when the book cannot close an account: the stages that the scenario lists, each in a file of its own.

A stage has a trigger (is it willing), a capacity (how many lots), a price and a payer. It takes what it can, and the rest goes
to the next one; what no stage takes stays with the account, which is looked at again. A party that takes positions over and can
no longer pay for them is itself carried through the stages that come after its own.
"""

import numpy as np

from cascade_sim.core import layout as lay
from cascade_sim.core.clearing.events import begin_event, commit_event
from cascade_sim.core.clearing.waterfall.backstop import backstop_takes
from cascade_sim.core.clearing.waterfall.deleveraging import deleverage
from cascade_sim.core.clearing.waterfall.fund import cover_debt, fund_takes
from cascade_sim.core.clearing.waterfall.socialised import socialise
from cascade_sim.core.clearing.waterfall.unwinding import execute_unwind, unwind_parties
from cascade_sim.core.clearing.worth import equity
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.domain.enums import Cause, EventType, Stage

_CAUSE = np.int64(Cause.BACKSTOP)
_DEFAULT = np.int64(EventType.DEFAULT)
_BACKSTOP = np.int64(Stage.BACKSTOP)
_FUND = np.int64(Stage.FUND)
_ADL = np.int64(Stage.ADL)
_SOCIALISED = np.int64(Stage.SOCIALISED)
_NOT_BEGUN = -1

__all__ = ["absorb", "cover_debt", "execute_unwind", "settle_defaults", "unwind_parties"]


@routine
def absorb(w, accounts, watch, scratch, scores, tape, account):
    """Carry an account that the book cannot close through the stages, from ``control.place`` on.

    Returns a RETURN code; where a rule that is not compiled must decide, it resumes at the same stage once answered.
    """
    control = w.control
    clearing = w.config.clearing
    while control.place < clearing.stages and control.capacity == 0:
        if accounts[account].position == 0 and control.defaulting == 0:
            break
        stage = clearing.waterfall[control.place].stage
        status = lay.RETURN_DONE
        if stage == _FUND:
            fund_takes(w, accounts, watch, tape, account)
        elif stage == _BACKSTOP:
            status = backstop_takes(w, accounts, watch, tape, account)
        elif stage == _ADL:
            status = deleverage(w, accounts, watch, scratch, scores, tape, account)
        elif stage == _SOCIALISED:
            socialise(w, accounts, watch, tape, account)
        if status != lay.RETURN_DONE:
            return status
        control.place += 1
    control.place = 0
    return lay.RETURN_DONE


@part
def _note_default(w, accounts, tape, party, stage):
    """Write down that a party owes more than it has, once for as long as that lasts."""
    row = accounts[party]
    step = w.control.step
    lasting = row.distressed_step >= step - 1 and row.breach_event >= 0
    row.distressed_step = step
    if lasting:
        return
    begin_event(w, accounts, _DEFAULT, stage, _CAUSE, party)
    w.draft.payer = party
    w.draft.loss = -equity(w, row)
    row.breach_event = commit_event(w, accounts, tape)
    w.totals.defaults += 1


@routine
def settle_defaults(w, accounts, watch, scratch, scores, tape):
    """Carry every party that owes more than it has through the stages after its own; a RETURN code as of `absorb`.

    The insurance fund is a party wherever it stands: outside the waterfall it still holds what losses were shared for.
    """
    control = w.control
    clearing = w.config.clearing
    if control.defaulting == 0:
        control.defaulting = 1
        control.place = _NOT_BEGUN
    while control.defaulting <= clearing.parties and control.capacity == 0:
        own = control.defaulting - 1
        party = clearing.waterfall[own].account
        if control.place == _NOT_BEGUN:
            if party < 0 or equity(w, accounts[party]) >= 0.0:
                control.defaulting += 1
                continue
            _note_default(w, accounts, tape, party, clearing.waterfall[own].stage)
            control.place = own + 1 if own < clearing.stages else 0
        status = absorb(w, accounts, watch, scratch, scores, tape, party)
        if status != lay.RETURN_DONE:
            return status
        control.place = _NOT_BEGUN
        control.defaulting += 1
    control.place = 0
    control.defaulting = 0
    return lay.RETURN_DONE
