"""Result tables: cast to the documented columns, check against them, write and read parquet."""

import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cascade_sim.columns import SCHEMA_VERSION, SUMMARY_KEYS, TABLE_DESCRIPTIONS, TABLES, Column
from cascade_sim.domain.errors import DataFileError, OutputError, UnknownNameError

_NULLABLE = ("Int64", "Int32")


def columns_of(name: str) -> tuple[Column, ...]:
    """Documented columns of a table, in order.

    Parameters
    ----------
    name
        Table name, a key of ``columns.TABLES``.

    Returns
    -------
    tuple of Column

    Raises
    ------
    UnknownNameError
        If there is no such table.
    """
    if name not in TABLES:
        raise UnknownNameError("result table", name, TABLES)
    return TABLES[name]


def _codes_of(
    values: np.ndarray[Any, Any], column: Column, where: str
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Translate integer codes of an enum to positions in the vocabulary; -1 where missing."""
    assert column.enum is not None
    vocabulary = column.vocabulary or ()
    lookup = {
        int(member): vocabulary.index(member.name.lower()) for member in column.enum if member.name != "NONE"
    }
    missing = {int(member) for member in column.enum if member.name == "NONE"}
    size = max((*lookup, *missing)) + 1
    positions = np.full(size, -2, dtype=np.int64)
    for code, position in lookup.items():
        positions[code] = position
    for code in missing:
        positions[code] = -1
    codes = values.astype(np.int64)
    if codes.size and codes.max() >= size:
        raise OutputError(f"expected codes of {column.enum.__name__} in {where}, received {codes.max()}")
    result = np.where(codes < 0, np.int64(-1), positions[np.clip(codes, 0, None)])
    if (result == -2).any():
        raise OutputError(
            f"expected codes of {column.enum.__name__} in {where}, received {codes[result == -2][0]}"
        )
    return result


def _cast_category(values: Any, column: Column, where: str) -> "pd.Categorical[Any]":
    vocabulary = column.vocabulary
    if isinstance(values, pd.Categorical):
        categories = [str(item) for item in values.categories]
        if vocabulary is None or categories == list(vocabulary):
            return pd.Categorical.from_codes(values.codes, categories=pd.Index(categories, dtype=str))
        values = np.asarray(values, dtype=object)
    array = np.asarray(values)
    if vocabulary is None:
        if array.dtype.kind not in "OUST":
            raise OutputError(f"expected names in {where}, received values of type {array.dtype}")
        # Sorted categories: the order in which names first appear would leak into the bytes of the file.
        codes, names = pd.factorize(array.astype(object), sort=True)
        return pd.Categorical.from_codes(codes, categories=pd.Index([str(name) for name in names], dtype=str))
    categories_index = pd.Index(list(vocabulary), dtype=str)
    if array.dtype.kind in "iu":
        return pd.Categorical.from_codes(_codes_of(array, column, where), categories=categories_index)
    objects = pd.Series(array, dtype=object)
    codes = categories_index.get_indexer(pd.Index(objects))
    unknown = (codes < 0) & objects.notna().to_numpy()
    if unknown.any():
        raise OutputError(
            f"expected names in {where} among {', '.join(vocabulary)}, received {objects[unknown].iloc[0]!r}"
        )
    return pd.Categorical.from_codes(codes, categories=categories_index)


def _cast_integer(values: Any, dtype: str, where: str) -> np.ndarray[Any, Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise OutputError(f"expected whole numbers in {where}, received values of type {array.dtype}")
    bounds = np.iinfo(dtype)
    if array.size:
        low, high = array.min(), array.max()
        if not (low >= bounds.min and high <= bounds.max):
            raise OutputError(f"expected numbers that fit {dtype} in {where}, received {low} to {high}")
    with np.errstate(invalid="ignore"):
        result = array.astype(dtype)
    if array.dtype.kind == "f" and not np.array_equal(result, array):
        raise OutputError(f"expected whole numbers in {where}, received {array[result != array][0]}")
    return result


def _cast_nullable(values: Any, dtype: str, where: str) -> pd.arrays.IntegerArray:
    base = dtype.lower()
    if isinstance(values, pd.Series):
        values = values.array
    if isinstance(values, pd.arrays.IntegerArray):
        missing = np.asarray(values.isna())
        array: Any = values.to_numpy(dtype=np.int64, na_value=-1)
    else:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            missing = np.asarray(pd.isna(pd.Series(array, dtype=object)))
            array = np.array(
                [-1 if gone else item for gone, item in zip(missing, array, strict=True)], dtype=np.int64
            )
        else:
            missing = np.isnan(array) if array.dtype.kind == "f" else np.zeros(len(array), dtype=bool)
    missing = missing | (np.where(missing, -1, array) < 0)
    exact = _cast_integer(np.where(missing, array.dtype.type(0), array), base, where)
    return pd.arrays.IntegerArray(exact, missing)


def cast_table(name: str, frame: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """Cast plain columns into the documented types and order.

    Category columns with a closed vocabulary accept names or the integer codes of their enum (a negative
    code, and ``NONE``, mean missing). Nullable ids accept NaN, None and negative numbers as missing.
    Numbers are never changed: a value that does not fit is an error.

    Parameters
    ----------
    name
        Table name.
    frame
        Columns of equal length n, in any order; the index is dropped, ``frame.attrs`` is kept.

    Returns
    -------
    pandas.DataFrame
        n rows that pass `check_table`.

    Raises
    ------
    OutputError
        If a column is missing, unknown or holds values that do not fit.
    """
    columns = columns_of(name)
    _check_names(name, list(frame.keys()))
    data: dict[str, Any] = {}
    for column in columns:
        where = f"{name}.{column.name}"
        values = frame[column.name]
        if isinstance(values, pd.Series):
            values = values.array
        if column.dtype == "category":
            data[column.name] = _cast_category(values, column, where)
        elif column.dtype in _NULLABLE:
            data[column.name] = _cast_nullable(values, column.dtype, where)
        elif column.dtype == "bool":
            data[column.name] = _cast_integer(values, "uint8", where).astype(bool)
        elif column.dtype.startswith("float"):
            with np.errstate(over="ignore"):
                data[column.name] = np.asarray(values).astype(column.dtype)
        else:
            data[column.name] = _cast_integer(values, column.dtype, where)
    result = pd.DataFrame(data)
    if isinstance(frame, pd.DataFrame):
        result.attrs = dict(frame.attrs)
    check_table(name, result)
    return result


def empty_table(name: str) -> pd.DataFrame:
    """Return a table without rows whose columns have the documented types.

    Parameters
    ----------
    name
        Table name.

    Returns
    -------
    pandas.DataFrame
        0 rows.

    Raises
    ------
    UnknownNameError
        If there is no such table.
    """
    return cast_table(name, {column.name: _no_values(column) for column in columns_of(name)})


def _no_values(column: Column) -> np.ndarray[Any, Any]:
    return np.empty(0, dtype=object if column.dtype == "category" else column.dtype.lower())


def _check_names(name: str, received: list[str]) -> None:
    expected = [column.name for column in columns_of(name)]
    missing = [item for item in expected if item not in received]
    unknown = [item for item in received if item not in expected]
    if missing or unknown:
        problem = f"{len(missing)} missing ({', '.join(missing[:5])})" if missing else ""
        extra = f"{len(unknown)} unknown ({', '.join(map(str, unknown[:5]))})" if unknown else ""
        raise OutputError(
            f"expected the documented columns of {name}, received {', '.join(filter(None, (problem, extra)))}"
        )


def check_table(name: str, frame: pd.DataFrame) -> None:
    """Check the columns, types and vocabularies of a table against the documentation.

    Parameters
    ----------
    name
        Table name.
    frame
        Table to check.

    Raises
    ------
    OutputError
        If a column is missing, unknown, out of order, of another type, holds a name outside its
        vocabulary, or if the index is not 0, 1, 2, ...
    """
    _check_names(name, [str(item) for item in frame.columns])
    columns = columns_of(name)
    if list(frame.columns) != [column.name for column in columns]:
        raise OutputError(f"expected the columns of {name} in the documented order, received another order")
    if not frame.index.equals(pd.RangeIndex(len(frame))):
        raise OutputError(f"expected the rows of {name} to be numbered from 0, received another index")
    for column in columns:
        series = frame[column.name]
        if str(series.dtype) != column.dtype:
            raise OutputError(f"expected {column.dtype} in {name}.{column.name}, received {series.dtype}")
        if column.dtype == "category" and column.vocabulary is not None:
            strange = [str(item) for item in series.cat.categories if item not in column.vocabulary]
            if strange:
                raise OutputError(
                    f"expected names in {name}.{column.name} among {', '.join(column.vocabulary)}, "
                    f"received {', '.join(strange)}"
                )


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
    check_table(name, frame)
    target = Path(path)
    pairs = [_arrow_column(frame[column.name], column) for column in columns_of(name)]
    try:
        attributes = json.dumps(frame.attrs, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OutputError(f"expected JSON-like attributes of {name}, received {frame.attrs!r}") from error
    metadata = {
        "table": name,
        "description": TABLE_DESCRIPTIONS[name],
        "schema_version": str(SCHEMA_VERSION),
        "attributes": attributes,
    }
    schema = pa.schema([field for field, _ in pairs], metadata=metadata)
    table = pa.Table.from_arrays([array for _, array in pairs], schema=schema)
    # Dictionaries of measured numbers would hold each of them once more and save nothing.
    names = [field.name for field, _ in pairs if pa.types.is_dictionary(field.type)]
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with partial.open("wb") as stream:
            pq.write_table(table, stream, compression="zstd", use_dictionary=names, write_page_checksum=True)
            pa.default_memory_pool().release_unused()
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, target)
    except OSError as error:
        raise OutputError(f"expected to write {target}, received {error}") from error
    finally:
        partial.unlink(missing_ok=True)


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
    columns = columns_of(name)
    table = _read_parquet(source)
    metadata = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (table.schema.metadata or {}).items()
    }
    version = metadata.get("schema_version")
    if metadata.get("table") != name or version != str(SCHEMA_VERSION):
        raise DataFileError(
            f"expected table {name} of schema version {SCHEMA_VERSION} in {source}, "
            f"received {metadata.get('table')} of version {version}"
        )
    if table.column_names != [column.name for column in columns]:
        raise DataFileError(f"expected the documented columns of {name} in {source}, received others")
    try:
        frame = pd.DataFrame({column.name: _pandas_column(table, column) for column in columns})
        frame.attrs = json.loads(metadata["attributes"])
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise DataFileError(
            f"expected table {name} with the metadata it was written with in {source}, received others"
        ) from error
    try:
        check_table(name, frame)
    except OutputError as error:
        raise DataFileError(f"{error} (in {source})") from error
    return frame


def _pandas_column(table: pa.Table, column: Column) -> Any:
    values = table.column(column.name)
    if column.dtype == "category":
        categories = json.loads(table.schema.field(column.name).metadata[b"categories"])
        stored = values.to_pandas()
        return stored.cat.set_categories(pd.Index(categories, dtype=str))
    if column.dtype in _NULLABLE:
        missing = values.is_null().to_numpy().astype(bool)
        return pd.arrays.IntegerArray(values.fill_null(0).to_numpy().copy(), missing.copy())
    return values.to_numpy()


def _frame_notes() -> dict[str, tuple[str, str]]:
    """Column -> unit and description, for the tables of a counterfactual."""
    notes = {key.name: (key.unit, key.label) for key in SUMMARY_KEYS}
    notes |= {column.name: (column.unit, column.description) for column in TABLES["series"]}
    return notes | {"arm": ("-", "counterfactual run of the same draws, named for what differs")}


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a table whose columns depend on the mechanisms; unit and description go with each column.

    Parameters
    ----------
    frame
        Marks of arms, or a row per subset of mechanisms.
    path
        Parquet file to write.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    notes = _frame_notes()
    for k, name in enumerate(table.column_names):
        unit, description = notes.get(name, ("-", f"whether {name.replace('_', ' ')} was on"))
        field_k = table.schema.field(k).with_metadata({"unit": unit, "description": description})
        table = table.set_column(k, field_k, table.column(k))
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
        value = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise DataFileError(f"expected a readable {path}, received {reason_of(error)}") from error
    if not isinstance(value, dict):
        raise DataFileError(f"expected a JSON object in {path}, received {type(value).__name__}")
    return value


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word}, which is not JSON")
