"""Inject every fault and print or write the table: ``python tests/faults/inject.py [--write FILE] [--only PATTERN]``."""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, os.fspath(Path(__file__).resolve().parents[1]))

from faults.bench import Bench, Unavailable, plain, work_of
from faults.rows import ROWS, Kit, Row

COLUMNS = ("fault", "moment", "status", "what was said, and what is there", "survived")
HEAD = """# Faults

What happens to `cascade-sim` when the machine does not play along: `python tests/faults/inject.py --write docs/faults.md`
injects each of these into a run in a process of its own, and checks that it ended with a documented status (or the signal),
said so in a few lines without a traceback, left nothing half-written under the name of a result, and that every result that is
there loads. Then a plain run has to work in the same folders, and leave none of what the faulty one could not tidy away.
`survived` is yes only if all of that held. [long_runs.md](long_runs.md) tells what is kept when a run stops.

"""


@contextmanager
def prepared() -> Iterator[tuple[Path, Path, Path, Kit]]:
    """Make what all rows share: compiled kernels, a home, and a result, with the time that it took."""
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # as in the background of a shell; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        root = Path(name)
        root.chmod(0o755)
        home, cache = root / "home", Path(os.environ.get("NUMBA_CACHE_DIR") or root / "cache")
        home.mkdir()
        saved = 0.0
        for number in range(2):  # the first compiles and looks for fonts
            bench = Bench(root / f"kit-{number}", cache, home)
            process = bench.start(bench.run_words(seed=2))
            while not bench.out.exists() and process.poll() is None:
                time.sleep(0.005)
            saved = work_of(process)
            done = bench.end(process)
            if done.status != 0:
                raise SystemExit(f"expected the small scenario to run, received {done.err}")
        yield root, cache, home, Kit(bench.out, saved)


def inject(number: int, shared: tuple[Path, Path, Path, Kit]) -> tuple[str, str, list[str]]:
    """Inject a fault; returns the status, what was said, and what did not hold, or that it cannot be done here."""
    root, cache, home, kit = shared
    row = ROWS[number]
    bench = Bench(root / f"row-{number}", cache, home)
    try:
        done = row.inject(bench, kit)
        faults = bench.check(done, killed=row.killed)
        if done.status not in row.statuses:
            faults.append(f"status {done.status}, expected one of {', '.join(map(str, row.statuses))}")
        faults += bench.check_next()
        lines = [line for line in done.err.splitlines() if not line.startswith("compiling")]
        return str(done.status), "; ".join(filter(None, [plain(" / ".join(lines), bench), done.note])), faults
    except Unavailable as reason:
        return "-", f"left out here: {reason}", []
    finally:
        bench.close()


def line_of(row: Row, status: str, said: str, faults: list[str]) -> str:
    """Return a row of the table."""
    survived = "-" if status == "-" else "no: " + "; ".join(faults) if faults else "yes"
    cells = (row.fault, row.moment, status, said, survived)
    return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"


def write(page: Path, lines: dict[tuple[str, str], str]) -> None:
    """Write the table; of rows that were not asked for this time, what the page says already stays."""
    known = {}
    for line in page.read_text(encoding="utf-8").splitlines() if page.exists() else ():
        cells = line.removeprefix("| ").split(" | ")
        if line.startswith("| ") and len(cells) == len(COLUMNS):
            known[cells[0], cells[1]] = line
    table = [(known | lines).get((row.fault, row.moment)) for row in ROWS]
    head = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    page.write_text(HEAD + "\n".join([*head, *filter(None, table)]) + "\n", encoding="utf-8")


def main() -> int:
    """Run the rows that were asked for; the status is 1 if one was not survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="Markdown file for the table")
    parser.add_argument(
        "--only", default="", help="rows in whose fault and moment this regular expression is found"
    )
    parser.add_argument("--warm", action="store_true", help="leave out rows that compile kernels")
    asked = parser.parse_args()
    lines: dict[tuple[str, str], str] = {}
    failed = 0
    with prepared() as shared:
        for number, row in enumerate(ROWS):
            if not re.search(asked.only, f"{row.fault}, {row.moment}") or (asked.warm and row.cold):
                continue
            status, said, faults = inject(number, shared)
            failed += bool(faults)
            lines[row.fault, row.moment] = line = line_of(row, status, said, faults)
            print(line, flush=True)
            if asked.write is not None:
                write(asked.write, lines)
    count = len(lines)
    print(f"{count - failed} of {count} rows survived or left out", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    shutil.which("sh") or sys.exit("needs a POSIX shell")
    sys.exit(main())
