"""Schema of the prediction log, which serving writes and nightly tasks read; version 1.

Serving appends rows as JSON lines, each with its `kind`; a nightly task converts them to Parquet,
with one folder per day of event time (UTC). Absent fields are null. Readers ignore unknown fields;
a new version of the schema only adds columns that may be null.

    {destination}/open/{service}/{instance}-{pid}-{seq}.jsonl        being written
    {destination}/sealed/{service}/{instance}-{pid}-{seq}.jsonl      complete; to be compacted
    {destination}/prediction_log/service={service}/dt={day}/…    and the other tables
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal

SCHEMA_VERSION = 1

RowKind = Literal["prediction", "feedback", "window"]

TABLES: Mapping[RowKind, str] = {
    "prediction": "prediction_log",
    "feedback": "feedback_log",
    "window": "serving_window",
}
"""The table of each kind of row."""

SOURCES = ("annotator", "user", "code", "llm_judge")
"""Who gives feedback, in the order in which they are believed: people, facts, opinions."""

MANIFEST = "_manifest.json"
UNMATCHED = "(unmatched)"
"""The route of a request that no route matched."""
DISCONNECTED = "client_disconnect"
"""The `error_type` of a request whose caller left before the end; the server did not fail."""
INCOMPLETE = "incomplete_response"
"""The `error_type` of an answer that ended before its end, without any exception."""

FEATURE_PREFIX = "feature."
"""In Parquet each feature is a column, named by this prefix and the feature's name."""

PREDICTION_COLUMNS: Mapping[str, str] = {
    "schema_version": "int16",
    "timestamp": "timestamp",
    "request_id": "string",
    "parent_request_id": "string",
    "trace_id": "string",
    "session_id": "string",
    "conversation_id": "string",
    "service": "string",
    "model": "string",
    "model_version": "string",
    "instance": "string",
    "deployment": "string",
    "tenant": "string",
    "user_hash": "string",
    "route": "string",
    "method": "string",
    "status_code": "int16",
    "latency_ms": "float64",
    "stage_ms": "map<string,float64>",
    "time_to_first_chunk_ms": "float64",
    "error_type": "string",
    "error_text": "string",
    "sample_reason": "string",
    "sample_weight": "float64",
    "prediction": "any",
    "score": "float64",
    "input_text": "string",
    "output_text": "string",
    "redactions": "int16",
    "truncated": "bool",
    "gen_ai_operation_name": "string",
    "gen_ai_provider_name": "string",
    "gen_ai_request_model": "string",
    "gen_ai_response_model": "string",
    "gen_ai_usage_input_tokens": "int64",
    "gen_ai_usage_output_tokens": "int64",
    "gen_ai_usage_cache_read_input_tokens": "int64",
    "gen_ai_usage_cache_creation_input_tokens": "int64",
    "gen_ai_usage_reasoning_output_tokens": "int64",
    "cost_usd": "float64",
    "finish_reason": "string",
    "prompt_name": "string",
    "prompt_version": "string",
    "attempts": "int16",
    "retries": "int16",
    "rate_limited": "bool",
    "fallback_from": "string",
    "retrieved_documents": "documents",
    "variant": "string",
}
"""Columns of the prediction log and their types.

`any` takes the type of the model's predictions (string, float64, int64, bool, or decimals where
whole numbers need them); `documents` is a list of `{id: string, rank: int32, score: float64}`.
Features follow as `feature.<name>`.
A request that makes several predictions, or one after its end, has a row for each: that of the
request itself, and others with an id of their own and that of the request as `parent_request_id`.
What is measured of the whole request (latency, stages, bodies) is in its own row only.
"""

CALL_COLUMNS: Mapping[str, str] = {
    "purpose": "string",
    "attempt_log": "string",
    "gen_ai_request_temperature": "float64",
    "gen_ai_request_top_p": "float64",
    "gen_ai_request_max_tokens": "int64",
    "gen_ai_request_seed": "int64",
    "openai_response_service_tier": "string",
}
"""Additional columns of the log of language model calls; each may be absent.

`purpose` is `product`, `judge` …; `attempt_log` is JSON with one object per attempt.
"""

CONTENT_FIELDS: Mapping[str, str] = {
    "features": "map<string,any>",
    "cat_features": "map<string,string>",
}
"""In segments, features are two objects, one of numbers and one of texts; see `FEATURE_PREFIX`."""

FEEDBACK_COLUMNS: Mapping[str, str] = {
    "schema_version": "int16",
    "timestamp": "timestamp",
    "feedback_id": "string",
    "request_id": "string",
    "session_id": "string",
    "unit": "string",
    "service": "string",
    "instance": "string",
    "tenant": "string",
    "source": "string",
    "name": "string",
    "score": "float64",
    "label": "string",
    "comment": "string",
    "experiment": "string",
    "variant": "string",
    "redactions": "int16",
}
"""Columns of the feedback log: ratings, late labels, exposures of an experiment, page views.

`unit` is the keyed hash of who is in an experiment (a user or a session), never a name in clear;
rows of earlier releases have none.
"""

WINDOW_COLUMNS: Mapping[str, str] = {
    "schema_version": "int16",
    "window_start": "timestamp",
    "window_end": "timestamp",
    "service": "string",
    "model": "string",
    "model_version": "string",
    "instance": "string",
    "deployment": "string",
    "route": "string",
    "method": "string",
    "tenant": "string",
    "requests": "int64",
    "errors": "map<string,int64>",
    "status": "map<string,int64>",
    "in_flight_max": "int64",
    "failed": "int64",
    "latency": "histogram",
    "failed_latency": "histogram",
    "abandoned": "histogram",
    "time_to_first_chunk": "histogram",
    "failed_time_to_first_chunk": "histogram",
    "unanswered": "histogram",
    "sampled_rows": "int64",
    "dropped_rows": "int64",
    "queue_depth_max": "int64",
}
"""Columns of the serving windows: counts of all requests, so they do not depend on sampling.

`histogram` is a struct as returned by `LogHistogram.to_dict`, in milliseconds; null without values.
`failed` is the number of requests that the server failed, whatever status was sent before: the
status of a stream that breaks off is 200. It is null in windows of earlier releases.
`latency` and `time_to_first_chunk` hold all requests; `failed_…` holds the failed ones among them,
so that those that succeeded and were fast can be told exactly. `abandoned` is how long callers
waited who left before the end, `unanswered` the same of those who had got no chunk until then.
`sampled_rows` is the number of requests whose rows were kept, `dropped_rows` the number of those
selected whose rows were lost.
"""

COLUMNS: Mapping[RowKind, Mapping[str, str]] = {
    "prediction": PREDICTION_COLUMNS,
    "feedback": FEEDBACK_COLUMNS,
    "window": WINDOW_COLUMNS,
}


def day_folder(destination: str, kind: RowKind, service: str, day: str) -> str:
    """The folder with the Parquet files of one table and one day.

    Args:
        destination: Path or URL of the log.
        kind: Kind of the table's rows.
        service: Name of the service.
        day: `YYYY-MM-DD`, UTC.
    """
    return f"{destination.rstrip('/')}/{TABLES[kind]}/service={service}/dt={day}"


def is_day(day: Any) -> bool:
    """Whether it is the text of a day as folders are named by it, `YYYY-MM-DD`."""
    try:
        return isinstance(day, str) and date.fromisoformat(day).isoformat() == day
    except ValueError:
        return False
