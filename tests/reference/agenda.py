"""What is due when, on a plain heap."""

import heapq


class Agenda:
    """Entries with a step at which they come out.

    Entries of one step come out in the order of their loads.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, due: int, load: int) -> None:
        """Add an entry that comes out in step ``due``."""
        heapq.heappush(self._heap, (due, load))

    def take(self, now: int) -> list[int]:
        """Remove and return the loads of all entries that are due by step ``now``."""
        loads = []
        while self._heap and self._heap[0][0] <= now:
            loads.append(heapq.heappop(self._heap)[1])
        return loads

    def next_step(self) -> int | None:
        """Return the step of the earliest entry, None when nothing waits."""
        return self._heap[0][0] if self._heap else None
