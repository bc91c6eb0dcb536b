"""Charts drawn by processes of their own, forked from the one that has the result, while that one goes on.

Nothing depends on them: where there is none, or one ends without an answer, the caller draws for itself and comes to the
same pictures. They write nothing but their answer, the terminal's Ctrl-C does not reach them, and they end when
whoever started them ends.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from cascade_sim.plots.picture import Picture
from cascade_sim.result import RunResult

_MOST = 4
_PATIENCE_SECONDS = 120.0
"""How long an answer may take; charts take a second, and of a machine that is so slow the caller is a part as well."""


def processors() -> int:
    """Processors that this process may use, 1 where it cannot fork safely."""
    if not sys.platform.startswith("linux"):
        return 1
    return len(os.sched_getaffinity(0))


class Drawers:
    """The processes that draw; a context, at whose end there are none."""

    def __init__(self) -> None:
        self._children: dict[int, int] = {}
        self._alive = -1

    def __enter__(self) -> Self:
        """Begin without any."""
        return self

    def __exit__(self, *_: object) -> None:
        """End them, whatever they are doing."""
        for process, answer in self._children.items():
            with suppress(OSError):
                os.close(answer)
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
        self._children = {}
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def start(self, result: RunResult) -> None:
        """Have the charts of a result drawn, and go on.

        Parameters
        ----------
        result
            With its tables in memory: an open file has one position for all who share it.
        """
        if result.is_on_disk or processors() < 2:
            return
        from cascade_sim.plots.catalogue import CHARTS

        names = list(CHARTS)
        with suppress(OSError):
            # Whoever is done takes the next number from the pipe; when the other end of ``watched`` closes, it is over.
            numbers, given = os.pipe()
            watched, self._alive = os.pipe()
            os.write(given, bytes(range(len(names))))
            os.close(given)
            try:
                for _ in range(min(processors(), len(names), _MOST)):
                    self._fork(result, names, numbers, watched)
            finally:
                os.close(numbers)
                os.close(watched)

    def _fork(self, result: RunResult, names: list[str], numbers: int, watched: int) -> None:
        answer, own = os.pipe()
        try:
            with _signals_kept_waiting(), warnings.catch_warnings():
                # Python warns of other threads, whose locks a child would wait for; those here are numpy's idle workers.
                warnings.simplefilter("ignore", DeprecationWarning)
                process = os.fork()
                if process == 0:
                    _live(result, names, numbers, watched, own, [answer, self._alive])
        except OSError:
            os.close(answer)
            raise
        finally:
            os.close(own)
        self._children[process] = answer

    def pictures(self) -> dict[str, Picture] | None:
        """Wait for the charts, in the order of the catalogue; None where they have to be drawn here."""
        if not self._children:
            return None
        from cascade_sim.plots.catalogue import CHARTS

        drawn: dict[str, Picture] = {}
        until = time.monotonic() + _PATIENCE_SECONDS
        for answer in self._children.values():
            content = _read_to_the_end(answer, until)
            if not content:
                return None
            # It comes from a process that was forked here, through a pipe that nobody else holds.
            drawn |= {name: Picture(*fields) for name, fields in pickle.loads(content).items()}
        return {name: drawn[name] for name in CHARTS} if drawn.keys() == CHARTS.keys() else None


def _live(
    result: RunResult, names: list[str], numbers: int, watched: int, answer: int, foreign: list[int]
) -> None:
    """Be a child: draw what is left to draw, answer, and end without a trace of what the parent would do at its end."""
    status = 1
    try:
        for number in foreign:
            os.close(number)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        nowhere = os.open(os.devnull, os.O_RDWR)
        for standard in range(3):
            os.dup2(nowhere, standard)
        threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
        from cascade_sim.plots.drawing import draw

        pictures = draw(result, (names[number[0]] for number in iter(lambda: os.read(numbers, 1), b"")))
        content = pickle.dumps(
            {name: (each.png, each.message, each.caption) for name, each in pictures.items()}
        )
        with open(answer, "wb") as stream:
            stream.write(content)
        status = 0
    finally:
        # Whatever was raised, the parent meets again when it draws for itself.
        os._exit(status)


def _end_with(watched: int) -> None:
    """End this process when the parent is gone."""
    os.read(watched, 1)
    os._exit(1)


def _read_to_the_end(stream: int, until: float) -> bytes:
    """Read what a child writes; nothing if it takes too long."""
    content = bytearray()
    while select.select([stream], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(stream, 1 << 20)
        if not piece:
            return bytes(content)
        content += piece
    return b""


@contextmanager
def _signals_kept_waiting() -> Iterator[None]:
    """Let signals wait, so that none meets a child that still has the parent's answer to it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
