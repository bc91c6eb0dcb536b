"""``python -m cascade_sim`` is the command line."""

from cascade_sim.cli import entry

if __name__ == "__main__":
    entry()
