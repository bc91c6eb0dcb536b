"""The driver for one market whose leveraged traders act, on a clock or at a price."""

from cascade_sim.core import layout as lay
from cascade_sim.core.actors.account_actions import act
from cascade_sim.core.actors.background import rate_driven_flow
from cascade_sim.core.drivers.run import run_phase
from cascade_sim.core.ground.compile import kernel


@kernel
def run_acting(worlds, books, accounts, traders, watch, scratch, scores, tapes, portfolios, until, phases):
    """As :func:`core.drivers.run.run`, for any flow; the leveraged traders act at the end of the trading phase."""
    w, book, tape = worlds[0], books[0], tapes[0]
    rows, entrants, prices = accounts[0], traders[0], watch[0]
    lists, ranks = scratch[0], scores[0]
    control = w.control
    while control.step < until and phases > 0:
        phase = control.phase
        status = run_phase(w, book, rows, entrants, prices, lists, ranks, tape)
        if status == lay.RETURN_FLOW:
            rate_driven_flow(w, book, rows, prices, tape)
            control.answered = 1
            continue
        if status != lay.RETURN_DONE:
            return status
        if phase == lay.PHASE_TRADE and control.step >= 0:
            act(w, book, rows, prices, lists, tape)
        phases -= 1
    return lay.RETURN_DONE
