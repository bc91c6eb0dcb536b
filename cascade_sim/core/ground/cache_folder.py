"""The folder that compiled kernels are kept in: whose it is, what makes it another, when it goes.

Its name carries a hash over every source file that kernels can see and over everything else that changes machine
code. What is in it is unpickled, so it belongs to the current user alone, or a fresh temporary one is used. Only
what a file inside marks as this package's own is ever removed: of the folders that one checkout made with one
interpreter and setting, all but the newest; of all, those that nobody used for a month.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib
import os
import platform
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np

from cascade_sim.domain.errors import expectation

# numba publishes these without types, and llvmlite has none at all.
_config: Any = numba.config
_llvm: Any = importlib.import_module("llvmlite.binding")

KEPT_CACHE_FOLDERS = 4
UNUSED_SECONDS = 30 * 86400.0
MARKER = "cascade_sim.cache"
ENTRY_SUFFIX = ".nbc"
TEMPORARY_PREFIX = "cascade_sim-kernels-"
_FOLDER_NAME = re.compile(r"kernels-[0-9a-f]{24}")
_TEMPORARY_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"\w+")
_ENTRY_NAME = re.compile(r".+\.nb[ci](\..+)?")
_CODE_SETTINGS = (
    "BOUNDSCHECK",
    "CPU_NAME",
    "CPU_FEATURES",
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "ENABLE_AVX",
    "DEBUGINFO_DEFAULT",
)
_said: set[str] = set()


def say_once(expected: str, received: str, outcome: str) -> None:
    """Tell in one line on standard error why kernels are compiled that should have been kept; once per outcome.

    Parameters
    ----------
    expected, received : str
        What the cache should have been, and what it is.
    outcome : str
        What happens instead.
    """
    if outcome not in _said and sys.stderr is not None:
        _said.add(outcome)
        line = f"cascade-sim: {expectation('kernel cache', expected, received)}; {outcome}"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(" ".join(line.split()) + "\n")


@functools.lru_cache(maxsize=1)
def resolve() -> Path | None:
    """Return the folder of this process, created if need be; None where nothing can be written at all."""
    settings = _settings_hash()
    name = f"kernels-{_code_hash(settings)}"
    owner = f"{settings} {_package()}"
    for parent in _candidate_parents():
        folder = parent / name
        with contextlib.suppress(OSError):
            if _claim(folder, owner):
                return folder
    try:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    except OSError as error:
        say_once("a folder that can be written", str(error), "every run compiles its kernels")
        return None
    atexit.register(_remove_own_folder, folder, os.getpid())
    _mark(folder, f"process {os.getpid()}")
    _remove_abandoned(folder.parent, keep=folder)
    return folder


def is_private(folder: Path, allowed_bits: int) -> bool:
    """Whether ``folder`` is one, of the current user, with no more permissions than ``allowed_bits``."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode) or not belongs_to_user(status):
        return False
    # On Windows the user's profile is private by its access list.
    return not hasattr(os, "getuid") or not stat.S_IMODE(status.st_mode) & 0o777 & ~allowed_bits


def belongs_to_user(status: os.stat_result) -> bool:
    """Whether what has this status is the current user's."""
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()


def _candidate_parents() -> Iterator[Path]:
    explicit = str(_config.CACHE_DIR or "")
    if explicit:
        yield Path(explicit).absolute()
        return
    base = os.environ.get("XDG_CACHE_HOME", "")
    with contextlib.suppress(RuntimeError):  # no home directory is known
        # The XDG base-directory specification says that a relative path is to be ignored.
        root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        parent = root / "cascade_sim"
        with contextlib.suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
            parent.mkdir(mode=0o700, exist_ok=True)
        if is_private(parent, allowed_bits=0o755):
            yield parent


def _claim(folder: Path, owner: str) -> bool:
    """Create the folder if need be; true if it is this user's alone and can be written."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    created = True
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        created = False
    if not is_private(folder, allowed_bits=0o700):
        return False
    with tempfile.TemporaryFile(dir=folder):
        pass
    os.utime(folder)
    _mark(folder, owner)
    if created:
        _remove_old_folders(folder.parent, folder, owner)
    return True


def _mark(folder: Path, owner: str) -> None:
    """Note in the folder's marker who uses it; a folder that holds something and no marker stays unmarked."""
    marker = folder / MARKER
    owners = _owners(folder)
    if owners is not None and owner in owners:
        return
    with contextlib.suppress(OSError):
        if owners is None:
            if not os.listdir(folder):
                # On a full disk an empty marker is left, which is one.
                with open(marker, "x", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(f"{owner}\n")
            return
        lines = [line for line in owners if os.path.exists(line.partition(" ")[2])]
        part = folder / f"{MARKER}.{os.getpid()}{ENTRY_SUFFIX}.part"
        try:
            part.write_text("\n".join([*lines, owner, ""]), encoding="utf-8", errors="surrogateescape")
            part.replace(marker)
        finally:
            part.unlink(missing_ok=True)


def _owners(folder: Path) -> list[str] | None:
    """Return the lines of a folder's marker; None if it has none of the current user."""
    marker = folder / MARKER
    try:
        status = marker.lstat()
        if not stat.S_ISREG(status.st_mode) or not belongs_to_user(status):
            return None
        return marker.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None


def _remove_old_folders(parent: Path, keep: Path, owner: str) -> None:
    now, mine = time.time(), []
    for folder, owners, used in _marked_folders(parent, _FOLDER_NAME, keep):
        if now - used > UNUSED_SECONDS:
            _remove(folder)
        elif owners == [owner]:
            mine.append((used, folder))
    mine.sort(reverse=True)
    for _, folder in mine[KEPT_CACHE_FOLDERS - 1 :]:
        _remove(folder)


def _remove_abandoned(parent: Path, keep: Path) -> None:
    """Remove the temporary folders of processes that were killed."""
    for folder, owners, _ in _marked_folders(parent, _TEMPORARY_NAME, keep):
        numbers = [int(line[8:]) for line in owners if re.fullmatch(r"process \d{1,9}", line)]
        if numbers and not any(_is_running(number) for number in numbers):
            _remove(folder)


def _is_running(process: int) -> bool:
    if not hasattr(os, "getuid"):  # elsewhere signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _marked_folders(
    parent: Path, name: re.Pattern[str], keep: Path
) -> Iterator[tuple[Path, list[str], float]]:
    """Yield folder, owners and time of last use of those that this package made for the current user."""
    with contextlib.suppress(OSError):
        for folder in sorted(parent.iterdir()):
            if (
                folder == keep
                or not name.fullmatch(folder.name)
                or not is_private(folder, allowed_bits=0o700)
            ):
                continue
            owners = _owners(folder)
            if owners is not None:
                with contextlib.suppress(OSError):
                    yield folder, owners, folder.lstat().st_mtime


def _remove(folder: Path) -> None:
    """Remove a marked folder; what this package did not write stays, and the folder with it."""
    with contextlib.suppress(OSError):
        for inner in list(os.scandir(folder)):
            if inner.is_dir(follow_symlinks=False):
                _remove_entries(Path(inner.path))
                with contextlib.suppress(OSError):
                    os.rmdir(inner.path)
        _remove_entries(folder)
        if os.listdir(folder) == [MARKER]:
            (folder / MARKER).unlink()
            folder.rmdir()


def _remove_entries(folder: Path) -> None:
    for entry in list(os.scandir(folder)):
        if _ENTRY_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.unlink(entry.path)


def _remove_own_folder(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child inherits the exit handler but not the folder
        _remove(folder)


def _package() -> Path:
    return Path(__file__).resolve().parents[2]


def _settings_hash() -> str:
    """Hash of everything but sources that changes machine code."""
    facts = [numba.__version__, np.__version__, platform.python_version(), platform.machine()]
    facts += [_llvm.get_host_cpu_name()]
    facts += [f"{setting}={getattr(_config, setting, None)}" for setting in _CODE_SETTINGS]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:24]


def _code_hash(settings: str) -> str:
    digest = hashlib.sha256()
    package = _package()
    # Kernels freeze the enums' values, so the domain counts as kernel source.
    for room in ("core", "domain"):
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    digest.update(settings.encode())
    return digest.hexdigest()[:24]
