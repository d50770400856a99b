"""What a score means is declared, and what cannot be read is told."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import AnalyzeFeedback, FeedbackReport
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import RatingScale
from flytekitplugins.wbmon.monitor.llm.feedback.analyze import analyse_feedback
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

START = datetime(2026, 3, 2, tzinfo=timezone.utc)
FIVE = RatingScale(low=1, high=5, good_from=4)


def calls(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)],
            "timestamp": [START + timedelta(minutes=i) for i in range(n)],
            "input_text": [f"question {i}" for i in range(n)],
            "output_text": "answer",
        }
    )


def said(*rows: tuple, name: str | None = "thumbs", source: str = "user") -> pd.DataFrame:
    """Feedback on requests in this order: `(number, score)` or `(number, score, label)`."""
    return pd.DataFrame(
        {
            "request_id": f"r{number}" if number is not None else None,
            "timestamp": START + timedelta(hours=1, minutes=at),
            "feedback_id": None,
            "source": source,
            "name": name,
            "score": float(score),
            "label": label[0] if label else None,
            "comment": None,
        }
        for at, (number, score, *label) in enumerate(rows)
    )


def value(report: FeedbackReport, name: str) -> float:
    (found,) = (each.value for each in report.measurements() if each.name == name)
    return found


def test_a_thumb_down_is_0_or_minus_1() -> None:
    for down in (0, -1):
        report = analyse_feedback(calls(3), said((0, 1), (1, down), (2, down)))
        assert (report.total.n_good, report.total.n_rated) == (1, 3)


@pytest.mark.parametrize("name", ["stars", "faces", "rating", "NPS"])
def test_stars_without_a_declared_scale_are_not_read(name: str) -> None:
    """On the day of an outage every answer has one star of five, which is no thumb up."""
    report = analyse_feedback(calls(3), said((0, 1), (1, 1), (2, 1), name=name))
    assert math.isnan(report.total.rate)
    assert report.unscaled == (name,)
    assert report.unmeasured == (
        "no readable rating for 3 answers; 3 scores are not of their scale; "
        f"declare the scale of {name!r} (scales=)"
    )
    assert (value(report, "n_unreadable"), value(report, "unreadable_rate")) == (3, 1)
    assert report.unreadable in report.to_html().replace("&#x27;", "'")


def test_stars_are_read_by_the_scale_that_is_declared() -> None:
    log = said((0, 5), (1, 4), (2, 3), (3, 1), name="stars")
    assert analyse_feedback(calls(4), log, scales={"stars": FIVE}).total.rate == 0.5
    # as Streamlit counts them
    from_zero = RatingScale(low=0, high=4, good_from=3)
    log = said((0, 4), (1, 3), (2, 2), (3, 0), name="stars")
    assert analyse_feedback(calls(4), log, scales={"stars": from_zero}).total.rate == 0.5


def test_names_of_different_scales_are_read_together() -> None:
    log = pd.concat([said((0, 1), (1, -1)), said((2, 5), (3, 1), name="stars")])
    report = analyse_feedback(calls(4), log, scales={"stars": FIVE})
    assert (report.total.n_good, report.total.n_rated, report.n_unreadable) == (2, 4, 0)
    # the worst of its scale comes first, however it is written
    assert [each.score for each in report.low_rated] == [-1.0, 1.0]


def test_a_score_off_its_declared_scale_is_counted_and_not_read() -> None:
    log = said((0, 5), (1, 0), (2, 6), (3, math.inf), name="stars")
    report = analyse_feedback(calls(4), log, scales={"stars": FIVE})
    assert (report.total.n_rated, report.total.rate, report.n_unreadable) == (1, 1.0, 3)
    assert "3 scores are not of their scale" in report.reason
    assert report.unscaled == ()


def test_a_name_is_not_read_if_its_scores_are_not_of_the_usual_scale() -> None:
    """One star of five would be liked; that more than 5 % have more says what it is."""
    ones = [(place, 1) for place in range(95)]
    few = analyse_feedback(calls(100), said(*ones, *[(95, 5)] * 5, name="helpful"))
    assert (few.total.n_rated, few.n_unreadable) == (95, 5)
    many = analyse_feedback(calls(101), said(*ones, *[(95, 5)] * 6, name="helpful"))
    assert (many.total.n_rated, many.n_unreadable) == (0, 101)
    assert many.unscaled == ("helpful",)


def test_a_name_that_was_off_the_scale_before_is_not_read_until_its_scale_is_declared() -> None:
    before = analyse_feedback(calls(2), said((0, 5), (1, 4), name="helpful"))
    stored = record_from_json(FeedbackReport, record_to_json(before))
    ones = said((0, 1), (1, 1), name="helpful")

    now = analyse_feedback(calls(2), ones, previous=stored)
    assert now.total.n_rated == 0
    later = analyse_feedback(calls(2), ones, previous=now)
    assert later.total.n_rated == 0
    declared = analyse_feedback(calls(2), ones, scales={"helpful": FIVE}, previous=now)
    assert (declared.total.n_rated, declared.total.n_good) == (2, 0)


@given(st.lists(st.sampled_from([-1, 0, 1, 2, 5, math.inf, math.nan]), max_size=30))
def test_every_score_is_read_or_counted(scores: list[float]) -> None:
    log = said(*enumerate(scores)) if scores else said((0, 1)).head(0)
    report = analyse_feedback(calls(30), log)
    n = sum(not math.isnan(score) for score in scores)
    assert report.total.n_rated == sum(-1 <= score <= 1 for score in scores)
    assert report.n_unreadable == n - report.total.n_rated
    # without a window before there is no difference that few ratings could show
    assert bool(report.unmeasured) == (report.total.n_rated < 10)
    for name in ("rate", "worse"):
        assert math.isnan(value(report, name)) or report.total.n_rated


def test_texts_that_are_no_numbers_are_unreadable_scores() -> None:
    log = said((0, 1), (1, 1)).astype({"score": object})
    log["score"] = ["1", "n/a"]
    report = analyse_feedback(calls(2), log)
    assert (report.total.n_rated, report.n_unreadable) == (1, 1)


def test_a_window_without_answers_or_ratings_is_not_measured() -> None:
    ten = said(*((i, 1) for i in range(10)))
    assert analyse_feedback(calls(30), ten).unmeasured == ""
    few = analyse_feedback(calls(30), ten.head(9))
    assert few.unmeasured == "9 of 30 answers are rated, a verdict needs 10"
    assert few.reason.startswith(f"{few.unmeasured}; 100% [")
    assert analyse_feedback(calls(0), said((0, 1))).unmeasured == "no answer in this window"
    none = analyse_feedback(calls(3), said((7, 1), (8, 1)))
    assert none.unmeasured == (
        "no rating for 3 answers; 2 ratings are of requests that are not in the log"
    )
    assert none.reason == none.unmeasured
    assert math.isnan(value(none, "worse"))


def test_the_first_window_is_neither_worse_nor_not() -> None:
    log = said(*((i, i % 2) for i in range(20)))
    first = analyse_feedback(calls(20), log)
    assert math.isnan(value(first, "worse"))
    assert value(analyse_feedback(calls(20), log, previous=first), "worse") == 0


def test_few_ratings_can_be_worse_and_cannot_be_as_before() -> None:
    before = analyse_feedback(calls(200), said(*((i, 1) for i in range(200))))
    for n_bad, worse in ((0, math.nan), (1, 1.0), (6, 1.0)):
        now = said(*((i, i >= n_bad) for i in range(6)))
        found = analyse_feedback(calls(30), now, previous=before)
        assert value(found, "worse") == pytest.approx(worse, nan_ok=True)
        assert bool(found.unmeasured) == math.isnan(worse)
    # nor can a window be as one that said little
    few = analyse_feedback(calls(30), said((0, 1)))
    again = analyse_feedback(calls(200), said(*((i, 1) for i in range(200))), previous=few)
    assert math.isnan(value(again, "worse"))


def test_of_sources_that_disagree_the_first_one_decides_and_it_is_told() -> None:
    log = pd.concat([said((0, 0), source="annotator"), said((0, 1), (1, 1), source="user")])
    report = analyse_feedback(calls(2), log)
    assert (report.total.n_rated, report.total.n_good, report.n_disputed) == (2, 1, 1)
    assert "1 answers are rated differently" in report.reason
    other = analyse_feedback(calls(2), log, sources=("user", "annotator"))
    assert other.total.n_good == 2


def test_two_names_on_one_answer_are_two_ratings_of_which_the_last_decides() -> None:
    first, last = said((0, 1)), said((0, 2), name="stars")
    last["timestamp"] += timedelta(days=1)
    both = pd.concat([last, first])
    scales = {"stars": FIVE}
    report = analyse_feedback(calls(1), both, scales=scales)
    assert (report.total.n_rated, report.total.n_good, report.n_disputed) == (1, 0, 1)
    # a revised thumb replaces the thumb, and is the last word now
    revised = said((0, 1))
    revised["timestamp"] += timedelta(days=2)
    again = analyse_feedback(calls(1), pd.concat([both, revised]), scales=scales)
    assert (again.total.n_good, again.n_disputed) == (1, 1)
    # under one id for the whole form they are two all the same
    form = analyse_feedback(calls(1), both.assign(feedback_id="form"), scales=scales)
    assert form.n_disputed == 1


def test_a_rating_of_a_session_is_no_rating_of_a_call_without_an_id() -> None:
    log = calls(3)
    log.loc[1, "request_id"] = None
    report = analyse_feedback(log, said((0, 1), (None, 0)))
    assert (report.total.n_rated, report.total.n_good, report.n_unmatched) == (1, 1, 1)
    assert report.total.n_calls == 3


def test_of_rows_with_one_request_id_the_last_one_has_the_rating() -> None:
    """A retry with the same `x-request-id`: one answer came, and that was rated."""
    log = calls(3).assign(request_id=["r0", "same", "same"], tenant=["a", "a", "b"])
    report = analyse_feedback(log, said((0, 1)).assign(request_id="same"), by=["tenant"])
    assert (report.n_repeated, report.total.n_calls, report.total.n_rated) == (1, 2, 1)
    assert {each.key: each.n_rated for each in report.groups["tenant"]} == {"a": 0, "b": 1}


def test_complaints_are_compared_where_more_were_made_than_rated() -> None:
    """A complaint is no rating, so there may be more of them than rated answers."""
    complaints = [(place, math.nan, "slow") for place in range(1, 20)]
    before = analyse_feedback(calls(20), said((0, 1), *complaints))
    now = analyse_feedback(calls(20), said((0, 1), *complaints[:5]), previous=before)
    (slow,) = now.issues
    assert (slow.share, slow.before) == (pytest.approx(5 / 6), pytest.approx(19 / 20))
    assert slow.verdict == "ok"


def test_a_complaint_that_was_not_listed_before_is_not_new() -> None:
    listed = [(place, 0, f"complaint {place // 2}") for place in range(120)]
    before = analyse_feedback(calls(120), said(*listed))
    assert len(before.issues) == 50
    now = analyse_feedback(calls(120), said(*[(p, 0, "complaint 59") for p in range(120)]),
                           previous=before)  # fmt: skip
    assert [(each.verdict, math.isnan(each.before)) for each in now.issues] == [("unknown", True)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"good_from": 4.0},
        {"good_from": 0.0},
        {"good_from": math.nan},
        {"scales": {"stars": (1, 5)}},
    ],
)
def test_a_scale_that_is_none_is_refused_where_it_is_given(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=r"good_from must|RatingScale"):
        analyse_feedback(calls(1), said((0, 1)), **wrong)
    with pytest.raises(ConfigError, match=r"good_from must|RatingScale"):
        AnalyzeFeedback("t.feedback.wrong", **wrong)
    for ends in ((1, 1, 1), (0, 5, 6), (0, 5, 0), (0, math.inf, 1)):
        with pytest.raises(ConfigError, match="low < good_from <= high"):
            RatingScale(low=ends[0], high=ends[1], good_from=ends[2])
