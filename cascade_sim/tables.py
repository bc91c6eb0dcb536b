"""Result tables: cast to the documented columns, check against them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cascade_sim.columns import TABLES, Column
from cascade_sim.domain.errors import OutputError, UnknownNameError

NULLABLE = ("Int64", "Int32")


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
        elif column.dtype in NULLABLE:
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


def _check_names(name: str, received: list[str], columns: Sequence[Column] | None = None) -> None:
    expected = [column.name for column in columns or columns_of(name)]
    missing = [item for item in expected if item not in received]
    unknown = [item for item in received if item not in expected]
    if missing or unknown:
        problem = f"{len(missing)} missing ({', '.join(missing[:5])})" if missing else ""
        extra = f"{len(unknown)} unknown ({', '.join(map(str, unknown[:5]))})" if unknown else ""
        raise OutputError(
            f"expected the documented columns of {name}, received {', '.join(filter(None, (problem, extra)))}"
        )


def check_table(name: str, frame: pd.DataFrame, columns: Sequence[Column] | None = None) -> None:
    """Check the columns, types and vocabularies of a table against the documentation.

    Parameters
    ----------
    name
        Table name.
    frame
        Table to check.
    columns
        The columns it must have, in this order; all of them by default.

    Raises
    ------
    OutputError
        If a column is missing, unknown, out of order, of another type, holds a name outside its
        vocabulary, or if the index is not 0, 1, 2, ...
    """
    columns = columns or columns_of(name)
    _check_names(name, [str(item) for item in frame.columns], columns)
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
