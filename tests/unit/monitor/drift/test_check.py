from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.drift import exact
from flytekitplugins.wbmon.monitor.drift.check import check_drift
from flytekitplugins.wbmon.monitor.drift.rule import DriftRule
from flytekitplugins.wbmon.monitor.profiles.build import profile_data
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json
from support.environment import SOURCE

N = 4000


def window(seed: int, n: int = N) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": rng.lognormal(3, 1, n),
            "items": rng.poisson(3, n),
            "country": rng.choice(["DE", "FR", "IT", "ES"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "returned": rng.random(n) < 0.2,
        }
    )


@pytest.fixture(params=["exact", "grid"])
def check(request):
    """Both paths must answer alike."""

    def check(reference, current, **kwargs):
        if request.param == "grid":
            reference = profile_data(reference)
        return check_drift(reference, current, **kwargs)

    return check


def test_two_samples_of_one_distribution_have_not_drifted(check):
    report = check(window(1), window(2))

    assert report.verdict == "ok"
    assert not report.drifted
    assert report.n_drifted == 0
    assert report.reason == "no drift in any of 4 features"


def test_a_shifted_number_is_drift_and_ranks_first(check):
    current = window(2)
    current["amount"] *= 1.5

    report = check(window(1), current)

    assert report.drifted
    first = next(iter(report.features.values()))
    assert (first.name, first.level, first.test) == ("amount", "drift", "ks")
    assert first.statistic == pytest.approx(0.16, abs=0.03)
    assert first.effect_low < first.statistic
    assert "mean" in first.reason
    assert report.reason.startswith("1 of 4 features drifted: amount")


def test_the_shift_of_the_mean_and_the_spread_come_with_intervals(check):
    current = window(2)
    current["items"] = 2 * current["items"] + 1

    items = check(window(1), current).features["items"]

    assert items.mean_shift.low < 4 < items.mean_shift.high
    assert items.spread_ratio.low < 2 < items.spread_ratio.high
    assert 0 < items.distances["cramer_von_mises"] < 1 / 3


def test_a_shift_too_small_to_matter_is_called_negligible(check):
    reference, current = window(1, 100_000), window(2, 100_000)
    current["amount"] *= 1.05

    amount = check(reference, current).features["amount"]

    assert amount.level == "negligible"
    assert amount.q_value < 0.05
    assert "too small to matter" in amount.reason


def test_a_shift_between_the_two_levels_is_a_warning(check):
    reference, current = window(1, 50_000), window(2, 50_000)
    current["amount"] *= 1.2

    report = check(reference, current)

    assert report.verdict == "warning"
    assert not report.drifted
    assert report.features["amount"].level == "warning"


def test_one_huge_outlier_in_the_reference_does_not_hide_drift(check):
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"amount": rng.gamma(2, 1, 100_000)})
    current = pd.DataFrame({"amount": 1.2 * rng.gamma(2, 1, 100_000)})
    without = check(reference, current).features["amount"]
    reference.loc[0, "amount"] = 1e9

    outlier = check(reference, current).features["amount"]

    assert outlier.drifted
    assert outlier.statistic == pytest.approx(without.statistic, abs=1e-3)
    assert outlier.distances["psi"] == pytest.approx(without.distances["psi"], abs=1e-3)


def test_heavy_tails_do_not_hide_drift(check):
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"size": 1 + rng.pareto(1, 50_000)})
    current = pd.DataFrame({"size": 1.5 * (1 + rng.pareto(1, 50_000))})

    size = check(reference, current).features["size"]

    # P(X <= 1.5) is 1/3, and the scaled sample has nothing there
    assert size.statistic == pytest.approx(1 / 3, abs=0.02)
    assert size.drifted


def test_a_rising_rate_of_missing_values_is_drift(check):
    current = window(2)
    current.loc[current.index % 10 < 3, "amount"] = np.nan

    amount = check(window(1), current).features["amount"]

    assert amount.drifted
    assert amount.missing_current == pytest.approx(0.3)
    checks = {found.name: found for found in amount.checks}
    assert checks["missing_rate"].level == "drift"
    assert checks["distribution"].level == "none"
    assert amount.reason == "missing values went from 0.0% to 30.0% of rows"


def test_a_column_that_became_empty_is_a_finding_and_the_rest_goes_on(check):
    current = window(2).assign(amount=np.nan, country=None)

    report = check(window(1), current)

    assert report.features["amount"].status == "all_missing"
    assert report.features["amount"].drifted
    assert report.features["country"].status == "all_missing"
    assert report.features["items"].status == "ok"
    assert report.features["items"].level == "none"


def test_a_column_that_was_always_empty_is_no_drift(check):
    reference, current = window(1).assign(amount=np.nan), window(2).assign(amount=np.nan)

    report = check(reference, current)

    assert report.features["amount"].status == "all_missing"
    assert report.verdict == "ok"


def test_a_new_category_is_found_by_name(check):
    current = window(2)
    current.loc[current.index % 5 == 0, "country"] = "XX"

    country = check(window(1), current).features["country"]

    assert country.drifted
    assert country.new_categories == ("XX",)
    checks = {found.name: found for found in country.checks}
    assert checks["new_categories"].level == "drift"
    assert checks["new_categories"].effect_size == pytest.approx(0.2, abs=0.01)
    assert "'XX'" in country.reason


def test_one_stray_row_of_a_new_category_does_not_alarm(check):
    current = window(2)
    current.loc[0, "country"] = "XX"

    report = check(window(1), current)

    assert report.verdict == "ok"
    assert report.features["country"].new_categories == ("XX",)


def test_a_category_that_vanished_is_named(check):
    current = window(2)
    current = current[current["country"] != "DE"]

    country = check(window(1), current).features["country"]

    assert country.drifted
    assert country.vanished_categories == ("DE",)


def test_numbers_that_arrive_as_strings_are_a_change_of_type(check):
    current = window(2)
    current["amount"] = current["amount"].astype(str)

    report = check(window(1), current)

    assert report.drifted
    assert report.features["amount"].status == "type_changed"
    assert report.features["amount"].level == "drift"
    assert "type changed from double to" in report.features["amount"].reason
    assert report.features["items"].level == "none"


def test_whole_numbers_that_became_floats_are_still_numbers(check):
    current = window(2)
    current["items"] = current["items"].astype(float)

    assert check(window(1), current).verdict == "ok"


def test_the_same_numbers_in_half_the_precision_are_no_drift(check):
    rng = np.random.default_rng(0)
    reference = pd.DataFrame({"rate": rng.choice([0.1, 0.2, 0.3], N)})
    current = pd.DataFrame({"rate": rng.choice([0.1, 0.2, 0.3], N).astype(np.float32)})

    assert check(reference, current).verdict == "ok"


def test_a_boolean_that_flips_more_often_is_drift(check):
    current = window(2)
    current["returned"] = np.random.default_rng(5).random(N) < 0.4

    returned = check(window(1), current).features["returned"]

    assert returned.drifted
    assert returned.kind == "boolean"
    assert returned.effect_size == pytest.approx(0.2, abs=0.03)


def test_each_window_has_its_own_number_of_rows(check):
    report = check(window(1, 400), window(2, 300))
    assert (report.n_reference, report.n_current) == (400, 300)
    assert check(window(1)[:0], window(2)).n_reference == 0
    assert check(window(1), window(2)[:0]).n_current == 0


def test_a_rule_asks_for_at_least_as_many_rows_as_it_says(check):
    # no check is possible: both windows hold the same constant
    constant = window(1, 100).assign(unit=1)[["unit"]]

    assert check(constant, constant).verdict == "ok"
    assert check(constant[:99], constant).verdict == "insufficient"
    assert check(constant, constant[:99]).verdict == "insufficient"


def test_a_column_without_any_value_says_nothing(check):
    few, many = (pd.DataFrame({"x": [None] * n}) for n in (5, 500))
    for reference, current in ((few, few), (few, many), (many, few), (many, many)):
        assert check(reference, current).verdict == "insufficient"


def test_rows_that_stand_for_few_are_few_however_many_they_are():
    # one row has nearly all of the weight
    weighted = window(1).assign(w=[1e6] + [1e-3] * (N - 1))
    reference = profile_data(window(1))
    report = check_drift(reference, profile_data(weighted, like=reference, weight="w"))
    assert report.verdict == "insufficient"


def test_an_effect_and_a_q_value_at_the_limit_count(check):
    reference, current = (pd.DataFrame({"x": np.arange(400.0)}) for _ in range(2))
    current.loc[current.index % 16 == 0, "x"] = np.nan

    def level(**limits: float) -> str:
        return check(reference, current, rule=DriftRule(**limits)).features["x"].level

    assert level(warn_effect=1 / 16, min_effect=0.5) == "warning"
    assert level(warn_effect=0.01, min_effect=1 / 16) == "drift"
    found = check(reference, current).features["x"].checks
    (missing,) = (each for each in found if each.name == "missing_rate")
    assert level(alpha=missing.q_value) == "warning"
    assert level(alpha=missing.q_value * 0.999) == "none"


def test_a_rule_may_be_as_strict_as_a_float_can_be(check):
    current = window(2)
    current["items"] += 100
    report = check(window(1), current, rule=DriftRule(alpha=1e-300))
    assert report.features["items"].level == "drift"


def test_a_q_value_of_windows_at_the_limit_counts():
    reference = profile_data(window(1, 1000))
    past = [profile_data(window(seed, 1000), like=reference) for seed in range(2, 10)]
    current = window(10, 1000).assign(amount=1.0)
    found = check_drift(reference, current, past=past).features["amount"].checks[0]
    assert found.q_value < found.window_q_value < 0.5

    def level(alpha: float) -> str:
        rule = DriftRule(alpha=alpha)
        return check_drift(reference, current, past=past, rule=rule).features["amount"].level

    assert level(found.window_q_value) == "drift"
    assert level(found.window_q_value * 0.999) == "none"


def test_five_rows_are_too_few_for_a_verdict(check):
    report = check(window(1), window(2, 5))

    assert report.verdict == "insufficient"
    assert not report.drifted
    assert {feature.status for feature in report.features.values()} == {"insufficient"}
    assert "too few" in report.reason


def test_an_empty_window_is_insufficient(check):
    report = check(window(1), window(2)[:0])

    assert report.verdict == "insufficient"
    assert report.n_current == 0
    assert "no rows" in report.reason


def test_an_empty_reference_is_insufficient(check):
    assert check(window(1)[:0], window(2)).verdict == "insufficient"


def test_a_column_that_is_missing_is_drift(check):
    report = check(window(1), window(2).drop(columns="amount"))

    assert report.drifted
    assert report.features["amount"].status == "missing_column"
    amount = report.features["amount"]
    assert (amount.n_reference, amount.n_current) == (N, 0)
    assert (amount.missing_reference, amount.missing_current) == (0, 1)
    assert math.isnan(amount.mean_current)
    assert next(iter(report.features)) == "amount"


def test_a_column_that_is_new_is_a_warning(check):
    report = check(window(1), window(2).assign(extra=1.0))

    assert report.verdict == "warning"
    assert report.features["extra"].status == "new_column"
    extra = report.features["extra"]
    assert extra.level == "warning"
    assert (extra.n_reference, extra.n_current) == (0, N)
    assert (extra.missing_reference, extra.missing_current) == (1, 0)


def test_of_no_rows_no_share_is_missing(check):
    lacking = window(1).drop(columns="amount")

    assert math.isnan(check(lacking[:0], window(2)).features["amount"].missing_reference)
    assert math.isnan(check(window(2), lacking[:0]).features["amount"].missing_current)


def test_values_that_cannot_be_read_are_shares_and_examples_of_the_window_that_has_them(check):
    def numbers(seed: int, bad: str, every: int) -> pd.DataFrame:
        frame = window(seed)[["amount"]].astype(object)
        frame.loc[frame.index % every == 0, "amount"] = bad
        return frame

    def found(*frames: pd.DataFrame) -> tuple[float, float, tuple[str, ...]]:
        amount = check(*frames).features["amount"]
        return amount.unreadable_reference, amount.unreadable_current, amount.examples

    before, now, whole = numbers(1, "n/a", 20), numbers(2, "?", 10), window(3)[["amount"]]
    assert found(before, now) == (0.05, 0.1, ("?",))
    assert found(before, whole.astype(object)) == (0.05, 0.0, ("n/a",))


def test_a_window_of_nothing_but_unreadable_values_says_which(check):
    before = window(1).astype({"amount": object})
    before.loc[0, "amount"] = "n/a"
    now = window(2).assign(amount=pd.Series(["?"] * N, dtype=object))
    rule = DriftRule(kinds={"amount": "number"})

    amount = check_drift(before, now, rule=rule).features["amount"]

    assert (amount.status, amount.level) == ("unreadable", "drift")
    assert "no value can be read as number, such as '?'" in amount.reason
    infinite = check_drift(before, now.assign(amount=np.inf), rule=rule).features["amount"]
    assert "(no finite value in the current window; only the share of" in infinite.reason


def test_a_window_of_no_rows_says_nothing_even_of_its_columns(check):
    lacking = window(2).drop(columns="amount")
    assert check(window(1), lacking[:0]).verdict == "insufficient"
    assert check(window(1), lacking[:1]).verdict == "drift"


def test_a_constant_column_is_no_drift_and_a_changed_constant_is(check):
    same = check(window(1).assign(unit=5.0), window(2).assign(unit=5.0))
    other = check(window(1).assign(unit=5.0), window(2).assign(unit=7.0))

    assert same.features["unit"].status == "constant"
    assert same.verdict == "ok"
    assert other.features["unit"].statistic == 1.0
    assert other.features["unit"].drifted


def test_infinities_are_counted_apart(check):
    current = window(2)
    current.loc[current.index % 5 == 0, "amount"] = np.inf

    amount = check(window(1), current).features["amount"]

    checks = {found.name: found for found in amount.checks}
    assert checks["infinite_rate"].level == "drift"
    assert checks["distribution"].level == "none"
    assert np.isfinite(amount.mean_current)
    assert "infinite values went from 0.0% to 20.0%" in amount.reason


def test_a_column_of_nothing_but_infinities_does_not_stop_the_report(check):
    report = check(window(1), window(2).assign(amount=np.inf))

    assert report.features["amount"].drifted
    assert report.features["amount"].reason == (
        "infinite values went from 0.0% to 100.0% of rows (no finite value in the current window; "
        "only the share of infinite ones is tested)"
    )
    assert report.features["items"].status == "ok"


@pytest.mark.parametrize("scale", [1e-310, 1e200, 1.7e308])
def test_numbers_at_the_ends_of_what_a_float_holds_are_compared(check, scale):
    signs = np.where(np.arange(400) % 2, scale, -scale)

    report = check(pd.DataFrame({"x": signs}), pd.DataFrame({"x": signs}))

    assert report.verdict == "ok"
    assert report.features["x"].statistic == 0


def test_many_rare_categories_do_not_alarm(check):
    def zipf(seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        share = 1 / np.arange(1, 401)
        names = [f"k{i}" for i in range(400)]
        return pd.DataFrame({"key": rng.choice(names, 1000, p=share / share.sum())})

    report = check(zipf(1), zipf(2))

    assert report.features["key"].new_categories
    assert report.verdict == "ok"


def test_identifiers_and_times_are_tested_by_what_they_consist_of(check):
    def log(start: str) -> pd.DataFrame:
        days = pd.date_range(start, periods=500, freq="min", tz="UTC")
        return pd.DataFrame({"at": days, "id": [f"{start}-{i}" for i in range(500)]})

    report = check(log("2026-01-01"), log("2026-02-01"))

    assert report.verdict == "ok"
    assert report.features["id"].kind == "identifier"
    assert report.features["at"].kind == "time"
    # 500 minutes are no day: the hours they are of say nothing
    assert {check.facet for check in report.features["at"].checks} == {(), ("precision",)}
    assert {(check.facet, check.name) for check in report.features["id"].checks} == {
        ((), "repeats"),
        ((), "uncounted_values"),
        (("format",), "distribution"),
    }


def test_predictions_and_labels_are_marked_as_such(check):
    rule = DriftRule(predictions=("amount",), labels=("returned",))

    features = check(window(1), window(2), rule=rule).features

    assert features["amount"].role == "prediction"
    assert features["returned"].role == "label"
    assert features["items"].role == "feature"


def test_only_the_columns_of_the_rule_are_checked(check):
    rule = DriftRule(features=("items",), predictions=("amount",))

    report = check(window(1), window(2).assign(extra=1), rule=rule)

    assert set(report.features) == {"items", "amount"}


def test_a_rule_on_a_column_that_neither_window_has_is_an_error(check):
    with pytest.raises(DataError, match=r"'amonut', 'county'; did you mean 'amount'\?"):
        check(window(1), window(2), rule=DriftRule(features=("amonut", "county")))


def test_a_rule_on_a_column_that_neither_profile_has_is_an_error():
    reference = profile_data(window(1))
    current = profile_data(window(2), like=reference)
    with pytest.raises(DataError, match="neither window has 'amonut'"):
        check_drift(reference, current, rule=DriftRule(features=("items", "amonut")))


@pytest.mark.parametrize(
    "named",
    [
        {"kinds": {"amonut": "number"}},
        {"missing_values": {"amonut": (-1,)}},
        {"labels": ("amonut",)},
        {"predictions": ("amonut",)},
    ],
    ids=str,
)
def test_whatever_a_rule_says_of_a_column_that_neither_window_has_is_an_error(check, named):
    with pytest.raises(DataError, match=r"neither window has 'amonut'; did you mean 'amount'\?"):
        check(window(1), window(2), rule=DriftRule(**named))


def damaged(frame: pd.DataFrame, path: Path) -> Path:
    """The frame as a file of which the column `bad` cannot be read."""
    pq.write_table(pa.Table.from_pandas(frame.assign(bad="text")), path)
    content, group = bytearray(path.read_bytes()), pq.ParquetFile(path).metadata.row_group(0)
    column = next(c for i in range(6) if (c := group.column(i)).path_in_schema == "bad")
    start, size = column.dictionary_page_offset, column.total_compressed_size
    content[start : start + size] = b"\0" * size
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("rows", [10_000, 1000], ids=["in memory", "too large to sort"])
def test_columns_that_the_rule_does_not_name_are_never_read(monkeypatch, rows, tmp_path):
    monkeypatch.setattr(exact, "EXACT_ROWS", rows)
    moved = window(2)
    moved["amount"] *= 2
    before, now = damaged(window(1), tmp_path / "before"), damaged(moved, tmp_path / "now")
    with pytest.raises(OSError, match=r"bad|page|dictionary|Parquet|decompress"):
        pq.read_table(before)
    rule = DriftRule(features=("items", "amount"))

    report = check_drift(before, now, rule=rule)

    assert {name: each.level for name, each in report.features.items()} == {
        "amount": "drift",
        "items": "none",
    }
    reference = profile_data(window(1))
    assert set(check_drift(reference, now, rule=rule).features) == {"items", "amount"}


def test_a_lost_column_is_found_in_windows_too_large_to_sort(monkeypatch):
    monkeypatch.setattr(exact, "EXACT_ROWS", 1000)
    rule = DriftRule(features=("items", "amount"))
    report = check_drift(window(1), window(2).drop(columns="amount"), rule=rule)
    assert report.features["amount"].status == "missing_column"
    assert report.features["items"].level == "none"
    report = check_drift(window(1).drop(columns="amount"), window(2), rule=rule)
    assert report.features["amount"].status == "new_column"


def test_what_the_rule_says_of_a_column_holds_in_windows_too_large_to_sort(monkeypatch):
    monkeypatch.setattr(exact, "EXACT_ROWS", 1000)
    before, now = window(1), window(2)
    before.loc[before.index % 4 == 0, "amount"] = -999
    rule = DriftRule(kinds={"items": "category"}, missing_values={"amount": (-999,)})

    features = check_drift(before, now, rule=rule).features

    assert features["items"].kind == "category"
    assert features["amount"].missing_reference == 0.25


def test_folder_names_are_compared_where_the_rule_names_them(tmp_path):
    def days(name: str, *region: str) -> str:
        for at, each in enumerate(region):
            folder = tmp_path / name / f"region={each}"
            folder.mkdir(parents=True)
            pq.write_table(pa.Table.from_pandas(window(at, 500)), folder / "part.parquet")
        return str(tmp_path / name)

    before, now = days("before", "EU", "US"), days("now", "EU", "JP")
    rule = DriftRule(features=("region", "items"))
    reference = profile_data(before, columns=["region", "items"])

    assert "region" not in check_drift(before, now).features
    for report in (check_drift(before, now, rule=rule), check_drift(reference, now, rule=rule)):
        assert report.features["region"].new_categories == ("JP",)
        assert report.features["region"].level == "drift"
        assert report.features["items"].level == "none"


def test_importance_moves_a_feature_up_the_ranking(check):
    current = window(2)
    current["amount"] *= 1.6
    current["items"] += 1

    plain = check(window(1), current)
    weighted = check(window(1), current, rule=DriftRule(importance={"amount": 10.0}))

    assert next(iter(plain.features)) == "items"
    assert next(iter(weighted.features)) == "amount"
    assert {each.importance for each in plain.features.values()} == {1.0}


def test_a_lost_column_ranks_as_one_of_which_every_row_moved(check):
    current = window(2).drop(columns="items")
    current["amount"] += 1000

    def order(importance: float) -> list[str]:
        rule = DriftRule(importance={"amount": importance})
        return list(check(window(1), current, rule=rule).features)[:2]

    assert order(0.9) == ["items", "amount"]
    assert order(1.1) == ["amount", "items"]


def test_the_largest_effect_of_a_feature_ranks_it(check):
    current = window(2)
    current["items"] += 1  # moves about a fifth of the rows
    current["amount"] *= 1.2  # moves few
    current.loc[current.index % 2 == 0, "amount"] = np.nan

    features = list(check(window(1), current).features.values())

    assert [each.name for each in features[:2]] == ["amount", "items"]
    assert features[0].effect_size < features[1].effect_size


def test_what_was_not_tested_ranks_last(check):
    rule = DriftRule(importance={"unit": 1000})
    report = check(window(1).assign(unit=1), window(2).assign(unit=1), rule=rule)
    assert list(report.features)[-1] == "unit"


def test_pictures_have_at_most_twelve_bars_and_whole_shares(check):
    rng = np.random.default_rng(3)
    wide = {"key": rng.choice([f"k{i}" for i in range(40)], N)}

    report = check(window(1).assign(**wide), window(2).assign(**wide))

    for feature in report.features.values():
        assert 2 <= len(feature.bins) <= 12
        assert sum(bar.reference for bar in feature.bins) == pytest.approx(1)
        assert sum(bar.current for bar in feature.bins) == pytest.approx(1)


def test_the_report_survives_the_trip_through_json(check):
    report = check(window(1), window(2).assign(amount=np.nan))

    restored = record_from_json(type(report), record_to_json(report))

    assert list(restored.features) == list(report.features)
    assert restored.reason == report.reason


def test_the_same_inputs_give_the_same_report(check):
    first, second = (record_to_json(check(window(1), window(2))) for _ in range(2))

    assert first == second


def test_both_paths_agree_within_the_bound():
    reference, current = window(1, 20_000), window(3, 15_000)
    current["amount"] *= 1.1

    exactly = check_drift(reference, current).features["amount"]
    by_grid = check_drift(profile_data(reference), current).features["amount"]

    assert exactly.bound == 0
    assert by_grid.bound > 0
    assert by_grid.statistic <= exactly.statistic <= by_grid.statistic + by_grid.bound
    assert by_grid.bound < 0.002


def test_windows_too_large_to_sort_take_the_grid(monkeypatch):
    monkeypatch.setattr(exact, "EXACT_ROWS", 1000)

    report = check_drift(window(1, 20_000), window(2, 20_000))

    assert report.features["amount"].bound > 0
    assert report.verdict == "ok"


def test_two_profiles_of_different_layouts_are_refused():
    with pytest.raises(DataError, match="must share a layout"):
        check_drift(profile_data(window(1)), profile_data(window(2)))


def test_data_against_a_profile_that_was_not_made_like_them_are_refused():
    with pytest.raises(DataError, match="the reference must be the profile"):
        check_drift(window(1), profile_data(window(2)))


def test_a_profile_of_fewer_columns_says_that_the_others_are_missing():
    reference = profile_data(window(1))
    current = profile_data(window(2), like=reference, columns=["items"])

    report = check_drift(reference, current)

    amount = report.features["amount"]
    assert (amount.status, amount.level) == ("missing_column", "drift")
    assert (amount.n_current, amount.missing_current) == (0, 1)
    assert math.isnan(amount.mean_current)


def test_a_reference_profile_of_fewer_columns_says_that_the_others_are_new():
    reference = profile_data(window(1), columns=["items"])
    current = profile_data(window(2), like=reference)
    rule = DriftRule(features=("amount", "items"))

    for now in (current, window(2)):
        amount = check_drift(reference, now, rule=rule).features["amount"]
        assert (amount.status, amount.level) == ("new_column", "warning")
        assert (amount.n_reference, amount.missing_reference, amount.n_current) == (0, 1, N)


def test_a_weighted_window_is_compared_by_its_weights():
    rng = np.random.default_rng(0)
    reference = profile_data(pd.DataFrame({"x": rng.normal(size=20_000)}))
    x = rng.normal(size=20_000)
    # keep every second row above zero, and let each stand for two
    kept = (x < 0) | (rng.random(20_000) < 0.5)
    sampled = pd.DataFrame({"x": x[kept], "w": np.where(x[kept] < 0, 1.0, 2.0)})

    blind = check_drift(
        reference, profile_data(sampled.drop(columns="w"), like=reference)
    ).features["x"]
    weighted = check_drift(reference, profile_data(sampled, like=reference, weight="w")).features[
        "x"
    ]

    assert blind.drifted
    assert weighted.level == "none"
    assert weighted.effect_size < 0.02


def test_a_stream_can_be_checked_against_a_profile():
    reference = profile_data(window(1))
    table = pa.Table.from_pandas(window(2))
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(500))

    assert check_drift(reference, reader, rule=DriftRule(features=("amount",))).verdict == "ok"


def test_the_nightly_path_imports_neither_pandas_nor_scipy(tmp_path: Path):
    for name, seed in (("reference", 1), ("current", 2)):
        pq.write_table(pa.Table.from_pandas(window(seed)), tmp_path / f"{name}.parquet")
    profile_data(tmp_path / "reference.parquet").save(tmp_path / "profile")
    program = """
import sys
from flytekitplugins.wbmon import Profile, check_drift, profile_data
folder = sys.argv[1]
check_drift(folder + "/reference.parquet", folder + "/current.parquet")
check_drift(Profile.load(folder + "/profile"), folder + "/current.parquet")
heavy = {"pandas", "scipy", "sklearn", "pyarrow.dataset", "flytekit", "wandb", "weave"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(SOURCE)},
    )

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("side", ["reference", "current"])
@pytest.mark.parametrize("values", [np.arange(500.0), np.arange(500) % 3, ["a", "b"] * 250])
def test_a_window_of_which_all_rows_weigh_nothing_is_not_judged(side, values):
    frames = {
        name: pd.DataFrame({"x": values, "w": 0.0 if name == side else 1.0})
        for name in ("reference", "current")
    }
    report = check_drift(profile_data(frames["reference"], weight="w"), frames["current"])
    assert report.verdict == "insufficient"
    assert report.features["x"].status == "insufficient"
