"""The scenario library: YAML files shipped as package data, read by ``cascade_sim.scenario``."""
