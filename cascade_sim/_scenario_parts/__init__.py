"""The sections of a scenario and the reading of its text; private to ``cascade_sim.scenario``."""
