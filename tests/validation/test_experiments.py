"""Experiments: each file can be run as it stands, and its result has the sign that its page expects."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import cascade_sim as cs
from cascade_sim.metrics import METRICS

FOLDER = Path(__file__).resolve().parents[2] / "experiments"
FILES = sorted(FOLDER.glob("*/experiment.yaml"))
KEYS = {"name", "scenario", "overrides", "mechanisms", "seeds", "metrics"}


def read(path: Path) -> dict[str, Any]:
    """Return the experiment that a file describes."""
    experiment: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return experiment


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_an_experiment_is_data_beside_its_page(path: Path) -> None:
    experiment = read(path)
    assert set(experiment) == KEYS
    assert experiment["name"] == path.parent.name
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["README.md", "experiment.yaml"]
    scenario = cs.load_scenario(experiment["scenario"]).with_overrides(experiment["overrides"])
    assert set(experiment["mechanisms"]) <= set(type(scenario.switches).model_fields)
    assert set(experiment["metrics"]) <= METRICS.keys()
    assert len(set(experiment["seeds"])) == len(experiment["seeds"]) >= 2
    page = (path.parent / "README.md").read_text(encoding="utf-8")
    assert all(f"**{part}.**" in page for part in ("Question", "Expected sign", "How", "Result"))


@pytest.mark.slow
def test_amplification_by_mechanism() -> None:
    experiment = read(FOLDER / "amplification_by_mechanism" / "experiment.yaml")
    scenario = cs.load_scenario(experiment["scenario"]).with_overrides(experiment["overrides"])
    tables = [
        cs.counterfactual(scenario, seed=seed, mechanisms=experiment["mechanisms"]).table.assign(seed=seed)
        for seed in experiment["seeds"]
    ]
    runs = pd.concat(tables).set_index(["arm", "seed"])[experiment["metrics"]]
    assert len(runs) == 4 * len(experiment["seeds"])
    assert runs.notna().all(axis=None)
    assert (runs["max_adverse_excursion"] < 0.0).all()
    for arm in ("without delta hedging", "without liquidation"):
        alone = runs.loc[arm, "added_move_bp"]
        assert alone.mean() > 2.0 * alone.sem()
        together = runs.loc["everything on", "added_move_bp"] - alone
        assert np.all(together > 0.0)
