"""The folder of a result: what may be replaced, and how it is, so that no moment leaves half of it."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cascade_sim.columns import TABLES
from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.manifest import RUN_KIND
from cascade_sim.table_files import SCENARIO_FILE, read_json, reason_of
from cascade_sim.temporaries import abandoned, exchange, is_marked, scratch

RESULT_TABLES = tuple(TABLES)
MANIFEST, SUMMARY, SCENARIO = "manifest.json", "summary.json", SCENARIO_FILE
ARMS, SUBSETS = "arms.parquet", "counterfactual.parquet"
SUMMARY_CSV = "summary.csv"
COMPARISON_TABLES = ("runs", "arms", "differences", "ranking", "compare")
DESIGN, SCENARIOS = "design.json", "scenarios"


class FolderKind(NamedTuple):
    """A kind of result folder.

    Attributes
    ----------
    kind : str
        What its manifest says.
    what : str
        In words.
    entries : frozenset of str
        Files and folders that it may hold.
    last : str
        The file that is there only when all others are.
    """

    kind: str
    what: str
    entries: frozenset[str]
    last: str = SUMMARY


_OF_ALL = frozenset((MANIFEST, SUMMARY, "charts", "report.html"))
RUN = FolderKind(
    RUN_KIND,
    "result folder",
    _OF_ALL.union((SCENARIO, ARMS, SUBSETS), (f"{name}.parquet" for name in RESULT_TABLES)),
)
CSV = FolderKind(
    "cascade_sim.csv",
    "folder of CSV tables",
    frozenset((MANIFEST, SUMMARY_CSV, "arms.csv", "counterfactual.csv")).union(
        f"{name}.csv" for name in RESULT_TABLES
    ),
    last=SUMMARY_CSV,
)
COMPARISON = FolderKind(
    "cascade_sim.comparison",
    "folder of a comparison",
    _OF_ALL.union((DESIGN, SCENARIOS), (f"{name}.parquet" for name in COMPARISON_TABLES)),
)
SWEEP = FolderKind(
    "cascade_sim.sweep",
    "folder of a sweep",
    _OF_ALL.union(("design.parquet", "experiment.yaml", "table.parquet", "runs")),
)
_KINDS = (RUN, COMPARISON, SWEEP, CSV)
KNOWN_ENTRIES = frozenset().union(*(each.entries for each in _KINDS))
_LAST = frozenset(each.last for each in _KINDS)
_PREVIOUS, _REPLACED = "previous", "replaced"
"""Kinds of temporary folders: a result that is making room, and the files of one."""
_ALL = "all"
"""Says in a temporary folder that nothing of the earlier result is left outside of it."""


def sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stays(target: Path) -> bool:
    """Whether a folder cannot be moved away: a mount point, or the place the caller stands in."""
    here: tuple[Path, ...] = ()
    with suppress(FileNotFoundError):  # somebody may have removed it
        here = (Path.cwd(), *Path.cwd().parents)
    return target.is_dir() and (target.is_mount() or target in here)


def refuse_foreign(target: Path, wanted: FolderKind = RUN) -> None:
    """Refuse to replace anything that is not a folder of this kind, so that no file of the user is lost."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"expected a folder for the result, received the file {target}")
    entries = {entry.name for entry in target.iterdir()}
    if all(is_marked(name) for name in entries):
        return
    foreign = sorted(name for name in entries - wanted.entries if not is_marked(name))
    expected = f"expected a {wanted.what} or a new one, received {target}"
    if foreign:
        raise OutputError(f"{expected}, which holds {foreign[0]}")
    try:
        kind = read_json(target / MANIFEST).get("kind")
    except DataFileError:
        kind = None
    if kind != wanted.kind:
        raise OutputError(f"{expected} without a manifest of a {wanted.kind.rpartition('.')[2]}")


def save_folder(target: Path, kind: FolderKind, write: Callable[[Path], None]) -> Path:
    """Write a folder, whole or not at all.

    Everything is written into a hidden folder beside the target and moved into place at the end, the file that tells
    that it is whole last. An earlier folder of the same kind in the same place is replaced. A target that cannot be
    moved (a mount point, the working directory) is filled from a hidden folder inside it. What a killed process left
    behind there is removed, and what it had moved away is put back.

    Parameters
    ----------
    target
        Folder to create or replace; parents are created.
    kind
        What it is.
    write
        Called with the hidden folder.

    Returns
    -------
    pathlib.Path
        The folder, absolute.

    Raises
    ------
    OutputError
        If the folder holds something of another kind, or the disk refuses.
    """
    target = target.resolve()
    refuse_foreign(target, kind)
    inside = stays(target)
    missing = [parent for parent in target.parents if not parent.exists()]
    place = target if inside else target.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        restore_or_remove(place)
        with scratch(place) as unfinished:
            write(unfinished)
            sync_folder(unfinished)
            if inside:
                move_inside(unfinished, target, kind.last)
            else:
                move_into_place(unfinished, target)
            sync_folder(place)
    except (OSError, OutputError) as error:
        raise refused(f"expected to write the {kind.what} {target}", error) from error
    finally:
        for parent in missing:
            with suppress(OSError):  # it holds something, as it should
                parent.rmdir()
    return target


def refused(expected: str, error: OSError | OutputError) -> OutputError:
    """What to raise when the disk refuses: it names the user's folder, not the hidden one."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return OutputError(f"{expected}, received: {reason_of(cause) if isinstance(cause, OSError) else error}")


def move_into_place(unfinished: Path, target: Path) -> None:
    if not target.exists():
        os.replace(unfinished, target)
        return
    if exchange(unfinished, target):  # what was there goes with the unfinished folder's name
        return
    with scratch(target.parent, _PREVIOUS) as previous:
        retired = previous / target.name
        try:
            os.replace(target, retired)
            os.replace(unfinished, target)
        finally:
            if retired.exists() and not target.exists():
                os.replace(retired, target)


def move_inside(unfinished: Path, target: Path, last: str = SUMMARY) -> None:
    """Replace what a folder holds; without its last file it counts as unfinished while that lasts."""
    with scratch(target, _REPLACED) as replaced:
        try:
            entries = [entry for entry in target.iterdir() if entry.name in KNOWN_ENTRIES]
            for entry in sorted(entries, key=lambda item: item.name not in _LAST):
                os.replace(entry, replaced / entry.name)
            (replaced / _ALL).touch()
            move_into(unfinished, target, last)
        finally:
            _put_back(replaced, target)


def _put_back(replaced: Path, target: Path) -> None:
    """Undo a replacement that did not come to its end, which its last file would be."""
    if any((target / name).exists() for name in _LAST):
        return
    if (replaced / _ALL).exists():
        for entry in target.iterdir():
            if entry.name in KNOWN_ENTRIES:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        (replaced / _ALL).unlink()
    for entry in sorted(replaced.iterdir(), key=lambda item: item.name in _LAST):
        os.replace(entry, target / entry.name)


def restore_or_remove(place: Path) -> None:
    """Undo what dead processes did not finish in a folder: put back what they moved away, remove the rest."""
    with abandoned(place) as found:
        for kind, path in found:
            if kind == _REPLACED:
                _put_back(path, place)
            elif kind == _PREVIOUS:
                for retired in path.iterdir():
                    if not (place / retired.name).exists():
                        os.replace(retired, place / retired.name)


def move_into(source: Path, target: Path, last: str) -> None:
    """Move what a folder holds into another, file by file, over what is there.

    Parameters
    ----------
    source
        Folder that is left empty, but for folders.
    target
        Existing folder of the same file system.
    last
        Name of the file that is moved when all others have been.
    """
    for entry in sorted(source.iterdir(), key=lambda item: (item.name == last, item.name)):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            move_into(entry, place, last)
        else:
            os.replace(entry, place)
