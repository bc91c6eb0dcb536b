"""The events table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cascade_sim.core import layout as lay
from cascade_sim.domain.enums import EventType, Stage, code_count
from cascade_sim.domain.errors import CascadeError, expectation
from cascade_sim.domain.instruments import Instrument
from cascade_sim.recorder.market import Columns, cash, place, price

_QUEUED = (Stage.BOOK, Stage.BACKSTOP, Stage.FUND, Stage.ADL, Stage.SOCIALISED)
RULE_KEYS = tuple(
    dict.fromkeys(
        [stage.name.lower() for stage in Stage if stage is not Stage.NONE]
        + [kind.name.lower() for kind in EventType]
    )
)
"""What a deciding component can be named for: a stage of the pipeline or, outside it, a type of event."""


WATERFALL_KEYS = tuple(f"waterfall.{place}" for place in range(lay.WATERFALL_CAPACITY))
"""What a stage of the user's own is named for: its place in the waterfall, the book not counted."""
VENUE_RULES = ("price_band", "circuit_breaker")
"""Names of the rules that halt a market, by the codes from 1 on of :data:`layout.HALT_BAND` and its like."""


def class_codes(classes: NDArray[np.int8], accounts: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class code of each account, -1 where there is no account."""
    if not len(classes):
        return np.full(len(accounts), -1, np.int64)
    return np.where(accounts >= 0, classes[np.maximum(accounts, 0)].astype(np.int64), -1)


def rule_column(raw: NDArray[Any], rules: Mapping[Any, str]) -> "pd.Categorical[Any]":
    """Return the name of the component that decided each event.

    The rule of the event's stage, or outside the pipeline the rule of its type; missing where none is given. A rule of
    the venue and a stage of the user's own stand in the event itself.
    """
    named = {key.name.lower() if isinstance(key, IntEnum) else str(key): rule for key, rule in rules.items()}
    for key in named:
        if key not in RULE_KEYS + WATERFALL_KEYS:
            raise CascadeError(expectation("rules", "a stage or a type of event", key, RULE_KEYS))
    own = raw["rule"].astype(np.int64)
    names = sorted({*named.values(), *(VENUE_RULES if own.any() else ())})
    code_of_stage = np.full(code_count(Stage), -1, np.int64)
    code_of_type = np.full(code_count(EventType), -1, np.int64)
    for key, rule in named.items():
        if key.upper() in EventType.__members__:
            code_of_type[EventType[key.upper()]] = names.index(rule)
        if key.upper() in Stage.__members__:
            code_of_stage[Stage[key.upper()]] = names.index(rule)
    codes = np.where(raw["stage"] != Stage.NONE, code_of_stage[raw["stage"]], code_of_type[raw["type"]])
    if own.any():
        by_code = np.full(int(lay.RULE_OF_STAGE) + len(WATERFALL_KEYS), -1, np.int64)
        by_code[1 : len(VENUE_RULES) + 1] = [names.index(rule) for rule in VENUE_RULES]
        for place_of, key in enumerate(WATERFALL_KEYS):
            if key in named:
                by_code[int(lay.RULE_OF_STAGE) + place_of] = names.index(named[key])
        codes = np.where(own > 0, by_code[own], codes)
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=str))


def notional_at_requirement(
    requirement: NDArray[Any],
    rates: NDArray[np.float64],
    deductions: NDArray[np.float64],
    ends: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Invert the requirement R = max_k (N m_k - c_k) of tiers: N = min_k (R + c_k) / m_k, NaN at R = 0.

    With ``ends``, where rates are of the whole position, R = N m_k of the tier in force: N = R / m_k of the first tier
    that does not end below it.
    """
    notional = np.full(len(requirement), np.inf)
    if ends is not None:
        for rate, end in zip(rates[::-1], [np.inf, *ends[-2::-1]], strict=True):
            notional = np.where(requirement <= end * rate, requirement / rate, notional)
        return np.where((requirement > 0.0) & np.isfinite(notional), notional, np.nan)
    for rate, deduction in zip(rates, deductions, strict=True):
        if rate > 0.0:
            notional = np.minimum(notional, (requirement + deduction) / rate)
    return np.where((requirement > 0.0) & np.isfinite(notional), notional, np.nan)


@dataclass(frozen=True)
class Breaches:
    """When each breach episode began.

    Attributes
    ----------
    event_id : int64, shape (n,)
        Ascending.
    step : int32, shape (n,)
        Of that event.
    """

    event_id: NDArray[np.int64]
    step: NDArray[np.int32]


def find_breaches(pieces: Iterable[NDArray[Any]]) -> Breaches:
    """Return the breaches among all events, which come in order, in pieces of any length."""
    found = [rows[rows["type"] == EventType.BREACH][["event_id", "step"]] for rows in pieces]
    ids = [np.empty(0, np.int64), *(rows["event_id"] for rows in found)]
    steps = [np.empty(0, np.int32), *(rows["step"] for rows in found)]
    return Breaches(np.concatenate(ids), np.concatenate(steps))


def waited_seconds(raw: NDArray[Any], breaches: Breaches, dt: float) -> NDArray[np.float64]:
    """Return the seconds between the breach and what was done about it.

    Outside the pipeline it is the time that the event's order took from decision to book, NaN if it took none.
    """
    ids = breaches.event_id
    if not len(ids):
        return np.asarray(raw["waited"] * dt)
    at = np.minimum(np.searchsorted(ids, raw["breach"]), len(ids) - 1)
    known = (raw["breach"] >= 0) & (ids[at] == raw["breach"]) & np.isin(raw["stage"], _QUEUED)
    return np.where(known, (raw["step"] - breaches.step[at]) * dt, raw["waited"] * dt)


def event_columns(
    raw: NDArray[Any],
    classes: NDArray[np.int8],
    rules: Mapping[Any, str],
    tiers: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None],
    breaches: Breaches,
    instrument: Instrument,
    dt: float,
) -> Columns:
    """Build the events table, or a piece of it, from rows of :data:`layout.EVENT`.

    ``margin_ratio`` is equity before over maintenance margin, ``leverage`` the notional that requires this
    margin over equity before; both are NaN for accounts without margin, leverage also without positive
    equity.
    """
    quantity = instrument.lots_to_quantities(raw["quantity"])
    mark = price(instrument, raw["mark"])
    before, maintenance = raw["equity_before"], raw["maintenance"]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(maintenance > 0.0, before / maintenance, np.nan)
        leverage = np.where(before > 0.0, notional_at_requirement(maintenance, *tiers) / before, np.nan)
    data: Columns = {name: raw[name] for name in ("event_id", "step", "sequence", "type", "stage", "cause")}
    data |= place(instrument, len(raw))
    data |= {
        "time_seconds": raw["step"] * dt,
        "parent_event_id": raw["parent"],
        "breach_id": raw["breach"],
        "root_event_id": raw["root"],
        "generation": raw["generation"],
        "account_id": raw["account"],
        "account_class": class_codes(classes, raw["account"]),
        "rule": rule_column(raw, rules),
        "side": raw["side"],
        "quantity": quantity,
        "filled": instrument.lots_to_quantities(raw["filled"]),
        "notional": quantity * mark,
        "mark": mark,
        "index": price(instrument, raw["index"]),
        "bankruptcy_price": price(instrument, raw["bankruptcy"]),
        "limit_price": price(instrument, raw["limit"]),
        "fill_price": price(instrument, raw["fill"]),
        "equity_before": cash(before),
        "equity_after": cash(raw["equity_after"]),
        "maintenance_margin": cash(maintenance),
        "margin_ratio": ratio,
        "leverage": leverage,
        "loss": cash(raw["loss"]),
        "payer_account_id": raw["payer"],
        "waited_seconds": waited_seconds(raw, breaches, dt),
    }
    return data
