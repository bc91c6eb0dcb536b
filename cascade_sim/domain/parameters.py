"""Parameters of components: values converted to what a type annotation declares, and types in words."""

from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from cascade_sim.domain.errors import value_text

REFUSED = object()
"""What a value that does not fit is converted to; ``None`` may be a parameter."""


def converted(annotation: Any, value: Any) -> Any:
    """Return a value as a type annotation wants it.

    Parameters
    ----------
    annotation : type
        A plain type, ``Literal``, a union, ``tuple``, ``list`` or any class.
    value : object
        What came. Whole numbers become floats where floats are declared, lists become tuples.

    Returns
    -------
    object
        ``REFUSED`` if the value does not fit.
    """
    origin = get_origin(annotation)
    if annotation is Any:
        return value
    if annotation is None or annotation is NoneType:
        return None if value is None else REFUSED
    if origin is Literal:
        matching = [
            option for option in get_args(annotation) if option == value and type(option) is type(value)
        ]
        return matching[0] if matching else REFUSED
    if origin in (Union, UnionType):
        return next(
            (
                result
                for option in get_args(annotation)
                if (result := converted(option, value)) is not REFUSED
            ),
            REFUSED,
        )
    if annotation in (bool, str):
        return value if type(value) is annotation else REFUSED
    if annotation in (int, float):
        return _number(annotation, value)
    if (origin or annotation) in (tuple, list):
        return _sequence(origin or annotation, get_args(annotation), value)
    return value if isinstance(annotation, type) and isinstance(value, annotation) else REFUSED


def _number(annotation: type[Any], value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return REFUSED
    try:
        if not isfinite(value):
            return REFUSED
    except OverflowError:
        return REFUSED
    if annotation is float:
        return float(value)
    return int(value) if value == int(value) else REFUSED


def _sequence(container: type[Any], arguments: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return REFUSED
    if not arguments:
        wanted: tuple[Any, ...] = (Any,) * len(value)
    elif container is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        wanted = (arguments[0],) * len(value)
    else:
        wanted = arguments
    if len(wanted) != len(value):
        return REFUSED
    items = [converted(annotation, item) for annotation, item in zip(wanted, value, strict=True)]
    return REFUSED if any(item is REFUSED for item in items) else container(items)


def type_text(annotation: Any) -> str:
    """Return what a type annotation accepts, in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    words = {
        float: "a finite number",
        int: "a whole number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
        None: "null",
        Any: "any value",
    }
    if origin is None and annotation in words:
        return words[annotation]
    if origin is Literal:
        return "one of " + ", ".join(value_text(option) for option in arguments)
    if origin in (Union, UnionType):
        return " or ".join(type_text(option) for option in arguments)
    if (origin or annotation) in (tuple, list):
        if not arguments:
            return "a list"
        if origin is list or arguments[-1] is Ellipsis:
            return f"a list, each {type_text(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(type_text(option) for option in arguments)
    return getattr(annotation, "__name__", str(annotation))
