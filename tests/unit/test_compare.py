"""Comparisons: the same draws for every arm, verdicts in words, folders, and what is refused."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_ensemble import small

import cascade_sim as cs
from cascade_sim.cli import main
from cascade_sim.comparison import Comparison, load_comparison
from cascade_sim.comparison_report import draw_comparison_report
from cascade_sim.domain.errors import OutputError, ScenarioError, UnknownNameError
from cascade_sim.lab import compare as comparing
from cascade_sim.lab.arms import load_arms, varied
from cascade_sim.metrics.paired import holm, paired_difference
from cascade_sim.plots.catalogue import COMPARISON_CHARTS

RULES = ["worst_margin_ratio_first", "random"]
VARY = {"clearing.priority.name": RULES}
SLOW = {"clearing.accounts_per_second": 0.5}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return cs.compare(
        small(**SLOW), VARY, replications=6, controls=True, primary=["bad_debt", "adl_notional"]
    )


def test_every_arm_runs_the_seeds_that_run_runs(comparison: Comparison) -> None:
    runs = comparison.runs
    assert list(runs["arm"].unique()) == [*RULES, "impact_off", "placebo"]
    assert (runs.groupby("arm")["seed"].agg(list) == pd.Series([[0, 1, 2, 3, 4, 5]] * 4).to_numpy()).all()
    assert set(runs["status"]) == {"finished"}
    for seed, arm in ((2, "random"), (5, "worst_margin_ratio_first")):
        single = cs.run(small(**SLOW, **{"clearing.priority.name": arm}), seed, probe=False)
        row = runs[(runs["arm"] == arm) & (runs["seed"] == seed)].iloc[0]
        for name in (
            "bad_debt",
            "max_adverse_excursion",
            "throughput_bound_seconds",
            "liquidation_shortfall",
        ):
            assert row[name] == single.summary[name], name
        losses = single.summary["loss_by_class"]
        assert {name: row[f"loss_by_class_{name}"] for name in losses} == losses


def test_differences_are_those_of_the_pairs(comparison: Comparison) -> None:
    runs = comparison.runs.set_index(["arm", "replication"])
    for row in comparison.differences.to_dict("records"):
        own, first = (runs.loc[arm, row["metric"]].to_numpy(np.float64) for arm in (row["arm"], RULES[0]))
        if row["metric"] == "max_adverse_excursion":
            own, first = abs(own), abs(first)
        both = np.isfinite(own) & np.isfinite(first)
        assert row["pairs"] == both.sum()
        if both.sum() >= 2:
            assert row["difference"] == pytest.approx((own - first)[both].mean(), rel=1e-12, abs=1e-9)
            assert row["low"] <= row["difference"] <= row["high"]
    primary = comparison.differences[comparison.differences["primary"]]
    assert list(primary["metric"].unique()) == ["bad_debt", "adl_notional"]
    expected = paired_difference(runs.loc["random", "bad_debt"], runs.loc[RULES[0], "bad_debt"])
    row = primary[(primary["arm"] == "random") & (primary["metric"] == "bad_debt")].iloc[0]
    assert (row["low"], row["high"], row["p_value"]) == expected[2:]
    # Two primary metrics of one arm are tested together, the controls apart from it.
    family = primary[primary["arm"] == "random"]
    np.testing.assert_allclose(family["p_holm"], holm(family["p_value"]))
    controls = primary[primary["arm"] != "random"]
    np.testing.assert_allclose(controls["p_holm"], holm(controls["p_value"]))
    assert row["margin"] == 10_000.0


def test_figures_of_an_arm_are_those_of_its_runs(comparison: Comparison) -> None:
    values = comparison.runs[comparison.runs["arm"] == "random"]["bad_debt"].to_numpy()
    told = comparison.arms[
        (comparison.arms["arm"] == "random") & (comparison.arms["metric"] == "bad_debt")
    ].iloc[0]
    assert told["count"] == 6
    assert told["mean"] == pytest.approx(values.mean())
    assert told["median"] == np.median(values)
    assert told["share_positive"] == (values > 0).mean()
    assert told["mean_positive"] == pytest.approx(values[values > 0].mean())
    assert told["cvar_95"] == values.max()


def test_a_move_counts_by_its_size(comparison: Comparison) -> None:
    moves = comparison.runs[comparison.runs["arm"] == "random"]["max_adverse_excursion"].to_numpy()
    assert (moves < 0.0).all()
    rows = comparison.arms[comparison.arms["metric"] == "max_adverse_excursion"].set_index("arm")
    assert rows.loc["random", "mean"] == pytest.approx(moves.mean())
    assert rows.loc["random", "cvar_95"] == -moves.min()


def test_the_long_table_holds_every_value(comparison: Comparison) -> None:
    table = comparison.table
    assert list(table.columns) == [
        "scenario",
        "setting",
        "arm",
        "replication",
        "seed",
        "metric",
        "value",
        "unit",
        "status",
    ]
    assert len(table) == len(comparison.runs) * len(comparison.units)
    chosen = table[(table["arm"] == "random") & (table["metric"] == "bad_debt")]
    expected = comparison.runs[comparison.runs["arm"] == "random"]["bad_debt"]
    np.testing.assert_array_equal(chosen["value"], expected)
    assert set(chosen["unit"]) == {"quote"}


def test_what_was_found_is_said_in_words(comparison: Comparison) -> None:
    text = repr(comparison)
    assert "random against worst_margin_ratio_first, bad debt: " in text
    assert "control impact_off against worst_margin_ratio_first, bad debt: " in text
    assert "best by bad debt: " in text
    assert "<table" in comparison._repr_html_()


def test_workers_and_more_replications_change_no_run(comparison: Comparison) -> None:
    again = cs.compare(small(**SLOW), VARY, replications=4, workers=1, primary=["bad_debt"])
    first = comparison.runs[comparison.runs["replication"] < 4]
    first = first[first["arm"].isin(RULES)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.runs, first, check_exact=True)


@dataclass(frozen=True)
class Raises:
    """Raise in every run in which more than four accounts are in distress at once."""

    def score(self, accounts: Any) -> Any:
        """Return the numbers of the accounts."""
        if len(accounts.account_id) > 4:
            raise ValueError("too many")
        return np.asarray(accounts.account_id, dtype=np.float64)


def test_a_run_that_fails_is_a_row_and_the_others_go_on() -> None:
    vary = {"clearing.priority.name": ["random", f"{__name__}:Raises"]}
    found = cs.compare(small(), vary, replications=5)
    own = found.runs[found.runs["arm"] == f"{__name__}:Raises"]
    assert len(own) == 5
    assert found.failures == (own["status"] == "failed").sum() > 0
    assert "too many" in own[own["status"] == "failed"]["reason"].iloc[0]
    assert (found.runs[found.runs["arm"] == "random"]["status"] == "finished").all()
    assert any("of its runs failed" in sentence for sentence in found.sentences)
    rows = found.differences[found.differences["metric"] == "bad_debt"]
    assert rows["pairs"].iloc[0] == 5 - found.failures


def test_scenarios_and_settings_are_told_apart() -> None:
    calm = small(name="quiet", **{"shock.quantity": 100.0, "shock.news": 0.0})
    across = {"run.dt": [2.0], "shock.quantity": [3000.0]}
    found = cs.compare([small(), calm], VARY, across=across, replications=2)
    places = found.runs[["scenario", "setting"]].drop_duplicates()
    settings = ["", "run.dt=2", "shock.quantity=3000"]
    assert [tuple(place) for place in places.to_numpy()] == [
        (name, setting) for name in ("gamma_shock", "quiet") for setting in settings
    ]
    steps = found.runs.groupby("setting")["steps"].first()
    assert (steps[""], steps["run.dt=2"]) == (60, 30)
    assert len(found.ranking) == 2 * 3 * 2
    assert any(sentence.startswith("By bad debt") for sentence in found.sentences)


def test_it_stops_when_everything_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "_LOOK_EVERY", 4)
    same = {"one": {}, "two": {"clearing.maintenance_margin": small().clearing.maintenance_margin}}
    found = cs.compare(small(), arms=same, replications=40, until_decided=True)
    assert found.design["replications"] == 4
    assert set(found.differences[found.differences["primary"]]["verdict"]) == {"equivalent"}
    with pytest.raises(UnknownNameError):
        cs.compare(small(), arms=same, primary=["bad_dept"])
    open_ended = cs.compare(
        small(**SLOW), VARY, replications=8, until_decided=True, margins={"bad_debt": 1e-6}
    )
    assert open_ended.design["replications"] == 8


def test_an_interrupt_keeps_what_had_finished() -> None:
    def interrupt(done: int, _total: int) -> None:
        if done > 3:
            raise KeyboardInterrupt

    with pytest.raises(cs.ComparisonInterrupted) as caught:
        cs.compare(small(), VARY, replications=400, workers=1, progress=interrupt)
    kept = caught.value.comparison
    assert kept is not None
    assert 3 < len(kept.runs) < 800
    assert kept.manifest["status"] == "stopped"


def test_a_saved_comparison_loads_and_reports_alike(comparison: Comparison, tmp_path: Path) -> None:
    folder = comparison.save(tmp_path / "kept")
    loaded = load_comparison(folder)
    for name in ("runs", "arms", "differences", "ranking"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(comparison, name), check_dtype=False)
    assert loaded.sentences == comparison.sentences
    assert loaded.design["arms"] == json.loads(json.dumps(comparison.design["arms"]))
    assert cs.Scenario.from_mapping(small(**SLOW).tree()).to_yaml() == loaded.scenarios["gamma_shock"]
    report = draw_comparison_report(loaded)
    assert report.page == draw_comparison_report(comparison).page
    assert list(report.pictures) == list(COMPARISON_CHARTS)
    assert (
        report.page.index("The verdict")
        < report.page.index("How sure that is")
        < report.page.index("Who paid")
    )
    report.write(folder)
    assert command("report", folder) == 0
    assert {path.name for path in (folder / "charts").iterdir()} == {
        f"{name}.png" for name in COMPARISON_CHARTS
    }
    # Saved again it takes its own place; beside it nothing is left.
    comparison.save(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}
    assert not (folder / "report.html").exists()


def test_folders_of_another_kind_are_left_alone(comparison: Comparison, tmp_path: Path) -> None:
    result = cs.run(small(), probe=False)
    result.save(tmp_path / "run")
    with pytest.raises(OutputError, match="expected a folder of a comparison or a new one"):
        comparison.save(tmp_path / "run")
    comparison.save(tmp_path / "compared")
    with pytest.raises(OutputError, match="expected a result folder or a new one"):
        result.save(tmp_path / "compared")


def test_arms_may_be_named_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "arms.yaml"
    file.write_text(
        "arms:\n"
        "  as it is: {}\n"
        "  slow and random:\n"
        "    clearing.priority.name: random\n"
        "    clearing: {accounts_per_second: 0.5}\n"
    )
    arms = load_arms(file)
    assert [arm.name for arm in arms] == ["as it is", "slow and random"]
    found = cs.compare(small(), arms=arms, replications=2)
    assert found.design["arms"][1]["overrides"] == {
        "clearing.priority.name": "random",
        "clearing": {"accounts_per_second": 0.5},
    }


def test_arms_are_named_after_what_varies() -> None:
    arms = varied({"clearing.priority.name": ["random"], "shock.quantity": [1.5, 2000.0]})
    assert [arm.name for arm in arms] == ["priority=random, quantity=1.5", "priority=random, quantity=2000"]
    assert [arm.name for arm in varied({"switches.adl": [True, False]})] == ["true", "false"]


BAD: dict[str, Any] = {
    r"^arms: expected either vary or arms, received neither": {},
    r"^arms: expected either vary or arms, received both": {"vary": VARY, "arms": {"a": {}, "b": {}}},
    r"^arms: expected at least two arms to compare, received 1": {"vary": {"shock.quantity": [1.0]}},
    r"^vary: shock.quantity: expected a list of values": {"vary": {"shock.quantity": 5.0}},
    r"^arms: expected names that differ": {"vary": {"shock.quantity": [1.0, 1.0]}},
    r"^arm nobody: .*'nobody'": {"vary": {"clearing.priority.name": ["random", "nobody"]}},
    r"^arm b: shock.quantitty: expected a known key": {"arms": {"a": {}, "b": {"shock.quantitty": 1}}},
    r"^across run.dt=0: run.dt: expected": {"vary": VARY, "across": {"run.dt": [0.0]}},
    r"^replications: expected at least 2, received 1": {"vary": VARY, "replications": 1},
    r"^seed: expected a number of at least 0, received -1": {"vary": VARY, "seed": -1},
    r"^metric: .*'bad_dept'.*did you mean 'bad_debt'": {"vary": VARY, "primary": ["bad_dept"]},
    r"^margin: expected a primary metric, received 'fees'": {"vary": VARY, "margins": {"fees": 1.0}},
    r"^margin of bad_debt: expected a number above 0": {"vary": VARY, "margins": {"bad_debt": 0.0}},
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_compared_is_refused_before_anything_runs(
    message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "run_replicas", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises((ScenarioError, UnknownNameError), match=message):
        cs.compare(small(), **BAD[message])


@pytest.fixture
def scenario_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "little.yaml"
    file.write_text(small(name="little").to_yaml())
    return file


def command(*words: object) -> int:
    """Run the command line in this process; its exit status."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_the_command_compares_saves_and_prints_one_object(
    scenario_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", scenario_file, "--vary", "clearing.priority.name=worst_margin_ratio_first,random"]
    words += ["--replications", 3, "--margin", "bad_debt=5", "--across", "shock.quantity=1000,2000", "--json"]
    assert command(*words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["replications"] == 3
    assert {row["setting"] for row in summary["differences"]} == {
        "",
        "shock.quantity=1000",
        "shock.quantity=2000",
    }
    assert {row["margin"] for row in summary["differences"]} == {15.0, 5.0}
    folder = tmp_path / "results" / "compare-little-0"
    assert (folder / "report.html").stat().st_size > 50_000
    assert summary == json.loads((folder / "summary.json").read_text())
    # A folder that holds one is replaced only if that is asked for.
    assert command(*words) == 2
    assert "expected a new folder or --overwrite" in capsys.readouterr().err
    assert command(*words, "--overwrite", "--no-charts") == 0
    assert not (folder / "report.html").exists()


def test_a_page_that_cannot_be_drawn_takes_nothing_away(
    scenario_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr("cascade_sim.comparison_report.render_comparison", fail)
    words = [
        "compare",
        scenario_file,
        "--vary",
        "shock.quantity=1000,2000",
        "--replications",
        2,
        "--out",
        "out",
    ]
    assert command(*words) == 1
    assert "charts and report: ValueError: no ink; what they would show is in out" in capsys.readouterr().err
    assert len(load_comparison(tmp_path / "out").runs) == 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--vary", "clearing.priority.name"], "--vary: expected PATH=A,B,..."),
        (["--vary", "shock.quantity=[1"], "--vary shock.quantity"),
        (["--vary", "shock.quantity=1,2", "--vary", "shock.quantity=3"], "--vary: expected each path once"),
        ([], "arms: expected either --vary or --arms, received neither"),
        (["--arms", "none.yaml"], "'none.yaml': expected a readable YAML file"),
        (["--vary", "shock.quantity=1,2", "--margin", "bad_debt"], "--margin: expected METRIC=NUMBER"),
        (["--vary", "shock.quantity=1,2", "--primary", "nothing"], "'nothing'"),
        (["--vary", "clearing.priority.name=random,x:Y", "--no-own-code"], "x:Y"),
        (["--vary", "shock.quantity=1,2", "--out", "little.yaml"], "--out: expected a folder"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(
    scenario_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert command("compare", scenario_file, *words) == 2
    told = capsys.readouterr()
    assert line in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert {path.name for path in tmp_path.iterdir()} == {"little.yaml"}


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "comparing.md"
    (example,) = re.findall(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert len(names["found"].sentences) >= 4
    assert (tmp_path / "results" / "priority" / "summary.json").is_file()


RULE = """
from dataclasses import dataclass
import numpy as np

@dataclass(frozen=True)
class Reverse:
    def score(self, accounts):
        return -np.asarray(accounts.account_id, dtype=float)
"""


def test_rules_of_ones_own_are_found_beside_the_arms_file(scenario_file: Path, tmp_path: Path) -> None:
    place = tmp_path / "rules"
    place.mkdir()
    (place / "own_rules_beside.py").write_text(RULE)
    arms = place / "arms.yaml"
    arms.write_text("usual: {}\nreverse: {clearing.priority.name: 'own_rules_beside:Reverse'}\n")
    words = [sys.executable, "-P", "-m", "cascade_sim", "compare", str(scenario_file), "--arms", str(arms)]
    done = subprocess.run(
        [*words, "--replications", "2", "--no-charts"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "reverse against usual" in done.stdout
    refused = subprocess.run(
        [*words, "--no-own-code"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert refused.returncode == 2
    assert "own_rules_beside:Reverse" in refused.stderr


@pytest.mark.slow
def test_priority_rules_on_a_long_squeeze() -> None:
    """With a fast engine the rules are equivalent; with a slow one closing in random order has twice the bad debt."""
    base = cs.load_scenario("long_squeeze").with_overrides({"run.steps": 2700, "shock.at_seconds": 900.0})
    vary = {"clearing.priority.name": ["worst_margin_ratio_first", "largest_notional_first", "random"]}
    fast = cs.compare(base.with_overrides({"clearing.accounts_per_second": 50.0}), vary, replications=20)
    assert set(fast.differences[fast.differences["primary"]]["verdict"]) == {"equivalent"}
    slow = cs.compare(base.with_overrides({"clearing.accounts_per_second": 2.0}), vary, replications=20)
    means = slow.arms.pivot(index="arm", columns="metric", values="mean")
    debt = means["bad_debt"]
    assert debt.round(-2).to_dict() == {
        "worst_margin_ratio_first": 14_100.0,
        "random": 28_900.0,
        "largest_notional_first": 37_400.0,
    }
    assert (means["throughput_bound_seconds"] > 400.0).all()
    verdicts = slow.differences[slow.differences["metric"] == "bad_debt"].set_index("arm")["verdict"]
    assert set(verdicts) == {"worse"}
