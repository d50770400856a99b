"""Prices: in force at a time, for the model that answered, and unknown when unknown."""

from __future__ import annotations

import importlib.util
from datetime import datetime, timedelta, timezone

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import PriceTable
from flytekitplugins.wbmon.monitor.llm.cost import prices as pricing

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ROW = {"model": "house-1", "input_usd_per_mtok": 2.0, "output_usd_per_mtok": 8.0}


def test_tokens_times_prices() -> None:
    table = PriceTable([ROW])

    assert table.cost_usd("house-1", input_tokens=1000, output_tokens=500) == pytest.approx(0.006)


def test_cached_and_reasoning_tokens_are_part_of_the_whole() -> None:
    row = ROW | {"cached_input_usd_per_mtok": 0.5, "reasoning_usd_per_mtok": 10.0}
    cost = PriceTable([row]).cost_usd(
        "house-1",
        input_tokens=1_000_000,
        output_tokens=1_000_000,
        cache_read_input_tokens=400_000,
        reasoning_output_tokens=250_000,
    )

    assert cost == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 0.75 * 8 + 0.25 * 10)


def test_writing_to_the_cache_may_cost_more() -> None:
    row = ROW | {"cache_creation_usd_per_mtok": 2.5}
    cost = PriceTable([row]).cost_usd(
        "house-1", input_tokens=1e6, output_tokens=0, cache_creation_input_tokens=1e6
    )

    assert cost == pytest.approx(2.5)


def test_without_a_price_of_their_own_cached_tokens_cost_as_much_as_others() -> None:
    cost = PriceTable([ROW]).cost_usd(
        "house-1", input_tokens=1e6, output_tokens=0, cache_read_input_tokens=1e6
    )

    assert cost == pytest.approx(2.0)


def test_the_price_in_force_at_the_time_of_the_call_counts() -> None:
    later = ROW | {"input_usd_per_mtok": 1.0, "effective_from": NOON}
    table = PriceTable([later, ROW])
    before = table.cost_usd(
        "house-1", input_tokens=1e6, output_tokens=0, at=NOON - timedelta(seconds=1)
    )

    assert before == 2.0
    assert table.cost_usd("house-1", input_tokens=1e6, output_tokens=0, at=NOON) == 1.0


def test_a_zone_is_the_difference_between_two_prices() -> None:
    rows = [ROW, ROW | {"input_usd_per_mtok": 1.0, "effective_from": "2026-03-01T00:00:00+09:00"}]
    at = datetime(2026, 2, 28, 16, tzinfo=timezone.utc)

    assert PriceTable(rows).cost_usd("house-1", input_tokens=1e6, output_tokens=0, at=at) == 1.0


def test_an_unknown_price_is_unknown_and_never_0() -> None:
    table = PriceTable([ROW | {"effective_from": "2026-01-01"}], builtin=False)
    early = datetime(2025, 12, 31, 23, tzinfo=timezone.utc)

    assert table.cost_usd("house-2", input_tokens=1, output_tokens=1) is None
    assert table.cost_usd("house-1", input_tokens=1, output_tokens=1, at=early) is None
    assert PriceTable().cost_usd("no-such-model-anywhere", input_tokens=1, output_tokens=1) is None


def test_unknown_tokens_have_an_unknown_cost() -> None:
    assert PriceTable([ROW]).cost_usd("house-1", input_tokens=None, output_tokens=5) is None


def test_a_dated_snapshot_costs_what_its_model_costs_and_a_longer_name_does_not() -> None:
    table = PriceTable([ROW], builtin=False)

    assert table.cost_usd("house-1-2026-01-31", input_tokens=1e6, output_tokens=0) == 2.0
    assert table.cost_usd("house-1-mini", input_tokens=1e6, output_tokens=0) is None


def test_a_price_may_be_for_one_provider() -> None:
    table = PriceTable([ROW | {"provider": "here"}], builtin=False)

    assert table.cost_usd("house-1", input_tokens=1e6, output_tokens=0, provider="here") == 2.0
    assert table.cost_usd("house-1", input_tokens=1e6, output_tokens=0, provider="there") is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (ROW | {"effective_from": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        (ROW | {"effective_from": "2026-01-01T10:00:00"}, "time zone"),
        (ROW | {"effective_from": "soon"}, "must be a time"),
        (ROW | {"output_price": 3}, "no field 'output_price'"),
        ({"model": "x"}, "must have model"),
        (ROW | {"output_usd_per_mtok": -1}, "0 or more"),
    ],
)
def test_a_row_that_cannot_be_a_price_is_refused(row: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PriceTable([row])


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ConfigError, match="time zone"):
        PriceTable([ROW]).cost_usd(
            "house-1",
            input_tokens=1,
            output_tokens=1,
            at=datetime(2026, 1, 1),  # noqa: DTZ001
        )


@pytest.mark.skipif(
    importlib.util.find_spec("genai_prices") is None, reason="genai-prices is not installed"
)
def test_models_that_no_row_covers_are_priced_by_genai_prices() -> None:
    at = datetime(2025, 3, 1, tzinfo=timezone.utc)
    table = PriceTable()
    whole = table.cost_usd("gpt-4o-mini", input_tokens=1_000_000, output_tokens=0, at=at)
    cached = table.cost_usd(
        "gpt-4o-mini",
        input_tokens=1_000_000,
        output_tokens=0,
        cache_read_input_tokens=1_000_000,
        at=at,
    )

    assert whole == pytest.approx(0.15)
    assert cached == pytest.approx(0.075)
    own = PriceTable([ROW | {"model": "gpt-4o-mini"}])
    assert own.cost_usd("gpt-4o-mini", input_tokens=1e6, output_tokens=0, at=at) == 2.0


@pytest.mark.skipif(
    importlib.util.find_spec("genai_prices") is None, reason="genai-prices is not installed"
)
@pytest.mark.parametrize("name", ["genai_prices.Usage", "genai_prices.calc_price"])
def test_a_genai_prices_of_another_form_knows_no_price_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    pricing._builtin_price.cache_clear()
    pricing._say_changed.cache_clear()
    monkeypatch.setattr(name, lambda: None)
    at = datetime(2025, 3, 1, tzinfo=timezone.utc)

    for model in ("gpt-4o-mini", "gpt-4o"):
        cost = PriceTable().cost_usd(model, input_tokens=1, output_tokens=1, at=at)
        assert cost is None

    pricing._builtin_price.cache_clear()
    assert len([text for text in caplog.messages if "works in another way" in text]) == 1
