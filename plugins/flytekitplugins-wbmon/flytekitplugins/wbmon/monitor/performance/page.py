"""The page of a performance report: metrics, then segments of the window and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from flytekitplugins.wbmon.monitor.performance.calibration_report import Calibration
from flytekitplugins.wbmon.monitor.performance.part import (
    Metric,
    Part,
)
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    folded_table,
    heading,
    interval,
    name_cell,
    number,
    page,
    section,
    share,
    state_cell,
    table,
    verdict,
)

# letters of a class at the head of a column
_IN_HEAD = 24
_SHOWN = 20
_METRICS = ("accuracy", "f1", "roc_auc", "log_loss", "mae", "rmse", "mape", "r2")


def performance_section(report: PerformanceReport) -> str:
    """The first section of a performance report."""
    words = "Worse than the baseline" if report.worse else "No metric is clearly worse"
    if all(math.isnan(metric.baseline) for metric in report.metrics.values()):
        words = "Measured; no baseline to compare with"
    if report.status != "ok":
        words = "No labels" if report.status == "no_labels" else "Too few labelled rows"
    body = [
        verdict("worse" if report.worse else report.status, words, report.reason),
        facts(
            f"{report.n_labelled:,} of {report.n_rows:,} rows labelled",
            f"{report.task}",
            "intervals cover 95 %",
            *_facts(report),
        ),
        table(
            ("metric", "value", "interval", "baseline", "change", "verdict"),
            (_metric_row(metric, report) for metric in report.metrics.values()),
        ),
    ]
    if report.confusion:
        body += _confusion(report)
    return section("Performance report", body)


def performance_details(report: PerformanceReport) -> Iterator[str]:
    """What the first section leaves out: the window in parts, and its calibration."""
    if report.segments:
        yield section("Segments, worst first", _parts(report.segments))
    if report.chunks:
        yield section("In the course of time", _parts(report.chunks))
    if report.calibration is not None:
        yield section("Calibration", _calibration(report.calibration))
    if report.estimates:
        yield section("What was estimated without labels", _estimates(report))


def _facts(report: PerformanceReport) -> Iterator[str]:
    if report.prediction_is == "probability":
        yield "predictions are probabilities"
    if report.positive:
        yield report.positive_class
    if report.unit:
        yield f"values in {report.unit}"
    if report.proxy:
        yield f"{report.n_proxy:,} rows without a label count by {shown_name(report.proxy)}"
    if report.n_clusters:
        yield f"{report.n_clusters:,} clusters, which are taken as independent, not rows"
    if report.n_unreadable:
        yield f"{report.n_unreadable:,} unreadable ({', '.join(report.unreadable)})"


def _metric_row(metric: Metric, report: PerformanceReport) -> Sequence[str]:
    unit = "" if math.isnan(metric.value) else report.unit_of(metric.name)
    change = "-" if math.isnan(metric.change) else f"{metric.change:+.4g}"
    return (
        name_cell(metric.name),
        cell(f"{number(metric.value)} {unit}".strip()),
        cell("-" if math.isnan(metric.low) else interval(metric.low, metric.high)),
        cell(number(metric.baseline)),
        cell(change),
        dim_cell(metric.reason) if metric.reason else state_cell(metric.verdict),
    )


def _confusion(report: PerformanceReport) -> Iterable[str]:
    yield heading("Rows by true class (down) and predicted class (across)")
    rows = zip(report.classes, report.confusion, strict=True)
    yield table(
        ("", *(shown_name(name, _IN_HEAD) for name in report.classes)),
        (
            [dim_cell(shown_name(name)), *(cell(f"{count:g}") for count in row)]
            for name, row in rows
        ),
    )


def _parts(parts: Sequence[Part]) -> Iterable[str]:
    names = [name for name in _METRICS if name in parts[0].metrics]
    head = ("part", "verdict", "labelled", *names)
    yield facts("each held against the rest of the window; verdicts corrected for their number")
    rows = [_part_row(part, names) for part in parts]
    yield from folded_table(head, rows, shown=_SHOWN, more="more")


def _part_row(part: Part, names: Sequence[str]) -> Sequence[str]:
    metrics = (part.metrics[name] for name in names)
    return (
        f"<td>{escape(shown_name(part.by))} <b>{escape(shown_name(part.value))}</b></td>",
        state_cell(part.verdict if part.status == "ok" else part.status),
        cell(f"{part.n_labelled:,} of {part.n_rows:,}"),
        *(
            cell(
                number(item.value)
                if math.isnan(item.low)
                else f"{number(item.value)} [{number(item.low)}, {number(item.high)}]"
            )
            for item in metrics
        ),
    )


def _calibration(calibration: Calibration) -> Iterable[str]:
    words = {True: "too sure", False: "not sure enough", None: "to be believed"}
    yield facts(
        f"probabilities are {words[calibration.too_sure]} (p {number(calibration.p_value)})",
        f"error {number(calibration.error)}, by chance {number(calibration.error_by_chance)}",
    )
    yield table(
        ("predicted", "happened", "interval", "rows"),
        (
            (
                cell(share(each.score)),
                cell(share(each.share)),
                cell(interval(each.share_low, each.share_high, share)),
                cell(f"{each.weight:,.0f}"),
            )
            for each in calibration.bins
        ),
    )


def _estimates(report: PerformanceReport) -> Iterable[str]:
    yield facts(
        "the estimate was too good beyond chance: what the scores mean has changed"
        if report.overestimated
        else "the labels say what was estimated, within chance"
    )
    words = {True: "ok", False: "fail", None: "unknown"}
    yield table(
        ("metric", "estimated", "interval", "measured", "result"),
        (
            (
                cell(each.name),
                cell(number(each.expected)),
                cell(interval(each.low, each.high)),
                cell(number(each.value)),
                state_cell(words[each.held]),
            )
            for each in report.estimates
        ),
    )


def page_of(report: PerformanceReport) -> str:
    """The page of a report of this package."""
    return page("Performance report", performance_section(report), *performance_details(report))
