"""Ratings joined to answers: rates with intervals, complaints, and what to look at."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.llm.feedback.analyze import analyse_feedback, low_rated_table

START = datetime(2026, 3, 2, tzinfo=timezone.utc)


def calls(n: int, model: str = "house", first: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(first, first + n)],
            "timestamp": [START + timedelta(minutes=i) for i in range(n)],
            "gen_ai_response_model": model,
            "tenant": ["acme" if i % 2 else "bolt" for i in range(n)],
            "input_text": [f"question {i}" for i in range(n)],
            "output_text": "answer",
            "sample_weight": 1.0,
        }
    )


def ratings(scores: list[float], *, labels: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(len(scores))],
            "timestamp": [START + timedelta(hours=1, minutes=i) for i in range(len(scores))],
            "feedback_id": [f"f{i}" for i in range(len(scores))],
            "source": "user",
            "score": scores,
            "label": labels or [None] * len(scores),
            "comment": None,
        }
    )


def test_an_answer_without_a_rating_is_unrated_and_not_bad() -> None:
    report = analyse_feedback(calls(100), ratings([1.0] * 8 + [0.0] * 2))

    assert report.total.n_rated == 10
    assert report.total.rate == 0.8
    assert report.total.coverage == pytest.approx(0.1)
    assert report.total.low == pytest.approx(0.490, abs=0.001)
    assert {each.key for each in report.groups["tenant"]} == {"acme", "bolt"}


def test_the_last_rating_of_an_answer_counts_and_a_repeated_one_counts_once() -> None:
    log = pd.concat([ratings([0.0]), ratings([0.0])])
    changed = ratings([1.0]).assign(feedback_id="later", timestamp=START + timedelta(days=1))

    assert analyse_feedback(calls(5), log).total.n_rated == 1
    assert analyse_feedback(calls(5), pd.concat([log, changed])).total.rate == 1.0
    # under the id that it was said by before, as serving gives it
    replaced = changed.assign(feedback_id="f0")
    assert analyse_feedback(calls(5), pd.concat([replaced, log])).total.rate == 1.0


def test_thumbs_rate_and_other_labels_are_complaints() -> None:
    log = ratings([math.nan] * 4, labels=["👍", "👎", "too long", "bad"])
    report = analyse_feedback(calls(10), log)

    assert (report.total.n_rated, report.total.n_good) == (3, 1)
    assert [issue.label for issue in report.issues] == ["too long"]


def test_a_change_beyond_chance_is_told_and_one_within_is_not() -> None:
    before = analyse_feedback(calls(200), ratings([1.0] * 180 + [0.0] * 20))
    worse = analyse_feedback(calls(200), ratings([1.0] * 140 + [0.0] * 60), previous=before)
    alike = analyse_feedback(calls(200), ratings([1.0] * 178 + [0.0] * 22), previous=before)

    assert worse.worse
    assert worse.total.before == 0.9
    assert "90% before (worse)" in worse.reason
    assert alike.total.verdict == "ok"


def test_a_complaint_that_comes_up_more_often_is_told() -> None:
    before = analyse_feedback(calls(200), ratings([0.0] * 200, labels=["slow"] * 10 + ["x"] * 190))
    now = analyse_feedback(
        calls(200), ratings([0.0] * 200, labels=["slow"] * 60 + ["x"] * 140), previous=before
    )
    issues = {issue.label: issue for issue in now.issues}

    assert issues["slow"].verdict == "worse"
    assert issues["x"].verdict == "better"
    assert "more often than before: slow" in now.reason


def test_the_worst_answers_become_items_of_the_next_evaluation() -> None:
    report = analyse_feedback(calls(10), ratings([1.0, 0.2, 0.0], labels=["", "dull", "wrong"]))
    table = low_rated_table(report).to_pylist()

    assert [row["id"] for row in table] == ["r2", "r1"]
    assert table[1]["question"] == "question 1"
    assert table[1]["label"] == "dull"


def test_judges_do_not_count_as_users_and_strangers_are_counted() -> None:
    log = ratings([0.0, 0.0]).assign(source=["llm_judge", "user"])
    stranger = ratings([1.0]).assign(request_id="unknown", feedback_id="s")
    report = analyse_feedback(calls(5), pd.concat([log, stranger]))

    assert report.total.n_rated == 1
    assert report.n_unmatched == 1


def test_no_rating_is_no_rate() -> None:
    report = analyse_feedback(calls(5), ratings([]))

    assert math.isnan(report.total.rate)
    assert report.reason == "no rating for 5 answers"
    assert "Feedback report" in report.to_html()


def test_logs_that_cannot_be_joined_are_refused() -> None:
    with pytest.raises(DataError, match="request_id"):
        analyse_feedback(pd.DataFrame({"x": [1]}), ratings([1.0]))
    with pytest.raises(DataError, match="colour"):
        analyse_feedback(calls(1), ratings([1.0]), by=("colour",))


def test_half_a_point_is_liked_and_the_window_is_that_of_the_calls() -> None:
    undated = calls(2, first=5).assign(timestamp=pd.NaT)
    report = analyse_feedback(pd.concat([calls(5), undated]), ratings([0.5, 0.49]))
    assert report.total.n_good == 1
    assert (report.start_at, report.end_at) == (START, START + timedelta(minutes=4))
    never = analyse_feedback(undated, ratings([1.0]))
    assert never.start_at is never.end_at is None


def test_a_call_counts_by_its_weight_and_once_without_one() -> None:
    weighted = calls(4).assign(sample_weight=[None, 2.5, None, 4.0])
    assert analyse_feedback(weighted, ratings([1.0])).total.n_calls == 8.5


def test_the_interval_of_a_change_is_newcombes() -> None:
    """Wilson's limits by scipy, joined as in Newcombe (1998), method 10."""
    before = analyse_feedback(calls(60), ratings([1.0] * 40 + [0.0] * 10))
    total = analyse_feedback(calls(60), ratings([1.0] * 20 + [0.0] * 20), previous=before).total

    old, new = (
        binomtest(good, n).proportion_ci(method="wilson") for good, n in ((40, 50), (20, 40))
    )
    assert (total.low, total.high) == pytest.approx((new.low, new.high))
    assert total.change_low == pytest.approx(-0.3 - math.hypot(0.5 - new.low, old.high - 0.8))
    assert total.change_high == pytest.approx(-0.3 + math.hypot(new.high - 0.5, 0.8 - old.low))


def test_complaints_are_shares_of_the_rated_answers_now_and_before() -> None:
    before = analyse_feedback(calls(200), ratings([0.0] * 40, labels=["slow"] * 10 + ["x"] * 30))
    now = analyse_feedback(
        calls(200), ratings([0.0] * 50, labels=["slow"] * 20 + ["new"] * 30), previous=before
    )
    found = {issue.label: (issue.n, issue.share, issue.before) for issue in now.issues}
    assert found == {"slow": (20, 0.4, 0.25), "new": (30, 0.6, 0.0)}
    assert {issue.label: issue.verdict for issue in now.issues} == {"slow": "ok", "new": "worse"}
    assert {issue.verdict for issue in before.issues} == {"unknown"}
    assert all(math.isnan(issue.before) for issue in before.issues)


def test_a_low_rated_answer_brings_what_is_known_of_it() -> None:
    log = calls(2).assign(
        gen_ai_response_model=[None, "house"],
        gen_ai_request_model=["asked", "other"],
        prompt_name="greeting",
        prompt_version="0123456789abcdef",
        output_text=["an answer", None],
    )
    said = ratings([0.1, 0.3], labels=["rude", "dull"]).assign(comment=["never again", None])
    first, second = analyse_feedback(log, said).low_rated
    assert (first.request_id, first.question, first.answer) == ("r0", "question 0", "an answer")
    assert (first.score, first.label, first.comment) == (0.1, "rude", "never again")
    assert (first.model, first.prompt) == ("asked", "greeting@0123456789ab")
    assert (second.answer, second.comment, second.model) == ("", "", "house")


def test_a_later_rating_without_a_comment_leaves_the_comment() -> None:
    later = ratings([0.2]).assign(feedback_id="later", timestamp=START + timedelta(days=1))
    log = pd.concat([ratings([0.1]).assign(comment="never again"), later])
    (low,) = analyse_feedback(calls(1), log).low_rated
    assert (low.score, low.comment) == (0.2, "never again")


def test_what_has_no_name_is_in_one_group() -> None:
    log = calls(2).assign(gen_ai_response_model=None, tenant=["acme", None])
    groups = analyse_feedback(log, ratings([1.0])).groups
    assert [each.key for each in groups["model"]] == ["(none)"]
    assert [each.key for each in groups["prompt"]] == ["(none)"]
    assert {each.key for each in groups["tenant"]} == {"acme", "(none)"}
    versions = calls(2).assign(prompt_name=["a", None], prompt_version=[None, "7"])
    named = analyse_feedback(versions, ratings([1.0])).groups["prompt"]
    assert {each.key for each in named} == {"a", "7"}


def test_fifty_complaints_and_fifty_answers_are_listed_and_a_bare_thumb_first() -> None:
    labels = [f"complaint {i}" for i in range(60)]
    report = analyse_feedback(calls(80), ratings([0.1] * 60, labels=labels))
    assert len(report.issues) == len(report.low_rated) == 50
    thumbs = analyse_feedback(calls(3), ratings([0.0, math.nan, 0.2], labels=["", "👎", ""]))
    assert [each.request_id for each in thumbs.low_rated] == ["r1", "r0", "r2"]


def test_no_low_rated_answer_is_a_table_of_text_all_the_same() -> None:
    table = low_rated_table(analyse_feedback(calls(3), ratings([1.0])))
    assert table.num_rows == 0
    assert {str(each.type) for each in table.schema} == {"string", "double"}


def judged(n: int, n_rated: int, *, right: float = 0.9, seed: int = 0) -> pd.DataFrame:
    """Annotators rate the first answers, a judge scores all and agrees with them mostly."""
    rng = np.random.default_rng(seed)
    liked = rng.random(n) < 0.7
    scores = np.where(rng.random(n) < right, liked, ~liked) * 0.8 + 0.1
    people, judge = ratings(list(liked[:n_rated] * 1.0)), ratings(list(scores))
    people["source"], judge["source"] = "annotator", "llm_judge"
    return pd.concat([people, judge], ignore_index=True)


def test_a_judge_makes_the_interval_of_few_ratings_shorter() -> None:
    log = judged(3000, 150)
    alone = analyse_feedback(calls(3000), log).total
    found = analyse_feedback(calls(3000), log, proxy="llm_judge")
    assert (found.total.n_rated, found.total.n_proxy) == (150, 2850)
    assert found.total.high - found.total.low < 0.75 * (alone.high - alone.low)
    assert found.total.low < 0.7 < found.total.high
    assert found.total.worth > 250
    assert "scores of a judge worth" in found.reason
    again = analyse_feedback(calls(3000), judged(3000, 150, seed=1), proxy="llm_judge")
    assert again.total.n_effective == again.total.worth
    later = analyse_feedback(
        calls(3000), judged(3000, 150, seed=1), proxy="llm_judge", previous=found
    ).total
    assert later.change_high - later.change_low < 0.75 * 1.42 * (alone.high - alone.low)


def test_a_judge_that_says_nothing_leaves_the_ratings_as_they_are() -> None:
    log = judged(1000, 200)
    log.loc[log["source"] == "llm_judge", "score"] = 0.5
    alone = analyse_feedback(calls(1000), log).total
    found = analyse_feedback(calls(1000), log, proxy="llm_judge").total
    assert found.rate == pytest.approx(alone.rate)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_a_judge_without_a_rating_beside_it_tells_no_rate() -> None:
    log = judged(50, 20)
    report = analyse_feedback(calls(50), log[log["source"] == "llm_judge"], proxy="llm_judge")
    assert math.isnan(report.total.rate)
    assert report.total.n_rated == 0
    with pytest.raises(ConfigError, match="no source of ratings"):
        analyse_feedback(calls(50), log, proxy="user")


@pytest.mark.parametrize(
    "at",
    ["2026-03-02T10:00:00Z", "2026-03-02 10:00:00", 1772445600, START.date(), math.nan, "gestern"],
)
def test_times_of_any_kind_are_read_or_none(at: object) -> None:
    one, other = [at] * 20, [None, *[at] * 19]
    rated = ratings([1.0] * 15 + [0.0] * 5)
    report = analyse_feedback(calls(20).assign(timestamp=one), rated.assign(timestamp=other))

    assert (report.total.n_rated, report.total.rate) == (20, 0.75)
    is_read = not isinstance(at, int | float) and at != "gestern"
    assert (report.start_at is not None) == is_read
    if isinstance(at, str) and is_read:
        assert report.start_at == START.replace(hour=10)


def test_text_times_say_which_rating_was_the_last() -> None:
    log = pd.concat([ratings([0.0]), ratings([1.0])]).assign(
        timestamp=["2026-03-02T10:00:00Z", "2026-03-02T11:30:00+02:00"]
    )
    assert analyse_feedback(calls(1), log).total.rate == 0.0


def test_ratings_of_sources_that_are_not_used_are_told() -> None:
    log = pd.concat([ratings([1.0] * 5).assign(source="User"), ratings([1.0]).assign(source="bot")])
    report = analyse_feedback(calls(100), log)

    assert report.other_sources == {"User": 5, "bot": 1}
    assert report.unmeasured == (
        "no rating for 100 answers; 6 rows are of sources that are not used: 'User', 'bot' "
        "(sources=)"
    )


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0])
def test_a_call_with_an_impossible_weight_counts_once(odd: float) -> None:
    log = calls(10).assign(sample_weight=[odd, *[2.0] * 9])
    assert analyse_feedback(log, ratings([1.0] * 10)).total.n_calls == 19
