"""Ctrl-C and SIGTERM, which counts as one: quiet before the program is there, remembered while a command runs."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []


def end_at_once(_number: int, _frame: object) -> None:
    """End a program that has nothing to lose: while it is imported, an exception would be a traceback or be swallowed."""
    with suppress(OSError):
        os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def end_quietly_until_ready() -> None:
    """Answer Ctrl-C and SIGTERM with one line from the start of the program on."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end_at_once)


@contextmanager
def remembered() -> Iterator[None]:
    """Note every Ctrl-C: callbacks of the kernel compiler swallow the exception, and the run would go on."""
    forget()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = (signal.SIG_DFL, signal.default_int_handler, end_at_once)
    formers = {number: signal.getsignal(number) for number in SIGNALS}
    formers = {number: former for number, former in formers.items() if former in ours}

    def note(number: int, _frame: object) -> None:
        _received.append(number)
        raise KeyboardInterrupt

    unraisable = sys.unraisablehook

    def tell(unraised: Any) -> None:
        # One that was swallowed is remembered here and needs no traceback.
        if not issubclass(unraised.exc_type, KeyboardInterrupt):
            unraisable(unraised)

    sys.unraisablehook = tell
    for number in formers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, former in formers.items():
            signal.signal(number, former)
        sys.unraisablehook = unraisable


def stop_if_received() -> None:
    """Raise the interrupt that somebody swallowed."""
    if _received:
        raise KeyboardInterrupt


def forget() -> None:
    """Take what has been received as answered."""
    _received.clear()
