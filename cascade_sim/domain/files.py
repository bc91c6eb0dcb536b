"""Input files within limits: what is too large, or no regular file, is refused before it is read."""

import errno
import os
import stat
from os import PathLike

MEBIBYTE = 1 << 20
LARGEST_SCENARIO = MEBIBYTE
"""Bytes of a scenario in YAML; those of the library have 20,000."""
LARGEST_CHAIN = 64 * MEBIBYTE
"""Bytes of an option chain, CSV or JSON; all options of an exchange on one coin have a million."""
LARGEST_BRACKETS = 16 * MEBIBYTE
"""Bytes of a table of leverage brackets."""
LARGEST_JSON = 16 * MEBIBYTE
"""Bytes of the summary or the manifest of a result."""
LONGEST_INTEGER = 300
"""Digits of an integer in JSON; a double holds numbers of up to 308."""


def read_bounded(path: str | PathLike[str], most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Parameters
    ----------
    path : str or path
        The file.
    most : int
        Largest size in bytes.

    Returns
    -------
    bytes

    Raises
    ------
    OSError
        If the system refuses it.
    ValueError
        If it is a pipe or a device, or larger; the message says what it is.
    """
    # Without O_NONBLOCK, to open a pipe that nobody writes to would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("a pipe or device, not a regular file")
        if status.st_size > most:
            raise ValueError(f"a file of {status.st_size:,} bytes, more than the {most:,} that are read")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            # The size of a file under /proc is given as 0, and a file may grow.
            content = stream.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ValueError(f"a file of more than the {most:,} bytes that are read")
    return content


def bounded_integer(text: str) -> int:
    """Return the integer that ``text`` of JSON says; ValueError if it has more than LONGEST_INTEGER digits."""
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"an integer of {len(text)} digits, more than {LONGEST_INTEGER}")
    return int(text)
