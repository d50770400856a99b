"""Reads the feedback log: the latest version of each feedback, and labels joined to predictions.

`serving.log.feedback` writes it; `monitor.llm.feedback` analyses ratings of a language model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.data.arrow import float_array, kind_of, text_array
from flytekitplugins.wbmon.data.columns import read_numbers
from flytekitplugins.wbmon.data.join_labels import join_labels
from flytekitplugins.wbmon.data.kind import Kind
from flytekitplugins.wbmon.data.objects import exact_numbers
from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.data.plain import plain_type
from flytekitplugins.wbmon.data.readings import read_as
from flytekitplugins.wbmon.data.sources import Source, no_rows
from flytekitplugins.wbmon.data.stack import stacked
from flytekitplugins.wbmon.data.whole import read_whole
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import empty_log_table
from flytekitplugins.wbmon.monitor.prediction_log.schema import day_folder
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

EXPOSURE = "exposure"
"""Name of the rows that say which variant of an experiment a unit was shown."""

_TRUTHS = {"true": True, "false": False}


def feedback_rows(feedback: Any) -> list[dict[str, Any]]:
    """The rows of the feedback log by time, without those that `last_words` leaves out.

    Args:
        feedback: The feedback log, in any form that `open_source` accepts.

    Raises:
        DataError: If a column of the feedback log is missing, or scores are no numbers.
    """
    return _rows(feedback, ())


def experiment_rows(feedback: Any) -> list[dict[str, Any]]:
    """As `feedback_rows`, of a log that has also the columns of experiments.

    Args:
        feedback: The feedback log, in any form that `open_source` accepts.

    Raises:
        DataError: If a column of the feedback log is missing, or scores are no numbers.
    """
    return _rows(feedback, ("experiment", "variant"))


def _rows(feedback: Any, also: Sequence[str]) -> list[dict[str, Any]]:
    source = open_source(feedback)
    names = ("timestamp", "feedback_id", "request_id", "session_id", "name", "score", "label")
    needed = (*names, *also)
    missing = [name for name in needed if name not in source.names]
    if missing:
        raise DataError(
            f"the data must be a feedback log; {', '.join(missing)} not found among "
            f"{', '.join(source.names)}"
        )
    table = _table(source)
    scores = read_numbers(table["score"], "score").values
    place = table.column_names.index("score")
    known = ~np.isnan(scores)
    table = table.set_column(place, "score", float_array(scores[known], known))
    return last_words(table.to_pylist())


def last_words(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Feedback rows by time; of rows with the same id, name and source, only the last.

    Of exposures to an experiment only the first is kept: it says when a unit entered.

    Args:
        rows: Rows with `timestamp` (null sorts first), `feedback_id` (rows with null are all kept)
            and, where the log has them, `name` and `source`.
    """
    # the first part of the key keeps None and texts from being compared
    in_order = sorted(rows, key=lambda row: (row["timestamp"] is not None, row["timestamp"]))
    last: dict[object, dict[str, Any]] = {}
    for index, row in enumerate(in_order):
        key = _version_of(row["feedback_id"], row.get("name"), source_of(row), index)
        if key in last and row.get("name") == EXPOSURE:
            continue
        # removed first, so that a row that replaces another takes its own place in time
        last.pop(key, None)
        last[key] = dict(row)
    return list(last.values())


def source_of(row: Mapping[str, Any]) -> str:
    """Who gave a feedback; a user, if the row does not say."""
    return row.get("source") or "user"


def _version_of(feedback_id: str | None, name: str | None, source: str, index: int) -> object:
    """What rows have in common that replace each other.

    One id may stand for a form: what it says under several names, or through several people, does
    not replace each other.
    """
    return (feedback_id, name, source) if feedback_id else index


def recent_feedback(
    destination: str, service: str, days: Sequence[str], *, filesystem: Any = None
) -> pa.Table:
    """The feedback of some days; of rows with the same id, name and source, only the last.

    Of exposures to an experiment only the first is kept.

    Args:
        destination: Path or fsspec URL of the log.
        service: Name of the service.
        days: Days as `YYYY-MM-DD`, UTC; days without feedback are skipped.
        filesystem: The fsspec file system of the log, if the caller has one with credentials.

    Returns:
        The columns of the feedback log; no rows if no day has feedback.
    """
    files, root = open_filesystem(destination, filesystem=filesystem)
    # at least one table, as `concat_tables` needs one, and it sets the types
    tables = [empty_log_table("feedback")]
    for day in sorted(days):
        if files.exists(day_folder(root, "feedback", service, day)):
            folder = day_folder(destination, "feedback", service, day)
            tables.append(_table(open_source(folder, filesystem=files)))
    whole = pa.concat_tables(tables, promote_options="permissive").sort_by("timestamp")
    kept: dict[object, int] = {}
    columns = (whole[name].to_pylist() for name in ("feedback_id", "name", "source"))
    for index, (feedback_id, name, source) in enumerate(zip(*columns, strict=True)):
        key = _version_of(feedback_id, name, source or "user", index)
        if not (key in kept and name == EXPOSURE):
            kept[key] = index
    return whole.take(pa.array(sorted(kept.values()), pa.int64()))


def join_feedback(
    predictions: Any, feedback: Any, *, name: str = "label", route: str = ""
) -> pa.Table:
    """Predictions with the columns `label` and `feedback_score`; null where there is no feedback.

    Rows without a prediction (of requests that were refused or failed) are left out.

    Args:
        predictions: The prediction log, in any form that `open_source` accepts.
        feedback: The feedback log of the same days and of later ones, as labels may come late.
        name: Name of the feedback to join.
        route: Route whose requests are kept; all requests if empty.

    Returns:
        The prediction log's columns and the two new ones, one row per prediction.

    Raises:
        DataError: If there is no `request_id` or `prediction`, or the feedback log lacks a column.
    """
    rows = _table(open_source(predictions))
    if "prediction" not in rows.column_names:
        raise DataError(
            f"the data must be a prediction log; prediction not found among "
            f"{', '.join(rows.column_names)}"
        )
    rows = rows.filter(pc.is_valid(rows["prediction"]))
    if route:
        rows = rows.filter(pc.equal(rows["route"], route))
    labels = feedback_labels(feedback, rows, name=name)
    labelled = join_labels(rows, labels, label="label").table
    return join_labels(labelled, labels, label="feedback_score").table


def feedback_labels(feedback: Any, predictions: Any, *, name: str = "label") -> pa.Table:
    """The feedback of one name as a table of labels, to be joined to predictions by request id.

    Args:
        feedback: The feedback log, in any form that `open_source` accepts.
        predictions: The prediction log it belongs to. Only its schema is read: labels become
            numbers if predictions are numbers, whole ones with all their digits, and booleans if
            predictions are booleans; they stay text if one of them cannot.
        name: Name of the feedback: `label` for true labels, `thumbs` for ratings.

    Returns:
        The columns `request_id`, `label` (null if only a score was given) and `feedback_score`.

    Raises:
        DataError: If the feedback log lacks a column.
    """
    rows = [
        row
        for row in feedback_rows(feedback)
        if row["name"] == name and row["request_id"] is not None
    ]
    schema = open_source(predictions).schema
    is_known = "prediction" in schema.names
    kind = kind_of(plain_type(schema.field("prediction").type)) if is_known else "empty"
    return pa.table(
        {
            "request_id": pa.array([row["request_id"] for row in rows], pa.string()),
            "label": _label_column([row["label"] for row in rows], kind),
            "feedback_score": pa.array([row["score"] for row in rows], pa.float64()),
        }
    )


def _table(source: Source) -> pa.Table:
    names = source.names
    pieces = [
        pa.table([_plain_text(column) for column in batch.columns], names=batch.schema.names)
        for part in source.parts()
        for batch in part(names)
    ]
    if not pieces:
        return no_rows(source.schema)
    return stacked(pieces)


def _plain_text(column: pa.Array) -> pa.Array:
    """A dictionary-encoded column decoded, as parts may have different dictionaries."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _label_column(labels: list[str | None], kind: Kind) -> pa.Array:
    """Labels, which the log stores as text, as values of the kind that predictions are."""
    texts = text_array(labels).cast(pa.string())
    if kind == "text":
        return texts
    # a single one that is nothing of the kind makes the column text
    if kind == "boolean":
        truths = read_as("boolean", texts)
        return texts if truths.n_unreadable else truths.values
    try:
        numbers = exact_numbers([None if label is None else _number(label) for label in labels])
    except ValueError:
        return texts
    return texts if numbers is None else numbers


def _number(text: str) -> int | float | bool:
    (whole,) = read_whole([text])
    if whole is not None:
        return whole
    truth = _TRUTHS.get(text.strip().lower())
    if truth is not None:
        return truth
    # more digits than are read as a whole number must not become a float either
    return int(text) if text.strip().isdigit() else float(text)
