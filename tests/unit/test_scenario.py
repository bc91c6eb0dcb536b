"""Scenarios: the library, overrides, and one line for every refusal."""

import json
import re
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from cascade_sim.domain.errors import ScenarioError
from cascade_sim.options.chain import SIGN_RULES
from cascade_sim.scenario import (
    Scenario,
    load_scenario,
    parse_override,
    scenario_names,
    scenario_schema,
)

DEFAULT = Scenario()
LIBRARY = (
    "calm",
    "gamma_shock",
    "gamma_shock_halted",
    "long_gamma",
    "long_squeeze",
    "short_squeeze",
    "spot_and_perpetual",
)


def refusal(overrides: dict[str, Any], scenario: Scenario = DEFAULT) -> str:
    with pytest.raises(ScenarioError) as caught:
        scenario.with_overrides(overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def differences(scenario: Scenario) -> dict[str, Any]:
    default = DEFAULT.leaves()
    labels = ("name", "title", "description")
    return {
        path: value
        for path, value in scenario.leaves().items()
        if path not in labels and value != default[path]
    }


def test_the_library_holds_what_it_should() -> None:
    files = resources.files("cascade_sim.scenarios").iterdir()
    found = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    assert list(scenario_names()) == found
    assert set(LIBRARY) <= set(found)
    assert [load_scenario(name).name for name in found] == found
    assert all(load_scenario(name).title and load_scenario(name).description for name in found)


def test_gamma_shock_spells_out_the_defaults() -> None:
    assert differences(load_scenario("gamma_shock")) == {}
    document = yaml.safe_load(
        resources.files("cascade_sim.scenarios").joinpath("gamma_shock.yaml").read_text()
    )
    written = set(Scenario.from_mapping(document).leaves())
    named: set[str] = set()

    def collect(tree: dict[str, Any], prefix: str = "") -> None:
        for key, value in tree.items():
            if isinstance(value, dict):
                collect(value, f"{prefix}{key}.")
            else:
                named.add(f"{prefix}{key}")

    collect(document)
    assert named == written


def test_what_the_other_scenarios_change() -> None:
    squeeze = {"traders.open_interest": 110000.0, "dealers.count": 0, "dealers.gamma_per_percent": 0.0}
    assert differences(load_scenario("long_squeeze")) == squeeze
    assert differences(load_scenario("short_squeeze")) == {
        **squeeze,
        "traders.long_share": 0.1,
        "shock.side": "buy",
        "shock.news": 0.018,
    }
    assert differences(load_scenario("long_gamma")) == {"dealers.gamma_per_percent": 1500.0}
    assert differences(load_scenario("gamma_shock_halted")) == {
        "venue.circuit_breaker.levels": [0.03],
        "venue.circuit_breaker.halt_seconds": [300.0],
        "venue.circuit_breaker.window_seconds": 300.0,
        "venue.circuit_breaker.direction": "down",
    }
    assert differences(load_scenario("calm")) == {
        "traders.open_interest": 40000.0,
        "traders.long_share": 0.6,
        "traders.inverse_leverage": [0.3, 1.0],
        "traders.entrants.quantity": 750.0,
        "traders.entrants.inverse_leverage": [0.3, 1.0],
        "dealers.gamma_per_percent": -50.0,
        "shock.quantity": 0.0,
        "shock.news": 0.0,
    }


@pytest.mark.parametrize("name", scenario_names())
def test_every_number_of_a_library_file_has_a_comment(name: str) -> None:
    text = resources.files("cascade_sim.scenarios").joinpath(f"{name}.yaml").read_text()
    numbers = [line for line in text.splitlines() if re.match(r"\s*\w+:\s+[\[\-+.]?\d", line)]
    assert numbers
    assert [line for line in numbers if "  # " not in line] == []


def test_every_number_of_the_schema_has_a_unit() -> None:
    schema = scenario_schema()
    json.dumps(schema, allow_nan=False)

    def numeric(field: dict[str, Any]) -> bool:
        options = [field, *field.get("anyOf", [])]
        return any(
            option.get("type") in ("number", "integer")
            or "prefixItems" in option
            or "$ref" not in option.get("items", {"$ref": ""})
            for option in options
        )

    fields = [
        (f"{section}.{key}", field)
        for section, body in schema["$defs"].items()
        for key, field in body["properties"].items()
        if numeric(field)
    ]
    assert len(fields) > 120
    assert [path for path, field in fields if not field.get("unit")] == []
    assert [path for path, field in fields if field["unit"] not in field["description"]] == []


def test_the_signs_of_a_chain_are_those_that_its_reader_knows() -> None:
    assert set(scenario_schema()["$defs"]["Chain"]["properties"]["sign"]["enum"]) == set(SIGN_RULES)


def test_an_override_changes_one_field_and_leaves_the_original() -> None:
    changed = DEFAULT.with_overrides({"shock.quantity": 10})
    assert differences(changed) == {"shock.quantity": 10.0}
    assert DEFAULT.shock.quantity == 6000.0


def test_another_name_drops_the_parameters_of_the_old_component() -> None:
    full = DEFAULT.with_overrides({"clearing.sizing.name": "full"})
    assert full.tree()["clearing"]["sizing"] == {"name": "full"}
    assert full.clearing.priority == DEFAULT.clearing.priority
    same = DEFAULT.with_overrides({"clearing.sizing.name": "fraction"})
    assert same == DEFAULT
    bare = DEFAULT.with_overrides({"clearing.sizing": "full"})
    assert bare == full
    flow = DEFAULT.with_overrides({"background.limit_rate": 9, "background.lifetime_seconds": 5})
    assert flow.with_overrides({"background.name": "santa_fe"}).tree()["background"].keys() == {
        "name",
        "market_rate",
        "limit_rate",
        "cancel_rate",
        "window_ticks",
        "order_size",
    }
    back = flow.with_overrides({"background.name": "santa_fe"}).with_overrides(
        {"background.name": "fixed_rates"}
    )
    assert back == DEFAULT


def test_names_come_before_parameters_whatever_the_order() -> None:
    forward = {"dealers.hedging.name": "fixed_band", "dealers.hedging.band": 2.0}
    backward = dict(reversed(forward.items()))
    for overrides in (forward, backward):
        hedging = DEFAULT.with_overrides(overrides).dealers.hedging
        assert (hedging.name, hedging.parameters) == ("fixed_band", {"band": 2.0})
    section = {
        "dealers.hedging.band": 3.0,
        "dealers": {"hedging": {"name": "fixed_band", "band": 1.0}, "count": 4},
    }
    dealers = DEFAULT.with_overrides(section).dealers
    assert (dealers.count, dealers.hedging.parameters) == (4, {"band": 3.0})


def test_the_scenarios_own_name_drops_nothing() -> None:
    assert differences(DEFAULT.with_overrides({"name": "other"})) == {}


def test_values_of_other_libraries_are_understood() -> None:
    class Sides(IntEnum):
        BUY = 1

    changed = DEFAULT.with_overrides(
        {
            "shock.quantity": np.float64(5.0),
            "run.steps": np.int64(5000),
            "traders.inverse_leverage": np.array([0.1, 0.2]),
            "options.chain.path": Path("chain.csv"),
            "shock.side": Sides.BUY,
            "switches.adl": np.bool_(False),
        }
    )
    assert (changed.shock.quantity, changed.run.steps, changed.traders.inverse_leverage) == (
        5.0,
        5000,
        (0.1, 0.2),
    )
    assert (changed.options.chain.path, changed.shock.side, changed.switches.adl) == (
        "chain.csv",
        "buy",
        False,
    )


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("clearing.priority.name=random", "clearing.priority.name", "random"),
        ("liquidity.belief_noise=1e-4", "liquidity.belief_noise", 1e-4),
        ("liquidity.belief_noise=1.5E+3", "liquidity.belief_noise", 1500.0),
        ("traders.inverse_leverage=[.1, 3e-1]", "traders.inverse_leverage", [0.1, 0.3]),
        ("switches.adl=off", "switches.adl", False),
        ("run.event_window_seconds=null", "run.event_window_seconds", None),
        ("options.chain.path=a=b.csv", "options.chain.path", "a=b.csv"),
        (" run.steps = 010 ", "run.steps", 10),
        ("run.steps=1:30", "run.steps", "1:30"),
        ("market.venue=2024-01-08", "market.venue", "2024-01-08"),
        ("clearing.sizing={name: full}", "clearing.sizing", {"name": "full"}),
    ],
)
def test_parse_override(text: str, path: str, value: Any) -> None:
    parsed = parse_override(text)
    assert parsed == (path, value)
    assert type(parsed[1]) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run.steps", "override: expected PATH=VALUE, received 'run.steps'"),
        ("=3", "override: expected PATH=VALUE, received '=3'"),
        ("run..steps=3", "override: expected a dotted path such as shock.quantity, received 'run..steps'"),
        ("run.steps=[1", "run.steps: expected YAML, received an error at line 1, column 3:"),
        (
            "run.steps={a: 1, a: 2}",
            "run.steps: expected YAML, received an error at line 1, column 8: key 'a' is",
        ),
        ("shock.news=.nan", "shock.news: expected a finite number, received nan"),
        ("shock.news=1e999", "shock.news: expected a finite number, received inf"),
        ("shock.news=\x00", "shock.news: expected YAML, received an error"),
    ],
)
def test_parse_override_refusals(text: str, expected: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_override(text)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"shok.quantity": 1}, "shok: expected a known key, received 'shok', known: name, title,"),
        (
            {"shock.quantty": 1},
            "shock.quantty: expected a known key, received 'quantty', known: quantity, side, at_seconds, "
            "duration_seconds, news; did you mean 'quantity'?",
        ),
        (
            {"traders.entrants.shar": 1},
            "traders.entrants.shar: expected a known key, received 'shar', known: share,",
        ),
        (
            {"background.limit_rat": 1},
            "background.limit_rat: expected a known key, received 'limit_rat', known: name,",
        ),
        (
            {"background.name": "santa_fee"},
            "background.name: expected a known name, received 'santa_fee', known: fixed_rates, santa_fe, "
            "cont_stoikov_talreja; did you mean 'santa_fe'?",
        ),
        ({"background": 3}, "background: expected a mapping, received 3"),
        ({"background.limit_rate": -1}, "background.limit_rate: expected a number >= 0, received -1"),
        ({"shock.quantity": -1}, "shock.quantity: expected a number >= 0, received -1"),
        ({"shock.quantity": True}, "shock.quantity: expected a number, received true"),
        ({"shock.quantity": "5"}, "shock.quantity: expected a number, received '5'"),
        ({"shock.quantity": None}, "shock.quantity: expected a number, received null"),
        ({"shock.quantity.x": 1}, "shock.quantity: expected a number, received {'x': 1}"),
        ({"shock.quantity": float("nan")}, "shock.quantity: expected a finite number, received nan"),
        (
            {"shock.quantity": 10**400},
            "shock.quantity: expected a whole number that fits in 64 bits, received 1000",
        ),
        ({"shock": None}, "shock: expected a mapping, received null"),
        (
            {"shock.side": "sel"},
            "shock.side: expected one of the known words, received 'sel', known: sell, buy; did",
        ),
        ({"run.dt": 0}, "run.dt: expected a number >= 1e-06, received 0"),
        ({"run.dt": 1e300}, "run.dt: expected a number <= 1e+06, received 1e+300"),
        ({"run.steps": 10**12}, "run.steps: expected a number <= 1e+09, received 1000000000000"),
        ({"traders.count": 1e8}, "traders.count: expected a number <= 1e+07, received 100000000"),
        (
            {"background.limit_rate": 1e300},
            "background.limit_rate: expected a number <= 100000, received 1e+300",
        ),
        (
            {"dealers.gamma_per_percent": -1e13},
            "dealers.gamma_per_percent: expected a number >= -1e+12, received",
        ),
        (
            {"options.expiry_days": [1e300]},
            "options.expiry_days[0]: expected a number <= 100000, received 1e+300",
        ),
        ({"options.chain.path": ""}, "options.chain.path: expected text that is not empty, received ''"),
        (
            {"options.chain.dealer_share": 1.5},
            "options.chain.dealer_share: expected a number <= 1, received 1.5",
        ),
        ({"options.chain.dealer_share": 0}, "options.chain.dealer_share: expected a number > 0, received 0"),
        ({"name": "x" * 101}, "name: expected text of at most 100 characters, received 'xxx"),
        ({"shock.quantity": np.float64("inf")}, "shock.quantity: expected a finite number, received inf"),
        (
            {"clearing.sizing.fraction": 1e300},
            "clearing.sizing.fraction: expected a number from -1e+12 to 1e+12, received 1e+300",
        ),
        ({"run.steps": 1.5}, "run.steps: expected a whole number, received 1.5"),
        ({"run.steps": False}, "run.steps: expected a whole number, received false"),
        ({"run.steps": 0}, "run.steps: expected a number >= 1, received 0"),
        (
            {"run.record": "ful"},
            "run.record: expected one of the known words, received 'ful', known: full, series",
        ),
        ({"switches.adl": 1}, "switches.adl: expected true or false, received 1"),
        ({"market.venue": 3}, "market.venue: expected text, received 3"),
        ({"market.venue": ""}, "market.venue: expected text that is not empty, received ''"),
        ({"traders.long_share": 1.1}, "traders.long_share: expected a number <= 1, received 1.1"),
        ({"traders.entrants.share": 1}, "traders.entrants.share: expected a number < 1, received 1"),
        ({"traders.inverse_leverage": 0.1}, "traders.inverse_leverage: expected a list, received 0.1"),
        (
            {"traders.inverse_leverage": [0.1]},
            "traders.inverse_leverage[1]: expected a value, received nothing",
        ),
        (
            {"traders.inverse_leverage": [0.1, 0.2, 0.3]},
            "traders.inverse_leverage: expected a list of at most 2,",
        ),
        (
            {"traders.inverse_leverage": [0.1, True]},
            "traders.inverse_leverage[1]: expected a number, received true",
        ),
        ({"options.expiry_days": []}, "options.expiry_days: expected a list of at least 1, received []"),
        ({"clearing.priority": 3}, "clearing.priority: expected a mapping, received 3"),
        ({"clearing.priority.name": 3}, "clearing.priority.name: expected text, received 3"),
        (
            {"clearing.sizing.fraction": {"a": 1}},
            "clearing.sizing.fraction: expected a number, text, true, false, null or a list, "
            "received {'a': 1}",
        ),
        (
            {"clearing.sizing.fraction": float("inf")},
            "clearing.sizing.fraction: expected a finite number, received inf",
        ),
        ({"name": "a/b"}, "name: expected text without slashes or control characters, received 'a/b'"),
        ({"": 1}, "override: expected a dotted path such as shock.quantity, received ''"),
        (
            {"shock.side": object},
            "shock.side: expected a number, text, true, false, null, a list or a mapping,",
        ),
        ({"shock": {1: 2}}, "shock: expected text as key, received 1"),
        ({"shock": {"x\ny": 2}}, "shock.x y: expected a known key, received 'x\\ny', known: quantity"),
        (
            {"shock.quantity": -1, "shock.news": "a"},
            "shock.quantity: expected a number >= 0, received -1 (and 1 more)",
        ),
    ],
)
def test_a_refused_value_names_path_expectation_and_value(overrides: dict[str, Any], expected: str) -> None:
    assert refusal(overrides).startswith(expected)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            {"clearing.maintenance_margin": 0.02},
            "clearing.maintenance_margin: expected less than clearing.initial_margin, 0.02, received 0.02",
        ),
        (
            {"traders.inverse_leverage": [0.2, 0.2]},
            "traders.inverse_leverage: expected [a, b] with a < b, received [0.2, 0.2]",
        ),
        (
            {"traders.inverse_leverage": [0.0125, 0.2]},
            "traders.inverse_leverage: expected [a, b] with a above clearing.maintenance_margin, 0.0125, "
            "received [0.0125, 0.2]",
        ),
        (
            {"traders.entrants.inverse_leverage": [0.01, 0.2]},
            "traders.entrants.inverse_leverage: expected [a, b] with a above "
            "clearing.maintenance_margin, 0.0125, received [0.01, 0.2]",
        ),
        (
            {"market.lot_size": 1e-8, "market.tick_size": 1, "shock.quantity": 1e9},
            "shock.quantity: expected at most 1e+07, 1e+15 lots of market.lot_size, received 1000000000.0",
        ),
        (
            {"liquidity.size_growth": 100},
            "liquidity.size_growth: expected ladders of at most 1e+12 base units in all, not 4.6",
        ),
        (
            {"liquidity.level_growth": 100, "liquidity.levels": 20},
            "liquidity.level_growth: expected a last level at most 1e+12 away, not 4e+37, received 100.0",
        ),
        (
            {"options.strikes": 2731},
            "options.strikes: expected at most 8192 options over all of options.expiry_days, 3, received 2731",
        ),
        (
            {"run.steps": 2592000},
            "options.expiry_days: expected an expiry after the run of 2.592e+06 s (run.steps, run.dt), received",
        ),
        (
            {"run.steps": 1e9, "dealers.count": 0},
            "run.steps: expected at most 1000000000 with run.burn_in_steps, 900, received 1000000000",
        ),
        ({"traders.count": 0}, "traders.open_interest: expected 0 when no trader is present at the start"),
        (
            {"traders.brackets.symbol": "ETH"},
            "traders.brackets.symbol: expected null without traders.brackets.path, received 'ETH'",
        ),
        (
            {"traders.stop_loss.distance_low": 0.06},
            "traders.stop_loss.distance_low: expected at most traders.stop_loss.distance_high, 0.05, "
            "received 0.06",
        ),
        (
            {"options.strike_low": 1.3},
            "options.strike_low: expected less than options.strike_high, 1.3, received 1.3",
        ),
        (
            {"options.expiry_days": [1, 2]},
            "options.expiry_weights: expected as many weights as options.expiry_days, 2, "
            "received [0.4, 0.35, 0.25]",
        ),
        (
            {"options.expiry_weights": [1, 1, 1]},
            "options.expiry_weights: expected weights that sum to 1, received [1.0, 1.0, 1.0]",
        ),
        (
            {"run.steps": 3779},
            "shock.at_seconds: expected a shock of 180 s that ends within the run of 3779 s, received 3600.0",
        ),
        (
            {"run.event_window_seconds": 10801},
            "run.event_window_seconds: expected at most 10800 s, what remains of the run at the shock, "
            "received 10801.0",
        ),
        (
            {"market.lot_size": 1e-9},
            "market.tick_size * lot_size: expected a whole number of atoms (1e-8 USD), at least 1, "
            "received 0.01",
        ),
        (
            {"market.initial_price": 0.05},
            "market.initial_price: expected at least one tick of 0.1, received 0.05",
        ),
        (
            {"background": {"name": "cont_stoikov_talreja", "limit_rates": [1.0]}},
            "background.cancel_rates: expected as many rates as background.limit_rates, 1, received [",
        ),
    ],
)
def test_fields_that_contradict_each_other(overrides: dict[str, Any], expected: str) -> None:
    assert refusal(overrides).startswith(expected)


@pytest.mark.parametrize(
    ("off", "on", "overrides", "refused"),
    [
        (
            {"traders.count": 0, "traders.open_interest": 0},
            {"traders.count": 100},
            {"traders.inverse_leverage": [0.01, 0.2]},
            "traders.inverse_leverage: expected [a, b] with a above clearing.maintenance_margin",
        ),
        (
            {"traders.entrants.share": 0},
            {"traders.entrants.share": 0.1},
            {"traders.entrants.inverse_leverage": [0.01, 0.2]},
            "traders.entrants.inverse_leverage: expected [a, b] with a above clearing.maintenance_margin",
        ),
        (
            {"portfolios.count": 0},
            {"portfolios.count": 5},
            {"portfolios.inverse_leverage": [0.01, 0.2]},
            "portfolios.inverse_leverage: expected [a, b] with a above clearing.maintenance_margin",
        ),
        (
            {"traders.count": 0, "traders.open_interest": 0},
            {"traders.count": 100},
            {"traders.activity.reentry.probability": 0.5},
            "traders.activity.reentry.probability: expected 0 when traders.activity.wake_rate is 0",
        ),
        (
            {"shock.quantity": 0, "shock.news": 0},
            {"shock.news": -0.01},
            {"run.event_window_seconds": 14_400},
            "run.event_window_seconds: expected at most 10800 s, what remains of the run at the shock",
        ),
        (
            {"venue.circuit_breaker": {"levels": [], "halt_seconds": []}},
            {"venue.circuit_breaker": {"levels": [0.1], "halt_seconds": [60]}},
            {"venue.circuit_breaker.window_seconds": 200_000},
            "venue.circuit_breaker.window_seconds: expected at most 131071 s",
        ),
        (
            {"liquidity.count": 0},
            {"liquidity.count": 1},
            {"liquidity.volatility_return_seconds": 1e6},
            "liquidity.volatility_return_seconds: expected at most",
        ),
        (
            {"liquidity.count": 0},
            {"liquidity.count": 1},
            {"latency.liquidity_providers.delay_seconds": 0.1},
            "latency.liquidity_providers.delay_seconds: expected 0 or at least half a step",
        ),
        (
            {"dealers.count": 0},
            {"dealers.count": 1},
            {"latency.dealers.delay_seconds": 0.1},
            "latency.dealers.delay_seconds: expected 0 or at least half a step",
        ),
        (
            {"traders.count": 0, "traders.open_interest": 0},
            {"traders.count": 100},
            {"latency.leveraged_traders.delay_seconds": 0.1},
            "latency.leveraged_traders.delay_seconds: expected 0 or at least half a step",
        ),
        *(
            (
                off,
                on,
                {"market.lot_size": 1e-8, "market.tick_size": 1, path: 2e7},
                f"{path}: expected at most 1e+07",
            )
            for off, on, path in (
                ({"liquidity.count": 0}, {"liquidity.count": 1}, "liquidity.inventory_limit"),
                ({"traders.entrants.share": 0}, {"traders.entrants.share": 0.1}, "traders.entrants.quantity"),
                ({"portfolios.count": 0}, {"portfolios.count": 5}, "portfolios.open_interest"),
                (
                    {"options.chain.path": None},
                    {"options.chain.path": "x"},
                    "options.chain.minimum_open_interest",
                ),
                ({"background.limit_rate": 0}, {"background.limit_rate": 1}, "background.limit_size"),
                ({"background.market_rate": 0}, {"background.market_rate": 1}, "background.market_size"),
                (
                    {"background.patient_orders": 0},
                    {"background.patient_orders": 1},
                    "background.patient_size",
                ),
            )
        ),
    ],
)
def test_a_field_is_held_against_others_where_its_mechanism_is_on(
    off: dict[str, Any], on: dict[str, Any], overrides: dict[str, Any], refused: str
) -> None:
    DEFAULT.with_overrides({**off, **overrides})
    assert refusal({**on, **overrides}).startswith(refused)


def test_the_edges_of_the_relations_are_allowed() -> None:
    DEFAULT.with_overrides({"run.steps": 3780})
    DEFAULT.with_overrides({"run.event_window_seconds": 10800})
    DEFAULT.with_overrides({"traders.count": 0, "traders.open_interest": 0})
    DEFAULT.with_overrides({"traders.stop_loss.distance_low": 0.05})
    load_scenario("calm").with_overrides({"run.steps": 100})


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(ScenarioError, match=r"^shock: expected a known key|^shok: expected a known key"):
        Scenario.model_validate({"shok": {}})
    with pytest.raises(ScenarioError, match="scenario: expected a mapping of sections, received 3"):
        Scenario.from_mapping(3)  # type: ignore[arg-type]


def test_nesting_without_end_is_refused() -> None:
    circular: dict[str, Any] = {}
    circular["shock"] = circular
    with pytest.raises(
        ScenarioError, match="expected at most 16 levels, received a deeper or circular value"
    ):
        Scenario.from_mapping(circular)


def test_a_scenario_is_frozen() -> None:
    for part, key in ((DEFAULT.shock, "quantity"), (DEFAULT.clearing.sizing, "fraction"), (DEFAULT, "name")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, key, 1.0)
    DEFAULT.tree()["shock"]["quantity"] = 1.0
    DEFAULT.clearing.sizing.parameters["fraction"] = 1.0
    assert Scenario.from_mapping({}).shock.quantity == 6000.0
    assert DEFAULT.clearing.sizing.parameters["fraction"] == 0.5
