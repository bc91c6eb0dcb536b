"""Pieces of the command line; private to ``cascade_sim.cli``."""
