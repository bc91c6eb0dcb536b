"""What kernels are made of: aligned records, and no function of numpy that works on whole arrays."""

import ast
import importlib
import math
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import cascade_sim as cs
from cascade_sim.core.ground import compile as door
from cascade_sim.core.ground.compile import compilation_enabled, kernel
from cascade_sim.core.layout.kinds import kinds_of
from cascade_sim.core.layout.sizes import SIZES

PACKAGE = Path(cs.__file__).parent
KINDS = {"kernel", "allocating_kernel", "routine", "leaf", "part", "detour"}
ALLOCATES = {np.empty, np.zeros, np.full}
"""What only an allocating kernel may call."""
NOTHING = object()


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages([os.fspath(PACKAGE)], "cascade_sim."):
        if not found.name.endswith("__main__"):
            yield importlib.import_module(found.name)


def _records(dtype: "np.dtype[Any]", name: str) -> Iterator[tuple[str, "np.dtype[Any]"]]:
    """Yield a record and those within it, by their dotted names."""
    yield name, dtype
    for field, (kind, *_) in (dtype.fields or {}).items():
        if kind.base.names:
            yield from _records(kind.base, f"{name}.{field}")


def test_every_record_is_aligned() -> None:
    found = {
        f"{module.__name__}.{name}": value
        for module in _modules()
        if module.__name__.startswith("cascade_sim.core.")
        for name, value in vars(module).items()
        if isinstance(value, np.dtype) and value.names
    }
    for sizes in SIZES:
        found |= {f"{sizes.name}.{name}": kind for name, kind in kinds_of(sizes)._asdict().items()}
    assert len(found) > 30
    for name, dtype in found.items():
        for place, each in _records(dtype, name):
            assert each.isalignedstruct, place
            for field, (kind, offset, *_) in (each.fields or {}).items():
                assert offset % kind.base.alignment == 0, f"{place}.{field}"


def _is_decorator(node: ast.expr, names: dict[str, Any]) -> str | None:
    """The kind of kernel that a decorator makes, None if it makes none."""
    value = _value(node, names)
    return next((kind for kind in KINDS if value is getattr(door, kind)), None)


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """What an expression of names and attributes stands for in a module."""
    if isinstance(node, ast.Name):
        return names.get(node.id, NOTHING)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, names)
        return getattr(owner, node.attr, NOTHING) if isinstance(owner, ModuleType) else NOTHING
    return NOTHING


def _is_of_numpy(value: Any) -> bool:
    """Whether something is a function of numpy, whatever it is called here; types and numbers are none."""
    if isinstance(value, np.ufunc):
        return True
    made_in = getattr(value, "__module__", None) or ""
    return callable(value) and not isinstance(value, type) and made_in.partition(".")[0] == "numpy"


def _offences(source: str, names: dict[str, Any]) -> list[str]:
    """What kernels of a source may not do, each with its line."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef):
            continue
        kinds = {_is_decorator(each, names) for each in function.decorator_list} - {None}
        if not kinds:
            continue
        for node in [each for statement in function.body for each in ast.walk(statement)]:
            if isinstance(node, ast.Name | ast.Attribute):
                value = _value(node, names)
                allowed = "allocating_kernel" in kinds and any(value is each for each in ALLOCATES)
                if _is_of_numpy(value) and not allowed:
                    found.append(f"{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                # A record has no methods and an array only this one, which reads bits as another type.
                owner = _value(node.func.value, names)
                if not isinstance(owner, ModuleType) and node.func.attr != "view":
                    found.append(f"{node.lineno}: {ast.unparse(node.func)}")
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


def test_no_kernel_names_a_function_of_numpy() -> None:
    kernels, found = 0, []
    for module in _modules():
        source = Path(str(module.__file__)).read_text(encoding="utf-8")
        kernels += sum(source.count(f"\n@{kind}\n") for kind in KINDS)
        found += [f"{module.__name__}:{offence}" for offence in _offences(source, vars(module))]
    assert found == []
    assert kernels > 300


@pytest.mark.parametrize(
    ("body", "offence"),
    [
        ("return np.floor(x)", "np.floor"),
        ("return renamed(x)", "renamed"),
        ("return np.clip(x, 0, 1)", "np.clip"),
        ("return x.sum()", "x.sum"),
        ("return x @ x", "x @ x"),
        ("f = np.abs\n    return f(x)", "np.abs"),
        ("return np.empty(3)", "np.empty"),
        ("return [np.rint(v) for v in x]", "np.rint"),
    ],
)
def test_what_kernels_may_not_do_is_found(body: str, offence: str) -> None:
    names = {"np": np, "renamed": np.ceil, "kernel": kernel, "math": math}
    source = f"@kernel\ndef some(x):\n    {body}\n"
    assert [line.partition(": ")[2] for line in _offences(source, names)] == [offence]
    assert _offences(source.replace("@kernel\n", ""), names) == []


def test_casts_constants_and_plain_mathematics_are_allowed() -> None:
    names = {"np": np, "kernel": kernel, "math": math, "allocating_kernel": door.allocating_kernel}
    line = "return np.int64(x) + np.nan + math.floor(abs(x)) + np.float64(x).view(np.int64) + min(x, np.inf)"
    assert _offences(f"@kernel\ndef some(x):\n    {line}\n", names) == []
    assert _offences("@allocating_kernel\ndef some(x):\n    return np.empty(x)\n", names) == []


_LOWERED = """
import collections
from pathlib import Path
import numba.np.npyimpl as implementation
import cascade_sim as cs

lowered = collections.Counter()
original = implementation.numpy_ufunc_kernel


def counted(context, builder, sig, args, ufunc, kernel_class):
    lowered[str(ufunc)] += 1
    return original(context, builder, sig, args, ufunc, kernel_class)


implementation.numpy_ufunc_kernel = counted
import numba, numpy


@numba.njit
def probe(values):
    return values + numpy.floor(1.5)


probe(numpy.zeros(2))
assert lowered, "what numba lowers functions of numpy with is another function now"
lowered.clear()
soak = Path(cs.__file__).parent / "scenarios" / "benchmark" / "soak.yaml"
busy = cs.load_scenario(soak).with_overrides({"run.steps": 20, "shock.at_seconds": 1.0, "shock.duration_seconds": 1.0})
for scenario in (cs.load_scenario("gamma_shock").with_overrides({"run.steps": 4000}), busy):
    cs.run(scenario, 1, probe=False)
    cs.run_ensemble(scenario, range(1), workers=1)
print(dict(lowered))
"""


@pytest.mark.slow
@pytest.mark.skipif(not compilation_enabled(), reason="nothing is compiled")
def test_nothing_that_is_compiled_works_on_whole_arrays(tmp_path: Path) -> None:
    # Sums of two arrays look like sums of two numbers in the source; compiled from nothing, they show.
    environment = {**os.environ, "NUMBA_CACHE_DIR": os.fspath(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _LOWERED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[-2] == "{}"
