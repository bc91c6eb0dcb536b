"""Everybody who sends orders."""
