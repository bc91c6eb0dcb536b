"""Compare warm ``cascade-sim run`` of two source trees, taking turns; or say where the time of one goes.

    python benchmarks/compare_warm.py OTHER_TREE [--pairs 7] [--options=--no-charts]
    python benchmarks/compare_warm.py --stages

Both trees run in this interpreter with its libraries, each with a kernel cache of its own that a first run fills.
``processor`` is the time of all processes of a run together; on a machine that does nothing else ``wall`` is what a user waits.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

_STAGES = """
import json, sys, tempfile, time
from pathlib import Path

spent, last = {}, [time.process_time(), time.perf_counter()]

def mark(name):
    now = [time.process_time(), time.perf_counter()]
    spent[name] = [round(1000.0 * (b - a)) for a, b in zip(last, now)]
    last[:] = now

import numpy
mark("import numpy")
import typer, pydantic, yaml
mark("import typer, pydantic, yaml")
import cascade_sim.cli.program
from cascade_sim.scenario import load_scenario
scenario = load_scenario("gamma_shock")
mark("scenario")
import pandas, pyarrow.parquet
mark("import pandas, pyarrow")
import numba
mark("import numba")
import cascade_sim.lab.single as single
mark("import of the package")
from cascade_sim.model import build, check_inputs
check_inputs(scenario)
model = build(scenario, rng=0)
mark("world, first kernels")
model.run()
mark("engine")
result = single._result(model)
mark("tables and summary")
with tempfile.TemporaryDirectory() as folder:
    result.save(Path(folder) / "run")
    mark("save")
single.permanent_impact(scenario, 0)
mark("impact probe")
import cascade_sim.plots.drawing
mark("import matplotlib")
from cascade_sim.report import draw_report
draw_report(result)
mark("charts and page")
print(json.dumps(spent))
"""


def warm_run(tree: Path, cache: str, options: list[str]) -> tuple[float, float]:
    """Run the default scenario once; returns wall and processor seconds of all its processes."""
    environment = {**os.environ, "PYTHONPATH": os.fspath(tree), "NUMBA_CACHE_DIR": cache}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", "cascade_sim", "run", "--out", f"{folder}/run", *options]
        subprocess.run(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(other: Path, pairs: int, options: list[str]) -> dict[str, float]:
    """Return medians over pairs of runs, the other tree first in every second one."""
    trees = {"other": other.resolve(), "this": HERE}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        caches = {"other": one, "this": two}
        for name, tree in trees.items():
            warm_run(tree, caches[name], options)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in trees}
        for number in range(pairs):
            for name in list(trees)[:: 1 if number % 2 else -1]:
                taken[name].append(warm_run(trees[name], caches[name], options))
    figures = {}
    for place, what in enumerate(("wall", "processor")):
        for name, runs in taken.items():
            figures[f"{name}_{what}_seconds"] = statistics.median(run[place] for run in runs)
        ratios = [
            mine[place] / theirs[place] for mine, theirs in zip(taken["this"], taken["other"], strict=True)
        ]
        figures[f"{what}_ratio"] = statistics.median(ratios)
    return figures


def main() -> None:
    """Print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("other", nargs="?", type=Path, help="source tree to compare with")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--options", default="", help="further words of the command")
    parser.add_argument("--stages", action="store_true", help="processor and wall milliseconds by stage")
    asked = parser.parse_args()
    if asked.stages:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _STAGES], capture_output=True, text=True, check=True
        )
        sys.stdout.write(json.dumps(json.loads(done.stdout), indent=2) + "\n")
    elif asked.other is not None:
        figures = compare(asked.other, asked.pairs, asked.options.split())
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    else:
        parser.error("expected a source tree or --stages")


if __name__ == "__main__":
    main()
