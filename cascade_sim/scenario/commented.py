"""A scenario as YAML that explains itself: unit and meaning behind every field."""

from collections.abc import Iterator, Mapping
from typing import Any

from cascade_sim.scenario.base import Component, Section
from cascade_sim.scenario.yaml_text import write_yaml

_COLUMN = 40


def commented_yaml(root: Section, notes: Mapping[str, str]) -> str:
    """Write a tree of sections with a comment behind each field.

    Parameters
    ----------
    root : Section
        The tree.
    notes : mapping
        Comments on parameters of components, by dotted path.

    Returns
    -------
    str
        YAML; sections are set off by their own first line of documentation.
    """
    return "\n".join(_section(root, root.model_dump(mode="json"), "", notes)) + "\n"


def _section(section: Section, tree: Mapping[str, Any], path: str, notes: Mapping[str, str]) -> Iterator[str]:
    indent = "  " * path.count(".")
    for key, item in tree.items():
        value, here = getattr(section, key, None), f"{path}{key}"
        if isinstance(value, Section) and not isinstance(value, Component):
            if not path:
                yield ""
                yield f"# {_title(value)}"
            yield f"{indent}{key}:"
            yield from _section(value, item, f"{here}.", notes)
        elif isinstance(value, Component):
            yield f"{indent}{key}:"
            yield from _lines("name", item["name"], f"{indent}  ", _meaning(section, key))
            for name, parameter in item.items():
                if name != "name":
                    yield from _lines(name, parameter, f"{indent}  ", notes.get(f"{here}.{name}", ""))
        else:
            yield from _lines(key, item, indent, notes.get(here) or _meaning(section, key))


def _title(section: Section) -> str:
    return (type(section).__doc__ or "").strip().partition("\n")[0].replace("``", "")


def _meaning(section: Section, key: str) -> str:
    """Return ``"UNIT; meaning"`` of a field, or its meaning alone where it has no unit."""
    field = type(section).model_fields[key]
    meaning = field.description or ""
    if not isinstance(field.json_schema_extra, dict):
        return meaning
    unit = str(field.json_schema_extra["unit"])
    return f"{'pure number' if unit == '1' else unit}; {meaning.removesuffix(f' ({unit})')}"


def _lines(key: str, value: Any, indent: str, comment: str) -> Iterator[str]:
    first, *others = write_yaml({key: value}).splitlines()
    # Behind the first line of a text that goes on, a comment would become part of it.
    if comment and not others:
        yield f"{indent + first:<{_COLUMN - 1}} # {comment}"
    else:
        if comment:
            yield f"{indent}# {comment}"
        yield from (f"{indent}{line}".rstrip() for line in (first, *others))
