"""Performance of a model in one window, measured with labels; each metric has an interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import pyarrow as pa

from flytekitplugins.wbmon.arguments import listed, listed_columns
from flytekitplugins.wbmon.data.columns import as_column, read_values
from flytekitplugins.wbmon.data.times import row_times
from flytekitplugins.wbmon.data.unreadable import unreadable_of
from flytekitplugins.wbmon.data.uuids import uuid_name, value_name
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.performance import segments as breakdown
from flytekitplugins.wbmon.monitor.performance.baseline import Baseline
from flytekitplugins.wbmon.monitor.performance.clusters import in_clusters, row_clusters
from flytekitplugins.wbmon.monitor.performance.estimate import compare_estimate
from flytekitplugins.wbmon.monitor.performance.meaning import Meaning
from flytekitplugins.wbmon.monitor.performance.measure import report_of
from flytekitplugins.wbmon.monitor.performance.outcomes import (
    Outcomes,
    Score,
    read_classification,
    read_regression,
    score_columns,
)
from flytekitplugins.wbmon.monitor.performance.powered import read_proxies
from flytekitplugins.wbmon.monitor.performance.report import (
    Every,
    PerformanceReport,
    PredictionIs,
    Task,
)
from flytekitplugins.wbmon.monitor.performance.settings import (
    baseline_values,
    require_every,
    require_prediction_is,
    require_ranking,
    require_rule,
    require_task,
)
from flytekitplugins.wbmon.stats.estimate import Estimate

Compared: TypeAlias = "PerformanceReport | Mapping[str, float] | None"

_RANKING = ("log_loss", "accuracy", "mae")
_ENOUGH_WINDOWS = 4


def check_performance(  # noqa: PLR0913 - one keyword a column
    data: Any,
    *,
    task: Task,
    label: str,
    prediction: str,
    score: Score = None,
    threshold: float = 0.5,
    weight: str | None = None,
    cluster: str | None = None,
    proxy: str | None = None,
    baseline: Compared = None,
    positive: Any = None,
    min_rows: int = 30,
    segments: Sequence[str] = (),
    time: str | None = None,
    every: Every = "day",
    rank_by: str | None = None,
    estimate: PerformanceReport | None = None,
    prediction_is: PredictionIs | None = None,
    classes: Sequence[Any] = (),
) -> PerformanceReport:
    """Measure the predictions of a window against its labels.

    Rows without a label are counted but not measured, and so are labelled rows without a prediction
    or with an infinite one. Classification is binary if there are two classes. With more classes,
    precision, recall and F1 are unweighted means over the classes that have a labelled row, and AUC
    is one against the rest. A baseline is then the mean over the same classes, so that a class
    without labels tonight is held against nobody. Intervals have 95 % coverage. Values agree with
    scikit-learn, with two exceptions: what has no row to compute it from (precision if nothing was
    predicted positive) is undefined, `nan` with a reason, and left out of means; MAPE leaves out
    rows whose label is 0.

    A metric has a value and a reason, but no interval and no verdict, if few rows make it: log loss
    and Brier score with fewer than 10 rows of a class, and the errors of a regression of which the
    largest 1 % of rows carry more than 30 % of the sum.

    Null, `nan` and blank text are missing. Classes are names: text, booleans, dates, or whole
    numbers of any type and size, of which no digit is lost. Durations are measured in seconds. A
    value that cannot be read, such as `n/a` among numbers, is counted and missing.

    Args:
        data: Path or URI of Parquet data, a pandas or polars DataFrame, or an Arrow table or
            dataset. Only the named columns are read.
        task: `classification` or `regression`.
        label: Column of the true classes or values.
        prediction: Column of predicted classes or values. With two classes it may be a column of
            floats, the probability of the positive class; see `prediction_is`.
        score: Probabilities in addition to predicted classes: the column of the positive class, or
            one column per class in the sorted order of the classes, or a mapping class -> column.
        threshold: Probability from which a row is predicted positive; in [0, 1].
        weight: Column of row weights, such as the `sample_weight` of a sampled log.
        cluster: Column that is the same for rows that belong together, such as a customer or a
            session: intervals, verdicts and p-values then take clusters as independent, not rows
            (Liang & Zeger's sums of influence). A row without a value is a cluster of its own.
        proxy: Column that stands in for the label where there is none, such as the verdict of a
            judge or of a better model: classes, or of two classes the probability of the positive
            one; of a regression, values. Accuracy, log loss, Brier score, MAE and RMSE then rest on
            labels and proxies together (prediction-powered inference): valid whatever the proxy is
            worth, and shorter where it is good. The labelled rows must be a random sample of all.
        baseline: An earlier report, best of four windows' rows or more, as its error is common to
            all windows; or values by metric (treated as exactly known). A metric is
            `worse` if the whole interval of its change is on the worse side of 0.
        positive: The positive class of two. If None, that of the baseline; else 1 of 0 and 1, true
            of false and true; else the last in sorted order, which the report says.
        min_rows: With fewer measured rows, the status is `insufficient` and there is no verdict.
        segments: Columns by whose values the window is divided into parts; each part is compared
            with all other rows. Numbers with many distinct values are divided at their quartiles,
            times by day (UTC).
        time: Column of the times by which the window is divided into chunks: timestamps, dates or
            ISO text, read with its offset from UTC. Rows whose time is missing or cannot be read
            are a chunk of their own, `(missing)`.
        every: Length of a chunk: `hour`, `day`, `week` (from Monday) or `month`, UTC.
        rank_by: The metric by which parts are ranked and judged; by default log loss with
            probabilities, accuracy without, and mean absolute error for regression.
        estimate: The report of `estimate_performance` for the same window, to be compared with the
            measured values.
        prediction_is: What `prediction` holds: `class`, or `probability` of the positive class. If
            None, what it held in the baseline; else floats that are all whole numbers are classes
            where the labels are numbers too, and other floats are probabilities.
        classes: Classes that exist, whether they occur in the window or not, in addition to those
            of the baseline. With a baseline of two classes or more, values that are no class of
            either are counted as unreadable, and not measured: metrics of other classes could not
            be compared.

    Returns:
        The report.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
        DataError: If a column is missing or of the wrong type, a probability is outside [0, 1], or
            a weight neither 0 nor in [1e-100, 1e100], or `time` holds no times: more than one of
            its values, and more than one in twenty, are none.
    """
    require_task(task)
    require_rule(threshold, min_rows)
    require_every(every)
    if rank_by is not None:
        require_ranking(rank_by, task)
    meaning = _meaning(baseline, positive, prediction_is, classes)
    _require_prediction(prediction_is, score, task)
    known = _known_baseline(baseline, task)
    label, prediction = str(label), str(prediction)
    weight, time = as_column(weight), as_column(time)
    cluster, proxy = as_column(cluster), as_column(proxy)
    segments = listed_columns("segments", segments)
    cut_by = [*segments, *([] if time is None else [time])]
    others = [name for name in (weight, cluster, proxy) if name is not None]
    names = [label, prediction, *score_columns(score), *others, *cut_by]
    # one read for all columns: segments and times must belong to the same rows as the outcomes
    table = read_values(data, names)

    def read(of: str | None, known: Meaning) -> Outcomes:
        if task == "regression":
            # without labels, the prediction stands in for them
            given = {"label": prediction if of is None else of, "prediction": prediction}
            return read_regression(table, **given, weight=weight)
        return read_classification(
            table,
            label=of,
            prediction=prediction,
            score=score,
            threshold=threshold,
            weight=weight,
            meaning=known,
        )

    outcomes = read(label, meaning)
    outcomes = _beside_labels(table, outcomes, proxy, cluster, read)
    times = None if time is None else row_times(table[time].combine_chunks(), time)
    if times is not None:
        odd = unreadable_of({str(time): times.unreadable})
        outcomes = replace(outcomes, unreadable=outcomes.unreadable.and_(odd))
    _require_unit(baseline, outcomes)

    def measure(part: Outcomes, against: Baseline | None) -> PerformanceReport:
        return report_of(part, task=task, baseline=against, min_rows=min_rows)

    # parts are compared with the rest of the window, so only the whole gets the baseline
    report = _asking_for_more(measure(outcomes, known), baseline)
    if isinstance(baseline, PerformanceReport) and baseline.status != "ok":
        unusable = f"the baseline has no verdict of its own, {baseline.reason}"
        report = replace(report, baseline_unusable=unusable)
    if estimate is not None:
        report = replace(report, estimates=compare_estimate(estimate, report))
    if not cut_by:
        return report
    ranked = _ranking_metric(rank_by, report)
    return replace(
        report,
        segments=breakdown.segments(table, segments, outcomes, measure, ranked),
        chunks=()
        if times is None
        else breakdown.chunks(times.values, str(time), every, outcomes, measure, ranked),
    )


def _require_prediction(prediction_is: PredictionIs | None, score: Score, task: Task) -> None:
    if prediction_is == "probability" and score is not None:
        raise ConfigError(
            "a prediction that is a probability needs no `score`; name the column of predicted "
            "classes as `prediction`, or leave `score` out"
        )
    if prediction_is is not None and task == "regression":
        raise ConfigError(
            f"prediction_is must be of a classification; got {prediction_is!r} for a regression"
        )


def _beside_labels(
    table: pa.Table,
    outcomes: Outcomes,
    proxy: str | None,
    cluster: str | None,
    read: Callable[[str | None, Meaning], Outcomes],
) -> Outcomes:
    """The outcomes with what stands in for labels, and with what rows belong together."""
    if proxy is not None and len(outcomes.rows):
        # a proxy is one of the classes, or it says nothing
        closed = outcomes.meaning._replace(is_closed=True)
        proxies = read_proxies(table, outcomes, proxy, lambda of: read(of, closed))
        outcomes = replace(outcomes, proxies=proxies)
    if cluster is not None:
        outcomes = in_clusters(outcomes, row_clusters(table[cluster], cluster))
    return outcomes


def _meaning(
    baseline: Compared, positive: Any, prediction_is: PredictionIs | None, classes: Sequence[Any]
) -> Meaning:
    """What settings say of the classes, and what the baseline remembers of them."""
    require_prediction_is(prediction_is)
    said = tuple(map(value_name, listed("classes", classes, "classes")))
    found = Meaning(said, prediction_is or "")
    if isinstance(baseline, PerformanceReport):
        # a class that is rare may be absent from this window, but not from the baseline
        classes = tuple(map(uuid_name, baseline.classes))
        found = found._replace(classes=(*said, *classes))
        if not found.prediction_is:
            found = found._replace(prediction_is=baseline.prediction_is)
        of_two = classes[-1] if len(classes) == 2 else ""  # noqa: PLR2004
        found = found._replace(positive=uuid_name(baseline.positive) or of_two)
        found = found._replace(positive_from="baseline" if found.positive else "")
        # of one class alone it is not known what the others are
        found = found._replace(is_closed=len(baseline.classes) > 1)
    if positive is not None:
        found = found._replace(positive=value_name(positive), positive_from="setting")
    return found


def _asking_for_more(report: PerformanceReport, baseline: Compared) -> PerformanceReport:
    """The report, which asks for a larger baseline if that is less than four such windows."""
    if not isinstance(baseline, PerformanceReport) or report.status != "ok":
        return report
    n, wanted = _n_measured(baseline), _ENOUGH_WINDOWS * _n_measured(report)
    # its error is common to all windows that are compared with it, and no window tells it
    if not 0 < n < wanted:
        return report
    asked = f"the baseline has {n} measured rows, {wanted} or more (as of 4 windows) are advised"
    return replace(report, reason=f"{report.reason}; {asked}")


def _n_measured(report: PerformanceReport) -> int:
    return report.n_labelled - report.n_missing_prediction


def _require_unit(baseline: Compared, outcomes: Outcomes) -> None:
    if not isinstance(baseline, PerformanceReport) or not len(outcomes.rows):
        return
    if baseline.n_labelled and baseline.unit != outcomes.unit:
        units = [each or "no unit" for each in (baseline.unit, outcomes.unit)]
        raise ConfigError(
            f"the baseline must be measured in the same unit; it is in {units[0]}, this in "
            f"{units[1]}"
        )


def _ranking_metric(rank_by: str | None, report: PerformanceReport) -> str:
    if rank_by is None:
        return next(name for name in _RANKING if name in report.metrics)
    if rank_by not in report.metrics:
        raise ConfigError(f"rank_by must be one of {', '.join(report.metrics)}; got {rank_by!r}")
    return rank_by


def _known_baseline(baseline: Compared, task: Task) -> Baseline | None:
    if baseline is None:
        return None
    if isinstance(baseline, PerformanceReport):
        if baseline.task != task:
            raise ConfigError(
                f"the baseline must be of the same task; it is a {baseline.task}, this a {task}"
            )
        # of what could not be judged itself nothing follows for others
        return Baseline.of_report(baseline) if baseline.status == "ok" else None
    values = baseline_values(baseline, task)
    return Baseline({name: Estimate(value) for name, value in values.items()})
