"""A library of stresses: named changes of a scenario, run as arms beside the scenario as it is."""

from collections.abc import Mapping
from importlib import resources
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from cascade_sim import own_code
from cascade_sim.domain.errors import ScenarioError, UnknownNameError, expectation
from cascade_sim.domain.files import LARGEST_SCENARIO, read_bounded
from cascade_sim.lab.arms import Arm, unlike
from cascade_sim.scenario import Scenario
from cascade_sim.scenario.tree import plain_tree
from cascade_sim.scenario.yaml_text import parse_yaml

AS_IT_IS = "as it is"
_LIBRARY = "cascade_sim.stresses"
_TIMES = "times"


def library_names() -> tuple[str, ...]:
    """Return the names of the libraries of stresses, in alphabetical order."""
    entries = (entry.name for entry in resources.files(_LIBRARY).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml")))


def load_stresses(name_or_path: str | PathLike[str]) -> dict[str, dict[str, Any]]:
    """Read a library of stresses.

    Parameters
    ----------
    name_or_path : str or path
        One of `library_names`, or a YAML file with a key ``stresses``: changes (dotted path -> value) by name.

    Returns
    -------
    dict
        Changes by name; a value ``{times: X}`` multiplies that of the scenario.

    Raises
    ------
    ScenarioError, UnknownNameError
        If there is none of that name, or the file is refused.
    """
    text = fspath(name_or_path)
    if text in library_names():
        content, folder = resources.files(_LIBRARY).joinpath(f"{text}.yaml").read_bytes(), None
    elif not Path(text).is_file():
        raise UnknownNameError("library", text, library_names())
    else:
        try:
            content, folder = read_bounded(Path(text), LARGEST_SCENARIO), Path(text).parent
        except (OSError, ValueError) as error:
            raise ScenarioError(
                f"{text!r}: expected a readable YAML file, received an error: {error}"
            ) from error
    document = parse_yaml(content, text)
    stresses = document.get("stresses") if isinstance(document, Mapping) else None
    if (
        not isinstance(stresses, Mapping)
        or not stresses
        or not all(isinstance(each, Mapping) for each in stresses.values())
    ):
        raise ScenarioError(expectation(f"{text}: stresses", "changes by the name of the stress", stresses))
    if folder is not None:
        own_code.note(document, folder)
    return {
        str(name): {str(path): plain_tree(value) for path, value in changes.items()}
        for name, changes in stresses.items()
    }


def arms_of(scenario: Scenario, stresses: Mapping[str, Mapping[str, Any]]) -> list[Arm]:
    """Return the arms of a scenario: as it is, and under every stress.

    Parameters
    ----------
    scenario : Scenario
        Whose values are multiplied.
    stresses : mapping
        As `load_stresses` returns them.

    Raises
    ------
    ScenarioError
        If a value to be multiplied is no number of the scenario.
    """
    leaves = scenario.leaves()
    arms = [Arm(AS_IT_IS, {})]
    for name, changes in stresses.items():
        overrides = {}
        for path, value in changes.items():
            if not (isinstance(value, Mapping) and list(value) == [_TIMES]):
                overrides[path] = value
                continue
            own, factor = leaves.get(path), value[_TIMES]
            for what, number in ((path, own), (f"{path}.{_TIMES}", factor)):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise ScenarioError(f"stress {name}: {expectation(what, 'a number', number)}")
            overrides[path] = own * factor
        arms.append(Arm(name, overrides))
    return unlike(arms)
