"""Ctrl-C during a run: held back until the records agree with the accounts."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What ends a program that may still keep what it has: Ctrl-C, and the request of whoever started it."""


class Held:
    """Ctrl-C that has come and has had no effect yet."""

    def __init__(self) -> None:
        self._formers: dict[int, Callable[[int, Any], Any]] = {}
        self._pending: list[int] = []
        self._count = 0

    def let_through(self) -> None:
        """Give a Ctrl-C that was held back its usual effect, which is an exception as a rule."""
        if self._pending:
            number = self._pending.pop()
            self._formers[number](number, None)

    def take(self) -> bool:
        """Tell whether a Ctrl-C was held back, and forget it."""
        taken = bool(self._pending)
        self._pending.clear()
        return taken


@contextmanager
def held_back(has_begun: Callable[[], bool]) -> Iterator[Held]:
    """Note the first Ctrl-C instead of raising it wherever the program happens to be.

    SIGTERM counts as Ctrl-C where a handler of Python's is in place for it, as in the command line.

    Parameters
    ----------
    has_begun : callable
        Whether there is anything to lose; before that, and from the second time on, Ctrl-C has its usual effect.

    Yields
    ------
    Held
        Tells of a noted Ctrl-C, and gives it its usual effect where the run may stop; at the end it has it anyway.
        Outside the main thread, and where no handler of Python's is in place, nothing is held back.
    """
    held = Held()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    for sent in SIGNALS:
        handler = signal.getsignal(sent)
        if callable(handler):
            held._formers[sent] = handler

    def note(number: int, _frame: object) -> None:
        held._count += 1
        if held._count > 1 or not has_begun():
            held._pending.clear()
            held._formers[number](number, None)
        else:
            held._pending.append(number)

    try:
        for number in held._formers:
            signal.signal(number, note)
        yield held
    finally:
        for number, former in held._formers.items():
            signal.signal(number, former)
    held.let_through()
