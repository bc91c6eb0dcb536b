"""Scenarios: the only home of defaults, read from YAML, frozen, checked before anything runs."""

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler

from cascade_sim import own_code
from cascade_sim.domain.errors import ScenarioError, UnknownNameError, expectation
from cascade_sim.domain.files import LARGEST_SCENARIO, read_bounded
from cascade_sim.scenario.accounts import (
    Agents,
    Clearing,
    Dealers,
    Holders,
    Options,
    Portfolios,
    Shock,
    Switches,
    Traders,
)
from cascade_sim.scenario.base import Component, Section, choice
from cascade_sim.scenario.checks import check_consistency
from cascade_sim.scenario.commented import commented_yaml
from cascade_sim.scenario.latency import Latency
from cascade_sim.scenario.lengths import in_time, laid_over, refuse_both
from cascade_sim.scenario.market import (
    Arbitrage,
    Background,
    Contract,
    CrossArbitrage,
    FixedRates,
    Fundamental,
    Liquidity,
    Run,
    ValueTraders,
)
from cascade_sim.scenario.messages import error_line
from cascade_sim.scenario.prices import Index
from cascade_sim.scenario.tree import leaves, merged, nested, plain_tree, tree_hash
from cascade_sim.scenario.venue import Venue
from cascade_sim.scenario.yaml_text import parse_yaml, write_yaml

__all__ = ["Component", "Scenario", "load_scenario", "parse_override", "scenario_names", "scenario_schema"]

_LIBRARY = "cascade_sim.scenarios"
_SUFFIXES = (".yaml", ".yml")
_SHARED = frozenset(("name", "run", "switches", "markets"))


class Scenario(Section):
    """Everything that determines a run, except its seed.

    The tree is frozen; `with_overrides` returns a changed copy. The description of every numeric field ends
    with its unit (see `scenario_schema`). Defaults are those of the ``gamma_shock`` scenario.

    Raises
    ------
    ScenarioError
        If a value is refused, a key is unknown, or two values contradict each other.
    """

    name: str = choice("unnamed", "Short name", min_length=1, max_length=100, pattern=r"^[^/\\\x00-\x1f]+$")
    title: str = choice("", "One line for charts and reports")
    description: str = choice("", "What happens and why")
    run: Run = Run()
    market: Contract = Contract()
    venue: Venue = Venue()
    fundamental: Fundamental = Fundamental()
    index: Index = Index()
    background: Background = Field(default=FixedRates(), description="Flow without leverage, by name")
    liquidity: Liquidity = Liquidity()
    value_traders: ValueTraders = ValueTraders()
    arbitrage: Arbitrage = Arbitrage()
    cross_arbitrage: CrossArbitrage = CrossArbitrage()
    traders: Traders = Traders()
    portfolios: Portfolios = Portfolios()
    holders: Holders = Holders()
    dealers: Dealers = Dealers()
    options: Options = Options()
    clearing: Clearing = Clearing()
    latency: Latency = Latency()
    shock: Shock = Shock()
    switches: Switches = Switches()
    agents: dict[str, Agents] = choice(
        {}, "Agents written in Python by a label of yours: name (package.module:Class), count, parameters"
    )
    markets: dict[str, dict[str, Any]] = choice(
        {}, "Further markets by name: what differs from this one, section by section"
    )

    @model_validator(mode="wrap")
    @classmethod
    def _validated(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(value, Mapping):
            value = in_time(value)
        try:
            scenario = handler(value)
        except ValidationError as error:
            raise ScenarioError(error_line(cls, error)) from error
        check_consistency(scenario)
        if scenario.markets:
            scenario.market_scenarios()
        return scenario

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Scenario":
        """Build a scenario from a nested mapping; what it leaves out takes its default.

        Parameters
        ----------
        mapping : mapping
            Sections by name; may say ``base: NAME_OR_PATH`` and then only what differs from that scenario.

        Returns
        -------
        Scenario

        Raises
        ------
        ScenarioError
            If anything is wrong with it, in one line.
        """
        if not isinstance(mapping, Mapping):
            raise ScenarioError(expectation("scenario", "a mapping of sections", mapping))
        tree = _with_base(plain_tree(mapping), Path(), ())
        return cls.model_validate(laid_over(_default_tree(), tree))

    def with_overrides(self, overrides: Mapping[str, Any]) -> "Scenario":
        """Return a copy with some fields changed.

        Parameters
        ----------
        overrides : mapping
            Values by dotted path, e.g. ``{"shock.quantity": 0}``. A mapping as value changes only what it
            names. A changed ``name`` of a component drops the parameters of the old one; names are applied
            before parameters, so that the order of the keys does not matter.

        Returns
        -------
        Scenario

        Raises
        ------
        ScenarioError
            If a path is unknown or a value refused.
        """
        tree: Any = self.tree()
        for section in ("run", "clearing"):
            refuse_both(section, {path.removeprefix(f"{section}.") for path in overrides})
        for path in sorted(overrides, key=_override_order):
            tree = laid_over(tree, nested(path, plain_tree(overrides[path], path)))
        return type(self).model_validate(tree)

    def tree(self) -> dict[str, Any]:
        """Return the resolved tree as dicts, lists and scalars, ready for YAML or JSON."""
        return self.model_dump(mode="json")

    def leaves(self) -> dict[str, Any]:
        """Return every value of the resolved tree by its dotted path."""
        return dict(leaves(self.tree()))

    def components(self) -> dict[str, Component]:
        """Return the replaceable rules by their dotted path: ``clearing.priority``, ``clearing.waterfall[0]``."""
        found: dict[str, Component] = {}
        for section_name in type(self).model_fields:
            section = getattr(self, section_name)
            if isinstance(section, Section):
                for key in type(section).model_fields:
                    value = getattr(section, key)
                    if isinstance(value, Component):
                        found[f"{section_name}.{key}"] = value
                    elif isinstance(value, tuple):
                        items = enumerate(value)
                        found |= {
                            f"{section_name}.{key}[{k}]": item
                            for k, item in items
                            if isinstance(item, Component)
                        }
        return found

    def to_yaml(self) -> str:
        """Return the resolved tree as YAML; loading it gives an equal scenario."""
        return write_yaml(self.tree())

    def to_commented_yaml(self, notes: Mapping[str, str] | None = None) -> str:
        """Return the resolved tree as YAML with the unit and the meaning of every field behind it.

        Parameters
        ----------
        notes : mapping, optional
            Meaning of parameters of components by dotted path; their own classes know them.

        Returns
        -------
        str
            Loading it gives an equal scenario.
        """
        return commented_yaml(self, notes or {})

    def market_scenarios(self) -> dict[str, "Scenario"]:
        """Return the tree of each market by name, this one's first, under the name of its venue.

        A further market has everything of this one that it does not say otherwise, except the scheduled orders of the
        shock and the agents written in Python: those it has only if it says so itself.

        Raises
        ------
        ScenarioError
            If a further market's tree is refused, or two have one name.
        """
        alone: Any = {**self.tree(), "markets": {}}
        found = (
            {self.market.venue: type(self).model_validate(alone)}
            if self.markets
            else {self.market.venue: self}
        )
        for name, change in self.markets.items():
            path = f"markets.{name}"
            if name in found:
                raise ScenarioError(
                    expectation(path, f"a name other than the venue {self.market.venue}", name)
                )
            shared = sorted(_SHARED & change.keys())
            if shared:
                raise ScenarioError(
                    expectation(path, f"no section {shared[0]}, which markets share", shared[0])
                )
            quiet = merged(
                {**alone, "agents": {}}, {"name": name, "shock": {"quantity": 0.0}, "market": {"venue": name}}
            )
            try:
                found[name] = type(self).model_validate(laid_over(quiet, change))
            except ScenarioError as error:
                raise ScenarioError(f"{path}.{error}") from error
            if self.portfolios.count > 0 and found[name].market.quote != self.market.quote:
                expected = f"{self.market.quote}, the one currency of all portfolios"
                raise ScenarioError(expectation(f"{path}.market.quote", expected, found[name].market.quote))
            if found[name].portfolios.count != self.portfolios.count:
                expected = f"portfolios.count, {self.portfolios.count}: each has a leg in every market"
                received = found[name].portfolios.count
                raise ScenarioError(expectation(f"{path}.portfolios.count", expected, received))
        return found

    def alone(self) -> "Scenario":
        """Return the first market by itself: no further markets, nor the index sources that read them."""
        tree = self.tree()
        sources = {
            name: source
            for name, source in tree["index"]["sources"].items()
            if source.get("market") not in self.markets
        }
        index = {**tree["index"], "sources": sources}
        return type(self).model_validate({**tree, "markets": {}, "index": index})

    def own_code(self) -> dict[str, str]:
        """Return the classes outside this package that a run would import, by dotted path; empty if there is none."""
        markets = tuple(self.market_scenarios().values()) if self.markets else (self,)
        named: Any = (item for market in markets for item in market.leaves().items())
        found = {path: value for path, value in named if path.endswith(".name") and ":" in str(value)}
        listed = (item for market in markets for item in market.components().items())
        return found | {path: rule.name for path, rule in listed if path.endswith("]") and ":" in rule.name}

    def __getstate__(self) -> dict[Any, Any]:
        """Take along where modules are that the tree names: another process has not read the file."""
        return {**super().__getstate__(), "own_code": own_code.noted(self.tree())}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take over what `__getstate__` took along."""
        own_code.note_again(state.get("own_code", {}))
        super().__setstate__({key: value for key, value in state.items() if key != "own_code"})

    @property
    def scenario_hash(self) -> str:
        """SHA-256 (hexadecimal) of the resolved tree, independent of key order and of 30 against 30.0."""
        return tree_hash(self.tree())


def load_scenario(name_or_path: str | PathLike[str]) -> Scenario:
    """Load a scenario from the library or from a YAML file.

    Parameters
    ----------
    name_or_path : str or path
        A name of the library (see `scenario_names`), or a path. Text that ends in ``.yaml`` or ``.yml`` or
        holds a separator is a path. A file without a ``name`` is named after itself.

    Returns
    -------
    Scenario

    Raises
    ------
    ScenarioError
        If the name is unknown, the file unreadable, or its content refused.
    """
    document, directory, key = _read(name_or_path, Path())
    tree = _with_base(document, directory, (key,))
    # Last, so that it goes before the files that it is based on.
    own_code.note(document, directory)
    tree["name"] = document.get("name", Path(name_or_path).stem)
    try:
        return Scenario.from_mapping(tree)
    except ScenarioError as error:
        if _is_library_name(name_or_path):
            raise
        raise ScenarioError(f"{fspath(name_or_path)}: {error}") from error


def as_scenario(scenario: Scenario | str | PathLike[str]) -> Scenario:
    """Return a scenario, or load the one of a name or path as `load_scenario` does."""
    return scenario if isinstance(scenario, Scenario) else load_scenario(scenario)


def scenario_names() -> tuple[str, ...]:
    """Return the names of the scenario library in alphabetical order."""
    entries = (entry.name for entry in resources.files(_LIBRARY).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml")))


def scenario_schema() -> dict[str, Any]:
    """Return the JSON schema of the tree; each numeric field carries its ``unit``."""
    return Scenario.model_json_schema()


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``"a.b=VALUE"`` into path and value.

    Parameters
    ----------
    text : str
        Dotted path, equals sign, YAML value (so that ``[0.1, 0.3]``, ``1e-4``, ``off`` and ``null`` work).

    Returns
    -------
    path : str
    value : object

    Raises
    ------
    ScenarioError
        If there is no equals sign, a part of the path is empty, or the value is not YAML.
    """
    path, separator, value = text.partition("=")
    path = path.strip()
    if not separator or not path:
        raise ScenarioError(expectation("override", "PATH=VALUE", text))
    nested(path, None)
    return path, plain_tree(parse_yaml(value, path), path)


@lru_cache(maxsize=1)
def _default_tree() -> dict[str, Any]:
    return Scenario().tree()


def _override_order(path: str) -> tuple[int, bool, str]:
    return path.count("."), not path.endswith(".name"), path


def _is_library_name(name_or_path: str | PathLike[str]) -> bool:
    return isinstance(name_or_path, str) and name_or_path in scenario_names()


def _read(name_or_path: str | PathLike[str], directory: Path) -> tuple[dict[str, Any], Path, str]:
    """Return the document, the directory its ``base`` is relative to, and a key that tells files apart."""
    if _is_library_name(name_or_path):
        entry = resources.files(_LIBRARY).joinpath(f"{name_or_path}.yaml")
        return _document(entry.read_bytes(), f"scenario {name_or_path}"), Path(), f"library:{name_or_path}"
    text = fspath(name_or_path)
    path = directory / text
    looks_like_path = (
        not isinstance(name_or_path, str) or text.endswith(_SUFFIXES) or "/" in text or "\\" in text
    )
    try:
        if not looks_like_path and not path.is_file():
            raise UnknownNameError("scenario", text, scenario_names())
        content = read_bounded(path, LARGEST_SCENARIO)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScenarioError(
            f"{text!r}: expected a readable YAML file, received an error: {reason}"
        ) from error
    return _document(content, text), path.parent, str(path.resolve())


def _document(content: bytes, source: str) -> dict[str, Any]:
    document = parse_yaml(content, source)
    if not isinstance(document, dict):
        raise ScenarioError(expectation(source, "a mapping of sections", document))
    tree: dict[str, Any] = plain_tree(document)
    return tree


def _with_base(document: dict[str, Any], directory: Path, chain: tuple[str, ...]) -> dict[str, Any]:
    """Return the document laid over the scenario that its ``base`` names, and that one over its own."""
    if "base" not in document:
        return dict(document)
    base = document["base"]
    if not isinstance(base, str):
        raise ScenarioError(expectation("base", "the name or path of a scenario", base, scenario_names()))
    below, below_directory, key = _read(base, directory)
    if key in chain:
        raise ScenarioError(f"base: expected a chain that ends, received {base!r}, which is based on itself")
    own = {name: value for name, value in document.items() if name != "base"}
    combined: dict[str, Any] = laid_over(_with_base(below, below_directory, (*chain, key)), own)
    own_code.note(below, below_directory)
    return combined
