"""Asking a rule written in Python: whatever it raises or answers amiss ends the run with one line that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.domain.components import error_text
from cascade_sim.domain.errors import RunFailed, expectation
from cascade_sim.registry import Registry


def rule_place(registry: Registry[Any], rule: object, method: str) -> str:
    """Return how a method of a rule is named in messages: ``clearing.priority package.module:Rule.score()``."""
    return f"{registry.kind} {registry.name_of(rule)}.{method}()"


@contextmanager
def told_as(place: str, step: int | None = None) -> Iterator[None]:
    """Turn whatever is raised inside into a RunFailed that names the place and the step; Ctrl-C passes.

    Parameters
    ----------
    place : str
        What is called.
    step : int, optional
        Step of the run; none before it has begun.

    Raises
    ------
    RunFailed
        From the original error. SystemExit too: a rule must not be able to end a run as if it had gone well.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise RunFailed(f"{_at(place, step)}: raised {error_text(error)}") from error


def finite_numbers(place: str, step: int, answer: Any, count: int, noun: str) -> NDArray[np.float64]:
    """Return the answer of a rule as float64 (count,).

    Parameters
    ----------
    place : str
        What was called.
    step : int
        Step of the run.
    answer : object
        What it returned.
    count : int
        How many numbers are wanted.
    noun : str
        What one of them is, in the singular.

    Raises
    ------
    RunFailed
        If the answer is not one-dimensional, of another length, not numeric, or not finite.
    """
    expected = f"{count} finite {noun}{'s' * (count != 1)}"
    values = _as_array(place, step, answer, expected)
    if values.dtype.kind not in "fiu":
        raise _failure(place, step, expected, f"values of type {_type_name(answer, values)}")
    if values.ndim != 1:
        kind = f"an array of shape {values.shape}" if values.ndim else f"the single number {values}"
        raise _failure(place, step, expected, kind)
    if len(values) != count:
        raise _failure(place, step, expected, str(len(values)))
    return _finite(place, step, expected, values, with_position=True)


def require_pair(
    place: str, step: int, answer: Any, count: int, nouns: tuple[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the answer of a rule as two arrays of float64 (count,); parameters and errors as in `finite_numbers`."""
    if not isinstance(answer, tuple) or len(answer) != 2:
        kind = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else f"a {type(answer).__name__}"
        raise _failure(place, step, f"two arrays, of each {nouns[0]} and each {nouns[1]}", kind)
    first, second = (
        finite_numbers(place, step, values, count, noun) for values, noun in zip(answer, nouns, strict=True)
    )
    return first, second


def finite_number(place: str, step: int, answer: Any, noun: str) -> float:
    """Return the answer of a rule as one finite float; parameters and errors as in `finite_numbers`."""
    expected = f"one finite {noun}"
    values = _as_array(place, step, answer, expected)
    if values.ndim:
        raise _failure(place, step, expected, f"an array of shape {values.shape}")
    if values.dtype.kind not in "fiu":
        raise _failure(place, step, expected, f"a value of type {_type_name(answer, values)}")
    return float(_finite(place, step, expected, values[None], with_position=False)[0])


def require(place: str, step: int, holds: bool, expected: str, received: float) -> None:
    """Raise RunFailed unless an answer of a rule is in range."""
    if not holds:
        raise _failure(place, step, expected, f"{received:g}")


def _as_array(place: str, step: int, answer: Any, expected: str) -> NDArray[Any]:
    try:
        return np.asarray(answer)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        received = f"a {type(answer).__name__} that is no array ({error_text(error)})"
        raise _failure(place, step, expected, received) from error


def _finite(
    place: str, step: int, expected: str, values: NDArray[Any], *, with_position: bool
) -> NDArray[np.float64]:
    # A wider float may be finite and still beyond float64.
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        value = numbers[bad[0]]
        received = "NaN" if np.isnan(value) else "minus infinity" if value < 0.0 else "infinity"
        if with_position:
            received += f" at position {bad[0]}"
        raise _failure(place, step, expected, received)
    return numbers


def _type_name(answer: Any, values: NDArray[Any]) -> str:
    return type(answer).__name__ if values.ndim == 0 else str(values.dtype)


def _at(place: str, step: int | None) -> str:
    return place if step is None else f"{place}, step {step}"


def _failure(place: str, step: int, expected: str, received: str) -> RunFailed:
    line = expectation(_at(place, step), expected, None)
    return RunFailed(line.removesuffix("null") + received)
