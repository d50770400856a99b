"""Conversion between Arrow tables and what a user's predict function takes and returns."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.names import listed_names, quoted_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BatchKind = Literal["pandas", "arrow", "numpy"]

_KINDS: Mapping[str, BatchKind] = {
    "pandas.DataFrame": "pandas",
    "pd.DataFrame": "pandas",
    "pyarrow.Table": "arrow",
    "pa.Table": "arrow",
    "numpy.ndarray": "numpy",
    "np.ndarray": "numpy",
}


def batch_kind(predict: Callable[..., Any]) -> BatchKind:
    """The batch type that a predict function takes, read from its first annotated parameter.

    `pd.DataFrame`, `pa.Table` or `np.ndarray` (also `NDArray[...]`); pandas without annotations.

    Raises:
        ConfigError: If the annotation is of another type.
    """
    try:
        hints = typing.get_type_hints(predict)
    # annotations under TYPE_CHECKING do not resolve at runtime; their text is enough here
    except (NameError, TypeError):
        hints = dict(getattr(predict, "__annotations__", {}))
    # `-> pd.DataFrame` alone says nothing about the input
    hints.pop("return", None)
    if not hints:
        return "pandas"
    first = next(iter(hints.values()))
    name = first if isinstance(first, str) else _dotted(typing.get_origin(first) or first)
    if name.partition("[")[0].rpartition(".")[2] == "NDArray":
        return "numpy"
    for known, kind in _KINDS.items():
        package, _, word = known.partition(".")
        if name == known or (name.startswith(f"{package}.") and name.endswith(f".{word}")):
            return kind
    raise ConfigError(
        "the first parameter of a predict function must be annotated with pd.DataFrame, pa.Table "
        f"or np.ndarray, found {name}"
    )


def batch_for(batch: pa.Table, kind: BatchKind) -> Any:
    """Convert a batch to the type that the predict function takes.

    Raises:
        ConfigError: If the kind is unknown.
        DataError: If numpy is asked for and a column is not numeric.
    """
    if kind == "arrow":
        return batch
    if kind == "pandas":
        return batch.to_pandas()
    if kind == "numpy":
        return _matrix(batch)
    raise ConfigError(f"kind must be one of {', '.join(get_args(BatchKind))}; got {kind!r}")


def predicted_columns(output: Any, batch: pa.Table) -> pa.Table:
    """Convert the output of a predict function for one batch to a table.

    A frame or table keeps its column names. A series keeps its name; it becomes `prediction` if it
    has none or shares the name of a column of the batch. A one-dimensional array becomes
    `prediction`, a matrix `prediction_0`, `prediction_1` …

    Raises:
        DataError: If the output is of another type, has another number of rows, or its rows are in
            another order than the batch.
    """
    try:
        columns = _named_columns(output, batch.column_names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, AttributeError) as error:
        raise DataError(f"it must return columns of one type each; Arrow says: {error}") from error
    if columns is None:
        raise DataError(
            "it must return a frame, table, series, array or mapping of columns; "
            f"it returned {type(output).__module__}.{type(output).__qualname__}"
        )
    if columns.num_rows != batch.num_rows:
        raise DataError(
            f"it must return {batch.num_rows} rows, one for each of the batch; it returned "
            f"{columns.num_rows}"
        )
    _require_order(output, batch.num_rows)
    return columns


def declared_outputs(outputs: Mapping[str, str]) -> pa.Schema:
    """The columns that a predict function is said to return.

    Args:
        outputs: Names of Arrow types by name of the column.

    Raises:
        ConfigError: If there is none, or a type does not exist.
    """
    if not outputs or not isinstance(outputs, Mapping):
        raise ConfigError(
            "outputs must map each returned column to its type, such as {'prediction': "
            f"'float64'}}; got {outputs!r}"
        )
    return pa.schema([_declared(str(name), kind) for name, kind in outputs.items()])


def _declared(name: str, kind: str) -> pa.Field:
    try:
        return pa.field(name, pa.type_for_alias(kind))
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            "outputs must name a type of Arrow, such as float64, int64, string or bool, for "
            f"{quoted_name(name)}; got {kind!r}"
        ) from error


def append_columns(batch: pa.Table, columns: pa.Table) -> pa.Table:
    """Append the predicted columns to the batch.

    A predicted column that the batch already has must hold equal values; it is not repeated.

    Raises:
        DataError: If two predicted columns have the same name, one differs from the batch's column
            of that name, or none is new.
    """
    names = columns.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"it must return different column names, {listed_names(twice)} came twice")
    joined = batch
    for name in names:
        if name not in batch.column_names:
            joined = joined.append_column(name, columns[name])
        elif not _equal(batch[name], columns[name]):
            raise DataError(
                f"it returned a column {quoted_name(name)}, which the data already have with "
                "other values; "
                "return it under another name"
            )
    if joined is batch:
        raise DataError("it must return at least one column that the data do not have")
    return joined


def _dotted(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', kind)}"


def _matrix(batch: pa.Table) -> NDArray[np.float64]:
    import numpy as np

    from flytekitplugins.wbmon.data.columns import float_values, is_number

    wrong = [
        f"{quoted_name(field.name)} ({field.type})"
        for field in batch.schema
        if not is_number(field.type)
    ]
    if wrong:
        raise DataError(
            f"a predict function on numpy needs numeric columns, found {', '.join(wrong)}; "
            "name the model's inputs with columns="
        )
    return np.column_stack([float_values(batch[name]) for name in batch.column_names])


def _named_columns(output: Any, taken: list[str]) -> pa.Table | None:
    # by module name: an isinstance test would import pandas and polars for every caller
    home = type(output).__module__.partition(".")[0]
    if isinstance(output, pa.RecordBatch):
        return pa.Table.from_batches([output])
    if isinstance(output, (pa.Array, pa.ChunkedArray)):
        return pa.table({"prediction": output})
    if home == "numpy":
        return _from_array(output)
    if home in ("pandas", "polars"):
        return _from_frame(output, home, taken)
    if isinstance(output, Mapping):
        return pa.table(dict(output))
    return output if isinstance(output, pa.Table) else None


def _from_frame(output: Any, home: str, taken: list[str]) -> pa.Table | None:
    if home == "pandas" and not hasattr(output, "index"):
        from pandas import Series

        # an index or an array of pandas
        output = Series(output)
    if not hasattr(output, "columns"):
        unnamed = getattr(output, "name", None) in (None, "", *taken)
        output = output.to_frame("prediction" if unnamed else str(output.name))
    if home == "polars":
        return output.to_arrow()
    return pa.Table.from_pandas(output, preserve_index=False)


def _from_array(output: NDArray[Any]) -> pa.Table:
    if output.ndim == 1:
        return pa.table({"prediction": pa.array(output)})
    if output.ndim == 2:  # noqa: PLR2004 - a matrix
        return pa.table({f"prediction_{j}": pa.array(output[:, j]) for j in range(output.shape[1])})
    raise DataError(f"it must return an array of one or two dimensions, got {output.ndim}")


def _require_order(output: Any, n_rows: int) -> None:
    index = getattr(output, "index", None)
    home = type(output).__module__.partition(".")[0]
    if home != "pandas" or index is None or index.dtype.kind not in "iu":
        return
    # an integer index that permutes 0..n-1 shows that predict sorted or shuffled its rows;
    # any other index is a key of the user and proves nothing
    places = index.to_numpy()
    steps = range(n_rows)
    if (places == steps).all() or sorted(places) != list(steps):
        return
    raise DataError(
        "it must return the rows in the order of the batch; the index shows another order, "
        "call .sort_index() before returning"
    )


def _equal(known: pa.ChunkedArray, returned: pa.ChunkedArray) -> bool:
    if known.equals(returned):
        return True
    try:
        cast = returned.cast(known.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    # a round trip through pandas turns missing values into nan, and nan into missing values
    both = (_nan_to_null(column) for column in (known, cast))
    return bool(next(both).equals(next(both)))


def _nan_to_null(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
