"""HTML of a drift report: the verdict first, then the features, worst first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
from flytekitplugins.wbmon.monitor.drift.report import Bin, DriftReport, FeatureDrift
from flytekitplugins.wbmon.monitor.drift.series_page import series_section
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries
from flytekitplugins.wbmon.names import shown_name
from flytekitplugins.wbmon.reports.html import (
    cell,
    facts,
    folded_table,
    interval,
    name_cell,
    number,
    page,
    prose_cell,
    section,
    share,
    tone,
    verdict,
)

_SHOWN = 20
_KEY = (
    '<p class="key dim"><span style="background:var(--ref)"></span>reference'
    '<span style="background:var(--cur)"></span>current</p>'
)


def drift_section(report: DriftReport) -> str:
    """The HTML section of a drift report."""
    words = {
        "ok": "No drift",
        "warning": "Small drift",
        "drift": f"Drift in {report.n_drifted} of {report.n_tested} features",
        "insufficient": "Too few rows to tell",
    }
    rule = report.rule
    head = ("feature", "verdict", "rows moved", "q-value", "missing", "what happened", "picture")
    rows = [_feature_row(feature) for feature in report.features.values()]
    body = [
        verdict(report.verdict, words[report.verdict], report.reason),
        facts(
            f"{report.n_reference:,} reference rows",
            f"{report.n_current:,} current rows",
            f"{report.n_tested} of {len(report.features)} columns tested",
            *([f"calibrated by {report.n_past} past windows"] if report.n_past else []),
            f"drift: q ≤ {rule.alpha:g} and at least {rule.min_effect:.0%} of rows moved",
        ),
        _KEY,
        *folded_table(head, rows, shown=_SHOWN, more="more features"),
    ]
    return section("Drift report", body)


def _feature_row(feature: FeatureDrift) -> Sequence[str]:
    state = feature.level if feature.status == "ok" else feature.status
    role = "" if feature.role == "feature" else f" ({feature.role})"
    check = feature.deciding
    moved = f"{share(feature.missing_reference)} → {share(feature.missing_current)}"
    return (
        f"<td><b>{escape(shown_name(feature.name))}</b>{escape(role)}<br>"
        f'<span class="dim">{escape(feature.kind)}</span></td>',
        f'<td class="{tone(feature.level)}">{escape(state.replace("_", " "))}</td>',
        cell(share(check.effect_size) if check else "-"),
        cell(number(check.q_value) if check else "-"),
        cell(moved),
        prose_cell(feature.reason),
        f"<td>{_bars(feature.bins)}</td>",
    )


def _bars(bins: Sequence[Bin]) -> str:
    if not bins:
        return ""
    width, height, half = 200, 44, 200 / len(bins) / 2
    # 1.0 if all bars are empty, so that nothing is divided by 0
    peak = max(max(each.reference, each.current) for each in bins) or 1.0
    drawn = []
    for index, each in enumerate(bins):
        label = f"{shown_name(each.label)}: {each.reference:.1%} → {each.current:.1%}"
        sides = ((each.reference, "--ref"), (each.current, "--cur"))
        for side, (part, colour) in enumerate(sides):
            tall = part / peak * height
            drawn.append(
                f'<rect x="{(2 * index + side) * half:.1f}" y="{height - tall:.1f}" '
                f'width="{max(half - 0.8, 0.6):.1f}" height="{tall:.1f}" '
                f'fill="var({colour})"><title>{escape(label)}</title></rect>'
            )
    return f'<svg width="{width}" height="{height}" role="img">{"".join(drawn)}</svg>'


def joint_section(report: JointDrift) -> str:
    """The section of a check of all columns together."""
    words = "The windows can be told apart" if report.drifted else "The windows look alike"
    if math.isnan(report.auc):
        words = "Too few rows to tell"
    body = [
        verdict(report.level, words, report.reason),
        facts(
            f"AUC {number(report.auc)}, interval {interval(report.low, report.high)}",
            f"p-value {number(report.p_value)}",
            f"{report.n_reference:,} reference rows",
            f"{report.n_current:,} current rows",
        ),
    ]
    if report.contributions:
        rows = [(name_cell(n), cell(number(lost))) for n, lost in report.contributions.items()]
        head = ("column", "AUC lost without it")
        body += folded_table(head, rows, shown=_SHOWN, more="more columns")
    return section("Joint drift", body)


def page_of(report: DriftReport | DriftSeries | JointDrift) -> str:
    """The page of a report of this package."""
    if isinstance(report, DriftReport):
        return page("Drift report", drift_section(report))
    if isinstance(report, JointDrift):
        return page("Joint drift", joint_section(report))
    return page("Drift over time", series_section(report))
