"""YAML as a reader of numbers expects it: 1e-4 is a number, 010 is ten, a key given twice is an error."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from cascade_sim.domain.errors import ScenarioError

_INT = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z|[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z"
)
# "on" and "off" are how people write switches, so they stay booleans as in YAML 1.1.
_BOOL = re.compile(r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)\Z")
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_MERGE = re.compile(r"<<\Z")
_RESOLVERS: tuple[tuple[str, re.Pattern[str], list[str]], ...] = (
    ("tag:yaml.org,2002:bool", _BOOL, list("yYnNtTfFoO")),
    ("tag:yaml.org,2002:int", _INT, list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789.")),
    ("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", _MERGE, ["<"]),
)


class _Loader(yaml.SafeLoader):
    # Empty, so that the YAML 1.1 rules of the base class (sexagesimals, octals, dates) do not apply.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the name and type are those of the base class

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # A few nested aliases stand for billions of values.
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # not typed in its stubs
        if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            problem = f"anchors and aliases are not accepted here ({sign}{event.anchor})"
            mark: Any = event.start_mark
            raise yaml.composer.ComposerError(problem=problem, problem_mark=mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, "merge keys (<<) are not accepted here", key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is not text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - must quote exactly what the loader would not read as text

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    return int(text)


def _represent_list(dumper: _Dumper, data: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)


def _represent_text(dumper: _Dumper, data: str) -> yaml.Node:
    # These count as line breaks or are dropped when read back, unless they are written as escapes.
    style = '"' if set(data) & set("\x85\u2028\u2029\ufeff") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style=style)


for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)


def parse_yaml(text: str | bytes, source: str) -> Any:
    """Read one YAML document.

    Parameters
    ----------
    text : str or bytes
        The document; bytes are decoded as UTF-8 or UTF-16.
    source : str
        Where it is from, for error lines.

    Returns
    -------
    object
        Mappings with text keys, lists and scalars.

    Raises
    ------
    ScenarioError
        If the text is not YAML, holds several documents, gives a key twice, or uses anchors, aliases or
        merge keys.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = error.problem or error.context or "not readable"
        raise ScenarioError(f"{source}: expected YAML, received an error{place}: {problem}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise ScenarioError(f"{source}: expected YAML, received an error: {reason}") from error


def write_yaml(tree: Any) -> str:
    """Write a tree as YAML that `parse_yaml` reads back to equal values.

    Parameters
    ----------
    tree : object
        Mappings with text keys, lists and scalars.

    Returns
    -------
    str
        Block style, lists on one line, keys in their own order.
    """
    return yaml.dump(
        tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )
