from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from flytekitplugins.wbmon.reports import html as page
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


@pytest.mark.parametrize(
    "markup",
    [
        page.page("<b>"),
        page.section("<b>", ()),
        page.verdict("<b>", "<b>", "<b>"),
        page.facts("<b>"),
        page.warning("<b>"),
        page.notes("<b>", ["<b>"], "warn"),
        page.links({"<b>": 'https://x/"><b>'}),
        page.links({"<b>": "s3://<b>"}),
        page.table(["<b>"], []),
        *page.folded_table(["<b>"], [[], []], shown=1, more="<b>"),
        page.cell("<b>"),
        page.dim_cell("<b>"),
        page.name_cell("&", below="<b>").replace("<b>&amp;</b>", ""),
        page.prose_cell("<b>"),
        page.state_cell("<b>"),
    ],
)
def test_text_in_any_building_block_stays_text(markup: str) -> None:
    assert "<b>" not in markup
    assert "&lt;b&gt;" in markup


def test_only_a_web_address_becomes_a_link() -> None:
    assert page.links({}) == ""
    assert 'href="https://x/?a=1&amp;b=2"' in page.links({"run": "https://x/?a=1&b=2"})
    for address in ("javascript:alert(1)", "data:text/html,x", "s3://bucket/key"):
        assert "href" not in page.links({"run": address})
        assert address in page.links({"run": address})


def test_an_undefined_number_is_a_dash() -> None:
    nan = float("nan")
    assert [page.number(nan), page.share(nan), page.interval(nan, 1.0)] == ["-", "-", "- … 1"]
    assert page.interval(0.25, 0.5, page.share) == "25.0% … 50.0%"
