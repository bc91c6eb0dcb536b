"""Lengths and rates said in steps: what they are in time, which is what the tree holds.

A horizon in seconds holds when the length of a step changes, and so does an engine that closes so many accounts per second.
"""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.scenario.tree import merged


class _Name(NamedTuple):
    """A field that may be said in steps.

    Attributes
    ----------
    section, in_steps, in_time : str
        Where it stands, and under which names.
    least : int
        Smallest number of steps, or per step.
    is_rate : bool
        Whether it counts per step; otherwise it is a number of steps.
    is_deprecated : bool
        Whether the name in steps is to be used no more.
    """

    section: str
    in_steps: str
    in_time: str
    least: int
    is_rate: bool = False
    is_deprecated: bool = False


_NAMES = (
    _Name("run", "steps", "seconds", 1),
    _Name("run", "burn_in_steps", "burn_in_seconds", 0),
    _Name("clearing", "accounts_per_step", "accounts_per_second", 1, is_rate=True, is_deprecated=True),
)
_MOST = {False: 10**9, True: 10**7}


def laid_over(base: Mapping[str, Any], change: Any) -> Any:
    """Return ``base`` with what ``change`` says otherwise; a field said in steps replaces the one in time, and the reverse.

    Parameters
    ----------
    base, change : mapping
        Plain trees of a scenario, as for :func:`scenario.tree.merged`.

    Raises
    ------
    ScenarioError
        If the change says a field both ways.
    """
    below: dict[str, Any] = dict(base)
    for name in _NAMES:
        own = change.get(name.section) if isinstance(change, Mapping) else None
        if not isinstance(own, Mapping):
            continue
        refuse_both(name.section, own)
        for said, other in ((name.in_steps, name.in_time), (name.in_time, name.in_steps)):
            section = below.get(name.section)
            if said in own and isinstance(section, Mapping) and other in section:
                below[name.section] = {key: value for key, value in section.items() if key != other}
    return merged(below, change)


def refuse_both(section: str, names: Any) -> None:
    """Refuse names of a section that say one thing twice.

    Raises
    ------
    ScenarioError
        If a field is named in steps and in time.
    """
    for name in _NAMES:
        if name.section == section and name.in_steps in names and name.in_time in names:
            expected = f"either this or {section}.{name.in_steps}"
            raise ScenarioError(f"{section}.{name.in_time}: expected {expected}, received both")


def in_time(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tree in which everything said in steps is said in time.

    Parameters
    ----------
    tree : mapping
        A whole scenario.

    Raises
    ------
    ScenarioError
        If a number of steps is none.
    """
    run = tree.get("run")
    step = run.get("dt", 1.0) if isinstance(run, Mapping) else 1.0
    result = tree
    for name in _NAMES:
        section = result.get(name.section)
        if not isinstance(section, Mapping) or name.in_steps not in section:
            continue
        path = f"{name.section}.{name.in_steps}"
        count = _count(path, section[name.in_steps], name.least, _MOST[name.is_rate])
        said = {key: value for key, value in section.items() if key != name.in_steps}
        # A step that is none is refused for itself.
        if isinstance(step, int | float) and not isinstance(step, bool) and step > 0.0:
            said[name.in_time] = count / step if name.is_rate else count * step
        if name.is_deprecated:
            new = f"{name.section}.{name.in_time}"
            warnings.warn(
                f"{path} is deprecated: say {new}, which holds when run.dt changes",
                FutureWarning,
                stacklevel=4,
            )
        result = {**result, name.section: said}
    return result


def _count(path: str, value: Any, least: int, most: int) -> int:
    """A whole number within bounds; 1e3 in YAML is a float and means 1000."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ScenarioError(expectation(path, "a whole number", value))
    if value < least:
        raise ScenarioError(expectation(path, f"a number >= {least}", value))
    if value > most:
        raise ScenarioError(expectation(path, f"a number <= {most:g}", value))
    return value
