"""Every dtype that compiled and friendly code share, one file per record; the book's own is ``layout/book.py``.

Inside kernels prices are ticks (float64 where they are averages), quantities lots, cash atoms of the settlement asset,
times steps; user units appear only in the recorder. Positions are signed, quantities positive with a side.
"""

from cascade_sim.core.layout.account import *
from cascade_sim.core.layout.activity import *
from cascade_sim.core.layout.agents import *
from cascade_sim.core.layout.codes import *
from cascade_sim.core.layout.config import *
from cascade_sim.core.layout.event import *
from cascade_sim.core.layout.figures import *
from cascade_sim.core.layout.flight import *
from cascade_sim.core.layout.grid import *
from cascade_sim.core.layout.prices import *
from cascade_sim.core.layout.reducing import *
from cascade_sim.core.layout.sizes import *
from cascade_sim.core.layout.tape import *
from cascade_sim.core.layout.venue import *
from cascade_sim.core.layout.world import *
