"""Leverage brackets of a listed perpetual: larger positions need a higher rate of margin."""

from cascade_sim.clearing.brackets.reading import load_brackets
from cascade_sim.clearing.brackets.table import BracketTable

__all__ = ["BracketTable", "load_brackets"]
