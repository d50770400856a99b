from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

from support.examples import decision, drift_report, performance_report, scoring_report


class _Balance(HTMLParser):
    """Counts open tags, and what a page would fetch from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.outside += [value or "" for name, value in attrs if name in {"src", "href"}]
        assert tag != "script"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(html: str) -> None:
    parser = _Balance()
    parser.feed(html)
    assert parser.open == []
    assert parser.outside == []


def test_every_page_is_well_formed_and_needs_nothing_from_elsewhere() -> None:
    for record in (drift_report(), performance_report(), scoring_report(), decision()):
        check_page(record.to_html())


def test_the_verdict_stands_before_the_reasons() -> None:
    html = drift_report(level="drift").to_html()
    assert html.index("Drift in 1 of 1 features") < html.index("amount</b>")


def test_a_column_name_cannot_inject_markup() -> None:
    html = drift_report(
        name="<img src=x onerror=alert(1)>", reason="<script>", new_categories=("<b>",)
    ).to_html()
    assert "<img" not in html
    assert "<script" not in html


def test_an_undefined_metric_says_why() -> None:
    html = performance_report().to_html()
    assert "one class only" in html
    assert "nan" not in html


def test_a_report_without_labels_does_not_claim_to_be_well() -> None:
    html = performance_report(status="no_labels", metrics={}, confusion=()).to_html()
    assert "No labels" in html
    assert "No metric is clearly worse" not in html


def test_more_features_than_fit_are_folded_not_dropped() -> None:
    one = drift_report()
    feature = one.features["amount"]
    many = {f"f{index}": feature for index in range(30)}
    html = dataclasses.replace(one, features=many).to_html()
    assert "10 more features" in html
