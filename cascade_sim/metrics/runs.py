"""What metrics are functions of: the figures of any number of runs of one scenario, a row each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.core.clearing.worth import equities
from cascade_sim.domain.enums import AccountClass, Stage
from cascade_sim.domain.instruments import Instrument
from cascade_sim.domain.units import ATOMS_PER_UNIT

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Runs:
    """Runs of one market, a row of :data:`layout.FIGURE_ROW` each.

    Attributes
    ----------
    rows : structured array, shape (n,)
        Ticks, lots, atoms and steps.
    instrument : Instrument
        Contract terms.
    dt : float
        Seconds per step.
    insurance_fund : float
        Capital of the insurance fund at the start, quote currency.
    """

    rows: NDArray[Any]
    instrument: Instrument
    dt: float
    insurance_fund: float

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.rows)

    def figure(self, name: str) -> NDArray[Any]:
        """Return what was kept while the runs ran, shape (n,); see :data:`layout.FIGURES`."""
        return np.asarray(self.rows["figures"][name])

    def total(self, name: str) -> NDArray[Any]:
        """Return a number of the runs as it stands in the rows, shape (n,)."""
        return np.asarray(self.rows[name])

    def cash(self, name: str) -> Floats:
        """Return an amount in quote currency, whole atoms, shape (n,)."""
        return np.asarray(np.trunc(self.rows[name]) / ATOMS_PER_UNIT)

    def prices(self, name: str) -> Floats:
        """Return one of the marks that were kept in quote currency, shape (n,); NaN of a run that stopped before step 0."""
        ticks = self.figure(name)
        return np.asarray(self.instrument.ticks_to_prices(np.where(ticks > 0.0, ticks, np.nan)))

    def window_prices(self, name: str) -> Floats:
        """Return one of the marks of the event window, NaN of a run that stopped before it."""
        return np.where(self.figure("least_depth") >= 0, self.prices(name), np.nan)

    def seconds(self, steps: NDArray[Any]) -> Floats:
        """Return seconds for numbers of steps, NaN for those below 0."""
        return np.where(steps >= 0, steps * self.dt, np.nan)

    def closed_by(self, stages: Sequence[Stage]) -> Floats:
        """Return the notional that some stages of the pipeline closed, quote currency, shape (n,)."""
        return np.asarray(np.trunc(self.rows["closed"][:, list(stages)].sum(axis=1)) / ATOMS_PER_UNIT)

    def equity(self, kind: AccountClass, when: str) -> Floats:
        """Return the equity of a class of accounts at the mark, ``when`` step 0 ``began`` or the run ``ended``."""
        began = when == "began"
        held = (self.rows["figures"] if began else self.rows)[when][:, int(kind)]
        mark = self.figure("mark_begun") if began else self.rows["mark_end"]
        atoms = equities(held["cash"], held["position"], mark, self.instrument.atoms_per_tick_lot)
        return np.asarray(atoms / ATOMS_PER_UNIT)

    def profit(self, kind: AccountClass) -> Floats:
        """Return the change of equity of a class since step 0 without collateral that was brought in, quote currency."""
        brought = self.rows["added"][:, int(kind)] / ATOMS_PER_UNIT
        made = self.equity(kind, "ended") - self.equity(kind, "began") - brought
        return np.where(self.figure("mark_begun") > 0.0, made, np.nan)

    def has(self, kind: AccountClass) -> NDArray[np.bool_]:
        """Whether the runs have accounts of a class, shape (n,)."""
        return np.asarray(self.rows["ended"]["accounts"][:, int(kind)] > 0)


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> Floats:
    """Return ``part / whole``, NaN where the whole is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
