"""How records are built, and what making a used world new again does with each field.

A field is kept (copied before the first run, written back before the next) unless it stands under one of the marks below.
The mark stands beside the field, and ``core/drivers/blank.py`` reads it from here.
"""

from typing import Any, NamedTuple

import numpy as np

SCRATCH = "scratch"
CONSTANT = "constant"
EMPTIED = "emptied"
"""What a reset does with a field that it does not write back: nothing, because a run writes it before it reads it; nothing,
because only the configuration writes it; it empties what a run can have used, see :func:`core.drivers.blank.reset`."""


class Field(NamedTuple):
    """A field with a mark.

    Attributes
    ----------
    kind : dtype or (dtype, shape)
    rule : str or None
        One of the marks, None for a field that is kept.
    used : str or None
        Dotted name, within the world, of the number of rows in use; the others are never touched.
    """

    kind: Any
    rule: str | None = None
    used: str | None = None


_MARKS: dict["np.dtype[Any]", dict[str, Field]] = {}


def scratch(kind: Any, *shape: int) -> Field:
    """Mark a field, or an array, that every run writes before it reads it."""
    return Field((kind, shape) if shape else kind, SCRATCH)


def constant(kind: Any, *shape: int) -> Field:
    """Mark a field, or an array, that only the configuration writes."""
    return Field((kind, shape) if shape else kind, CONSTANT)


def emptied(kind: Any, *shape: int) -> Field:
    """Mark a field, or an array, whose used part a reset sets to zero."""
    return Field((kind, shape) if shape else kind, EMPTIED)


def rows(kind: Any, count: int, used: str) -> Field:
    """Mark an array of ``count`` rows of which only the first are in use: as many as ``used`` says."""
    return Field((kind, (count,)), None, used)


def record(**fields: object) -> "np.dtype[Any]":
    """Build an aligned record dtype.

    Parameters
    ----------
    **fields : dtype, (dtype, shape) or Field
        In order.
    """
    kinds = {name: kind.kind if isinstance(kind, Field) else kind for name, kind in fields.items()}
    parts: list[Any] = [
        (name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in kinds.items()
    ]
    dtype = np.dtype(parts, align=True)
    marks = {name: kind for name, kind in fields.items() if isinstance(kind, Field)}
    if marks:
        _MARKS[dtype] = marks
    return dtype


def marks_of(dtype: "np.dtype[Any]") -> dict[str, Field]:
    """Return the marked fields of a record."""
    return _MARKS.get(dtype, {})
