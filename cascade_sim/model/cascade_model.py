"""The model as Mesa sees it, and the agents written in Python that only it can have."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

import mesa

from cascade_sim.agents import base
from cascade_sim.agents.cohort import Cohort
from cascade_sim.agents.participant import Participant
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.model.joining import join, scenario_groups
from cascade_sim.model.reporters import REPORTERS
from cascade_sim.model.simulation import Simulation
from cascade_sim.scenario import Scenario, as_scenario

__all__ = ["CascadeModel"]

_SEATED: dict[type[base.Population], type[base.Population]] = {}
"""Classes of populations -> the same as agents of Mesa's."""


class CascadeModel(Simulation, mesa.Model):  # type: ignore[misc]  # Mesa publishes no types
    """A world of one or several markets with everything that acts on them: a `mesa.Model`.

    `mesa.batch_run` and loops of one's own find here what they look for: ``step()``, ``running``, and a ``datacollector`` that
    has collected ``reporters`` after each step. Whoever puts another collector in its place calls it as well. The
    compiled :meth:`run` collects nothing; its record is :meth:`result`.

    Parameters
    ----------
    settings : Scenario, str or path
        What to simulate; text and paths as for `cascade_sim.load_scenario`. Mesa has a ``scenario`` of its own, as an
        attribute and as an argument with which its dashboard builds a model anew; nothing here goes by that name, and no
        argument takes any.
    rng : int, optional
        Seed; any text of digits is accepted as well. None, which Mesa hands over where no seed was given, draws one:
        ``seed`` says which.
    overrides : mapping, optional
        Values by dotted path, see `Scenario.with_overrides`.

    Attributes
    ----------
    reporters : mapping
        Function of the model by the name of its column; a subclass may have its own.

    Raises
    ------
    ScenarioError, DataFileError
        If a rule, parameter or input file is wrong; nothing has run then.
    """

    reporters: Mapping[str, Callable[[Any], Any]] = REPORTERS

    def __init__(
        self,
        settings: Scenario | str | PathLike[str],
        rng: int | str | None = 0,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        settings = _settings(settings, overrides)
        rng = _seed(rng)
        mesa.Model.__init__(self, rng=rng & 0xFFFFFFFF)
        groups = {name: scenario_groups(own) for name, own in settings.market_scenarios().items()}
        super().__init__(settings, rng)
        for name, wanted in groups.items():
            for group in wanted:
                for agent in group.create(self):
                    join(self, agent, self.markets[name], group.path)
        self.datacollector = self._own_collector = mesa.DataCollector(model_reporters=dict(self.reporters))

    def step(self) -> None:
        """Make one step, phase by phase, in the order that is part of the public contract, and collect the reporters."""
        super().step()
        self.running = not self.finished
        if self.datacollector is self._own_collector:
            self.datacollector.collect(self)

    def run(self, until: int | None = None, progress: Callable[[int, int], None] | None = None) -> None:
        """Advance to the start of step ``until`` (default: the end) in compiled code, which collects no reporters.

        Parameters
        ----------
        until : int, optional
            Step number; the run stops before it.
        progress : callable, optional
            Called with (steps done, steps in all), burn-in included.
        """
        super().run(until, progress)
        self.running = not self.finished

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


def _settings(given: Any, overrides: Any) -> Scenario:
    """Return the scenario to simulate; says what happened where Mesa took one apart."""
    if not isinstance(given, Scenario | str | PathLike):
        expected = (
            "a Scenario, a name or a path (several, or a single Scenario, go to mesa.batch_run in a list)"
        )
        raise ScenarioError(expectation("settings", expected, given))
    scenario = as_scenario(given)
    if overrides is None:
        return scenario
    if not isinstance(overrides, Mapping):
        expected = "a mapping of paths to values (which goes to mesa.batch_run in a list)"
        raise ScenarioError(expectation("overrides", expected, overrides))
    return scenario.with_overrides(overrides)


def _seed(given: Any) -> int:
    if given is None:
        return secrets.randbits(32)
    try:
        number = int(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise ScenarioError(expectation("rng", "a whole number", given)) from error
    if not isinstance(given, str) and number != given:
        raise ScenarioError(expectation("rng", "a whole number", given))
    return number


def _with_a_seat(kind: type[base.Population]) -> type[base.Population]:
    """Return the subclass of a population's class, of the same name, that Mesa lists among the agents of a model."""

    def begin(self: Any, model: mesa.Model, first_account: int, count: int) -> None:
        mesa.Agent.__init__(self, model)
        kind.__init__(self, model, first_account, count)

    members = {"__init__": begin, "__doc__": kind.__doc__, "__module__": kind.__module__}
    return type(kind.__name__, (kind, mesa.Agent), members)
