"""Agents for tests of agents: what they do is told in a line each."""

from collections.abc import Callable
from typing import Any

import numpy as np

import cascade_sim as cs

HERE = __name__
SMALL = {
    "run.steps": 60,
    "run.burn_in_steps": 10,
    "run.event_window_seconds": None,
    "traders.count": 60,
    "traders.open_interest": 4000.0,
    "dealers.count": 0,
    "liquidity.count": 4,
    "options.strikes": 6,
    "shock.at_seconds": 10.0,
    "shock.duration_seconds": 20.0,
    "shock.quantity": 500.0,
}
BUY, SELL = cs.Side.BUY, cs.Side.SELL


def small(**changes: Any) -> cs.Scenario:
    return cs.load_scenario("gamma_shock").with_overrides({**SMALL, **changes})


class Scripted(cs.Participant):
    """Calls a function with the market in each step, and keeps what it returns."""

    script: Any = None

    def decide(self, market: Any) -> None:
        """Follow the script."""
        self.seen = {**getattr(self, "seen", {}), market.step: self.script(market)}


class Idle(cs.Participant):
    """Never trades."""

    def decide(self, market: Any) -> None:
        """Look and do nothing."""
        assert market.position == 0.0


class Noise(cs.Participant):
    """Trades at random, cancels now and then."""

    quantity: float = 2.0

    def decide(self, market: Any) -> None:
        """Send limit orders around the mid."""
        if market.uniform(1) < 0.2:
            market.cancel_all()
        price = market.mid + 20.0 * market.tick_size * (market.uniform(2) - 0.5)
        (market.buy if market.uniform(0) < 0.5 else market.sell)(self.quantity, price)


class NoiseCohort(cs.Cohort):
    """The same for many accounts."""

    quantity: float = 2.0

    def decide(self, market: Any) -> None:
        """Send limit orders around the mid."""
        market.cancel_all(np.flatnonzero(market.uniform(1) < 0.2))
        price = market.mid + 20.0 * market.tick_size * (market.uniform(2) - 0.5)
        market.submit(np.where(market.uniform(0) < 0.5, 1, -1), self.quantity, price, cs.OrderType.LIMIT)


class Bold(Noise):
    """Noise that sends market orders where a limit around the mid would be no price."""

    def decide(self, market: Any) -> None:
        """Trade in any market."""
        if 20.0 * market.tick_size < market.mid < 26_000.0:
            super().decide(market)
        else:
            (market.buy if market.uniform(0) < 0.5 else market.sell)(self.quantity)


class BoldCohort(NoiseCohort):
    """The same for many accounts."""

    def decide(self, market: Any) -> None:
        """Trade in any market."""
        if 20.0 * market.tick_size < market.mid < 26_000.0:
            super().decide(market)
        else:
            market.submit(np.where(market.uniform(0) < 0.5, 1, -1), self.quantity)


class Gamblers(cs.Cohort):
    """Buy nearly all that initial margin lets them at once and hold."""

    margined = True
    capital: float = 100.0

    def decide(self, market: Any) -> None:
        """Buy in step 0."""
        if market.step == 0:
            market.buy(48.0 * self.capital / market.mark)


class Clock(cs.Participant):
    """Notes when it is woken."""

    wake_every_seconds = 7.0

    def decide(self, market: Any) -> None:
        """Note the step."""
        self.woken = [*getattr(self, "woken", []), market.step]


class Needy(cs.Participant):
    """Has a parameter without default and a constructor of its own kind in a subclass."""

    depth: int

    def decide(self, market: Any) -> None:
        """Do nothing."""


class Builder(cs.Participant):
    """Takes its parameter in its constructor."""

    def __init__(self, model: cs.CascadeModel, levels: int) -> None:
        super().__init__(model)
        self.levels = levels

    def decide(self, market: Any) -> None:
        """Do nothing."""


def scripted(
    script: Callable[[Any], Any], until: int = 2, **changes: Any
) -> tuple[cs.CascadeModel, Scripted]:
    model = cs.CascadeModel(small(**{"run.burn_in_steps": 3, **changes}), rng=3)
    agent = Scripted(model, script=script)
    model.add_participant(agent)
    model.run(until=until)
    return model, agent


def fingerprint(model: cs.CascadeModel, without: tuple[int, ...] = ()) -> dict[str, bytes]:
    model.recorder.drain(model.state.tape)
    found = {}
    for name in ("series", "events", "trades"):
        table = model.recorder.raw(name)
        for field in table.dtype.names or ():
            values = np.ascontiguousarray(table[field])
            found[f"{name}.{field}"] = (
                np.nan_to_num(values).tobytes() if values.dtype.kind == "f" else values.tobytes()
            )
    for field in ("cash", "position", "outcome"):
        column = model.state.accounts[field][: model.account_count]
        found[f"accounts.{field}"] = np.delete(column, (0, *without)).tobytes()
    return found


def crowd(model: cs.CascadeModel) -> cs.CascadeModel:
    for quantity in (1.0, 2.0, 3.0, 40.0):
        model.add_participant(Noise(model, quantity=quantity))
    model.add_cohort(NoiseCohort(model, count=30, quantity=0.5))
    model.add_cohort(NoiseCohort(model, count=100, margined=True, capital=500.0))
    return model
