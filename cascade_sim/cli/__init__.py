"""The command line: ``cascade-sim``, ``python -m cascade_sim``.

The program is imported when it is first asked for: signals have to be looked after before that takes its time.
"""

from importlib import import_module
from typing import Any

__all__ = ["app", "entry", "main"]


def __getattr__(name: str) -> Any:
    """Import the program when a name of it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("cascade_sim.cli.program"), name)
