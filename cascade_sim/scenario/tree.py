"""Plain trees of mappings, lists and scalars: cleaning, merging, flattening."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from hashlib import sha256
from math import isfinite
from os import PathLike, fspath
from typing import Any

import numpy as np

from cascade_sim.domain.errors import ScenarioError, expectation

_DEEPEST = 16
_LARGEST_INTEGER = 2**63 - 1


def plain_tree(value: Any, path: str = "", depth: int = 0) -> Any:
    """Return a copy that holds only dicts with text keys, lists and scalars.

    numpy numbers, arrays, tuples, paths and enum members become what YAML could have held.

    Parameters
    ----------
    value : object
        Anything a caller may pass as a scenario or an override.
    path : str
        Dotted path, for error lines.
    depth : int
        Levels already descended.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Raises
    ------
    ScenarioError
        If a number is not finite or does not fit in 64 bits, a key is no text, the nesting is too deep, or
        the type has no place in a scenario.
    """
    where = path or "scenario"
    if depth > _DEEPEST:
        raise ScenarioError(
            f"{where}: expected at most {_DEEPEST} levels, received a deeper or circular value"
        )
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ScenarioError(expectation(where, "text as key", key))
        return {
            key: plain_tree(item, f"{path}.{key}" if path else key, depth + 1) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [plain_tree(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, float) and not isfinite(value):
        raise ScenarioError(expectation(where, "a finite number", value))
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        raise ScenarioError(expectation(where, "a whole number that fits in 64 bits", value))
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, PathLike):
        return fspath(value)
    raise ScenarioError(expectation(where, "a number, text, true, false, null, a list or a mapping", value))


def merged(base: Any, change: Any, is_root: bool = True) -> Any:
    """Return ``base`` with what ``change`` says otherwise.

    Mappings merge key by key; everything else replaces. A component (a mapping with a ``name``, below the
    root) that gets another name loses the parameters of the old one; text in its place stands for
    ``{name: text}``.

    Parameters
    ----------
    base, change : object
        Plain trees.
    is_root : bool
        Whether ``name`` is the scenario's own.

    Returns
    -------
    object
        A new tree; neither argument is touched.
    """
    if isinstance(base, Mapping):
        named = not is_root and "name" in base
        if named and isinstance(change, str):
            change = {"name": change}
        if isinstance(change, Mapping):
            keep = not (named and change.get("name", base["name"]) != base["name"])
            result = dict(base) if keep else {}
            for key, item in change.items():
                result[key] = merged(result.get(key), item, is_root=False)
            return result
    return change


def nested(path: str, value: Any) -> dict[str, Any]:
    """Return ``{"a": {"b": value}}`` for the path ``"a.b"``.

    Parameters
    ----------
    path : str
        Dotted path.
    value : object
        A plain tree.

    Returns
    -------
    dict

    Raises
    ------
    ScenarioError
        If the path or one of its parts is empty.
    """
    parts = [part.strip() for part in path.split(".")]
    if not all(parts):
        raise ScenarioError(expectation("override", "a dotted path such as shock.quantity", path))
    tree = value
    for part in reversed(parts):
        tree = {part: tree}
    return dict(tree)


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield ``(dotted path, value)`` for everything in a tree that is not a mapping, in order."""
    for key, item in tree.items():
        if isinstance(item, Mapping):
            yield from leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def canonical(value: Any) -> Any:
    """Return a tree in which equal numbers are written alike: 30.0 as 30, -0.0 as 0.

    Parameters
    ----------
    value : object
        A plain tree.

    Returns
    -------
    object
    """
    if isinstance(value, Mapping):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def tree_hash(tree: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hexadecimal) of a tree, independent of key order and of 30 against 30.0.

    Parameters
    ----------
    tree : mapping
        A plain tree.

    Returns
    -------
    str
        64 characters.
    """
    text = json.dumps(canonical(tree), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()
