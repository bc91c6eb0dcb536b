"""The one door to numba: typed decorators, a private kernel cache, and bit intrinsics.

numba keys its on-disk cache on a function's own file, so a kernel that inlines a callee from another file
would be loaded stale after that callee changed. The cache therefore lives in a folder whose name carries a
hash over every source file that kernels can see; see `cascade_sim.core.ground.cache_folder`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from cascade_sim.core.ground import cache_folder, numba_private
from cascade_sim.core.ground.cache_folder import KEPT_CACHE_FOLDERS

__all__ = [
    "KEPT_CACHE_FOLDERS",
    "allocating_kernel",
    "cache_directory",
    "cache_is_cold",
    "cache_is_kept",
    "compilation_enabled",
    "detour",
    "kernel",
    "leading_zeros",
    "leaf",
    "part",
    "routine",
    "trailing_zeros",
    "unlikely",
]

F = TypeVar("F", bound=Callable[..., Any])

# numba publishes these without types.
_config: Any = numba.config

_WORD_MASK = 0xFFFF_FFFF_FFFF_FFFF


def compilation_enabled() -> bool:
    """Tell whether kernels are compiled.

    Returns
    -------
    bool
        False under ``NUMBA_DISABLE_JIT=1``, when every kernel runs as the plain Python function it was
        written as.
    """
    return not bool(_config.DISABLE_JIT)


def kernel(function: F) -> F:
    """Compile a function that Python calls: cached, without the global lock, with IEEE division.

    Parameters
    ----------
    function : callable
        Numbers and arrays in, numbers out; it allocates nothing (see `allocating_kernel`). A division by zero
        gives ``inf`` or ``nan`` as in numpy, never an exception.

    Returns
    -------
    callable
        The compiled dispatcher, or ``function`` itself when compilation is off.
    """
    return _compile(function, "kernel")


def allocating_kernel(function: F) -> F:
    """Compile a function that Python calls and that returns new arrays; otherwise like `kernel`.

    Parameters
    ----------
    function : callable
        As for `kernel`. numba then counts references to every array, which makes large kernels slower to
        compile.

    Returns
    -------
    callable
        The compiled dispatcher, or ``function`` itself when compilation is off.
    """
    return _compile(function, "allocating_kernel")


def routine(function: F) -> F:
    """Compile a function that kernels call from several places.

    Parameters
    ----------
    function : callable
        As for `kernel`. It has no entry for Python and no cache file of its own, which a third of its compile
        time would go to; a call from Python goes through an entry compiled at that moment.

    Returns
    -------
    callable
        The compiled dispatcher, or ``function`` itself when compilation is off.
    """
    return _compile(function, "routine")


def leaf(function: F) -> F:
    """Compile a small `routine` that LLVM inlines at every call site.

    Parameters
    ----------
    function : callable
        As for `routine`. Keep it short: it is copied into each caller.

    Returns
    -------
    callable
        The compiled dispatcher, or ``function`` itself when compilation is off.
    """
    return _compile(function, "leaf")


def detour(function: F) -> F:
    """Compile a small `routine` that a busy kernel hardly ever calls: it stays out of the kernel, which does not slow down.

    Parameters
    ----------
    function : callable
        As for `routine`. LLVM never copies it into its caller, and keeps it away from code that runs often.

    Returns
    -------
    callable
        The compiled dispatcher, or ``function`` itself when compilation is off.
    """
    return _compile(function, "detour")


def part(function: F) -> F:
    """Mark a piece of a kernel that stands apart for its readers; numba copies its code into its caller.

    Parameters
    ----------
    function : callable
        As for `routine`, called from one or two places. Nothing is compiled for it alone.

    Returns
    -------
    callable
        The dispatcher that callers inline, or ``function`` itself when compilation is off.
    """
    return _compile(function, "part")


def cache_directory() -> Path | None:
    """Return the folder that holds the compiled kernels of this process; it is created if need be.

    Returns
    -------
    Path or None
        ``kernels-<hash>`` below ``NUMBA_CACHE_DIR`` if that is set, else below ``XDG_CACHE_HOME/cascade_sim``
        or ``~/.cache/cascade_sim``, readable by its owner only. Where that cannot be created, cannot be
        written or belongs to somebody else: a fresh temporary folder, removed when the process ends. None where
        that cannot be made either.
    """
    return cache_folder.resolve()


def cache_is_kept() -> bool:
    """Tell whether what is compiled now is there for the next process.

    Returns
    -------
    bool
        False for a temporary `cache_directory`, and without any.
    """
    folder = cache_directory()
    return folder is not None and not folder.name.startswith(cache_folder.TEMPORARY_PREFIX)


def cache_is_cold() -> bool:
    """Tell whether the first call of a kernel will have to compile because the cache holds nothing yet.

    Returns
    -------
    bool
        True when compilation is on and `cache_directory` holds no entry (``*.nbc``).
    """
    if not compilation_enabled():
        return False
    folder = cache_directory()
    return folder is None or next(folder.rglob("*" + cache_folder.ENTRY_SUFFIX), None) is None


def trailing_zeros(word: int) -> int:
    """Count the zero bits below the lowest set bit of a 64-bit word.

    Parameters
    ----------
    word : int
        Read as an unsigned 64-bit word. Inside kernels an LLVM ``cttz``, elsewhere plain Python.

    Returns
    -------
    int
        0 to 63, or 64 when no bit is set.
    """
    bits = int(word) & _WORD_MASK
    return (bits & -bits).bit_length() - 1 if bits else 64


def leading_zeros(word: int) -> int:
    """Count the zero bits above the highest set bit of a 64-bit word.

    Parameters
    ----------
    word : int
        Read as an unsigned 64-bit word. Inside kernels an LLVM ``ctlz``, elsewhere plain Python.

    Returns
    -------
    int
        0 to 63, or 64 when no bit is set.
    """
    return 64 - (int(word) & _WORD_MASK).bit_length()


def unlikely(value: bool) -> bool:
    """Say that a condition is hardly ever true: a kernel then keeps what follows from it out of its way.

    Parameters
    ----------
    value : bool

    Returns
    -------
    bool
        ``value``.
    """
    return value


def _compile(function: F, kind: str) -> F:
    if not compilation_enabled():
        return function
    return cast(F, numba_private.compile_function(function, kind, cache_directory()))


if compilation_enabled():
    numba_private.lower_bit_count(trailing_zeros, "cttz")
    numba_private.lower_bit_count(leading_zeros, "ctlz")
    numba_private.lower_hint(unlikely)
