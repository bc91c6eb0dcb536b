"""What a run made of its option chain and its margin brackets, in words."""

from collections.abc import Mapping
from typing import Any

from cascade_sim.domain.errors import DataFileError, expectation
from cascade_sim.plots.words import compact, plain


def chain_words(use: Mapping[str, Any] | None) -> list[str]:
    """Say what a run made of the instruments in its option chain.

    Parameters
    ----------
    use
        ``option_chain`` of a manifest, see `cascade_sim.options.chain.Chain.use`; None without a chain.

    Returns
    -------
    list of str
        Sentences, or none; `DataFileError` if it is something else.
    """
    if not use:
        return []
    try:
        left_out = [
            f"{plain(entry['count'])} {reason.replace('_', ' ')}" for reason, entry in use["dropped"].items()
        ]
        day, instruments, used = use["snapshot_time"][:16].replace("T", " "), use["instruments"], use["used"]
        taken = (
            f"The option chain of {day} UTC holds {plain(instruments)} instruments; {plain(used)} were used"
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataFileError(
            expectation("option_chain", "what a run writes into its manifest", use)
        ) from error
    words = [taken + (f", left out: {', '.join(left_out)}." if left_out else ".")]
    if "coin" in use:
        words.append(
            f"It is a chain of options on {use['coin']}; the price started at its forward, "
            f"{plain(use['forward'])} {use['quote']}."
        )
    return words


def bracket_words(use: Mapping[str, Any] | None) -> list[str]:
    """Say how the positions of a run lay in its margin brackets.

    Parameters
    ----------
    use
        ``margin_brackets`` of a manifest; None without brackets.

    Returns
    -------
    list of str
        One sentence, or none; `DataFileError` if it is something else.
    """
    if not use:
        return []
    try:
        accounts, above, last = use["accounts"], use["accounts_above"], use["last_notional"]
        rates = "of the whole position" if use["mode"] == "whole_position" else "marginal"
        words = f"Margin brackets of {use['symbol']} ({plain(use['tiers'])}, {rates})"
        if last is None:
            return [f"{words} have no upper end."]
        return [
            f"{words} end at {compact(last)} {use['quote']}; {plain(above)} of {plain(accounts)} accounts "
            "began above it, at the last rate."
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataFileError(
            expectation("margin_brackets", "what a run writes into its manifest", use)
        ) from error
