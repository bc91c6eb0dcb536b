"""What agents written in Python send to the kernels, and what comes back."""

import numpy as np

from cascade_sim.core.ground.records import record

AGENT_FILLS_KEPT = 1 << 20
"""Fills on the tape at which the driver lets them be taken away."""
REQUEST_BY_NOTIONAL = 7
REQUEST_CANCEL = 8
REQUEST_REDUCE_ONLY = 16
REQUEST_AMEND = 32
"""What a row of a batch of Python agents asks for, where it is not just an order type. The first stands for an order type: a
market order whose quantity is an amount of atoms that it may come to. An order type may have ``REQUEST_REDUCE_ONLY`` added
to it. A row that amends names an order; the row after it, of the same account, says what that is to be: a limit order,
of which quantity 0 and tick 0 mean those that the order has."""
REQUEST_TYPES = REQUEST_CANCEL - 1
"""Bits of an order's type, beside which :data:`REQUEST_REDUCE_ONLY` may stand."""

AGENT_FILL = record(
    price=np.float64,
    quantity=np.int64,
    order_id=np.int64,
    account=np.int32,
    step=np.int32,
    request=np.int32,
    side=np.int8,
    is_maker=np.int8,
    cause=np.int8,
    # numpy describes a tape to its callers byte by byte where rows end in a gap: milliseconds per call.
    pad=np.int8,
)
"""A fill of an agent's account. ``order_id`` is the serial number of a maker's order, else 0; ``request`` the row of the batch
that a taker's order stood in, -1 for every other fill. ``price`` in ticks."""

REQUEST = record(
    key=np.uint64,
    entity=np.int64,
    quantity=np.int64,
    order_id=np.int64,
    filled=np.int64,
    account=np.int32,
    tick=np.int32,
    kind=np.int8,
    side=np.int8,
    cause=np.int8,
    refused=np.int8,
)
"""One order or cancellation of an agent written in Python. Going in, ``order_id`` names what is to be cancelled (minus one
minus its row for an order of the same batch); coming back, what rests. ``filled`` is what traded, or was cancelled, at once;
``refused`` the :class:`Refusal` of what was not taken."""
