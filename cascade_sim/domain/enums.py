"""Integer codes that compiled and friendly code share.

Their order is part of the file format. A code whose name is gone is not given again: draws are addressed by codes.
"""

from collections.abc import Mapping
from enum import IntEnum


def code_count(kind: type[IntEnum]) -> int:
    """Return the length of an array that the codes of an enum index.

    Parameters
    ----------
    kind
        The enum.

    Returns
    -------
    int
    """
    return max(kind) + 1


class Side(IntEnum):
    """Direction of an order or trade: +1 buys, -1 sells."""

    BUY = 1
    SELL = -1


class OrderType(IntEnum):
    """How an order may execute and whether its remainder may rest."""

    LIMIT = 0
    MARKET = 1
    IOC = 2
    FOK = 3
    POST_ONLY = 4
    POST_ONLY_SLIDE = 5
    REDUCE_ONLY = 6


class SelfTradePolicy(IntEnum):
    """What happens when an incoming order meets a resting order of the same owner.

    They trade (``ALLOW``); the resting order is cancelled and the incoming one goes on (``CANCEL_RESTING``); what is left of
    the incoming one is dropped (``CANCEL_INCOMING``); both (``CANCEL_BOTH``); or both lose the smaller of their quantities
    without a trade, and what remains of either goes on (``DECREMENT``).
    """

    ALLOW = 0
    CANCEL_RESTING = 1
    CANCEL_INCOMING = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class Refusal(IntEnum):
    """Why a venue did not take an order, or not all of it.

    ``INITIAL_MARGIN``: the equity of the account does not carry what the order would open beside what is open already, or
    the order would leave the account distressed as it trades. ``MINIMUM_NOTIONAL``: it is worth less than the venue takes.
    """

    NONE = 0
    INITIAL_MARGIN = 1
    MINIMUM_NOTIONAL = 2


class Cause(IntEnum):
    """Why an order was sent. Every order, fill and volume column carries one."""

    BACKGROUND = 0
    QUOTE = 1
    SPECULATION = 2
    VALUE = 3
    ARBITRAGE = 4
    STOP_LOSS = 5
    DELTA_HEDGE = 6
    LIQUIDATION = 7
    BACKSTOP = 8
    DELEVERAGING = 9
    SHOCK = 10
    EXECUTION = 12


class AccountClass(IntEnum):
    """Who holds an account."""

    EXTERNAL = 0
    INSURANCE_FUND = 1
    FEES = 2
    ROUNDING = 3
    BACKGROUND = 4
    SHOCK = 5
    VALUE_TRADER = 6
    ARBITRAGEUR = 7
    UNLEVERED_HOLDER = 8
    OPTION_CUSTOMER = 9
    LIQUIDITY_PROVIDER = 10
    OPTIONS_DEALER = 11
    LEVERAGED_TRADER = 12
    TREND_FOLLOWER = 13
    PARTICIPANT = 14
    PRICE_FORMATION = 15
    BACKSTOP = 16


class EventType(IntEnum):
    """What happened to an account or a venue.

    ``CANCEL``: the venue cancelled the open orders of an account that is being closed, or the part of an order on its way
    that would not have reduced the position; ``quantity`` is what was cancelled, ``side`` 0 if there were orders on both
    sides.
    """

    SHOCK = 0
    BREACH = 1
    MARGIN_CALL = 2
    STOP_LOSS = 3
    HEDGE = 4
    LIQUIDATION = 5
    TAKEOVER = 6
    UNWIND = 10
    ADL = 11
    SOCIALISE = 12
    FUNDING = 13
    WITHDRAWAL = 15
    RETURN = 16
    HALT = 17
    RESUME = 18
    DEFAULT = 20
    CANCEL = 21


class Stage(IntEnum):
    """Stage of the liquidation pipeline that an event belongs to."""

    NONE = 0
    TRIGGER = 1
    BOOK = 2
    BACKSTOP = 4
    FUND = 5
    ADL = 6
    SOCIALISED = 7


CLOSED_BY: Mapping[str, tuple[Stage, ...]] = {
    "book": (Stage.BOOK,),
    "backstop": (Stage.BACKSTOP, Stage.FUND, Stage.SOCIALISED),
    "adl": (Stage.ADL,),
}
"""Stages by who took the position: the market, a party that holds it now, or a winner whose own it closed."""


class TransferKind(IntEnum):
    """Reason for a cash transfer between two named accounts."""

    VARIATION = 0
    FEE = 1
    FUNDING = 2
    COLLATERAL = 3
    TAKEOVER = 4
    SOCIALISED = 6
    EXTERNAL = 7
    PREMIUM = 8


class Outcome(IntEnum):
    """How a run ended for an account; the most severe that applies."""

    UNTOUCHED = 0
    TOPPED_UP = 1
    STOPPED = 2
    PARTIAL = 3
    LIQUIDATED = 4
    TAKEN_OVER = 5
    DELEVERAGED = 6
