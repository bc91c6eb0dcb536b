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


LARGEST_NUMBER = 1e12
"""Bound of every number whose unit has none of its own: beyond any market, and far from where arithmetic fails."""
_LARGEST_OF_UNIT = {
    "1": 1e6,
    "accounts": 1e7,
    "accounts per second": 1e12,
    "days": 1e5,
    "log of strike over price": 1e9,
    "orders": 1e7,
    "orders per second": 1e5,
    "per second": 1e7,
    "quote units": 1e10,
    "per square root of a second": 1e3,
    "per square root of a year": 1e3,
    "returns": 3e4,
    "rounds per step": 1e9,
    "s": 1e9,
    "share of price": 1e3,
    "share of the initial price": 1e3,
    "share per second": 1e3,
    "steps": 1e9,
    "ticks": 1e7,
}

Count = Annotated[int, BeforeValidator(_whole)]
Positive = Annotated[float, Field(gt=0, le=1e5)]
NonNegative = Annotated[float, Field(ge=0, le=1e7)]
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
        ``ge``, ``gt``, ``le``, ``lt``, ``min_length`` and the like. A number without an upper bound takes that of
        its unit, and one without a lower bound its negative: a slip of the keyboard must not overflow a run.

    Returns
    -------
    pydantic field
    """
    # Lists bound each of their numbers by type.
    if isinstance(default, (int, float)) or default is None:
        largest = _LARGEST_OF_UNIT.get(unit, LARGEST_NUMBER)
        if not {"le", "lt"} & bounds.keys():
            bounds["le"] = largest
        if not {"ge", "gt"} & bounds.keys():
            bounds["ge"] = -largest
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


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, Mapping)) else value


# As above: a list in YAML, and each of its items may be a bare name. One alone is a list of one.
Stages = Annotated[tuple[Component, ...], Field(strict=False, min_length=1), BeforeValidator(_listed)]


def component(name: str, **parameters: Any) -> Component:
    """Return a component with parameters, for defaults."""
    return Component.model_validate({"name": name, **parameters})


def _parameter(key: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_parameter(key, item) for item in value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and isfinite(value) and abs(value) > LARGEST_NUMBER:
        raise PydanticCustomError(
            "component_parameter",
            "a number from {low} to {high} for parameter {key}",
            {"key": key, "received": value, "low": f"{-LARGEST_NUMBER:g}", "high": f"{LARGEST_NUMBER:g}"},
        )
    finite = not isinstance(value, float) or isfinite(value)
    if finite and (value is None or isinstance(value, (bool, int, float, str))):
        return value
    raise PydanticCustomError(
        "component_parameter",
        "a number, text, true, false, null or a list for parameter {key}",
        {"key": key, "received": value},
    )
