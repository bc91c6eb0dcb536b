"""Runs cases, one JSON line in and one out, in a process of its own: what kills it is seen by whoever waits for it."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import cascade_sim as cs
from cascade_sim.domain.errors import CapacityError, CascadeError, StrainWarning
from cascade_sim.result import RESULT_TABLES, RunResult, load_result

LONGEST_LINE = 1500
_FIELD = re.compile(r"\b[a-z_]+\.[a-z_]+")
_ALWAYS_FINITE = ("time_seconds", "mark", "index", "fundamental", "open_interest", "funding_rate")


def problems_of(result: RunResult, *, stopped: bool) -> list[str]:
    """What is wrong with a result; an empty list for a sound one."""
    found = []
    error = result.summary.get("conservation_error")
    if error != 0:
        found.append(f"conservation error {error}")
    if (result.manifest.get("status") == "stopped") != stopped:
        found.append(f"status {result.manifest.get('status')}")
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_result(result.save(Path(folder) / "result"))
        found += [
            f"table {name} is another after saving"
            for name in RESULT_TABLES
            if not getattr(loaded, name).equals(getattr(result, name))
        ]
        if loaded.summary != result.summary:
            found.append("summary is another after saving")
    return found + _wrong_numbers(result)


def _wrong_numbers(result: RunResult) -> list[str]:
    found = []
    accounts, series = result.accounts, result.series
    for column in ("position_start", "position_end"):
        sums = accounts.groupby("venue", observed=True)[column].sum()
        scale = max(1.0, float(accounts[column].abs().sum()))
        if (sums.abs() > 1e-9 * scale).any():
            found.append(f"{column} sums to {sums.tolist()}")
    found += [
        f"series.{column} holds values that are not finite"
        for column in _ALWAYS_FINITE
        if not np.isfinite(series[column].to_numpy(dtype=float)).all()
    ]
    found += [
        f"series.{column} is not above 0 throughout"
        for column in ("mark", "index", "fundamental")
        if not (series[column].to_numpy(dtype=float) > 0.0).all()
    ]
    for name in RESULT_TABLES:
        frame = getattr(result, name)
        for column in frame.columns:
            values = frame[column]
            if values.dtype.kind == "f" and np.isinf(values.to_numpy()).any():
                found.append(f"{name}.{column} holds an infinity")
    if (series["best_bid"] >= series["best_ask"]).any():
        found.append("the book is crossed")
    return found


def run_case(case: dict[str, Any]) -> tuple[str, str]:
    """Run a case; returns how it ended (``finished``, ``stopped``, ``refused``, ``failed``) and what there is to say."""
    try:
        scenario = cs.load_scenario(case["name"]).with_overrides(case["changes"])
        try:
            result = cs.run(scenario, case["seed"], probe=bool(case.get("probe", False)))
            stopped = None
        except CapacityError as error:
            if error.result is None:
                return "failed", f"a capacity end without its result: {error}"
            result, stopped = error.result, error
        found = problems_of(result, stopped=stopped is not None)
        if stopped is not None and not _FIELD.search(str(stopped)):
            found.append(f"a capacity end that names no field: {stopped}")
        if found:
            return "failed", "; ".join(found)
        return ("finished", "") if stopped is None else ("stopped", str(stopped))
    except CascadeError as error:
        line = str(error)
        if error.exit_code != 2:
            return "failed", line
        if "expected" not in line or "\n" in line or len(line) > LONGEST_LINE:
            return "failed", f"not one clear line: {line}"
        return "refused", line
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
        return "failed", f"{type(error).__name__} in {places}: {' '.join(str(error).split())[:LONGEST_LINE]}"


def main() -> None:
    """Answer every line of standard input with the outcome of its case."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", StrainWarning)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints must not be taken for an answer
    for line in sys.stdin:
        started = time.perf_counter()
        outcome, detail = run_case(json.loads(line))
        seconds = round(time.perf_counter() - started, 2)
        answers.write(json.dumps({"outcome": outcome, "detail": detail, "seconds": seconds}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
