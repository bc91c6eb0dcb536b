"""The timing wheel against a heap: nothing comes out early, late, twice or never."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cascade_sim.core.ground.compile import compilation_enabled, kernel
from cascade_sim.core.ground.memory import allocate
from cascade_sim.core.ground.wheel import LONGEST_DELAY, SLOT_BITS, release, schedule, turn, wheel_record
from tests.reference.agenda import Agenda

Integers = NDArray[np.int64]
BLOCK = 1 << SLOT_BITS
CHUNKS = 9_000
WHEEL = wheel_record(np.int64, 4, CHUNKS)
FEW = 20 if compilation_enabled() else 2
LONGEST = 1_000_000 if compilation_enabled() else 9_000
DELAY = st.one_of(
    st.integers(1, 10),
    st.integers(1, LONGEST),
    st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1]),
)


@kernel
def drive(wheel, first, last, starts, delays, out):  # type: ignore[no-untyped-def]  # records have no static type
    """Schedule entry k in step ``starts[k]`` (ascending), before that step turns; note when each comes out."""
    begun = 0
    for now in range(first, last):
        while begun < len(starts) and starts[begun] == now:
            if schedule(wheel, now, now + delays[begun], begun) == 0:
                return now
            begun += 1
        chunk = turn(wheel, now)
        if chunk < 0:
            return now
        while chunk > 0:
            for k in range(wheel.chunks[chunk].held):
                load = wheel.chunks[chunk].load[k]
                out[load] = now if out[load] < first else last
            chunk = release(wheel, chunk)
    return last


def came_out(first: int, last: int, starts: list[int], delays: list[int]) -> list[int]:
    """Return the step at which the wheel gave each entry back: ``last`` when twice, below ``first`` when never."""
    out: Integers = np.full(len(starts), first - 1)
    wheel: Any = allocate(WHEEL)[0]
    assert drive(wheel, first, last, np.array(starts), np.array(delays), out) == last
    return out.tolist()


def expected(starts: list[int], delays: list[int]) -> list[int]:
    agenda, out = Agenda(), [0] * len(starts)
    for load, (start, delay) in enumerate(zip(starts, delays, strict=True)):
        agenda.put(start + delay, load)
    while (step := agenda.next_step()) is not None:
        for load in agenda.take(step):
            out[load] = step
    return out


@pytest.mark.kernel
@settings(deadline=None, max_examples=FEW)
@given(
    first=st.sampled_from([0, -1, -900, 1 - BLOCK, -BLOCK, -3 * BLOCK - 5, 77]),
    entries=st.lists(
        st.tuples(st.integers(0, 3 * BLOCK if compilation_enabled() else 50), DELAY), min_size=1
    ),
)
def test_wheel_and_heap_agree(first: int, entries: list[tuple[int, int]]) -> None:
    entries.sort(key=lambda entry: entry[0])
    starts = [first + offset for offset, _ in entries]
    delays = [delay for _, delay in entries]
    last = max(expected(starts, delays)) + 2
    assert came_out(first, last, starts, delays) == expected(starts, delays)


@pytest.mark.skipif(not compilation_enabled(), reason="tens of millions of steps")
def test_no_delay_is_shortened_at_the_coarsest_level() -> None:
    far = 1 << (2 * SLOT_BITS)
    first = -3
    delays = [far - 1, far, far + 1, far + BLOCK, 2 * far - 1, 2 * far, 2 * far + 2]
    assert came_out(first, 2 * far + 2, [first] * len(delays), delays) == [first + delay for delay in delays]


@pytest.mark.kernel
def test_entries_in_random_number_share_a_step() -> None:
    rng = np.random.default_rng(5)
    starts = np.sort(rng.integers(0, 40, 600)).tolist()
    delays = rng.integers(1, 20, 600).tolist()
    assert came_out(0, 80, starts, delays) == expected(starts, delays)


@pytest.mark.kernel
def test_a_full_wheel_says_so() -> None:
    wheel: Any = allocate(wheel_record(np.int64, 4, 3))[0]
    starts, out = np.zeros(13, np.int64), np.full(13, -1)
    assert drive(wheel, 0, 30, starts[:12], np.full(12, 7), out) == 30
    wheel = allocate(wheel_record(np.int64, 4, 3))[0]
    assert drive(wheel, 0, 30, starts, np.full(13, 7), out) == 0
    # Two entries that share a coarse slot part later, when nothing is free.
    wheel = allocate(wheel_record(np.int64, 4, 1))[0]
    assert drive(wheel, 0, 2 * BLOCK, starts[:1], np.array([BLOCK]), out) == BLOCK


@pytest.mark.kernel
def test_a_delay_beyond_the_wheel_is_refused() -> None:
    wheel: Any = allocate(WHEEL)[0]
    out = np.full(1, -1)
    assert drive(wheel, 0, 1, np.array([0]), np.array([LONGEST_DELAY + 1]), out) == 0


@pytest.mark.kernel
def test_chunks_are_used_again() -> None:
    # Never more than seven entries wait at once, in seven slots.
    wheel: Any = allocate(wheel_record(np.int64, 4, 8))[0]
    out = np.full(200, -1)
    assert drive(wheel, 0, 220, np.arange(200), np.full(200, 7), out) == 220
    assert out.tolist() == list(range(7, 207))
