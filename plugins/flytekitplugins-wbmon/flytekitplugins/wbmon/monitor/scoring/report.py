"""The report of a batch scoring run, and the settings that shape it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from flytekitplugins.wbmon.arguments import (
    listed_columns,
)
from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.scoring.slo import SLOResult
from flytekitplugins.wbmon.names import listed_names, shown_name
from flytekitplugins.wbmon.reports.failures import FAILED_ALLOWED
from flytekitplugins.wbmon.reports.measurement import Measurement, number
from flytekitplugins.wbmon.reports.report import Report

_CHARTED_CLASSES = 20
_NOT_SCORED = "nothing was scored"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Which predicted columns a scoring run summarises in its report.

    Attributes:
        confidence: One column with the probability of one of two classes, or one column per class.
        low_confidence: The largest class probability below which a row counts as unsure; in (0, 1].
        classes: The column of predicted classes.

    Raises:
        ConfigError: If `low_confidence` is out of range.
    """

    confidence: tuple[str, ...] = ()
    low_confidence: float = 0.6
    classes: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "confidence", listed_columns("confidence", self.confidence))
        if not 0 < self.low_confidence <= 1:
            raise ConfigError(
                f"low_confidence must be a probability in (0, 1], got {self.low_confidence}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence(ByContent):
    """Distribution of the confidence of a model, the largest class probability of each row.

    Attributes:
        n: Rows with a probability.
        n_missing: Rows without one.
        mean: Mean of the largest probability; in [0, 1], `nan` without rows.
        sd: Standard deviation of it, with divisor `n`.
        quantiles: Quantiles of it named `p5`, `p25`, `p50`, `p75`, `p95`; exact to 0.001.
        threshold: Predictions with a smaller probability count as low confidence.
        low_share: Share of rows below the threshold.
        low_share_low: Lower end of its 95 % Wilson interval.
        low_share_high: Upper end of that interval.
    """

    n: int
    n_missing: int = 0
    mean: float
    sd: float
    quantiles: Mapping[str, float]
    threshold: float
    low_share: float
    low_share_low: float
    low_share_high: float

    def measurements(self) -> Iterable[Measurement]:
        """The mean, its spread, and the share of rows below the threshold."""
        yield number(
            "confidence", value=self.mean, higher_is_better=True, reason="no row has a probability"
        )
        for name, value in {"sd": self.sd, **self.quantiles}.items():
            yield number("confidence", name, value=value, reason="no row has a probability")
        yield number(
            "low_confidence_share",
            value=self.low_share,
            low=self.low_share_low,
            high=self.low_share_high,
            higher_is_better=False,
            prominence="news",
            reason="no row has a probability",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedClasses(ByContent):
    """Distribution of the predicted classes.

    Attributes:
        counts: Rows of each predicted class, most frequent first; at most 1000 classes.
        n_other: Rows of all other classes.
        n_missing: Rows without a prediction.
    """

    counts: Mapping[str, int]
    n_other: int = 0
    n_missing: int = 0

    @property
    def n(self) -> int:
        """Rows with a prediction."""
        return sum(self.counts.values()) + self.n_other

    @property
    def top_share(self) -> float:
        """Share of the most frequent class; `nan` without rows."""
        return max(self.counts.values()) / self.n if self.counts else math.nan

    @property
    def n_effective(self) -> float:
        """Effective number of classes, `exp(entropy)`; `nan` without rows.

        This many classes of equal size would have the same entropy (a Hill number of order 1).
        Unlike the number of distinct predictions it does not grow with the number of rows.
        """
        if not self.counts:
            return math.nan
        shares = [count / self.n for count in (*self.counts.values(), self.n_other) if count]
        return math.exp(-sum(share * math.log(share) for share in shares))

    def measurements(self) -> Iterable[Measurement]:
        """How diverse the classes are, and the share of each."""
        yield number("n_effective_classes", value=self.n_effective, reason=_NOT_SCORED)
        yield number("top_prediction_share", value=self.top_share, reason=_NOT_SCORED)
        yield number("n_missing_prediction", value=self.n_missing, higher_is_better=False)
        for index, (name, count) in enumerate(self.counts.items()):
            yield number(
                "class_share",
                name,
                value=count / self.n,
                prominence="chart" if index < _CHARTED_CLASSES else "rule",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a scoring run.

    Attributes:
        n_batches: Batches completed.
        n_rows: Rows scored.
        n_failed: Rows that could not be scored.
        n_total: Rows of the data; None if unknown.
        latency_ms: Time inside predict for the last batch, in milliseconds.
    """

    n_batches: int
    n_rows: int
    n_failed: int
    n_total: int | None = None
    latency_ms: float

    @property
    def share(self) -> float:
        """Rows done over all rows; `nan` if their number is unknown or 0."""
        return (self.n_rows + self.n_failed) / self.n_total if self.n_total else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringReport(Report):
    """The result of a batch scoring run; times are in seconds or milliseconds as named.

    Attributes:
        n_rows: Rows scored and written.
        n_batches: Batches read.
        duration_s: Total time of reading, scoring and writing.
        predict_s: Time inside the predict function.
        latency_ms: Time inside predict per batch: `mean sd min max p50 p95 p99`.
        columns: The columns that were predicted.
        slos: The objectives with the observed values.
        n_failed: Rows that predict could not score, set aside in `quarantine`.
        errors: Failed rows by exception class.
        quarantine: Where the failed rows are; empty if none failed.
        confidence: Distribution of the watched probabilities; None if none were watched.
        classes: Distribution of the watched predictions; None if none were watched.
        missing: Scored rows without a value, null or not a number, by predicted column.
        n_resumed: How many of `n_rows` an earlier attempt had already scored and written.
    """

    KIND: ClassVar[str] = "scoring"
    VOLUMES: ClassVar[tuple[str, ...]] = ("n_rows",)
    OTHER_KINDS: ClassVar[tuple[str, ...]] = ("slo",)

    n_rows: int
    n_batches: int
    duration_s: float
    predict_s: float
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    slos: tuple[SLOResult, ...] = ()
    n_failed: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    quarantine: str = ""
    confidence: Confidence | None = None
    classes: PredictedClasses | None = None
    n_resumed: int = 0
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def unmeasured(self) -> str:
        """Why nothing was predicted, in any row, in a whole column, or in many rows."""
        if self.n_rows:
            empty = [name for name, n in self.missing.items() if n >= self.n_rows]
            told = [f"no row has a value of {listed_names(empty)}"] if empty else []
            if self.error_rate > FAILED_ALLOWED:
                told.append(f"predict failed on {self.n_failed:,} of {self.n_read:,} rows")
            return "; ".join(told)
        if not self.n_failed:
            return "the window has no rows"
        kinds = ", ".join(f"{shown_name(name)} {n:,}" for name, n in self.errors.items())
        return f"predict failed on all {self.n_failed:,} rows: {kinds or 'unknown errors'}"

    @property
    def error_rate(self) -> float:
        """Failed rows over all rows read; `nan` without rows."""
        return self.n_failed / self.n_read if self.n_read else math.nan

    @property
    def n_read(self) -> int:
        """Number of rows that were scored or failed."""
        return self.n_rows + self.n_failed

    @property
    def rows_per_s(self) -> float:
        """Rows over the whole duration, reading and writing included; `nan` if it is 0."""
        return self.n_rows / self.duration_s if self.duration_s > 0 else math.nan

    def absent(self, name: str) -> Measurement | None:
        """A class that was never predicted, or an error that did not happen."""
        stem, _, whose = name.partition(".")
        if stem == "missing_share" and whose and not self.n_rows:
            return number(stem, whose, value=math.nan, reason=_NOT_SCORED)
        if stem == "class_share" and self.classes is not None:
            value = 0.0 if self.classes.n else math.nan
            return number(stem, whose, value=value, reason=_NOT_SCORED)
        if stem != "errors" or not whose:
            return None
        value = 0.0 if self.n_rows + self.n_failed else math.nan
        return number(stem, whose, value=value, reason=_NOT_SCORED)

    def _measured(self) -> Iterable[Measurement]:
        yield number("n_rows", value=self.n_rows, prominence="history")
        yield number("n_batches", value=self.n_batches)
        yield number("n_resumed", value=self.n_resumed)
        yield number("n_failed", value=self.n_failed, higher_is_better=False)
        yield number(
            "error_rate",
            value=self.error_rate,
            higher_is_better=False,
            prominence="news",
            reason=_NOT_SCORED,
        )
        for name in ("duration_s", "predict_s"):
            yield number(name, value=getattr(self, name), unit="s", reason=_NOT_SCORED)
        yield number(
            "rows_per_s",
            value=self.rows_per_s,
            higher_is_better=True,
            unit="rows/s",
            prominence="history",
            reason=_NOT_SCORED,
        )
        for name, value in self.latency_ms.items():
            yield number(
                "latency_ms",
                name,
                value=value,
                higher_is_better=False,
                unit="ms",
                prominence="history",
                reason=_NOT_SCORED,
            )
        for name, n in self.missing.items():
            yield number(
                "missing_share",
                name,
                value=n / self.n_rows if self.n_rows else math.nan,
                higher_is_better=False,
                reason=_NOT_SCORED,
            )
        for name, count in self.errors.items():
            yield number("errors", name, value=count, higher_is_better=False)
        if self.classes is not None:
            yield from self.classes.measurements()
        if self.confidence is not None:
            yield from self.confidence.measurements()
        for result in self.slos:
            yield from result.measurements()
