"""Sums over calls, by their weights, and what they mean for budgets."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.llm import Budget, PriceTable
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

PRICES = PriceTable(
    [{"model": "house", "input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 2000.0}],
    builtin=False,
)
START = datetime(2026, 3, 2, tzinfo=timezone.utc)
END = datetime(2026, 3, 31, tzinfo=timezone.utc)


def call(**values: object) -> dict[str, object]:
    return {
        "timestamp": START + timedelta(hours=1),
        "gen_ai_request_model": "house",
        "gen_ai_response_model": "house",
        "gen_ai_usage_input_tokens": 1000,
        "gen_ai_usage_output_tokens": 500,
        "tenant": "acme",
        "route": "/ask",
        "prompt_name": "qa",
        "prompt_version": "0123456789abcdef",
        "sample_weight": 1.0,
        "error_type": None,
        **values,
    }


def log(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def test_calls_are_added_up_and_split_by_who_made_them() -> None:
    report = summarise_usage(log(call(), call(tenant="bolt"), call(tenant="bolt")), PRICES)

    assert report.total.n_calls == 3
    assert report.total.cost_usd == pytest.approx(6.0)
    tenants = {each.key: each.cost_usd for each in report.groups["tenant"]}
    assert tenants == {"bolt": pytest.approx(4.0), "acme": pytest.approx(2.0)}
    assert next(iter(tenants)) == "bolt"
    assert report.groups["prompt"][0].key == "qa@0123456789ab"


def test_what_judges_cost_is_told_apart_from_what_the_product_costs() -> None:
    rows = (call(purpose="product"), call(purpose="judge"), call(purpose="judge"))
    report = summarise_usage(log(*rows), PRICES, by=["purpose"])

    costs = {each.key: each.cost_usd for each in report.groups["purpose"]}
    assert costs == {"judge": pytest.approx(4.0), "product": pytest.approx(2.0)}


def test_an_unknown_price_and_missing_tokens_are_counted_apart_and_never_free() -> None:
    report = summarise_usage(
        log(
            call(),
            call(gen_ai_response_model="other"),
            call(gen_ai_usage_input_tokens=None, gen_ai_usage_output_tokens=None),
        ),
        PRICES,
    )

    assert report.total.n_unknown_price == 1
    assert report.total.n_no_usage == 1
    assert report.total.cost_usd == pytest.approx(2.0)
    assert report.models_without_price == ("other",)
    assert "without 2 calls of unknown cost" in report.reason


def test_the_cost_noted_at_serving_time_stands_in_for_an_unknown_price() -> None:
    report = summarise_usage(log(call(gen_ai_response_model="other", cost_usd=0.5)), PRICES)

    assert report.total.cost_usd == 0.5
    assert report.total.n_unpriced == 0


def test_a_row_that_stands_for_ten_calls_counts_ten_times_and_says_how_uncertain_that_is() -> None:
    report = summarise_usage(log(call(sample_weight=10.0), call()), PRICES)

    assert report.total.n_rows == 2
    assert report.total.n_calls == 11
    assert report.total.cost_usd == pytest.approx(22.0)
    assert report.total.cost_error == pytest.approx(math.sqrt(90) * 2)


def test_how_calls_went_is_counted_too() -> None:
    report = summarise_usage(
        log(
            call(attempts=3, retries=2, rate_limited=True, finish_reason="length"),
            call(fallback_from="big", attempts=2),
            call(error_type="APITimeoutError", gen_ai_usage_input_tokens=None, attempts=1),
        ),
        PRICES,
    )
    total = report.total

    assert (total.n_retried, total.n_rate_limited, total.n_fallback) == (2, 1, 1)
    assert (total.n_truncated, total.n_errors, total.n_attempts) == (1, 1, 6)
    assert total.n_no_usage == 0
    assert total.share(total.n_fallback) == pytest.approx(1 / 3)


def test_rows_without_a_model_are_no_llm_calls() -> None:
    rows = log(call(gen_ai_request_model=None, gen_ai_response_model=None))
    report = summarise_usage(rows, PRICES)

    assert report.total.n_calls == 0
    assert report.reason == "no LLM call in this window"


def test_a_log_without_times_is_refused() -> None:
    with pytest.raises(DataError, match="timestamp"):
        summarise_usage(pd.DataFrame({"tenant": ["a"]}), PRICES)
    with pytest.raises(DataError, match="colour"):
        summarise_usage(log(call()), PRICES, by=("colour",))


def test_a_budget_of_a_month_is_judged_by_where_the_month_will_end() -> None:
    days = [call(timestamp=START + timedelta(days=d, hours=1)) for d in range(10)]
    noon = START + timedelta(days=9, hours=12)
    (status,) = summarise_usage(log(*days), PRICES, budgets=[Budget(limit=50)], at=noon).budgets

    assert status.spent_usd == pytest.approx(20)
    assert status.forecast_usd == pytest.approx(20 + 2 * 20.5)
    assert status.verdict == "at_risk"
    assert status.forecast_low <= status.forecast_usd <= status.forecast_high


def test_each_tenant_has_a_budget_of_its_own() -> None:
    rows = log(call(), call(tenant="bolt"), call(tenant="bolt"))
    budget = Budget(scope="tenant", period="day", limit=3)
    report = summarise_usage(rows, PRICES, budgets=[budget])
    verdicts = {status.key: status.verdict for status in report.budgets}

    assert verdicts["bolt"] == "exceeded"
    assert report.over_budget
    assert "the day budget of tenant bolt is exceeded" in report.reason
    assert report.budgets[0].key == "bolt"


def test_the_days_before_come_from_the_report_of_the_night_before() -> None:
    first = summarise_usage(log(call()), PRICES, budgets=[Budget(limit=100)])
    second_day = log(call(timestamp=START + timedelta(days=1, hours=2)))

    second = summarise_usage(second_day, PRICES, budgets=[Budget(limit=100)], previous=first)
    again = summarise_usage(second_day, PRICES, budgets=[Budget(limit=100)], previous=second)

    assert second.total.cost_usd == pytest.approx(2)
    assert second.budgets[0].spent_usd == pytest.approx(4)
    assert repr(again.budgets) == repr(second.budgets)


def test_a_new_month_starts_at_nothing() -> None:
    first = summarise_usage(log(call()), PRICES)
    april = log(call(timestamp=datetime(2026, 4, 1, 3, tzinfo=timezone.utc)))
    report = summarise_usage(april, PRICES, budgets=[Budget(limit=100)], previous=first)

    assert report.budgets[0].spent_usd == pytest.approx(2)
    assert report.budgets[0].start == "2026-04-01"


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 1, "scope": "planet"},
        {"limit": 1, "period": "hour"},
        {"limit": 1, "action": "shout"},
        {"limit": 1, "only": "acme"},
    ],
)
def test_a_budget_that_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Budget(**wrong)


def test_the_page_says_who_spent_what() -> None:
    report = summarise_usage(
        log(call(), call(gen_ai_response_model="other")), PRICES, budgets=[Budget(limit=1)]
    )
    html = report.to_html()

    assert "A budget is exceeded" in html
    assert "No price is known for other" in html
    assert report.to_dict()["total"]["n_calls"] == 2


def value(report, name: str) -> float:
    (found,) = (each.value for each in report.measurements() if each.name == name)
    return found


UNKNOWN = {"gen_ai_response_model": "other"}
WITHOUT_COUNTS = {"gen_ai_usage_input_tokens": None, "gen_ai_usage_output_tokens": None}


def test_a_budget_is_not_ok_while_the_price_of_a_call_is_unknown() -> None:
    budget = Budget(limit=1000)
    report = summarise_usage(log(call(), call(**UNKNOWN)), PRICES, budgets=[budget], at=END)

    (status,) = report.budgets
    assert (status.verdict, status.n_unknown, status.spent_usd) == ("unknown", 1, 2.0)
    assert not report.over_budget
    assert math.isnan(value(report, "over_budget"))
    assert "the month budget of global is unknown" in report.reason
    assert "$2.00 of $1,000.00 spent, without 1 calls of unknown cost" in report.reason
    assert value(report, "spent_share.month.global") == 0.002
    assert value(report, "n_unpriced.month.global") == 1
    assert value(report, "unpriced_rate") == 0.5
    assert report.unmeasured == ""
    assert "A budget cannot be judged" in report.to_html()


def test_a_budget_is_unknown_only_if_calls_without_token_counts_could_exceed_it() -> None:
    """Ten calls of $2 and two without counts: by noon of a day $24, and $48 by its end."""
    columns = log(*[call()] * 10, *[call(**WITHOUT_COUNTS)] * 2)
    at = START.replace(hour=12)
    for limit, verdict in ((49, "ok"), (47, "unknown"), (39, "at_risk"), (19, "exceeded")):
        budget = Budget(limit=limit, period="day")
        (status,) = summarise_usage(columns, PRICES, budgets=[budget], at=at).budgets
        assert (status.verdict, status.unknown_usd, status.forecast_usd) == (verdict, 4.0, 40.0)


def test_a_budget_that_holds_says_what_it_takes_for_granted() -> None:
    columns = log(*[call()] * 10, call(**WITHOUT_COUNTS))
    budget = [Budget(limit=1000)]
    report = summarise_usage(columns, PRICES, budgets=budget, at=END)
    assert value(report, "over_budget") == 0
    said = "every budget holds even if 1 calls of unknown cost were each as dear as the dearest"
    assert f"{said} known one ($2.00)" in report.reason

    next_day = log(call(timestamp=START + timedelta(days=1, hours=2)))
    later = summarise_usage(next_day, PRICES, budgets=budget, previous=report)
    assert said in later.reason
    assert later.budgets[0].verdict == "ok"


def test_calls_without_token_counts_have_no_bound_if_fewer_are_known() -> None:
    columns = log(*[call()] * 3, *[call(**WITHOUT_COUNTS)] * 4)
    (status,) = summarise_usage(columns, PRICES, budgets=[Budget(limit=1e6)], at=END).budgets
    assert (status.verdict, status.unknown_usd) == ("unknown", math.inf)


def test_a_call_without_counts_and_without_a_price_has_no_bound() -> None:
    columns = log(*[call()] * 9, call(**UNKNOWN, **WITHOUT_COUNTS))
    (status,) = summarise_usage(columns, PRICES, budgets=[Budget(limit=1e6)], at=END).budgets
    assert status.verdict == "unknown"


def test_unknown_calls_of_a_report_of_an_older_release_have_no_bound() -> None:
    budget = [Budget(limit=1e6)]
    columns = log(*[call()] * 10, call(**WITHOUT_COUNTS))
    stored = json.loads(record_to_json(summarise_usage(columns, PRICES, budgets=budget)))
    for day in stored["days"].values():
        for spend in (day, *day["windows"]):
            for name in ("n_bounded", "n_known", "dearest_usd"):
                del spend[name]
    old = record_from_json(UsageReport, json.dumps(stored))
    next_day = log(call(timestamp=START + timedelta(days=1, hours=2)))
    report = summarise_usage(next_day, PRICES, budgets=budget, previous=old)
    assert report.budgets[0].verdict == "unknown"


def test_calls_of_days_after_the_evaluation_are_in_the_budget_of_its_period_and_told() -> None:
    early = START.replace(hour=1)
    columns = log(call(timestamp=early), call(timestamp=early + timedelta(days=3)))
    budgets = [Budget(limit=3, period=period) for period in ("day", "month")]
    report = summarise_usage(columns, PRICES, budgets=budgets, at=START.replace(hour=2))

    assert [(each.verdict, each.spent_usd) for each in report.budgets] == [("exceeded", 4.0)] * 2
    assert (report.n_ahead, value(report, "n_ahead")) == (1, 1)
    assert "1 calls are dated on days after the evaluation, and count" in report.reason


def test_days_of_an_earlier_report_after_the_evaluation_are_not_of_its_period() -> None:
    budgets = [Budget(limit=100, period="day")]
    tomorrow = START + timedelta(days=1)
    later = summarise_usage(log(call(timestamp=tomorrow)), PRICES, budgets=budgets)
    again = summarise_usage(log(call()), PRICES, budgets=budgets, previous=later, at=START)
    assert (again.budgets[0].spent_usd, again.n_ahead) == (2.0, 0)


@pytest.mark.parametrize(
    "odd",
    ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-01-01T00:00:00Z",
     "9999-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "gestern", None],
)  # fmt: skip
def test_a_time_that_cannot_be_is_that_of_the_call_before_and_told(odd: str | None) -> None:
    times = [START.isoformat(), odd, (START + timedelta(hours=1)).isoformat()]
    columns = log(*[call(timestamp=at) for at in times])
    budgets = [Budget(limit=5, period="day"), Budget(scope="tenant", limit=1e6, period="day")]
    report = summarise_usage(columns, PRICES, budgets=budgets)

    assert (report.start_at, report.end_at) == (START, START + timedelta(hours=1))
    assert [each.verdict for each in report.budgets] == ["exceeded", "ok"]
    assert report.n_undated == value(report, "n_undated") == 1
    assert "1 calls have no possible time: that of a call before is taken" in report.reason


def test_a_far_past_costs_a_period_and_not_one_for_each_day_since() -> None:
    columns = log(call(timestamp=datetime(2000, 1, 1, tzinfo=timezone.utc)), call())
    budgets = [Budget(limit=1, period="day")]
    report = summarise_usage(columns, PRICES, budgets=budgets, at=START)
    assert {each.start for each in report.budgets} == {"2000-01-01", START.date().isoformat()}


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0])
def test_impossible_weights_and_costs_are_missing_and_told(odd: float) -> None:
    alone = {"gen_ai_request_model": ["m"] * 2, "timestamp": [START] * 2}
    columns = pa.table({**alone, "sample_weight": [2.0, odd], "cost_usd": [1.0, odd]})
    report = summarise_usage(columns, PRICES, budgets=[Budget(limit=1000)], at=END)

    assert (report.total.n_calls, report.total.cost_usd) == (3.0, 2.0)
    assert report.budgets[0].verdict == "unknown"
    assert report.n_unreadable == value(report, "n_unreadable") == 1
    assert "1 calls have an impossible weight, cost or token count" in report.reason


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1000.0])
def test_impossible_token_counts_are_no_token_counts(odd: float) -> None:
    report = summarise_usage(log(call(gen_ai_usage_input_tokens=odd)), PRICES)
    assert (report.total.n_no_usage, report.total.cost_usd) == (1, 0)


def test_models_that_are_no_text_are_none_or_named() -> None:
    nothing = pa.array([math.nan] * 2)
    counts = {"gen_ai_usage_input_tokens": [1, 1], "gen_ai_usage_output_tokens": [1, 1]}
    both = {"gen_ai_request_model": nothing, "gen_ai_response_model": nothing}
    empty = summarise_usage(pa.table({"timestamp": [START] * 2, **both, **counts}), PRICES)
    assert empty.unmeasured == "no LLM call in this window"

    named = {"gen_ai_request_model": [7, 7], "prompt_name": [1.0, math.nan]}
    found = summarise_usage(pa.table({"timestamp": [START] * 2, **named, **counts}), PRICES)
    assert found.models_without_price == ("7",)


def test_what_is_known_may_exceed_a_budget_whatever_is_not() -> None:
    report = summarise_usage(log(call(), call(**UNKNOWN)), PRICES, budgets=[Budget(limit=1)])
    assert report.budgets[0].verdict == "exceeded"
    assert value(report, "over_budget") == 1


def test_unknown_costs_of_earlier_days_of_the_period_forbid_the_verdict_too() -> None:
    budget = [Budget(limit=1000), Budget(limit=1000, period="day")]
    first = summarise_usage(log(call(**UNKNOWN)), PRICES, budgets=budget)
    next_day = log(call(timestamp=START + timedelta(days=1, hours=2)))
    second = summarise_usage(next_day, PRICES, budgets=budget, previous=first)
    assert {each.budget.period: each.verdict for each in second.budgets} == {
        "month": "unknown",
        "day": "ok",
    }


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_budget_is_ok_only_if_every_cost_is_known_or_bounded(
    priced, unknown, without, failed
) -> None:
    failure = {"error_type": "APITimeoutError", **WITHOUT_COUNTS}
    rows = [
        *[call()] * priced,
        *[call(**UNKNOWN)] * unknown,
        *[call(**WITHOUT_COUNTS)] * without,
        *[call(**failure)] * failed,
    ]
    columns = log(*rows) if rows else log(call()).head(0)
    report = summarise_usage(columns, PRICES, budgets=[Budget(limit=1e6)], at=END)

    over = value(report, "over_budget")
    assert (over == 0) == (priced > 0 and not unknown and without <= priced)
    assert math.isnan(over) == (over != 0)
    assert bool(report.unmeasured) == (priced == 0)
    assert math.isnan(value(report, "cost_usd")) == (priced == 0)
    assert value(report, "n_unpriced") == unknown + without


def test_a_window_of_which_no_cost_is_known_says_why() -> None:
    report = summarise_usage(
        log(call(**UNKNOWN), call(**WITHOUT_COUNTS), call(**WITHOUT_COUNTS)),
        PRICES,
        budgets=[Budget(limit=1)],
    )
    assert report.unmeasured == (
        "the cost of none of 3 LLM calls is known; 1 have no known price of other; "
        "2 have no token counts"
    )
    assert report.budgets[0].verdict == "unknown"
    for name in ("cost_usd", "over_budget", "spent_share.month.global"):
        assert math.isnan(value(report, name))

    failed = call(error_type="APITimeoutError", **WITHOUT_COUNTS)
    report = summarise_usage(log(failed, failed), PRICES, budgets=[Budget(limit=1)])
    assert report.unmeasured == "all 2 LLM calls failed"
    assert value(report, "error_rate") == 1
    assert math.isnan(value(report, "input_tokens"))


def test_a_failed_call_with_token_counts_is_paid_for_or_of_unknown_cost() -> None:
    broken = {"error_type": "APIConnectionError"}
    report = summarise_usage(log(call(**broken), call(**broken, **UNKNOWN)), PRICES)
    assert (report.total.cost_usd, report.total.n_unknown_price) == (2.0, 1)


def test_without_a_budget_none_is_passed() -> None:
    (gate,) = (m for m in summarise_usage(log(call()), PRICES).measurements() if m.is_gate)
    assert math.isnan(gate.value)
    assert "no budget was judged" in gate.reason


def test_a_call_without_a_time_counts_at_that_of_the_row_before() -> None:
    undated = call(timestamp=pd.NaT)
    rows = log(undated, call(), undated, call(timestamp=START + timedelta(days=1)), undated)
    report = summarise_usage(rows, PRICES)
    assert {day: each.cost_usd["global="] for day, each in report.days.items()} == {
        "2026-03-02": 6.0,
        "2026-03-03": 4.0,
    }
    alone = summarise_usage(log(undated), PRICES, budgets=[Budget(limit=1)], at=START)
    assert alone.budgets[0].verdict == "exceeded"


def test_a_budget_of_somebody_who_never_called_is_a_finding() -> None:
    budgets = [
        Budget(scope="tenant", only="acm", limit=10),
        Budget(scope="tenant", only="acm", limit=1, period="day"),
        Budget(scope="tenant", only="acme", limit=10),
        Budget(limit=100),
    ]
    report = summarise_usage(log(call(), call(tenant="bolt")), PRICES, budgets=budgets)
    assert report.unmeasured == (
        "a budget limits the tenant 'acm', which made no call; did you mean 'acme'?"
    )
    # what is known stays known
    assert value(report, "cost_usd") == 4
    assert value(report, "over_budget") == 0
    assert "No cost is known" not in report.to_html()
    # one that called on an earlier day is quiet, and no finding
    quiet = summarise_usage(
        log(call(tenant="bolt", timestamp=START + timedelta(days=1))),
        PRICES,
        budgets=budgets[2:],
        previous=report,
    )
    assert quiet.unmeasured == ""
