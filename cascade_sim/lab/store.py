"""The folder of a sweep: a parquet file per committed chunk, whole or not there, and a table when all is done."""

import json
import os
import uuid
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from cascade_sim.columns import SCHEMA_VERSION
from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.lab.replicas import stacked
from cascade_sim.manifest import json_ready
from cascade_sim.result_folder import MANIFEST, SUMMARY, SWEEP, refuse_foreign, refused, sync_folder
from cascade_sim.table_files import read_json, read_plain_frame, write_plain_frame
from cascade_sim.temporaries import remove_abandoned, unfinished_file

RUNS = "runs"
DESIGN, EXPERIMENT, TABLE = "design.parquet", "experiment.yaml", "table.parquet"
KEY = ["point", "arm", "off", "replication"]
"""What tells a run from all others of a sweep."""
HEAD = [*KEY, "seed", "status", "reason"]
"""Columns of the table before the figures; the factors follow the point."""


class Store:
    """A folder that only grows: what has been committed stays, whatever happens to whoever works on it.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder).resolve()

    @classmethod
    def create(
        cls, folder: str | Path, manifest: Mapping[str, Any], experiment: str, points: pd.DataFrame
    ) -> "Store":
        """Begin a sweep in a new folder.

        Parameters
        ----------
        folder : path
            Must not exist, or be empty.
        manifest : mapping
            With ``experiment_id`` and ``units``.
        experiment : str
            The experiment as YAML.
        points : DataFrame
            A row per point.

        Raises
        ------
        OutputError
            If the folder holds anything, or the disk refuses.
        """
        store = cls(folder)
        refuse_foreign(store.folder, SWEEP)
        if (store.folder / MANIFEST).exists():
            raise OutputError(
                f"expected a new folder, or --resume to go on with a sweep, received {folder}, which holds one"
            )
        try:
            (store.folder / RUNS).mkdir(parents=True, exist_ok=True)
            store.tidy()
            store._write_text(EXPERIMENT, experiment)
            write_plain_frame(points, store.folder / DESIGN, {})
            store.note(manifest)
            sync_folder(store.folder)
        except OSError as error:
            raise refused(f"expected to write the {SWEEP.what} {store.folder}", error) from error
        return store

    @property
    def manifest(self) -> dict[str, Any]:
        """What the folder says of itself.

        Raises
        ------
        DataFileError
            If it is no folder of a sweep.
        """
        found = read_json(self.folder / MANIFEST)
        received = (found.get("kind"), found.get("schema_version"))
        if received != (SWEEP.kind, SCHEMA_VERSION):
            expected = f"{SWEEP.kind} of schema version {SCHEMA_VERSION} in {self.folder}"
            raise DataFileError(f"expected {expected}, received {received[0]} of version {received[1]}")
        return found

    def note(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest anew, in one go."""
        identity = {"kind": SWEEP.kind, "schema_version": SCHEMA_VERSION}
        self._write_json(MANIFEST, identity | dict(manifest))

    def tidy(self) -> None:
        """Remove what a killed program had not committed."""
        for place in (self.folder, self.folder / RUNS):
            remove_abandoned(place)

    def points(self) -> pd.DataFrame:
        """A row per point: its number and its factors."""
        return read_plain_frame(self.folder / DESIGN)

    def commit(self, rows: pd.DataFrame) -> None:
        """Write a chunk, so that it is there whole or not at all, also after the power is gone.

        Raises
        ------
        OutputError
            If the disk refuses; what was committed before stays.
        """
        runs = self.folder / RUNS
        place = runs / f"part-{int(rows['point'].iloc[0]):07d}-{uuid.uuid4().hex}.parquet"
        try:
            with unfinished_file(runs) as (path, stream):
                stream.close()
                write_plain_frame(rows, path, {})
                os.replace(path, place)
            sync_folder(runs)
        except OSError as error:
            raise refused(f"expected to write a chunk of {self.folder}", error) from error

    def rows(self) -> pd.DataFrame:
        """Every committed run, in the order of points, arms as they were first committed, and replications.

        Raises
        ------
        DataFileError
            If a chunk is damaged.
        """
        parts = [read_plain_frame(path) for path in sorted((self.folder / RUNS).glob("part-*.parquet"))]
        if not parts:
            return pd.DataFrame(columns=HEAD)
        rows = stacked(parts)
        # A run may have been made twice, by a worker that was given up; both made the same.
        return rows.drop_duplicates(KEY, ignore_index=True)

    def finish(self, table: pd.DataFrame, units: Mapping[str, str], summary: Mapping[str, Any]) -> None:
        """Write the final table, and what was found.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        try:
            with unfinished_file(self.folder) as (path, stream):
                stream.close()
                write_plain_frame(table, path, units)
                os.replace(path, self.folder / TABLE)
            self._write_json(SUMMARY, summary)
            sync_folder(self.folder)
        except OSError as error:
            raise refused(f"expected to write the table of {self.folder}", error) from error

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(json_ready(dict(value)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self._write_text(name, text)

    def _write_text(self, name: str, text: str) -> None:
        with unfinished_file(self.folder) as (path, stream):
            stream.write(text.encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
            stream.close()
            os.replace(path, self.folder / name)
