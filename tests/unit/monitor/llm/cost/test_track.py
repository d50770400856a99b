"""Sums over calls, by their weights, and what they mean for budgets."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.llm import Budget, PriceTable
from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage

PRICES = PriceTable(
    [{"model": "house", "input_usd_per_mtok": 1000.0, "output_usd_per_mtok": 2000.0}],
    builtin=False,
)
START = datetime(2026, 3, 2, tzinfo=timezone.utc)


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
