"""The scenario library gives the results that it gave: every landing compares with ``library.json`` (see ``take.py``)."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

import cascade_sim as cs
from cascade_sim.core.ground.compile import compilation_enabled


def _load() -> ModuleType:
    path = Path(__file__).with_name("take.py")
    spec = importlib.util.spec_from_file_location("fingerprints_take", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


take = _load()
KEPT = json.loads(take.FILE.read_text(encoding="utf-8"))

pytestmark = [
    pytest.mark.skipif(
        take.mathematics() != KEPT["mathematics"],
        reason="exp, log or pow of this machine differ in the last bit from those the file was taken with",
    ),
    pytest.mark.skipif(
        not compilation_enabled(), reason="four hours of market take too long without the compiler"
    ),
]


def test_the_file_knows_the_library() -> None:
    assert set(KEPT["scenarios"]) <= set(cs.scenario_names())


@pytest.mark.parametrize("name", ["gamma_shock", "gamma_shock_halted", "spot_and_perpetual"])
def test_one_seed_is_as_it_was(name: str) -> None:
    taken = take.take(name, [0], dict(KEPT["columns"]), rows=False)
    assert take.differences(KEPT["scenarios"][name], taken) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KEPT["scenarios"]))
def test_ten_seeds_and_an_ensemble_are_as_they_were(name: str) -> None:
    taken = take.take(name, take.SEEDS, dict(KEPT["columns"]))
    assert take.differences(KEPT["scenarios"][name], taken) == []


def test_a_changed_value_is_found() -> None:
    kept = KEPT["scenarios"]["calm"]
    taken = {"single": {"0": {**kept["single"]["0"], "mark": "another"}}, "ensemble": kept["ensemble"]}
    assert take.differences(kept, taken) == ["seed 0: mark"]
