"""What commands share: printing, and reading the scenario that they are given."""

import os
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from cascade_sim.domain.errors import CascadeError

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Override one field; may be repeated.")
]


class ClosedOutputError(CascadeError):
    """Standard output takes nothing more: a full disk, a closed pipe."""

    exit_code = 1


def say(text: str, *, nl: bool = True) -> None:
    """Print to standard output; what cannot be printed is an error like any other."""
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        typer.echo(text, nl=nl)
    except (OSError, ValueError) as error:
        drop_output()
        reason = getattr(error, "strerror", None) or str(error)
        raise ClosedOutputError(f"standard output: expected to write to it, received: {reason}") from error


def drop_output() -> None:
    """Send what is still buffered nowhere, or Python would fail on it once more when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def load(name: str, overrides: list[str] | None) -> Any:
    from cascade_sim.scenario import load_scenario, parse_override

    scenario = load_scenario(name)
    changes: dict[str, Any] = {}
    for text in overrides or []:
        path, value = parse_override(text)
        changes[path] = value
    resolved = scenario.with_overrides(changes) if changes else scenario
    if all(each.options.chain.path is None for each in resolved.market_scenarios().values()):
        return resolved
    # Only a chain needs the import, which takes as long as all else here.
    from cascade_sim.agents.options_dealer import speak_of_chain

    return speak_of_chain(resolved)
