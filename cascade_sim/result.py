"""The outcome of one run: tables, summary, manifest, and the folder that holds them."""

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
import pandas as pd

from cascade_sim.columns import SCHEMA_VERSION, TABLE_DESCRIPTIONS, TABLES
from cascade_sim.domain.errors import DataFileError, OutputError, ScenarioError, expectation
from cascade_sim.domain.files import LARGEST_SCENARIO, read_bounded
from cascade_sim.manifest import RUN_KIND, build_manifest, json_ready
from cascade_sim.metrics import METRICS
from cascade_sim.result_folder import (
    ARMS,
    MANIFEST,
    RESULT_TABLES,
    RUN,
    SCENARIO,
    SUBSETS,
    SUMMARY,
    FolderKind,
    move_into,
    refuse_foreign,
    refused,
    restore_or_remove,
    save_folder,
    stays,
    sync_folder,
)
from cascade_sim.scenario.tree import tree_hash
from cascade_sim.scenario.yaml_text import parse_yaml
from cascade_sim.table_files import (
    TableFile,
    read_frame,
    read_json,
    read_table,
    reason_of,
    remedy,
    write_frame,
    write_table,
)
from cascade_sim.tables import cast_table, check_table, columns_of, empty_table
from cascade_sim.temporaries import scratch

__all__ = [
    "RESULT_TABLES",
    "RunResult",
    "arm_table",
    "build_manifest",
    "cast_table",
    "check_table",
    "check_target",
    "columns_of",
    "empty_table",
    "json_ready",
    "load_result",
    "move_into",
]

VALUES_READ_AT_ONCE = 1 << 24
"""Rows times columns of a table that `load_result` reads at once; a larger one stays on disk."""
_PRICES = frozenset(("last", "mark", "index", "fundamental"))
_MAY_BE_MISSING = frozenset(("mid", "best_bid", "best_ask", "spread", "impact_local", "branching_local"))
"""What a one-sided or empty book does not have; the other numbers of a series are there in every step."""
_LISTED: dict[str, tuple[type[Any], ...]] = {
    "loss_by_class": (dict,),
    "attribution": (dict,),
    "cascade_sizes": (list,),
    "markets": (dict, dict),
}
_LARGEST_RESOLVED = 4 * LARGEST_SCENARIO
"""Bytes of the scenario of a result, in which everything that its file left out is written down."""
ARM_COLUMNS = ("step", "time_seconds", "venue", "instrument", "mark")
"""What a result keeps of the series of a counterfactual arm."""
_ARM_TABLE = ("arm", *ARM_COLUMNS)


_CHARTS, _VIEW = "cascade_sim.plots.accessor:ResultCharts", "cascade_sim.report:render_view"
"""What a result only hands itself to, by name: nothing here, or on any floor below, knows what is done with it."""


class Charts(Protocol):
    """Methods that draw a result, each a chart of the catalogue; ``dir`` lists them."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a function that draws and returns a matplotlib Figure."""
        ...


class HeldTable:
    """A table of a result, in memory or on disk, as an attribute: one on disk is read when it is first asked for."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        """Learn the name of the table, whose description is that of the attribute."""
        self._name = name
        self.__doc__ = TABLE_DESCRIPTIONS[name]

    @overload
    def __get__(self, result: None, owner: type[Any]) -> None: ...

    @overload
    def __get__(self, result: "RunResult", owner: type[Any]) -> pd.DataFrame: ...

    def __get__(self, result: "RunResult | None", owner: type[Any]) -> pd.DataFrame | None:
        """Return the table; of the class None, which is the default and stands for a table without rows."""
        if result is None:
            return None
        held = result._held[self._name]
        if isinstance(held, TableFile):
            result._held[self._name] = held = held.load()
        return held

    def __set__(self, result: "RunResult", table: pd.DataFrame | TableFile | None) -> None:
        """Hold a table; a result itself is frozen and does so once."""
        result._held[self._name] = empty_table(self._name) if table is None else table


@dataclass(frozen=True, eq=False, repr=False)
class RunResult:
    """Everything that one run produced.

    Tables that were not recorded are empty frames with the right columns. Columns are documented in
    `cascade_sim.columns`. ``summary`` and ``manifest`` are held as plain JSON values, NaN as None.

    The tables of a long run stay on disk and are given as `TableFile`. An attribute such as ``trades`` then reads the
    whole table when it is first asked for; `columns` and `pieces` read what is needed of it.

    Attributes
    ----------
    series, events, trades, transfers, accounts, depth, liquidation_map, causes
        Result tables.
    arms
        Mark of every counterfactual run of the same draws: columns ``arm``, ``step``, ``time_seconds``,
        ``venue``, ``instrument`` and ``mark``; empty without a counterfactual. See `arm_table`.
    counterfactual
        One row per subset of mechanisms, a bool column each and the scalar figures; empty without one.
    summary
        Key figures of the run.
    manifest
        Identity of the run and all that may differ between equal runs, see `build_manifest`.
    scenario_yaml
        The fully resolved scenario.
    """

    series: HeldTable = HeldTable()
    events: HeldTable = HeldTable()
    trades: HeldTable = HeldTable()
    transfers: HeldTable = HeldTable()
    accounts: HeldTable = HeldTable()
    depth: HeldTable = HeldTable()
    liquidation_map: HeldTable = HeldTable()
    causes: HeldTable = HeldTable()
    arms: pd.DataFrame = field(default_factory=lambda: arm_table({}))
    counterfactual: pd.DataFrame = field(default_factory=pd.DataFrame)
    summary: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    scenario_yaml: str = ""

    def __post_init__(self) -> None:
        """Normalise the summary and the manifest, so that a saved and loaded result compares equal."""
        object.__setattr__(self, "summary", json_ready(self.summary))
        identity = {"kind": RUN_KIND, "schema_version": SCHEMA_VERSION}
        object.__setattr__(self, "manifest", identity | json_ready(self.manifest))

    @cached_property
    def _held(self) -> dict[str, pd.DataFrame | TableFile]:
        return {}

    def __repr__(self) -> str:
        """Say what was measured; the tables are long."""
        return f"{type(self).__name__}(summary={self.summary!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the run in sentences, and its key figures with their units."""
        view: str = _handed_to(_VIEW, self)
        return view

    def __getstate__(self) -> dict[str, Any]:
        """Take every table into memory: a file without a name cannot travel."""
        return {**self.__dict__, "_held": {name: getattr(self, name) for name in RESULT_TABLES}}

    def replaced(self, **changes: Any) -> "RunResult":
        """Return this result with other values of some fields; tables on disk stay there.

        Parameters
        ----------
        changes
            Field -> value.

        Returns
        -------
        RunResult
        """
        kept = {item.name: self.__dict__.get(item.name) for item in fields(self)}
        return RunResult(**{**kept, **self._held, **changes})

    @property
    def plot(self) -> Charts:
        """The charts of the catalogue as methods: ``result.plot.mark()``; ``dir(result.plot)`` lists them.

        A method takes what the drawing function takes beside the result and returns a matplotlib Figure.
        """
        charts: Charts = _handed_to(_CHARTS, self)
        return charts

    @property
    def is_on_disk(self) -> bool:
        """Whether any table is still on disk and nowhere else."""
        return any(isinstance(held, TableFile) for held in self._held.values())

    def rows(self, name: str) -> int:
        """Return the number of rows of a table without reading it."""
        held = self._held[name]
        return held.rows if isinstance(held, TableFile) else len(held)

    def pieces(self, name: str, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield a table in the order of its rows, in pieces that fit into memory whatever its length.

        Parameters
        ----------
        name
            Table name.
        columns
            Names of the columns to read; all by default.

        Returns
        -------
        iterator of DataFrame
            At least one; a table in memory is one piece.
        """
        held = self._held[name]
        if isinstance(held, TableFile):
            return held.pieces(columns)
        return iter([held if columns is None else held[list(columns)]])

    def columns(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """Return some columns of a table, in the given order, without reading the others.

        Parameters
        ----------
        name
            Table name.
        columns
            Names of columns.

        Returns
        -------
        pandas.DataFrame
        """
        held = self._held[name]
        return held.load(columns) if isinstance(held, TableFile) else held[list(columns)]

    @property
    def scenario_tree(self) -> dict[str, Any]:
        """The resolved scenario as nested dictionaries; empty if there is none."""
        return deepcopy(_parsed(self.scenario_yaml))

    @property
    def arm_marks(self) -> dict[str, pd.DataFrame]:
        """Label -> mark by step of each counterfactual run, in the order of ``arms``."""
        labels = self.arms["arm"]
        return {str(label): self.arms[labels == label].reset_index(drop=True) for label in labels.unique()}

    def save(self, directory: str | Path, add: Callable[[Path], Any] | None = None) -> Path:
        """Write the result folder, whole or not at all.

        See `result_folder.save_folder`. An earlier result in the same place is replaced, with its charts.

        Parameters
        ----------
        directory
            Folder to create or replace; parents are created.
        add
            Called with the hidden folder to write what belongs to the result beside its tables, such as charts.

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
        for name, held in self._held.items():
            if not isinstance(held, TableFile):
                check_table(name, held)

        def write(folder: Path) -> None:
            _write_tables(self._held, folder)
            if len(self.arms):
                write_frame(self.arms, folder / ARMS)
            if add is not None:
                add(folder)
            _write_text(folder / SCENARIO, self.scenario_yaml)
            self._write_figures(folder)

        return save_folder(Path(directory), RUN, write)

    def to_csv(self, directory: str | Path) -> Path:
        """Write every table that has rows as CSV, with the unit in the heading, and the summary; whole or not at all.

        A column is called ``mark [USD]`` where it has a unit; with markets of different currencies, ``mark [quote]``, which
        is that of the market in the row. What is missing is empty. Tables on disk are read and written in pieces. The
        columns of ``summary.csv`` are `csv_folder.SUMMARY_COLUMNS`. An earlier folder of this kind is replaced.

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
            If the folder holds something else, such as a saved result, a table does not match its documentation, or
            the disk refuses.
        """
        from cascade_sim.csv_folder import write_csv_folder  # few need what it imports

        tables = {name: partial(self.pieces, name) for name in RESULT_TABLES if self.rows(name)}
        frames = {"arms": self.arms, "counterfactual": self.counterfactual}
        filled = {name: frame for name, frame in frames.items() if len(frame)}
        return write_csv_folder(
            directory, tables, filled, self.summary, self.manifest, _parsed(self.scenario_yaml)
        )

    def amend(self, directory: str | Path, add: Callable[[Path], Any] | None = None) -> None:
        """Replace the figures and the manifest in the saved folder of this run; the tables stay as they are.

        Every file appears whole or not at all, ``manifest.json`` last.

        Parameters
        ----------
        directory
            Folder that `save` wrote.
        add
            Called with a hidden folder to write what is to appear beside the tables, such as charts.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        target = Path(directory).resolve()
        place = target if stays(target) else target.parent
        try:
            with scratch(place) as unfinished:
                if add is not None:
                    add(unfinished)
                self._write_figures(unfinished)
                move_into(unfinished, target, last=MANIFEST)
                sync_folder(target)
        except (OSError, OutputError) as error:
            raise refused(f"expected to write into the result folder {target}", error) from error

    def _write_figures(self, folder: Path) -> None:
        if len(self.counterfactual):
            write_frame(self.counterfactual, folder / SUBSETS)
        _write_text(folder / MANIFEST, _json_text(self.manifest))
        _write_text(folder / SUMMARY, _json_text(self.summary))


def _handed_to(place: str, result: RunResult) -> Any:
    """Call what a floor above has under ``module:name`` with a result; it is imported when first asked for."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)(result)


def _write_tables(tables: Mapping[str, pd.DataFrame | TableFile], folder: Path) -> None:
    """Write every table; two at a time, since compression and the disk leave the interpreter free."""

    def write(name: str) -> None:
        table, path = tables[name], folder / f"{name}.parquet"
        if isinstance(table, TableFile):
            table.copy(path)
        else:
            write_table(name, table, path)

    with ThreadPoolExecutor(2) as writers:
        written = [writers.submit(write, name) for name in tables]
        try:
            for each in written:
                each.result()
        except BaseException:
            writers.shutdown(cancel_futures=True)
            raise


def arm_table(series: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Put the marks of counterfactual runs under one another.

    Parameters
    ----------
    series
        Label -> series table.

    Returns
    -------
    pandas.DataFrame
        Columns ``arm``, ``step``, ``time_seconds`` (s), ``venue``, ``instrument``, ``mark`` (quote).
    """
    empty = empty_table("series")[list(ARM_COLUMNS)].assign(arm="")
    parts = [frame[list(ARM_COLUMNS)].assign(arm=label) for label, frame in series.items()]
    table = pd.concat(parts, ignore_index=True) if parts else empty
    # One vocabulary per column, in the order of appearance: joined categories would fall back to plain text.
    for name in ("arm", "venue", "instrument"):
        words = table[name].astype(str)
        table[name] = pd.Categorical(words, pd.Index(words.unique(), dtype=str))
    return table[list(_ARM_TABLE)]


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
    if not (folder / SUMMARY).is_file():
        raise DataFileError(f"expected a finished result folder, received {folder} without {SUMMARY}")
    manifest = read_json(folder / MANIFEST)
    received = (manifest.get("kind"), manifest.get("schema_version"))
    if received != (RUN_KIND, SCHEMA_VERSION):
        raise DataFileError(
            f"expected {RUN_KIND} of schema version {SCHEMA_VERSION} in {folder}, "
            f"received {received[0]} of version {received[1]}{remedy(folder) if received[0] == RUN_KIND else ''}"
        )
    summary = read_json(folder / SUMMARY)
    scenario_yaml = _read_scenario(folder / SCENARIO)
    _check_run(folder, manifest, summary, scenario_yaml)
    tables = {name: _read(name, folder / f"{name}.parquet") for name in RESULT_TABLES}
    _check_series(folder, tables["series"])
    if (folder / ARMS).exists():
        tables["arms"] = read_frame(folder / ARMS, _ARM_TABLE)
    if (folder / SUBSETS).exists():
        tables["counterfactual"] = read_frame(folder / SUBSETS)
    return RunResult(**tables, summary=summary, manifest=manifest, scenario_yaml=scenario_yaml)


def _read(name: str, path: Path) -> Any:
    """Read a table, unless it is a long one: that stays where it is until it is asked for."""
    if path.is_file():
        file = TableFile(name, path)
        if file.rows * len(columns_of(name)) > VALUES_READ_AT_ONCE:
            return file
    return read_table(name, path)


def _check_series(folder: Path, series: Any) -> None:
    """Refuse a series without the numbers that every step has; charts and figures rely on them."""
    names = [column.name for column in TABLES["series"] if column.dtype.startswith("float")]
    for name in names:
        if name in _MAY_BE_MISSING:
            continue
        values = (series.load([name]) if isinstance(series, TableFile) else series)[name].to_numpy(
            dtype=float
        )
        wrong = ~np.isfinite(values) | ((values <= 0.0) & (name in _PRICES))
        if wrong.any():
            expected = "a price above 0" if name in _PRICES else "a finite number"
            where = f"{folder / 'series.parquet'}: {name}, row {int(np.flatnonzero(wrong)[0])}"
            raise DataFileError(expectation(where, expected, float(values[wrong][0])))


def check_target(directory: str | Path, kind: FolderKind = RUN) -> None:
    """Refuse a folder that could not hold a result, before any work is done for it.

    Parameters
    ----------
    directory
        Folder to create or replace later; nothing is left behind.
    kind
        What it is to be.

    Raises
    ------
    OutputError
        If it is a file, holds something other than a result, or the disk refuses a folder there.
    """
    try:  # before Python 3.13 a loop of links is a RuntimeError
        target = Path(directory).resolve()
        refuse_foreign(target, kind)
        place = target if stays(target) else target.parent
        while not place.exists():
            if place.is_symlink():  # what is still a link after resolving leads in a circle
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            place = place.parent
        restore_or_remove(place)
        with scratch(place) as probe:
            # The longest name that the result will have there.
            (probe if place is target else probe / target.name).mkdir(exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"expected a folder that can be written, received {directory} ({reason})"
        ) from error


@lru_cache(maxsize=4)
def _parsed(text: str) -> dict[str, Any]:
    """Read a resolved scenario; a report asks for it many times."""
    tree = parse_yaml(text, "scenario")
    return tree if isinstance(tree, dict) else {}


def _read_scenario(path: Path) -> str:
    try:
        text = read_bounded(path, _LARGEST_RESOLVED).decode("utf-8")
        _parsed(text)
    except (OSError, ValueError) as error:
        raise DataFileError(f"expected a readable {path}, received {reason_of(error)}") from error
    except ScenarioError as error:
        raise DataFileError(f"{path}: {error}") from error
    return text


def _check_run(folder: Path, manifest: dict[str, Any], summary: dict[str, Any], scenario_yaml: str) -> None:
    """Refuse a folder whose files do not belong to one run or hold text where figures belong."""
    received = manifest.get("scenario_hash")
    for name in ("versions", "option_chain"):
        if not isinstance(manifest.get(name), dict | None):
            raise DataFileError(expectation(f"{folder / MANIFEST}: {name}", "a mapping", manifest[name]))
    hashed = isinstance(received, str) and len(received) == 64  # made by hand, it may be a name
    if hashed and tree_hash(_parsed(scenario_yaml)) != received:
        raise DataFileError(
            f"expected the scenario that {folder / MANIFEST} names in {SCENARIO}, received another"
        )
    if hashed and not summary:
        raise DataFileError(f"expected figures in {folder / SUMMARY}, received none")
    for name in METRICS.keys() & summary.keys():
        value = summary[name]
        for item in _items(value, _LISTED.get(name, ())):
            if not isinstance(item, int | float | None):
                raise DataFileError(expectation(f"{folder / SUMMARY}: {name}", "a number or null", item))


def _items(value: Any, kinds: Sequence[type[Any]]) -> Iterator[Any]:
    """Yield what a figure is made of, as deep as it may be made of something."""
    if kinds and isinstance(value, kinds[0]):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _items(item, kinds[1:])
    else:
        yield value


def _json_text(value: Any) -> str:
    return json.dumps(json_ready(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    with path.open("wb") as stream:
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())
