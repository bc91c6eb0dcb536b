"""Venues: the order book, price formation, mark prices."""
