from __future__ import annotations

from flytekitplugins.wbmon.monitor.scoring.report import Confidence, PredictedClasses, ScoringReport
from support.examples import scoring_report


def test_a_scoring_page_shows_failures_confidence_and_classes():
    scored = ScoringReport(
        n_rows=98,
        n_batches=1,
        duration_s=1.0,
        predict_s=0.5,
        n_failed=2,
        errors={"ValueError": 2},
        quarantine="s3://bucket/_quarantine.parquet",
        confidence=Confidence(
            n=98,
            mean=0.8,
            sd=0.1,
            quantiles={"p50": 0.81},
            threshold=0.6,
            low_share=0.05,
            low_share_low=0.02,
            low_share_high=0.11,
        ),
        classes=PredictedClasses(counts={"yes": 90, "no": 8}),
    )
    html = scored.to_html()
    for words in (
        "ValueError",
        "_quarantine.parquet",
        "0.81",
        "Predicted classes",
        "as diverse as",
    ):
        assert words in html


def test_a_scoring_page_says_nothing_about_what_was_not_measured():
    html = scoring_report().to_html()
    for words in ("could not be scored", "Confidence", "Predicted classes"):
        assert words not in html
