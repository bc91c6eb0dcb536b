"""What faults are injected into: the program in a process of its own, with folders of its own, and what is checked after."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade_sim.result import load_result
from cascade_sim.temporaries import is_marked

PROGRAM = [sys.executable, "-P", "-m", "cascade_sim"]
LIMIT_SECONDS = 400.0
MOST_LINES = 4
DOCUMENTED = frozenset((0, 1, 2, 130))
SMALL = [
    "run.steps=90",
    "run.burn_in_steps=20",
    "traders.count=200",
    "traders.open_interest=20000",
    "shock.at_seconds=20",
    "shock.duration_seconds=20",
]


class Unavailable(Exception):  # noqa: N818 - it is no error: the row says why it was left out
    """A fault cannot be injected here."""


def words_of(changes: Sequence[str]) -> list[str]:
    """Return the words that override fields on a command line."""
    return [word for change in changes for word in ("--set", change)]


@dataclass
class Done:
    """A process that has ended.

    Attributes
    ----------
    status
        As of `subprocess`: minus the signal where one ended it.
    out, err
        What it wrote.
    note
        What the injector knows of the moment.
    """

    status: int
    out: str
    err: str
    note: str = ""


@dataclass
class Bench:
    """Folders for one fault and the environment of the processes that meet it.

    Attributes
    ----------
    root
        Everything is below; made anew.
    cache
        Compiled kernels that are ready to use.
    home
        A home in which everything has been set up.
    """

    root: Path
    cache: Path
    home: Path
    changes: dict[str, str | None] = field(default_factory=dict)
    mounts: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folders."""
        for folder in (self.here, self.temporary, self.results):
            folder.mkdir(parents=True)

    @property
    def here(self) -> Path:
        """Working directory of the processes."""
        return self.root / "here"

    @property
    def temporary(self) -> Path:
        """Their folder for temporary files."""
        return self.root / "temporary"

    @property
    def results(self) -> Path:
        """Folder that holds result folders."""
        return self.root / "results"

    @property
    def out(self) -> Path:
        """Result folder of the run that meets the fault."""
        return self.results / "run"

    def environment(self) -> dict[str, str]:
        """Return what processes see of the world."""
        own: dict[str, str | None] = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.fspath(self.home),
            "TMPDIR": os.fspath(self.temporary),
            "NUMBA_CACHE_DIR": os.fspath(self.cache),
            "PYTHONPATH": os.fspath(Path(__file__).resolve().parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LANG": "C.UTF-8",
            **self.changes,
        }
        return {name: value for name, value in own.items() if value is not None}

    def start(self, words: Sequence[str], *, program: Sequence[str] = PROGRAM, **more: Any) -> Any:
        """Start the program."""
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        given = {"cwd": self.here, "env": self.environment(), **piped, **more}
        process: Any = subprocess.Popen([*program, *words], **given)
        process.begun = time.monotonic()
        return process

    def end(self, process: Any) -> Done:
        """Wait for a process; one that does not end is a fault of its own."""
        try:
            out, err = process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return Done(-99, "", f"no end within {LIMIT_SECONDS:.0f} s")
        return Done(process.returncode, (out or b"").decode(), (err or b"").decode())

    def run(self, *more: str, seed: int = 1, out: Path | None = None, **options: Any) -> Done:
        """Run the small scenario to its end."""
        return self.end(self.start(self.run_words(*more, seed=seed, out=out), **options))

    def run_words(self, *more: str, seed: int = 1, out: Path | None = None) -> list[str]:
        """Return the words of a run of the small scenario."""
        target = os.fspath(self.out if out is None else out)
        return ["run", "--seed", str(seed), "--out", target, "--overwrite", *words_of(SMALL), *more]

    def mount(self, folder: Path, options: str) -> None:
        """Put a file system of its own in place of a folder, or say that this is not possible here."""
        folder.mkdir(parents=True, exist_ok=True)
        if sys.platform != "linux" or os.getuid() != 0:
            raise Unavailable("needs the right to mount")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", os.fspath(folder)],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise Unavailable("needs the right to mount")
        self.mounts.append(folder)

    def mend(self, options: str) -> None:
        """Change the file systems that were put in place of folders."""
        for folder in self.mounts:
            subprocess.run(["mount", "-o", f"remount,{options}", os.fspath(folder)], check=True)

    def lock(self, folder: Path, content: Path | None = None) -> None:
        """Make a folder read-only, also for the superuser; first with a copy of something in it."""
        if os.getuid() == 0:
            self.mount(folder, "size=64m")
        folder.mkdir(parents=True, exist_ok=True)
        if content is not None:
            shutil.copytree(content, folder, dirs_exist_ok=True)
        if os.getuid() == 0:
            self.mend("ro")
        else:
            folder.chmod(0o555)

    def unlock(self, folder: Path) -> None:
        """Undo `lock`; the content stays."""
        if os.getuid() == 0:
            self.mend("rw")
        else:
            folder.chmod(0o755)

    def close(self) -> None:
        """Take the file systems away, and the folders."""
        for folder in self.mounts:
            subprocess.run(["umount", os.fspath(folder)], capture_output=True, check=False)
        self.mounts.clear()
        shutil.rmtree(self.root, ignore_errors=True)

    def check(self, done: Done, *, killed: bool = False) -> list[str]:
        """Return what is wrong after a fault: the status, what was said, what lies in the folder of results."""
        faults = []
        if done.status not in DOCUMENTED and not (killed and done.status < 0 and done.status != -99):
            faults.append(f"status {done.status}")
        if "Traceback" in done.err or "Error:" in done.err.replace("OSError:", ""):
            faults.append("a traceback")
        if len(done.err.splitlines()) > MOST_LINES:
            faults.append(f"{len(done.err.splitlines())} lines")
        return faults + self.check_results(left_by_dead=killed)

    def check_results(self, *, left_by_dead: bool = False) -> list[str]:
        """Return what is wrong with the result folders."""
        faults = []
        for folder in (self.results, self.temporary, self.here):
            for entry in folder.iterdir():
                if is_marked(entry.name):
                    if not left_by_dead:
                        faults.append(f"left {entry.name.split('-')[1]} in {folder.name}")
                elif folder == self.results:
                    faults += self.check_result(entry)
                elif entry.name.startswith("cascade_sim-result-"):
                    faults += [fault for kept in entry.iterdir() for fault in self.check_result(kept)]
                elif entry.name != "results":
                    faults.append(f"left {entry.name} in {folder.name}")
        return faults

    def check_result(self, folder: Path) -> list[str]:
        """Return what is wrong with one result folder."""
        try:
            result = load_result(folder)
        except Exception as error:  # whatever it is, the row has to say it
            return [f"{folder.name} does not load: {error}"]
        hidden = [path.name for path in folder.rglob(".*")]
        return [f"left {hidden[0]} in a result"] if hidden else [] if result.summary else ["an empty summary"]

    def check_next(self) -> list[str]:
        """Return what is wrong with a plain run after the fault, and with what then is left of it."""
        done = self.run("--no-charts", "--set", "liquidity.count=0", seed=3, out=self.results / "next")
        if done.status != 0:
            return [f"the next run: status {done.status}, {done.err.strip()[-200:]}"]
        return [f"after the next run: {fault}" for fault in self.check_results()]


def limited(size: int) -> Callable[[], None]:
    """Return what sets the size that a file may have, in the process about to start."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def kill_when(process: Any, number: signal.Signals, reached: Callable[[], bool]) -> bool:
    """Send a signal when something can be seen from outside; false if the process ended before."""
    end = time.monotonic() + LIMIT_SECONDS
    while not reached():
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(0.001)
    process.send_signal(number)
    return True


def work_of(process: Any) -> float:
    """Return the processor time that a process has taken, in seconds, or what has passed where that is not known.

    How far a run has come depends on its own work; what else the machine does would move the moment.
    """
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic() - process.begun
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def plain(text: str, bench: Bench) -> str:
    """Return a message without the paths of this machine, short enough for a table."""
    project = Path(__file__).resolve().parents[2]
    for place, name in ((bench.root, "..."), (bench.home, "~"), (bench.cache, "CACHE"), (project, "PROJECT")):
        text = text.replace(os.fspath(place), name)
    text = re.sub(r"cascade_sim-result-\w+", "cascade_sim-result-*", text)
    return text if len(text) <= 170 else text[:167] + "..."


def manifest_of(folder: Path) -> Mapping[str, Any]:
    """Return the manifest of a result, empty while there is none."""
    try:
        found: Mapping[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found
