"""Layout of orders under way: the delays of each cause, the pool of messages, and the queue in front of the book."""

from typing import Any

import numpy as np

from cascade_sim.core.ground.records import emptied, record, scratch
from cascade_sim.core.layout.codes import CAUSES, PHASES
from cascade_sim.core.layout.sizes import Sizes

_F = np.float64
_I = np.int64

FLIGHT_SLOTS = 1 << 12

LATENCY_CONFIG = record(
    active=_I,
    messages=_I,
    late=(_I, (CAUSES,)),
    delay=(_F, (CAUSES,)),
    jitter=(_F, (CAUSES,)),
    phase=(_I, (CAUSES,)),
)
"""Messages per step (0: no limit); by cause whether its orders take time, delay and mean of jitter in steps, not
rounded, and the phase in which they arrive."""

MESSAGE = record(
    tick=_I,
    quantity=_I,
    parent=_I,
    lifetime=_I,
    value=_F,
    due=_I,
    decided=np.int32,
    next=np.int32,
    account=np.int32,
    side=np.int8,
    order_type=np.int8,
    cause=np.int8,
    pad=np.int8,
)
"""One order, or, with quantity 0 and the cause of quotes, the cancellation of a provider's quotes: its tick is then the
bucket that the move of the mid belongs to. ``value`` is the fundamental as it was decided, of a close-out the mark."""


def flight_record(sizes: Sizes) -> "np.dtype[Any]":
    """Return the dtype of the orders under way.

    Messages that were sent in this phase (from ``sent`` on), those under way by phase and step of arrival, and the queue
    in front of the book (``front`` to ``back``): each a list in the order of sending or of arrival, linked through the pool,
    whose entry 0 ends it. ``left`` is what the engine can still take in this step.
    """
    return record(
        free=_I,
        fresh=_I,
        sent=_I,
        sent_last=_I,
        left=_I,
        waiting=_I,
        front=_I,
        back=_I,
        sender=(_I, (CAUSES,)),
        sent_step=(_I, (CAUSES,)),
        number=(_I, (CAUSES,)),
        head=emptied(np.int32, PHASES * FLIGHT_SLOTS),
        tail=emptied(np.int32, PHASES * FLIGHT_SLOTS),
        entry=scratch(np.int32, sizes.messages),
        listed=scratch(_I, sizes.messages),
        score=scratch(_F, sizes.messages),
        pool=scratch(MESSAGE, sizes.messages),
    )
