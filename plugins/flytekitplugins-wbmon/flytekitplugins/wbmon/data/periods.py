"""Periods of pandas in files and tables, which Arrow knows only once pandas has told it of them.

Until then they are whole numbers to Arrow, and a column would be another one in a process that has
not used them yet.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.names import listed_names

_NAME, _PERIOD = b"ARROW:extension:name", b"pandas.period"


def told_of_periods(schema: pa.Schema) -> bool:
    """Whether Arrow took periods for whole numbers in a schema, and knows better from now on.

    Args:
        schema: As it was read; read it again if the answer is yes.

    Raises:
        DataError: If pandas, which alone knows what the numbers mean, is not installed.
    """
    unknown = [
        field.name for field in schema if field.metadata and field.metadata.get(_NAME) == _PERIOD
    ]
    if not unknown:
        return False
    try:
        from pandas import PeriodIndex
    except ImportError as error:
        raise DataError(
            "periods of pandas must be read where pandas is installed, found some in "
            f"{listed_names(unknown)}; install pandas, or store timestamps"
        ) from error
    # pandas makes its type known to Arrow with the first that it converts
    pa.array(PeriodIndex([], freq="D"))
    return True


def with_periods(data: Any) -> Any:
    """A table or a reader with the periods of pandas that Arrow did not know when it was made."""
    if not told_of_periods(data.schema):
        return data
    # what comes from elsewhere is taken for what it says it is, without a copy
    reader = pa.RecordBatchReader.from_stream(data)
    return reader.read_all() if isinstance(data, pa.Table) else reader


def require_known_periods(schema: pa.Schema) -> None:
    """Refuse a dataset that took periods for whole numbers, which it does for good.

    Raises:
        DataError: If it did.
    """
    if told_of_periods(schema):
        raise DataError(
            "a dataset with periods of pandas must be made when Arrow knows them, this one was "
            "made before and has whole numbers in their place; give its path, or make it again"
        )
