"""Code of the user's own: found where a scenario names it, and nowhere else."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import TINY_WORDS, call

import cascade_sim as cs
from cascade_sim import own_code
from cascade_sim.domain.errors import ScenarioError
from cascade_sim.registry import PRIORITIES
from cascade_sim.result import load_result

RULE = '''
from dataclasses import dataclass
import numpy as np
{more}
print("imported")

@dataclass(frozen=True)
class Mine:
    """Closes accounts as they come."""

    def score(self, accounts):
        print("asked")
        return np.zeros(len(accounts.margin_ratio))
'''
ROOT = Path(__file__).resolve().parents[2]


def write_rule(folder: Path, module: str, more: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(RULE.format(more=more))


def write_scenario(folder: Path, module: str) -> Path:
    file = folder / "mine.yaml"
    file.write_text(f"base: gamma_shock\nclearing: {{priority: {{name: '{module}:Mine'}}}}\n")
    return file


def test_a_module_is_found_beside_the_scenario_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rule(tmp_path / "theirs", "rule_beside")
    (tmp_path / "theirs" / "neighbour_beside.py").write_text("")
    file = write_scenario(tmp_path / "theirs", "rule_beside")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenarioError, match="looked for among installed packages, beside the scenario"):
        PRIORITIES.get("rule_beside:Mine")
    scenario = cs.load_scenario(file)
    assert scenario.own_code() == {"clearing.priority.name": "rule_beside:Mine"}
    assert "rule_beside" not in sys.modules
    assert PRIORITIES.get("rule_beside:Mine").__module__ == "rule_beside"
    with pytest.raises(ModuleNotFoundError):
        __import__("neighbour_beside")


def test_a_module_is_found_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rule(tmp_path / "package_here", "rules")
    (tmp_path / "package_here" / "__init__.py").write_text("")
    monkeypatch.chdir(tmp_path)
    rule = PRIORITIES.create("package_here.rules:Mine")
    assert pickle.loads(pickle.dumps(rule)) == rule


def test_a_derived_scenario_goes_before_its_base(tmp_path: Path) -> None:
    for folder in ("base", "derived"):
        write_rule(tmp_path / folder, "rule_of_two")
    base = write_scenario(tmp_path / "base", "rule_of_two")
    derived = tmp_path / "derived" / "own.yaml"
    derived.write_text(f"base: {base}\nclearing: {{priority: {{name: 'rule_of_two:Mine'}}}}\n")
    cs.load_scenario(derived)
    module = own_code.load("rule_of_two")
    assert module.__file__ == os.fspath(tmp_path / "derived" / "rule_of_two.py")
    cs.load_scenario(base)
    with pytest.raises(ScenarioError, match="expected one module rule_of_two in one process"):
        PRIORITIES.get("rule_of_two:Mine")


def test_no_file_takes_the_place_of_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyarrow", "tomllib", "cmath"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a stranger')")
        file = write_scenario(tmp_path, name)
        cs.load_scenario(file)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ScenarioError, match="expected a class of the module"):
            PRIORITIES.get(f"{name}:Mine")


def test_a_neighbour_is_not_found_and_the_line_says_why(tmp_path: Path) -> None:
    write_rule(tmp_path, "rule_with_neighbour", "import neighbour_of_rule")
    (tmp_path / "neighbour_of_rule.py").write_text("")
    cs.load_scenario(write_scenario(tmp_path, "rule_with_neighbour"))
    with pytest.raises(ScenarioError, match=r"neighbour_of_rule'\); beside .* put both into one package"):
        PRIORITIES.get("rule_with_neighbour:Mine")


def _told(scenario: cs.Scenario) -> str:
    return PRIORITIES.get(scenario.clearing.priority.name).__module__


def test_another_process_finds_it_too(tmp_path: Path) -> None:
    write_rule(tmp_path, "rule_elsewhere")
    scenario = cs.load_scenario(write_scenario(tmp_path, "rule_elsewhere"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (
            pool.apply(_told, (scenario.with_overrides({"clearing.insurance_fund": 1.0}),))
            == "rule_elsewhere"
        )


@pytest.mark.parametrize(
    "words",
    [["run", "{file}", "--no-own-code"], ["run", "{file}", "--no-own-code", "--counterfactual"]],
)
def test_own_code_can_be_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rule(tmp_path, "rule_refused")
    file = write_scenario(tmp_path, "rule_refused")
    monkeypatch.chdir(tmp_path)
    assert call(*[word.format(file=file) for word in words]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line == (
        "cascade-sim: clearing.priority.name: expected no code of your own (--no-own-code), "
        "received 'rule_refused:Mine'"
    )
    assert captured.out == ""
    assert "rule_refused" not in sys.modules
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml", "rule_refused.py"]


def test_markets_and_agents_count_as_code() -> None:
    tree = {
        "base": "gamma_shock",
        "agents": {"one": {"name": "agents_x:One"}},
        "markets": {"second": {"clearing": {"priority": {"name": "rules_x:Two"}}}},
    }
    found = cs.Scenario.from_mapping(tree).own_code()
    assert set(found.values()) == {"agents_x:One", "rules_x:Two"}
    for name in cs.scenario_names():
        assert cs.load_scenario(name).own_code() == {}


def test_a_rule_of_ones_own_is_described_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules_described.py").write_text(
        "from dataclasses import dataclass\n\n"
        "@dataclass(frozen=True)\nclass Patient:\n"
        '    """Closes nobody in a hurry.\n\n    Parameters\n    ----------\n    calm : float\n        How calm.\n    """\n\n'
        "    calm: float\n    often: int = 3\n\n"
        "    def lots(self, accounts):\n        return accounts.lots\n\n"
        "@dataclass(frozen=True)\nclass Idle:\n    def rest(self):\n        return 0\n"
    )
    monkeypatch.chdir(tmp_path)
    assert call("rules", "rules_described:Patient") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "clearing.sizing: rules_described:Patient"
    assert "Closes nobody in a hurry." in lines
    assert lines[-2:] == ["  calm: a finite number, default required", "  often: a whole number, default 3"]
    for name, said in (
        ("rules_described:Idle", "cascade-sim: rules: expected a class with the method of a kind, received"),
        ("rules_described:Nobody", "cascade-sim: rules: rules_described: expected a class of the module"),
        ("nowhere:Patient", "cascade-sim: rules: expected an importable package.module:Class"),
    ):
        assert call("rules", name) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(said), line


@pytest.mark.parametrize("words", [["scenarios", "mine.yaml"], ["show", "mine.yaml"], ["rules"]])
def test_commands_that_list_import_nothing(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rule(tmp_path, "rule_shown")
    write_scenario(tmp_path, "rule_shown")
    before = list(sys.path)
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 0
    assert "rule_shown" not in sys.modules
    assert sys.path == before
    assert "imported" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "module", [["-m", "cascade_sim"], ["-c", "from cascade_sim.cli import entry; entry()"]]
)
def test_the_working_directory_is_no_code_and_output_holds_one_object(
    module: list[str], tmp_path: Path
) -> None:
    write_rule(
        tmp_path, "rule_loud", "import ctypes, os\nctypes.CDLL(None).printf(b'from C')\nos.write(1, b'raw')"
    )
    for name in ("pandas", "json", "matplotlib"):
        (tmp_path / f"{name}.py").write_text("open('it_ran', 'w')")
    # With -c Python itself puts the working directory first; the program has no part in that.
    program = [sys.executable, *(["-P"] if module[0] == "-c" else []), *module]
    words = ["run", "--json", "--no-charts", "--out", "out", *TINY_WORDS]
    done = subprocess.run(
        [*program, *words, "--set", "clearing.priority.name=rule_loud:Mine"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "it_ran").exists()
    assert json.loads(done.stdout) == load_result(tmp_path / "out").summary
    for text in ("imported", "asked", "from C", "raw"):
        assert text in done.stderr
