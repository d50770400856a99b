"""How a report reads on a page: the verdict first, then the reasons, worst first.

Pages are self-contained (no script, no outside file), follow the reader's light or dark theme, and
serve as Flyte Deck, as W&B panel and as a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flytekitplugins.wbmon.records.alert import Alert, Decision
    from flytekitplugins.wbmon.records.drift import Bin, DriftReport, FeatureDrift
    from flytekitplugins.wbmon.records.performance import Metric, PerformanceReport
    from flytekitplugins.wbmon.records.scoring import ScoringReport

_SHOWN = 20
_STYLE = """
.wbmon{--ink:#1d2733;--dim:#5d6b7a;--line:#dde3ea;--paper:#fff;--ref:#9fb3c8;--cur:#d9622b;
--good:#1a7f4b;--warn:#a86400;--bad:#b3261e;font:14px/1.45 system-ui,sans-serif;color:var(--ink);
background:var(--paper);max-width:1080px;margin:0 auto;padding:20px}
@media(prefers-color-scheme:dark){.wbmon{--ink:#e6ebf0;--dim:#9aa8b6;--line:#36424f;--paper:#161c22;
--ref:#6f8499;--cur:#ee8a58;--good:#5fcf98;--warn:#f0b45a;--bad:#f28b82}}
.wbmon h1{font-size:17px;margin:0 0 10px;color:var(--dim);font-weight:600}
.wbmon .verdict{font-size:21px;font-weight:650;border-left:6px solid;padding:6px 14px;margin:0}
.wbmon .good{color:var(--good)}.wbmon .warn{color:var(--warn)}.wbmon .bad{color:var(--bad)}
.wbmon .dim,.wbmon .none{color:var(--dim)}.wbmon .why{margin:8px 0 18px 20px}
.wbmon table{border-collapse:collapse;width:100%;margin:6px 0 18px}
.wbmon th{font-weight:600;text-align:left;color:var(--dim);font-size:12px}
.wbmon th,.wbmon td{padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
.wbmon td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.wbmon .key span{display:inline-block;width:10px;height:10px;margin:0 5px 0 0}
.wbmon .key span~span{margin-left:14px}
.wbmon svg{display:block}.wbmon a{color:inherit}.wbmon summary{cursor:pointer;color:var(--dim)}
"""
_TONE = {
    "ok": "good",
    "pass": "good",
    "better": "good",
    "resolved": "good",
    "ship": "good",
    "warning": "warn",
    "pending": "warn",
    "warn": "warn",
    "insufficient": "warn",
    "no_data": "warn",
    "no_labels": "warn",
    "undecided": "warn",
    "at_risk": "warn",
    "drift": "bad",
    "fail": "bad",
    "worse": "bad",
    "firing": "bad",
    "error": "bad",
    "hold": "bad",
    "exceeded": "bad",
}


def page(title: str, *sections: str) -> str:
    """A whole document of sections, in the order given."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f'<body style="margin:0">{"".join(sections)}</body></html>'
    )


def drift_section(report: DriftReport) -> str:
    """The section of a drift report."""
    words = {
        "ok": "No drift",
        "warning": "Small drift",
        "drift": f"Drift in {report.n_drifted} of {len(report.features)} features",
        "insufficient": "Too few rows to tell",
    }
    rule = report.rule
    features = list(report.features.values())
    shown, rest = features[:_SHOWN], features[_SHOWN:]
    key = (
        '<p class="key dim"><span style="background:var(--ref)"></span>reference'
        '<span style="background:var(--cur)"></span>current</p>'
    )
    head = ("feature", "verdict", "rows moved", "q-value", "missing", "what happened", "picture")
    body = [
        _verdict(report.verdict, words[report.verdict], report.reason),
        _facts(
            f"{report.n_reference:,} reference rows",
            f"{report.n_current:,} current rows",
            f"drift: q ≤ {rule.alpha:g} and at least {rule.min_effect:.0%} of rows moved",
        ),
        key,
        _table(head, map(_feature_row, shown)),
    ]
    if rest:
        more = _table(head, map(_feature_row, rest))
        body.append(f"<details><summary>{len(rest)} more features</summary>{more}</details>")
    return _section("Drift report", body)


def performance_section(report: PerformanceReport) -> str:
    """The section of a performance report."""
    words = "Worse than the baseline" if report.worse else "No metric is clearly worse"
    if all(math.isnan(metric.baseline) for metric in report.metrics.values()):
        words = "Measured; no baseline to compare with"
    verdict = "worse" if report.worse else report.status
    if report.status != "ok":
        words = "No labels" if report.status == "no_labels" else "Too few labelled rows"
    body = [
        _verdict(verdict, words, report.reason),
        _facts(
            f"{report.n_labelled:,} of {report.n_rows:,} rows labelled",
            f"{report.task}",
            "intervals cover 95 %",
        ),
        _table(
            ("metric", "value", "interval", "baseline", "change", "verdict"),
            map(_metric_row, report.metrics.values()),
        ),
    ]
    if report.confusion:
        body.append("<h1>Rows by true class (down) and predicted class (across)</h1>")
        rows = zip(report.classes, report.confusion, strict=True)
        body.append(
            _table(
                ("", *report.classes),
                ([_dim(name), *(_cell(f"{count:g}") for count in row)] for name, row in rows),
            )
        )
    return _section("Performance report", body)


def scoring_section(report: ScoringReport) -> str:
    """The section of a scoring report."""
    failed = [result for result in report.slos if result.verdict == "fail"]
    words = f"{report.n_rows:,} rows scored" + (f", {len(failed)} objectives missed" * bool(failed))
    reason = f"{report.n_batches:,} batches in {report.duration_s:.2f} s"
    if report.n_resumed:
        reason += f"; {report.n_resumed:,} rows from an earlier attempt"
    latency = ((_dim(name), _cell(_number(value))) for name, value in report.latency_ms.items())
    body = [
        _verdict("fail" if failed else "ok", words, reason),
        _facts(f"{report.rows_per_s:,.0f} rows/s", f"{report.predict_s:.2f} s in predict"),
        _table(("batch latency", "ms"), latency),
    ]
    if report.slos:
        rows = (
            (
                _cell(result.slo.name),
                _cell(f"p{result.slo.percentile:g} of {result.slo.metric} ≤ {result.slo.value:g}"),
                _cell(_number(result.observed)),
                _mark(result.verdict),
            )
            for result in report.slos
        )
        body.append(_table(("objective", "promise", "observed", "result"), rows))
    return _section("Scoring report", body)


def decision_section(decision: Decision) -> str:
    """The section of a decision."""
    words = f"Alert: {decision.severity}" if decision.fired else "Nothing to do"
    body = [
        _verdict(decision.severity if decision.fired else "ok", words, decision.reason),
        _facts(decision.at.isoformat(timespec="minutes"), f"{len(decision.alerts)} rules"),
        _links(decision.links),
        _notes("The monitor itself", decision.findings, "warn"),
        _notes("Since last night", decision.changes, ""),
        _table(
            ("rule", "state", "severity", "value", "threshold", "why"),
            map(_alert_row, decision.alerts),
        ),
    ]
    return _section("Decision", body)


def _section(title: str, body: Iterable[str]) -> str:
    return f'<div class="wbmon"><h1>{escape(title)}</h1>{"".join(body)}</div>'


def _verdict(state: str, words: str, reason: str) -> str:
    tone = _TONE.get(state, "none")
    return f'<p class="verdict {tone}">{escape(words)}</p><p class="why">{escape(reason)}</p>'


def _facts(*facts: str) -> str:
    return f'<p class="dim">{" · ".join(map(escape, facts))}</p>'


def _links(links: Mapping[str, str]) -> str:
    if not links:
        return ""
    shown = [
        f'<a href="{escape(url, quote=True)}">{escape(name)}</a>'
        if url.startswith(("https://", "http://"))
        else f"{escape(name)}: {escape(url)}"
        for name, url in links.items()
    ]
    return f'<p class="dim">{" · ".join(shown)}</p>'


def _notes(title: str, notes: Sequence[str], tone: str) -> str:
    if not notes:
        return ""
    items = "".join(f'<li class="{tone}">{escape(note)}</li>' for note in notes)
    return f"<h1>{escape(title)}</h1><ul>{items}</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'


def _dim(text: str) -> str:
    return f'<td class="dim">{escape(text)}</td>'


def _mark(state: str) -> str:
    return f'<td class="{_TONE.get(state, "none")}">{escape(state.replace("_", " "))}</td>'


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _feature_row(feature: FeatureDrift) -> Sequence[str]:
    state = feature.level if feature.status == "ok" else feature.status
    tone = _TONE.get(feature.level, "none")
    role = "" if feature.role == "feature" else f" ({feature.role})"
    check = feature.deciding
    moved = f"{feature.missing_reference:.1%} → {feature.missing_current:.1%}"
    return (
        f"<td><b>{escape(feature.name)}</b>{escape(role)}<br>"
        f'<span class="dim">{escape(feature.kind)}</span></td>',
        f'<td class="{tone}">{escape(state.replace("_", " "))}</td>',
        _cell(_share(check.effect_size) if check else "-"),
        _cell(_number(check.q_value) if check else "-"),
        _cell(moved),
        f"<td>{escape(feature.reason)}</td>",
        f"<td>{_bars(feature.bins)}</td>",
    )


def _bars(bins: Sequence[Bin]) -> str:
    if not bins:
        return ""
    width, height, half = 200, 44, 200 / len(bins) / 2
    peak = max(max(each.reference, each.current) for each in bins) or 1.0
    drawn = []
    for index, each in enumerate(bins):
        label = f"{each.label}: {each.reference:.1%} → {each.current:.1%}"
        sides = ((each.reference, "--ref"), (each.current, "--cur"))
        for side, (share, colour) in enumerate(sides):
            tall = share / peak * height
            drawn.append(
                f'<rect x="{(2 * index + side) * half:.1f}" y="{height - tall:.1f}" '
                f'width="{max(half - 0.8, 0.6):.1f}" height="{tall:.1f}" '
                f'fill="var({colour})"><title>{escape(label)}</title></rect>'
            )
    return f'<svg width="{width}" height="{height}" role="img">{"".join(drawn)}</svg>'


def _metric_row(metric: Metric) -> Sequence[str]:
    interval = f"{_number(metric.low)} … {_number(metric.high)}"
    change = "-" if math.isnan(metric.change) else f"{metric.change:+.4g}"
    return (
        f"<td><b>{escape(metric.name)}</b></td>",
        _cell(_number(metric.value)),
        _cell("-" if math.isnan(metric.low) else interval),
        _cell(_number(metric.baseline)),
        _cell(change),
        _dim(metric.reason) if metric.reason else _mark(metric.verdict),
    )


def _alert_row(alert: Alert) -> Sequence[str]:
    rule = alert.rule
    owner = f'<br><span class="dim">{escape(rule.owner)}</span>' if rule.owner else ""
    runbook = _links({"what to do": rule.runbook}) if rule.runbook else ""
    return (
        f"<td><b>{escape(rule.title)}</b>{owner}</td>",
        _mark(alert.phase),
        _cell(alert.rule.severity),
        _cell(_number(alert.value)),
        _cell(_number(alert.threshold)),
        f"<td>{escape(alert.reason)}{runbook}</td>",
    )
