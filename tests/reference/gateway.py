"""The way of orders to a venue in plain Python: a heap of arrivals, and a queue in front of an engine of limited speed."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import NamedTuple


class Message(NamedTuple):
    """An order, one quote of a ladder, or the cancellation of everything that its sender quotes."""

    sender: int
    label: int
    kind: str = "order"


class Gateway:
    """Event queue with one entry per message; labels stand for orders.

    Parameters
    ----------
    limit : int
        Messages that the engine takes per step; 0 for no limit.
    rank : callable
        ``rank(sender, step)``: who comes first among the messages that arrive in one phase of a step.

    Attributes
    ----------
    book : list of (int, int)
        Sender and label of what rests, in the order of entry.
    quotes : dict of int to list of int
        By provider, the labels of its quotes that rest, in the order of entry.
    used : int
        Messages that the engine has taken.
    """

    def __init__(self, limit: int, rank: Callable[[int, int], float]) -> None:
        self.limit = limit
        self.rank = rank
        self.left = limit
        self.sent = self.used = 0
        self.under_way: list[tuple[int, int, float, int, Message]] = []
        self.outgoing: list[tuple[int, int, Message]] = []
        self.queue: deque[Message] = deque()
        self.book: list[tuple[int, int]] = []
        self.quotes: dict[int, list[int]] = {}
        self.last_due: dict[int, int] = {}

    def begin_step(self) -> None:
        """Give the engine its messages of a new step."""
        self.left = self.limit

    def begin_phase(self, step: int, phase: int) -> None:
        """Let what is due arrive, and what waits enter as far as the engine can take it."""
        while self.under_way and self.under_way[0][:2] == (step, phase):
            self._arrive(heapq.heappop(self.under_way)[4])
        while self.queue and self.left > 0:
            if not self._carry_out(self.queue[0]):
                break
            self.queue.popleft()

    def send(self, step: int, phase: int, sender: int, due: int, late: bool, label: int) -> bool:
        """Send one order, which arrives in step ``due`` if its sender has latency; returns whether it entered at once."""
        return self._send(phase, due, late, Message(sender, label))

    def cancel_quotes(self, step: int, phase: int, provider: int, due: int, late: bool) -> None:
        """Withdraw a ladder, with whatever of it has not entered yet."""
        message = Message(provider, 0, "cancel")
        if late:
            self._send(phase, self._in_turn(provider, due), late, message)
            return
        busy = any(waiting.sender == provider for waiting in self.queue)
        if busy or not self._carry_out(message):
            self.outgoing.append((due, phase, message))

    def is_held_back(self, provider: int) -> bool:
        """Whether a provider has to wait with its next ladder, because what it sent before waits for the engine."""
        return any(waiting.sender == provider and waiting.kind != "order" for waiting in self.queue)

    def quote(self, step: int, phase: int, provider: int, due: int, late: bool, labels: list[int]) -> None:
        """Send a ladder."""
        if late:
            due = self._in_turn(provider, due)
        for label in labels:
            self._send(phase, due, late, Message(provider, label, "quote"))

    def end_phase(self, step: int) -> None:
        """Let what was sent in the phase set out; what takes no step at all arrives."""
        for due, phase, message in self.outgoing:
            if due <= step:
                self._arrive(message)
            else:
                self.sent += 1
                heapq.heappush(
                    self.under_way, (due, phase, self.rank(message.sender, due), self.sent, message)
                )
        self.outgoing = []

    def _in_turn(self, provider: int, due: int) -> int:
        """One connection per provider: nothing overtakes what was sent before."""
        self.last_due[provider] = max(due, self.last_due.get(provider, due))
        return self.last_due[provider]

    def _send(self, phase: int, due: int, late: bool, message: Message) -> bool:
        if not late and (self.limit == 0 or self.left > 0):
            return self._carry_out(message)
        self.outgoing.append((due, phase, message))
        return False

    def _arrive(self, message: Message) -> None:
        if self.limit > 0:
            self.queue.append(message)
        else:
            self._carry_out(message)

    def _take(self) -> bool:
        """Spend one message of this step, if there is one left."""
        if self.limit > 0 and self.left == 0:
            return False
        self.left -= 1
        self.used += 1
        return True

    def _carry_out(self, message: Message) -> bool:
        """Do what a message asks for; a cancellation costs one message a quote, the youngest first. Returns if it is done."""
        mine = self.quotes.setdefault(message.sender, [])
        if message.kind == "cancel":
            while mine and self._take():
                self.book.remove((message.sender, mine.pop()))
            return not mine
        if not self._take():
            return False
        self.book.append((message.sender, message.label))
        if message.kind == "quote":
            mine.append(message.label)
        return True
