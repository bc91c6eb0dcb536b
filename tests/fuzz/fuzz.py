"""Random scenarios by the hundred: no crash, no lost run, no broken invariant.

Usage: python tests/fuzz/fuzz.py [--cases 2000] [--first 0] [--seconds 300] [--log fuzz.log]

Every case is written to the log, as the command that runs it again, before it starts; run that command in
``tests/fuzz``, where the agents of some cases are. A last line tells how many ended how; the exit status is 1 if any
case failed. With ``NUMBA_BOUNDSCHECK=1`` kernels check every index.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
FIRST_CASE_SECONDS = 600.0
"""Limit of the first case of a worker, which imports and may have to compile; later ones compile other drivers."""


@dataclass(frozen=True)
class Outcome:
    """How a case ended: ``finished``, ``stopped`` or ``refused``; ``failed``, ``crashed`` or ``hung``."""

    outcome: str
    detail: str
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether that is how a case may end."""
        return self.outcome in ("finished", "stopped", "refused")


class Worker:
    """A process that runs cases; a new one takes the place of one that died or hung."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.process: subprocess.Popen[str] | None = None

    def run(self, case: str) -> Outcome:
        """Run a case, a line of JSON."""
        limit = self.seconds
        if self.process is None:
            self.process, limit = self._start(), FIRST_CASE_SECONDS
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(case + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], limit)
        answer = process.stdout.readline() if ready else ""
        if answer:
            return Outcome(**json.loads(answer))
        self.close()
        if ready:
            return Outcome("crashed", f"the worker ended with status {process.returncode}")
        return Outcome("hung", f"no end within {limit:g} s", limit)

    def _start(self) -> subprocess.Popen[str]:
        search = [
            str(HERE),
            str(HERE.parents[1]),
            str(HERE.parent / "unit"),
            os.environ.get("PYTHONPATH", ""),
        ]
        return subprocess.Popen(
            [sys.executable, "-X", "faulthandler", str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))},
        )

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def fuzz(numbers: Iterable[int], log: IO[str], seconds: float = 300.0) -> tuple[Counter[str], list[str]]:
    """Run the cases of some numbers; returns how many ended how, and a text about each that failed."""
    from cases import random_case

    counts: Counter[str] = Counter()
    failures = []
    worker = Worker(seconds)
    try:
        for number in numbers:
            case = random_case(number)
            print(f"{number}: {case.line}", file=log, flush=True)
            outcome = worker.run(case.as_json())
            counts[outcome.outcome] += 1
            print(f"    {outcome.outcome} {outcome.seconds:g} s {outcome.detail}", file=log, flush=True)
            if not outcome.is_sound:
                failures.append(f"case {number} {outcome.outcome}: {outcome.detail}\n  {case.line}")
    finally:
        worker.close()
    return counts, failures


def main(arguments: list[str] | None = None) -> int:
    """Run as many cases as asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=300.0, help="longest time of one case")
    parser.add_argument("--log", type=Path, default=Path("fuzz.log"))
    options = parser.parse_args(arguments)
    sys.path.insert(0, str(HERE))
    with options.log.open("w", encoding="utf-8") as log:
        counts, failures = fuzz(range(options.first, options.first + options.cases), log, options.seconds)
    summary: dict[str, Any] = dict(sorted(counts.items()))
    print("\n".join([*failures, f"{options.cases} cases: {summary}; log in {options.log}"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
