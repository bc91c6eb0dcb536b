"""Margin models: what a position must have behind it, as tiers of its notional; one class each.

Tiers are all that the kernels need for the price at which an account is next looked at to have a closed form, so a model is
asked once, before the run, and costs nothing in it, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cascade_sim.clearing.asking import rule_place, told_as
from cascade_sim.clearing.brackets import BracketTable
from cascade_sim.clearing.brackets.table import deductions_of
from cascade_sim.core.layout import TIER_CAPACITY
from cascade_sim.domain.errors import CascadeError, ScenarioError, expectation
from cascade_sim.registry import MARGINS

_COLUMNS = ("ends of tiers", "maintenance rates", "initial rates")


@dataclass(frozen=True)
class MarginMarket:
    """What a margin model is told of its market, before the run.

    Parameters
    ----------
    symbol, quote : str
        Name of the contract, and the currency of prices and cash.
    price : float
        Initial price, quote currency.
    open_interest : float
        Sum of the absolute positions that traders and portfolios begin with, base units.
    maintenance_margin, initial_margin : float
        ``clearing.maintenance_margin`` and ``clearing.initial_margin``, shares of notional.
    brackets : BracketTable or None
        Those of ``traders.brackets``.
    """

    symbol: str
    quote: str
    price: float
    open_interest: float
    maintenance_margin: float
    initial_margin: float
    brackets: BracketTable | None


@MARGINS.register("isolated_linear")
@dataclass(frozen=True)
class IsolatedLinear:
    """Isolated margin on a linear contract: the brackets of ``traders.brackets``, or one tier at the rates of ``clearing``."""

    compiled: ClassVar[int] = 0


def margin_table(model: Any, market: MarginMarket) -> BracketTable | None:
    """Return the tiers that a margin model asks for; None for one tier at the rates of ``clearing``.

    Parameters
    ----------
    model : object
        `IsolatedLinear`, or one with ``tiers(market)``, which returns upper ends (quote currency; the last may be
        infinite), maintenance rates and initial rates (shares of notional), each of shape (tiers,), and may have the
        attribute ``whole_position``.
    market : MarginMarket

    Raises
    ------
    ScenarioError
        If the answer is no such thing.
    RunFailed
        If the model raises.
    """
    if hasattr(model, "compiled"):
        return market.brackets
    place = rule_place(MARGINS, model, "tiers")
    with told_as(place):
        answer = model.tiers(market)
    if not isinstance(answer, tuple) or len(answer) != len(_COLUMNS):
        received = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else f"a {type(answer).__name__}"
        raise _unfit(place, f"three arrays, of {', '.join(_COLUMNS)}", received)
    ends, maintenance, initial = (
        _column(place, name, column) for name, column in zip(_COLUMNS, answer, strict=True)
    )
    if not len(ends) == len(maintenance) == len(initial):
        lengths = f"{len(ends)}, {len(maintenance)} and {len(initial)}"
        raise _unfit(place, "as many ends as maintenance and initial rates", lengths)
    if not (initial > 0.0).all():
        raise _unfit(place, "initial rates above 0", f"{initial.min():g}")
    starts = [0.0, *ends[:-1].tolist()]
    whole = getattr(model, "whole_position", False) is True
    deductions = [0.0] * len(ends) if whole else deductions_of(starts, maintenance.tolist())
    try:
        return BracketTable(
            symbol=market.symbol,
            min_notional=np.array(starts),
            max_notional=ends,
            maintenance_rate=maintenance,
            max_leverage=1.0 / initial,
            deduction=np.array(deductions),
            whole_position=whole,
        )
    except CascadeError as error:
        raise ScenarioError(f"{place}: {error}") from error


def _column(place: str, name: str, column: Any) -> Any:
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _unfit(place, f"numbers as {name}", f"a {type(column).__name__}") from error
    if values.ndim != 1 or not 1 <= len(values) <= TIER_CAPACITY:
        raise _unfit(place, f"1 to {TIER_CAPACITY} {name}", f"an array of shape {values.shape}")
    return values


def _unfit(place: str, expected: str, received: str) -> ScenarioError:
    return ScenarioError(expectation(place, expected, None).removesuffix("null") + received)
