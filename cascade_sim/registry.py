"""Components by name: a scenario names a rule, the registry finds its class and checks its parameters.

A component is a frozen dataclass; its fields are its parameters. It registers itself under a snake_case name,
or is named by where it lives (``"package.module:Class"``), which worker processes can import too.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from importlib import import_module
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Generic, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from cascade_sim.domain.errors import CascadeError, ScenarioError, UnknownNameError, expectation, value_text

T = TypeVar("T")
C = TypeVar("C")

_SNAKE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_MODULE_CLASS = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)\Z")
_REFUSED = object()


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
        Modules that register the built-in components. They are imported at the first look-up and not before,
        because they live on higher floors.
    """

    def __init__(self, kind: str, modules: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.modules = modules
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
            if taken is not None and _import_name(taken) != _import_name(component):
                raise CascadeError(f"{self.kind}: name {name!r} is taken by {_import_name(taken)}")
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
            If a parameter is unknown, missing, of the wrong type, not finite, or refused by the component.
        """
        name, parameters = self._split(specification)
        component: type[T] = self.get(name)
        return self._build(component, self._checked(component, name, parameters))

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
        hints = get_type_hints(component)
        described = tuple(
            ParameterDescription(
                name=parameter.name,
                type=_type_text(hints[parameter.name]),
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
        return _import_name(cls)

    def _load(self) -> None:
        if self._loaded:
            return
        # Set first: a module that looks something up while it is imported must not start over.
        self._loaded = True
        try:
            for module in self.modules:
                import_module(module)
        except BaseException:
            self._loaded = False
            raise

    def _import(self, name: str) -> type[Any]:
        match = _MODULE_CLASS.match(name)
        if match is None:
            raise ScenarioError(expectation(self.kind, "a name or package.module:Class", name))
        module_name, class_name = match.groups()
        try:
            module = import_module(module_name)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ScenarioError(
                f"{expectation(self.kind, 'an importable package.module:Class', name)} ({reason})"
            ) from error
        component = getattr(module, class_name, None)
        if not isinstance(component, type):
            classes = sorted(key for key, value in vars(module).items() if isinstance(value, type))
            raise ScenarioError(
                expectation(f"{self.kind}: {module_name}", "a class of the module", class_name, classes)
            )
        self._require_frozen_dataclass(component)
        return component

    def _require_frozen_dataclass(self, component: type[Any]) -> None:
        settings = vars(component).get("__dataclass_params__")
        if settings is None or not settings.frozen:
            raise ScenarioError(
                f"{self.kind}: expected a frozen dataclass, received class {_import_name(component)}"
            )

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
        hints = get_type_hints(component)
        checked: dict[str, Any] = {}
        for key, value in parameters.items():
            if key not in declared:
                raise ScenarioError(expectation(self.kind, f"a parameter of {name}", key, declared))
            converted = _converted(hints[key], value)
            if converted is _REFUSED:
                raise ScenarioError(expectation(f"{self.kind}.{key}", _type_text(hints[key]), value))
            checked[key] = converted
        for key, parameter in declared.items():
            if key not in checked and _is_required(parameter):
                raise ScenarioError(f"{self.kind}.{key}: expected {_type_text(hints[key])}, received nothing")
        return checked

    def _build(self, component: type[T], parameters: dict[str, Any]) -> T:
        try:
            return component(**parameters)
        except CascadeError:
            raise
        except (ValueError, TypeError) as error:
            given = ", ".join(f"{key}={value_text(value)}" for key, value in parameters.items())
            raise ScenarioError(f"{self.kind}: {error} (received {given or 'no parameters'})") from error


def _import_name(component: type[Any]) -> str:
    return f"{component.__module__}:{component.__qualname__}"


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


def _converted(annotation: Any, value: Any) -> Any:
    """Return the value as the annotation wants it, or ``_REFUSED``."""
    origin = get_origin(annotation)
    if annotation is Any:
        return value
    if annotation is None or annotation is NoneType:
        return None if value is None else _REFUSED
    if origin is Literal:
        matching = [
            option for option in get_args(annotation) if option == value and type(option) is type(value)
        ]
        return matching[0] if matching else _REFUSED
    if origin in (Union, UnionType):
        return next(
            (
                result
                for option in get_args(annotation)
                if (result := _converted(option, value)) is not _REFUSED
            ),
            _REFUSED,
        )
    if annotation in (bool, str):
        return value if type(value) is annotation else _REFUSED
    if annotation in (int, float):
        return _converted_number(annotation, value)
    if (origin or annotation) in (tuple, list):
        return _converted_sequence(origin or annotation, get_args(annotation), value)
    return value if isinstance(annotation, type) and isinstance(value, annotation) else _REFUSED


def _converted_number(annotation: type[Any], value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _REFUSED
    try:
        if not isfinite(value):
            return _REFUSED
    except OverflowError:
        return _REFUSED
    if annotation is float:
        return float(value)
    return int(value) if value == int(value) else _REFUSED


def _converted_sequence(container: type[Any], arguments: tuple[Any, ...], value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        return _REFUSED
    if not arguments:
        wanted: tuple[Any, ...] = (Any,) * len(value)
    elif container is list or (len(arguments) == 2 and arguments[1] is Ellipsis):
        wanted = (arguments[0],) * len(value)
    else:
        wanted = arguments
    if len(wanted) != len(value):
        return _REFUSED
    items = [_converted(annotation, item) for annotation, item in zip(wanted, value, strict=True)]
    return _REFUSED if any(item is _REFUSED for item in items) else container(items)


def _type_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    words = {
        float: "a finite number",
        int: "a whole number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
        None: "null",
        Any: "any value",
    }
    if origin is None and annotation in words:
        return words[annotation]
    if origin is Literal:
        return "one of " + ", ".join(value_text(option) for option in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_type_text(option) for option in arguments)
    if (origin or annotation) in (tuple, list):
        if not arguments:
            return "a list"
        if origin is list or arguments[-1] is Ellipsis:
            return f"a list, each {_type_text(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(_type_text(option) for option in arguments)
    return getattr(annotation, "__name__", str(annotation))


PRIORITIES: Registry[Any] = Registry("clearing.priority", modules=("cascade_sim.clearing.priority",))
"""Which distressed account is closed first."""

SIZINGS: Registry[Any] = Registry("clearing.sizing", modules=("cascade_sim.clearing.sizing",))
"""How much of a distressed position is closed at once."""

EXECUTIONS: Registry[Any] = Registry("clearing.execution", modules=("cascade_sim.clearing.execution",))
"""How a close-out is sent to the book."""

DELEVERAGINGS: Registry[Any] = Registry("clearing.adl", modules=("cascade_sim.clearing.deleveraging",))
"""Whose winning position is closed when the insurance fund cannot take more."""

MARGINS: Registry[Any] = Registry("clearing.margin", modules=("cascade_sim.clearing.margin",))
"""How much equity a position needs."""

HEDGINGS: Registry[Any] = Registry("dealers.hedging", modules=("cascade_sim.options.hedging",))
"""When and how far an options dealer trades back to a flat delta."""

MARK_PRICES: Registry[Any] = Registry("market.mark_price", modules=("cascade_sim.market.mark_price",))
"""The price that margin is measured at."""

PRICE_FORMATIONS: Registry[Any] = Registry(
    "market.price_formation", modules=("cascade_sim.market.price_formation",)
)
"""How orders become prices."""

REGISTRIES: Mapping[str, Registry[Any]] = {
    registry.kind: registry
    for registry in (
        PRIORITIES,
        SIZINGS,
        EXECUTIONS,
        DELEVERAGINGS,
        MARGINS,
        HEDGINGS,
        MARK_PRICES,
        PRICE_FORMATIONS,
    )
}
"""Every registry by the scenario path that it serves."""
