"""What an account is worth and what its position is worth: nothing else computes either.

A position is carried at cost: ``cash`` is collateral less what the position cost, so that equity is cash and position at a
price. Kernels ask by an account record, at the mark unless they name a price, in atoms; what reads tables and views asks by
columns, in whatever unit the cash is in.
"""

from cascade_sim.core.ground.compile import leaf


@leaf
def equity(w, row):
    """Equity of an account record at the mark, in atoms."""
    return row.cash + row.position * w.market.mark * w.config.atoms


@leaf
def equity_at(w, row, tick):
    """Equity of an account record at a price, in atoms: an integer at an integer price."""
    return row.cash + row.position * tick * w.config.atoms


@leaf
def notional(w, row):
    """Absolute value of an account's position at the mark, in atoms."""
    return abs(row.position) * w.market.mark * w.config.atoms


@leaf
def notional_of(w, lots):
    """Value of a number of lots at the mark, in atoms."""
    return lots * w.market.mark * w.config.atoms


@leaf
def bankruptcy_price(w, row):
    """The price, in ticks, at which an account with a position is worth nothing."""
    return -row.cash / (row.position * w.config.atoms)


def equities(cash, position, price, unit=1):
    """Equity by columns: ``cash`` and ``position`` at ``price``, of which a position of one is worth ``unit`` times as much."""
    return cash + position * price * unit


def notionals(position, price, unit=1):
    """Absolute value of positions at ``price``, by columns."""
    return abs(position) * price * unit


def bankruptcy_prices(cash, position, unit=1):
    """The price, by columns, at which cash and position are worth nothing."""
    return -cash / (position * unit)
