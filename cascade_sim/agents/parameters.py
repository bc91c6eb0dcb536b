"""Parameters of agents written in Python: annotated attributes of their class, checked and converted."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, get_origin, get_type_hints

from cascade_sim.domain.components import error_text, import_name
from cascade_sim.domain.errors import ScenarioError, expectation
from cascade_sim.domain.parameters import REFUSED, converted, type_text

_REQUIRED = object()


class Parameters:
    """An agent whose annotated class attributes are its parameters; those without a value have to be given."""

    noun: ClassVar[str] = "agent"

    @classmethod
    def declared(cls) -> dict[str, tuple[Any, Any]]:
        """Return type and default of each parameter by name."""
        return _declared(cls)  # type: ignore[arg-type]  # classes can be hashed

    @classmethod
    def checked(cls, given: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Return parameters converted to their types.

        Parameters
        ----------
        given : mapping
            Values by name.
        path : str
            Where they stand, for messages.

        Raises
        ------
        ScenarioError
            If a name is unknown, a value of the wrong type, or a parameter without default is missing.
        """
        declared = cls.declared()
        values = {}
        for name, value in given.items():
            if name not in declared:
                raise ScenarioError(expectation(path, f"a parameter of {import_name(cls)}", name, declared))
            values[name] = converted(declared[name][0], value)
            if values[name] is REFUSED:
                raise ScenarioError(expectation(f"{path}.{name}", type_text(declared[name][0]), value))
        for name, (hint, default) in declared.items():
            if default is _REQUIRED and name not in given:
                raise ScenarioError(f"{path}.{name}: expected {type_text(hint)}, received nothing")
        return values

    def set_parameters(self, given: Mapping[str, Any]) -> None:
        """Set what was given as attributes of this agent; raises as :meth:`checked`."""
        for name, value in self.checked(given, f"{self.noun} {import_name(type(self))}").items():
            setattr(self, name, value)


@functools.cache
def _declared(cls: type[Parameters]) -> dict[str, tuple[Any, Any]]:
    try:
        hints = get_type_hints(cls)
    except Exception as error:
        line = f"{cls.noun} {import_name(cls)}: expected types that can be read"
        raise ScenarioError(f"{line}, received {error_text(error)}") from error
    own = [base for base in cls.__mro__ if issubclass(base, Parameters) and base is not Parameters]
    names = {name for base in own for name in inspect.get_annotations(base)}
    return {
        name: (hint, getattr(cls, name, _REQUIRED))
        for name, hint in hints.items()
        if name in names and get_origin(hint) is not ClassVar and not name.startswith("_")
    }
