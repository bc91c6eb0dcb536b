"""The command line: ``cascade-sim``, ``python -m cascade_sim``."""

from cascade_sim.cli.program import app, entry, main

__all__ = ["app", "entry", "main"]
