"""What every agent shares: the opening of a world, and the two bases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import mesa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from cascade_sim.agents.desk import OrderDesk
from cascade_sim.agents.parameters import Parameters
from cascade_sim.agents.participant import ParticipantMarket
from cascade_sim.core import layout as lay
from cascade_sim.core.state import State
from cascade_sim.domain.enums import AccountClass, TransferKind
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.scenario import Scenario

if TYPE_CHECKING:
    from cascade_sim.clearing.brackets import BracketTable
    from cascade_sim.options.contracts import OptionGrid

Integers = NDArray[np.int64]


class Opening:
    """A world before its first step: accounts get collateral and positions here, every atom from a named account.

    Attributes
    ----------
    scenario, instrument, state
        What is being set up.
    initial_tick : int
        Price at the start.
    options
        Grid and inventory of all dealers together, or None without any.
    brackets
        Margin brackets, or None for a single tier.
    """

    def __init__(
        self,
        scenario: Scenario,
        instrument: Instrument,
        state: State,
        initial_tick: int,
        options: tuple[OptionGrid, NDArray[np.float64]] | None,
        brackets: BracketTable | None = None,
    ) -> None:
        self.scenario = scenario
        self.instrument = instrument
        self.state = state
        self.initial_tick = initial_tick
        self.options = options
        self.brackets = brackets
        self.holders: Integers = np.zeros(0, np.int64)
        self._transfers: list[NDArray[Any]] = []

    def memory(self, seconds: float) -> float:
        """Weight of the newest observation of an exponential average, per step."""
        return 1.0 - math.exp(-self.scenario.run.dt / seconds) if seconds > 0.0 else 1.0

    def steps(self, seconds: float) -> int:
        """Whole steps nearest to a time."""
        return round(seconds / self.scenario.run.dt)

    def ticks(self, price: float) -> float:
        """Price in ticks, not rounded."""
        return price / self.instrument.tick_size

    def lots(self, quantity: float) -> float:
        """Quantity in lots, not rounded."""
        return quantity / self.instrument.lot_size

    def _book(self, source: ArrayLike, target: ArrayLike, amounts: Integers, kind: TransferKind) -> None:
        source, target, amounts = np.broadcast_arrays(
            np.asarray(source, np.int64), np.asarray(target, np.int64), np.asarray(amounts, np.int64)
        )
        cash = self.state.accounts["cash"]
        np.subtract.at(cash, source, amounts)
        np.add.at(cash, target, amounts)
        rows = np.zeros(len(amounts), lay.TRANSFER)
        negative = amounts < 0
        rows["from_account"] = np.where(negative, target, source)
        rows["to_account"] = np.where(negative, source, target)
        rows["amount"] = np.abs(amounts)
        rows["kind"] = int(kind)
        rows["event"] = lay.NO_EVENT
        rows["trade"] = -1
        rows["step"] = -max(1, self.scenario.run.burn_in_steps)
        self._transfers.append(rows[rows["amount"] > 0])

    def deposit(self, accounts: ArrayLike, amounts: ArrayLike) -> None:
        """Bring collateral (atoms) in from outside."""
        ids = np.atleast_1d(np.asarray(accounts, np.int64))
        gross = float(np.broadcast_to(np.abs(np.asarray(amounts, np.float64)), ids.shape).sum())
        if gross > lay.LARGEST_CASH:
            expected = f"at most {lay.LARGEST_CASH / ATOMS_PER_UNIT:.3g} of the quote currency in a class"
            raise ScenarioError(expectation("capital", expected, gross / ATOMS_PER_UNIT))
        values = np.broadcast_to(np.asarray(amounts, np.int64), ids.shape)
        external = np.full(len(ids), int(self.state.world.config.external_account))
        self._book(external, ids, values, TransferKind.COLLATERAL)
        np.add.at(self.state.accounts["collateral"], ids, values)

    def pay(self, source: int, target: int, amount: int, kind: TransferKind) -> None:
        """Move cash (atoms, either sign) between two accounts."""
        self._book(np.array([source]), np.array([target]), np.array([amount]), kind)

    def open_positions(self, accounts: Integers, lots: Integers, ticks: Integers) -> None:
        """Open signed positions at given prices against the unlevered holders, in turn."""
        others = self.holders[np.arange(len(accounts)) % len(self.holders)]
        amounts = lots * ticks * self.instrument.atoms_per_tick_lot
        self._book(accounts, others, amounts, TransferKind.VARIATION)
        rows = self.state.accounts
        value = rows["entry_tick"] * rows["position"]
        np.add.at(value, accounts, (lots * ticks).astype(np.float64))
        np.add.at(value, others, -(lots * ticks).astype(np.float64))
        np.add.at(rows["position"], accounts, lots)
        np.subtract.at(rows["position"], others, lots)
        held = rows["position"] != 0
        rows["entry_tick"][held] = np.abs(value[held] / rows["position"][held])

    @property
    def transfer_count(self) -> int:
        """Number of opening transfers so far."""
        return sum(map(len, self._transfers))

    def transfers(self) -> NDArray[Any]:
        """Return every opening transfer, in order."""
        return np.concatenate(self._transfers) if self._transfers else np.zeros(0, lay.TRANSFER)


class Cohort(mesa.Agent):  # type: ignore[misc]  # Mesa publishes no types
    """One Mesa agent for a block of accounts whose behaviour is compiled.

    A subclass says how many accounts it needs, and sets them and its part of the configuration up.
    """

    account_class: ClassVar[AccountClass]

    def __init__(self, model: mesa.Model, first_account: int, count: int) -> None:
        super().__init__(model)
        self.first_account = first_account
        self.count = count

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Return the number of accounts that the scenario asks for."""
        raise NotImplementedError(f"{cls.__name__} must say how many accounts it needs")

    @property
    def accounts(self) -> Integers:
        """Ids of the cohort's accounts."""
        return np.arange(self.first_account, self.first_account + self.count, dtype=np.int64)

    def open(self, opening: Opening) -> None:
        """Configure the cohort and open its accounts."""


class Participant(Parameters, mesa.Agent):  # type: ignore[misc]  # Mesa publishes no types
    """A trader written in Python, with one account; subclasses override :meth:`decide`.

    It sees the market as the trading phase began. Its orders enter before the compiled discretionary traders. Annotated
    attributes of a subclass are its parameters.

    Parameters
    ----------
    model : CascadeModel
        The model it joins, before the first step.
    capital : float
        Quote currency, brought in from outside.
    margined : bool
        Whether the clearing house closes the account when its equity falls below its maintenance margin. Nothing stops
        it from taking on more than that; without a margin it may owe without limit.
    **parameters
        Of the subclass.

    Attributes
    ----------
    wake_every_seconds : float, optional
        Time between two decisions; every step by default.
    also_in : sequence of str
        Further markets in which it has an account as well, with the same capital again.
    account : int
        Its account in its own market.
    """

    noun = "participant"
    capital: float = 1e6
    margined: bool = False
    wake_every_seconds: float | None = None
    also_in: tuple[str, ...] = ()
    account = -1
    account_count = 1

    def __init__(self, model: mesa.Model, capital: float | None = None, **parameters: Any) -> None:
        mesa.Agent.__init__(self, model)
        given = parameters if capital is None else {"capital": capital, **parameters}
        self.set_parameters(given)
        self.views: dict[str, ParticipantMarket] = {}

    def view_of(self, desk: OrderDesk) -> ParticipantMarket:
        """Return a market as this participant sees it."""
        if desk.name not in self.views:
            self.views[desk.name] = ParticipantMarket(desk, self, -1)
        return self.views[desk.name]

    def open_view(self, desk: OrderDesk, first_account: int) -> ParticipantMarket:
        """Return the market in which the participant has the account ``first_account``."""
        self.views[desk.name] = view = ParticipantMarket(desk, self, first_account)
        return view

    def decide(self, market: ParticipantMarket) -> None:
        """Look at ``market`` and send orders with ``market.buy`` and ``market.sell``."""
        raise NotImplementedError(f"{type(self).__name__} must decide what to do each step")
