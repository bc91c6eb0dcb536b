"""``python -m cascade_sim`` is the command line, and so is the program ``cascade-sim``."""

import os
import sys
from contextlib import suppress

from cascade_sim.cli.signals import end_quietly_until_ready


def entry() -> None:
    """Run the command line as a program; an interrupt has its answer before the rest of it is imported."""
    end_quietly_until_ready()
    from cascade_sim.cli import entry as start

    start()


def _leave_the_working_directory() -> None:
    """Take the folder one stands in off the import path, where ``python -m`` puts it: nothing in it is code."""
    with suppress(FileNotFoundError):  # it may have been removed
        if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
            del sys.path[0]


if __name__ == "__main__":
    _leave_the_working_directory()
    entry()
