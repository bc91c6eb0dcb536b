"""Ctrl-C during a run: held back until the records agree with the accounts."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_back(has_begun: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Note the first Ctrl-C instead of raising it wherever the program happens to be.

    Parameters
    ----------
    has_begun : callable
        Whether there is anything to lose; before that, and from the second time on, Ctrl-C has its usual effect.

    Yields
    ------
    callable
        To be called where the run may stop: lets a noted Ctrl-C have its usual effect. Outside the main thread, and
        where no handler of Python's is in place, nothing is held back and it does nothing.
    """
    former = signal.getsignal(signal.SIGINT)
    if not callable(former) or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    handle = former
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted or not has_begun():
            handle(number, None)
        noted.append(number)

    def let_through() -> None:
        if noted:
            handle(noted.pop(), None)

    signal.signal(signal.SIGINT, note)
    try:
        yield let_through
    finally:
        signal.signal(signal.SIGINT, former)
