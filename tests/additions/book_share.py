"""A metric in a file of its own."""

import numpy as np

from cascade_sim.domain.enums import CLOSED_BY
from cascade_sim.metrics.catalogue import metric
from cascade_sim.metrics.runs import Floats, Runs, ratio


@metric("fraction", "Forced closing")
def book_share(runs: Runs) -> Floats:
    """Share of what was closed by force that the book took."""
    closed = {route: runs.closed_by(stages) for route, stages in CLOSED_BY.items()}
    return ratio(closed["book"], np.sum(list(closed.values()), axis=0))
