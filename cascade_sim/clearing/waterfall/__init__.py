"""Stages of the waterfall: what happens to what is left of a liquidated account, in the order that a scenario lists.

A stage of the user's own is a party with capital: its rule says how many lots of a bankrupt position it takes, and at which
price; its account pays, holds what it took and sells it down.
"""

from dataclasses import dataclass
from typing import ClassVar

from cascade_sim.domain.enums import Stage
from cascade_sim.registry import WATERFALL


@WATERFALL.register("book")
@dataclass(frozen=True)
class Book:
    """Close-outs are sent to the order book while the account has equity; only as the first stage."""

    compiled: ClassVar[int] = Stage.BOOK


@WATERFALL.register("fund")
@dataclass(frozen=True)
class Fund:
    """The insurance fund takes positions over at the bankruptcy price, above its floor and up to what it may hold."""

    compiled: ClassVar[int] = Stage.FUND


@WATERFALL.register("adl")
@dataclass(frozen=True)
class Deleveraging:
    """Winners on the other side close the position at its bankruptcy price, ranked by clearing.adl."""

    compiled: ClassVar[int] = Stage.ADL


@WATERFALL.register("socialised")
@dataclass(frozen=True)
class SocialisedLoss:
    """The fund takes the position at the mark; open profits pay what is missing in proportion, the outside the rest."""

    compiled: ClassVar[int] = Stage.SOCIALISED
