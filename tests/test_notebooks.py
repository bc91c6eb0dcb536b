"""Notebooks: pairs of a text and a notebook that say the same, thin, and without outputs."""

import ast
from pathlib import Path
from typing import Any

import jupytext
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
TEXTS = sorted(FOLDER.glob("*.py"))


def cells(notebook: Any) -> list[tuple[str, str]]:
    """Return the type and the text of every cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def test_every_text_has_its_notebook() -> None:
    assert {"first_cascade", "liquidation_priority"} <= {path.stem for path in TEXTS}
    assert {path.stem for path in TEXTS} == {path.stem for path in FOLDER.glob("*.ipynb")}


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_a_pair_says_the_same_and_keeps_no_outputs(text: Path) -> None:
    notebook = jupytext.read(text.with_suffix(".ipynb"))
    assert cells(notebook) == cells(jupytext.read(text)), (
        f"run: jupytext --to ipynb --set-kernel python3 {text.name}"
    )
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    for cell in notebook.cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_a_notebook_tells_and_defines_nothing(text: Path) -> None:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    tree = ast.parse(text.read_text(encoding="utf-8"))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, definitions)]
    kinds = [kind for kind, _ in cells(jupytext.read(text))]
    assert kinds[0] == "markdown"
    assert kinds.count("markdown") >= 4
