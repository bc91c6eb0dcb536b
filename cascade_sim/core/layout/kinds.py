"""The dtypes of the records that a world of a size class is made of."""

import functools
from typing import Any, NamedTuple

import numpy as np

from cascade_sim.core.layout.book import book_record
from cascade_sim.core.layout.opening import plan_record
from cascade_sim.core.layout.sizes import Sizes
from cascade_sim.core.layout.tape import tape_record
from cascade_sim.core.layout.world import world_record


class Kinds(NamedTuple):
    """One dtype for each record of a market whose length depends on the size class."""

    world: "np.dtype[Any]"
    book: "np.dtype[Any]"
    tape: "np.dtype[Any]"
    plan: "np.dtype[Any]"


@functools.cache
def kinds_of(sizes: Sizes) -> Kinds:
    """Return the dtypes of a size class; numba knows the types of arguments by the dtype it saw first."""
    return Kinds(world_record(sizes), book_record(sizes), tape_record(sizes), plan_record(sizes))
