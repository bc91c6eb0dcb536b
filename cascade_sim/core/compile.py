"""The one door to numba: typed decorators, a private kernel cache, and bit intrinsics.

numba keys its on-disk cache on a function's own file, so a kernel that inlines a callee from another file
would be loaded stale after that callee changed. The cache therefore lives in a folder whose name carries a
hash over every source file that kernels can see, and over everything else that changes machine code. Cache
entries are pickles: the folder belongs to the current user alone, or a fresh temporary one is used.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import importlib
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numba.core.cgutils
import numba.core.typing
import numba.extending
import numpy as np
from numba import types

F = TypeVar("F", bound=Callable[..., Any])

# numba publishes these without types, and llvmlite has none at all.
_config: Any = numba.config
_core: Any = numba.core
_njit: Any = numba.njit
_extending: Any = numba.extending
_llvm: Any = importlib.import_module("llvmlite.binding")

KEPT_CACHE_FOLDERS = 4
_FOLDER_PREFIX = "kernels-"
_INNER = {"cache": False, "_nrt": False, "no_cpython_wrapper": True}
_LIGHT = importlib.import_module("numba.core.config")._OptLevel(1)
_WORD_MASK = 0xFFFF_FFFF_FFFF_FFFF
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
    return _compile(function, {"cache": True, "_nrt": False})


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
    return _compile(function, {"cache": True})


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
    return _compile(function, dict(_INNER))


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
    return _compile(function, {**_INNER, "forceinline": True})


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
    return _compile(function, {**_INNER, "inline": "always"})


def cache_directory() -> Path:
    """Return the folder that holds the compiled kernels of this process; it is created if need be.

    Returns
    -------
    Path
        ``kernels-<hash>`` below ``NUMBA_CACHE_DIR`` if that is set, else below ``XDG_CACHE_HOME/cascade_sim``
        or ``~/.cache/cascade_sim``, readable by its owner only. Where that cannot be created, cannot be
        written or belongs to somebody else: a fresh temporary folder, removed when the process ends.
    """
    return _resolve_cache_directory()


def cache_is_cold() -> bool:
    """Tell whether the first call of a kernel will have to compile because the cache holds nothing yet.

    Returns
    -------
    bool
        True when compilation is on and `cache_directory` holds no index file (``*.nbi``).
    """
    return compilation_enabled() and next(cache_directory().rglob("*.nbi"), None) is None


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


def _compile(function: F, options: dict[str, Any]) -> F:
    if not compilation_enabled():
        return function
    with _kernel_cache():
        compiled = _njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)(function)
    _compile_once_per_type(compiled)
    _optimise_lightly(compiled)
    if options.get("no_cpython_wrapper", False):
        _enter_on_demand(compiled)
    return cast(F, compiled)


def _compile_once_per_type(dispatcher: Any) -> None:
    """Let a call with a constant, ``f(x, 0)``, use the machine code of ``f(x, n)``.

    numba would compile the callee anew for every literal integer; LLVM folds the constants of small functions
    anyway when it inlines them.
    """
    resolve = dispatcher.get_call_template

    def get_call_template(arguments: Any, keywords: Any) -> Any:
        plain = tuple(types.unliteral(argument) for argument in arguments)
        named = {name: types.unliteral(value) for name, value in keywords.items()}
        return resolve(plain, named)

    dispatcher.get_call_template = get_call_template


def _optimise_lightly(dispatcher: Any) -> None:
    """Have LLVM run its cheaper passes over a kernel.

    What the costlier ones add, unrolling and vectorising above all, is worth nothing in code that branches on every
    message, and costs a sixth of the compile time.
    """
    compile_function = dispatcher._compiler.compile

    def compile_lightly(arguments: Any, return_type: Any) -> Any:
        # The dispatcher holds numba's lock for compilation, so nobody else compiles meanwhile.
        before = _config.OPT
        _config.OPT = _LIGHT
        try:
            return compile_function(arguments, return_type)
        finally:
            _config.OPT = before

    dispatcher._compiler.compile = compile_lightly


def _enter_on_demand(dispatcher: Any) -> None:
    """Give a function without an entry for Python one when, and only when, Python calls it.

    Its compiled forms must not reach the dispatcher's own table: calling one from there would crash.
    """
    _translate_callers_only(dispatcher)

    def add_overload(compiled: Any) -> None:
        key = _Callee(compiled)
        dispatcher.targetctx.insert_user_function(key, compiled.fndesc, [compiled.library])
        dispatcher.overloads[tuple(compiled.signature.args)] = compiled._replace(entry_point=key)

    @functools.cache
    def entry() -> Any:
        return _njit(nogil=True, error_model="numpy")(dispatcher.py_func)

    def compile_for_arguments(*_arguments: Any) -> Any:
        return entry()

    dispatcher.add_overload = add_overload
    dispatcher._compile_for_args = compile_for_arguments


class _Callee:
    """What compiled callers know a function by that has no machine code of its own."""

    def __init__(self, compiled: Any) -> None:
        library = compiled.library
        # Callers link its optimised code and translate it with theirs; numba would translate it here as well.
        library._finalize_final_module = functools.partial(setattr, library, "_finalized", True)


def _translate_callers_only(dispatcher: Any) -> None:
    """Leave a function that only kernels call as LLVM code; machine code is made of its callers."""

    def customize_flags(flags: Any) -> Any:
        flags.no_compile = True
        return flags

    dispatcher._compiler._customize_flags = customize_flags


@contextlib.contextmanager
def _kernel_cache() -> Iterator[None]:
    # numba fixes a function's cache path when it is decorated, so the setting is lent for that moment only:
    # other numba users in the process keep theirs.
    before = _config.CACHE_DIR
    _config.CACHE_DIR = os.fspath(cache_directory())
    try:
        yield
    finally:
        _config.CACHE_DIR = before


def _word_signature(context: Any) -> Callable[[Any], Any]:
    def typer(word: Any) -> Any:
        return _core.typing.signature(types.int64, types.uint64) if isinstance(word, types.Integer) else None

    return typer


def _lower_trailing_zeros(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.cttz(arguments[0], _core.cgutils.false_bit)


def _lower_leading_zeros(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
    return builder.ctlz(arguments[0], _core.cgutils.false_bit)


_extending.type_callable(trailing_zeros)(_word_signature)
_extending.type_callable(leading_zeros)(_word_signature)
_extending.lower_builtin(trailing_zeros, types.uint64)(_lower_trailing_zeros)
_extending.lower_builtin(leading_zeros, types.uint64)(_lower_leading_zeros)


@functools.lru_cache(maxsize=1)
def _resolve_cache_directory() -> Path:
    name = _FOLDER_PREFIX + _code_hash()
    for parent in _candidate_parents():
        folder = parent / name
        if _claim(folder):
            _remove_old_folders(parent, keep=folder)
            return folder
    folder = Path(tempfile.mkdtemp(prefix="cascade_sim-kernels-"))
    atexit.register(_remove_own_folder, folder, os.getpid())
    return folder


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
        if _is_private(parent, allowed_bits=0o755):
            yield parent


def _claim(folder: Path) -> bool:
    """Create the folder if need be; true if it is this user's alone and can be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(folder, allowed_bits=0o700):
            return False
        with tempfile.TemporaryFile(dir=folder):
            pass
        os.utime(folder)
    except OSError:
        return False
    return True


def _is_private(folder: Path, allowed_bits: int) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if not hasattr(os, "getuid"):  # on Windows the user's profile is private by its access list
        return True
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o777 & ~allowed_bits


def _remove_old_folders(parent: Path, keep: Path) -> None:
    dated: list[tuple[float, Path]] = []
    for folder in parent.glob(_FOLDER_PREFIX + "*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and folder != keep:
                dated.append((status.st_mtime, folder))
    dated.sort(reverse=True)
    for _, folder in dated[KEPT_CACHE_FOLDERS - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_own_folder(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked child inherits the exit handler but not the folder
        shutil.rmtree(folder, ignore_errors=True)


def _code_hash() -> str:
    digest = hashlib.sha256()
    package = Path(__file__).resolve().parent.parent
    # Kernels freeze the enums' values, so the domain counts as kernel source.
    for room in ("core", "domain"):
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    facts = [numba.__version__, np.__version__, platform.python_version(), platform.machine()]
    facts += [_llvm.get_host_cpu_name()]
    facts += [f"{setting}={getattr(_config, setting, None)}" for setting in _CODE_SETTINGS]
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:24]
