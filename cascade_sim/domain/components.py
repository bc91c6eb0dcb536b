"""What a component of each kind must offer, and how what it raises is told: in one line that names it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from cascade_sim.domain.errors import ScenarioError, expectation, value_text

_LONGEST_REASON = 300
_NOT_COMPILED = -1


def import_name(component: type[Any]) -> str:
    """Return ``package.module:Class``."""
    return f"{component.__module__}:{component.__qualname__}"


def error_text(error: BaseException) -> str:
    """Return type and message of an error on one line of at most about 300 characters.

    Parameters
    ----------
    error : BaseException
        Anything that a user's code raised; its own text may fail as well.

    Returns
    -------
    str
    """
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    name = type(error).__name__
    line = f"{name}: {text}" if text else name
    return line if len(line) <= _LONGEST_REASON else line[: _LONGEST_REASON - 3] + "..."


@dataclass(frozen=True)
class Offer:
    """What a component of one kind must have.

    Parameters
    ----------
    what : str
        The kind in words, with an article.
    methods : mapping
        Names of the positional arguments by method. None at all: the kind has no Python form, and only the built-in
        components exist.
    optional_methods : mapping
        The same for methods that may be left out.
    numbers : mapping
        (least, bound) by attribute: a finite number of at least the one and below the other.
    flags : tuple of str
        Attributes that are true or false where they exist.
    optional_numbers : mapping
        The same for attributes that may be left out.
    weights : tuple of str
        Optional methods of the step in seconds that answer with a weight from 0 to 1; tried with one second.
    built_in_only_compiled : bool
        What is compiled has no Python form: methods and attributes are asked of the other components alone.
    """

    what: str
    methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    optional_methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    optional_numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights: tuple[str, ...] = ()
    built_in_only_compiled: bool = False

    @property
    def text(self) -> str:
        """The whole expectation in words."""
        wanted = [f"{name}({', '.join(arguments)})" for name, arguments in self.methods.items()]
        line = f"{self.what}: a class with the method{'s' * (len(wanted) > 1)} {' and '.join(wanted)}"
        return line + (f" and the attributes {', '.join(self.numbers)}" if self.numbers else "")

    def check_class(self, path: str, component: type[Any], built_in: tuple[str, ...]) -> None:
        """Check the methods of a class and how they can be called.

        Parameters
        ----------
        path : str
            Scenario path of the kind.
        component : type
            The class.
        built_in : tuple of str
            Modules and packages of the built-in components, which alone may be compiled.

        Raises
        ------
        ScenarioError
            If a method is missing or takes other arguments, if the kind has no Python form, or if the class has a
            compiled form that would be used in place of its method.
        """
        if not self.methods:
            if not _lives_in(component, built_in):
                expected = f"{self.what} by its registered name; this kind takes no class of your own"
                raise ScenarioError(expectation(f"{path}.name", expected, import_name(component)))
            return
        if self.built_in_only_compiled and _lives_in(component, built_in) and hasattr(component, "compiled"):
            return
        for name, arguments in {**self.methods, **self.optional_methods}.items():
            missing = not callable(getattr(component, name, None))
            if missing and name in self.optional_methods and not hasattr(component, name):
                continue
            if missing:
                raise self._refusal(path, component, f"no method {name}")
            if not _can_be_called(component, name, len(arguments)):
                given = inspect.signature(getattr(component, name))
                call = f"{name}({', '.join(arguments)})"
                raise self._refusal(path, component, f"{name}{given} cannot be called as {call}")
        self._check_compiled(path, component, built_in)

    def check_instance(self, path: str, rule: Any) -> None:
        """Check the attributes of a component once it has its parameters.

        Parameters
        ----------
        path : str
            Scenario path of the kind.
        rule : object
            The component.

        Raises
        ------
        ScenarioError
            If a number is missing, no finite number or out of range, a flag neither true nor false, or a weight none.
        """
        if self.built_in_only_compiled and hasattr(rule, "compiled"):
            return
        missing = [name for name in self.numbers if not hasattr(rule, name)]
        if missing:
            raise self._refusal(path, type(rule), f"no attribute {', '.join(missing)}")
        given = {name: bounds for name, bounds in self.optional_numbers.items() if hasattr(rule, name)}
        for name, (least, bound) in {**self.numbers, **given}.items():
            value = getattr(rule, name)
            if not _is_number(value) or not least <= value < bound:
                limit = f" and below {bound:g}" if isfinite(bound) else ""
                expected = f"a finite number of at least {least:g}{limit}"
                raise ScenarioError(expectation(f"{path}.{name}", expected, value))
        for name in self.flags:
            value = getattr(rule, name, False)
            if not isinstance(value, bool):
                raise ScenarioError(expectation(f"{path}.{name}", "true or false", value))
        for name in self.weights:
            if hasattr(rule, name):
                self._try_weight(path, rule, name)

    def _try_weight(self, path: str, rule: Any, name: str) -> None:
        place = f"{path}: {import_name(type(rule))}.{name}(1.0)"
        try:
            value = float(getattr(rule, name)(1.0))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise ScenarioError(f"{place}: raised {error_text(error)}") from error
        if not 0.0 <= value <= 1.0:
            raise ScenarioError(expectation(place, "a weight from 0 to 1", value))

    def _check_compiled(self, path: str, component: type[Any], built_in: tuple[str, ...]) -> None:
        code = getattr(component, "compiled", _NOT_COMPILED)
        if type(code) is int and code == _NOT_COMPILED:
            return
        line = inspect.getmro(component)
        owner = next(place for place, cls in enumerate(line) if "compiled" in vars(cls))
        if not _lives_in(line[owner], built_in):
            raise self._refusal(
                path, component, f"compiled = {value_text(code)}, which only built-in rules have"
            )
        for name in self.methods:
            if any(name in vars(cls) for cls in line[:owner]):
                hint = f"compiled = {value_text(code)} of {line[owner].__name__}, which would be used instead of "
                raise self._refusal(path, component, f"{hint}{name}(); set compiled = -1 beside it")

    def _refusal(self, path: str, component: type[Any], what: str) -> ScenarioError:
        return ScenarioError(
            f"{path}.name: expected {self.text}, received {import_name(component)} with {what}"
        )


def _lives_in(component: type[Any], places: tuple[str, ...]) -> bool:
    """Whether a class is of one of some modules, or of a module inside one of some packages."""
    return any(
        component.__module__ == place or component.__module__.startswith(f"{place}.") for place in places
    )


def _can_be_called(component: type[Any], name: str, count: int) -> bool:
    """Whether a method of an instance takes so many positional arguments."""
    bound_already = isinstance(inspect.getattr_static(component, name), staticmethod | classmethod)
    try:
        signature = inspect.signature(getattr(component, name))
    except (TypeError, ValueError):
        # Some callables of compiled modules have no signature that Python can read.
        return True
    try:
        signature.bind(*[None] * (count + (not bound_already)))
    except TypeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False
