"""Components by name: a scenario names a rule, the registry finds its class and checks its parameters.

A component is a frozen dataclass; its fields are its parameters. It registers itself under a snake_case name,
or is named by where it lives (``"package.module:Class"``), see `cascade_sim.own_code`.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from math import inf
from pkgutil import iter_modules
from typing import Any, Generic, Protocol, TypeVar, get_type_hints

from cascade_sim import own_code
from cascade_sim.domain.components import Offer, error_text, import_name
from cascade_sim.domain.errors import CascadeError, ScenarioError, UnknownNameError, expectation, value_text
from cascade_sim.domain.parameters import REFUSED, converted, type_text

T = TypeVar("T")
C = TypeVar("C")

_SNAKE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


class ComponentSpecification(Protocol):
    """A name with parameters, as a scenario holds it."""

    @property
    def name(self) -> str:
        """Registered name or ``package.module:Class``."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Parameters by name."""
        ...


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter of a component.

    Attributes
    ----------
    name : str
        Name of the dataclass field.
    type : str
        What is accepted, in words.
    required : bool
        Whether it must be given.
    default : object
        Value when it is not given; ``None`` also for a required parameter.
    """

    name: str
    type: str
    required: bool
    default: Any


@dataclass(frozen=True)
class ComponentDescription:
    """What a user can know about a component without reading its code.

    Attributes
    ----------
    kind : str
        Scenario path that the component fits.
    name : str
        Name it was asked for by.
    documentation : str
        Its docstring.
    parameters : tuple of ParameterDescription
        In the order of the dataclass fields.
    """

    kind: str
    name: str
    documentation: str
    parameters: tuple[ParameterDescription, ...]

    @property
    def summary(self) -> str:
        """First line of the documentation."""
        return self.documentation.partition("\n")[0]


class Registry(Generic[T]):
    """Named components of one kind.

    Parameters
    ----------
    kind : str
        Scenario path of the kind, e.g. ``"clearing.priority"``; begins every error line.
    modules : tuple of str
        Modules that register the built-in components, packages with every module in them. They are imported at the
        first look-up and not before, because they live on higher floors.
    offer : Offer, optional
        What its components must have; checked when one is created.
    """

    def __init__(self, kind: str, modules: tuple[str, ...] = (), offer: Offer | None = None) -> None:
        self.kind = kind
        self.modules = modules
        self.offer = offer
        self._components: dict[str, type[Any]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[type[C]], type[C]]:
        """Return a class decorator that registers a frozen dataclass.

        Parameters
        ----------
        name : str
            Name in snake_case.

        Returns
        -------
        callable
            Takes the class and returns it unchanged.

        Raises
        ------
        CascadeError
            If the name is not snake_case or taken by another class, or if the class is no frozen dataclass.
        """
        if not _SNAKE_NAME.match(name):
            raise CascadeError(expectation(self.kind, "a snake_case name to register", name))

        def add(component: type[C]) -> type[C]:
            self._require_frozen_dataclass(component)
            taken = self._components.get(name)
            # The same class defined again (a notebook cell run twice, a reload) takes its own place.
            if taken is not None and import_name(taken) != import_name(component):
                raise CascadeError(f"{self.kind}: name {name!r} is taken by {import_name(taken)}")
            self._components[name] = component
            return component

        return add

    def names(self) -> tuple[str, ...]:
        """Return the registered names in alphabetical order."""
        self._load()
        return tuple(sorted(self._components))

    def get(self, name: str) -> type[T]:
        """Return the class behind a name.

        Parameters
        ----------
        name : str
            Registered name or ``package.module:Class``.

        Returns
        -------
        type

        Raises
        ------
        UnknownNameError
            If the name is not registered.
        ScenarioError
            If ``package.module:Class`` cannot be imported or is no frozen dataclass.
        """
        if ":" in name:
            return self._import(name)
        self._load()
        if name not in self._components:
            raise UnknownNameError(self.kind, name, self.names())
        return self._components[name]

    def create(self, specification: str | Mapping[str, Any] | ComponentSpecification) -> T:
        """Build a component.

        Parameters
        ----------
        specification : str, mapping or component of a scenario
            A name; ``{"name": ..., **parameters}``; or an object with ``name`` and ``parameters``.

        Returns
        -------
        component
            An instance of the dataclass, its parameters converted (whole numbers become floats where floats
            are declared, lists become tuples).

        Raises
        ------
        UnknownNameError
            If the name is not registered.
        ScenarioError
            If the component does not offer what its kind must, or if a parameter is unknown, missing, of the wrong
            type, not finite, or refused by the component.
        """
        name, parameters = self._split(specification)
        component: type[T] = self.get(name)
        if self.offer is not None:
            self.offer.check_class(self.kind, component, self.modules)
        made = self._build(component, self._checked(component, name, parameters))
        if self.offer is not None:
            self.offer.check_instance(self.kind, made)
        return made

    def complete(self, specification: str | Mapping[str, Any] | ComponentSpecification) -> dict[str, Any]:
        """Return ``{"name": ..., **parameters}`` with every default written out, ready for JSON or YAML.

        Parameters
        ----------
        specification : str, mapping or component of a scenario
            As for `create`.

        Returns
        -------
        dict

        Raises
        ------
        ScenarioError
            As for `create`.
        """
        name, _ = self._split(specification)
        instance: Any = self.create(specification)
        values = {
            parameter.name: _plain(getattr(instance, parameter.name))
            for parameter in _parameters(type(instance))
        }
        return {"name": name, **values}

    def describe(self, name: str) -> ComponentDescription:
        """Return the docstring and the parameters of a component.

        Parameters
        ----------
        name : str
            Registered name or ``package.module:Class``.

        Returns
        -------
        ComponentDescription

        Raises
        ------
        UnknownNameError
            If the name is not registered.
        """
        component = self.get(name)
        hints = self._hints(component)
        described = tuple(
            ParameterDescription(
                name=parameter.name,
                type=type_text(hints[parameter.name]),
                required=_is_required(parameter),
                default=_default(parameter),
            )
            for parameter in _parameters(component)
        )
        return ComponentDescription(self.kind, name, inspect.getdoc(component) or "", described)

    def name_of(self, component: object) -> str:
        """Return the name of a component: as registered, otherwise ``package.module:Class``.

        Parameters
        ----------
        component : object
            An instance or a class.

        Returns
        -------
        str
        """
        cls = component if isinstance(component, type) else type(component)
        for name, registered in self._components.items():
            if registered is cls:
                return name
        return import_name(cls)

    def _load(self) -> None:
        if self._loaded:
            return
        # Set first: a module that looks something up while it is imported must not start over.
        self._loaded = True
        try:
            for name in self.modules:
                module = import_module(name)
                for inside in iter_modules(getattr(module, "__path__", ())):
                    import_module(f"{name}.{inside.name}")
        except BaseException:
            self._loaded = False
            raise

    def _import(self, name: str) -> type[Any]:
        component = import_class(self.kind, name)
        self._require_frozen_dataclass(component)
        return component

    def _require_frozen_dataclass(self, component: type[Any]) -> None:
        settings = vars(component).get("__dataclass_params__")
        if settings is None or not settings.frozen:
            raise ScenarioError(
                f"{self.kind}: expected a frozen dataclass, received class {import_name(component)}"
            )

    def _hints(self, component: type[Any]) -> dict[str, Any]:
        try:
            return get_type_hints(component)
        except Exception as error:
            line = f"{self.kind}: expected types that can be read at {import_name(component)}"
            raise ScenarioError(f"{line}, received {error_text(error)}") from error

    def _split(
        self, specification: str | Mapping[str, Any] | ComponentSpecification
    ) -> tuple[str, dict[str, Any]]:
        if isinstance(specification, str):
            return specification, {}
        if isinstance(specification, Mapping):
            parameters = dict(specification)
            name = parameters.pop("name", None)
        else:
            name, parameters = specification.name, dict(specification.parameters)
        if not isinstance(name, str):
            raise ScenarioError(expectation(f"{self.kind}.name", "the name of a component", name))
        return name, parameters

    def _checked(self, component: type[Any], name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        declared = {parameter.name: parameter for parameter in _parameters(component)}
        hints = self._hints(component)
        checked: dict[str, Any] = {}
        for key, value in parameters.items():
            if key not in declared:
                raise ScenarioError(expectation(self.kind, f"a parameter of {name}", key, declared))
            accepted = converted(hints[key], value)
            if accepted is REFUSED:
                raise ScenarioError(expectation(f"{self.kind}.{key}", type_text(hints[key]), value))
            checked[key] = accepted
        for key, parameter in declared.items():
            if key not in checked and _is_required(parameter):
                raise ScenarioError(f"{self.kind}.{key}: expected {type_text(hints[key])}, received nothing")
        return checked

    def _build(self, component: type[T], parameters: dict[str, Any]) -> T:
        try:
            return component(**parameters)
        except (CascadeError, KeyboardInterrupt):
            raise
        except BaseException as error:
            given = ", ".join(f"{key}={value_text(value)}" for key, value in parameters.items())
            # A refused value is told in the component's own words; anything else needs its type.
            reason = error if type(error) in (ValueError, TypeError) else error_text(error)
            raise ScenarioError(f"{self.kind}: {reason} (received {given or 'no parameters'})") from error


def import_class(kind: str, name: str) -> type[Any]:
    """Return the class behind ``package.module:Class``.

    Parameters
    ----------
    kind : str
        What is looked for; begins every error line.
    name : str

    Raises
    ------
    ScenarioError
        If it cannot be imported or is no class.
    """
    match = own_code.MODULE_CLASS.match(name)
    if match is None:
        raise ScenarioError(expectation(kind, "a name or package.module:Class", name))
    module_name, class_name = match.groups()
    try:
        module = own_code.load(module_name)
        component = getattr(module, class_name, None)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        line = expectation(kind, "an importable package.module:Class", name)
        hint = own_code.reason(module_name, error)
        raise ScenarioError(f"{line} ({error_text(error)}){hint}") from error
    if not isinstance(component, type):
        classes = sorted(key for key, value in vars(module).items() if isinstance(value, type))
        raise ScenarioError(
            expectation(f"{kind}: {module_name}", "a class of the module", class_name, classes)
        )
    return component


def _parameters(component: type[Any]) -> tuple[Field[Any], ...]:
    return tuple(parameter for parameter in fields(component) if parameter.init)


def _is_required(parameter: Field[Any]) -> bool:
    return parameter.default is MISSING and parameter.default_factory is MISSING


def _default(parameter: Field[Any]) -> Any:
    if parameter.default is not MISSING:
        return parameter.default
    return parameter.default_factory() if parameter.default_factory is not MISSING else None


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


PRIORITIES: Registry[Any] = Registry(
    "clearing.priority",
    modules=("cascade_sim.clearing.priority",),
    offer=Offer("a priority rule", {"score": ("accounts",)}),
)
"""Which distressed account is closed first."""

SIZINGS: Registry[Any] = Registry(
    "clearing.sizing",
    modules=("cascade_sim.clearing.sizing",),
    offer=Offer(
        "a sizing rule",
        {"lots": ("accounts",)},
        optional_methods={"configure": ("clearing", "dt", "lot_size")},
    ),
)
"""How much of a distressed position is closed at once."""

EXECUTIONS: Registry[Any] = Registry(
    "clearing.execution",
    modules=("cascade_sim.clearing.execution",),
    offer=Offer("an execution", {"orders": ("accounts", "lots", "market")}),
)
"""How a close-out is sent to the book."""

WATERFALL: Registry[Any] = Registry(
    "clearing.waterfall",
    modules=("cascade_sim.clearing.waterfall",),
    offer=Offer(
        "a stage of the waterfall",
        {"take": ("accounts", "party")},
        numbers={"capital": (0.0, 1e10)},
        optional_numbers={"unwind_rate": (0.0, 1e3), "unwind_price_limit": (0.0, 1.0)},
        built_in_only_compiled=True,
    ),
)
"""Who takes what the book does not."""

DELEVERAGINGS: Registry[Any] = Registry(
    "clearing.adl",
    modules=("cascade_sim.clearing.deleveraging",),
    offer=Offer("a deleveraging rule", {"score": ("accounts",)}),
)
"""Whose winning position is closed when the insurance fund cannot take more."""

MARGINS: Registry[Any] = Registry(
    "clearing.margin",
    modules=("cascade_sim.clearing.margin",),
    offer=Offer("a margin model", {"tiers": ("market",)}, built_in_only_compiled=True),
)
"""How much equity a position needs."""

HEDGINGS: Registry[Any] = Registry(
    "dealers.hedging",
    modules=("cascade_sim.options.hedging",),
    offer=Offer(
        "a hedging rule",
        {"trade": ("inputs",)},
        # What the kernels take from every rule: when it is asked, at which average, from which gap, how far from the
        # mid. At the whole price a sell order would be limited at nothing or below.
        numbers={
            "interval_seconds": (1e-9, inf),
            "mark_seconds": (0.0, inf),
            "band": (0.0, inf),
            "price_limit": (0.0, 1.0),
        },
    ),
)
"""When and how far an options dealer trades back to a flat delta."""

MARK_PRICES: Registry[Any] = Registry(
    "market.mark_price",
    modules=("cascade_sim.market.mark_price",),
    offer=Offer(
        "a mark-price rule",
        {"mark": ("inputs",)},
        optional_methods={"memory": ("dt",)},
        flags=("instant", "follows_index", "needs_book", "needs_impact"),
        weights=("memory",),
    ),
)
"""The price that margin is measured at."""

PRICE_FORMATIONS: Registry[Any] = Registry(
    "market.price_formation",
    modules=("cascade_sim.market.price_formation",),
    offer=Offer("a price formation"),
)
"""How orders become prices."""

REGISTRIES: Mapping[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        PRIORITIES,
        SIZINGS,
        EXECUTIONS,
        WATERFALL,
        DELEVERAGINGS,
        MARGINS,
        HEDGINGS,
        MARK_PRICES,
        PRICE_FORMATIONS,
    )
}
"""Every registry by the scenario path that it serves."""
