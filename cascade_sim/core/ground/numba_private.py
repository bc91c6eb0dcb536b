"""The only file that touches numba's insides; where they are not the ones known, kernels are plain numba functions.

numba's own cache numbers its entries in an index that two processes overwrite for each other, and hands what it
reads to the unpickler and the linker as it is. The cache here has one file per function and signature, written
under another name first, with a checksum over all of it; whatever is not whole is compiled again.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import importlib
import inspect
import os
import pickle
import stat
import sys
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
from numba import types

from cascade_sim.core.ground.cache_folder import ENTRY_SUFFIX, belongs_to_user, say_once

_config: Any = numba.config
_njit: Any = numba.njit
_compiler: Any = importlib.import_module("numba.core.compiler")
_ir: Any = importlib.import_module("numba.core.ir")
_cpu: Any = importlib.import_module("numba.core.cpu")
_lowering: Any = importlib.import_module("numba.core.lowering")
_settings: Any = importlib.import_module("numba.core.config")
_typing: Any = importlib.import_module("numba.core.typing")
_cgutils: Any = importlib.import_module("numba.core.cgutils")
_llvm: Any = importlib.import_module("llvmlite.ir")
_extending: Any = importlib.import_module("numba.extending")
_runtime: Any = getattr(importlib.import_module("numba.core.runtime.nrt"), "rtsys", None)
_dumps: Any = importlib.import_module("numba.core.serialize").dumps

_HEAD = b"cascade_sim kernel 1\n"
_CHECKSUM_BYTES = 32
# What numba rewrites are expressions of whole arrays and branches on types, which kernels do not have. What a function does not
# say itself, numba takes over from the caller that happens to need it first: all that a leaf calls would be copied into its
# callers, and a user's function with fastmath would make sums of ours inexact for everybody.
_PLAIN = {"no_rewrites": True, "forceinline": False, "fastmath": False}
_INNER = {**_PLAIN, "_nrt": False, "no_cpython_wrapper": True}
OPTIONS: dict[str, dict[str, Any]] = {
    "kernel": {**_PLAIN, "_nrt": False},
    "allocating_kernel": _PLAIN,
    "routine": _INNER,
    "leaf": {**_INNER, "forceinline": True},
    "part": {**_INNER, "inline": "always"},
    "detour": {**_INNER, "_dbg_optnone": True},
}
"""Options of numba by kind of function."""
_CACHED = ("kernel", "allocating_kernel")
_PUBLIC_OPTIONS = ("fastmath", "forceinline", "inline")

KNOWN_INSIDES: dict[str, tuple[str, ...]] = {
    "dispatcher": (
        "_cache", "_compiler", "_compile_for_args", "add_overload", "get_call_template", "overloads", "targetctx",
    ),
    "function compiler": ("compile", "_customize_flags"),
    "CompileResult": ("_reduce", "_rebuild", "_replace"),
    "Flags": ("no_compile",),
    "CPUTargetOptions": (
        "_nrt", "no_cpython_wrapper", "no_cfunc_wrapper", "no_rewrites", "forceinline", "_dbg_optnone",
    ),
    "Lower": ("setup_function",),
    "CodeLibrary": ("_finalize_final_module", "_optimize_final_module", "has_dynamic_globals"),
    "config": ("_OptLevel", "OPT"),
    "runtime": ("initialize",),
    "intermediate representation": ("Loc", "Scope"),
    "types": ("Record",),
}  # fmt: skip
"""What is used of numba that it does not publish."""


def compile_function(function: Callable[..., Any], kind: str, folder: Path | None) -> Any:
    """Compile a function as one of the kinds in `OPTIONS`.

    Parameters
    ----------
    function : callable
    kind : str
        A name of one of the decorators of `cascade_sim.core.ground.compile`.
    folder : Path or None
        Where machine code is kept; None for nowhere.

    Returns
    -------
    Dispatcher
    """
    options, cached = OPTIONS[kind], kind in _CACHED and folder is not None
    if unknown_insides():
        public = {name: value for name, value in options.items() if name in _PUBLIC_OPTIONS}
        with _folder_of_numba(folder if cached else None):
            return _njit(nogil=True, error_model="numpy", cache=cached, **public)(function)
    compiled = _njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options)(function)
    if cached:
        compiled._cache = KernelCache.of(function, folder) or compiled._cache
    _compile_once_per_type(compiled)
    _optimise_lightly(compiled)
    if options.get("no_cpython_wrapper", False):
        _enter_on_demand(compiled)
    return compiled


@functools.lru_cache(maxsize=1)
def unknown_insides() -> str:
    """Name the first of numba's insides that is not as known; empty if all are."""
    probe = _njit(_nothing)
    holders = {
        "dispatcher": probe,
        "function compiler": getattr(probe, "_compiler", None),
        "CompileResult": getattr(_compiler, "CompileResult", None),
        "Flags": getattr(_compiler, "Flags", None),
        "CPUTargetOptions": getattr(_cpu, "CPUTargetOptions", None),
        "Lower": getattr(_lowering, "Lower", None),
        "CodeLibrary": getattr(importlib.import_module("numba.core.codegen"), "CPUCodeLibrary", None),
        "config": _settings,
        "runtime": _runtime,
        "intermediate representation": _ir,
        "types": types,
    }
    for holder, names in KNOWN_INSIDES.items():
        for name in names:
            if not hasattr(holders[holder], name):
                say_once(
                    f"a numba whose {holder} has {name}",
                    f"numba {numba.__version__}",
                    "kernels are compiled by its public part alone, which takes several times as long",
                )
                return f"{holder}.{name}"
    return ""


def _nothing() -> None:
    return None


class KernelCache:
    """Machine code of one function on disk, by signature; what numba asks and tells when it compiles.

    Parameters
    ----------
    function : callable
    source : Path
        File that the function is written in.
    folder : Path
        Private to the current user: entries are pickles.
    """

    def __init__(self, function: Any, source: Path, folder: Path) -> None:
        place = os.fspath(source.parent)
        self._function = function
        self._source = source
        self._folder = folder / f"{source.parent.name}_{hashlib.sha256(place.encode()).hexdigest()[:16]}"
        name = f"{source.stem}.{function.__qualname__}".replace("<", "").replace(">", "")[-120:]
        version = f"py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}"
        self._base = f"{name}-{function.__code__.co_firstlineno}.{version}."
        self._enabled = True

    @classmethod
    def of(cls, function: Any, folder: Path | None) -> KernelCache | None:
        """Return the cache of a function; None if it has no source file or there is no folder."""
        source = Path(inspect.getfile(function)).absolute()
        return cls(function, source, folder) if folder is not None and source.is_file() else None

    @property
    def cache_path(self) -> str:
        """Folder of the entries."""
        return os.fspath(self._folder)

    def enable(self) -> None:
        """Read and write entries."""
        self._enabled = True

    def disable(self) -> None:
        """Neither read nor write entries."""
        self._enabled = False

    def flush(self) -> None:
        """Remove every entry of the function."""
        with contextlib.suppress(OSError):
            for entry in self._folder.iterdir():
                if entry.name.startswith(self._base) and entry.name.endswith(ENTRY_SUFFIX):
                    with contextlib.suppress(OSError):
                        entry.unlink()

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return what was compiled for a signature; None if nothing is kept, or nothing whole."""
        if not self._enabled:
            return None
        # What machine code calls of numba's runtime has to have an address; all else that `target.refresh` brings is
        # there to compile, takes as long as four hours of a market, and comes when something is compiled.
        _runtime.initialize(target)
        path = self._path(signature)
        try:
            held = _read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say_damaged(path, error.strerror or type(error).__name__)
            return None
        start = len(_HEAD) + _CHECKSUM_BYTES
        body = memoryview(held)[start:]
        if held[:start] != _HEAD + hashlib.sha256(body).digest():
            self._say_damaged(path, f"{len(held)} bytes with a wrong checksum")
            return None
        try:
            key, parts = pickle.loads(body)
            if key != self._key(signature, target.codegen()):
                return None
            return _compiler.CompileResult._rebuild(target, *parts)
        # Whatever does not load is compiled, which either works or says what is wrong.
        except Exception as error:
            self._say_damaged(path, type(error).__name__)
            return None

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep what was compiled for a signature, if the disk takes it."""
        if not self._enabled:
            return
        if compiled.library.has_dynamic_globals or any(not loop.can_cache for loop in compiled.lifted):
            warnings.warn(f"kernel {self._base} holds addresses, so it cannot be kept", stacklevel=2)
            return
        parts = compiled._reduce()
        try:
            body = _dumps((self._key(signature, compiled.codegen), parts))
            with contextlib.suppress(FileExistsError):
                self._folder.mkdir(mode=0o700)
            _write(self._path(signature), _HEAD + hashlib.sha256(body).digest() + body)
        except OSError as error:
            say_once(
                f"room for an entry in {self._folder.parent}",
                error.strerror or type(error).__name__,
                "what is compiled now is not kept",
            )

    def _say_damaged(self, path: Path, received: str) -> None:
        say_once(f"a whole entry {path.name} in {path.parent}", received, "kernels are compiled again")

    def _path(self, signature: Any) -> Path:
        # Types that are equal are written alike; the key in the entry has the last word.
        digest = hashlib.sha256(str(signature).encode()).hexdigest()[:24]
        return self._folder / f"{self._base}{digest}{ENTRY_SUFFIX}"

    def _key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        """Everything that an entry depends on and that the folder's name does not carry."""
        cells = tuple(cell.cell_contents for cell in self._function.__closure__ or ())
        code = hashlib.sha256(self._function.__code__.co_code).digest()
        closure = hashlib.sha256(_dumps(cells)).digest() if cells else b""
        status = self._source.stat()
        stamp = _source_hash(self._source, status.st_mtime_ns, status.st_size)
        return signature, codegen.magic_tuple(), code, closure, stamp


@functools.cache
def _source_hash(source: Path, _modified: int, _size: int) -> bytes:
    return hashlib.sha256(source.read_bytes()).digest()


def _read(path: Path) -> bytes:
    # A link may lead to somebody else's file, and a pipe would wait for a writer.
    flags = (
        os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not belongs_to_user(status):
            raise PermissionError(0, "what is no file of the current user")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(part, flags, 0o600), "wb") as file:
            file.write(content)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


@contextlib.contextmanager
def _folder_of_numba(folder: Path | None) -> Iterator[None]:
    # numba fixes a function's cache path when it is decorated, so the setting is lent for that moment only:
    # other numba users in the process keep theirs.
    with _lent(_config, "CACHE_DIR", os.fspath(folder)) if folder is not None else contextlib.nullcontext():
        yield


def lower_bit_count(function: Callable[[int], int], instruction: str) -> None:
    """Let kernels compute a function of one 64-bit word by an instruction that counts zero bits.

    Parameters
    ----------
    function : callable
    instruction : str
        ``cttz`` or ``ctlz``, which take a flag that a word of zero is undefined; it is not.
    """

    def word_signature(_context: Any) -> Callable[[Any], Any]:
        def typer(word: Any) -> Any:
            return _typing.signature(types.int64, types.uint64) if isinstance(word, types.Integer) else None

        return typer

    def lower(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return getattr(builder, instruction)(arguments[0], _cgutils.false_bit)

    _extending.type_callable(function)(word_signature)
    _extending.lower_builtin(function, types.uint64)(lower)


def lower_hint(function: Callable[[bool], bool]) -> None:
    """Let kernels say by a function of one truth value, which it returns, that the value is false almost always."""

    def hint_signature(_context: Any) -> Callable[[Any], Any]:
        def typer(value: Any) -> Any:
            return _typing.signature(types.boolean, types.boolean) if value == types.boolean else None

        return typer

    def lower(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bit = arguments[0].type
        whole = _llvm.FunctionType(bit, [bit, bit])
        expect = builder.module.declare_intrinsic("llvm.expect", [bit], whole)
        return builder.call(expect, [arguments[0], bit(0)])

    _extending.type_callable(function)(hint_signature)
    _extending.lower_builtin(function, types.boolean)(lower)


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
    """Have LLVM leave its costliest passes over a kernel out: they add nothing to code that branches on every message."""
    compile_function, light = dispatcher._compiler.compile, _light()

    def compile_lightly(arguments: Any, return_type: Any) -> Any:
        # The dispatcher holds numba's lock for compilation, so nobody else compiles meanwhile.
        if _config.OPT is light:
            return compile_function(arguments, return_type)
        with (
            _lent(_config, "OPT", light),
            _lent(_lowering.Lower, "setup_function", _set_up),
            _nothing_twice(),
        ):
            return compile_function(arguments, return_type)

    dispatcher._compiler.compile = compile_lightly


_set_up_by_numba: Any = getattr(getattr(_lowering, "Lower", None), "setup_function", None)


def _set_up(lower: Any, description: Any) -> None:
    """Begin a function; one that numba would keep apart by not optimising it at all, LLVM keeps apart as hardly ever run."""
    _set_up_by_numba(lower, description)
    attributes = lower.function.attributes
    if "optnone" in attributes:
        attributes.discard("optnone")
        attributes.add("cold")


@functools.cache
def _light() -> Any:
    return _settings._OptLevel(2)


@contextlib.contextmanager
def _nothing_twice() -> Iterator[None]:
    """Spare numba, as long as it compiles, what it does over and over: a fifth of a cold start.

    Before each of its passes over a function it writes the types of the arguments out, whole worlds of records; and a
    function that it copies into another it copies with the table of all names, and the line in the source of each, once
    per block. A tenth of the time went to looking for garbage.
    """
    described: dict[int, tuple[Any, str]] = {}
    describe = types.Record.__repr__

    def described_once(record: Any) -> str:
        held = described.get(id(record))
        if held is None:
            # The record is kept, so that no other takes its place in memory.
            held = described[id(record)] = record, describe(record)
        return held[1]

    with (
        _rarely_collected(),
        _lent(types.Record, "__repr__", described_once),
        _lent(_ir.Loc, "__deepcopy__", _itself),
        _lent(_ir.Scope, "__deepcopy__", _itself),
    ):
        yield


@contextlib.contextmanager
def _rarely_collected() -> Iterator[None]:
    """Look for cycles of garbage seldom: a compiler that builds trees of millions of parts makes few, and is asked often."""
    before = gc.get_threshold()
    if before[0] > 0:
        gc.set_threshold(max(before[0], 10_000), 100, 1_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _itself(shared: Any, _memo: Any) -> Any:
    return shared


@contextlib.contextmanager
def _lent(holder: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value for a while."""
    before = vars(holder).get(name, _nothing)
    setattr(holder, name, value)
    try:
        yield
    finally:
        if before is _nothing:
            delattr(holder, name)
        else:
            setattr(holder, name, before)


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
        # Callers link its code and optimise and translate it with theirs. numba would do both here as well, and again
        # in every function between this one and the kernel: a seventh of a cold start.
        library._finalize_final_module = functools.partial(setattr, library, "_finalized", True)
        library._optimize_final_module = _nothing


def _translate_callers_only(dispatcher: Any) -> None:
    """Leave a function that only kernels call as LLVM code; machine code is made of its callers."""

    def customize_flags(flags: Any) -> Any:
        flags.no_compile = True
        return flags

    dispatcher._compiler._customize_flags = customize_flags
