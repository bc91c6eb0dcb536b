"""Records of the index, of marks beyond the simplest and of funding; prices in ticks, times in steps."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import emptied, record, rows, scratch
from cascade_sim.core.layout.codes import INDEX_SOURCES, SOURCE_OUTAGES
from cascade_sim.core.layout.sizes import Sizes

_F = np.float64
_I = np.int64

PRICE_CONFIG = record(
    index_sources=_I,
    index_median=_I,
    index_clamp=_F,
    index_stale=_I,
    mark_clamp=_F,
    mark_delay=_I,
    basis_of_impact=_I,
    needs_book=_I,
    book_memory=_F,
    impact_value=_F,
    funding_interval=_I,
    funding_share=_F,
    funding_interest=_F,
    funding_clamp=_F,
    funding_cap=_F,
    funding_linear=_I,
    funding_impact=_I,
    funding_at_index=_I,
)
"""``impact_value``: notional behind impact prices, in ticks x lots, 0 for none; ``mark_delay``: -1 for none."""

INDEX_SOURCE = record(
    market=_I,
    scale=_F,
    weight=_F,
    delay=_I,
    update=_I,
    deviation=_F,
    noise=_F,
    noise_steps=_I,
    outages=_I,
    outage_first=(_I, (SOURCE_OUTAGES,)),
    outage_end=(_I, (SOURCE_OUTAGES,)),
    value=_F,
    published=_I,
)
"""``market``: number of the market whose mid is read, -1 for the fundamental; ``scale``: its ticks to our own."""


def prices_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the index, impact prices and funding.

    ``funding_rate`` is the estimate for the interval under way, ``settled_rate`` that of the interval before it.
    """
    return record(
        delayed_index=_F,
        impact_bid=_F,
        impact_ask=_F,
        impact_mid=_F,
        book_median=_F,
        book_average=_F,
        premium=_F,
        premium_sum=_F,
        premium_weight=_F,
        funding_rate=_F,
        settled_rate=_F,
        funding_basis=_F,
        source=rows(INDEX_SOURCE, INDEX_SOURCES, "config.prices.index_sources"),
        sorted_value=scratch(_F, INDEX_SOURCES),
        sorted_weight=scratch(_F, INDEX_SOURCES),
        value_ring=emptied(_F, sizes.lookback),
        index_ring=emptied(_F, sizes.lookback),
    )
