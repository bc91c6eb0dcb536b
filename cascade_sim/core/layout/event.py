"""The draft and the record of an event."""

import numpy as np

from cascade_sim.core.ground.records import record

_F = np.float64
_I = np.int64

EVENT = record(
    event_id=_I,
    step=np.int32,
    sequence=np.int32,
    type=np.int8,
    stage=np.int8,
    cause=np.int8,
    side=np.int8,
    rule=np.int8,
    generation=np.int16,
    account=np.int32,
    payer=np.int32,
    parent=_I,
    breach=_I,
    root=_I,
    quantity=_I,
    filled=_I,
    mark=_F,
    index=_F,
    bankruptcy=_F,
    limit=_F,
    fill=_F,
    equity_before=_F,
    equity_after=_F,
    maintenance=_F,
    loss=_F,
    waited=_F,
)
