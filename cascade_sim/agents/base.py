"""What every compiled population shares: the opening of a world, and their base."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.core.drivers.opening import Opener
from cascade_sim.core.drivers.state import State, plain
from cascade_sim.core.layout.kinds import kinds_of
from cascade_sim.core.layout.opening import OPENED
from cascade_sim.domain.enums import AccountClass, TransferKind
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import ATOMS_PER_UNIT
from cascade_sim.scenario import Scenario

if TYPE_CHECKING:
    from cascade_sim.clearing.brackets import BracketTable
    from cascade_sim.options.contracts import OptionGrid

Integers = NDArray[np.int64]


def check_capital(amount: float) -> None:
    """Refuse collateral (atoms, of all accounts of a class together) beyond which sums could wrap."""
    if not amount <= lay.LARGEST_CASH:
        expected = f"at most {lay.LARGEST_CASH / ATOMS_PER_UNIT:.3g} of the quote currency in a class"
        raise ScenarioError(expectation("capital", expected, amount / ATOMS_PER_UNIT))


class Opening:
    """A world before its first step, while every population writes down what it is and how it opens.

    Attributes
    ----------
    scenario, instrument, state
        What is being set up.
    plan : record of opening_layout.PLAN
        What the compiled opening draws its numbers from.
    initial_tick : int
        Price at the start.
    options
        Grid and inventory of all dealers together, or None without any.
    brackets
        Margin brackets, or None for a single tier.
    sizes : layout.Sizes
        Size class of the state.
    """

    def __init__(
        self,
        scenario: Scenario,
        instrument: Instrument,
        state: State,
        initial_tick: int,
        options: tuple[OptionGrid, NDArray[np.float64]] | None,
        brackets: BracketTable | None = None,
        sizes: lay.Sizes = lay.STANDARD,
    ) -> None:
        self.scenario = scenario
        self.instrument = instrument
        self.state = state
        self.initial_tick = initial_tick
        self.options = options
        self.brackets = brackets
        self.plans: Any = np.zeros(1, kinds_of(sizes).plan).view(np.recarray)
        self.plan: Any = self.plans[0]
        self.plan.initial_tick = initial_tick

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

    def deposit(self, first_account: int, count: int, amount: int) -> None:
        """Let each of ``count`` accounts from ``first_account`` bring in ``amount`` atoms of collateral."""
        check_capital(float(abs(amount)) * count)
        grant = self.plan.grant[int(self.plan.grants)]
        grant.first_account, grant.accounts, grant.amount = first_account, count, amount
        self.plan.grants += 1

    def open_world(self, opener: Opener, record: bool) -> NDArray[Any]:
        """Open every account from the seed in the configuration.

        Parameters
        ----------
        opener : Opener
            Of the market's arrays and :attr:`plans`.
        record : bool
            Whether to write the transfers down.

        Returns
        -------
        recarray of layout.TRANSFER
            In order; empty unless ``record``.

        Raises
        ------
        ScenarioError
            If this seed asks for more collateral than balances may hold.
        """
        # Nobody is party to more than a deposit, a premium and a position.
        transfers = np.zeros(3 * len(self.state.accounts) if record else 0, lay.TRANSFER).view(np.recarray)
        if opener.open_accounts(plain(transfers)) != OPENED:
            check_capital(float(self.plan.refused))
        return transfers[: int(self.state.world.control.next_transfer)].copy()

    def bring_in(self, ids: Integers, amount: int) -> NDArray[Any]:
        """Bring collateral (atoms, not negative) of each of some more accounts (n,) in from outside; returns transfers (n,)."""
        check_capital(float(amount) * len(ids))
        accounts, world = self.state.accounts, self.state.world
        external = int(world.config.external_account)
        accounts["cash"][external] -= amount * len(ids)
        accounts["cash"][ids] += amount
        accounts["collateral"][ids] += amount
        rows = np.zeros(len(ids), lay.TRANSFER).view(np.recarray)
        rows.transfer_id = int(world.control.next_transfer) + np.arange(len(ids))
        rows.step = -max(1, self.scenario.run.burn_in_steps)
        rows.kind, rows.event, rows.trade = int(TransferKind.COLLATERAL), lay.NO_EVENT, -1
        rows.from_account, rows.to_account, rows.amount = external, ids, amount
        world.control.next_transfer += len(ids)
        return rows


class Population:
    """A block of accounts whose behaviour is compiled; in a `CascadeModel` it is one agent of Mesa's.

    A subclass says how many accounts it needs, and sets them and its part of the configuration up.
    """

    account_class: ClassVar[AccountClass]

    def __init__(self, _model: Any, first_account: int, count: int) -> None:
        self.first_account = first_account
        self.count = count

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Return the number of accounts that the scenario asks for."""
        raise NotImplementedError(f"{cls.__name__} must say how many accounts it needs")

    @property
    def accounts(self) -> Integers:
        """Ids of the population's accounts."""
        return np.arange(self.first_account, self.first_account + self.count, dtype=np.int64)

    def open(self, opening: Opening) -> None:
        """Write the population's configuration, and what the compiled opening of its accounts draws from."""
