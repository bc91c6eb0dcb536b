"""Replications of one scenario as rows, those that fail with their reason: what comparisons and sweeps are made of."""

from collections.abc import Callable, Sequence

import pandas as pd

from cascade_sim.domain.components import error_text
from cascade_sim.domain.errors import CascadeError
from cascade_sim.lab.ensemble import Crew, EnsembleInterrupted, run_ensemble
from cascade_sim.scenario import Scenario

Progress = Callable[[int, int], None]
FINISHED, FAILED = "finished", "failed"


class ReplicasInterrupted(KeyboardInterrupt):
    """The interrupt of some replications.

    Attributes
    ----------
    rows : DataFrame
        What had finished.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        super().__init__(f"{len(rows)} runs had finished")
        self.rows = rows


def run_replicas(
    scenario: Scenario,
    seeds: Sequence[int],
    first: int = 0,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    crew: Crew | None = None,
) -> pd.DataFrame:
    """Run a scenario once per seed; a run that fails becomes a row that says why.

    Parameters
    ----------
    scenario : Scenario
    seeds : sequence of int
        Different ones.
    first : int
        Number of the first replication.
    workers : int, optional
        Threads.
    progress : callable, optional
        Called now and then with (runs done, runs in all).
    crew : Crew, optional
        Of the same scenario, to run them; one of its own otherwise.

    Returns
    -------
    DataFrame
        ``replication``, ``seed``, ``status``, ``reason``, then every figure of an ensemble; units in ``attrs["units"]``,
        empty where every run failed.

    Raises
    ------
    ReplicasInterrupted
        After Ctrl-C.
    """
    try:
        if crew is not None:
            return _with_head(crew.run(list(seeds), progress), seeds, first)
        return _with_head(run_ensemble(scenario, seeds, workers=workers, progress=progress), seeds, first)
    except EnsembleInterrupted as stop:
        raise ReplicasInterrupted(_with_head(stop.rows, seeds, first)) from None
    except CascadeError as error:
        if len(seeds) == 1:
            return failure(first, seeds[0], error)
    # One of them failed and took the others with it: each alone.
    parts: list[pd.DataFrame] = []
    for k, seed in enumerate(seeds):
        try:
            parts.append(run_replicas(scenario, [seed], first + k, workers=1))
        except KeyboardInterrupt:
            raise ReplicasInterrupted(joined(parts)) from None
        if progress is not None:
            progress(k + 1, len(seeds))
    return joined(parts)


def failure(replication: int, seed: int, error: BaseException | str) -> pd.DataFrame:
    """Return the row of a run that failed."""
    reason = (
        error
        if isinstance(error, str)
        else str(error)
        if isinstance(error, CascadeError)
        else error_text(error)
    )
    row = pd.DataFrame({"replication": [replication], "seed": [seed], "status": [FAILED], "reason": [reason]})
    row.attrs["units"] = {}
    return row


def joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put rows under one another."""
    if not parts:
        rows = pd.DataFrame({"replication": [], "seed": [], "status": [], "reason": []})
        rows.attrs["units"] = {}
        return rows
    rows = stacked(parts).sort_values("replication", ignore_index=True)
    rows.attrs["units"] = max(parts, key=_width).attrs["units"]
    return rows


def stacked(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all parts, of at least one, under columns in the order of the widest part.

    A part of failures alone has no figures, so it must not come first.
    """
    ordered: list[pd.DataFrame] = sorted(parts, key=_width, reverse=True)
    return pd.concat(ordered, ignore_index=True)


def _width(part: pd.DataFrame) -> int:
    return len(part.columns)


def _with_head(frame: pd.DataFrame, seeds: Sequence[int], first: int) -> pd.DataFrame:
    units = frame.attrs["units"]
    # pandas copies the attributes of a frame, key by key, whenever a column is asked for.
    frame.attrs = {}
    numbers = {seed: first + k for k, seed in enumerate(seeds)}
    replication = [numbers[int(seed)] for seed in frame["seed"]]
    head = pd.DataFrame({"replication": replication, "seed": frame["seed"], "status": FINISHED, "reason": ""})
    rows = pd.concat([head, frame.drop(columns="seed")], axis=1)
    rows.attrs["units"] = {name: unit for name, unit in units.items() if name not in ("seed", "fingerprint")}
    return rows
