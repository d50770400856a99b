"""What the rate of a window is compared with, and what the alert node makes of it."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm

from flytekitplugins.wbmon import AlertRule, FeedbackReport, evaluate_rules
from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.llm.feedback.analyze import analyse_feedback
from flytekitplugins.wbmon.monitor.llm.feedback.baseline import (
    KEPT,
    between_variance,
    pooled,
    with_rate,
)
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackRate, PastRate
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from flytekitplugins.wbmon.stats.interval import newcombe_interval

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
WORSE = AlertRule(metric="feedback.worse", above=0)
DROP = AlertRule(metric="feedback.rate", drop=0.1)


def night(
    n_rated: int, n_good: int, previous: FeedbackReport | None = None, *, n_calls: int = 100
) -> FeedbackReport:
    ids = [str(i) for i in range(n_calls)]
    scores = np.r_[np.ones(n_good), np.zeros(n_rated - n_good)]
    calls = pa.table({"request_id": pa.array(ids, pa.string())})
    rated = {"request_id": pa.array(ids[:n_rated], pa.string()), "score": scores}
    return analyse_feedback(calls, pa.table(rated), by=(), previous=previous)


def nights(*rated: tuple[int, int], n_calls: int = 100) -> list[FeedbackReport]:
    found: list[FeedbackReport] = []
    for n_rated, n_good in rated:
        before = found[-1] if found else None
        found.append(night(n_rated, n_good, before, n_calls=n_calls))
    return found


def decisions(rule: AlertRule, reports: list[FeedbackReport]) -> list[Decision]:
    found: list[Decision] = []
    for day, report in enumerate(reports):
        state = found[-1].state if found else None
        found.append(evaluate_rules([rule], [report], state=state, at=START + timedelta(days=day)))
    return found


def phases(rule: AlertRule, reports: list[FeedbackReport]) -> list[str]:
    return [each.alerts[0].phase for each in decisions(rule, reports)]


def test_a_fall_right_after_a_night_without_ratings_is_found_and_stays() -> None:
    found = nights(*[(100, 90)] * 3, (0, 0), *[(100, 30)] * 5)

    assert [each.total.verdict for each in found[3:]] == ["unknown", *["worse"] * 5]
    assert {each.total.before for each in found[4:]} == {0.9}
    assert phases(WORSE, found) == ["no_data", "ok", "ok", "no_data", *["firing"] * 5]


def test_a_fall_after_a_night_of_few_ratings_is_found() -> None:
    found = nights(*[(100, 90)] * 3, (5, 5), (100, 30))

    assert found[-1].worse
    assert found[-1].total.before == pytest.approx(275 / 305)


def test_a_fall_that_lasts_longer_than_the_memory_is_no_new_normal() -> None:
    assert nights(*[(100, 90)] * 3, *[(100, 50)] * (KEPT + 5))[-1].worse


def test_a_recovery_ends_a_fall_and_no_previous_report_begins_anew() -> None:
    fallen = nights(*[(100, 90)] * 3, *[(100, 50)] * 3)

    assert night(100, 90, fallen[-1]).total.verdict == "ok"
    anew = night(100, 50)
    assert anew.total.verdict == "unknown"
    assert night(100, 50, anew).total.verdict == "ok"


def test_the_first_window_is_no_finding_and_one_without_ratings_is() -> None:
    first, second, empty = decisions(WORSE, nights((100, 90), (100, 90), (0, 0)))

    assert (first.findings, second.findings) == ((), ())
    assert "too few ratings before to compare with" in first.alerts[0].reason
    assert empty.findings == ("feedback could not be judged: no rating for 100 answers",)


def test_a_rule_on_a_drop_has_no_data_until_there_is_a_window_before() -> None:
    found = decisions(DROP, nights((0, 0), (100, 90), (100, 90), (0, 0), (100, 90), (100, 60)))

    assert [each.alerts[0].phase for each in found] == [
        "no_data", "no_data", "ok", "no_data", "ok", "firing",
    ]  # fmt: skip
    assert found[0].alerts[0].reason == "rate is unknown: no answer is rated"
    assert found[1].alerts[0].reason == "rate is unknown: no window before it to compare with"
    assert found[1].findings == ()


def test_a_report_of_an_older_release_is_read_and_is_the_window_before() -> None:
    stored = json.loads(record_to_json(night(100, 90)))
    del stored["history"], stored["recent"], stored["other_sources"]
    old = record_from_json(FeedbackReport, json.dumps(stored))

    found = night(100, 50, old)
    assert (found.total.before, found.worse) == (0.9, True)
    assert night(100, 50, found).worse


def test_a_stored_report_remembers_all_windows() -> None:
    found = nights((100, 90), (100, 85))[-1]

    assert found.history == (PastRate(n=100, n_good=90), PastRate(n=100, n_good=85))
    assert record_from_json(FeedbackReport, record_to_json(found)).history == found.history


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60))
def test_a_memory_is_bounded_and_only_its_last_window_is_small(
    rated: list[tuple[int, int]],
) -> None:
    history: tuple[PastRate, ...] = ()
    for n, good in rated:
        n_good = min(n, good)
        rate = n_good / n if n else math.nan
        history = with_rate(history, FeedbackRate(n_rated=n, n_calls=n, n_good=n_good, rate=rate))

    assert len(history) <= KEPT
    assert all(past.n >= 10 for past in history[:-1])
    assert all(0 <= past.n_good <= past.n + 1e-9 for past in history)


def test_the_p_value_is_that_of_the_interval() -> None:
    """Where the upper end of the 95 % interval touches 0, the one-sided p-value is 2.5 %."""
    for n_good in range(40, 100):
        found = nights((100, 90), (100, n_good))[-1]
        numbers = {each.name: each for each in found.measurements()}
        gate, rate = numbers["worse"], numbers["rate"]

        assert (gate.p_value < 0.025) == (found.total.verdict == "worse")
        assert gate.p_value == pytest.approx(norm.sf(gate.distance))
        assert (gate.p_value, gate.distance) == (rate.p_value, rate.distance)
        assert (gate.distance > 0) == (n_good < 90)


def test_a_first_window_has_no_p_value() -> None:
    numbers = {each.name: each for each in night(100, 90).measurements()}

    assert math.isnan(numbers["worse"].p_value)
    assert math.isnan(numbers["rate"].distance)


def test_a_night_that_chance_makes_worse_does_not_page_and_one_that_it_cannot_does() -> None:
    found = decisions(WORSE, nights(*[(100, 85)] * 3, (100, 75)))[-1].alerts[0]
    assert (found.phase, found.breached) == ("pending", True)
    assert "held back" in found.reason

    assert phases(WORSE, nights(*[(100, 85)] * 3, (100, 60)))[-1] == "firing"


def test_a_healthy_year_pages_hardly_ever() -> None:
    rng = np.random.default_rng(2)
    n_firing = 0
    for _ in range(2):
        found = nights(*[(100, int(rng.binomial(100, 0.85))) for _ in range(365)])
        told = decisions(WORSE, found)
        n_firing += sum(a.phase == "firing" and a.changed for d in told for a in d.alerts)
        assert 0 < sum(each.worse for each in found) < 0.05 * 365

    assert n_firing <= 3


def windows(rng: np.random.Generator, k: int, mood: float) -> list[PastRate]:
    shares = np.clip(rng.normal(0.85, mood, size=k), 0, 1)
    return [PastRate(n=1000, n_good=int(rng.binomial(1000, share))) for share in shares]


def test_the_variance_between_windows_is_that_of_their_moods() -> None:
    rng = np.random.default_rng(4)
    found = [between_variance(windows(rng, 30, 0.03), 0.85) for _ in range(600)]

    assert np.mean(found) == pytest.approx(0.03**2, rel=0.15)


@pytest.mark.parametrize(("mood", "most"), [(0.0, 0.035), (0.03, 0.05)])
def test_a_window_among_windows_that_differ_is_rarely_worse(mood: float, most: float) -> None:
    rng, n_worse = np.random.default_rng(7), 0
    for _ in range(1500):
        *past, last = windows(rng, 21, mood)
        found = pooled(past, past)
        assert found is not None
        _, high = newcombe_interval(found.n_good, found.n, last.n_good, last.n)
        change = last.n_good / last.n - found.n_good / found.n
        n_worse += change + math.hypot(high - change, found.reach) < 0

    assert n_worse / 1500 <= most


def test_few_windows_alike_windows_and_a_single_fall_have_no_spread() -> None:
    good, bad = PastRate(n=100, n_good=90), PastRate(n=100, n_good=50)

    assert between_variance([good, bad, good, bad], 0.9) == 0
    assert between_variance([good] * 30, 0.9) == 0
    assert between_variance([*[good] * 15, *[bad] * 15], 0.9) == 0
    # the median of four squares of 0.4, over the 0.4549 of scipy's chi2.median(1), less 0.09 / 100
    assert between_variance([good, bad, good, bad, good], 0.9) == pytest.approx(
        0.4**2 / chi2.median(1) / 2 - 0.09 / 100
    )


def test_a_night_of_a_moody_service_is_compared_with_its_moods() -> None:
    rates = (88, 80, 86, 82, 90, 79, 87, 81)
    found = nights(*[(1000, 10 * rate) for rate in rates], (1000, 790), n_calls=1000)
    assert found[-1].total.verdict == "ok"
    assert night(1000, 500, found[-1], n_calls=1000).worse
