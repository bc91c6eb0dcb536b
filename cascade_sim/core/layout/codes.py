"""Codes and capacities that kernels and their callers share; :mod:`cascade_sim.core.layout` re-exports them all."""

import numpy as np

from cascade_sim.domain.enums import AccountClass, Cause, Stage, code_count

CAUSES = code_count(Cause)
CLASSES = code_count(AccountClass)
STAGES = code_count(Stage)
MOVE_QUOTE_REVISION = np.int64(CAUSES)
MOVE_WITHDRAWAL = np.int64(CAUSES + 1)
MOVE_NEWS = np.int64(CAUSES + 2)
MOVES = CAUSES + 3
"""Buckets that a move of the mid is attributed to: the causes of orders and three that are not orders."""

BANDS = 4
BAND_BP = (10.0, 50.0, 100.0, 500.0)
SHOCK_CAPACITY = 16
TIER_CAPACITY = 64
WATERFALL_CAPACITY = 9
QUEUE_RATES = 32
WAITING_PER_CHUNK = 4
INDEX_SOURCES = 16
SOURCE_OUTAGES = 8
BREAKER_LEVELS = 8
SORT_BUCKETS = 1 << 12
SERIES_CAPACITY = 1 << 10
"""What keeps every index below these, and below the rows of a size class (``layout/sizes.py``): counts of a scenario and
steps that it looks back (fewer than the ring has) are refused while a world is configured; what fills up in a run (book,
fills, tape, wheels, actors' chunks, pool of the auction, messages under way) is compared where it is filled, and the run
stops with a CAPACITY code; lists of accounts and of actors have a place for everybody, and nobody is listed twice."""
TRADES_KEPT = 1 << 14
EVENTS_KEPT = 1 << 14
TRANSFERS_KEPT = 1 << 14
"""Rows on the tape at which the driver copies it away; the room beyond is for what one account or phase may add."""
DEPTH_EDGES_BP = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
"""Outer edges of the bins of depth snapshots, basis points of the mid; the first bin begins at the mid."""
DEPTH_BINS = len(DEPTH_EDGES_BP)
MAP_BINS = 40
MAP_WIDTH = 0.005
"""Bins of the liquidation map on each side of the mark, and their width as a fraction of the mark."""
SNAPSHOTS_KEPT = 64
FORCED_BINS = 4000
"""The event window in parts, by which forced closing is counted; a window of fewer steps has a part for each."""
DENSEST_SHARE = 0.05
"""Length of the densest stretch of forced closing, as a share of the event window."""
# Codes that kernels pass to each other are numpy integers: numba compiles a function anew for each literal one.
NO_ACCOUNT = np.int64(-1)
NO_EVENT = np.int64(-1)
LARGEST_CASH = 2.0**60
"""Atoms; balances and notionals that a run starts with stay below it, so that sums of 64-bit integers cannot wrap."""
NEVER = -(1 << 40)
"""A step before every burn-in."""
NEVER_DUE = 1 << 40
"""A step after every run."""

PHASE_NEWS = 0
PHASE_QUOTES = 1
PHASE_FLOW = 2
PHASE_SHOCK = 3
PHASE_TRADE = 4
PHASE_HEDGE = 5
PHASE_MARK = 6
PHASE_LIQUIDATE = 7
PHASE_RECORD = 8
PHASES = 9

RETURN_DONE = 0
RETURN_DRAIN = 1
RETURN_PRIORITY = 2
RETURN_SIZING = 3
RETURN_ADL = 4
RETURN_MARK = 5
RETURN_HEDGE = 6
RETURN_AGENTS = 7
RETURN_CAPACITY = 8
RETURN_FLOW = 9
RETURN_SCREEN = 10
RETURN_EXECUTION = 11
RETURN_STAGE = 12
"""Why the fused driver hands control back. All but DONE and CAPACITY are resumed at the same place."""

CAPACITY_ORDERS = 1
CAPACITY_TRADES = 2
CAPACITY_EVENTS = 3
CAPACITY_TRANSFERS = 4
CAPACITY_WHEEL = 5
CAPACITY_PRICE = 6
CAPACITY_SIZE = 7
CAPACITY_FLIGHT = 8
CAPACITY_ACTORS = 9
CAPACITY_AUCTION = 10
CAPACITY_AGENT_FILLS = 11
CAPACITY_QUEUE = 12

RULE_PYTHON = -1
"""Code of a rule that is not compiled: the driver asks Python."""
PRIORITY_WORST_MARGIN_RATIO = 0
PRIORITY_LARGEST_NOTIONAL = 1
PRIORITY_RANDOM = 2
SIZING_FULL = 0
SIZING_FRACTION = 1
ADL_PROFIT_LEVERAGE = 0
EXECUTION_IOC_AT_BANKRUPTCY = 0
MARK_EMA_MID = 0
MARK_MEDIAN = 1
MARK_LAST = 2
MARK_MID = 3
MARK_BASIS = 4
MARK_INDEX = 5
MARK_IMPACT_MID = 6
MARK_FUNDING_BASIS = 7
MARK_FUNDING_MEDIAN = 8
MARK_BOOK_MEDIAN = 9
BAND_MID_AVERAGE = 0
BAND_LAST_AVERAGE = 1
BAND_INDEX = 2
BAND_AUCTION = 3
BREAKER_LAST = 0
BREAKER_MID = 1
BREAKER_MARK = 2
BREAKER_INDEX = 3
HALT_BAND = np.int64(1)
HALT_BREAKER = np.int64(2)
RULE_OF_STAGE = np.int64(16)
"""In an event: the venue's rule that halted it, or this much more than the place in the waterfall of a user's stage."""
HEDGE_NONE = 0
HEDGE_CLOCK = 1
FORMATION_BOOK = 0
FORMATION_LINEAR = 1
FLOW_FIXED = 0
FLOW_SANTA_FE = 1
FLOW_QUEUES = 2
RECORD_SUMMARY = 0
RECORD_SERIES = 1
RECORD_FULL = 2

FLAG_MARGINED = 1
FLAG_ACTIVE = 2
FLAG_LATE = 4
FLAG_CROSS = 8
"""The account is one leg of a portfolio that shares its collateral over several markets."""
FLAG_BANKRUPT = 16
"""The whole portfolio of a leg has no equity left."""
FLAG_AGENT = 32
"""The account belongs to an agent written in Python: its fills are put on the tape for the agent to read."""
FLAG_STOP_SENT = 64
"""A stop-loss order of the account is on its way."""
IN_FLIGHT = 2**31 - 1
"""End of the cooldown of an account while its close-out is on its way: the engine leaves it alone until then."""

WATCH_LIQUIDATE_LONG = 0
WATCH_LIQUIDATE_SHORT = 1
WATCHES = 2
"""Rows of price triggers, one column per account: even rows fire at or below, odd rows at or above their price."""
RESTING_BUY = 2
RESTING_SELL = 3
ACCOUNT_ROWS = 4
"""Rows behind the triggers: lots that a margined account has resting on each side, pool included; 0 for other accounts."""
