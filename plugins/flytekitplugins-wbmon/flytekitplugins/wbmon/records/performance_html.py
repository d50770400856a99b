"""The further sections of performance and scoring reports: parts, calibration, failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.records.html import (
    _cell,
    _dim,
    _facts,
    _mark,
    _number,
    _section,
    _share,
    _table,
)

if TYPE_CHECKING:
    from flytekitplugins.wbmon.records.performance import Calibration, Part, PerformanceReport
    from flytekitplugins.wbmon.records.scoring import Confidence, PredictedClasses, ScoringReport

_SHOWN = 20
_METRICS = ("accuracy", "f1", "roc_auc", "log_loss", "mae", "rmse", "r2")


def performance_details(report: PerformanceReport) -> Iterator[str]:
    """What the first section leaves out: the window in parts, and its calibration."""
    if report.segments:
        yield _section("Segments, worst first", _parts(report.segments))
    if report.chunks:
        yield _section("In the course of time", _parts(report.chunks))
    if report.calibration is not None:
        yield _section("Calibration", _calibration(report.calibration))
    if report.foretold:
        yield _section("What was estimated without labels", _foretold(report))


def scoring_details(report: ScoringReport) -> Iterator[str]:
    """What the first section leaves out: rows that failed, confidence, predicted classes."""
    if report.n_failed:
        yield _section("Rows that could not be scored", _failures(report))
    if report.confidence is not None:
        yield _section("Confidence", _confidence(report.confidence))
    if report.classes is not None:
        yield _section("Predicted classes", _classes(report.classes))


def _parts(parts: Sequence[Part]) -> Iterable[str]:
    names = [name for name in _METRICS if name in parts[0].metrics]
    head = ("part", "verdict", "labelled", *names)
    yield _facts("each held against the rest of the window; verdicts corrected for their number")
    yield _table(head, (_part_row(part, names) for part in parts[:_SHOWN]))
    if len(parts) > _SHOWN:
        rest = _table(head, (_part_row(part, names) for part in parts[_SHOWN:]))
        yield f"<details><summary>{len(parts) - _SHOWN} more</summary>{rest}</details>"


def _part_row(part: Part, names: Sequence[str]) -> Sequence[str]:
    metrics = (part.metrics[name] for name in names)
    return (
        f"<td>{escape(part.by)} <b>{escape(part.value)}</b></td>",
        _mark(part.verdict if part.status == "ok" else part.status),
        _cell(f"{part.n_labelled:,} of {part.n_rows:,}"),
        *(
            _cell(f"{_number(item.value)} [{_number(item.low)}, {_number(item.high)}]")
            for item in metrics
        ),
    )


def _calibration(calibration: Calibration) -> Iterable[str]:
    words = {True: "too sure", False: "not sure enough", None: "to be believed"}
    yield _facts(
        f"probabilities are {words[calibration.too_sure]} (p {_number(calibration.p_value)})",
        f"error {_number(calibration.error)}, by chance {_number(calibration.error_by_chance)}",
    )
    yield _table(
        ("predicted", "happened", "interval", "rows"),
        (
            (
                _cell(_share(each.score)),
                _cell(_share(each.share)),
                _cell(f"{_share(each.share_low)} … {_share(each.share_high)}"),
                _cell(f"{each.weight:,.0f}"),
            )
            for each in calibration.bins
        ),
    )


def _foretold(report: PerformanceReport) -> Iterable[str]:
    yield _facts(
        "the estimate was too good beyond chance: what the scores mean has changed"
        if report.overrated
        else "the labels say what was estimated, within chance"
    )
    words = {True: "ok", False: "fail", None: "unknown"}
    yield _table(
        ("metric", "estimated", "interval", "measured", "result"),
        (
            (
                _cell(each.name),
                _cell(_number(each.expected)),
                _cell(f"{_number(each.low)} … {_number(each.high)}"),
                _cell(_number(each.value)),
                _mark(words[each.held]),
            )
            for each in report.foretold
        ),
    )


def _failures(report: ScoringReport) -> Iterable[str]:
    yield _facts(
        f"{report.n_failed:,} rows, {_share(report.error_rate)}", f"kept in {report.quarantine}"
    )
    rows = ((_cell(name), _cell(f"{count:,}")) for name, count in report.errors.items())
    yield _table(("exception", "rows"), rows)


def _confidence(confidence: Confidence) -> Iterable[str]:
    low, high = _share(confidence.low_share_low), _share(confidence.low_share_high)
    yield _facts(
        f"{_share(confidence.low_share)} [{low}, {high}] of rows below "
        f"{_number(confidence.threshold)}",
        f"mean {_number(confidence.mean)}, sd {_number(confidence.sd)}",
        f"{confidence.n_missing:,} rows without",
    )
    quantiles = confidence.quantiles
    yield _table(tuple(quantiles), [tuple(_cell(_number(value)) for value in quantiles.values())])


def _classes(classes: PredictedClasses) -> Iterable[str]:
    yield _facts(
        f"as diverse as {_number(classes.n_effective)} classes of equal size",
        f"{classes.n_missing:,} rows without",
    )
    shown = list(classes.counts.items())[:_SHOWN]
    rows = (
        (_cell(name), _cell(f"{count:,}"), _dim(_share(count / classes.n))) for name, count in shown
    )
    yield _table(("class", "rows", "share"), rows)
