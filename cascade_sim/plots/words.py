"""Numbers, currencies and classes of accounts in words, for charts, reports and the command line."""

import math
from collections.abc import Mapping
from typing import Any

from cascade_sim.result import RunResult

_CLASS_WORDS = {
    "external": "capital from outside",
    "insurance_fund": "insurance fund",
    "fees": "fee account",
    "rounding": "rounding",
    "background": "background flow",
    "shock": "senders of the shock",
    "price_formation": "price formation",
}


def plain(value: float, _position: Any = None) -> str:
    """Write a number with thousands separators and no needless digits."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
    return text.replace("-", "\N{MINUS SIGN}")


def compact(value: float, _position: Any = None) -> str:
    """Write a number shortly: 950, 12.3 k, 4.5 m, 1.2 bn."""
    for size, suffix in ((1e9, " bn"), (1e6, " m"), (1e3, " k")):
        if abs(value) >= size * 0.9995:
            return f"{value / size:.3g}{suffix}".replace("-", "\N{MINUS SIGN}")
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")


def percent(fraction: float) -> str:
    """Write a fraction as a percentage: three digits below ten, none after the point above."""
    digits = f"{100.0 * fraction:.3g}" if abs(fraction) < 0.0995 else f"{100.0 * fraction:.0f}"
    return f"{digits} %".replace("-", "\N{MINUS SIGN}")


def log_percent(move: float) -> str:
    """Size of a signed move of so many log basis points, as a percentage of the price before it."""
    return percent(abs(math.expm1(move / 1e4)))


def currencies(result: RunResult) -> tuple[str, str]:
    """Names of the base and quote currency in the scenario, or the generic words.

    Parameters
    ----------
    result
        Run to draw.

    Returns
    -------
    tuple of str
        Base and quote.
    """
    market = result.scenario_tree.get("market")
    market = market if isinstance(market, dict) else {}
    return str(market.get("base", "base units")), str(market.get("quote", "quote units"))


def amount_of(value: Any) -> float:
    """A figure of a summary as a number; 0 where it is missing."""
    return float(value) if isinstance(value, int | float) else 0.0


def class_words(name: str) -> str:
    """Name of a class of accounts as a sentence needs it."""
    return _CLASS_WORDS.get(name, f"{name.replace('_', ' ')}s")


def ranked_losses(summary: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Losses by class of account in words, largest loss first, gains negative, classes without either left out.

    Parameters
    ----------
    summary
        Summary of a run; ``loss_by_class`` may be missing.

    Returns
    -------
    list of (str, float)
        Class in words and loss in quote currency. What is less than a millionth of the largest is rounding.
    """
    classes = summary.get("loss_by_class") or {}
    pairs = [(class_words(str(name)), amount_of(loss)) for name, loss in classes.items()]
    least = 1e-6 * max((abs(loss) for _, loss in pairs), default=0.0)
    return sorted((pair for pair in pairs if abs(pair[1]) > least), key=lambda pair: (-pair[1], pair[0]))
