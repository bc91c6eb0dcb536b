"""The arms of a comparison: what each changes in a scenario, said as values to vary or in a file."""

from collections.abc import Mapping, Sequence
from itertools import product
from os import PathLike, fspath
from pathlib import Path
from typing import Any, NamedTuple

from cascade_sim import own_code
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.files import LARGEST_SCENARIO, read_bounded
from cascade_sim.scenario import Scenario
from cascade_sim.scenario.tree import plain_tree
from cascade_sim.scenario.yaml_text import parse_yaml

CONTROLS: Mapping[str, Mapping[str, Any]] = {
    "impact_off": {"switches.impact_off": True},
    "placebo": {"switches.placebo": True},
}
"""Controls beside the arms, by name: distressed positions closed at mark outside the book, and one lot of flow more."""
MOST_ARMS = 1000


class Arm(NamedTuple):
    """One arm.

    Attributes
    ----------
    name : str
    overrides : dict
        Values by dotted path, as `Scenario.with_overrides` takes them.
    is_control : bool
        Whether it is a control, which wins and loses nothing.
    """

    name: str
    overrides: dict[str, Any]
    is_control: bool = False


def varied(vary: Mapping[str, Sequence[Any]]) -> list[Arm]:
    """Return an arm for every combination of values.

    Parameters
    ----------
    vary : mapping
        Values by dotted path; the last path varies fastest.

    Returns
    -------
    list of Arm
        Named after their values; with several paths after the last words of the paths too.

    Raises
    ------
    ScenarioError
        If a path has no values, or two arms would be the same.
    """
    lists: dict[str, list[Any]] = {}
    for path, values in vary.items():
        if not is_list(values):
            raise ScenarioError(expectation(f"vary: {path}", "a list of values", values))
        lists[path] = [plain_tree(value, path) for value in values]
    if not lists:
        raise ScenarioError("vary: expected at least one path with its values, received none")
    count = 1
    for values in lists.values():
        count *= len(values)
    if count > MOST_ARMS:
        raise ScenarioError(expectation("vary", f"at most {MOST_ARMS} arms", count))
    arms = []
    for values in product(*lists.values()):
        overrides = dict(zip(lists, values, strict=True))
        words = [text_of(value) for value in values]
        if len(lists) > 1:
            words = [f"{last_word(path)}={word}" for path, word in zip(lists, words, strict=True)]
        arms.append(Arm(", ".join(words), overrides))
    return unlike(arms)


def is_list(values: Any) -> bool:
    """Return whether something is a list of at least one value, and no text."""
    return isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0


def last_word(path: str) -> str:
    """Return the part of a dotted path that says what it is: ``priority`` of ``clearing.priority.name``."""
    parts = path.split(".")
    return parts[-2] if parts[-1] == "name" and len(parts) > 1 else parts[-1]


def text_of(value: Any) -> str:
    """Return a value as a name for people."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def named(arms: Any) -> list[Arm]:
    """Return arms from their names and what each changes.

    Parameters
    ----------
    arms : mapping
        Overrides (dotted paths, or sections with what changes in them) by the name of the arm.

    Raises
    ------
    ScenarioError
        If there is none, or something else stands where they should.
    """
    if not isinstance(arms, Mapping) or not arms:
        raise ScenarioError(expectation("arms", "at least one arm: a name and what it changes", arms))
    found = []
    for name, overrides in arms.items():
        if not isinstance(name, str) or not name.strip() or len(name) > 100:
            raise ScenarioError(expectation("arms", "a name of at most 100 characters for each arm", name))
        if not isinstance(overrides, Mapping | None):
            raise ScenarioError(expectation(f"arms: {name}", "a mapping of paths to values", overrides))
        found.append(
            Arm(name, {str(path): plain_tree(value, str(path)) for path, value in (overrides or {}).items()})
        )
    return unlike(found)


def load_arms(path: str | PathLike[str]) -> list[Arm]:
    """Read arms from a YAML file: a mapping of names to what each changes, alone or under the key ``arms``.

    Classes of the user's own that it names are looked for beside it as well.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    ScenarioError
        If the file cannot be read or holds something else.
    """
    file = Path(path)
    try:
        content = read_bounded(file, LARGEST_SCENARIO)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScenarioError(
            f"{fspath(path)!r}: expected a readable YAML file, received an error: {reason}"
        ) from error
    document = parse_yaml(content, fspath(path))
    if isinstance(document, Mapping) and list(document) == ["arms"]:
        document = document["arms"]
    try:
        arms = named(document)
    except ScenarioError as error:
        raise ScenarioError(f"{fspath(path)}: {error}") from error
    own_code.note(document, file.parent)
    return arms


def unlike(arms: list[Arm]) -> list[Arm]:
    """Refuse two arms of one name.

    Raises
    ------
    ScenarioError
        If there are two.
    """
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(expectation("arms", "names that differ", f"{name} twice"))
    return arms


def scenario_of(scenario: Scenario, arm: Arm) -> Scenario:
    """Return what an arm makes of a scenario.

    Raises
    ------
    ScenarioError
        If a path is unknown or a value refused; the line begins with the arm.
    """
    try:
        return scenario.with_overrides(arm.overrides) if arm.overrides else scenario
    except ScenarioError as error:
        raise ScenarioError(f"arm {arm.name}: {error}") from error
