"""Every fault of the injector is survived: a chosen few as a rule, all of them with ``CASCADE_SIM_FAULTS=all``."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("resource", reason="limits of POSIX are what is set")

from faults.inject import inject, prepared
from faults.rows import ROWS

ALL = os.environ.get("CASCADE_SIM_FAULTS") == "all"
FEW = (
    ("SIGKILL", "while tables are saved"),
    ("SIGTERM", "impact probe"),
    ("SIGINT", "charts"),
    ("SIGINT twice", "while tables are saved"),
    ("full disk at the output", "600k of room"),
    ("no file above a size", "90 KiB"),
    ("full disk at the spool of a long run", "40k of room"),
    ("both closed", "from the start"),
    ("letters that neither font nor encoding has", "output, charts and page"),
    ("a rule that prints", "with --json"),
    ("a stranger's file named like a library", "report, in its folder"),
    ("damaged result folder", "a table cut in half"),
)
CHOSEN = [number for number, row in enumerate(ROWS) if ALL or (row.fault, row.moment) in FEW]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    with prepared() as made:
        yield made


@pytest.mark.parametrize("number", CHOSEN, ids=lambda number: f"{ROWS[number].fault}, {ROWS[number].moment}")
def test_a_fault_is_survived(number: int, shared: Any) -> None:
    status, said, faults = inject(number, shared)
    if status == "-":
        pytest.skip(said)
    assert faults == [], said


def test_the_table_has_a_row_per_fault() -> None:
    assert len(ROWS) >= 50
    assert len({(row.fault, row.moment) for row in ROWS}) == len(ROWS)
    assert ALL or len(CHOSEN) == len(FEW)
    page = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")][1:]
    assert [(line[0].removeprefix("| "), line[1]) for line in lines] == [
        (row.fault, row.moment) for row in ROWS
    ]
    assert {line[4].removesuffix(" |") for line in lines} <= {"yes", "-"}
