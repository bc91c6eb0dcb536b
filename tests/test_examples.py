"""The example agent: the page shows the file, and the file does what the page says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
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
