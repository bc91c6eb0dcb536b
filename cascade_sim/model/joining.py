"""How agents written in Python join a market: found by name, given accounts, and a place at its desk."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from cascade_sim.agents.cohort import Cohort
from cascade_sim.agents.desk import entity_of
from cascade_sim.agents.participant import Participant
from cascade_sim.core import layout as lay
from cascade_sim.domain.components import error_text, import_name
from cascade_sim.domain.enums import AccountClass
from cascade_sim.domain.errors import CascadeError, ScenarioError, expectation
from cascade_sim.domain.parameters import REFUSED, converted, type_text
from cascade_sim.model.market import PARTICIPANT_ACCOUNTS, Market
from cascade_sim.registry import import_class
from cascade_sim.scenario import Scenario

Agent = Participant | Cohort
_MOST_ACCOUNTS = 1 << 24


class World(Protocol):
    """What joining needs of a model."""

    def market_named(self, name: str) -> Market:
        """Return a market of the world."""
        ...

    def make_room(self, accounts: int) -> None:
        """Give every market at least so many rows of accounts."""
        ...


@dataclass(frozen=True)
class Group:
    """Agents of one kind that a scenario asks for: where it says so, their class, how many, and their parameters."""

    path: str
    kind: type[Any]
    count: int
    parameters: Mapping[str, Any]

    def create(self, model: Any) -> Iterator[Agent]:
        """Yield the agents: as many participants as wanted, or one cohort of as many accounts."""
        if issubclass(self.kind, Cohort):
            yield self._made(model, count=self.count)
        else:
            for _ in range(self.count):
                yield self._made(model)

    def _made(self, model: Any, **further: int) -> Agent:
        try:
            made: Agent = self.kind(model, **self.parameters, **further)
        except (CascadeError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise ScenarioError(
                f"{self.path}: {import_name(self.kind)} raised {error_text(error)}"
            ) from error
        return made


def scenario_groups(scenario: Scenario) -> list[Group]:
    """Find the classes of the agents that a scenario names, and check their parameters.

    Raises
    ------
    ScenarioError
        If a name leads to no agent, or a parameter is refused.
    """
    groups = []
    for label, entry in scenario.agents.items():
        path = f"agents.{label}"
        kind = import_class(path, entry.name)
        if not issubclass(kind, Participant | Cohort) or kind in (Participant, Cohort):
            expected = "a class that extends cascade_sim.Participant or cascade_sim.Cohort"
            raise ScenarioError(expectation(f"{path}.name", expected, entry.name))
        _require_decide(kind, f"{path}.name")
        groups.append(Group(path, kind, entry.count, _parameters(path, kind, entry.parameters)))
    return groups


def _require_decide(kind: type[Any], where: str) -> None:
    """Refuse a class of agents that does not say what they do."""
    base = Cohort if issubclass(kind, Cohort) else Participant
    if not callable(getattr(kind, "decide", None)) or kind.decide is base.decide:
        expected = f"a {base.__name__} with a method decide(self, market) of its own"
        raise ScenarioError(expectation(where, expected, import_name(kind)))


def _parameters(path: str, kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Check parameters against the annotated attributes of a class, or against its own constructor where it has one."""
    base = Cohort if issubclass(kind, Cohort) else Participant
    if kind.__init__ is base.__init__:
        found: dict[str, Any] = kind.checked(given, path)
        return found
    arguments = list(inspect.signature(kind.__init__).parameters.values())[2:]
    named = {
        each.name: each for each in arguments if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }
    rest = any(each.kind is each.VAR_KEYWORD for each in arguments)
    further = {name: value for name, value in given.items() if name not in named}
    if further and not rest:
        raise ScenarioError(
            expectation(path, f"a parameter of {import_name(kind)}", next(iter(further)), named)
        )
    values = dict(kind.checked(further, path)) if rest else {}
    hints = inspect.get_annotations(kind.__init__, eval_str=True)
    for name, argument in named.items():
        if name in given:
            values[name] = converted(hints.get(name, Any), given[name])
            if values[name] is REFUSED:
                raise ScenarioError(expectation(f"{path}.{name}", type_text(hints[name]), given[name]))
        elif argument.default is argument.empty and not (name == "count" and base is Cohort):
            raise ScenarioError(f"{path}.{name}: expected a value, received nothing")
    return values


def join(model: World, agent: Agent, home: Market, label: str | None = None) -> None:
    """Give an agent its accounts, in its own market and in those that it names, and let it act.

    Parameters
    ----------
    model : World
    agent : Participant or Cohort
    home : Market
        The market in whose trading phase it acts.
    label : str, optional
        Draws of equal agents are told apart by label and number; by default the name of the class.

    Raises
    ------
    ScenarioError
        If it has joined already, or its capital is out of range.
    UnknownNameError
        If it names a market that does not exist.
    """
    where = f"{agent.noun} {import_name(type(agent))}"
    _require_decide(type(agent), where)
    if not hasattr(agent, "views"):  # the last thing that the constructor of the base sets
        base = Cohort if isinstance(agent, Cohort) else Participant
        expected = f"an agent whose __init__ calls that of {base.__name__} (super().__init__(model, ...))"
        raise ScenarioError(expectation(where, expected, "one that does not"))
    if agent.views:
        raise ScenarioError(expectation(where, "an agent that has not joined yet", "one that has"))
    markets = [home]
    for name in agent.also_in:
        other = model.market_named(name)
        if other in markets:
            raise ScenarioError(
                expectation(f"{where}.also_in", "other markets than its own, once each", name)
            )
        markets.append(other)
    for market in markets:
        _join_one(model, agent, market, label or import_name(type(agent)), acts=market is home)
    first = agent.views[home.desk.name].first_account
    if isinstance(agent, Cohort):
        agent.first_account = first
    else:
        agent.account = first


def _join_one(model: World, agent: Agent, market: Market, label: str, *, acts: bool) -> None:
    where = f"{agent.noun} {import_name(type(agent))}.capital"
    if not agent.capital >= 0.0:
        raise ScenarioError(expectation(where, "an amount of at least 0", agent.capital))
    first = _take_accounts(model, market, agent.account_count)
    ids = np.arange(first, first + agent.account_count)
    accounts, world = market.state.accounts, market.state.world
    accounts["account_class"][ids] = AccountClass.PARTICIPANT
    accounts["traits"][ids] |= lay.FLAG_AGENT | agent.margined * (lay.FLAG_MARGINED | lay.FLAG_ACTIVE)
    market.opened.append(market.opening.bring_in(ids, market.instrument.cash_to_atoms(agent.capital)))
    number = market.kinds.get(label, 0)
    market.kinds[label] = number + agent.account_count
    view = agent.open_view(market.desk, first)
    market.desk.join(agent if acts else None, view, ids, entity_of(crc32(label.encode()), number))
    if acts:
        market.participants.append(agent)
        world.config.participants = len(market.participants)
        due = min(view.due, int(world.control.next_agents)) if len(market.participants) > 1 else view.due
        world.control.next_agents = due
    if market.settings.run.burn_in_steps == 0:
        market.note_start()


def _take_accounts(model: World, market: Market, count: int) -> int:
    """Return the first of ``count`` fresh accounts in a row: of those kept for agents, or behind all others."""
    if market.agent_accounts + count <= PARTICIPANT_ACCOUNTS:
        first = market.first_participant + market.agent_accounts
        market.agent_accounts += count
        return first
    first = market.account_count
    if first + count > _MOST_ACCOUNTS:
        raise ScenarioError(expectation("accounts", f"at most {_MOST_ACCOUNTS} in a market", first + count))
    market.account_count += count
    model.make_room(market.account_count)
    return first
