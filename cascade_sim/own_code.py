"""Code of the user's own: the module that a scenario names as ``package.module:Class``, and nothing else.

It is looked for among the installed packages, then beside the scenario file that names it, then in the working
directory. Neither folder is on the import path: no other file in them is ever imported.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module, invalidate_caches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from cascade_sim.domain.errors import ScenarioError

MODULE_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)\Z")
_LOOKED = "looked for among installed packages, beside the scenario file and in the working directory"


class _Finder(MetaPathFinder):
    """Finds the modules that scenarios named; it comes after every other finder."""

    def __init__(self) -> None:
        self.places: dict[str, Path] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        place = self.places.get(fullname) if path is None else None
        return None if place is None else PathFinder.find_spec(fullname, [os.fspath(place)], target)


_finder = _Finder()
_folders: dict[str, list[Path]] = {}


def note(tree: Any, folder: Path) -> None:
    """Remember beside which file a module is that the file names.

    Parameters
    ----------
    tree
        What the file holds.
    folder
        Where it lies; asked before the folders that were noted earlier.
    """
    for top in sorted(set(_tops(tree))):
        _put_first(top, folder.absolute())


def noted(tree: Any) -> dict[str, list[str]]:
    """Return where modules that a tree names are looked for, to be told to another process.

    Parameters
    ----------
    tree
        A scenario's tree.

    Returns
    -------
    dict
        Folders by the name of the module.
    """
    found = {}
    for top in set(_tops(tree)):
        folders = [*_folders.get(top, ()), *(place for name, place in _finder.places.items() if name == top)]
        if folders:
            found[top] = [os.fspath(folder) for folder in dict.fromkeys(folders)]
    return found


def note_again(places: Mapping[str, Sequence[str]]) -> None:
    """Take over what `noted` returned in another process.

    Parameters
    ----------
    places
        Folders by the name of the module.
    """
    for top, folders in places.items():
        for folder in reversed(folders):
            _put_first(top, Path(folder))


def load(name: str) -> ModuleType:
    """Import a module that a scenario names.

    Parameters
    ----------
    name
        Dotted name.

    Returns
    -------
    module

    Raises
    ------
    ScenarioError
        If a module of that name has been imported from elsewhere.
    ImportError
        If there is none; whatever else the module raises.
    """
    top = name.partition(".")[0]
    if top in _finder.places or (top not in sys.modules and importlib.util.find_spec(top) is None):
        place, before = _place(top), _finder.places.get(top)
        if top in sys.modules and place is not None and before not in (None, place):
            raise ScenarioError(
                f"expected one module {top} in one process, received that of {before} and that of {place}"
            )
        if place is not None:
            _finder.places[top] = place
            if _finder not in sys.meta_path:
                sys.meta_path.append(_finder)
    return import_module(name)


def reason(name: str, error: BaseException) -> str:
    """Say what a user may not know about a module that was not found.

    Parameters
    ----------
    name
        Dotted name that was imported.
    error
        What that raised.

    Returns
    -------
    str
        To be put after the error's own text; often empty.
    """
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    top, missing = name.partition(".")[0], error.name.partition(".")[0]
    if missing == top:
        return f"; {_LOOKED}"
    place = _finder.places.get(top)
    if place is None or PathFinder.find_spec(missing, [os.fspath(place)]) is None:
        return ""
    return f"; beside {top} only {top} itself is looked for: put both into one package"


def _put_first(top: str, folder: Path) -> None:
    folders = _folders.setdefault(top, [])
    if folder in folders:
        folders.remove(folder)
    folders.insert(0, folder)


def _tops(tree: Any) -> Iterator[str]:
    """First parts of all names of modules in a tree."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from _tops(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _tops(value)
    elif isinstance(tree, str) and (match := MODULE_CLASS.match(tree)) is not None:
        yield match[1].partition(".")[0]


def _place(top: str) -> Path | None:
    """Where a module is; a folder without ``__init__.py`` counts if nothing else does."""
    invalidate_caches()
    folders = list(_folders.get(top, ()))
    with suppress(OSError):  # the working directory may be gone
        folders.append(Path.cwd())
    specs = [(folder, PathFinder.find_spec(top, [os.fspath(folder)])) for folder in folders]
    found = [(folder, spec) for folder, spec in specs if spec is not None]
    whole = [folder for folder, spec in found if spec.origin is not None]
    return next(iter([*whole, *(folder for folder, _ in found)]), None)
