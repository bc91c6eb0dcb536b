"""The kernel cache, the decorators and the bit intrinsics, compiled and with compilation off."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import runpy
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from cascade_sim.core.ground import cache_folder, numba_private
from cascade_sim.core.ground.cache_folder import ENTRY_SUFFIX, KEPT_CACHE_FOLDERS, MARKER, UNUSED_SECONDS
from cascade_sim.core.ground.compile import (
    cache_directory,
    compilation_enabled,
    detour,
    kernel,
    leading_zeros,
    leaf,
    part,
    routine,
    trailing_zeros,
)

ROOT = Path(__file__).resolve().parents[2]
WORDS = [0, 1, 2, 3, 40, 1 << 31, 1 << 32, (1 << 63) | 1, 1 << 63, (1 << 64) - 1]


@leaf
def _cube(value: float) -> float:
    return value * value * value


@routine
def _halved(value: float) -> float:
    return 0.5 * value


@detour
def _quartered(value: float) -> float:
    return _halved(_halved(value))


@kernel
def _eighth(value: float) -> float:
    return _quartered(value) / 2.0 if value > 0.0 else 0.0


@kernel
def _sum_of_cubes(values: np.ndarray) -> float:
    total = 0.0
    for value in values:
        total += _cube(value)
    return total


@routine
def _shifted(value: int, by: int) -> int:
    return value + by


@part
def _twice(value: int) -> int:
    if value < 0:
        return -2 * value
    return 2 * value


@kernel
def _called_with_constants(value: int) -> int:
    return _shifted(value, 1) + _shifted(value, -7) + _shifted(2, value) + _twice(value) + _twice(-3)


@kernel
def _quotient(numerator: float, denominator: float) -> float:
    return numerator / denominator


@kernel
def _count_zeros(words: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    for i in range(words.size):
        low[i] = trailing_zeros(words[i])
        high[i] = leading_zeros(words[i])


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# The settings of this process, of which `_run` inherits none, so that both name the same owner.
SETTINGS = {name: value for name, value in os.environ.items() if name in ("NUMBA_BOUNDSCHECK", "NUMBA_OPT")}

SHOW = """
from cascade_sim.core.ground.compile import cache_directory, cache_is_cold, kernel
print(cache_directory()); print(cache_is_cold())
"""

# Compiled from a file because numba caches only functions that have one.
USE = """
import os, sys
from cascade_sim.core.ground import compile
sys.path.insert(0, os.environ["PROBE"])
print(compile.cache_is_cold())
import probe
assert probe.double(3) == 6
print(compile.cache_is_cold())
print(sum(probe.double.stats.cache_hits.values()))
"""


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    folder = tmp_path / "probe"
    folder.mkdir()
    (folder / "probe.py").write_text(
        "from cascade_sim.core.ground.compile import kernel\n\n\n@kernel\ndef double(value):\n    return value * 2\n"
    )
    return folder


@pytest.mark.kernel
def test_a_kernel_with_a_detour_that_calls_others_is_kept() -> None:
    assert _eighth(4.0) == 0.5
    if compilation_enabled():
        (compiled,) = _eighth.overloads.values()  # type: ignore[attr-defined]
        assert not compiled.library.has_dynamic_globals


def test_kernel_calls_leaf() -> None:
    assert _sum_of_cubes(np.array([1.0, 2.0, 3.0])) == 36.0


def test_routines_and_parts_compute_what_they_say() -> None:
    assert _called_with_constants(10) == 11 + 3 + 12 + 20 + 6


@pytest.mark.skipif(not compilation_enabled(), reason="counts machine code")
def test_constants_do_not_compile_a_routine_again() -> None:
    _called_with_constants(10)
    _called_with_constants.recompile()  # type: ignore[attr-defined]  # what comes from the cache compiles nothing
    assert len(_shifted.overloads) == 1  # type: ignore[attr-defined]
    assert not _twice.overloads  # type: ignore[attr-defined]


def test_python_may_call_what_has_no_entry_of_its_own() -> None:
    for _ in range(2):
        assert _shifted(2, 3) == 5
        assert _cube(2.0) == 8.0
        assert _twice(4) == 8


@pytest.mark.skipif(not compilation_enabled(), reason="plain Python division raises")
@routine
def _asked_by_a_leaf(value: float) -> float:
    while value > 1.0:
        value = 0.5 * value
    return value


@detour
def _kept_apart(value: float) -> float:
    return value + 1.0


@leaf
def _asks_first(value: float) -> float:
    return _asked_by_a_leaf(value) + _kept_apart(value)


@kernel
def _asks_through_a_leaf(value: float) -> float:
    return _asks_first(value)


@pytest.mark.skipif(not compilation_enabled(), reason="nothing is compiled")
def test_what_a_leaf_calls_is_compiled_as_what_it_is() -> None:
    # numba hands options that a function does not state down from the caller that needs it first.
    assert _asks_through_a_leaf(6.0) == 0.75 + 7.0
    _asks_through_a_leaf.recompile()  # type: ignore[attr-defined]  # what comes from the cache compiles nothing
    told = {}
    for function in (_asks_first, _asked_by_a_leaf, _kept_apart):
        (compiled,) = function.overloads.values()  # type: ignore[attr-defined]
        defined = compiled.library.get_function(compiled.fndesc.llvm_func_name)
        words = {word for each in defined.attributes for word in each.decode().split()}
        told[function.__name__] = words & {"alwaysinline", "noinline", "cold", "optnone"}
    assert told == {
        "_asks_first": {"alwaysinline"},
        "_asked_by_a_leaf": set(),
        "_kept_apart": {"noinline", "cold"},
    }


@routine
def _compensated(values: Any) -> float:
    total = 0.0
    lost = 0.0
    for index in range(len(values)):
        corrected = values[index] - lost
        following = total + corrected
        lost = (following - total) - corrected
        total = following
    return total


@kernel
def _sum(values: Any) -> float:
    return _compensated(values)


def test_a_callers_fastmath_leaves_kernels_exact() -> None:
    # Compensated summation (Kahan 1965), which a compiler that may reorder sums turns into a plain one.
    @numba.njit(fastmath=True)
    def quick(values: Any) -> Any:
        return _compensated(values)

    values = np.full(10_001, 1e-16)
    values[0] = 1.0
    assert quick(values) == _sum(values) == 1.0 + 1e-12


def test_division_by_zero_is_ieee() -> None:
    assert _quotient(1.0, 0.0) == np.inf
    assert np.isnan(_quotient(0.0, 0.0))


def test_bit_intrinsics_equal_their_definition() -> None:
    words = np.array(WORDS, dtype=np.uint64)
    low = np.empty(words.size, dtype=np.int64)
    high = np.empty(words.size, dtype=np.int64)
    _count_zeros(words, low, high)
    for word, trailing, leading in zip(WORDS, low, high, strict=True):
        digits = f"{word:064b}"
        assert trailing == trailing_zeros(word) == (64 - len(digits.rstrip("0")) if word else 64)
        assert leading == leading_zeros(word) == len(digits) - len(digits.lstrip("0"))


def test_words_may_be_numpy_scalars_and_signed() -> None:
    assert trailing_zeros(np.uint64(1 << 63)) == 63  # type: ignore[arg-type]
    assert leading_zeros(-1) == 0


def test_without_compilation_decorators_return_the_function() -> None:
    code = """
from cascade_sim.core.ground.compile import *
from cascade_sim.core.ground.compile import cache_is_cold
import types, numpy as np
def plain(word): return trailing_zeros(word) + leading_zeros(word)
assert all(wrap(plain) is plain for wrap in (kernel, allocating_kernel, routine, leaf, part))
assert not compilation_enabled() and not cache_is_cold()
print(plain(np.uint64(1 << 40)), plain(0), plain((1 << 63) | 1))
"""
    done = _run(code, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["63", "128", "0"]


def test_cold_then_warm(tmp_path: Path, probe: Path) -> None:
    home = str(tmp_path / "home")
    first = _run(USE, XDG_CACHE_HOME=home, PROBE=str(probe))
    second = _run(USE, XDG_CACHE_HOME=home, PROBE=str(probe))
    assert first.stdout.split() == ["True", "False", "0"], first.stderr
    assert second.stdout.split() == ["False", "False", "1"], second.stderr


def test_folder_is_private_and_below_the_cache_home(tmp_path: Path) -> None:
    done = _run(SHOW, XDG_CACHE_HOME=str(tmp_path))
    folder = Path(done.stdout.split()[0])
    assert folder.parent == tmp_path / "cascade_sim"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_explicit_cache_directory_is_respected(tmp_path: Path) -> None:
    done = _run(SHOW, NUMBA_CACHE_DIR=str(tmp_path / "mine"), XDG_CACHE_HOME=str(tmp_path / "other"))
    assert Path(done.stdout.split()[0]).parent == tmp_path / "mine"
    assert not (tmp_path / "other").exists()


def test_other_numba_users_keep_their_setting(tmp_path: Path) -> None:
    code = (
        "import numba; before = numba.config.CACHE_DIR\n"
        + SHOW
        + """
@kernel
def f(x):
    return x
assert numba.config.CACHE_DIR == before == ""
"""
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = _run(f"import runpy; runpy.run_path({str(script)!r})", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("obstacle", ["file", "open_to_others", "symbolic_link"])
def test_unusable_folder_gives_a_fresh_temporary_one(tmp_path: Path, probe: Path, obstacle: str) -> None:
    parent = tmp_path / "home" / "cascade_sim"
    if obstacle == "file":
        parent.parent.mkdir()
        parent.write_text("not a folder")
    elif obstacle == "open_to_others":
        parent.mkdir(parents=True)
        parent.chmod(0o777)
    else:
        (tmp_path / "elsewhere").mkdir()
        parent.parent.mkdir()
        parent.symlink_to(tmp_path / "elsewhere")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code = USE + "\nprint(compile.cache_directory())"
    environment = {"XDG_CACHE_HOME": str(tmp_path / "home"), "TMPDIR": str(temporary), "PROBE": str(probe)}
    first, second = (_run(code, **environment) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    folders = [Path(done.stdout.split()[-1]) for done in (first, second)]
    assert folders[0] != folders[1]
    assert all(folder.parent == temporary and not folder.exists() for folder in folders)


def _kept_folder(parent: Path, digit: str, age: float, owners: list[str] | None) -> Path:
    folder = parent / f"kernels-{digit * 24}"
    (folder / "core_1").mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "core_1" / f"run.1{ENTRY_SUFFIX}").touch()
    if owners is not None:
        (folder / MARKER).write_text("".join(f"{owner}\n" for owner in owners))
    os.utime(folder, (time.time() - age, time.time() - age))
    return folder


def test_a_checkout_keeps_the_newest_folders_of_its_own_and_leaves_all_others(tmp_path: Path) -> None:
    parent = tmp_path / "cascade_sim"
    parent.mkdir(mode=0o700)
    mine = f"{cache_folder._settings_hash()} {cache_folder._package()}"
    other, month = f"{cache_folder._settings_hash()} {tmp_path}", UNUSED_SECONDS + 60.0
    own = [_kept_folder(parent, "01234567"[age], 100.0 * age, [mine]) for age in range(8)]
    left = [
        _kept_folder(parent, "8", 9000.0, [other]),
        _kept_folder(parent, "9", 9000.0, [mine, other]),
        _kept_folder(parent, "a", 9000.0, ["another-setting " + mine.partition(" ")[2]]),
        _kept_folder(parent, "b", month, None),
    ]
    forgotten = [_kept_folder(parent, "c", month, [other]), _kept_folder(parent, "d", month, [])]
    done = _run(SHOW, XDG_CACHE_HOME=str(tmp_path), **SETTINGS)
    current = Path(done.stdout.split()[0])
    assert set(parent.iterdir()) == {current, *left, *own[: KEPT_CACHE_FOLDERS - 1]}, done.stderr
    assert not any(folder.exists() for folder in forgotten)
    assert (current / MARKER).read_text().splitlines() == [mine]


def test_cleaning_removes_nothing_that_it_did_not_make(tmp_path: Path) -> None:
    home = tmp_path / "home"
    month = UNUSED_SECONDS + 60.0
    notes = home / "kernels-notes"
    notes.mkdir(parents=True)
    (notes / "thesis.txt").write_text("mine")
    unmarked = _kept_folder(home, "1", month, None)
    elsewhere = _kept_folder(tmp_path / "elsewhere", "2", month, ["x"])
    (home / elsewhere.name).symlink_to(elsewhere)
    linked = _kept_folder(home, "3", month, None)
    (linked / MARKER).symlink_to(elsewhere / MARKER)
    named = home / "kernels-mine"
    _kept_folder(home, "4", month, ["x"]).rename(named)
    os.utime(named, (1.0, 1.0))
    shared = _kept_folder(home, "5", month, ["x"])
    shared.chmod(0o755)
    mixed = _kept_folder(home, "6", month, ["x"])
    (mixed / "core_1" / "thesis.txt").write_text("mine")
    (mixed / "core_1" / f"link{ENTRY_SUFFIX}").symlink_to(notes / "thesis.txt")
    (mixed / "linked").symlink_to(elsewhere)
    os.utime(mixed, (1.0, 1.0))
    done = _run(SHOW, NUMBA_CACHE_DIR=str(home))
    assert done.returncode == 0, done.stderr
    assert (notes / "thesis.txt").read_text() == "mine"
    assert all(
        any(folder.rglob(f"*{ENTRY_SUFFIX}")) for folder in (unmarked, elsewhere, linked, named, shared)
    )
    assert (home / elsewhere.name).is_symlink()
    assert (mixed / "core_1" / "thesis.txt").exists()
    assert not (mixed / "core_1" / f"run.1{ENTRY_SUFFIX}").exists()


def test_a_folder_of_that_name_with_something_in_it_is_used_and_never_marked(tmp_path: Path) -> None:
    folder = Path(_run(SHOW, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split()[0])
    (folder / MARKER).rename(folder / "own.txt")
    assert Path(_run(SHOW, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split()[0]) == folder
    assert [entry.name for entry in folder.iterdir()] == ["own.txt"]


def test_whoever_uses_a_folder_is_noted_and_checkouts_that_are_gone_are_not(tmp_path: Path) -> None:
    folder = Path(_run(SHOW, NUMBA_CACHE_DIR=str(tmp_path)).stdout.split()[0])
    (mine,) = (folder / MARKER).read_text().splitlines()
    there, gone = f"setting {tmp_path}", f"setting {tmp_path / 'gone'}"
    (folder / MARKER).write_text(f"{there}\n{gone}\n")
    for _ in range(2):
        _run(SHOW, NUMBA_CACHE_DIR=str(tmp_path))
    assert (folder / MARKER).read_text().splitlines() == [there, mine]
    assert os.listdir(folder) == [MARKER]


def test_the_temporary_folder_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below"), "TMPDIR": str(tmp_path)}
    (tmp_path / "file").touch()
    killed = _run(SHOW + "import os; os.kill(os.getpid(), 9)", **environment)
    assert killed.returncode == -9
    (left,) = tmp_path.glob("cascade_sim-kernels-*")
    running = tmp_path / "cascade_sim-kernels-running"
    running.mkdir(mode=0o700)
    (running / MARKER).write_text(f"process {os.getpid()}\n")
    (tmp_path / "cascade_sim-kernels-notes").mkdir(mode=0o700)
    assert _run(SHOW, **environment).returncode == 0
    assert not left.exists()
    assert {path.name[20:] for path in tmp_path.glob("cascade_sim-kernels-*")} == {"running", "notes"}


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte less": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "one bit": lambda path: path.write_bytes(_flipped(path.read_bytes())),
    "garbage": lambda path: path.write_bytes(b"\x80\x05garbage" * 1000),
    "a pickle with a wrong checksum": lambda path: path.write_bytes(path.read_bytes()[:53] + pickle.dumps(0)),
    "another pickle": lambda path: path.write_bytes(_entry(pickle.dumps(0))),
    "no pickle": lambda path: path.write_bytes(_entry(b"none")),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "folder with a file": lambda path: (path.unlink(), path.mkdir(), (path / "file").touch()),
    "link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "link to an entry": lambda path: path.symlink_to(path.rename(path.with_suffix(".moved"))),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "unreadable": lambda path: path.chmod(0),
}


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _entry(body: bytes) -> bytes:
    return numba_private._HEAD + hashlib.sha256(body).digest() + body


def _fresh(folder: Path) -> Any:
    """Return the probe as a process that has compiled nothing would see it."""
    return numba_private.compile_function(_plain_double, "kernel", folder)


def _plain_double(value: int) -> int:
    return value * 2


def _hits(folder: Path) -> int:
    double = _fresh(folder)
    assert double(3) == 6
    return sum(double.stats.cache_hits.values())


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return what has been said already, which is nothing."""
    said: set[str] = set()
    monkeypatch.setattr(cache_folder, "_said", said)
    return said


@pytest.mark.skipif(not compilation_enabled(), reason="nothing is cached without compilation")
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_entry_is_said_in_one_line_and_compiled_again(
    damage: str, tmp_path: Path, heard: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    if damage == "unreadable" and os.getuid() == 0:
        pytest.skip("the superuser reads everything")
    assert [_hits(tmp_path), _hits(tmp_path)] == [0, 1]
    (entry,) = tmp_path.rglob(f"*{ENTRY_SUFFIX}")
    DAMAGES[damage](entry)
    assert _hits(tmp_path) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("cascade-sim: kernel cache: expected a whole entry test_compile._plain_double")
    assert lines[0].endswith("; kernels are compiled again")
    heard.clear()
    if damage.startswith("folder"):
        assert len(lines) == 2
        assert lines[1].endswith("; what is compiled now is not kept")
        assert _hits(tmp_path) == 0
        assert capsys.readouterr().err.splitlines() == lines
    else:
        assert len(lines) == 1
        assert _hits(tmp_path) == 1
        assert capsys.readouterr().err == ""
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_with_a_damaged_cache_says_one_line(tmp_path: Path, probe: Path) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path / "home"), "PROBE": str(probe)}
    call = USE + "probe.double(3.0)"
    assert _run(call, **environment).returncode == 0
    entries = list((tmp_path / "home").rglob(f"*{ENTRY_SUFFIX}"))
    assert len(entries) == 2
    for entry in entries:
        entry.write_bytes(b"")
    done = _run(call, **environment)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    again = _run(call, **environment)
    assert (again.stderr, again.stdout.split()[-1]) == ("", "1")


@pytest.mark.skipif(not compilation_enabled(), reason="nothing is cached without compilation")
@pytest.mark.usefixtures("heard")
def test_entries_of_somebody_else_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [_hits(tmp_path), _hits(tmp_path)] == [0, 1]
    monkeypatch.setattr(numba_private, "belongs_to_user", lambda status: status.st_uid != os.getuid())
    assert _hits(tmp_path) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert "no file of the current user" in line


@pytest.mark.skipif(not compilation_enabled(), reason="nothing is cached without compilation")
def test_an_entry_follows_its_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hits = []
    for factor in (2, 2, 3, 3):
        source = tmp_path / "source.py"
        source.write_text(f"FACTOR = {factor}\ndef scaled(value):\n    return value * FACTOR\n")
        scaled = numba_private.compile_function(
            runpy.run_path(str(source))["scaled"], "kernel", tmp_path / "cache"
        )
        (tmp_path / "cache").mkdir(exist_ok=True)
        assert scaled(5) == 5 * factor
        hits.append(sum(scaled.stats.cache_hits.values()))
    assert hits == [0, 1, 0, 1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("limit", [1, 4000])
def test_a_limit_on_the_size_of_files_leaves_kernels_in_memory(
    limit: int, tmp_path: Path, probe: Path
) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" + USE
    environment = {
        "XDG_CACHE_HOME": str(tmp_path / "home"),
        "PROBE": str(probe),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = _run(limited, **environment)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("cascade-sim: kernel cache: expected room for an entry")
    assert not list((tmp_path / "home").rglob("*.nbc*"))
    free = _run(USE, **environment)
    assert free.stdout.split() == ["True", "False", "0"], free.stderr
    assert free.stderr == ""


@pytest.mark.parametrize("taken", ["all", "all but one page"])
def test_a_full_disk_leaves_kernels_in_memory(taken: str, tmp_path: Path, probe: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(home)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system of a chosen size can be mounted here")
    try:
        _fill(home / "ballast", 4096 if taken != "all" else 0)
        environment = {"NUMBA_CACHE_DIR": str(home), "PROBE": str(probe), "PYTHONDONTWRITEBYTECODE": "1"}
        done = _run(USE, **environment)
        assert done.returncode == 0, done.stderr
        (line,) = done.stderr.splitlines()
        assert "No space left on device" in line
        (home / "ballast").unlink()
        assert _run(USE, **environment).stderr == ""
        assert _run(USE, **environment).stdout.split()[-1] == "1"
    finally:
        subprocess.run(["umount", str(home)], check=True)


def _fill(path: Path, spare: int) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1024)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - spare)


def test_where_nothing_can_be_written_kernels_live_in_memory(tmp_path: Path, probe: Path) -> None:
    (tmp_path / "file").touch()
    below = str(tmp_path / "file" / "below")
    code = (
        "import tempfile\ndef refuse(*_, **__): raise FileNotFoundError(2, 'No usable temporary directory')\n"
    )
    code += "tempfile.mkdtemp = refuse\n" + USE + "print(compile.cache_directory(), compile.cache_is_kept())"
    done = _run(code, NUMBA_CACHE_DIR=below, PROBE=str(probe))
    assert done.stdout.split() == ["True", "True", "0", "None", "False"], done.stderr
    (line,) = done.stderr.splitlines()
    assert "No usable temporary directory" in line


def test_two_first_runs_at_once_both_work_and_leave_one_cache(tmp_path: Path, probe: Path) -> None:
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path),
        "PROBE": str(probe),
        "PYTHONPATH": str(ROOT),
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    call = USE + "\nprobe.double(3.0)"
    command = [sys.executable, "-W", "error", "-c", call]
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outcomes = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, outcomes
    assert all(err == "" for _, err in outcomes)
    assert len(list(tmp_path.rglob(f"*{ENTRY_SUFFIX}"))) == 2
    assert not list(tmp_path.rglob("*.part"))
    warm = _run(
        call + "\nprint(sum(probe.double.stats.cache_hits.values()))",
        XDG_CACHE_HOME=str(tmp_path),
        PROBE=str(probe),
    )
    assert warm.stdout.split()[-1] == "2"


@pytest.mark.parametrize("holder", list(numba_private.KNOWN_INSIDES))
def test_other_insides_of_numba_mean_plain_kernels(holder: str, tmp_path: Path, probe: Path) -> None:
    code = f"""
from cascade_sim.core.ground import numba_private
known = numba_private.KNOWN_INSIDES
known[{holder!r}] += ("not_there",)
"""
    checks = """
from cascade_sim.core.ground.compile import leading_zeros, leaf, part, routine
@routine
def shifted(value, by): return value + by
@leaf
def cube(value): return value * value * value
@part
def twice(value): return 2 * value
@compile.kernel
def both(value): return shifted(value, 1) + cube(value) + twice(value) + leading_zeros(value)
print(both(2), shifted(2, 3), cube(2), twice(2), numba_private.unknown_insides())
"""
    script = tmp_path / "script.py"
    script.write_text(code + USE + checks)
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PROBE": str(probe)}
    for hits in ("0", "1") if holder == "config" else ("0",):
        done = _run(f"import runpy; runpy.run_path({str(script)!r})", **environment)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split()[2] == hits
        assert done.stdout.split()[3:] == [str(3 + 8 + 4 + 62), "5", "8", "4", *f"{holder}.not_there".split()]
        (line,) = done.stderr.splitlines()
        assert "not_there" in line


def test_what_is_lent_to_numba_while_it_compiles_is_returned(tmp_path: Path, probe: Path) -> None:
    watched = """
import gc
from numba.core import config, ir, types
def now():
    own = [vars(holder).get(name) for holder, name in ((ir.Loc, "__deepcopy__"), (ir.Scope, "__deepcopy__"))]
    return [*own, types.Record.__repr__, config.OPT, gc.get_threshold()]
before = now()
"""
    after = """
assert now() == before
@compile.kernel
def wrong(value): return value.nothing
try:
    wrong(1)
except Exception as error:
    assert "nothing" in str(error)
assert now() == before
"""
    script = tmp_path / "script.py"
    script.write_text(watched + USE + after)
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PROBE": str(probe)}
    done = _run(f"import runpy; runpy.run_path({str(script)!r})", **environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_hash_follows_settings_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        _run(SHOW, XDG_CACHE_HOME=str(tmp_path), **extra).stdout.split()[0]
        for extra in ({}, {"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "0"})
    }
    assert len(names) == 3
    package = tmp_path / "package"
    for room in ("core", "domain"):
        (package / room).mkdir(parents=True)
    (package / "core" / "ground").mkdir()
    (package / "core" / "ground" / "compile.py").write_text("")
    monkeypatch.setattr(cache_folder, "__file__", str(package / "core" / "ground" / "cache_folder.py"))
    hashes = [cache_folder._code_hash("settings")]
    for changed in ("core/leaf.py", "domain/enums.py"):
        (package / changed).write_text("VALUE = 1\n")
        hashes.append(cache_folder._code_hash("settings"))
    assert len(set(hashes)) == 3
    assert cache_folder._code_hash("settings") == hashes[-1]


@pytest.mark.skipif(not compilation_enabled(), reason="nothing is cached without compilation")
def test_this_process_uses_its_own_folder() -> None:
    _sum_of_cubes(np.ones(1))
    cached = Path(_sum_of_cubes.stats.cache_path)  # type: ignore[attr-defined]
    assert cached.parent == cache_directory()
