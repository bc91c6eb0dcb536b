"""The example agent: the page shows the file, and the file does what the page says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import cascade_sim as cs
from cascade_sim.agents.cohort import CohortMarket
from cascade_sim.agents.participant import ParticipantMarket
from cascade_sim.lab.single import collect, measure_conservation

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "adding_an_agent.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "docs" / "examples"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHORT = {
    "run.steps": 900,
    "run.burn_in_steps": 150,
    "run.depth_every_steps": 300,
    "run.map_every_steps": 300,
    "traders.count": 2000,
    "shock.at_seconds": 300.0,
}


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


@pytest.fixture
def beside_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


def test_the_page_shows_the_file() -> None:
    file = (EXAMPLES / "momentum_trader.py").read_text(encoding="utf-8")
    assert blocks("python")[0] == file
    assert len(file.splitlines()) <= 25


@pytest.mark.usefixtures("beside_the_file")
def test_the_scenario_of_the_page_runs_and_its_traders_follow_the_fall() -> None:
    scenario = cs.Scenario.from_mapping(yaml.safe_load(blocks("yaml")[0])).with_overrides(SHORT)
    model = cs.CascadeModel(scenario, rng=7)
    assert [type(agent).__name__ for agent in model.participants] == ["MomentumTrader"] * 50
    view = model.participants[0].views[model.desk.name]
    model.run(until=451)
    assert view.returns(120.0) < -0.002
    positions = [agent.views[model.desk.name].position for agent in model.participants]
    assert positions == pytest.approx([-20.0] * 50)
    model.run()
    result = collect(model)
    assert measure_conservation(model, result) == 0
    assert (result.trades["taker_cause"] == "execution").sum() >= 50


@pytest.mark.usefixtures("beside_the_file")
def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cs.load_scenario
    short = {**SHORT, "run.steps": 30, "shock.quantity": 0.0, "shock.news": 0.0}
    monkeypatch.setattr(cs, "load_scenario", lambda name: real(name).with_overrides(short))
    trader, by_hand, cohort = blocks("python")
    names: dict[str, Any] = {"np": np, "__name__": "page"}
    exec(trader + by_hand.replace("model.run()", "") + cohort + "model.run()", names)
    model = names["model"]
    assert len(model.participants) == 51
    assert measure_conservation(model, collect(model)) == 0
    assert int(model.state.world.totals.trades) > 0
    crowd = model.participants[-1].views[model.desk.name]
    assert len(crowd.open_orders) > 500


@pytest.mark.parametrize("market", [ParticipantMarket, CohortMarket])
def test_everything_that_the_page_offers_exists(market: type[Any]) -> None:
    table = PAGE[PAGE.index("| | |") : PAGE.index("Orders wait until")]
    names = [
        name
        for cell in re.findall(r"^\| (.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)", cell)
    ]
    assert len(names) > 25
    assert [name for name in names if not hasattr(market, name)] == []


HABITS = (ROOT / "docs" / "notebooks_and_mesa.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_on_notebooks_and_mesa_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = cs.load_scenario("gamma_shock").with_overrides(SHORT)
    monkeypatch.setattr(cs, "load_scenario", lambda name: short)
    monkeypatch.setattr("cascade_sim.model.cascade_model.as_scenario", lambda given: short)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    steps = SHORT["run.steps"] + SHORT["run.burn_in_steps"]
    shown, charts, spreadsheet, read_back, on_the_way, collected, measured, batch = re.findall(
        r"^```python\n(.*?)^```$", HABITS, re.MULTILINE | re.DOTALL
    )
    exec(shown + charts + spreadsheet + read_back, names)
    result = names["result"]
    assert (tmp_path / "depth.png").stat().st_size > 5000
    written = result.series["mark"].to_numpy()
    # The last digit is off where pandas reads numbers as it did before its version 3.
    last_digit = 0.0 if int(pd.__version__.split(".")[0]) >= 3 else 4e-16
    np.testing.assert_allclose(names["series"]["mark"], written, rtol=last_digit, atol=0.0)
    figures = names["figures"].set_index("figure")
    assert figures.loc["liquidated_accounts", "value"].iloc[0] == result.summary["liquidated_accounts"] > 0
    without_probe = cs.run(short, seed=7, probe=False)
    exec(on_the_way, names)
    assert names["so_far"].manifest["stopped_at_step"] == 60
    assert names["result"].summary == without_probe.summary
    exec(collected, names)
    assert len(names["frame"]) == steps
    exec(measured + batch, names)
    table = names["table"]
    assert set(table) >= {"overrides", "seed", "step", "mark", "liquidated_accounts", "bad_debt", "excursion"}
    assert sorted(table["seed"]) == [1, 1, 2, 2]
    assert table["step"].tolist() == [SHORT["run.steps"] - 1] * 4
    plain = table[[not each for each in table["overrides"]]].set_index("seed")
    expected = cs.run(short, seed=2, probe=False).summary
    assert plain.loc[2, "excursion"] == expected["max_adverse_excursion"]
    assert plain.loc[2, "bad_debt"] == expected["bad_debt"]


def test_reporters_and_charts_are_those_that_the_page_names() -> None:
    sentence = HABITS[HABITS.index("collects `reporters`:") : HABITS.index("of the first market")]
    assert re.findall(r"`(\w+)`", sentence)[1:] == list(cs.CascadeModel.reporters)
