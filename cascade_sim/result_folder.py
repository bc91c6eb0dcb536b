"""The folder of a result: what may be replaced, and how it is, so that no moment leaves half of it."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from cascade_sim.columns import TABLES
from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.manifest import RUN_KIND
from cascade_sim.table_files import SCENARIO_FILE, read_json
from cascade_sim.temporaries import abandoned, exchange, is_marked, scratch

RESULT_TABLES = tuple(TABLES)
MANIFEST, SUMMARY, SCENARIO = "manifest.json", "summary.json", SCENARIO_FILE
ARMS, SUBSETS = "arms.parquet", "counterfactual.parquet"
KNOWN_ENTRIES = frozenset((MANIFEST, SUMMARY, SCENARIO, ARMS, SUBSETS, "charts", "report.html")).union(
    f"{name}.parquet" for name in RESULT_TABLES
)
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


def refuse_foreign(target: Path) -> None:
    """Refuse to replace anything that is not a result folder, so that no file of the user is lost."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"expected a folder for the result, received the file {target}")
    entries = {entry.name for entry in target.iterdir()}
    if all(is_marked(name) for name in entries):
        return
    foreign = sorted(name for name in entries - KNOWN_ENTRIES if not is_marked(name))
    if foreign:
        raise OutputError(
            f"expected a result folder or a new one, received {target}, which holds {foreign[0]}"
        )
    try:
        kind = read_json(target / MANIFEST).get("kind")
    except DataFileError:
        kind = None
    if kind != RUN_KIND:
        raise OutputError(
            f"expected a result folder or a new one, received {target} without a manifest of a run"
        )


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


def move_inside(unfinished: Path, target: Path) -> None:
    """Replace what a folder holds; without its summary it counts as unfinished while that lasts."""
    with scratch(target, _REPLACED) as replaced:
        try:
            entries = [entry for entry in target.iterdir() if entry.name in KNOWN_ENTRIES]
            for entry in sorted(entries, key=lambda item: item.name != SUMMARY):
                os.replace(entry, replaced / entry.name)
            (replaced / _ALL).touch()
            move_into(unfinished, target, last=SUMMARY)
        finally:
            _put_back(replaced, target)


def _put_back(replaced: Path, target: Path) -> None:
    """Undo a replacement that did not come to its end, which the summary would be."""
    if (target / SUMMARY).exists():
        return
    if (replaced / _ALL).exists():
        for entry in target.iterdir():
            if entry.name in KNOWN_ENTRIES:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        (replaced / _ALL).unlink()
    for entry in sorted(replaced.iterdir(), key=lambda item: item.name == SUMMARY):
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
