"""Colour and hatching of every cause, the same in every chart."""

from typing import Any

from cascade_sim.domain.enums import Cause

LONGS = ("#D55E00", "////")
SHORTS = ("#0072B2", "\\\\\\\\")
LOSS = ("#D55E00", "////")
GAIN = ("#009E73", "....")
TOTAL = ("0.45", "")

ARM_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
ARM_MARKERS = "osD^vPX*"
ARM_LINES: tuple[Any, ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (5, 1, 1, 1)),
    (0, (8, 2)),
    (0, (1, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
ARM_HATCHES = ("////", "....", "xxxx", "||||", "----", "++++", "\\\\\\\\", "oo")
"""Arms of a comparison or a sweep, in their order: told apart without colour too."""

CAUSE_STYLE: dict[str, tuple[str, str]] = {
    "liquidation": ("#D55E00", ""),
    "delta_hedge": ("#0072B2", "////"),
    "shock": ("#000000", ""),
    "stop_loss": ("#CC79A7", "xxxx"),
    "backstop": ("#009E73", "...."),
    "deleveraging": ("#F0E442", "\\\\\\\\"),
    "arbitrage": ("#56B4E9", "||||"),
    "value": ("#E69F00", "----"),
    "speculation": ("#BBBBBB", "++++"),
    "quote": ("#999999", ""),
    "background": ("#DDDDDD", ""),
    "execution": ("#777777", "\\\\"),
}
_DARK = frozenset(("#000000", "#0072B2", "#009E73", "#777777"))
OTHER_STYLE = ("#FFFFFF", "..")

_undrawn = {cause.name.lower() for cause in Cause} ^ set(CAUSE_STYLE)
if _undrawn:
    raise ValueError(
        f"expected a colour for every cause, received none or one too many for {sorted(_undrawn)}"
    )


def hatch_colour(colour: str) -> str:
    """Colour of the hatching on a fill: light on dark fills, or a grey print would swallow it."""
    return "white" if colour in _DARK else "0.25"
