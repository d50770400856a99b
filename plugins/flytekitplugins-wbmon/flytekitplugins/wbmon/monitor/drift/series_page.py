"""HTML of a drift series: the first window with drift, then all windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.names import shown_name, window_name
from flytekitplugins.wbmon.reports.html import (
    cell,
    dim_cell,
    facts,
    name_cell,
    prose_cell,
    section,
    share,
    state_cell,
    table,
    verdict,
)

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries, WindowDrift

_LINES = 5
_WIDTH, _HEIGHT, _LEFT, _RIGHT = 760, 180, 40, 190
# letters that fit beside the chart
_LEGEND = 24
_COLOURS = ("#d9622b", "#3b82c4", "#2f9e6e", "#a25fc0", "#b8902f")


def series_section(series: DriftSeries) -> str:
    """The HTML section of a drift series."""
    windows = series.windows
    first = next((window for window in windows if window.report.drifted), None)
    words = f"Drift in {series.n_drifted} of {len(windows)} windows"
    reason = (
        f"first in {window_name(first.start, first.segment)}: {first.report.reason}"
        if first
        else "none drifted"
    )
    body = [
        verdict("drift" if series.drifted else "ok", words, reason),
        facts(f"{len(windows)} windows", _left_out(series)),
        *(_chart(segment, of) for segment, of in _by_segment(windows).items()),
        table(
            ("window", "rows", "verdict", "drifted", "worst feature", "rows moved", "why"),
            map(_row, windows),
        ),
    ]
    return section("Drift over time", body)


def _left_out(series: DriftSeries) -> str:
    without = {"time": series.n_undated, "segment": series.n_without_segment}
    found = [f"{n:,} rows without a {what}" for what, n in without.items() if n]
    return f"{' and '.join(found)} in no window" if found else "every row counted"


def _row(window: WindowDrift) -> Sequence[str]:
    report = window.report
    worst = next(iter(report.features.values()), None)
    check = worst.deciding if worst else None
    return (
        name_cell(window_name(window.start, window.segment)),
        cell(f"{report.n_current:,}"),
        state_cell(report.verdict),
        cell(f"{report.n_drifted} of {report.n_tested}"),
        dim_cell(shown_name(worst.name) if worst else "-"),
        cell(share(check.effect_size) if check else "-"),
        prose_cell(report.reason),
    )


def _by_segment(windows: Sequence[WindowDrift]) -> dict[str, list[WindowDrift]]:
    """The windows that have a start, by segment, in time order."""
    found: dict[str, list[WindowDrift]] = {}
    for window in windows:
        if window.start is not None:
            found.setdefault(window.segment, []).append(window)
    return found


def _chart(segment: str, windows: Sequence[WindowDrift]) -> str:
    """Line chart: effect sizes of the features that moved most, and the two limits of the rule."""
    if len(windows) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    lines = _worst_lines(windows)
    rule = windows[0].report.rule
    # the chart always reaches above the drift limit, so that small effects look small
    peak = max([rule.min_effect * 1.5, *(value for line in lines.values() for value in line)])
    drawn = [
        _level(rule.min_effect / peak, "drift", "var(--bad)"),
        _level(rule.warn_effect / peak, "warn", "var(--warn)"),
    ]
    for place, (name, line) in enumerate(lines.items()):
        drawn.append(_line(name, [value / peak for value in line], _COLOURS[place], place))
    title = f"<p><b>{escape(shown_name(segment))}</b></p>" if segment else ""
    ends = " to ".join(window_name(each.start, each.segment) for each in (windows[0], windows[-1]))
    return (
        f'{title}<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" role="img">'
        f"<title>{escape(ends)}</title>{''.join(drawn)}</svg>"
        f'<p class="dim">share of rows that moved; {escape(ends)}</p>'
    )


def _worst_lines(windows: Sequence[WindowDrift]) -> dict[str, list[float]]:
    names = {name for window in windows for name in window.report.features}
    lines = {name: [_effect(window, name) for window in windows] for name in sorted(names)}
    worst = sorted(lines, key=lambda name: -max(lines[name]))[:_LINES]
    return {name: lines[name] for name in worst}


def _effect(window: WindowDrift, name: str) -> float:
    feature = window.report.features.get(name)
    check = feature.deciding if feature else None
    return 0.0 if check is None or math.isnan(check.effect_size) else check.effect_size


def _level(height: float, label: str, colour: str) -> str:
    y = _y(height)
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" '
        f'stroke-dasharray="4 4"/><text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end" '
        f'font-size="10" fill="{colour}">{label}</text>'
    )


def _line(name: str, heights: Sequence[float], colour: str, place: int) -> str:
    step = (_WIDTH - _LEFT - _RIGHT) / (len(heights) - 1)
    points = " ".join(
        f"{_LEFT + index * step:.1f},{_y(height):.1f}" for index, height in enumerate(heights)
    )
    x, y = _WIDTH - _RIGHT + 14, 20 + 18 * place
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<rect x="{x}" y="{y - 8}" width="10" height="10" fill="{colour}"/>'
        f'<text x="{x + 15}" y="{y + 1}" font-size="12" fill="currentColor">'
        f"{escape(shown_name(name, _LEGEND))}</text>"
    )


def _y(height: float) -> float:
    return _HEIGHT - 16 - height * (_HEIGHT - 32)
