"""The phases of a step of one market, in the order that is part of the public contract.

Step, phase, stage and cursor live in the state, so a run that stops resumes exactly where it was.
"""

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.background import background_flow
from cascade_sim.core.actors.discretionary import late_entrants, scheduled_shocks, value_and_arbitrage
from cascade_sim.core.actors.hedging import hedge
from cascade_sim.core.actors.providers import quote
from cascade_sim.core.clearing.events import is_filling
from cascade_sim.core.clearing.liquidation import liquidate
from cascade_sim.core.ground.compile import part, routine
from cascade_sim.core.prices.mark import mark, news
from cascade_sim.core.record.figures import begin_figures
from cascade_sim.core.record.measure import record
from cascade_sim.core.record.snapshots import take_snapshots


@routine
def _trade(w, book, accounts, traders, watch, tape):
    """Phase 5. Python agents act first; the driver returns for them once in every step in which one is due."""
    control = w.control
    if w.config.participants > 0:
        if control.answered == 0 and control.step >= control.next_agents:
            return lay.RETURN_AGENTS
        control.answered = 0
    if w.market.halted == 0:
        value_and_arbitrage(w, book, accounts, watch, tape)
    if control.step >= 0:
        late_entrants(w, book, accounts, traders, watch, tape)
    return lay.RETURN_DONE


@part
def run_phase(w, book, accounts, traders, watch, scratch, scores, tape):
    """Run the current phase to its end or to a request; returns a RETURN code and advances phase and step."""
    control = w.control
    phase = control.phase
    status = lay.RETURN_DONE
    if phase == lay.PHASE_NEWS:
        if is_filling(tape):
            return lay.RETURN_DRAIN
        if control.step == 0:
            begin_figures(w, book, accounts)
        news(w, book)
    elif phase == lay.PHASE_QUOTES:
        quote(w, book, accounts, tape)
    elif phase == lay.PHASE_FLOW:
        status = background_flow(w, book, accounts, watch, tape)
    elif phase == lay.PHASE_SHOCK:
        scheduled_shocks(w, book, accounts, watch, tape)
    elif phase == lay.PHASE_TRADE:
        status = _trade(w, book, accounts, traders, watch, tape)
    elif phase == lay.PHASE_HEDGE:
        status = hedge(w, book, accounts, watch, tape)
    elif phase == lay.PHASE_MARK:
        status = mark(w)
    elif phase == lay.PHASE_LIQUIDATE:
        status = liquidate(w, book, accounts, watch, scratch, scores, tape)
    else:
        record(w, book, accounts, watch, tape)
    if status != lay.RETURN_DONE:
        return status
    if book.status != 0:
        control.capacity = lay.CAPACITY_ORDERS if book.status == 1 else lay.CAPACITY_PRICE
    if control.capacity != 0:
        return lay.RETURN_CAPACITY
    control.phase = phase + 1
    if control.phase == lay.PHASES:
        control.phase = 0
        control.sequence = 0
        control.step += 1
        take_snapshots(w, book, accounts, watch, tape)
    return lay.RETURN_DONE
