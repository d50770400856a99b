"""Reads the feedback log: the latest version of each feedback, and labels joined to predictions.

`serving.log.feedback` writes it; `monitor.llm.feedback` analyses ratings of a language model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flytekitplugins.wbmon.arguments import listed
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
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import empty_log_table
from flytekitplugins.wbmon.monitor.prediction_log.report import LabelReport, label_reason
from flytekitplugins.wbmon.monitor.prediction_log.schema import SOURCES, day_folder
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
    return _rows(feedback, ("label",))


def experiment_rows(feedback: Any) -> list[dict[str, Any]]:
    """As `feedback_rows`, of a log that has the columns of experiments; labels are not needed.

    Args:
        feedback: The feedback log, in any form that `open_source` accepts.

    Raises:
        DataError: If a column of the feedback log is missing, or scores are no numbers.
    """
    return _rows(feedback, ("experiment", "variant"))


def _rows(feedback: Any, also: Sequence[str]) -> list[dict[str, Any]]:
    source = open_source(feedback)
    names = ("timestamp", "feedback_id", "request_id", "session_id", "name", "score")
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


class JoinedFeedback(NamedTuple):
    """Predictions with their feedback, and what was found in joining them."""

    table: pa.Table
    report: LabelReport


def join_feedback(
    predictions: Any,
    feedback: Any,
    *,
    name: str = "label",
    route: str = "",
    sources: Sequence[str] = SOURCES,
) -> JoinedFeedback:
    """Predictions with the columns `label` and `feedback_score`; null where there is no feedback.

    Rows without a prediction (of requests that were refused or failed) are left out. If rows share
    a request id (a client that tried again), the last one gets the feedback, as its answer came.

    Args:
        predictions: The prediction log, in any form that `open_source` accepts.
        feedback: The feedback log of the same days and of later ones, as labels may come late.
        name: Name of the feedback to join; others are left out.
        route: Route whose requests are kept; all requests if empty.
        sources: The sources of feedback to use. Each has its own last word on a request; where
            they disagree the first source decides.

    Returns:
        The prediction log's columns and the two new ones, one row per prediction, and a report.

    Raises:
        ConfigError: If there is no source, or `sources` is no sequence.
        DataError: If there is no `request_id` or `prediction`, or the feedback log lacks a column.
    """
    sources = listed("sources", sources, "sources")
    if not sources:
        raise ConfigError("sources must name at least one source of feedback, got none")
    rows = _table(open_source(predictions))
    for needed in ("request_id", "prediction"):
        if needed not in rows.column_names:
            raise DataError(
                f"the data must be a prediction log; {needed} not found among "
                f"{', '.join(rows.column_names)}"
            )
    logged = rows["request_id"]
    rows = rows.filter(pc.is_valid(rows["prediction"]))
    if route:
        rows = rows.filter(pc.equal(rows["route"], route))
    said = [
        row
        for row in feedback_rows(feedback)
        if row["name"] == name and row["request_id"] is not None
    ]
    # the source that decides last; `sorted` keeps the order in time of what one of them said
    used = sorted(
        (row for row in said if source_of(row) in sources),
        key=lambda row: -sources.index(source_of(row)),
    )
    labels = _labels(used, rows.schema)
    is_last = _is_last(rows)
    ids, place = rows["request_id"], rows.column_names.index("request_id")
    # a row without a key is never joined
    keyed = rows.set_column(place, "request_id", pc.if_else(is_last, ids, None))
    labelled = join_labels(keyed, labels, label="label").table
    scored = join_labels(labelled, labels, label="feedback_score").table
    table = scored.set_column(place, "request_id", ids)
    is_known = pc.is_in(labels["request_id"], value_set=pc.unique(logged).cast(pa.string()))
    has_any = pc.or_(pc.is_valid(table["label"]), pc.is_valid(table["feedback_score"]))
    report = LabelReport(
        name=name,
        n_predictions=rows.num_rows,
        n_labelled=pc.sum(has_any).as_py() or 0,
        n_disputed=_n_disputed(used, labels, set(ids.to_pylist())),
        n_repeated=rows.num_rows - (pc.sum(is_last).as_py() or 0),
        n_unmatched=pc.count_distinct(labels["request_id"].filter(pc.invert(is_known))).as_py(),
        n_left_out=len(said) - len(used),
        reason="",
    )
    return JoinedFeedback(table, replace(report, reason=label_reason(report)))


def _labels(rows: Sequence[Mapping[str, Any]], predictions: pa.Schema) -> pa.Table:
    """Feedback as a table of labels, to be joined to predictions by request id.

    Labels become numbers if predictions are numbers, whole ones with all their digits, and booleans
    if predictions are booleans; they stay text if one of them cannot. A label is null if only a
    score was given.
    """
    kind = kind_of(plain_type(predictions.field("prediction").type))
    return pa.table(
        {
            "request_id": pa.array([row["request_id"] for row in rows], pa.string()),
            "label": _label_column([row["label"] for row in rows], kind),
            "feedback_score": pa.array([row["score"] for row in rows], pa.float64()),
        }
    )


def _is_last(rows: pa.Table) -> pa.Array:
    """Whether no later row has the request id of a row; true for rows without one."""
    ids = rows["request_id"].combine_chunks()
    codes = ids.dictionary_encode().indices
    is_known = np.asarray(pc.is_valid(codes).to_numpy(zero_copy_only=False))
    order = np.arange(len(ids))
    if "timestamp" in rows.column_names and pa.types.is_timestamp(rows["timestamp"].type):
        # rows without a time are the earliest, of one time the order of the log counts
        times = rows["timestamp"].combine_chunks().cast(pa.int64()).fill_null(np.iinfo("i8").min)
        order = np.lexsort((order, times.to_numpy()))
    known = order[is_known[order]]
    last: dict[int, int] = dict(
        zip(codes.fill_null(-1).to_numpy()[known].tolist(), known.tolist(), strict=True)
    )
    found = ~is_known
    found[list(last.values())] = True
    return pa.array(found)


def _n_disputed(rows: Sequence[Mapping[str, Any]], labels: pa.Table, ids: set[str | None]) -> int:
    """How many predictions have a last word of two sources that are not the same."""
    opinions: dict[str, dict[tuple[str, str], Any]] = defaultdict(dict)
    for name in ("label", "feedback_score"):
        for row, value in zip(rows, labels[name].to_pylist(), strict=True):
            if value is not None and row["request_id"] in ids:
                opinions[row["request_id"]][name, source_of(row)] = value
    return sum(
        len({value for (name, _), value in each.items() if name == column}) > 1
        for each in opinions.values()
        for column in ("label", "feedback_score")
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
