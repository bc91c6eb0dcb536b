"""What commands share: printing, and reading the scenario that they are given."""

import ctypes
import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, TextIO

import typer

from cascade_sim.domain.errors import CascadeError, ScenarioError

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override one field; may be repeated.")
]


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

    scenario = load_scenario(name)
    changes: dict[str, Any] = {}
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
