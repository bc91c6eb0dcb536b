"""Boundaries: who may import whom, and what no file of the project may hold."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cascade_sim"
BINARY_SUFFIXES = {".parquet", ".png", ".xz"}

# Written so that no pattern finds itself here.
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.~$}*-])/(?:w[o]rk|r[o]ot|t[m]p|h[o]me|U[s]ers)/"),
    "unfinished work": re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X|H[A]CK)\b"),
    "a note on how a file was made": re.compile(
        r"co-[a]uthored-by|\bL[L]M\b|language m[o]del|\bas an A[I]\b|\bsub-?a[g]ent\b"
        r"|\b(?:this|last|next) se[s]sion\b",
        re.IGNORECASE,
    ),
}


def tracked_files() -> list[Path]:
    """Return the files under version control that exist."""
    command = ["git", "-C", os.fspath(ROOT), "ls-files", "-z"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def imported_modules(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.relative_to(ROOT)} imports relatively"
            yield node.module or ""


def top_level_modules() -> set[str]:
    """Return the names of the modules and packages directly below cascade_sim."""
    files = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    return files | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def listed_floors() -> list[set[str]]:
    """Return the floors of the import contract, top first, each with its rooms."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = next(item for item in settings["tool"]["importlinter"]["contracts"] if item["id"] == "floors")
    assert floors["exhaustive"] is True
    return [{room.strip(" ()") for room in layer.split("|")} for layer in floors["layers"]]


def test_import_contracts_hold() -> None:
    command = [os.fspath(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    outcome = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert " 0 broken" in outcome.stdout


def test_every_module_has_a_floor() -> None:
    listed = [room for floor in listed_floors() for room in floor]
    assert len(listed) == len(set(listed))
    assert top_level_modules() <= set(listed)


def test_what_is_found_by_name_on_a_higher_floor_is_listed() -> None:
    # A result hands itself up and asks for nothing but text or a figure; nothing else goes round the contract.
    floor_of = {room: floor for floor, rooms in enumerate(listed_floors()) for room in rooms}
    upwards = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            named = re.fullmatch(r"cascade_sim\.(\w+)[\w.]*:\w+", node.value)
            if named and floor_of[named[1]] < floor_of.get(here, len(floor_of)):
                upwards.add((here, node.value))
    assert upwards == {
        ("result", "cascade_sim.plots.accessor:ResultCharts"),
        ("result", "cascade_sim.report:render_view"),
    }


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert not [
        os.fspath(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").is_file()
    ]


def test_core_knows_numbers_only() -> None:
    allowed = {"numpy", "numba"} | set(sys.stdlib_module_names)
    files = sorted((PACKAGE / "core").rglob("*.py"))
    assert files
    for path in files:
        for module in imported_modules(path):
            own = module.split(".")[:2] in (["cascade_sim", "core"], ["cascade_sim", "domain"])
            assert own or module.split(".")[0] in allowed, f"{path.relative_to(ROOT)} imports {module}"


def test_the_reference_knows_nothing_of_the_engine() -> None:
    allowed = {"numpy", "tests", "reference"} | set(sys.stdlib_module_names)
    files = sorted((ROOT / "tests" / "reference").rglob("*.py"))
    assert files
    for path in files:
        for module in imported_modules(path):
            where = f"{path.relative_to(ROOT)} imports {module}"
            assert module.split(".")[0] in allowed - {"importlib", "runpy"}, where
            assert not module.startswith("tests.") or module.startswith("tests.reference"), where


def test_the_loop_has_two_entries_which_single_runs_and_ensembles_share() -> None:
    entries = {}
    for path in sorted((PACKAGE / "core" / "drivers").glob("*.py")):
        functions = [
            each
            for each in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(each, ast.FunctionDef)
        ]
        found = {
            each.name for each in functions if "kernel" in {ast.unparse(mark) for mark in each.decorator_list}
        }
        if found:
            entries[path.stem] = found
    assert entries.pop("opening") == {"open_portfolios", "open_world"}
    assert entries == {"loop": {"lean", "full"}, "blank": {"renew"}}


@pytest.mark.parametrize("what", list(FORBIDDEN))
def test_no_file_holds(what: str) -> None:
    found = []
    for path in tracked_files():
        if path.suffix in BINARY_SUFFIXES:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not found, f"{what}:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of one machine", "path = '/ho" + "me/somebody/file'"),
        ("unfinished work", "# TO" + "DO: later"),
        ("a note on how a file was made", "Co-Auth" + "ored-By: somebody"),
    ],
)
def test_what_no_file_may_hold_is_found(what: str, line: str) -> None:
    assert FORBIDDEN[what].search(line)


def test_figures_are_added_the_same_way_by_every_python() -> None:
    # The built-in sum compensates rounding from Python 3.12 on; whole numbers do not mind.
    found = []
    for path in sorted([*(PACKAGE / "metrics").rglob("*.py"), *(PACKAGE / "lab").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sum":
                element = getattr(node.args[0], "elt", None)
                if not (isinstance(element, ast.Call) and ast.unparse(element.func) == "int"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found
