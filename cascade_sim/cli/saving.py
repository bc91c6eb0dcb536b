"""A run and its result folder: what was recorded is saved before anything else is begun, and nothing takes it away."""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from cascade_sim.cli import signals
from cascade_sim.cli.output import complain
from cascade_sim.domain.errors import CapacityError, CascadeError, OutputError, RunFailed, RunInterrupted

Progress = Callable[[int, int], None]


class NotKeptError(RunFailed):
    """There is no room for a result anywhere.

    Parameters
    ----------
    message
        What was refused.
    result
        What there is: its figures can still be told.
    """

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Request:
    """What a run is asked for.

    Attributes
    ----------
    scenario, seed
        What to run.
    folder
        Where its result goes.
    mechanisms
        Switches of the counterfactual arms; None for a run alone.
    charts
        Whether charts and report belong to the result.
    progress
        Bar to show under a title while a run advances.
    apart
        Whether processes of their own may draw the charts: only a program that is alone in its process can fork.
    """

    scenario: Any
    seed: int
    folder: Path
    mechanisms: list[str] | None
    charts: bool
    progress: Callable[[str], AbstractContextManager[Progress]]
    apart: bool = False


def run_and_save(request: Request) -> Any:
    """Run a scenario, save what it recorded, then add the optional parts.

    Parameters
    ----------
    request
        Checked already.

    Returns
    -------
    RunResult
        As it is saved; its manifest says which parts are missing, and the user has been told why.

    Raises
    ------
    CapacityError
        If the run stopped; what it recorded is saved.
    RunFailed
        If the folder could not be written; says where the result is instead. A `NotKeptError` if it is nowhere.
    SystemExit
        Status 130 after Ctrl-C; what was recorded until then is saved.
    """
    from cascade_sim.lab.interrupts import held_back
    from cascade_sim.manifest import CHARTS, IMPACT_PROBE, with_missing

    started = time.perf_counter()
    importing = threading.Thread(target=_import_what_draws, daemon=True)
    if request.charts:
        # The engine leaves the interpreter free while it runs: time to import what draws.
        importing.start()
    stop: CapacityError | RunInterrupted | None = None
    try:
        result = _run(request)
        signals.stop_if_received()
    except (CapacityError, RunInterrupted) as error:
        if error.result is None:
            raise
        stop, result = error, error.result
        signals.forget()
    finished = result.manifest.get("status") != "stopped"
    missing = dict.fromkeys([IMPACT_PROBE] * finished + [CHARTS] * request.charts, "not made yet")
    if isinstance(stop, RunInterrupted) and finished:
        missing[IMPACT_PROBE] = "interrupted"
    manifest = {**result.manifest, "wall_seconds": time.perf_counter() - started}
    manifest["ended_at"] = datetime.now(UTC).isoformat()
    result = result.replaced(manifest=with_missing(manifest, missing))
    with held_back(lambda: True) as held:
        folder, refusal = _save(result, request.folder)
        interrupted = held.take()
    if isinstance(stop, RunInterrupted):
        missing.pop(IMPACT_PROBE, None)
        complain(f"{stop}; what was recorded until then is in {folder}")
    parts = Parts(request, result, folder, importing)
    with parts.drawers:
        parts.add(list(missing), interrupted=interrupted)
    if isinstance(stop, CapacityError):
        raise CapacityError(f"{stop}; what was recorded until then is in {folder}")
    if isinstance(stop, RunInterrupted):
        raise SystemExit(signals.INTERRUPTED)
    if refusal is not None:
        raise RunFailed(f"{refusal}; the result is in {folder}")
    return parts.result


def _import_what_draws() -> None:
    # What is wrong with it is met again, and told, when the charts are made.
    with suppress(Exception):
        import_module("cascade_sim.plots.catalogue")


def _run(request: Request) -> Any:
    with request.progress(request.scenario.name) as progress:
        if request.mechanisms is None:
            from cascade_sim.lab.single import run

            return run(request.scenario, request.seed, probe=False, progress=progress)
        from cascade_sim.lab.counterfactual import counterfactual

        made = counterfactual(
            request.scenario, request.seed, request.mechanisms, progress=progress, probe=False
        )
        return made.result


def _save(result: Any, folder: Path) -> tuple[Path, OutputError | None]:
    """Save a result where it was asked for, or else where there is room; returns the place and what was refused."""
    try:
        result.save(folder)
    except OutputError as error:
        refusal = error
    else:
        return folder, None
    places = dict.fromkeys((tempfile.gettempdir(), os.curdir))
    for place in places:
        made = None
        try:
            made = Path(tempfile.mkdtemp(prefix="cascade_sim-result-", dir=place)).resolve()
            return result.save(made / (folder.resolve().name or "run")), refusal
        except (OSError, OutputError):
            if made is not None:
                with suppress(OSError):
                    made.rmdir()
    raise NotKeptError(f"{refusal}; nor was there room in {' or '.join(places)}", result)


class Parts:
    """The optional parts of a saved result, and what became of them.

    Parameters
    ----------
    request
        What was asked for.
    result
        As it is saved.
    folder
        Where.
    importing
        Thread that imports what draws, if there is one.

    Attributes
    ----------
    drawers
        Processes that draw the charts while the other parts are made; a context that ends them.
    result
        With the parts that were made; its manifest says which are missing and why.
    """

    def __init__(
        self, request: Request, result: Any, folder: Path, importing: threading.Thread | None = None
    ) -> None:
        from cascade_sim.plots.apart import Drawers

        self.request = request
        self.importing = importing
        self.drawers = Drawers()
        self.result = result
        self.folder = folder

    def add(self, wanted: list[str], *, interrupted: bool = False) -> None:
        """Make the parts one after the other; one that fails is told in one line and keeps none of the others away.

        Parameters
        ----------
        wanted
            The parts.
        interrupted
            Whether to stop before the first of them.

        Raises
        ------
        SystemExit
            Status 130 after Ctrl-C.
        """
        from cascade_sim.manifest import CHARTS, missing_parts

        left = list(wanted)
        try:
            if interrupted:
                raise KeyboardInterrupt
            if self.importing is not None and self.importing.ident is not None:
                # Half of an import does not go with a fork.
                self.importing.join()
            if CHARTS in left and self.request.apart:
                self.drawers.start(self.result)
            while left:
                signals.stop_if_received()
                self._add(left[0])
                left.pop(0)
        except KeyboardInterrupt:
            signals.forget()
            # One that was just being added has been added whole.
            left = [part for part in left if part in missing_parts(self.result.manifest)]
            self._note(dict.fromkeys(left, "interrupted"))
            without = f" without {' and '.join(left)}" if left else ""
            complain(f"interrupted; the result{without} is in {self.folder}")
            raise SystemExit(signals.INTERRUPTED) from None

    def _add(self, part: str) -> None:
        from cascade_sim.domain.components import error_text
        from cascade_sim.lab.interrupts import held_back
        from cascade_sim.manifest import CHARTS, with_missing

        write = None
        try:
            if part == CHARTS:
                from cascade_sim.report import draw_report

                made = self.result
                write = draw_report(made, self.drawers.pictures()).write
            else:
                made = self._probed()
            made = made.replaced(manifest=with_missing(made.manifest, {part: None}))
            with held_back(lambda: True):
                made.amend(self.folder, write)
                self.result = made
        except Exception as error:
            # Whatever it was: the run is finished, and a part that cannot be made takes nothing away from it.
            reason = str(error) if isinstance(error, CascadeError) else error_text(error)
            complain(f"cascade-sim: {part}: {reason}; the result without it is in {self.folder}")
            self._note({part: reason})

    def _probed(self) -> Any:
        from cascade_sim.lab.single import with_impact

        with self.request.progress("impact probe") as progress:
            return with_impact(self.result, self.request.scenario, self.request.seed, progress)

    def _note(self, reasons: dict[str, str]) -> None:
        """Say in the manifest what is missing; a disk that is full leaves what it said before, that it is not made yet."""
        from cascade_sim.lab.interrupts import held_back
        from cascade_sim.manifest import with_missing

        self.result = self.result.replaced(manifest=with_missing(self.result.manifest, reasons))
        with suppress(OutputError), held_back(lambda: True):
            self.result.amend(self.folder)
