"""The faults, a row each: what is injected, when, and what has to hold afterwards."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.bench import (
    PROGRAM,
    SMALL,
    Bench,
    Done,
    Unavailable,
    kill_when,
    limited,
    manifest_of,
    words_of,
    work_of,
)

from cascade_sim.temporaries import is_marked

SPILLING = [
    *PROGRAM[:2],
    "-c",
    "import cascade_sim.recorder.recorder as r; r.MEMORY_BYTES = 1000; from cascade_sim.cli import entry; entry()",
]
"""The program as in a long run: its records go to disk almost at once."""


@dataclass(frozen=True)
class Kit:
    """What is made once for all rows.

    Attributes
    ----------
    result
        A result folder with charts, of seed 2.
    saved_after
        Seconds of work after which a run of the small scenario has saved what it recorded.
    """

    result: Path
    saved_after: float


@dataclass(frozen=True)
class Row:
    """A fault.

    Attributes
    ----------
    fault, moment
        What and when, in words.
    inject
        Does it; returns the end of the process, with a note.
    killed
        Whether a signal may be the status, and hidden folders may be left until the next run.
    statuses
        Those that are right.
    cold
        Whether kernels are compiled, which takes half a minute of processor time.
    """

    fault: str
    moment: str
    inject: Callable[[Bench, Kit], Done]
    killed: bool = False
    statuses: tuple[int, ...] = (0,)
    cold: bool = False


ROWS: list[Row] = []


def row(
    fault: str, moment: str, **more: Any
) -> Callable[[Callable[[Bench, Kit], Done]], Callable[[Bench, Kit], Done]]:
    """Enter a fault into the list."""

    def enter(inject: Callable[[Bench, Kit], Done]) -> Callable[[Bench, Kit], Done]:
        ROWS.append(Row(fault, moment, inject, **more))
        return inject

    return enter


def _what_is_there(bench: Bench) -> str:
    manifest = manifest_of(bench.out)
    elsewhere = [*bench.temporary.glob("cascade_sim-result-*/*"), *bench.here.glob("cascade_sim-result-*/*")]
    if not manifest and elsewhere:
        manifest = manifest_of(elsewhere[0])
    which = {1: "new result", 2: "earlier result"}.get(int(manifest.get("seed", 0)), "no result")
    stopped = " of a stopped run" if manifest.get("status") == "stopped" else ""
    missing = manifest.get("missing")
    which += " elsewhere" if elsewhere else ""
    return which + stopped + (f" without {' and '.join(missing)}" if missing else "")


def _unfinished_table(bench: Bench) -> bool:
    with suppress(OSError):  # it may go while it is looked at
        return any(
            is_marked(entry.name) and any(entry.glob("*.parquet")) for entry in bench.results.iterdir()
        )
    return False


def _missing(bench: Bench) -> list[str] | None:
    manifest = manifest_of(bench.out)
    return list(manifest.get("missing", ())) if manifest.get("seed") == 1 else None


def _signalled(number: signal.Signals, moment: str, reached: Callable[[Bench, Kit, float], bool]) -> None:
    # Before Python has begun with the program, a signal has the effect that the system gives it.
    statuses = (-number,) if number == signal.SIGKILL else (-number, 130)

    @row(number.name, moment, killed=True, statuses=statuses)
    def _(bench: Bench, kit: Kit) -> Done:
        shutil.copytree(kit.result, bench.out)
        process = bench.start(bench.run_words())
        sent = kill_when(process, number, lambda: reached(bench, kit, work_of(process)))
        done = bench.end(process)
        done.note = _what_is_there(bench) if sent else "the moment was missed"
        return done


for _number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
    _signalled(_number, "start", lambda _bench, _kit, seconds: seconds > 0.02)
    for _share in (0.2, 0.4, 0.6, 0.8, 0.95):
        _signalled(
            _number,
            f"{_share:.0%} of the work until it is saved",
            lambda _bench, kit, seconds, share=_share: seconds > share * kit.saved_after,
        )
    _signalled(_number, "while tables are saved", lambda bench, _kit, _seconds: _unfinished_table(bench))
    _signalled(_number, "impact probe", lambda bench, _kit, _seconds: _missing(bench) is not None)
    _signalled(_number, "charts", lambda bench, _kit, _seconds: _missing(bench) == ["charts"])

    @row(_number.name, "compilation", killed=True, statuses=(-_number, 130), cold=True)
    def _(bench: Bench, _kit: Kit, number: signal.Signals = _number) -> Done:
        bench.changes["NUMBA_CACHE_DIR"] = os.fspath(bench.root / "cache")
        process = bench.start(bench.run_words("--no-charts"))
        process.stderr.readline()  # that it compiles
        time.sleep(5.0)
        process.send_signal(number)
        return bench.end(process)


@row("SIGINT twice", "while tables are saved", killed=True, statuses=(130,))
def _(bench: Bench, kit: Kit) -> Done:
    shutil.copytree(kit.result, bench.out)
    process = bench.start(bench.run_words())
    kill_when(process, signal.SIGINT, lambda: _unfinished_table(bench))
    time.sleep(0.005)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    done = bench.end(process)
    done.note = _what_is_there(bench)
    return done


def _full(where: str, size: str, statuses: tuple[int, ...], charts: bool = True) -> None:
    @row(f"full disk at {where}", f"{size} of room", statuses=statuses)
    def _(bench: Bench, _kit: Kit) -> Done:
        for name in where.split(" and "):
            bench.mount({"the output": bench.results, "TMPDIR": bench.temporary}[name], f"size={size}")
        done = bench.run(*[] if charts else ["--no-charts"])
        bench.mend("size=64m")
        done.note = _what_is_there(bench)
        return done


_full("the output", "8k", (1, 2))
_full("the output", "200k", (1,))
_full("the output", "600k", (1,))
_full("the output and TMPDIR", "100k", (1,))


def _limited_files(size: int, statuses: tuple[int, ...]) -> None:
    @row("no file above a size", f"{size // 1024} KiB", statuses=statuses)
    def _(bench: Bench, _kit: Kit) -> Done:
        done = bench.run(preexec_fn=limited(size))
        done.note = _what_is_there(bench)
        return done


for _size in (1 << 10, 30 << 10, 90 << 10, 300 << 10):
    _limited_files(_size, (1,))


def _spool(size: str) -> None:
    @row("full disk at the spool of a long run", f"{size} of room", statuses=(0, 1))
    def _(bench: Bench, _kit: Kit) -> Done:
        bench.mount(bench.temporary, f"size={size}")
        done = bench.run("--no-charts", program=SPILLING)
        done.note = _what_is_there(bench)
        return done


for _room in ("4k", "40k", "300k"):
    _spool(_room)


@row("no file above a size at the spool of a long run", "110 KiB", statuses=(0, 1))
def _(bench: Bench, _kit: Kit) -> Done:
    done = bench.run("--no-charts", program=SPILLING, preexec_fn=limited(110 << 10))
    done.note = _what_is_there(bench)
    return done


@row("full disk at the cache", "first run", statuses=(0,), cold=True)
def _(bench: Bench, _kit: Kit) -> Done:
    cache = bench.root / "cache"
    bench.mount(cache, "size=300k")
    bench.changes["NUMBA_CACHE_DIR"] = os.fspath(cache)
    done = bench.run("--no-charts")
    bench.changes.clear()
    return done


@row("no file above a size at the cache", "first run, 40 KiB", statuses=(0, 1), cold=True)
def _(bench: Bench, _kit: Kit) -> Done:
    bench.changes["NUMBA_CACHE_DIR"] = os.fspath(bench.root / "cache")
    done = bench.run("--no-charts", preexec_fn=limited(40 << 10))
    bench.changes.clear()
    return done


@row("two first runs at once", "both compile", cold=True)
def _(bench: Bench, _kit: Kit) -> Done:
    bench.changes["NUMBA_CACHE_DIR"] = os.fspath(bench.root / "cache")
    other = bench.start(bench.run_words("--no-charts", out=bench.results / "other"))
    done = bench.run("--no-charts")
    second = bench.end(other)
    return done if done.status else second


@row("two runs into one folder", "at once")
def _(bench: Bench, _kit: Kit) -> Done:
    other = bench.start(bench.run_words("--no-charts"))
    done = bench.run("--no-charts")
    second = bench.end(other)
    return done if done.status else second


def _damaged_cache(what: str, damage: Callable[[Path], object]) -> None:
    @row("damaged cache", what)
    def _(bench: Bench, _kit: Kit) -> Done:
        cache = bench.root / "cache"
        shutil.copytree(bench.cache, cache)
        bench.changes["NUMBA_CACHE_DIR"] = os.fspath(cache)
        # The smallest of them, so that little has to be compiled anew; every run loads it.
        victims = sorted(cache.rglob("*.nbc"), key=lambda path: path.stat().st_size)[:2]
        assert len(victims) == 2, "the injector found no machine code to damage"
        for victim in victims:
            damage(victim)
        return bench.run("--no-charts")


def _in_its_place(victim: Path, put: Callable[[Path], object]) -> None:
    victim.unlink()
    put(victim)


_damaged_cache("machine code of no length", lambda victim: victim.write_bytes(b""))
_damaged_cache(
    "machine code cut in half",
    lambda victim: victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2]),
)
_damaged_cache(
    "machine code of garbage",
    lambda victim: victim.write_bytes(b"\x80\x05garbage" * (victim.stat().st_size // 9)),
)
_damaged_cache(
    "one bit of machine code turned",
    lambda victim: victim.write_bytes(victim.read_bytes()[:-1] + bytes([victim.read_bytes()[-1] ^ 1])),
)
_damaged_cache(
    "a folder in the place of machine code", lambda victim: _in_its_place(victim, lambda path: path.mkdir())
)
_damaged_cache(
    "a link to nowhere in the place of machine code",
    lambda victim: _in_its_place(victim, lambda path: path.symlink_to(path.parent / "nowhere")),
)


@row("read-only folder", "the one that holds the output", statuses=(2,))
def _(bench: Bench, _kit: Kit) -> Done:
    bench.lock(bench.results)
    done = bench.run()
    bench.unlock(bench.results)
    return done


@row("read-only folder", "an earlier result", statuses=(2,))
def _(bench: Bench, kit: Kit) -> Done:
    if os.getuid() != 0:
        raise Unavailable("a user may replace a folder of his own")
    bench.lock(bench.out, kit.result)
    done = bench.run("--no-charts")
    bench.unlock(bench.out)
    done.note = _what_is_there(bench)
    return done


@row("read-only folder", "the one it stands in, without --out", statuses=(2,))
def _(bench: Bench, _kit: Kit) -> Done:
    bench.lock(bench.here)
    done = bench.end(bench.start(["run", *words_of(SMALL)]))
    bench.unlock(bench.here)
    return done


@row("read-only folder", "for temporary files")
def _(bench: Bench, _kit: Kit) -> Done:
    bench.lock(bench.temporary)
    done = bench.run(program=SPILLING)
    bench.unlock(bench.temporary)
    done.note = _what_is_there(bench)
    return done


def _home(moment: str, prepare: Callable[[Bench], str | None], *, cold: bool = False) -> None:
    @row("home", moment, cold=cold)
    def _(bench: Bench, _kit: Kit) -> Done:
        bench.changes["HOME"] = prepare(bench)
        if cold:
            bench.changes["NUMBA_CACHE_DIR"] = None
        done = bench.run()
        bench.changes.clear()
        done.note = _what_is_there(bench)
        return done


def _locked_home(bench: Bench) -> str:
    bench.lock(bench.root / "home")
    return os.fspath(bench.root / "home")


_home("not named", lambda _bench: None)
_home("read-only", _locked_home)
_home("does not exist", lambda bench: os.fspath(bench.root / "nowhere" / "at all"))
_home("read-only, and no other place for the cache", _locked_home, cold=True)


@row("TMPDIR", "does not exist")
def _(bench: Bench, _kit: Kit) -> Done:
    bench.changes["TMPDIR"] = os.fspath(bench.root / "nowhere")
    return bench.run("--no-charts")


@row("working directory", "removed as the run begins")
def _(bench: Bench, _kit: Kit) -> Done:
    (bench.root / "gone").mkdir()
    process = bench.start(bench.run_words(), cwd=bench.root / "gone")
    (bench.root / "gone").rmdir()
    return bench.end(process)


def _streams(what: str, redirection: str, status: int) -> None:
    @row(what, "from the start", statuses=(status,))
    def _(bench: Bench, _kit: Kit) -> Done:
        if "/dev/full" in redirection and not Path("/dev/full").exists():
            raise Unavailable("needs a device that is always full")
        done = bench.run("--no-charts", program=["sh", "-c", f'exec "$@" {redirection}', "sh", *PROGRAM])
        done.note = _what_is_there(bench)
        return done


_streams("standard output closed", ">&-", 1)
_streams("standard error closed", "2>&-", 0)
_streams("both closed", ">&- 2>&-", 1)
_streams("all three closed", "<&- >&- 2>&-", 1)
_streams("standard output full", ">/dev/full", 1)
_streams("standard error full", "2>/dev/full", 0)


@row("nobody reads standard output", "from the start", statuses=(1,))
def _(bench: Bench, _kit: Kit) -> Done:
    reading, writing = os.pipe()
    os.close(reading)
    done = bench.run("--no-charts", stdout=writing)
    os.close(writing)
    done.note = _what_is_there(bench)
    return done


@row("letters that neither font nor encoding has", "output, charts and page")
def _(bench: Bench, _kit: Kit) -> Done:
    bench.changes |= {"PYTHONIOENCODING": "ascii", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = bench.run(*words_of(["title='~ $x_{$ \"'", "market.quote='~$'", r"market.base='$\frac$'"]))
    if done.status == 0:
        file = bench.here / "strange.yaml"
        title = "'\u00dc \u6f22\u5b57 $x_{$'"
        market = "{quote: '\u20ac$', base: \u6f22}"
        file.write_text(f"base: gamma_shock\ntitle: {title}\nmarket: {market}\n", "utf-8")
        words = ["run", os.fspath(file), "--out", os.fspath(bench.out), "--overwrite", *words_of(SMALL)]
        done = bench.end(bench.start(words))
        file.unlink()
    return done


NOISY = '''
import ctypes, os, sys
from dataclasses import dataclass
import numpy as np
print("imported")
os.write(1, b"written\\n")
ctypes.CDLL(None).printf(b"from C, buffered until the end\\n")
import atexit
atexit.register(print, "at the end")


@dataclass(frozen=True)
class Noisy:
    """Prints wherever it can."""

    def score(self, accounts):
        print("asked")
        sys.stdout.write("once more\\n")
        return np.asarray(accounts.margin_ratio)
'''


@row("a rule that prints", "with --json", statuses=(0,))
def _(bench: Bench, _kit: Kit) -> Done:
    (bench.here / "noisy.py").write_text(NOISY)
    done = bench.run("--no-charts", "--json", "--set", "clearing.priority.name=noisy:Noisy")
    (bench.here / "noisy.py").unlink()
    json.loads(done.out)
    missing = [text for text in ("imported", "written", "from C", "at the end") if text not in done.err]
    return Done(done.status, done.out, "", f"one object; on standard error the rest{' but ' * bool(missing)}")


@row("a stranger's file named like a library", "report, in its folder")
def _(bench: Bench, kit: Kit) -> Done:
    shutil.copytree(kit.result, bench.out)
    for name in ("json", "pandas", "cascade_rules", "matplotlib", "yaml"):
        (bench.here / f"{name}.py").write_text("open('it_ran', 'w')\n")
    plain_program = [PROGRAM[0], "-m", "cascade_sim"]
    done = bench.end(bench.start(["report", os.fspath(bench.out)], program=plain_program))
    for file in bench.here.glob("*.py"):
        file.unlink()
    return done


def _damaged_result(what: str, damage: Callable[[Path], Any], status: int = 2) -> None:
    @row("damaged result folder", what, statuses=(status,))
    def _(bench: Bench, kit: Kit) -> Done:
        folder = bench.here / "damaged"
        shutil.copytree(kit.result, folder)
        damage(folder)
        done = bench.end(bench.start(["report", os.fspath(folder)]))
        shutil.rmtree(folder)
        return done


def _half(name: str) -> Callable[[Path], Any]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return cut


_damaged_result("a table cut in half", _half("trades.parquet"))
_damaged_result("a table of no length", lambda folder: (folder / "series.parquet").write_bytes(b""))
_damaged_result("a table missing", lambda folder: (folder / "events.parquet").unlink())
_damaged_result("a table of another name", lambda f: (f / "depth.parquet").replace(f / "trades.parquet"))
_damaged_result("no summary", lambda folder: (folder / "summary.json").unlink())
_damaged_result("a summary cut in half", _half("summary.json"))
_damaged_result("a summary of garbage", lambda f: (f / "summary.json").write_bytes(b"\xff\x00" * 999))
_damaged_result("a summary that is a list", lambda folder: (folder / "summary.json").write_text("[1]"))
_damaged_result("no manifest", lambda folder: (folder / "manifest.json").unlink())
_damaged_result("a manifest of garbage", lambda f: (f / "manifest.json").write_bytes(b"{" * 99_999))
_damaged_result("a scenario cut in half", _half("scenario.yaml"))
_damaged_result(
    "a page that is a folder", lambda f: ((f / "report.html").unlink(), (f / "report.html").mkdir())
)
_damaged_result("charts that are a file", lambda f: (shutil.rmtree(f / "charts"), (f / "charts").touch()))
_damaged_result(
    "no charts and no page", lambda f: ((f / "report.html").unlink(), shutil.rmtree(f / "charts")), 0
)
