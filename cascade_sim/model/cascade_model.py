"""The model as Mesa sees it, and the agents written in Python that only it can have."""

from __future__ import annotations

from typing import Any

import mesa

from cascade_sim.agents import base
from cascade_sim.agents.cohort import Cohort
from cascade_sim.agents.participant import Participant
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.model.joining import join, scenario_groups
from cascade_sim.model.simulation import Simulation
from cascade_sim.scenario import Scenario

__all__ = ["CascadeModel"]

_SEATED: dict[type[base.Population], type[base.Population]] = {}
"""Classes of populations -> the same as agents of Mesa's."""


class CascadeModel(Simulation, mesa.Model):  # type: ignore[misc]  # Mesa publishes no types
    """A world of one or several markets with everything that acts on them: a `mesa.Model`.

    Parameters
    ----------
    settings : Scenario
        Fully resolved. Mesa has a ``scenario`` of its own, as an attribute and as an argument with which its
        dashboard builds a model anew; nothing here goes by that name.
    rng : int
        Seed; any text of digits is accepted as well.

    Raises
    ------
    ScenarioError, DataFileError
        If a rule, parameter or input file is wrong; nothing has run then.
    """

    def __init__(self, settings: Scenario, rng: int | str = 0) -> None:
        mesa.Model.__init__(self, rng=int(rng) & 0xFFFFFFFF)
        groups = {name: scenario_groups(own) for name, own in settings.market_scenarios().items()}
        super().__init__(settings, rng)
        for name, wanted in groups.items():
            for group in wanted:
                for agent in group.create(self):
                    join(self, agent, self.markets[name], group.path)

    def seat(self, kind: type[base.Population]) -> type[base.Population]:
        """Return the class of a population that is one agent of Mesa's as well."""
        if kind not in _SEATED:
            _SEATED[kind] = _with_a_seat(kind)
        return _SEATED[kind]

    def add_participant(self, participant: Participant, market: str | None = None) -> Participant:
        """Let an agent written in Python trade; returns it.

        Parameters
        ----------
        participant : Participant
        market : str, optional
            Name of a further market; the first by default.

        Raises
        ------
        ScenarioError
            If the run has begun, or the participant has joined already.
        UnknownNameError
            If there is no such market.
        """
        self._admit(participant, Participant, market)
        return participant

    def add_cohort(self, cohort: Cohort, market: str | None = None) -> Cohort:
        """Let a cohort written in numpy trade; as :meth:`add_participant`."""
        self._admit(cohort, Cohort, market)
        return cohort

    def _admit(self, agent: Any, kind: type[Any], market: str | None) -> None:
        label = kind.noun
        if not isinstance(agent, kind):
            raise ScenarioError(expectation(label, f"a {kind.__name__}", type(agent).__name__))
        if self.step_number != -self.settings.run.burn_in_steps or self.state.world.control.phase != 0:
            raise ScenarioError(expectation(label, f"{label}s before the first step", "later"))
        join(self, agent, self.main if market is None else self.market_named(market))


def _with_a_seat(kind: type[base.Population]) -> type[base.Population]:
    """Return the subclass of a population's class, of the same name, that Mesa lists among the agents of a model."""

    def begin(self: Any, model: mesa.Model, first_account: int, count: int) -> None:
        mesa.Agent.__init__(self, model)
        kind.__init__(self, model, first_account, count)

    members = {"__init__": begin, "__doc__": kind.__doc__, "__module__": kind.__module__}
    return type(kind.__name__, (kind, mesa.Agent), members)
