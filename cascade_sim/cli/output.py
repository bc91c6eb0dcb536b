"""What commands share: printing, and reading the scenario that they are given."""

import ctypes
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from cascade_sim.cli import signals
from cascade_sim.domain.errors import CascadeError, ScenarioError, StrainWarning

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override one field; may be repeated.")
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]


class ClosedOutputError(CascadeError):
    """Standard output takes nothing more: a full disk, a closed pipe."""

    exit_code = 1


class _Streams:
    """Where standard output leads while it is kept for one object."""

    former: TextIO | None = None
    kept: TextIO | None = None
    descriptor: int | None = None


def occupy_closed_streams() -> None:
    """Put nothing where a standard stream was closed, or the first file that is opened would take its place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one: those below are taken.
            os.open(os.devnull, os.O_RDWR)


def keep_output_for_one_object() -> None:
    """From now on only `say` reaches standard output; what rules, agents and libraries print goes to standard error.

    That holds for Python's ``print`` and for what compiled code writes to file descriptor 1.
    """
    if _Streams.kept is not None or sys.stdout is None:
        return
    _Streams.former = _Streams.kept = sys.stdout
    with suppress(OSError, ValueError):  # a notebook's or a test's output has no descriptor
        descriptor = sys.stdout.fileno()
        if descriptor != 1:
            raise ValueError("standard output is something else here")
        sys.stdout.flush()
        _Streams.descriptor = os.dup(descriptor)
        _Streams.kept = io.TextIOWrapper(
            os.fdopen(os.dup(descriptor), "wb"), encoding=sys.stdout.encoding, errors=sys.stdout.errors
        )
        os.dup2(2, 1)
    sys.stdout = sys.stderr if sys.stderr is not None else open(os.devnull, "w")  # noqa: SIM115 - until the end


def give_output_back() -> None:
    """Undo `keep_output_for_one_object`, for a caller that goes on in this process."""
    if _Streams.kept is None:
        return
    if _Streams.descriptor is not None:
        # What a library of C has printed is still in its buffer, and belongs to standard error.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(_Streams.descriptor, 1)
        os.close(_Streams.descriptor)
        _Streams.kept.close()
    sys.stdout = _Streams.former
    _Streams.former = _Streams.kept = _Streams.descriptor = None


def say(text: str, *, nl: bool = True) -> None:
    """Print to standard output; what cannot be printed is an error like any other."""
    stream = _Streams.kept or sys.stdout
    try:
        if stream is None:
            raise OSError("it is closed")
        # Letters that the encoding does not have are no reason to keep the rest to oneself.
        encoding = getattr(stream, "encoding", None) or "utf-8"
        typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, nl=nl)
        stream.flush()
    except (OSError, ValueError) as error:
        drop_output()
        reason = getattr(error, "strerror", None) or str(error)
        raise ClosedOutputError(f"standard output: expected to write to it, received: {reason}") from error


def complain(text: str) -> None:
    """Print a line to standard error, if anybody listens."""
    with suppress(OSError, ValueError):
        typer.echo(text, err=True)


def drop_output() -> None:
    """Send what is still buffered nowhere, or Python would fail on it once more when it ends."""
    for stream in (_Streams.kept, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]  # one that is missing needs nothing
            continue
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]  # as above
            os.close(nowhere)


def load(name: str, overrides: list[str] | None) -> Any:
    from cascade_sim.scenario import load_scenario, parse_override

    changes: dict[str, Any] = {}
    with warnings_in_one_line():
        scenario = load_scenario(name)
        for text in overrides or []:
            path, value = parse_override(text)
            changes[path] = value
        resolved = scenario.with_overrides(changes) if changes else scenario
    if all(each.options.chain.path is None for each in resolved.market_scenarios().values()):
        return resolved
    # Only a chain needs the import, which takes as long as all else here.
    from cascade_sim.agents.options_dealer import speak_of_chain

    return speak_of_chain(resolved)


def refuse_own_code(scenario: Any) -> None:
    """Refuse a scenario that would run code from outside this package."""
    for path, name in scenario.own_code().items():
        raise ScenarioError(f"{path}: expected no code of your own (--no-own-code), received {name!r}")


def is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def announce_compilation() -> None:
    from cascade_sim.core.ground.compile import cache_is_kept

    text = "compiling the kernels; this happens once and takes about half a minute"
    # The folder of a user whose own cannot be written lives as long as the process.
    if not cache_is_kept():
        text = (
            "compiling the kernels, about half a minute; every run will, because no folder can be written that "
            "would keep them (NUMBA_CACHE_DIR names another)"
        )
    complain(text)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left on standard error, if that is a terminal, while a run advances."""
    if not is_terminal():
        yield lambda _done, _total: signals.stop_if_received()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def advance(done: int, total: int) -> None:
            signals.stop_if_received()
            bar.update(task, completed=done / max(total, 1))

        yield advance


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Say what the run warns of as the command line says everything: once, in one line, without a place in the code."""
    with warnings.catch_warnings():

        def show(message: Warning | str, *_: Any, **__: Any) -> None:
            complain(f"cascade-sim: {message}")

        warnings.simplefilter("once", StrainWarning)
        warnings.simplefilter("once", FutureWarning)
        warnings.showwarning = show
        yield


def add_report(draw: Callable[[], Any], folder: Path) -> None:
    """Draw charts and page of what is saved; what fails takes nothing away from it, and ends with status 1."""
    from cascade_sim.domain.components import error_text

    try:
        draw().write(folder)
    except Exception as error:
        reason = str(error) if isinstance(error, CascadeError) else error_text(error)
        complain(f"cascade-sim: charts and report: {reason}; what they would show is in {folder}")
        raise typer.Exit(1) from None
