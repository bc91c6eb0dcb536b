"""What people who know Mesa try first: `mesa.batch_run`, a collector at the level of the model, a loop of their own."""

import inspect
from typing import Any

import mesa
import numpy as np
import pandas as pd
import pytest
from test_model import small

import cascade_sim as cs
from cascade_sim.domain.errors import ScenarioError

STEPS = 180
"""Of the small scenario, burn-in included."""
ANY = 10**9
RANDOM = {"clearing.priority.name": "random"}
SEEDED_BY_ARGUMENT = "rng" in inspect.signature(mesa.batch_run).parameters
"""Mesa 3.3 is given the seeds among the parameters; later ones have an argument for them."""


def batch(
    model: type[mesa.Model] = cs.CascadeModel, seeds: Any = (1, 2), **arguments: Any
) -> list[dict[str, Any]]:
    """Run a batch as the installed Mesa wants it."""
    parameters = dict(arguments.pop("parameters"))
    if SEEDED_BY_ARGUMENT:
        arguments["rng"] = list(seeds)
    else:
        parameters["rng"] = list(seeds)
    rows: list[dict[str, Any]] = mesa.batch_run(
        model, parameters, display_progress=False, **{"max_steps": ANY, **arguments}
    )
    return rows


@pytest.fixture(scope="module")
def runs() -> dict[tuple[str, int], cs.RunResult]:
    """The same runs without Mesa, by rule and seed."""
    rules = {"": small(), "random": small(**RANDOM)}
    return {
        (rule, seed): cs.run(scenario, seed=seed, probe=False)
        for rule, scenario in rules.items()
        for seed in (1, 2)
    }


def test_a_batch_over_settings_and_seeds_gives_the_figures_of_the_runs(
    runs: dict[tuple[str, int], cs.RunResult],
) -> None:
    rows = batch(parameters={"settings": [small()], "overrides": [{}, RANDOM]})
    found = {(row["overrides"].get("clearing.priority.name", ""), row["seed"]): row for row in rows}
    assert len(rows) == len(found) == 4
    assert found.keys() == runs.keys()
    for key, row in found.items():
        run = runs[key]
        assert row["rng"] == row["seed"]
        assert row["step"] == run.summary["steps"] - 1
        assert row["mark"] == run.series["mark"].iloc[-1]
        assert row["liquidated_accounts"] == run.summary["liquidated_accounts"] > 0
        assert row["bad_debt"] == run.summary["bad_debt"]
    assert len({row["bad_debt"] for row in rows}) == 4


def test_a_batch_gives_every_step_of_a_run(runs: dict[tuple[str, int], cs.RunResult]) -> None:
    scenarios = [small(), small(**RANDOM)]
    rows = pd.DataFrame(batch(seeds=[2], parameters={"settings": scenarios}, data_collection_period=1))
    assert len(rows) == 2 * STEPS
    for rule, scenario in zip(("", "random"), scenarios, strict=True):
        own = rows[[each is scenario for each in rows["settings"]]]
        expected = runs[rule, 2].series
        assert own["step"].tolist() == expected["step"].tolist()
        np.testing.assert_array_equal(own["mark"], expected["mark"])
        assert own["liquidated_accounts"].is_monotonic_increasing


def test_a_batch_takes_the_name_of_a_scenario() -> None:
    rows = batch(seeds=[5], parameters={"settings": "calm"}, max_steps=3)
    assert len(rows) == 1
    assert (rows[0]["settings"], rows[0]["seed"]) == ("calm", 5)
    burn_in = cs.load_scenario("calm").run.burn_in_steps
    assert rows[0]["step"] in (2 - burn_in, 3 - burn_in)  # Mesa 3.3 makes a step more than it was allowed


def test_the_metrics_of_a_run_are_one_reporter_away(runs: dict[tuple[str, int], cs.RunResult]) -> None:
    rows = batch(WithMetrics, parameters={"settings": [small()]})
    assert [set(row) >= {"mark", "excursion"} for row in rows] == [True, True]
    assert [row["excursion"] for row in rows] == [
        runs["", seed].summary["max_adverse_excursion"] for seed in (1, 2)
    ]


class WithMetrics(cs.CascadeModel):
    """Reports a figure of the summary when the run is over, which the tables of every step are not needed for."""

    reporters = {  # noqa: RUF012 - written as users write it
        **cs.CascadeModel.reporters,
        "excursion": lambda model: (
            model.result().summary["max_adverse_excursion"] if model.finished else None
        ),
    }


class WithACollector(cs.CascadeModel):
    """Replaces the collector and calls it, as Mesa's own examples do."""

    def __init__(self, settings: cs.Scenario, rng: int = 0) -> None:
        super().__init__(settings, rng)
        self.datacollector = mesa.DataCollector({"trades": lambda it: int(it.state.world.totals.trades)})

    def step(self) -> None:
        super().step()
        self.datacollector.collect(self)


def test_a_collector_of_ones_own_replaces_that_of_the_model(
    runs: dict[tuple[str, int], cs.RunResult],
) -> None:
    rows = batch(WithACollector, parameters={"settings": [small()]})
    assert [row["trades"] for row in rows] == [runs["", seed].summary["trades"] for seed in (1, 2)]
    assert all("mark" not in row for row in rows)


def test_a_loop_of_ones_own_collects_each_step_once(runs: dict[tuple[str, int], cs.RunResult]) -> None:
    model = cs.CascadeModel(small(), rng=1)
    while model.running:
        model.step()
    frame = model.datacollector.get_model_vars_dataframe()
    assert list(frame.columns) == list(cs.CascadeModel.reporters)
    assert len(frame) == STEPS
    np.testing.assert_array_equal(frame["mark"], runs["", 1].series["mark"])
    assert model.result().summary == runs["", 1].summary


def test_a_model_runs_until_its_last_step_whoever_steps_it() -> None:
    whole = cs.CascadeModel(small(), rng=1)
    whole.run(until=10)
    assert whole.running
    whole.run()
    assert not whole.running
    if hasattr(mesa.Model, "run_model"):
        stepped = cs.CascadeModel(small(), rng=1)
        stepped.run_model()
        assert stepped.finished


def test_without_a_seed_one_is_drawn_and_named() -> None:
    drawn = [cs.CascadeModel(small(), rng=None).seed for _ in range(3)]
    assert len(set(drawn)) == 3
    rows = batch(seeds=[None, None], parameters={"settings": [small()]})
    first, second = rows
    assert first["seed"] != second["seed"]
    again = cs.run(small(), seed=first["seed"], probe=False)
    assert (again.summary["bad_debt"], again.series["mark"].iloc[-1]) == (first["bad_debt"], first["mark"])


def test_what_mesa_takes_apart_is_refused_in_one_line() -> None:
    for parameters, words in (
        ({"settings": small()}, r"settings: expected a Scenario, .* in a list\), received \('name', "),
        (
            {"settings": [small()], "overrides": RANDOM},
            r"overrides: expected a mapping .*, received 'clearing\.",
        ),
        ({"settings": [small()], "overrides": [{"clearing.priority.nam": 1}]}, "received 'nam'"),
        ({"settings": "gamma_shok"}, "did you mean 'gamma_shock'"),
    ):
        with pytest.raises(ScenarioError, match=words) as refused:
            batch(seeds=[1], parameters=parameters)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("rng", ["seven", 1.5, [1, 2], float("inf")])
def test_a_seed_is_a_whole_number(rng: Any) -> None:
    with pytest.raises(ScenarioError, match="rng: expected a whole number, received"):
        cs.CascadeModel(small(), rng=rng)


@pytest.mark.parametrize("rng", ["7", 7.0, np.int64(7)])
def test_a_seed_may_be_written_in_any_way(rng: Any) -> None:
    assert cs.CascadeModel(small(), rng=rng).seed == 7


def test_no_argument_takes_any_name() -> None:
    # Mesa's dashboard asks for every argument without a default, also one that takes all others; from 3.5 on it hands
    # its own scenario to whatever takes all others.
    kinds = {each.kind for each in inspect.signature(cs.CascadeModel).parameters.values()}
    assert kinds == {inspect.Parameter.POSITIONAL_OR_KEYWORD}


@pytest.mark.slow
def test_a_batch_in_two_processes_gives_the_same_rows() -> None:
    parameters = {"settings": [small()], "overrides": [{}, RANDOM]}
    alone = batch(parameters=parameters)
    shared = sorted(batch(parameters=parameters, number_processes=2), key=lambda row: row["RunId"])
    leave = {"settings"}
    assert [{k: v for k, v in row.items() if k not in leave} for row in shared] == [
        {k: v for k, v in row.items() if k not in leave} for row in alone
    ]
