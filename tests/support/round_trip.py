"""Rows as a program may give them to a log, and what a reader must find."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from hypothesis import strategies as st

from flytekitplugins.wbmon.llm import CallLog, read_calls
from flytekitplugins.wbmon.monitor.llm.calls.row import new_row
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy

_INT64 = 2**63

texts = st.one_of(
    # any code point, halves of surrogate pairs and NUL among them
    st.text(st.characters(), max_size=20),
    st.sampled_from(
        ["", "\0", "\ud800", "\udc00\ud83d", "\ud83d\ude00", "\u2028\r\n", "x" * 100_000]
    ),
)
numbers = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([10**400, -(10**5000), 2**63, 2**63 - 1, -(2**63)]),
    st.floats(),
)
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
instants = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - the zone is drawn
    datetime(2100, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.one_of(st.none(), zones),
)
columns = st.fixed_dictionaries(
    {},
    optional={
        "session_id": texts,
        "conversation_id": texts,
        "input_text": texts,
        "score": numbers,
        "cost_usd": numbers,
        "gen_ai_usage_input_tokens": numbers,
        "attempts": numbers,
        "rate_limited": st.booleans(),
        "stage_ms": st.dictionaries(texts, numbers, max_size=3),
        "retrieved_documents": st.lists(
            st.fixed_dictionaries({}, optional={"id": texts, "rank": numbers, "score": numbers}),
            max_size=3,
        ),
        # what is nobody's to say, and what no table can hold
        "schema_version": st.one_of(numbers, texts),
        "variant": st.recursive(texts, lambda inner: st.lists(inner, max_size=2), max_leaves=4),
    },
)


def as_text(text: str) -> str:
    """A text as a reader finds it: pairs of surrogates are a character, halves none."""
    return re.sub("[\ud800-\udfff]", "\ufffd", json.loads(json.dumps(text)))


def as_float(number: float) -> float | None:
    """A number of a float column."""
    try:
        return float(number) if math.isfinite(float(number)) else None
    except OverflowError:
        return None


def as_int(number: float, below: int) -> int | None:
    """A number of a column of whole ones."""
    if isinstance(number, float) and not number.is_integer():
        return None
    return int(number) if -below <= number < below else None


def as_any(value: Any) -> Any:
    """A value of a column that takes the type of what it is given."""
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, bool):
        return value
    return as_whole(value) if isinstance(value, int) else as_float(value)


def as_whole(value: int) -> int | Decimal | str:
    """A whole number keeps all its digits, in the type that has room for them."""
    if -_INT64 <= value < _INT64:
        return value
    if abs(value) < 10**76:
        return Decimal(value)
    try:
        return str(value)
    except ValueError:  # of more digits than Python writes
        return f"{'-' * (value < 0)}0x{abs(value):x}"


def expected(row: dict[str, Any]) -> dict[str, Any]:
    """What a reader must find for `columns`."""
    how: dict[str, Callable[[Any], Any]] = {
        "session_id": as_text,
        "conversation_id": as_text,
        "input_text": as_text,
        "score": as_float,
        "cost_usd": as_float,
        "gen_ai_usage_input_tokens": lambda n: as_int(n, _INT64),
        "attempts": lambda n: as_int(n, 2**15),
        "rate_limited": bool,
        "stage_ms": lambda stages: {
            as_text(name): as_float(ms) for name, ms in stages.items() if as_float(ms) is not None
        },
        "retrieved_documents": lambda documents: [
            {
                "id": as_text(each["id"]) if "id" in each else None,
                "rank": as_int(each["rank"], 2**31) if "rank" in each else None,
                "score": as_float(each["score"]) if "score" in each else None,
            }
            for each in documents
        ],
    }
    return {name: how[name](value) for name, value in row.items() if name in how}


def found(row: dict[str, Any], names: Any) -> dict[str, Any]:
    """The columns of a row that was read."""
    return {
        name: dict(row[name]) if name == "stage_ms" and row[name] is not None else row[name]
        for name in names
    }


def write_prediction(destination: str, row: dict[str, Any], spool: Path, **given: Any) -> None:
    """One row of the prediction log, as a server gives it."""
    log = PredictionLogger(
        "api",
        destination,
        sampling=SamplingPolicy(rate=1.0),
        redactor=None,
        max_text=1_000_000,
        spool=str(spool),
    )
    log.log_prediction(**{**row, **given})
    stats = log.close()
    assert (stats.logged, stats.failed) == (1, 0)


def read_prediction(destination: str) -> dict[str, Any]:
    """The one row of the prediction log after compaction."""
    report = compact_prediction_log(destination, "api")
    assert (report.n_predictions, report.n_torn) == (1, 0)
    files, root = url_to_fs(f"{destination}/prediction_log")
    (part,) = [path for path in files.find(root) if path.endswith(".parquet")]
    with files.open(part, "rb") as file:
        (row,) = pq.read_table(file).to_pylist()
    return dict(row)


def write_call(destination: str, row: dict[str, Any], spool: Path, **given: Any) -> None:
    """One row of the call log, as a client gives it."""
    with CallLog(destination, "api", spool=str(spool)) as log:
        log.log_call({**new_row(), **row, **given})
    assert (log.n_rows, log.n_failed) == (1, 0)


def read_call(destination: str) -> dict[str, Any]:
    """The one row of the call log."""
    (row,) = read_calls(destination).to_pylist()
    return dict(row)
