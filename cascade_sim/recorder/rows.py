"""Rows of one kind as they come off the tape: in memory while they are few, on disk in a long run."""

import io
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade_sim.domain.errors import RecordsRefused, expectation

Records = NDArray[Any]

_BLOCK_BYTES = 8 << 20
_SMALL_BYTES = 1 << 20


class Rows:
    """Append-only rows of one record dtype.

    Parameters
    ----------
    dtype : dtype
        Of every row.
    """

    def __init__(self, dtype: "np.dtype[Any]") -> None:
        self.dtype = dtype
        self._blocks: list[Records] = []
        self._open: Records | None = None
        self._used = 0
        self._count = 0
        self._spool: io.FileIO | None = None
        self._spooled = 0

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, wherever they are."""
        return self._count * self.dtype.itemsize

    def append(self, rows: Records) -> None:
        """Copy rows to the end.

        Raises
        ------
        RecordsRefused
            If the disk does not take them; they are kept, in memory.
        """
        if self._spool is not None:
            self._append_to_spool(rows)
            return
        if self.nbytes < _SMALL_BYTES:
            self._blocks.append(np.array(rows, copy=True, subok=False))
        else:
            self._fill(rows)
        self._count += len(rows)

    def _fill(self, rows: Records) -> None:
        """Copy rows into large blocks, whose memory the system hands out in large pages: a fault costs more than a copy."""
        left = rows
        while len(left):
            if self._open is None or self._used == len(self._open):
                size = max(1, _BLOCK_BYTES // self.dtype.itemsize)
                self._open, self._used = np.empty(size, self.dtype), 0
                self._blocks.append(self._open[:0])
            taken = min(len(left), len(self._open) - self._used)
            self._open[self._used : self._used + taken] = left[:taken]
            self._used += taken
            self._blocks[-1] = self._open[: self._used]
            left = left[taken:]

    def spill(self) -> None:
        """Move all rows to a temporary file, which later ones follow; the file has no name and goes with this object.

        Raises
        ------
        RecordsRefused
            If the folder for temporary files does not take them; they stay where they are.
        """
        try:
            # Without a buffer: what a full disk refuses would come back with every later operation.
            spool: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as this object
        except OSError as error:
            raise refused(error) from error
        try:
            written = 0
            for block in self._blocks:
                written += _write(spool, block, written)
        except BaseException as error:
            spool.close()
            if isinstance(error, OSError):
                raise refused(error) from error
            raise
        weakref.finalize(self, spool.close)
        self._spool, self._spooled = spool, self._count
        self._blocks, self._open = [], None

    def _append_to_spool(self, rows: Records) -> None:
        """Write rows behind those in the file, or keep them beside it; once one is kept, all later ones are."""
        assert self._spool is not None
        error = None
        whole = self._spooled == self._count
        if whole:
            try:
                _write(self._spool, rows, self._spooled * self.dtype.itemsize)
                self._spooled += len(rows)
            except OSError as caught:
                error, whole = caught, False
        if not whole:
            self._blocks.append(np.array(rows, copy=True, subok=False))
        self._count += len(rows)
        if error is not None:
            raise refused(error) from error

    def all(self) -> Records:
        """Return every row in one array, not to be written to; rows on disk are read."""
        if self._spool is not None:
            return self.read(0, self._count)
        if len(self._blocks) > 1:
            self._blocks, self._open = [np.concatenate(self._blocks)], None
        return self._blocks[0] if self._blocks else np.empty(0, self.dtype)

    def read(self, first: int, last: int) -> Records:
        """Return the rows from ``first`` up to, not including, ``last``; not to be written to."""
        last = min(last, self._count)
        if self._spool is None:
            return self.all()[first:last]
        rows = np.empty(max(0, last - first), self.dtype)
        cut = min(max(self._spooled - first, 0), len(rows))
        self._spool.seek(first * self.dtype.itemsize)
        content = rows[:cut].view(np.uint8).data
        while len(content):
            received = self._spool.readinto(content)
            if not received:
                raise refused(OSError(f"{len(content)} bytes did not come back"))
            content = content[received:]
        if cut < len(rows):
            kept = np.concatenate(self._blocks)
            rows[cut:] = kept[first + cut - self._spooled : last - self._spooled]
        return rows

    def pieces(self, count: int) -> Iterator[Records]:
        """Yield all rows in order, ``count`` at a time; no piece if there are none."""
        for first in range(0, self._count, count):
            yield self.read(first, first + count)


class StepReader:
    """Rows that are ordered by step, taken from a :class:`Rows` step by step.

    Parameters
    ----------
    rows : Rows
        With a field ``step``.
    count : int
        Rows to read at once.
    """

    def __init__(self, rows: Rows, count: int) -> None:
        self._rows = rows
        self._pieces = rows.pieces(count)
        self._kept = np.empty(0, rows.dtype)
        self._ended = False

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            self._ended = True
        else:
            self._kept = np.concatenate((self._kept, piece))

    def horizon(self) -> int | None:
        """Return the last step that has been read and is not yet taken; None when nothing is left.

        Up to it, not including it, every row is at hand.
        """
        while not len(self._kept) and not self._ended:
            self._more()
        return int(self._kept["step"][-1]) if len(self._kept) else None

    def take(self, until: int) -> Records:
        """Take the rows whose step is below ``until``, which is at most the horizon or one of more than was read."""
        while not self._ended and (not len(self._kept) or int(self._kept["step"][-1]) < until):
            self._more()
        count = int(np.searchsorted(np.ascontiguousarray(self._kept["step"]), until, side="left"))
        taken, self._kept = self._kept[:count], self._kept[count:]
        return taken


def _write(spool: Any, rows: Records, place: int) -> int:
    """Write rows at a place of an unbuffered file; returns their bytes."""
    content = np.ascontiguousarray(rows).view(np.uint8).data
    size = len(content)
    spool.seek(place)
    while len(content):
        content = content[spool.write(content) :]
    return size


def refused(error: OSError) -> RecordsRefused:
    """What to raise when the disk takes no more of a long run."""
    where = "the records of a long run"
    return RecordsRefused(
        expectation(where, "room in the folder for temporary files (TMPDIR)", error.strerror or str(error))
    )
