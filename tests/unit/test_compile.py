"""The kernel cache, the decorators and the bit intrinsics, compiled and with compilation off."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cascade_sim.core import compile as compile_module
from cascade_sim.core.compile import (
    KEPT_CACHE_FOLDERS,
    cache_directory,
    compilation_enabled,
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


SHOW = """
from cascade_sim.core.compile import cache_directory, cache_is_cold, kernel
print(cache_directory()); print(cache_is_cold())
"""

# Compiled from a file because numba caches only functions that have one.
USE = """
import os, sys
from cascade_sim.core import compile
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
        "from cascade_sim.core.compile import kernel\n\n\n@kernel\ndef double(value):\n    return value * 2\n"
    )
    return folder


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
from cascade_sim.core.compile import *
from cascade_sim.core.compile import cache_is_cold
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


def test_only_the_newest_folders_are_kept(tmp_path: Path) -> None:
    parent = tmp_path / "cascade_sim"
    parent.mkdir(mode=0o700)
    for age in range(8):
        folder = parent / f"kernels-{age}"
        folder.mkdir()
        os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    (parent / "unrelated").mkdir()
    done = _run(SHOW, XDG_CACHE_HOME=str(tmp_path))
    current = Path(done.stdout.split()[0]).name
    left = {folder.name for folder in parent.iterdir()}
    assert left == {current, "unrelated"} | {f"kernels-{age}" for age in range(KEPT_CACHE_FOLDERS - 1)}


def test_hash_follows_settings_and_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        _run(SHOW, XDG_CACHE_HOME=str(tmp_path), **extra).stdout.split()[0]
        for extra in ({}, {"NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_OPT": "0"})
    }
    assert len(names) == 3
    package = tmp_path / "package"
    for room in ("core", "domain"):
        (package / room).mkdir(parents=True)
    (package / "core" / "compile.py").write_text("")
    monkeypatch.setattr(compile_module, "__file__", str(package / "core" / "compile.py"))
    hashes = [compile_module._code_hash()]
    for changed in ("core/leaf.py", "domain/enums.py"):
        (package / changed).write_text("VALUE = 1\n")
        hashes.append(compile_module._code_hash())
    assert len(set(hashes)) == 3
    assert compile_module._code_hash() == hashes[-1]


@pytest.mark.skipif(not compilation_enabled(), reason="nothing is cached without compilation")
def test_this_process_uses_its_own_folder() -> None:
    _sum_of_cubes(np.ones(1))
    cached = Path(_sum_of_cubes.stats.cache_path)  # type: ignore[attr-defined]
    assert cached.parent == cache_directory()
