"""The README says what is true: its commands, its options, its Python names."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
from typer.testing import CliRunner

import cascade_sim
from cascade_sim.clearing.brackets import load_brackets
from cascade_sim.cli import program as cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
USE = re.compile(r"\bcascade-sim +([a-z]\S*)(.*)")


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Return (language, text) of every fenced block."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


def marked_commands() -> list[tuple[str, str]]:
    """Return the two commands as the continuous integration reads them."""
    script = runpy.run_path(str(ROOT / ".ci" / "readme_command.py"))
    found: list[tuple[str, str]] = script["commands"](README)
    return found


def command_line() -> typer.Typer:
    """Return the application behind ``cascade-sim``."""
    return next(value for value in vars(cli).values() if isinstance(value, typer.Typer))


def known_commands() -> dict[str, Any]:
    """Return the commands of ``cascade-sim`` by name."""
    group: Any = typer.main.get_command(command_line())  # click's own classes, or typer's copy of them
    return dict(group.commands)


def documented_uses() -> list[tuple[str, str]]:
    """Return (command, rest of the line) of each use of ``cascade-sim`` in a fenced block of any page."""
    uses: list[tuple[str, str]] = []
    for page in PAGES:
        for language, text in fenced_blocks(page.read_text(encoding="utf-8")):
            if not language:
                uses += USE.findall(text)
    return uses


def test_there_are_two_commands() -> None:
    assert [name for name, _ in marked_commands()] == ["run", "test"]
    assert README.count("<!-- command:") == 2


@pytest.mark.parametrize("name", ["run", "test"])
def test_a_command_is_one_line_that_makes_its_environment(name: str) -> None:
    command = dict(marked_commands())[name]
    assert len(command.splitlines()) == 1
    first, *others = command.split(" && ")
    assert first == "python3 -m venv .venv"
    assert others
    assert all(part.startswith(".venv/bin/") for part in others)


def test_the_first_command_runs_the_main_job() -> None:
    assert dict(marked_commands())["run"].endswith("&& .venv/bin/cascade-sim run")


def test_every_documented_command_and_option_exists() -> None:
    known = known_commands()
    uses = documented_uses()
    assert {"run", "scenarios", "rules"} <= {name for name, _ in uses}
    for name, rest in uses:
        assert name in known, f"cascade-sim {name}"
        options = {option for parameter in known[name].params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0]):
            assert option in options, f"cascade-sim {name} {option}"


def test_help_names_every_command() -> None:
    outcome = CliRunner().invoke(command_line(), ["--help"])
    assert outcome.exit_code == 0
    assert all(name in outcome.output for name in known_commands())


def test_every_documented_python_name_exists() -> None:
    blocks = [text for language, text in fenced_blocks(README) if language == "python"]
    names = set(re.findall(r"\bcs\.(\w+)", "\n".join(blocks)))
    assert {"load_scenario", "run", "counterfactual", "CascadeModel", "OrderBook"} <= names
    assert not [name for name in sorted(names) if not hasattr(cascade_sim, name)]
    for block in blocks:
        compile(block, "README.md", "exec")


def test_every_link_leads_to_a_file() -> None:
    links = [(page, target) for page in PAGES for target in LINK.findall(page.read_text(encoding="utf-8"))]
    assert links
    broken = [
        f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()
    ]
    assert not broken


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page for page in PAGES if page.is_relative_to(ROOT / "docs") and page.name != "README.md"]
    missing = [page.name for page in pages if f"({page.relative_to(ROOT / 'docs').as_posix()})" not in index]
    assert pages
    assert not missing


def test_the_bracket_converter_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiers = [
        {
            "tier": 1.0,
            "minNotional": 0.0,
            "maxNotional": 50000.0,
            "maintenanceMarginRate": 0.004,
            "maxLeverage": 125.0,
        },
        {
            "tier": 2.0,
            "minNotional": 50000.0,
            "maxNotional": 6e5,
            "maintenanceMarginRate": 0.005,
            "maxLeverage": 100.0,
        },
    ]
    answer = [row | {"info": {"cum": cum}} for row, cum in zip(tiers, ["0.0", "50.0"], strict=True)]
    (tmp_path / "binance_leverage_tiers.json").write_text(
        json.dumps({"ETH/USDT:USDT": answer}), encoding="utf-8"
    )
    page = (ROOT / "docs" / "real_input.md").read_text(encoding="utf-8")
    _, code = fenced_blocks(page.partition("<!-- snippet: brackets -->")[2])[0]
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "real_input.md", "exec"), {})
    table = load_brackets(tmp_path / "brackets.csv", "ETH/USDT:USDT")
    assert table.max_leverage.tolist() == [125.0, 100.0]
    assert table.maintenance(100_000.0).item() == pytest.approx(100_000.0 * 0.005 - 50.0)
