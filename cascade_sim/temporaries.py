"""Files and folders in the making: marked as ours, locked while their process lives, removed when it is dead.

A process that is killed cannot tidy up behind itself, but the system takes its locks away. So what carries the mark,
belongs to the same user and is locked by nobody was left by a dead process, also by one of another container.
"""

import ctypes
import errno
import os
import re
import shutil
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

if sys.platform != "win32":  # without such locks nothing is known to be dead, and nothing is removed
    import fcntl

_MARKED = re.compile(r"\.cascade_sim-(?P<kind>[a-z]+)-\d+-[0-9a-f]{12}\Z")
_TRIES = 10
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def is_marked(name: str) -> bool:
    """Tell whether a name is one that this module gives.

    Parameters
    ----------
    name
        Without its folder.

    Returns
    -------
    bool
    """
    return _MARKED.match(name) is not None


@contextmanager
def scratch(parent: Path, kind: str = "unfinished") -> Iterator[Path]:
    """Lend a folder that goes at the end, wherever that comes; what is moved out of it stays.

    Parameters
    ----------
    parent
        Existing folder to make it in.
    kind
        A word of lower-case letters that says what it holds, see `abandoned`.

    Yields
    ------
    Path
        Marked and locked.
    """
    path, lock = _made(parent, kind)
    try:
        yield path
    finally:
        _remove(path)
        if lock is not None:
            os.close(lock)


@contextmanager
def unfinished_file(parent: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Lend a file to write, which goes at the end unless it has been given another name.

    Parameters
    ----------
    parent
        Existing folder to make it in.

    Yields
    ------
    tuple of Path and binary file
    """
    path = parent / _name("unfinished")
    try:
        with path.open("xb") as stream:
            _lock(stream.fileno())
            yield path, stream
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def abandoned(parent: Path) -> Iterator[Iterator[tuple[str, Path]]]:
    """Lend the folders and files of dead processes; what is still there at the end is removed.

    Parameters
    ----------
    parent
        Folder to look into, not below it.

    Yields
    ------
    iterator of (kind, path)
        Each locked until the next is taken, then removed.
    """
    found = _abandoned(parent)
    try:
        yield found
    finally:
        for _ in found:
            pass


def remove_abandoned(parent: Path) -> None:
    """Remove what dead processes left in a folder.

    Parameters
    ----------
    parent
        The folder; where it cannot be read nothing is removed.
    """
    with abandoned(parent):
        pass


def exchange(first: Path, second: Path) -> bool:
    """Let two folders take each other's place in one operation.

    Parameters
    ----------
    first, second
        Existing paths of one file system.

    Returns
    -------
    bool
        False where the system or the file system has no such operation; then nothing has happened.

    Raises
    ------
    OSError
        If it is refused for another reason.
    """
    if sys.platform != "linux":
        return False
    rename: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number))


def _name(kind: str) -> str:
    return f".cascade_sim-{kind}-{os.getpid()}-{uuid.uuid4().hex[:12]}"


def _made(parent: Path, kind: str) -> tuple[Path, int | None]:
    """Make a folder and lock it, anew if somebody took it for abandoned in between."""
    for _ in range(_TRIES):
        path = parent / _name(kind)
        path.mkdir()
        if sys.platform == "win32":
            return path, None
        with suppress(FileNotFoundError, BlockingIOError):
            lock = os.open(path, os.O_RDONLY)
            try:
                known = _lock(lock)
                if not known or os.path.samestat(os.fstat(lock), path.stat()):
                    return path, lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
    raise OSError(errno.EBUSY, "a folder in the making is removed again and again")


def _remove(folder: Path) -> None:
    """Remove a folder, also one that holds folders which may not be written."""
    shutil.rmtree(folder, ignore_errors=True)
    for place, _, _ in os.walk(folder):
        with suppress(OSError):
            os.chmod(place, stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


def _lock(descriptor: int) -> bool:
    """Lock without waiting; false where the file system has no locks."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _abandoned(parent: Path) -> Iterator[tuple[str, Path]]:
    if sys.platform == "win32":
        return
    try:
        names = sorted(name for name in os.listdir(parent) if is_marked(name))
    except OSError:
        return
    for name in names:
        path = parent / name
        with suppress(OSError):
            status = path.lstat()
            folder = stat.S_ISDIR(status.st_mode)
            if status.st_uid != os.getuid() or not (folder or stat.S_ISREG(status.st_mode)):
                continue
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                if not _lock(lock):
                    continue
                match = _MARKED.match(name)
                assert match is not None
                yield match["kind"], path
                if folder:
                    _remove(path)
                else:
                    path.unlink()
            finally:
                os.close(lock)
