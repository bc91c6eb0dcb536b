"""The way of orders to a venue in plain Python: a heap of arrivals, and a queue in front of an engine of limited speed."""

import heapq
from collections import deque
from collections.abc import Callable


class Gateway:
    """Event queue with one entry per order; labels stand for orders.

    Parameters
    ----------
    limit : int
        Orders that enter per step; 0 for no limit.
    rank : callable
        ``rank(sender, step)``: who comes first among the orders that arrive in one phase of a step.
    """

    def __init__(self, limit: int, rank: Callable[[int, int], float]) -> None:
        self.limit = limit
        self.rank = rank
        self.left = limit
        self.sent = 0
        self.under_way: list[tuple[int, int, float, int, int]] = []
        self.outgoing: list[tuple[int, int, int, int]] = []
        self.queue: deque[int] = deque()

    def begin_step(self) -> list[int]:
        """Give the engine its orders of a new step; returns what enters of those that waited."""
        self.left = self.limit
        return self._work_off()

    def begin_phase(self, step: int, phase: int) -> list[int]:
        """Return what enters before the phase."""
        arrived = []
        while self.under_way and self.under_way[0][:2] == (step, phase):
            arrived.append(heapq.heappop(self.under_way)[4])
        return self._pass(arrived)

    def send(self, step: int, phase: int, sender: int, due: int, late: bool, label: int) -> list[int]:
        """Send one order, which arrives in step ``due`` if its sender has latency; returns what enters at once."""
        if not late and (self.limit == 0 or self.left > 0):
            self.left -= 1
            return [label]
        self.outgoing.append((due, phase, sender, label))
        return []

    def end_phase(self, step: int) -> list[int]:
        """Let what was sent in the phase set out; returns what enters because it takes no step at all."""
        arrived = []
        for due, phase, sender, label in self.outgoing:
            if due <= step:
                arrived.append(label)
            else:
                self.sent += 1
                entry = (due, phase, self.rank(sender, due), self.sent, label)
                heapq.heappush(self.under_way, entry)
        self.outgoing = []
        if self.limit > 0:
            self.queue.extend(arrived)
            return []
        return arrived

    def _pass(self, arrived: list[int]) -> list[int]:
        if self.limit == 0:
            return arrived
        self.queue.extend(arrived)
        return self._work_off()

    def _work_off(self) -> list[int]:
        entered = []
        while self.queue and self.left > 0:
            entered.append(self.queue.popleft())
            self.left -= 1
        return entered
