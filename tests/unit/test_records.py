"""Records that compiled code is given: numpy has to describe them at each call."""

import numpy as np
import pytest

from cascade_sim.core import layout as lay
from cascade_sim.core.layout.book import BOOK

LONGEST_DESCRIPTION = 20_000


@pytest.mark.parametrize("dtype", [lay.WORLD, lay.TAPE, BOOK], ids=["world", "tape", "book"])
def test_a_record_is_described_in_few_words(dtype: np.dtype[np.void]) -> None:
    # Padding inside the rows of a long array would be spelled out byte by byte.
    assert len(memoryview(np.zeros(1, dtype)).format) < LONGEST_DESCRIPTION
