"""The page about a monitor's last windows: the current state, the history, and links to each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from itertools import accumulate, pairwise
from statistics import median

from flytekitplugins.wbmon.monitor.alerts.history import newest_night
from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from flytekitplugins.wbmon.reports.html import (
    cell,
    facts,
    headline,
    link,
    page,
    prose_cell,
    section,
    table,
)

_TONES = {
    "ok": "good",
    "none": "good",
    "resolved": "good",
    "pending": "warn",
    "warn": "warn",
    "no_data": "dim",
    "info": "dim",
    "firing": "bad",
    "error": "bad",
}
# pixels
_CELL, _GAP, _TALL = 14, 2, 26
# charts of these numbers are drawn for every monitor, besides those of `_is_metric`
_LINES = (
    "drift/share_drifted",
    "drift/n_current",
    "scoring/latency_ms/p99",
    "serving/error_rate",
    "serving/latency_ms/p99",
)
_MAX_LINES = 12
# a strip at most this many times as wide as its cells; wider ones would be mostly gaps
_SPARSEST = 3
# the link to this page itself, which is not shown on it
_SELF = "All nights"
_STYLE = """<style>
.wbmon .f-good{fill:var(--good)}.wbmon .f-warn{fill:var(--warn)}.wbmon .f-bad{fill:var(--bad)}
.wbmon .f-dim{fill:var(--line)}.wbmon .wide{overflow-x:auto}.wbmon a{color:var(--ref)}
.wbmon polyline{fill:none;stroke:var(--cur);stroke-width:1.5}.wbmon circle{fill:var(--cur)}
.wbmon .key svg{display:inline;vertical-align:-2px;margin:0 5px 0 14px}
</style>"""


def history_page(
    title: str, nights: Sequence[WindowSummary], *, now: datetime | None = None
) -> str:
    """The page about a monitor's last windows.

    Args:
        title: Name of the monitor.
        nights: Summaries of the windows, oldest first; at least one.
        now: The clock, UTC; windows dated after it are not the newest ones. None for no limit.

    Returns:
        A complete HTML page.
    """
    last = (newest_night(nights, now) if now is not None else None) or nights[-1]
    places = _places(nights)
    n_bad = sum(night.severity != "none" for night in nights)
    n_future = len(nights) - 1 - nights.index(last)
    body = [
        headline(*_verdict(last)),
        facts(
            f"Newest night {last.at:%Y-%m-%d %H:%M} UTC",
            f"something fired in {n_bad} of {len(nights)} nights",
            *([f"{n_future} dated in the future"] if n_future else []),
        ),
        _key(),
        f'<div class="wide">{_grid(nights, places)}</div>',
        f'<div class="wide">{_charts(nights, places)}</div>',
        table(
            ("night (UTC)", "severity", "what was decided", "read more"), map(_row, nights[::-1])
        ),
    ]
    all_nights = section(f"{title}: the last {len(nights)} nights", body)
    return page(f"{title}: nights", _STYLE, all_nights)


def _verdict(last: WindowSummary) -> tuple[str, str, str]:
    """Tone, words and reason; what was not seen is no good night."""
    if last.severity != "none":
        return _TONES.get(last.severity, "dim"), f"Alert: {last.severity}", last.reason
    if last.findings:
        return "warn", f"Nothing fires, with {len(last.findings)} findings", last.reason
    is_blind = bool(last.phases) and set(last.phases.values()) == {"no_data"}
    return ("dim", "No data", last.reason) if is_blind else ("good", "Nothing fires", last.reason)


def _key() -> str:
    words = {"good": "ok", "warn": "pending", "bad": "firing", "dim": "no data"}
    marks = "".join(
        f'<svg width="10" height="10"><rect width="10" height="10" class="f-{tone}"/></svg>{word}'
        for tone, word in words.items()
    )
    return f'<p class="key dim">{marks}</p>'


def _places(nights: Sequence[WindowSummary]) -> list[int]:
    """Column of each window in a strip, from 0; a missing window leaves a gap.

    The median distance in time is one column. If windows are so irregular that the strip would be
    mostly gaps, they are placed next to each other.
    """
    steps = [(b.at - a.at).total_seconds() for a, b in pairwise(nights)]
    usual = median(steps) if steps else 0.0
    if usual <= 0:
        return list(range(len(nights)))
    # at least one column, so that no window is drawn over another
    places = list(accumulate((max(1, round(step / usual)) for step in steps), initial=0))
    regular = places[-1] < _SPARSEST * len(nights)
    return places if regular else list(range(len(nights)))


def _grid(nights: Sequence[WindowSummary], places: Sequence[int]) -> str:
    # not a set: rules stay in the order in which they first appear
    titles = list(dict.fromkeys(title for night in nights for title in night.phases))
    rows = [[prose_cell(title), f"<td>{_strip(nights, places, title)}</td>"] for title in titles]
    months = f"<td></td><td>{_months(nights, places)}</td>"
    return table((), [[months], *rows])


def _strip(nights: Sequence[WindowSummary], places: Sequence[int], title: str) -> str:
    cells = []
    for place, night in zip(places, nights, strict=True):
        phase = night.phases.get(title)
        if phase is None:
            continue  # the rule did not exist in this window
        tone = _TONES.get(phase, "dim")
        label = f"{night.at:%Y-%m-%d}: {phase.replace('_', ' ')}"
        cells.append(
            f'<rect x="{place * _CELL}" width="{_CELL - _GAP}" height="{_CELL - _GAP}" '
            f'class="f-{tone}"><title>{escape(label)}</title></rect>'
        )
    return f'<svg width="{_width(places)}" height="{_CELL}">{"".join(cells)}</svg>'


def _months(nights: Sequence[WindowSummary], places: Sequence[int]) -> str:
    # reversed, so that of each month the first window is the one that is kept
    firsts = {
        f"{night.at:%Y-%m}": place
        for place, night in reversed(list(zip(places, nights, strict=True)))
    }
    drawn = [
        f'<text x="{place * _CELL}" y="11" font-size="11" fill="var(--dim)">{month}</text>'
        for month, place in firsts.items()
    ]
    return f'<svg width="{_width(places) + 4 * _CELL}" height="{_CELL}">{"".join(drawn)}</svg>'


def _width(places: Sequence[int]) -> int:
    return (places[-1] + 1) * _CELL


def _charts(nights: Sequence[WindowSummary], places: Sequence[int]) -> str:
    names = dict.fromkeys(name for night in nights for name in night.numbers)
    shown = [name for name in names if name in _LINES or _is_metric(name)][:_MAX_LINES]
    rows = []
    for name in shown:
        values = [night.numbers.get(name, math.nan) for night in nights]
        known = [value for value in values if not math.isnan(value)]
        rows.append(
            [
                prose_cell(name.replace("/", " ").replace("_", " ")),
                f"<td>{_line(values, places)}</td>",
                cell(f"{known[-1]:.4g}"),
                f'<td class="n dim">{min(known):.4g} … {max(known):.4g}</td>',
            ]
        )
    return table(("number", "night by night", "newest", "range"), rows) if rows else ""


def _line(values: Sequence[float], places: Sequence[int]) -> str:
    known = [value for value in values if not math.isnan(value)]
    # 1 for a constant series, whose span of 0 would divide by zero
    low, span = min(known), (max(known) - min(known)) or 1.0
    drawn, path = [], list[str]()
    for index, (place, value) in enumerate(zip(places, values, strict=True)):
        # a gap interrupts the line: nothing is known about the windows in between
        if index and (math.isnan(value) or place != places[index - 1] + 1):
            drawn.append(f'<polyline points="{" ".join(path)}"/>')
            path = []
        if not math.isnan(value):
            x, y = place * _CELL + _CELL / 2, _TALL - 4 - (value - low) / span * (_TALL - 8)
            path.append(f"{x:.1f},{y:.1f}")
            drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.6"/>')
    drawn.append(f'<polyline points="{" ".join(path)}"/>')
    return f'<svg width="{_width(places)}" height="{_TALL}">{"".join(drawn)}</svg>'


def _is_metric(name: str) -> bool:
    return name.startswith(("performance/", "estimate/", "heartbeat/", "slo/"))


def _row(night: WindowSummary) -> Sequence[str]:
    tone = _TONES.get(night.severity, "dim")
    severity = "quiet" if night.severity == "none" else night.severity
    return (
        cell(f"{night.at:%Y-%m-%d %H:%M}"),
        f'<td class="{tone}">{escape(severity)}</td>',
        f"<td>{escape(night.reason)}{_findings(night.findings)}</td>",
        f"<td>{_links(night.links)}</td>",
    )


def _findings(findings: Iterable[str]) -> str:
    return "".join(f'<br><span class="warn">{escape(finding)}</span>' for finding in findings)


def _links(links: Mapping[str, str]) -> str:
    return " · ".join(
        link(name, url, else_show=url) for name, url in links.items() if name != _SELF
    )
