"""Charts drawn by processes of their own: the same pictures, and nothing left behind whatever happens to them."""

import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from cascade_sim.plots.drawing import pixels_of, png_of

linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere charts are drawn where they are asked for"
)

BEGIN = """
import os, signal, sys, time, warnings
import cascade_sim.plots.apart as apart
from cascade_sim.plots.catalogue import CHARTS, Chart
from cascade_sim.plots.drawing import draw_all
from cascade_sim.result import RunResult

# From here on: what libraries warn of among themselves as they are imported is not at issue.
warnings.simplefilter("error")

apart.processors = lambda: 2

def spoil(draw):
    CHARTS["who_paid"] = Chart("who_paid", draw, "spoilt")

def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False

result = RunResult()
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code after `BEGIN` in a process that may fork."""
    done = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done


@linux
def test_the_pictures_are_those_that_are_drawn_here_and_ctrl_c_does_not_reach_who_draws() -> None:
    run("""
with apart.Drawers() as drawers:
    drawers.start(result)
    children = list(drawers._children)
    assert len(children) == 2
    for child in children:
        os.kill(child, signal.SIGINT)
    found = drawers.pictures()
    assert drawers.pictures() is not found
here = draw_all(result)
assert list(found) == list(here)
assert found == here
assert all(map(gone, children))
""")


@linux
@pytest.mark.parametrize("end", ["raise ValueError", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_one_that_ends_without_an_answer_leaves_the_drawing_to_the_caller(end: str) -> None:
    run(f"""
def draw(result):
    {end}

spoil(draw)
with apart.Drawers() as drawers:
    drawers.start(result)
    assert drawers.pictures() is None
""")


@linux
def test_none_outlives_its_context_nor_its_patience() -> None:
    run("""
spoil(lambda result: time.sleep(100.0))
apart._PATIENCE_SECONDS = 0.5
with apart.Drawers() as drawers:
    drawers.start(result)
    children = list(drawers._children)
    assert drawers.pictures() is None
assert all(map(gone, children))
""")


@linux
def test_none_outlives_its_parent() -> None:
    done = run("""
spoil(lambda result: time.sleep(100.0))
drawers = apart.Drawers()
drawers.start(result)
print(*drawers._children, flush=True)
os._exit(0)
""")
    children = [int(word) for word in done.stdout.split()]
    assert len(children) == 2
    until = time.monotonic() + 30.0
    while any(os.path.exists(f"/proc/{child}") and not _is_zombie(child) for child in children):
        assert time.monotonic() < until, "a child draws on"
        time.sleep(0.05)


def _is_zombie(process: int) -> bool:
    """Whether it has ended and nobody has asked how; that of an orphan is up to the system."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@linux
def test_there_are_none_where_there_is_one_processor_or_no_room_for_a_process() -> None:
    run("""
apart.processors = lambda: 1
with apart.Drawers() as drawers:
    drawers.start(result)
    assert drawers.pictures() is None

def refuse():
    raise BlockingIOError(11, "Resource temporarily unavailable")

apart.processors, os.fork = lambda: 2, refuse
before = len(os.listdir("/proc/self/fd"))
with apart.Drawers() as drawers:
    drawers.start(result)
    assert drawers.pictures() is None
assert len(os.listdir("/proc/self/fd")) == before
""")


def test_a_figure_drawn_once_has_the_pixels_of_savefig() -> None:
    def figure() -> Figure:
        made = Figure(figsize=(4.0, 3.0), dpi=80, layout="constrained")
        axes = made.subplots(2, 1, sharex=True)
        axes[0].plot([0.0, 1.0, 2.0], [3.0, 1.0, 2.0], label="a long label of a line")
        axes[0].set_title("A title\nof two lines", loc="left")
        axes[1].bar([0, 1, 2], [1e6, 2e6, 5e5], hatch="xx")
        axes[1].set_ylabel("amounts, USD")
        made.legend(loc="outside lower center")
        return made

    saved = io.BytesIO()
    figure().savefig(saved, format="png")
    saved.seek(0)
    expected = np.round(imread(saved)[:, :, :3] * 255.0).astype(np.uint8)
    pixels = pixels_of(figure())
    assert np.array_equal(pixels, expected)
    packed = io.BytesIO(png_of(pixels, 80.0))
    assert np.array_equal(np.round(imread(packed) * 255.0).astype(np.uint8), expected)
