"""Every addressed draw of a run, in order, with the compiler off: ``python draw_log.py SEED VARIANTS_JSON OUTPUT``."""

import json
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import cascade_sim as cs
import cascade_sim.model  # every module that draws, before a spy takes its place
from cascade_sim.core.actors import background as flow
from cascade_sim.core.drivers.state import State
from cascade_sim.core.ground import rng
from cascade_sim.core.ground.compile import compilation_enabled

Address = tuple[str, int, int, int]
"""Purpose, step (or epoch), entity, draw."""

BASE: Mapping[str, Any] = {
    "run.steps": 30,
    "run.burn_in_steps": 5,
    "traders.count": 60,
    "traders.open_interest": 6_000.0,
    "traders.entrants.quantity": 80.0,
    "clearing.insurance_fund": 500.0,
    "dealers.count": 3,
    "dealers.hedging": {"name": "clock", "interval_seconds": 4.0},
    "liquidity.count": 4,
    "options.strikes": 6,
    "background.patient_orders": 120,
    "background.patient_lifetime_seconds": 120.0,
    "shock.at_seconds": 4.0,
    "shock.duration_seconds": 8.0,
    "shock.quantity": 2_000.0,
    "shock.news": -0.05,
}
"""A gamma_shock that hedges and liquidates within 30 steps."""


@dataclass
class DrawLog:
    """What a run drew and what it came to.

    Attributes
    ----------
    draws : list of (address, word)
        In the order in which they were drawn.
    orders : list of (step, order type, lots)
        Background orders in the order in which they were sent.
    providers : list of (half-spread, threshold, loss limit)
        As opened.
    fundamental, mid : list of float
        One value per step, ticks.
    totals : dict
        Hedges, liquidated accounts and trades of the run.
    """

    draws: list[tuple[Address, int]] = field(default_factory=list)
    orders: list[tuple[int, int, int]] = field(default_factory=list)
    providers: list[tuple[float, float, int]] = field(default_factory=list)
    fundamental: list[float] = field(default_factory=list)
    mid: list[float] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)


def _purposes() -> dict[int, str]:
    """Names of the purposes by number, without their common beginning."""
    prefix = "PURPOSE_"
    return {int(number): name[len(prefix) :] for name, number in vars(rng).items() if name.startswith(prefix)}


class _Spy:
    """Takes the place of `rng.word` and of the background's order entry wherever they were imported."""

    def __init__(self, log: DrawLog, seed: int, steps: range) -> None:
        self.log = log
        self.word = rng.word
        self.place = flow.place
        self.streams = {
            int(rng.stream(seed, number, step)): (name, step)
            for number, name in _purposes().items()
            for step in steps
        }

    def draw(self, key: Any, entity: Any, draw: Any) -> Any:
        """Note the address and the word; a key that no purpose and step explains is an error."""
        value = self.word(key, entity, draw)
        name, step = self.streams[int(key)]
        self.log.draws.append(((name, step, int(entity), int(draw)), int(value)))
        return value

    def order(self, w: Any, *arguments: Any) -> Any:
        """Note step, type and size of a background order."""
        size, kind = arguments[7], arguments[8]
        self.log.orders.append((int(w.control.step), int(kind), int(size)))
        return self.place(w, *arguments)

    def install(self) -> None:
        """Replace the functions in every module that holds them."""
        for name, module in list(sys.modules.items()):
            if name.startswith("cascade_sim.") and getattr(module, "word", None) is self.word:
                module.word = self.draw  # type: ignore[attr-defined]
        flow.place = self.order

    def remove(self) -> None:
        """Put the functions back."""
        for name, module in list(sys.modules.items()):
            if name.startswith("cascade_sim.") and getattr(module, "word", None) == self.draw:
                module.word = self.word  # type: ignore[attr-defined]
        flow.place = self.place


def record(changes: Mapping[str, Any], seed: int = 3) -> DrawLog:
    """Run `BASE` with changes and return everything that was drawn.

    Raises
    ------
    RuntimeError
        When kernels are compiled: their calls cannot be seen.
    """
    if compilation_enabled():
        raise RuntimeError("expected NUMBA_DISABLE_JIT=1")
    scenario = cs.load_scenario("gamma_shock").with_overrides({**BASE, **changes})
    log = DrawLog()
    key = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    spy = _Spy(log, key, range(-scenario.run.burn_in_steps - 1, scenario.run.steps + 1))
    spy.install()
    try:
        model = cs.CascadeModel(scenario, rng=seed)
        state: State = model.state
        rows = state.world.providers[: int(state.world.config.providers.count)]
        log.providers = [(float(r.half_spread), float(r.threshold), int(r.loss_limit)) for r in rows]
        model.run()
    finally:
        spy.remove()
    model.recorder.drain(state.tape)
    series = model.recorder.raw("series")
    log.fundamental, log.mid = series["fundamental"].tolist(), series["mid"].tolist()
    log.totals = {
        "hedges": int(state.world.dealers["hedges"].sum()),
        "liquidated": int(state.world.totals.liquidated_accounts),
        "trades": int(state.world.totals.trades),
    }
    return log


if __name__ == "__main__":
    variants = json.loads(sys.argv[2])
    logs = {name: vars(record(changes, int(sys.argv[1]))) for name, changes in variants.items()}
    Path(sys.argv[3]).write_bytes(pickle.dumps(logs))
