"""What identifies a run and may differ between equal ones, and values as plain JSON types."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade_sim.columns import SCHEMA_VERSION
from cascade_sim.domain.errors import OutputError

RUN_KIND = "cascade_sim.run"
IMPACT_PROBE, CHARTS = "impact probe", "charts"
"""Parts of a result that are made when everything that was recorded is safe, and without which it is whole."""
_VERSIONED = ("cascade-sim", "numpy", "numba", "pandas", "pyarrow", "scipy", "mesa", "pydantic", "matplotlib")


def json_ready(value: Any) -> Any:
    """Turn a value into plain JSON types; NaN, infinities and missing values become None.

    Parameters
    ----------
    value
        Nested mappings, sequences, numpy scalars and arrays, text, numbers, paths.

    Returns
    -------
    object
        The same value made of dict (text keys), list, str, int, float, bool and None.

    Raises
    ------
    OutputError
        If something in it has no JSON form.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    raise OutputError(f"expected a value with a JSON form, received {type(value).__name__}")


@cache
def _git_commit() -> str | None:
    """Commit of the source tree the package runs from, with ``-dirty`` if changed; None outside git."""
    package = Path(__file__).resolve().parent
    run = partial(subprocess.run, cwd=package, capture_output=True, text=True, timeout=10, check=True)
    try:
        top = run(["git", "rev-parse", "--show-toplevel"]).stdout.strip()
        # An installed copy inside the checkout of another project must not claim that project's commit.
        if Path(top).resolve() != package.parent:
            return None
        command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return run(command).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def stop_words(manifest: Mapping[str, Any]) -> list[str]:
    """Say that a run ended before its last step, or went without its impact probe, and why.

    Parameters
    ----------
    manifest
        See `build_manifest`.

    Returns
    -------
    list of str
        A sentence each; none for a finished run.
    """
    words = []
    if manifest.get("status") == "stopped":
        step, reason = manifest.get("stopped_at_step"), manifest.get("reason")
        words.append(
            f"The run stopped in step {step}, {reason}; all figures are of what was recorded until then."
        )
    missing = missing_parts(manifest)
    if IMPACT_PROBE in missing:
        words.append(f"There is no impact probe: {missing[IMPACT_PROBE]}.")
    return words


def missing_parts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return which optional parts of a result were asked for and are not there, and why.

    Parameters
    ----------
    manifest
        See `build_manifest`.

    Returns
    -------
    dict
        Reason by part, `IMPACT_PROBE` or `CHARTS`; usually empty.
    """
    missing = manifest.get("missing")
    if not isinstance(missing, Mapping):
        return {}
    return {part: str(missing[part]) for part in (IMPACT_PROBE, CHARTS) if part in missing}


def with_missing(manifest: Mapping[str, Any], reasons: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a manifest that says why parts of its result are missing.

    Parameters
    ----------
    manifest
        See `build_manifest`.
    reasons
        By part; None for one that is there.

    Returns
    -------
    dict
        Without ``missing`` where nothing is.
    """
    missing = {
        part: reason for part, reason in {**missing_parts(manifest), **reasons}.items() if reason is not None
    }
    kept = {key: value for key, value in manifest.items() if key != "missing"}
    return {**kept, "missing": missing} if missing else kept


def build_manifest(
    *,
    scenario_hash: str,
    seed: int,
    command_line: Sequence[str],
    started_at: datetime,
    ended_at: datetime,
    wall_seconds: float,
    stop: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect everything that may differ between equal runs, and what identifies the run.

    Parameters
    ----------
    scenario_hash
        Hash of the resolved scenario.
    seed
        Seed of the run.
    command_line
        Words of the command, or an empty sequence for a call from Python.
    started_at, ended_at
        Times with a time zone; stored in UTC.
    wall_seconds
        Duration of the run in seconds, from a monotonic clock.
    stop
        What ended the run before its last step: ``stopped_at_step`` and ``reason``; None for a finished run.

    Returns
    -------
    dict
        ``kind``, ``schema_version``, ``scenario_hash``, ``seed``, ``versions``, ``git_commit``,
        ``command_line``, ``started_at``, ``ended_at``, ``wall_seconds``, ``status`` (``finished`` or ``stopped``)
        and what ``stop`` holds.
    """
    identity = {
        "kind": RUN_KIND,
        "schema_version": SCHEMA_VERSION,
        "scenario_hash": scenario_hash,
        "seed": int(seed),
    }
    status = "finished" if stop is None else "stopped"
    times = build_study_manifest(
        command_line=command_line,
        started_at=started_at,
        ended_at=ended_at,
        wall_seconds=wall_seconds,
        status=status,
    )
    return identity | times | dict(stop or {})


def build_study_manifest(
    *,
    command_line: Sequence[str],
    started_at: datetime,
    ended_at: datetime,
    wall_seconds: float,
    status: str,
) -> dict[str, Any]:
    """Collect everything that may differ between equal studies of many runs.

    Parameters
    ----------
    command_line, started_at, ended_at, wall_seconds
        As for `build_manifest`.
    status
        ``finished`` or ``stopped``.

    Returns
    -------
    dict
        ``versions``, ``git_commit``, ``command_line``, ``started_at``, ``ended_at``, ``wall_seconds``, ``status``.
    """
    return {
        "versions": _versions(),
        "git_commit": _git_commit(),
        "command_line": [str(word) for word in command_line],
        "started_at": started_at.astimezone(UTC).isoformat(),
        "ended_at": ended_at.astimezone(UTC).isoformat(),
        "wall_seconds": float(wall_seconds),
        "status": status,
    }
