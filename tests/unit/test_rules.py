"""Rules of the user: wrong ones are refused before the run, and whatever they raise or answer amiss names them."""

import pickle
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import user_rules
from test_model import small
from user_rules import TO_RAISE, UnreadableError

import cascade_sim as cs
from cascade_sim.clearing.asking import finite_number, finite_numbers, require, told_as
from cascade_sim.clearing.deleveraging import ProfitLeverage
from cascade_sim.cli import main
from cascade_sim.domain.components import error_text
from cascade_sim.domain.errors import RunFailed, ScenarioError
from cascade_sim.model import check_inputs
from cascade_sim.registry import PRIORITIES, REGISTRIES, SIZINGS

HERE = user_rules.__name__
ASKED = (
    "clearing.priority",
    "clearing.sizing",
    "clearing.execution",
    "clearing.waterfall",
    "clearing.adl",
    "clearing.margin",
    "dealers.hedging",
    "market.mark_price",
)
BUILT_IN_ONLY = ("market.price_formation",)
TINY = {
    "run.steps": 90,
    "run.burn_in_steps": 20,
    "traders.count": 200,
    "traders.open_interest": 20_000,
    "shock.at_seconds": 20,
    "shock.duration_seconds": 20,
}


def one_line(error: BaseException) -> str:
    """Return the message of an error, which must be a single line."""
    assert "\n" not in str(error)
    return str(error)


def refused(kind: str, name: str, **parameters: Any) -> str:
    """Return the line with which a component is refused, by its registry and before a run alike."""
    specification = {"name": f"{HERE}:{name}", **parameters}
    with pytest.raises(ScenarioError) as by_registry:
        REGISTRIES[kind].create(specification)
    with pytest.raises(ScenarioError) as before_run:
        check_inputs(small(**{kind: specification}))
    assert one_line(by_registry.value) == one_line(before_run.value)
    assert by_registry.value.exit_code == 2
    return str(by_registry.value)


def failed(kind: str, name: str, **parameters: Any) -> RunFailed:
    """Return the error with which a run under a rule ends."""
    adl = {"clearing.insurance_fund": 0.0} if kind == "clearing.adl" else {}
    scenario = small(**adl, **{kind: {"name": f"{HERE}:{name}", **parameters}})
    with pytest.raises(RunFailed) as caught:
        cs.CascadeModel(scenario, rng=3).run()
    assert caught.value.exit_code == 1
    assert one_line(pickle.loads(pickle.dumps(caught.value))) == one_line(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("clearing.priority", "a priority rule: a class with the method score(accounts)"),
        ("clearing.sizing", "a sizing rule: a class with the method lots(accounts)"),
        ("clearing.execution", "an execution: a class with the method orders(accounts, lots, market)"),
        ("clearing.waterfall", "a stage of the waterfall: a class with the method take(accounts, party) and"),
        ("clearing.adl", "a deleveraging rule: a class with the method score(accounts)"),
        ("clearing.margin", "a margin model: a class with the method tiers(market)"),
        ("dealers.hedging", "a hedging rule: a class with the method trade(inputs) and the attributes "),
        ("market.mark_price", "a mark-price rule: a class with the method mark(inputs)"),
    ],
)
def test_a_class_without_the_method_is_refused(kind: str, expected: str) -> None:
    line = refused(kind, "Empty")
    assert line.startswith(f"{kind}.name: expected {expected}")
    assert re.search(
        rf"received {HERE}:Empty with no method (score|lots|orders|take|tiers|trade|mark)$", line
    )


@pytest.mark.parametrize("kind", BUILT_IN_ONLY)
@pytest.mark.parametrize("name", ["Empty", "Loud"])
def test_kinds_without_a_python_form_take_no_class(kind: str, name: str) -> None:
    line = refused(kind, name)
    assert line.startswith(f"{kind}.name: expected ")
    assert line.endswith(
        f"by its registered name; this kind takes no class of your own, received '{HERE}:{name}'"
    )


def test_every_registry_says_what_it_wants() -> None:
    assert set(ASKED) | set(BUILT_IN_ONLY) == set(REGISTRIES)
    for kind, registry in REGISTRIES.items():
        assert registry.offer is not None
        assert bool(registry.offer.methods) == (kind in ASKED)


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("NoArguments", "score(self) -> Any cannot be called as score(accounts)"),
        ("Shadowed", "compiled = 0 of WorstMarginRatioFirst, which would be used instead of score(); set"),
        ("Pretender", "compiled = 0, which only built-in rules have"),
    ],
)
def test_a_method_that_would_not_be_asked_is_refused(name: str, received: str) -> None:
    assert f"received {HERE}:{name} with {received}" in refused("clearing.priority", name)


def test_a_built_in_rule_of_another_kind_is_refused() -> None:
    place = f"{ProfitLeverage.__module__}:ProfitLeverage"
    with pytest.raises(ScenarioError, match=r"a priority rule: .* which only built-in rules have"):
        PRIORITIES.create(place)
    assert REGISTRIES["clearing.adl"].create(place) == ProfitLeverage()


def test_rules_that_fit_are_taken() -> None:
    for name in ("Static", "Renamed", "Unshadowed"):
        PRIORITIES.create(f"{HERE}:{name}")
    static, compiled = (
        cs.CascadeModel(small(**{"clearing.priority": name}), rng=3)
        for name in (f"{HERE}:Static", "worst_margin_ratio_first")
    )
    for model in (static, compiled):
        model.run()
    totals = [int(model.state.world.totals.liquidated_accounts) for model in (static, compiled)]
    assert totals[0] == totals[1] > 0


@pytest.mark.parametrize(
    ("kind", "name", "parameters", "expected"),
    [
        (
            "dealers.hedging",
            "Answers",
            {"price_limit": 1.0},
            "dealers.hedging.price_limit: expected a finite number of at least 0 and below 1, received 1.0",
        ),
        (
            "dealers.hedging",
            "Answers",
            {"interval_seconds": 0.0},
            "dealers.hedging.interval_seconds: expected a finite number of at least 1e-09, received 0.0",
        ),
        (
            "market.mark_price",
            "OddMark",
            {"instant": 2},
            "market.mark_price.instant: expected true or false, received 2",
        ),
        (
            "market.mark_price",
            "OddMark",
            {"weight": 1.5},
            f"market.mark_price: {HERE}:OddMark.memory(1.0): expected a weight from 0 to 1, received 1.5",
        ),
        (
            "market.mark_price",
            "OddMark",
            {"weight": -1.0},
            f"market.mark_price: {HERE}:OddMark.memory(1.0): raised ArithmeticError: negative",
        ),
        ("clearing.priority", "Dies", {}, "clearing.priority: SystemExit: 0 (received no parameters)"),
    ],
)
def test_attributes_out_of_range_are_refused(
    kind: str, name: str, parameters: dict[str, Any], expected: str
) -> None:
    assert refused(kind, name, **parameters) == expected


def test_types_that_cannot_be_read_are_refused() -> None:
    line = refused("clearing.priority", "Unreadable")
    assert line.startswith(f"clearing.priority: expected types that can be read at {HERE}:Unreadable")
    assert "NameError: name 'NoSuchType' is not defined" in line


@pytest.mark.parametrize("error", TO_RAISE)
@pytest.mark.parametrize("kind", ASKED)
def test_what_a_rule_raises_ends_the_run_and_names_it(kind: str, error: str) -> None:
    caught = failed(kind, "Loud", error=error)
    step = "" if kind == "clearing.margin" else ", step -?[0-9]+"  # asked before the run
    assert re.fullmatch(
        rf"{kind} {HERE}:Loud\.(score|lots|orders|take|tiers|mark|trade)\(\){step}: {TO_RAISE[error][2]}",
        str(caught),
    )
    assert isinstance(caught.__cause__, TO_RAISE[error][0])


def test_an_interrupt_passes_through_a_rule() -> None:
    model = cs.CascadeModel(small(**{"clearing.priority": f"{HERE}:Interrupted"}), rng=3)
    with pytest.raises(KeyboardInterrupt):
        model.run()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("market.mark_price", None, "one finite price, received NaN"),
        ("market.mark_price", 0.0, "a price above 0, received 0"),
        ("market.mark_price", -1.0, "a price above 0, received -1"),
        ("dealers.hedging", None, "one finite quantity, received NaN"),
        ("dealers.hedging", 1e12, r"at most [0-9.e+]+ base units either way, received 1e\+12"),
        ("clearing.sizing", None, "1 finite number of lots, received NaN at position 0"),
        ("clearing.sizing", 0.0, r"more than 0 lots to close \(.*\), received 0"),
        ("clearing.sizing", -2.0, r"more than 0 lots to close \(.*\), received -2"),
    ],
)
def test_an_answer_out_of_range_ends_the_run(kind: str, value: float | None, expected: str) -> None:
    line = str(failed(kind, "Answers", value=value))
    assert re.search(rf"^{kind} {HERE}:Answers\.\w+\(\), step -?[0-9]+: expected {expected}$", line), line


def test_a_configuration_step_that_fails_names_the_rule() -> None:
    with pytest.raises(RunFailed) as caught:
        cs.CascadeModel(small(**{"clearing.sizing": f"{HERE}:BadConfigure"}), rng=3)
    place = f"clearing.sizing {HERE}:BadConfigure.configure()"
    assert one_line(caught.value) == f"{place}: raised ZeroDivisionError: no step"


class Leaver(cs.Participant):
    """A trader that leaves the program."""

    def decide(self, market: Any) -> None:
        raise SystemExit(0)


def test_what_a_participant_raises_ends_the_run_and_names_it() -> None:
    model = cs.CascadeModel(small(), rng=3)
    model.add_participant(Leaver(model))
    with pytest.raises(RunFailed) as caught:
        model.run()
    expected = rf"participant {__name__}:Leaver\.decide\(\), step -?[0-9]+: raised SystemExit: 0"
    assert re.fullmatch(expected, one_line(caught.value))


class NoArray:
    """Something that refuses to become an array."""

    def __repr__(self) -> str:
        """Return the same text in every test process, which names the test."""
        return "NoArray()"

    def __array__(self, *_: object, **__: object) -> Any:
        raise RuntimeError("never")


@pytest.mark.parametrize(
    ("answer", "received"),
    [
        ([1.0, 2.0, np.nan], "NaN at position 2"),
        ([1.0, -np.inf, np.nan], "minus infinity at position 1"),
        ([1.0, 2.0], "2"),
        (np.ones((3, 1)), "an array of shape (3, 1)"),
        (4.0, "the single number 4.0"),
        (None, "values of type NoneType"),
        ([None, 1.0, 2.0], "values of type object"),
        ([True, False, True], "values of type bool"),
        (["a", "b", "c"], "values of type <U1"),
        (NoArray(), "a NoArray that is no array (RuntimeError: never)"),
    ],
    ids=repr,
)
def test_answers_that_are_not_finite_numbers(answer: Any, received: str) -> None:
    with pytest.raises(RunFailed) as caught:
        finite_numbers("kind rule.score()", 7, answer, 3, "score")
    assert (
        one_line(caught.value) == f"kind rule.score(), step 7: expected 3 finite scores, received {received}"
    )


def test_answers_that_are_finite_numbers_become_float64() -> None:
    for answer in (
        [1, 2, 3],
        (1.0, 2.0, 3.0),
        np.array([1, 2, 3], np.uint8),
        np.array([1, 2, 3], np.float32),
    ):
        values = finite_numbers("rule", 0, answer, 3, "score")
        assert values.dtype == np.float64
        assert values.tolist() == [1.0, 2.0, 3.0]
    assert finite_numbers("rule", 0, [], 0, "score").shape == (0,)
    for single in (2, 2.0, np.float32(2.0), np.int64(2), np.array(2.0)):
        assert finite_number("rule", 0, single, "price") == 2.0
    require("rule", 0, True, "anything", 1.0)


@pytest.mark.parametrize("answer", [[1.0], "1", None, True, 1j, np.nan, NoArray()], ids=repr)
def test_a_single_answer_that_is_none(answer: Any) -> None:
    with pytest.raises(RunFailed, match=r"^rule, step 0: expected one finite price, received "):
        finite_number("rule", 0, answer, "price")


def test_the_text_of_an_error_is_one_short_line() -> None:
    assert error_text(ValueError("a\n  b")) == "ValueError: a b"
    assert error_text(SystemExit()) == "SystemExit"
    assert error_text(UnreadableError()) == "UnreadableError"
    assert len(error_text(ValueError("x" * 10_000))) == 300
    with pytest.raises(RunFailed, match=r"^place: raised KeyError: 'x'$"), told_as("place"):
        raise KeyError("x")


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module of rules in the working folder, as a user would write it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    source = """
        import sys
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class NoScore:
            '''Offer nothing.'''
        @dataclass(frozen=True)
        class Leave:
            '''Leave the program.'''
            def score(self, accounts):
                sys.exit(0)
        @dataclass(frozen=True)
        class Nan:
            '''Answer with no number.'''
            def score(self, accounts):
                return accounts.margin_ratio * float("nan")
    """
    (tmp_path / "rules_guest.py").write_text(textwrap.dedent(source))
    (tmp_path / "rules_leaving.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "rules_dying.py").write_text("class End(BaseException):\n    pass\nraise End('now')\n")
    return "rules_guest"


@pytest.mark.parametrize(
    ("path", "name", "status", "message"),
    [
        (
            "clearing.priority",
            "rules_guest:NoScore",
            2,
            r"clearing.priority.name: expected a priority rule: ",
        ),
        ("clearing.adl", "rules_guest:NoScore", 2, r"clearing.adl.name: expected a deleveraging rule: "),
        ("clearing.margin", "rules_guest:Nan", 2, r"clearing.margin.name: expected a margin model: "),
        ("market.price_formation", "rules_guest:Nan", 2, r"market.price_formation.name: expected a price "),
        ("clearing.priority", "rules_leaving:Rule", 2, r".*'rules_leaving:Rule' \(SystemExit: 3\)"),
        ("clearing.priority", "rules_dying:Rule", 2, r".*'rules_dying:Rule' \(End: now\)"),
        (
            "clearing.priority",
            "rules_guest:Leave",
            1,
            r"clearing.priority rules_guest:Leave.score\(\), step \d+: raised SystemExit: 0",
        ),
        (
            "clearing.priority",
            "rules_guest:Nan",
            1,
            r"clearing.priority rules_guest:Nan.score\(\), step \d+: expected \d+ finite scores?, received NaN",
        ),
    ],
)
def test_the_command_line_tells_it_in_one_line(
    guest: str, capsys: pytest.CaptureFixture[str], path: str, name: str, status: int, message: str
) -> None:
    changes = {**TINY, f"{path}.name": name}
    words = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    with pytest.raises(SystemExit) as stop:
        main(["run", *words, "--no-charts", "--json"])
    captured = capsys.readouterr()
    assert (stop.value.code, captured.out) == (status, "")
    assert "Traceback" not in captured.err
    told = [line for line in captured.err.splitlines() if line.startswith("cascade-sim: ")]
    assert len(told) == 1
    assert re.match(message, told[0].removeprefix("cascade-sim: "))
    assert not Path("results").exists()


def test_sizes_beyond_the_position_close_the_position() -> None:
    large, full = (
        cs.CascadeModel(small(**{"clearing.sizing": specification}), rng=3)
        for specification in ({"name": f"{HERE}:Answers", "value": 1e12}, "full")
    )
    for model in (large, full):
        model.run()
    assert SIZINGS.name_of(large.engine.sizing) == f"{HERE}:Answers"
    totals = [int(model.state.world.totals.liquidated_accounts) for model in (large, full)]
    assert totals[0] == totals[1] > 0
