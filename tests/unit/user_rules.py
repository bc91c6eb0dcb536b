"""Rules as users write them, right and wrong, for the tests of what is said about them."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cascade_sim.clearing.priority import WorstMarginRatioFirst
from cascade_sim.domain.errors import ScenarioError


class UnreadableError(Exception):
    """An error whose own text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class EndOfTheWorldError(BaseException):
    """An error that is no Exception."""


TO_RAISE: dict[str, tuple[type[BaseException], tuple[Any, ...], str]] = {
    "value": (ValueError, ("two\nlines",), "raised ValueError: two lines"),
    "exit": (SystemExit, (0,), "raised SystemExit: 0"),
    "key": (KeyError, ("a",), "raised KeyError: 'a'"),
    "scenario": (ScenarioError, ("mine",), "raised ScenarioError: mine"),
    "unreadable": (UnreadableError, (), "raised UnreadableError"),
    "base": (EndOfTheWorldError, ("now",), "raised EndOfTheWorldError: now"),
}


@dataclass(frozen=True)
class Empty:
    """Offer nothing at all."""


@dataclass(frozen=True)
class Loud:
    """Raise what the parameter names, whichever rule it stands for."""

    error: str = "value"
    interval_seconds: float = 1.0
    mark_seconds: float = 1.0
    band: float = 0.0
    price_limit: float = 0.01
    capital: float = 1e6

    def _raise(self, *seen: Any) -> Any:
        error, arguments, _ = TO_RAISE[self.error]
        raise error(*arguments)

    score = lots = orders = take = tiers = mark = trade = _raise


@dataclass(frozen=True)
class Interrupted:
    """Stand for Ctrl-C while a rule works."""

    def score(self, accounts: Any) -> Any:
        """Raise KeyboardInterrupt."""
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Answers:
    """Answer with one number, whichever single number is asked for."""

    value: float | None = None
    interval_seconds: float = 1.0
    mark_seconds: float = 1.0
    band: float = 0.0
    price_limit: float = 0.01

    def mark(self, inputs: Any) -> Any:
        """Return the number, NaN for none."""
        return np.nan if self.value is None else self.value

    trade = mark

    def lots(self, accounts: Any) -> Any:
        """Return the number for each account."""
        return np.full(len(accounts), self.mark(accounts))


@dataclass(frozen=True)
class NoArguments:
    """Take no accounts."""

    def score(self) -> Any:
        """Return nothing of use."""
        return 0.0


@dataclass(frozen=True)
class Static:
    """Take the accounts without an instance, and something that may be left out."""

    @staticmethod
    def score(accounts: Any, power: float = 1.0) -> Any:
        """Return the margin ratio."""
        return accounts.margin_ratio**power


@dataclass(frozen=True)
class Shadowed(WorstMarginRatioFirst):
    """Override the method of a compiled rule and forget that kernels would not ask it."""

    def score(self, accounts: Any) -> Any:
        """Return zeros."""
        return np.zeros(len(accounts))


@dataclass(frozen=True)
class Unshadowed(WorstMarginRatioFirst):
    """Override the method of a compiled rule and say so."""

    compiled: ClassVar[int] = -1

    def score(self, accounts: Any) -> Any:
        """Raise, which shows that it was asked."""
        raise ValueError("asked")


@dataclass(frozen=True)
class Renamed(WorstMarginRatioFirst):
    """Inherit method and compiled form together."""


@dataclass(frozen=True)
class Pretender:
    """Claim a compiled form of its own."""

    compiled: ClassVar[Any] = 0

    def score(self, accounts: Any) -> Any:
        """Return zeros."""
        return np.zeros(len(accounts))


@dataclass(frozen=True)
class OddMark:
    """Mark with a weight and a flag that may be wrong."""

    weight: float = 0.5
    instant: Any = False

    def memory(self, dt: float) -> float:
        """Return the weight, or raise for a negative one."""
        if self.weight < 0.0:
            raise ArithmeticError("negative")
        return self.weight

    def mark(self, inputs: Any) -> float:
        """Return the mid."""
        return float(inputs.mid)


@dataclass(frozen=True)
class BadConfigure:
    """Size as whole positions, with a configuration step that fails."""

    def configure(self, clearing: Any, dt: float, lot_size: float) -> None:
        """Divide by nothing."""
        raise ZeroDivisionError("no step")

    def lots(self, accounts: Any) -> Any:
        """Return the position."""
        return np.abs(accounts.position_lot)


@dataclass(frozen=True)
class Dies:
    """Fail while it is made."""

    def __post_init__(self) -> None:
        raise SystemExit(0)

    def score(self, accounts: Any) -> Any:
        """Return zeros."""
        return np.zeros(len(accounts))


@dataclass(frozen=True)
class Unreadable:
    """Declare a type that does not exist."""

    weight: "NoSuchType" = 1  # type: ignore[name-defined]  # noqa: F821

    def score(self, accounts: Any) -> Any:
        """Return zeros."""
        return np.zeros(len(accounts))
