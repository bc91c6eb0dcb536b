"""What a scenario can say, read off the tree itself: every field with its bounds, its words, its variants."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from cascade_sim.registry import REGISTRIES
from cascade_sim.scenario import Component, Scenario

AGENTS = ("fuzz_agents:Noise", "fuzz_agents:NoiseCohort", "fuzz_agents:Crowd")
"""Agents for fuzzed scenarios, beside this file."""


@dataclass(frozen=True)
class Leaf:
    """One field that holds a value: where, of which kind, within which bounds.

    ``low`` and ``high`` are what the field documents; ``above`` and ``below`` whether the bound itself is outside.
    """

    path: str
    kind: str
    default: Any = None
    low: float = -1e12
    high: float = 1e12
    above: bool = False
    below: bool = False
    optional: bool = False
    words: tuple[Any, ...] = ()
    length: tuple[int, int] = (0, 4)
    variants: dict[str, tuple[Leaf, ...]] = field(default_factory=dict)

    @property
    def is_number(self) -> bool:
        """Whether the value is one number."""
        return self.kind in ("int", "float")


def _bounds(metadata: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
            value = getattr(item, name, None)
            if value is not None:
                found[name] = value
        if hasattr(item, "metadata"):
            found |= _bounds(item.metadata)
    return found


def _plain(annotation: Any) -> tuple[Any, list[Any], bool]:
    """Return the type below annotations and an optional, the annotations, and whether null is accepted."""
    extra: list[Any] = []
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            extra += more
        elif get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation):
            optional = True
            rest = [each for each in get_args(annotation) if each is not type(None)]
            annotation = rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007 - built at run time
        else:
            return annotation, extra, optional


def _leaf(path: str, annotation: Any, metadata: list[Any], default: Any) -> Leaf | None:
    kind, extra, optional = _plain(annotation)
    bounds = _bounds([*metadata, *extra])
    numbers = {
        "low": bounds.get("ge", bounds.get("gt", -1e12)),
        "high": bounds.get("le", bounds.get("lt", 1e12)),
        "above": "gt" in bounds,
        "below": "lt" in bounds,
    }
    length = (bounds.get("min_length", 0), bounds.get("max_length", 4))
    if kind in (int, float):
        return Leaf(path, kind.__name__, default, optional=optional, **numbers)
    if kind is bool:
        return Leaf(path, "bool", default, words=(True, False))
    if kind is str:
        return Leaf(path, "text", default, optional=optional)
    if get_origin(kind) is Literal:
        return Leaf(path, "word", default, words=get_args(kind))
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        inner = _leaf(path, parts[0], [], None)
        if inner is None or not inner.is_number:
            return Leaf(path, "windows", default)
        if parts[-1] is not Ellipsis:
            length = (len(parts), len(parts))
        bound = {
            "low": inner.low,
            "high": inner.high,
            "above": inner.above,
            "below": inner.below,
        }
        return Leaf(path, "numbers", default, length=length, **bound)
    return None


def section_leaves(section: type[BaseModel], prefix: str = "") -> Iterator[Leaf]:
    """Yield the fields of a section and of those in it; a union of sections is one leaf with variants."""
    for name, item in section.model_fields.items():
        path = f"{prefix}{name}"
        kind, extra, _ = _plain(item.annotation)
        if isinstance(kind, type) and issubclass(kind, Component):
            registry = REGISTRIES.get(path)
            if registry is not None:
                yield Leaf(path, "rule", item.default, words=tuple(registry.names()))
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from section_leaves(kind, f"{path}.")
        elif get_origin(kind) in (Union, types.UnionType):
            models = [each for each in get_args(kind) if isinstance(each, type)]
            variants = {
                str(model.model_fields["name"].default): tuple(section_leaves(model, f"{path}."))
                for model in models
            }
            yield Leaf(path, "union", item.default, variants=variants)
        elif get_origin(kind) is dict:
            inner = get_args(kind)[1]
            if isinstance(inner, type) and issubclass(inner, BaseModel) and not issubclass(inner, Component):
                yield Leaf(path, "entries", {}, variants={"": tuple(section_leaves(inner))})
        else:
            found = _leaf(path, item.annotation, [*item.metadata, *extra], item.default)
            if found is not None:
                yield found


def scenario_leaves() -> tuple[Leaf, ...]:
    """Every field of a scenario, in the order of the tree."""
    return tuple(section_leaves(Scenario))


def numeric_leaves() -> tuple[Leaf, ...]:
    """Every field of a scenario that holds one number, those of every kind of background flow included."""
    found: list[Leaf] = []
    for leaf in scenario_leaves():
        if leaf.is_number:
            found.append(leaf)
        for variant in leaf.variants.values():
            found.extend(each for each in variant if each.is_number)
    return tuple(found)
