from __future__ import annotations

from datetime import timedelta

import pytest

from flytekitplugins.wbmon.monitor.alerts.history_page import history_page
from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from support.examples import AT

DAY = timedelta(days=1)


def night(number: float, **changes: object) -> WindowSummary:
    given = {
        "at": AT + number * DAY,
        "severity": "none",
        "reason": "none of 2 rules fires",
        "phases": {"drift": "ok"},
        "numbers": {"performance/f1": 0.5, "drift/n_current": 100.0},
    }
    return WindowSummary(**{**given, **changes})


def cells(html: str) -> list[int]:
    """Where the cells of the first rule stand."""
    row = html.partition("<td>drift</td>")[2].partition("</tr>")[0]
    return [int(part.partition('"')[0]) // 14 for part in row.split('<rect x="')[1:]]


def test_the_page_says_first_how_it_stands() -> None:
    html = history_page("payments", [night(0), night(1, severity="error", reason="roc_auc fell")])
    assert "payments: the last 2 nights" in html
    assert html.index("Alert: error") < html.index("roc_auc fell") < html.index("<table")
    assert "something fired in 1 of 2 nights" in html


def test_it_needs_no_script_and_no_other_file_and_follows_the_readers_theme() -> None:
    html = history_page("payments", [night(0)])
    assert "<script" not in html
    assert "src=" not in html
    assert "prefers-color-scheme:dark" in html


def test_a_night_that_is_missing_leaves_a_gap() -> None:
    html = history_page("payments", [night(n) for n in (0, 1, 2, 4, 5)])
    assert cells(html) == [0, 1, 2, 4, 5]
    assert html.count("<polyline") == 2 * 2, "the line of each number is broken at the gap"


def test_windows_at_no_regular_time_stand_side_by_side() -> None:
    html = history_page("payments", [night(n) for n in (0, 0.01, 0.02, 0.03, 9)])
    assert cells(html) == [0, 1, 2, 3, 4]


def test_one_night_alone_has_a_page() -> None:
    assert cells(history_page("payments", [night(0)])) == [0]


def test_a_number_that_a_night_does_not_have_leaves_a_gap_in_its_line() -> None:
    html = history_page("payments", [night(0), night(1, numbers={}), night(2)])
    assert html.count("<circle") == 2 * 2


@pytest.mark.parametrize("url", ["https://wandb.ai/x", "http://flyte.example.com/x"])
def test_links_to_web_pages_can_be_followed(url: str) -> None:
    assert f'href="{url}"' in history_page("p", [night(0, links={"there": url})])


def test_what_is_no_web_page_is_text_and_text_is_escaped() -> None:
    html = history_page(
        "<b>p</b>",
        [night(0, reason="<i>", findings=("<u>",), links={"a": "javascript:alert(1)"})],
    )
    assert "<b>p" not in html
    assert "<i>" not in html
    assert "<u>" not in html
    assert 'href="javascript' not in html


def test_findings_about_the_monitor_are_shown_with_their_night() -> None:
    assert "no drift report came" in history_page(
        "p", [night(0, findings=("no drift report came",))]
    )


@pytest.mark.parametrize(
    ("changed", "words", "tone"),
    [
        ({}, "Nothing fires<", "good"),
        ({"findings": ("no drift report came",)}, "Nothing fires, with 1 findings<", "warn"),
        ({"phases": {"a": "no_data", "b": "no_data"}}, "No data<", "dim"),
        ({"phases": {"a": "no_data", "b": "ok"}}, "Nothing fires<", "good"),
    ],
)
def test_a_night_that_was_not_seen_is_not_a_good_one(
    changed: dict[str, object], words: str, tone: str
) -> None:
    html = history_page("p", [night(0, **{"severity": "none", **changed})])
    assert f'<p class="verdict {tone}">{words}' in html


def test_a_night_dated_in_the_future_is_not_the_newest() -> None:
    nights = [night(0), night(1), night(900)]
    html = history_page("p", nights, now=night(2).at)
    assert f"Newest night {night(1).at:%Y-%m-%d}" in html
    assert "1 dated in the future" in html
    assert "dated in the future" not in history_page("p", nights)
