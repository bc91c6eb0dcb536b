"""Errors that a user can cause or must be told about: one line each, with an exit status."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

_LONGEST_VALUE = 120


class CascadeError(Exception):
    """Base of every error of this package that is not a programming mistake.

    Parameters
    ----------
    message : str
        What was expected, what came and what is known. Line breaks are folded into spaces.

    Attributes
    ----------
    exit_code : int
        Exit status of the command line: 2 when the request was wrong, 1 when a run failed.
    """

    exit_code: int = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()) if len(message.splitlines()) > 1 else message)


class ScenarioError(CascadeError):
    """A scenario, an override or a component's parameter is not valid."""


class UnknownNameError(ScenarioError):
    """A name is none of those registered.

    Parameters
    ----------
    kind : str
        What was looked up, e.g. ``"clearing.priority"`` or ``"metric"``.
    received : str
        The unknown name.
    known : iterable of str
        The names that would have worked.
    """

    def __init__(self, kind: str, received: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.received = received
        self.known = tuple(known)
        super().__init__(expectation(kind, "a known name", received, self.known))

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, str, tuple[str, ...]]]:
        """Rebuild from the three arguments, so that the error survives the way back from a worker process."""
        return type(self), (self.kind, self.received, self.known)


class DataFileError(CascadeError):
    """An input file is missing, unreadable or does not hold what its reader needs."""


class OutputError(CascadeError):
    """A result cannot be written where it was asked for."""


class CapacityError(CascadeError):
    """A fixed capacity (orders in a book, accounts, record rows) ran out during a run.

    Attributes
    ----------
    result : RunResult or None
        What `cascade_sim.run` had recorded by then: every table up to the step in which it stopped, with a summary of
        it; its manifest has the status ``stopped``.
    """

    exit_code = 1
    result: Any = None


class RecordsRefused(CapacityError, OutputError):  # noqa: N818 - as RunFailed
    """The disk takes no more of what a long run records; it carries a ``result`` as every `CapacityError`."""


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C ended a run; whoever expects a KeyboardInterrupt gets it.

    Parameters
    ----------
    message : str
        When.
    result : RunResult
        As for `CapacityError`.
    """

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


class RunFailed(CascadeError):  # noqa: N818 - named for what happened; a sweep counts failed runs
    """A run ended before its last step."""

    exit_code = 1


class StrainWarning(UserWarning):
    """A run opens with more open interest than its liquidity can take: it will crash, and take long."""


def value_text(value: Any) -> str:
    """Write a value the way a YAML reader would, on one line, shortened to about 120 characters.

    Parameters
    ----------
    value : object
        Anything; ``None`` becomes ``null``, booleans ``true`` and ``false``, text is quoted.

    Returns
    -------
    str
    """
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()  # numpy's own scalars would say their type as well
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = " ".join(repr(value).split())
    except ValueError:
        # Python refuses to write integers of more than 4,300 digits.
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def did_you_mean(received: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to the received one, or ``None`` when nothing is near.

    Parameters
    ----------
    received : str
        What was written.
    known : iterable of str
        The candidates.

    Returns
    -------
    str or None
    """
    matches = get_close_matches(received, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def expectation(path: str, expected: str, received: Any, known: Iterable[str] | None = None) -> str:
    """Compose the one line that every rejected value is reported with.

    Parameters
    ----------
    path : str
        Where: a dotted scenario path, a file name, an argument.
    expected : str
        What would have been accepted.
    received : object
        What came.
    known : iterable of str, optional
        The accepted names; the nearest one is proposed when the received text resembles it.

    Returns
    -------
    str
        ``"PATH: expected ..., received ..., known: a, b; did you mean 'a'?"``.
    """
    line = f"{path}: expected {expected}, received {value_text(received)}"
    if known is None:
        return line
    names = list(known)
    line += f", known: {', '.join(names) if names else 'none'}"
    nearest = did_you_mean(received, names) if isinstance(received, str) else None
    return line if nearest is None else f"{line}; did you mean {nearest!r}?"
