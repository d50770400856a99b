"""Requests of a day for people to look at: a stratified sample of the prediction log, redacted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.samples.rows import Sample, SampledRows
from flytekitplugins.wbmon.monitor.samples.sampler import RowSampler
from flytekitplugins.wbmon.privacy.patterns import Redactor

_STRATA, _WEIGHT = "sample_reason", "sample_weight"


def sample_requests(
    predictions: Any, rule: Sample, *, redactor: Redactor | None = None
) -> SampledRows:
    """Draw rows of a prediction log, by default as many failures and slow requests as others.

    What a row stands for is how many requests it represents: its weight in the log, divided by the
    share of its stratum that was drawn. Summed up it estimates the number of all requests.

    Args:
        predictions: The prediction log; any data that `open_source` accepts.
        rule: How many rows, of which columns (those that have values), by which column
            (`sample_reason` if none).
        redactor: Hides secrets and personal data; a `PatternRedactor` if None.

    Raises:
        DataError: If the data are not a prediction log, or lack a column of the rule.
    """
    source = open_source(predictions)
    missing = [name for name in (_STRATA, _WEIGHT) if name not in source.names]
    if missing:
        raise DataError(
            f"a sample of requests needs a prediction log; {missing[0]} not found among "
            f"{', '.join(source.names)}"
        )
    sampler = RowSampler(rule, redactor, weight=_WEIGHT)
    for part in source.parts():
        for batch in part(source.names):
            sampler.add(pa.Table.from_batches([batch]), (_STRATA,))
    return _with_values(sampler.record())


def _with_values(sample: SampledRows) -> SampledRows:
    """The sample without the columns that no row has a value in; most of a log's are such."""
    is_used = [any(row[i] is not None for row in sample.rows) for i in range(len(sample.columns))]
    return SampledRows(
        columns=tuple(_used(sample.columns, is_used)),
        rows=tuple(tuple(_used(row, is_used)) for row in sample.rows),
    )


def _used(values: tuple[Any, ...], is_used: list[bool]) -> list[Any]:
    return [value for value, kept in zip(values, is_used, strict=True) if kept]
