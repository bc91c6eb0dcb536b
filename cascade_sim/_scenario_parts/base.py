"""What every section shares: strictness, fields with units, components by name."""

from collections.abc import Mapping
from math import isfinite
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A part of the tree: frozen, unknown keys are errors, text is no number and a boolean neither."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _whole(value: Any) -> Any:
    # 1e3 in YAML is a float; as a count it means 1000.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Count = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
# Strict mode would refuse the lists that YAML holds; the numbers inside stay strict.
PositivePair = Annotated[tuple[Positive, Positive], Field(strict=False)]
PositiveNumbers = Annotated[tuple[Positive, ...], Field(strict=False)]
NonNegativeNumbers = Annotated[tuple[NonNegative, ...], Field(strict=False)]


def measure(default: Any, meaning: str, unit: str, **bounds: Any) -> Any:
    """Declare a field with its unit.

    Parameters
    ----------
    default : object
        Default value.
    meaning : str
        What it is.
    unit : str
        Unit, ``"1"`` for a pure number.
    **bounds
        ``ge``, ``gt``, ``le``, ``lt``, ``min_length`` and the like.

    Returns
    -------
    pydantic field
    """
    return Field(
        default=default, description=f"{meaning} ({unit})", json_schema_extra={"unit": unit}, **bounds
    )


def choice(default: Any, meaning: str, **bounds: Any) -> Any:
    """Declare a field without a unit: text, a boolean, one of several words, or a component."""
    return Field(default=default, description=meaning, **bounds)


class Component(Section):
    """A replaceable rule: its name and its parameters, which its own class checks when a run starts.

    Parameters
    ----------
    name : str
        Registered name or ``package.module:Class``.
    **parameters
        Scalars and lists.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="Registered name or package.module:Class")

    @model_validator(mode="before")
    @classmethod
    def _accept_bare_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping):
            return {key: item if key == "name" else _parameter(key, item) for key, item in value.items()}
        return value

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters by name; lists are tuples."""
        return dict(self.__pydantic_extra__ or {})


def component(name: str, **parameters: Any) -> Component:
    """Return a component with parameters, for defaults."""
    return Component.model_validate({"name": name, **parameters})


def _parameter(key: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_parameter(key, item) for item in value)
    finite = not isinstance(value, float) or isfinite(value)
    if finite and (value is None or isinstance(value, (bool, int, float, str))):
        return value
    raise PydanticCustomError(
        "component_parameter",
        "a number, text, true, false, null or a list for parameter {key}",
        {"key": key, "received": value},
    )
