"""The one loop: every market of a world, phase by phase, until something needs a decision that is not compiled.

What a phase needs beyond itself are hooks, functions that are fixed when the package is built: no function of a user's
enters a kernel. There are two sets of them. The lean driver has none, so it compiles nothing that most runs do without;
the full driver has all that :mod:`cascade_sim.core.drivers.hooks` holds. The readable driver (``model.step``) calls either
for one phase at a time.
"""

from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.hooks import after_phase, before_phase, needed_hooks, serve
from cascade_sim.core.drivers.phases import run_phase
from cascade_sim.core.ground.compile import kernel, leaf, part


@part
def _loop(
    prepare,
    before,
    after,
    answer,
    worlds,
    books,
    accounts,
    traders,
    watch,
    scratch,
    scores,
    tapes,
    portfolios,
    until,
    phases,
):
    """Advance all markets; see :func:`lean`.

    ``prepare`` is called once, ``before`` and ``after`` for every phase of every market, ``answer`` when a phase asks for
    what the loop itself can give; it returns whether it could.
    """
    lead = worlds[0].control
    prepare(worlds)
    while True:
        market = lead.market
        if market == 0 and (lead.step >= until or phases <= 0):
            return lay.RETURN_DONE
        w, book, tape = worlds[market], books[market], tapes[market]
        if w.control.prepared == 0:
            before(worlds, books, accounts, watch, tapes, market)
            w.control.prepared = 1
        phase = w.control.phase
        status = run_phase(
            w, book, accounts[market], traders[market], watch[market], scratch[market], scores[market], tape
        )
        if status != lay.RETURN_DONE:
            if answer(worlds, books, accounts, watch, tapes, portfolios, market, status):
                w.control.answered = 1
                continue
            return status
        after(worlds, books, accounts, watch, scratch, tapes, market, phase)
        w.control.prepared = 0
        lead.market = market + 1
        if lead.market == len(worlds):
            lead.market = 0
            phases -= 1


@leaf
def _nothing_to_prepare(worlds):
    pass


@leaf
def _nothing_before(worlds, books, accounts, watch, tapes, market):
    pass


@leaf
def _nothing_after(worlds, books, accounts, watch, scratch, tapes, market, phase):
    pass


@leaf
def _no_answer(worlds, books, accounts, watch, tapes, portfolios, market, status):
    return False


@kernel
def lean(worlds, books, accounts, traders, watch, scratch, scores, tapes, portfolios, until, phases):
    """Advance by at most ``phases`` phases, not beyond the start of step ``until``.

    Takes the arrays of a :class:`core.drivers.state.System` of one market that uses none of the mechanisms behind the
    hooks. Returns RETURN_DONE or why it stopped on the way.
    """
    return _loop(
        _nothing_to_prepare,
        _nothing_before,
        _nothing_after,
        _no_answer,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        until,
        phases,
    )


@kernel
def full(worlds, books, accounts, traders, watch, scratch, scores, tapes, portfolios, until, phases):
    """As :func:`lean`, for any number of markets and with every mechanism.

    ``worlds[0].control.market`` is the market that asks when it stops on the way.
    """
    return _loop(
        needed_hooks,
        before_phase,
        after_phase,
        serve,
        worlds,
        books,
        accounts,
        traders,
        watch,
        scratch,
        scores,
        tapes,
        portfolios,
        until,
        phases,
    )
