"""A sweep as charts and pages see it: its table, what was varied, what was to be looked at."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from cascade_sim.metrics import METRICS

DEFAULT_METRICS = ("max_adverse_excursion", "bad_debt")


@dataclass(frozen=True)
class Swept:
    """A sweep, finished or half-way.

    Attributes
    ----------
    name : str
    table : DataFrame
        A row per run, as `lab.sweep.sweep` returns it.
    factors : list of str
        Columns that vary from point to point.
    points : int
        Points of the design, of which some may have no run yet.
    metrics : list of str
        What charts show.
    units : dict
        Unit by column.
    currencies : dict
        Names of ``base`` and ``quote``.
    status : str
        ``finished``, ``running`` or ``stopped``.
    manifest : dict
    """

    name: str
    table: pd.DataFrame
    factors: list[str]
    points: int
    metrics: list[str]
    units: dict[str, str]
    currencies: dict[str, str] = field(default_factory=dict)
    status: str = "finished"
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def finished(self) -> pd.DataFrame:
        """Rows of runs that came to their end."""
        return self.table[self.table["status"] == "finished"]

    @property
    def shown(self) -> list[str]:
        """Metrics that charts show, those that no run has left out."""
        wanted = self.metrics or list(DEFAULT_METRICS)
        return [name for name in wanted if name in self.table.columns and self.finished[name].notna().any()]

    @property
    def numbers(self) -> list[str]:
        """Factors that are numbers with at least two values."""
        return [
            name
            for name in self.factors
            if pd.api.types.is_numeric_dtype(self.table[name]) and self.table[name].nunique() > 1
        ]

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Arms and the mechanisms that are off, in order."""
        pairs = self.table[["arm", "off"]].drop_duplicates()
        return [(str(arm), str(off)) for arm, off in pairs.itertuples(index=False)]

    def unit(self, name: str) -> str:
        """Unit of a figure with the currencies of the scenario; empty for a pure number."""
        unit = self.units.get(name, "-")
        return "" if unit == "-" else " ".join(self.currencies.get(word, word) for word in unit.split(" "))

    def means(self, name: str, by: list[str]) -> pd.DataFrame:
        """Return ``mean``, ``half`` (of its 95 % interval) and ``count`` of a figure, as it is compared, by columns."""
        rows = self.finished[[*by, name]].dropna()
        known = METRICS.get(name)
        if known is not None:
            rows = rows.assign(**{name: known.sized(rows[name].to_numpy())})
        groups = rows.groupby(by, sort=False)[name]
        found = pd.DataFrame({"mean": groups.mean(), "count": groups.count()})
        spread = groups.std(ddof=1).fillna(0.0)
        return found.assign(half=1.96 * spread / np.sqrt(found["count"])).reset_index()


def arm_words(arm: str, off: str) -> str:
    """Return an arm and what is off in it as a name."""
    words = [arm] if arm else []
    words += [f"without {off.replace('+', ' and ').replace('_', ' ')}"] if off else []
    return ", ".join(words) or "as it is"
