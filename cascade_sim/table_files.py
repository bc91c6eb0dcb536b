"""Result tables on disk: parquet files, written and read whole or in pieces, and the JSON files beside them."""

import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cascade_sim.columns import (
    RETIRED_COLUMNS,
    SCHEMA_VERSION,
    TABLE_DESCRIPTIONS,
    TABLES,
    Column,
)
from cascade_sim.domain.errors import DataFileError, OutputError
from cascade_sim.domain.files import LARGEST_JSON, bounded_integer, read_bounded
from cascade_sim.metrics import METRICS
from cascade_sim.tables import NULLABLE, check_table, columns_of
from cascade_sim.temporaries import unfinished_file

SCENARIO_FILE = "scenario.yaml"
"""The file beside the tables of a result that says how to make them again."""
ROW_GROUP = 1 << 15
"""Rows of a table that are written and read at once."""


def _arrow_column(series: "pd.Series[Any]", column: Column) -> tuple[pa.Field, pa.Array]:
    metadata = {"unit": column.unit, "description": column.description}
    if column.dtype == "category":
        categories = [str(item) for item in series.cat.categories]
        # Parquet drops names that no row uses, so the full list travels in the metadata.
        metadata["categories"] = json.dumps(categories)
        codes = series.cat.codes.to_numpy().astype(np.int32)
        indices = pa.array(codes, mask=codes < 0)
        array = pa.DictionaryArray.from_arrays(indices, pa.array(categories, type=pa.string()))
    else:
        array = pa.array(series)
    return pa.field(column.name, array.type, metadata=metadata), array


def arrow_table(name: str, frame: pd.DataFrame, attrs: Mapping[Any, Any] | None = None) -> pa.Table:
    """Return a documented table as Arrow has it, unit and description in the metadata of each column.

    Parameters
    ----------
    name
        Table name.
    frame
        Table, or a piece of one.
    attrs
        JSON-like attributes of the whole.

    Raises
    ------
    OutputError
        If it does not match the documentation.
    """
    check_table(name, frame)
    pairs = [_arrow_column(frame[column.name], column) for column in columns_of(name)]
    try:
        attributes = json.dumps({} if attrs is None else attrs, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"expected JSON-like attributes of {name}, received {attrs!r}") from error
    metadata = {
        "table": name,
        "description": TABLE_DESCRIPTIONS[name],
        "schema_version": str(SCHEMA_VERSION),
        "attributes": attributes,
    }
    schema = pa.schema([field for field, _ in pairs], metadata=metadata)
    return pa.Table.from_arrays([array for _, array in pairs], schema=schema)


def write_pieces(name: str, pieces: Iterable[pd.DataFrame], stream: IO[bytes]) -> None:
    """Write a table that comes in pieces as parquet into an open file, holding one piece at a time.

    Parameters
    ----------
    name
        Table name.
    pieces
        At least one; each passes `check_table`. Attributes are those of the first. Pieces of `ROW_GROUP` rows give
        the bytes that `write_table` gives for the whole.
    stream
        Binary file.

    Raises
    ------
    OutputError
        If a piece does not match the documentation.
    """
    writer: Any = None
    attrs: Mapping[Any, Any] = {}
    try:
        for frame in pieces:
            attrs = attrs if writer is not None else frame.attrs
            table = arrow_table(name, frame, attrs)
            if writer is None:
                # Dictionaries of measured numbers would hold each of them once more and save nothing.
                names = [field.name for field in table.schema if pa.types.is_dictionary(field.type)]
                writer = pq.ParquetWriter(
                    stream, table.schema, compression="zstd", use_dictionary=names, write_page_checksum=True
                )
            writer.write_table(table, row_group_size=ROW_GROUP)
            del frame, table  # before the next piece is made
    finally:
        if writer is not None:
            writer.close()
        pa.default_memory_pool().release_unused()


def write_table(name: str, frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as parquet (zstd), units and descriptions in the metadata of each column.

    The file appears whole or not at all, and equal tables give equal bytes.

    Parameters
    ----------
    name
        Table name.
    frame
        Table that passes `check_table`; ``frame.attrs`` must be JSON-like and is stored.
    path
        File to write; an existing file is replaced.

    Raises
    ------
    OutputError
        If the table does not match the documentation or the file cannot be written.
    """
    write_whole(Path(path), lambda stream: write_pieces(name, [frame], stream))


def write_whole(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a file that appears whole or not at all; an existing file is replaced.

    Parameters
    ----------
    target
        The file.
    write
        Called with a binary file beside it, which then takes its name.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    try:
        with unfinished_file(target.parent) as (partial, stream):
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(partial, target)
    except OSError as error:
        raise OutputError(f"expected to write {target}, received: {reason_of(error)}") from error


def read_table(name: str, path: str | Path) -> pd.DataFrame:
    """Read a table that `write_table` wrote, with its exact types.

    Parameters
    ----------
    name
        Table name.
    path
        Parquet file.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataFileError
        If the file is missing, unreadable or not this table in this version.
    """
    source = Path(path)
    table = _read_parquet(source)
    return frame_of(table, name, columns_of(name), check_schema(table.schema, name, source), source)


def check_schema(schema: pa.Schema, name: str, source: Path) -> dict[str, str]:
    """Check that a parquet file holds a table in this version; returns its metadata.

    Parameters
    ----------
    schema
        Of the file.
    name
        Table name.
    source
        For messages.

    Returns
    -------
    dict
        Text to text, among it ``attributes``.

    Raises
    ------
    DataFileError
        If it is another table or version.
    """
    columns = columns_of(name)
    metadata = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (schema.metadata or {}).items()
    }
    version = metadata.get("schema_version")
    if metadata.get("table") != name or version != str(SCHEMA_VERSION):
        raise DataFileError(
            f"expected table {name} of schema version {SCHEMA_VERSION} in {source}, "
            f"received {metadata.get('table')} of version {version}"
            f"{remedy(source.parent) if metadata.get('table') == name else ''}"
        )
    retired = RETIRED_COLUMNS.get(name, frozenset())
    if [word for word in schema.names if word not in retired] != [column.name for column in columns]:
        raise DataFileError(
            f"expected the documented columns of {name} in {source}, received others{remedy(source.parent)}"
        )
    return metadata


def remedy(folder: Path) -> str:
    """Say how to come by a result of this version where another one wrote the folder."""
    return f"; cascade-sim run {folder / SCENARIO_FILE} writes one that this version reads"


def frame_of(
    table: pa.Table, name: str, columns: Sequence[Column], metadata: Mapping[str, str], source: Path
) -> pd.DataFrame:
    """Turn what was read of a file into a frame with exact types.

    Parameters
    ----------
    table
        Some or all of the columns, some or all of the rows.
    name
        Table name.
    columns
        Which columns, in the order of the frame.
    metadata
        What `check_schema` returned.
    source
        For messages.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataFileError
        If the content does not match the documentation.
    """
    try:
        frame = pd.DataFrame({column.name: _pandas_column(table, column) for column in columns})
        frame.attrs = json.loads(metadata["attributes"])
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DataFileError(
            f"expected table {name} with the metadata it was written with in {source}, received others"
        ) from error
    try:
        check_table(name, frame, columns)
    except OutputError as error:
        raise DataFileError(f"{error} (in {source}){remedy(source.parent)}") from error
    return frame


def _pandas_column(table: pa.Table, column: Column) -> Any:
    values = table.column(column.name)
    if column.dtype == "category":
        stored = values.to_pandas()
        if column.vocabulary is None:
            categories = json.loads(table.schema.field(column.name).metadata[b"categories"])
            return stored.cat.set_categories(pd.Index(categories, dtype=str))
        # A closed vocabulary is that of this version: one that wrote the file may have known more names, or fewer. Only
        # a name that some row uses has to be known.
        if not set(stored.cat.categories) <= set(column.vocabulary):
            stored = stored.cat.remove_unused_categories()
        unknown = [word for word in stored.cat.categories if word not in column.vocabulary]
        return stored.cat.set_categories(pd.Index([*column.vocabulary, *unknown], dtype=str))
    if column.dtype in NULLABLE:
        missing = values.is_null().to_numpy().astype(bool)
        return pd.arrays.IntegerArray(values.fill_null(0).to_numpy().copy(), missing.copy())
    return values.to_numpy()


class TableFile:
    """A table in a parquet file: read piece by piece or column by column, whole only when asked for.

    Parameters
    ----------
    name
        Table name.
    source
        A file with a name, or one without, which goes when nobody holds it any more.

    Raises
    ------
    DataFileError
        If it is not this table in this version.
    """

    def __init__(self, name: str, source: Path | IO[bytes]) -> None:
        self.name = name
        self._source = source
        if not isinstance(source, Path):
            weakref.finalize(self, source.close)
        self._place = source if isinstance(source, Path) else Path(f"{name}.parquet")
        with self._opened() as file:
            self.rows: int = file.metadata.num_rows
            self._metadata = check_schema(file.schema_arrow, name, self._place)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            if isinstance(self._source, Path):
                with pq.ParquetFile(self._source, page_checksum_verification=True) as file:
                    yield file
            else:
                yield pq.ParquetFile(self._source, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise DataFileError(
                f"expected a readable parquet file {self._place}, received {reason_of(error)}"
            ) from error

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the table as frames of some thousand rows each, at least one, perhaps without rows.

        Parameters
        ----------
        columns
            Names of the columns to read; all by default.
        """
        known = columns_of(self.name)
        chosen = known if columns is None else [next(c for c in known if c.name == name) for name in columns]
        names = [column.name for column in chosen]
        with self._opened() as file:
            if not file.metadata.num_row_groups:
                nothing = file.schema_arrow.empty_table().select(names)
                yield frame_of(nothing, self.name, chosen, self._metadata, self._place)
            for number in range(file.metadata.num_row_groups):
                table = file.read_row_group(number, columns=names)
                yield frame_of(table, self.name, chosen, self._metadata, self._place)

    def load(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the whole table, or some columns of it, in memory."""
        pieces = list(self.pieces(columns))
        frame = pd.concat(pieces, ignore_index=True) if len(pieces) > 1 else pieces[0]
        frame.attrs = dict(pieces[0].attrs)
        return frame

    def copy(self, target: Path) -> None:
        """Write the file to another place, where it appears whole or not at all.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        held = self._source
        with held.open("rb") if isinstance(held, Path) else nullcontext(held) as source:
            source.seek(0)
            write_whole(target, lambda stream: shutil.copyfileobj(source, stream, 1 << 20))


def _frame_notes() -> dict[str, tuple[str, str]]:
    """Column -> unit and description, for the tables of a counterfactual."""
    notes = {key.name: (key.unit, key.label) for key in METRICS.values()}
    notes |= {column.name: (column.unit, column.description) for column in TABLES["series"]}
    return notes | {"arm": ("-", "counterfactual run of the same draws, named for what differs")}


def arrow_frame(frame: pd.DataFrame) -> pa.Table:
    """Return a table whose columns depend on the mechanisms as Arrow has it, unit and description with each column.

    Parameters
    ----------
    frame
        Marks of arms, or a row per subset of mechanisms.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    notes = _frame_notes()
    for k, name in enumerate(table.column_names):
        unit, description = notes.get(name, ("-", f"whether {name.replace('_', ' ')} was on"))
        field_k = table.schema.field(k).with_metadata({"unit": unit, "description": description})
        table = table.set_column(k, field_k, table.column(k))
    return table


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whose columns depend on the mechanisms; see `arrow_frame`.

    Parameters
    ----------
    frame
        Marks of arms, or a row per subset of mechanisms.
    path
        Parquet file to write.
    """
    table = arrow_frame(frame)
    with path.open("wb") as stream:
        pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
        stream.flush()
        os.fsync(stream.fileno())


def read_frame(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a table that `write_frame` wrote.

    Parameters
    ----------
    path
        Parquet file.
    columns
        The columns it must have, in this order; if empty, ``arm`` and any others that hold numbers.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataFileError
        If the file is unreadable or has other columns.
    """
    frame: pd.DataFrame = _read_parquet(path, pa.Table.to_pandas)
    if columns and list(frame.columns) != list(columns):
        raise DataFileError(f"expected the columns {', '.join(columns)} in {path}, received others")
    figures = frame.drop(columns=[*columns, "arm"], errors="ignore")
    if "arm" not in frame.columns or not all(map(pd.api.types.is_numeric_dtype, figures.dtypes)):
        raise DataFileError(f"expected a column arm, switches and numbers in {path}, received other columns")
    return frame


def write_plain_frame(frame: pd.DataFrame, path: Path, units: Mapping[str, str]) -> None:
    """Write a table whose columns are no fixed ones; those whose unit is known say it.

    Parameters
    ----------
    frame
        Text, numbers and booleans.
    path
        Parquet file to write.
    units
        Unit by column.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for k, name in enumerate(table.column_names):
        if name in units:
            table = table.set_column(
                k, table.schema.field(k).with_metadata({"unit": units[name]}), table.column(k)
            )
    with path.open("wb") as stream:
        pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
        stream.flush()
        os.fsync(stream.fileno())


def read_plain_frame(path: Path) -> pd.DataFrame:
    """Read a table that `write_plain_frame` wrote.

    Parameters
    ----------
    path
        Parquet file.

    Raises
    ------
    DataFileError
        If it is unreadable.
    """
    frame: pd.DataFrame = _read_parquet(path, pa.Table.to_pandas)
    return frame


def _read_parquet(path: Path, convert: Callable[[pa.Table], Any] = lambda table: table) -> Any:
    try:
        with path.open("rb") as stream:
            return convert(pq.read_table(stream, page_checksum_verification=True))
    except (OSError, pa.ArrowException) as error:
        raise DataFileError(
            f"expected a readable parquet file {path}, received {reason_of(error)}"
        ) from error


def reason_of(error: Exception) -> str:
    """Return what went wrong on one line, without the file's name, which a message names already.

    Parameters
    ----------
    error
        What was caught.

    Returns
    -------
    str
    """
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    DataFileError
        If it cannot be read, is not JSON (NaN and infinities are not), or holds something else.
    """
    try:
        content = read_bounded(path, LARGEST_JSON)
        value = json.loads(content, parse_constant=_refuse_constant, parse_int=bounded_integer)
    except (OSError, ValueError, RecursionError) as error:
        raise DataFileError(f"expected a readable {path}, received {reason_of(error)}") from error
    if not isinstance(value, dict):
        raise DataFileError(f"expected a JSON object in {path}, received {type(value).__name__}")
    return value


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word}, which is not JSON")
