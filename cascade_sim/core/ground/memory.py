"""Large zeroed records whose pages cost nothing until they are touched."""

import contextlib
import mmap
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PAGE = mmap.PAGESIZE
# Linux alone promises that private anonymous pages read as zero after this advice.
_DROP_PAGES: int | None = getattr(mmap, "MADV_DONTNEED", None) if sys.platform == "linux" else None


def allocate(dtype: np.dtype[Any], count: int = 1) -> Any:
    """Return zeroed records on anonymous private memory that is committed page by page.

    Huge pages are switched off where the system lets us: one touched byte would otherwise commit two
    mebibytes. The memory is given back when the last view of it is gone.

    Parameters
    ----------
    dtype : dtype
        A structured dtype.
    count : int
        Number of records, at least 0.

    Returns
    -------
    recarray, shape (count,)
        All bytes zero.
    """
    size = max(_PAGE, -(-dtype.itemsize * count // _PAGE) * _PAGE)
    if sys.platform == "win32":
        block = mmap.mmap(-1, size)
    else:
        # Without MAP_PRIVATE the pages would be shared with forked children.
        block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with contextlib.suppress(OSError):  # a Linux kernel built without huge pages knows no such advice
            block.madvise(mmap.MADV_NOHUGEPAGE)
    raw: NDArray[np.uint8] = np.frombuffer(block, np.uint8)[: dtype.itemsize * count]
    return raw.view(dtype).view(np.recarray)


def clear(records: Any) -> None:
    """Set all bytes of records from `allocate` to zero and give their pages back to the system.

    Parameters
    ----------
    records : recarray, shape (count,), or one record of it
        What `allocate` returned; every view of the same memory becomes zero with it.

    Raises
    ------
    TypeError
        When the memory does not come from `allocate`.
    """
    owner: Any = records
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = owner.obj if isinstance(owner, memoryview) else getattr(owner, "base", None)
    if owner is None:
        raise TypeError(f"expected records from allocate(), received {type(records).__name__} elsewhere")
    if _DROP_PAGES is not None:
        owner.madvise(_DROP_PAGES)
    else:
        np.frombuffer(owner, np.uint8)[:] = 0
