"""The same market of 1,000 agents written in Python, in each of the simulators that can be had with pip.

In every step each agent looks at the mid and sends one limit order for one lot, up to three ticks on either side of it;
the side alternates. What an order costs depends on how many rest, so slower programs are given fewer steps, not more.
"""

import contextlib
import importlib
import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

AGENTS = 1_000
START = 20_000
REACH = 7
QUIET = {
    "traders.count": 0,
    "traders.open_interest": 0.0,
    "dealers.count": 0,
    "shock.quantity": 0.0,
    "shock.news": 0.0,
}


@dataclass(frozen=True)
class AgentMarket:
    """One way to write agents in one program.

    Attributes
    ----------
    program, way
        What it is called.
    run : callable
        Takes agents and steps, returns orders sent and seconds of stepping; setting up is not counted.
    steps : int
        Steps of one measurement.
    module : str
        What must be importable.
    """

    program: str
    way: str
    run: Callable[[int, int], tuple[int, float]]
    steps: int
    module: str


def offset(agent: int, step: int) -> int:
    """Ticks between the mid and an agent's order."""
    return (agent // 2 + step) % REACH - REACH // 2


def buys(agent: int, step: int) -> bool:
    """Whether an agent's order of a step buys."""
    return (agent + step) % 2 == 1


def _quiet_model(steps: int) -> Any:
    cs = importlib.import_module("cascade_sim")
    short = {"run.steps": steps, "run.burn_in_steps": 2, "run.record": "summary"}
    return cs.CascadeModel(cs.load_scenario("gamma_shock").with_overrides(QUIET | short), rng=1)


def _timed(model: Any, orders: int) -> tuple[int, float]:
    model.run(until=0)
    began = time.perf_counter()
    model.run()
    seconds = time.perf_counter() - began
    model.close()
    return orders, seconds


@cache
def _own_agents() -> tuple[Any, Any]:
    participant = importlib.import_module("cascade_sim.agents.participant").Participant
    cohort = importlib.import_module("cascade_sim.agents.cohort").Cohort
    kinds = importlib.import_module("cascade_sim").OrderType

    class Quoter(participant):  # type: ignore[misc, valid-type]
        number: int = 0

        def decide(self, market: Any) -> None:
            step = market.step
            price = market.mid + market.tick_size * offset(self.number, step)
            if buys(self.number, step):
                market.buy(market.lot_size, price)
            else:
                market.sell(market.lot_size, price)

    class Quoters(cohort):  # type: ignore[misc, valid-type]
        def decide(self, market: Any) -> None:
            agents = np.arange(market.count)
            side = np.where((agents + market.step) % 2 == 1, 1, -1)
            ticks = (agents // 2 + market.step) % REACH - REACH // 2
            price = market.mid + market.tick_size * ticks
            market.submit(side, market.lot_size, price, kinds.LIMIT)

    return Quoter, Quoters


def participants(agents: int, steps: int) -> tuple[int, float]:
    """Every agent an object with a method, called in every step."""
    model = _quiet_model(steps)
    quoter = _own_agents()[0]
    for number in range(agents):
        model.add_participant(quoter(model, number=number))
    return _timed(model, agents * steps)


def cohort(agents: int, steps: int) -> tuple[int, float]:
    """All agents in one object that decides with numpy arrays."""
    model = _quiet_model(steps)
    model.add_cohort(_own_agents()[1](model, count=agents))
    return _timed(model, agents * steps)


@cache
def _bourse_agents() -> tuple[Any, Any]:
    bases = importlib.import_module("bourse").step_sim.agents

    class Quoter(bases.BaseAgent):  # type: ignore[misc, name-defined]
        def __init__(self, number: int) -> None:
            self.number, self.step = number, 0

        def update(self, rng: Any, env: Any) -> None:
            bid, ask = env.bid_ask
            mid = (bid + ask) // 2 if bid > 0 and ask < 2 * START else START
            price = mid + offset(self.number, self.step)
            env.place_order(buys(self.number, self.step), 1, self.number, price=price)
            self.step += 1

    class Quoters(bases.BaseNumpyAgent):  # type: ignore[misc, name-defined]
        def __init__(self, count: int) -> None:
            self.count, self.step = count, 0

        def update(self, rng: Any, level_2_data: Any) -> Any:
            bid, ask = int(level_2_data[1]), int(level_2_data[2])
            mid = (bid + ask) // 2 if bid > 0 and ask < 2 * START else START
            agents = np.arange(self.count, dtype=np.uint32)
            ticks = (agents // 2 + self.step) % REACH + (mid - REACH // 2)
            ones = np.ones(self.count, np.uint32)
            sides = (agents + self.step) % 2 == 1
            self.step += 1
            return ones, sides, ones, agents, ticks.astype(np.uint32), np.zeros(self.count, np.uint64)

    return Quoter, Quoters


def _run_bourse(env: Any, agents: list[Any], steps: int, use_numpy: bool) -> float:
    run = importlib.import_module("bourse").step_sim.run
    began = time.perf_counter()
    run(env, agents, steps, 1, show_progress=False, use_numpy=use_numpy)
    return time.perf_counter() - began


def bourse_agents(agents: int, steps: int) -> tuple[int, float]:
    """Every agent an object with a method, called in every step."""
    env = importlib.import_module("bourse").core.StepEnv(1, 0, 1, 10 * agents)
    quoter = _bourse_agents()[0]
    return agents * steps, _run_bourse(env, [quoter(number) for number in range(agents)], steps, False)


def bourse_arrays(agents: int, steps: int) -> tuple[int, float]:
    """All agents in one object that decides with numpy arrays."""
    env = importlib.import_module("bourse").core.StepEnvNumpy(1, 0, 1, 10 * agents)
    return agents * steps, _run_bourse(env, [_bourse_agents()[1](agents)], steps, True)


@cache
def _pams_agent() -> Any:
    base = importlib.import_module("pams.agents").Agent
    order = importlib.import_module("pams.order")

    class Quoter(base):  # type: ignore[misc, valid-type]
        def submit_orders(self, markets: Any) -> list[Any]:
            market, number = markets[0], self.agent_id
            step = market.get_time()
            price = round(market.get_mid_price() or market.get_market_price()) + offset(number, step)
            return [order.Order(number, 0, buys(number, step), order.LIMIT_ORDER, 1, price=price)]

    return Quoter


def _run_pams(agents: int, steps: int, settings: dict[str, Any], asked: int) -> tuple[int, float]:
    session = {
        "sessionName": 0,
        "iterationSteps": steps,
        "withOrderPlacement": True,
        "withOrderExecution": True,
    }
    session |= {"withPrint": False, "maxNormalOrders": asked, "maxHighFrequencyOrders": 0}
    price = {"marketPrice": float(START), "fundamentalPrice": float(START), "fundamentalVolatility": 0.0}
    everything = {
        "simulation": {"markets": ["Market"], "agents": ["Agents"], "sessions": [session]},
        "Market": {"class": "Market", "tickSize": 1.0, **price},
        "Agents": {
            "numAgents": agents,
            "markets": ["Market"],
            "assetVolume": 50,
            "cashAmount": 1e6,
            **settings,
        },
    }
    runners = importlib.import_module("pams.runners")
    runner = runners.SequentialRunner(everything, prng=random.Random(1))
    runner.class_register(_pams_agent())
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runner.main()
    market = runner.simulator.markets[0]
    orders = sum(market.get_n_buy_orders()) + sum(market.get_n_sell_orders())
    return orders, float(printed.getvalue().split()[-1])


def pams_agents(agents: int, steps: int) -> tuple[int, float]:
    """Every agent an object with a method, called in every step."""
    return _run_pams(agents, steps, {"class": "Quoter"}, agents)


def pams_fcn(agents: int, steps: int) -> tuple[int, float]:
    """Agents of its own (Chiarella and Iori 2002) as in its samples: three of them are asked in a step."""
    weights = {"fundamentalWeight": {"expon": [1.0]}, "chartWeight": {"expon": [0.0]}}
    weights |= {"noiseWeight": {"expon": [1.0]}}
    horizon = {"noiseScale": 0.001, "timeWindowSize": [100, 200], "orderMargin": [0.0, 0.1]}
    return _run_pams(agents, steps, {"class": "FCNAgent", **weights, **horizon}, 3)


AGENT_MARKETS = (
    AgentMarket("cascade_sim", "1,000 `Participant` objects", participants, 50, "cascade_sim.agents.cohort"),
    AgentMarket("cascade_sim", "one `Cohort` of 1,000 accounts", cohort, 50, "cascade_sim.agents.cohort"),
    AgentMarket("Bourse", "1,000 `BaseAgent` objects", bourse_agents, 50, "bourse"),
    AgentMarket("Bourse", "one `BaseNumpyAgent` for 1,000 agents", bourse_arrays, 50, "bourse"),
    AgentMarket("PAMS", "1,000 `Agent` objects", pams_agents, 3, "pams"),
    AgentMarket("PAMS", "1,000 `FCNAgent` objects, three asked in a step", pams_fcn, 300, "pams"),
)
"""Every way that is compared; the first is what the others are held against."""
