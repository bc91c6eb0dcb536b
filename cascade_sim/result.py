"""The outcome of one run: tables, summary, manifest, and the folder that holds them."""

import json
import os
import platform
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cascade_sim.columns import SCHEMA_VERSION
from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.tables import cast_table, check_table, columns_of, empty_table, read_table, write_table

__all__ = [
    "RESULT_TABLES",
    "RunResult",
    "build_manifest",
    "cast_table",
    "check_table",
    "columns_of",
    "empty_table",
    "json_ready",
    "load_result",
]

RESULT_TABLES = (
    "series",
    "events",
    "trades",
    "transfers",
    "accounts",
    "depth",
    "liquidation_map",
    "causes",
)
_KIND = "cascade_sim.run"
_MANIFEST, _SUMMARY, _SCENARIO = "manifest.json", "summary.json", "scenario.yaml"
_VERSIONED = ("cascade-sim", "numpy", "numba", "pandas", "pyarrow", "scipy", "mesa", "pydantic", "matplotlib")
_KNOWN_ENTRIES = frozenset(
    (_MANIFEST, _SUMMARY, _SCENARIO, "charts", "arms", "report.html", "counterfactual.parquet")
).union(f"{name}.parquet" for name in RESULT_TABLES)


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


def build_manifest(
    *,
    scenario_hash: str,
    seed: int,
    command_line: Sequence[str],
    started_at: datetime,
    ended_at: datetime,
    wall_seconds: float,
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

    Returns
    -------
    dict
        ``kind``, ``schema_version``, ``scenario_hash``, ``seed``, ``versions``, ``git_commit``,
        ``command_line``, ``started_at``, ``ended_at``, ``wall_seconds``.
    """
    return {
        "kind": _KIND,
        "schema_version": SCHEMA_VERSION,
        "scenario_hash": scenario_hash,
        "seed": int(seed),
        "versions": _versions(),
        "git_commit": _git_commit(),
        "command_line": [str(word) for word in command_line],
        "started_at": started_at.astimezone(UTC).isoformat(),
        "ended_at": ended_at.astimezone(UTC).isoformat(),
        "wall_seconds": float(wall_seconds),
    }


@dataclass(frozen=True, eq=False)
class RunResult:
    """Everything that one run produced.

    Tables that were not recorded are empty frames with the right columns. Columns are documented in
    `cascade_sim.columns`. ``summary`` and ``manifest`` are held as plain JSON values, NaN as None.

    Attributes
    ----------
    series, events, trades, transfers, accounts, depth, liquidation_map, causes
        Result tables.
    summary
        Key figures of the run.
    manifest
        Identity of the run and all that may differ between equal runs, see `build_manifest`.
    scenario_yaml
        The fully resolved scenario.
    """

    series: pd.DataFrame = field(default_factory=partial(empty_table, "series"), repr=False)
    events: pd.DataFrame = field(default_factory=partial(empty_table, "events"), repr=False)
    trades: pd.DataFrame = field(default_factory=partial(empty_table, "trades"), repr=False)
    transfers: pd.DataFrame = field(default_factory=partial(empty_table, "transfers"), repr=False)
    accounts: pd.DataFrame = field(default_factory=partial(empty_table, "accounts"), repr=False)
    depth: pd.DataFrame = field(default_factory=partial(empty_table, "depth"), repr=False)
    liquidation_map: pd.DataFrame = field(default_factory=partial(empty_table, "liquidation_map"), repr=False)
    causes: pd.DataFrame = field(default_factory=partial(empty_table, "causes"), repr=False)
    summary: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)
    scenario_yaml: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Normalise the summary and the manifest, so that a saved and loaded result compares equal."""
        object.__setattr__(self, "summary", json_ready(self.summary))
        identity = {"kind": _KIND, "schema_version": SCHEMA_VERSION}
        object.__setattr__(self, "manifest", identity | json_ready(self.manifest))

    @property
    def scenario_tree(self) -> dict[str, Any]:
        """The resolved scenario as nested dictionaries; empty if there is none."""
        tree = yaml.safe_load(self.scenario_yaml)
        return tree if isinstance(tree, dict) else {}

    def save(self, directory: str | Path) -> Path:
        """Write the result folder, whole or not at all.

        Everything is written into a hidden folder beside the target, ``summary.json`` last, and moved
        into place at the end. An earlier result in the same place is replaced, with its charts.

        Parameters
        ----------
        directory
            Folder to create or replace; parents are created.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        OutputError
            If the folder holds something other than a result, a table does not match its
            documentation, or the disk refuses.
        """
        target = Path(directory).resolve()
        for name in RESULT_TABLES:
            check_table(name, getattr(self, name))
        _refuse_foreign(target)
        unfinished = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            unfinished.mkdir(parents=True)
            for name in RESULT_TABLES:
                write_table(name, getattr(self, name), unfinished / f"{name}.parquet")
            _write_text(unfinished / _SCENARIO, self.scenario_yaml)
            _write_text(unfinished / _MANIFEST, _json_text(self.manifest))
            _write_text(unfinished / _SUMMARY, _json_text(self.summary))
            _sync_folder(unfinished)
            _move_into_place(unfinished, target)
            _sync_folder(target.parent)
        except OSError as error:
            raise OutputError(f"expected to write the result folder {target}, received {error}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return target


def load_result(directory: str | Path) -> RunResult:
    """Read a result folder that `RunResult.save` wrote, with exact types.

    Parameters
    ----------
    directory
        Result folder.

    Returns
    -------
    RunResult

    Raises
    ------
    DataFileError
        If the folder is missing, unfinished, damaged or of another schema version.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise DataFileError(f"expected a result folder, received {folder}, which is not a folder")
    if not (folder / _SUMMARY).is_file():
        raise DataFileError(f"expected a finished result folder, received {folder} without {_SUMMARY}")
    manifest = _read_json(folder / _MANIFEST)
    received = (manifest.get("kind"), manifest.get("schema_version"))
    if received != (_KIND, SCHEMA_VERSION):
        raise DataFileError(
            f"expected {_KIND} of schema version {SCHEMA_VERSION} in {folder}, "
            f"received {received[0]} of version {received[1]}"
        )
    summary = _read_json(folder / _SUMMARY)
    try:
        scenario_yaml = (folder / _SCENARIO).read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(f"expected a readable {folder / _SCENARIO}, received {error}") from error
    tables = {name: read_table(name, folder / f"{name}.parquet") for name in RESULT_TABLES}
    return RunResult(**tables, summary=summary, manifest=manifest, scenario_yaml=scenario_yaml)


def _json_text(value: Any) -> str:
    return json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataFileError(f"expected a readable {path}, received {error}") from error
    if not isinstance(value, dict):
        raise DataFileError(f"expected a JSON object in {path}, received {type(value).__name__}")
    return value


def _write_text(path: Path, text: str) -> None:
    with path.open("wb") as stream:
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_foreign(target: Path) -> None:
    """Refuse to replace anything that is not a result folder, so that no file of the user is lost."""
    if not target.exists():
        return
    if not target.is_dir():
        raise OutputError(f"expected a folder for the result, received the file {target}")
    entries = {entry.name for entry in target.iterdir()}
    if not entries:
        return
    foreign = sorted(entries - _KNOWN_ENTRIES)
    if foreign:
        raise OutputError(
            f"expected a result folder or a new one, received {target}, which holds {foreign[0]}"
        )
    try:
        kind = _read_json(target / _MANIFEST).get("kind")
    except DataFileError:
        kind = None
    if kind != _KIND:
        raise OutputError(
            f"expected a result folder or a new one, received {target} without a manifest of a run"
        )


def _move_into_place(unfinished: Path, target: Path) -> None:
    if not target.exists():
        os.replace(unfinished, target)
        return
    retired = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        os.replace(target, retired)
        os.replace(unfinished, target)
    finally:
        # A folder cannot be replaced in one operation: if the second move did not happen, undo the first.
        if target.exists():
            shutil.rmtree(retired, ignore_errors=True)
        elif retired.exists():
            os.replace(retired, target)
