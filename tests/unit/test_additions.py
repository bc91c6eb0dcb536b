"""What is added is one file: listed, run, shown and tested without a list or a fixture elsewhere that names it.

The package and its tests are copied, each addition is laid into the copy as one file, and the copy does the rest.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cascade_sim.core.ground.compile import compilation_enabled

ROOT = Path(__file__).resolve().parents[2]
ADDITIONS = ROOT / "tests" / "additions"
FILES = {
    "clearing.priority": ("clearing/priority/lowest_number.py", "lowest_number_first"),
    "clearing.sizing": ("clearing/sizing/share_of_rest.py", "share_of_rest"),
    "clearing.execution": ("clearing/execution/short_of_bankruptcy.py", "short_of_bankruptcy"),
    "clearing.adl": ("clearing/deleveraging/largest_position.py", "largest_position"),
    "clearing.margin": ("clearing/margin/two_tiers.py", "two_tiers"),
    "clearing.waterfall": ("clearing/waterfall/capital_pool.py", "capital_pool"),
    "dealers.hedging": ("options/hedging/half_way.py", "half_way"),
    "market.mark_price": ("market/mark_price/last_and_index.py", "last_and_index"),
    "metric": ("metrics/book_share.py", "book_share"),
    "chart": ("plots/open_interest.py", "open_interest_over_time"),
    "scenario": ("scenarios/additions.yaml", "additions"),
}
"""The one file of every kind, in the package and (by its name alone) in tests/additions, and the name it brings."""
RULES = {kind: name for kind, (_, name) in FILES.items() if "." in kind}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not compilation_enabled(), reason="runs of a copy take too long without the compiler"),
]


class Copy:
    """A copy of the checkout with every addition, and the run of its scenario."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("cascade_sim", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy2(ROOT / name, folder / name)
        for place, _ in FILES.values():
            target = folder / "cascade_sim" / place
            assert not target.exists()
            shutil.copy2(ADDITIONS / target.name, target)
        self.result = folder / "result"

    def call(self, *words: str) -> str:
        """Run Python in the copy; its standard output."""
        # What is compiled goes with the copy.
        own = {"PYTHONPATH": self.folder, "NUMBA_CACHE_DIR": self.folder / "kernels"}
        environment = {**os.environ, **{name: os.fspath(place) for name, place in own.items()}}
        outcome = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert outcome.returncode == 0, outcome.stdout[-4000:] + outcome.stderr[-4000:]
        return outcome.stdout

    def command(self, *words: str) -> str:
        """Call the command line of the copy."""
        return self.call("-m", "cascade_sim", *words)

    def tests(self, *words: str) -> str:
        """Call the tests of the copy."""
        return self.call("-m", "pytest", "-p", "no:cacheprovider", *words)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The copy, after a run of the scenario that names every rule that was added."""
    made = Copy(tmp_path_factory.mktemp("additions"))
    where = made.call("-c", "import cascade_sim; print(cascade_sim.__file__)")
    assert Path(where.strip()) == made.folder / "cascade_sim" / "__init__.py"
    made.command("run", "additions", "--out", os.fspath(made.result))
    return made


@pytest.mark.parametrize(("kind", "name"), list(RULES.items()))
def test_a_rule_is_listed_and_described(copy: Copy, kind: str, name: str) -> None:
    lines = [line.split() for line in copy.command("rules").splitlines()]
    assert [kind, name] in [words[:2] for words in lines]
    described = copy.command("rules", name)
    assert described.startswith(f"{kind}: {name}\n")


def test_a_scenario_is_listed_and_shown(copy: Copy) -> None:
    assert any(line.startswith("additions ") for line in copy.command("scenarios").splitlines())
    shown = copy.command("scenarios", "additions")
    assert "share: 0.4" in shown


def test_rules_decide_in_a_run(copy: Copy) -> None:
    manifest = json.loads((copy.result / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    events = pd.read_parquet(copy.result / "events.parquet")
    by_stage = {
        stage: set(rows["rule"].dropna().astype(str))
        for stage, rows in events.groupby("stage", observed=True)
    }
    assert by_stage["trigger"] == {"two_tiers"}
    assert by_stage["book"] == {"lowest_number_first"}
    assert by_stage["backstop"] == {"capital_pool"}
    assert by_stage["adl"] == {"largest_position"}
    assert set(events.loc[events["type"] == "hedge", "rule"]) == {"half_way"}
    closed = events[events["type"] == "liquidation"]
    # The limit of the execution that was added, and lots of the sizing.
    long = closed[closed["side"] == -1]
    assert len(long) > 10
    assert (long["limit_price"] >= 0.99 * long["mark"] - 0.1).all()
    assert (long["quantity"] < 0.5 * long["notional"].max()).all()
    taken = events[(events["stage"] == "backstop") & (events["type"] == "takeover")]
    assert taken["filled"].sum() > 0.0


def test_a_chart_is_drawn_and_shown(copy: Copy) -> None:
    assert (copy.result / "charts" / "open_interest_over_time.png").stat().st_size > 5000
    page = (copy.result / "report.html").read_text()
    assert "Open interest of the first market, minute by minute." in page
    code = (
        "import cascade_sim.plots as plots; print(list(plots.CHARTS), plots.open_interest_over_time.__name__)"
    )
    assert "open_interest_over_time" in copy.call("-c", code)
    code = "from cascade_sim.result import RunResult; print(RunResult().plot.open_interest.__name__)"
    assert copy.call("-c", code).strip() == "open_interest_over_time"


def test_a_metric_is_listed(copy: Copy) -> None:
    lines = [line.split()[:2] for line in copy.command("metrics").splitlines()]
    assert ["book_share", "fraction"] in lines
    assert copy.command("metrics", "book_share").startswith(
        "book_share (fraction)\n\nShare of what was closed"
    )


def test_a_metric_stands_in_summary_report_and_ensemble(copy: Copy) -> None:
    summary = json.loads((copy.result / "summary.json").read_text())
    assert 0.0 < summary["book_share"] < 1.0
    assert "Share of what was closed by force that the book took" in (copy.result / "report.html").read_text()
    code = "import cascade_sim as cs; print(cs.run_ensemble('additions', 1)['book_share'].iloc[0])"
    assert float(copy.call("-c", code)) == summary["book_share"]


def test_an_ensemble_runs_what_was_added(copy: Copy) -> None:
    code = (
        "import cascade_sim as cs; row = cs.run_ensemble(cs.load_scenario('additions'), [0]).iloc[0]; "
        "print(row['trades'], row['conservation_error'], row['backstop_notional'])"
    )
    trades, error, backstop = copy.call("-c", code).split()
    summary = json.loads((copy.result / "summary.json").read_text())
    assert (float(trades), float(error)) == (summary["trades"], 0.0)
    assert float(backstop) == pytest.approx(summary["backstop_notional"], rel=1e-12)


def test_the_suites_take_it_up_and_pass(copy: Copy) -> None:
    """The conformance suites and the tests of the catalogues, for what was added alone."""
    names = [name for kind, (_, name) in FILES.items() if kind not in ("metric", "scenario")]
    chosen = " or ".join([*names, "the_catalogue", "every_metric"])
    files = ["tests/conformance", "tests/unit/test_plots.py", "tests/unit/test_metrics.py"]
    ran = copy.tests("-vv", *files, "-k", chosen)
    for kind, name in RULES.items():
        assert f"test_a_scenario_holds_it[{kind}-{name}] PASSED" in ran
        assert f"test_runs_and_repeats_itself[{kind}-{name}] PASSED" in ran
    assert "test_scores_are_finite_repeatable_and_leave_the_view_alone[1-lowest_number_first] PASSED" in ran
    assert "test_the_catalogue_lists_every_chart_in_order PASSED" in ran
    assert "[open_interest_over_time] PASSED" in ran
    assert "test_every_metric_is_documented_and_named_once PASSED" in ran


def test_the_tests_of_scenarios_take_it_up_and_pass(copy: Copy) -> None:
    files = ["test_scenario.py", "test_scenario_files.py", "test_registry.py", "test_rules.py"]
    ran = copy.tests("-vv", *(f"tests/unit/{file}" for file in files), "-k", "additions or every or holds")
    assert "test_yaml_round_trip[additions] PASSED" in ran
    assert "test_the_library_holds_what_it_should PASSED" in ran
