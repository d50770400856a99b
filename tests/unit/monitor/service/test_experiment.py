"""Variants against independent tests, and what makes a comparison worth nothing."""

from __future__ import annotations

import math
import warnings
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from flytekitplugins.wbmon import AlertRule, CompareVariants, evaluate_rules
from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.service.experiment import (
    Arm,
    ComparisonRule,
    compare_arms,
    compare_variants,
)
from flytekitplugins.wbmon.monitor.service.experiment_plan import ExperimentPlan
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.serving.log.feedback import exposure_row, feedback_row
from flytekitplugins.wbmon.stats.interval import newcombe_interval
from flytekitplugins.wbmon.stats.split import split_p_value
from flytekitplugins.wbmon.stats.unpaired import unpaired_difference

AT = "2026-03-01T12:00:00+00:00"


def rating(unit, score, *, name="thumbs", number=0) -> dict:
    return feedback_row(
        request_id=f"{unit}-{name}-{number}",
        session_id=unit,
        source="user",
        name=name,
        score=score,
        label=None,
        feedback_id=None,
    )


def log(outcomes, *, silent=0):
    """The feedback of units whose outcomes are given, by variant; some more said nothing."""
    rows = []
    for variant, values in outcomes.items():
        units = [f"{variant}{i}" for i in range(len(values) + silent)]
        rows += [exposure_row("layout", unit, variant, tenant=None) for unit in units]
        rows += [rating(unit, float(value)) for unit, value in zip(units, values, strict=False)]
    return log_table("feedback", [{**row, "timestamp": AT} for row in rows])


def compare(table, **more) -> ExperimentReport:
    given = {"experiment": "layout", "outcome": "thumbs", "control": "old"} | more
    return compare_variants(table, ExperimentPlan(**given))


def z_without_a_plan(n: float, alpha: float) -> float:
    """The boundary of the confidence sequence, lowest at a thousand units."""
    x = 8.2 * n / 1000
    return math.sqrt(2 * (x + 1) / x * math.log(math.sqrt(x + 1) / alpha))


@pytest.mark.parametrize("names", [("new",), ("new", "third", "fourth")])
def test_differences_hold_at_any_look_and_for_all_variants(rng, names):
    outcomes = {"old": rng.normal(1.0, 1.0, 45)}
    outcomes |= {name: rng.normal(1.3, 2.0 + i, 31 + 5 * i) for i, name in enumerate(names)}

    report = compare(log(outcomes, silent=7))

    assert [each.variant for each in report.variants] == ["old", *sorted(names)]
    for found in report.variants[1:]:
        values = outcomes[found.variant]
        n = 4 * len(values) * 45 / (len(values) + 45)
        level = 2 * stats.norm.sf(z_without_a_plan(n, 0.05 / len(names)))
        expected = unpaired_difference(outcomes["old"], values, alpha=level)
        assert found.difference == pytest.approx(values.mean() - outcomes["old"].mean())
        ends = (found.difference_low, found.difference_high)
        assert ends == pytest.approx((expected.low, expected.high), rel=1e-6)
        # the p-value is the level at which the interval would end at 0
        z = -stats.norm.ppf(expected.p_value / 2)
        p_value = found.p_value / len(names)
        assert found.p_value == 1 or z_without_a_plan(n, p_value) == pytest.approx(z, rel=1e-6)
        assert found.n_exposed == len(values) + 7
        assert found.method == "permutation"
    assert report.looks == "any"
    assert report.reason.endswith("; valid at any number of looks")


def test_with_a_plan_the_level_is_that_of_the_share_of_it_that_is_reached(rng):
    old, new = (rng.random(n) < 0.3 for n in (120, 80))

    report = compare(log({"old": old, "new": new}), planned_units=400)

    # the limit of Brownian motion at 5 % is 2.2414
    level = 2 * stats.norm.sf(2.241403 / math.sqrt(0.5))
    ends = newcombe_interval(old.sum(), 120, new.sum(), 80, alpha=level)
    found = report.variants[1]
    assert (found.difference_low, found.difference_high) == pytest.approx(ends, rel=1e-5)
    assert (found.method, report.looks, report.planned_units) == ("newcombe", "planned", 400)
    assert report.reason.endswith("; valid at every look up to 400 units")


def test_units_after_the_planned_end_are_exposed_and_not_counted():
    old, new = [0.0, 1.0] * 50, [0.0, 0.0, 1.0, 1.0, 1.0] * 20
    rows = []
    for i, (a, b) in enumerate(zip([*old, *[9.0] * 30], [*new, *[0.0] * 30], strict=True)):
        for variant, value in (("old", a), ("new", b)):
            unit = f"{variant}{i}"
            rows += [exposure_row("layout", unit, variant, tenant=None), rating(unit, value)]
    # the last units rate first: the order is that of their exposures
    rows = [*(row for row in rows if row["name"] == "exposure"), *reversed(rows)]
    table = log_table("feedback", [{**row, "timestamp": AT} for row in rows])

    report = compare(table, planned_units=200)

    expected = compare(log({"old": old, "new": new}), planned_units=200).variants[1]
    found = report.variants[1]
    assert (found.difference, found.p_value) == (expected.difference, expected.p_value)
    assert (found.n_exposed, found.n_measured, report.n_beyond_plan) == (130, 100, 60)
    assert "60 units after the planned end are not counted" in report.reason


def test_a_unit_of_two_variants_belongs_to_its_first_and_is_counted():
    rows = [exposure_row("layout", "a", variant, tenant=None) for variant in ("old", "new", "old")]
    rows += [exposure_row("layout", "b", "new", tenant=None)] * 2
    stamped = [{**row, "timestamp": f"2026-03-0{i + 1}"} for i, row in enumerate(rows)]

    report = compare(log_table("feedback", stamped))

    assert [each.n_exposed for each in report.variants] == [1, 1]
    assert report.n_crossed == 1
    assert "1 units saw several variants" in report.reason
    assert [each.value for each in report.measurements() if each.name == "n_crossed"] == [1]


def stamped(rows):
    return pa.Table.from_pylist([{"timestamp": AT, **row} for row in rows])


def of_tenant(tenant, name, *, unit=None, session=None, **more) -> dict:
    """A row of a table of one's own, with what `CompareVariants` needs."""
    row = {"name": name, "unit": unit, "session_id": session, "tenant": tenant}
    row |= dict.fromkeys(("feedback_id", "request_id", "experiment", "variant", "score"))
    return row | more


def test_units_of_one_name_in_two_tenants_are_two():
    seen = {"experiment": "layout"}
    rows = [
        of_tenant("acme", "exposure", unit="ann", session="s1", variant="old", **seen),
        of_tenant("umbrella", "exposure", unit="ann", session="s2", variant="new", **seen),
        of_tenant("acme", "exposure", unit="bob", session="s3", variant="old", **seen),
        of_tenant(None, "exposure", unit="eve", session="s4", variant="new", **seen),
        of_tenant("acme", "thumbs", unit="ann", score=1.0),
        of_tenant("umbrella", "thumbs", unit="ann", score=0.0),
        # by the only tenant of the unit, by the session, and where exposures have no tenant
        of_tenant(None, "thumbs", unit="bob", score=0.0),
        of_tenant(None, "thumbs", session="s2", score=0.5),
        of_tenant("acme", "thumbs", unit="eve", score=0.75),
        # of two, nobody knows which
        of_tenant(None, "thumbs", unit="ann", score=9.0),
    ]

    old, new = sorted(compare(stamped(rows)).variants, key=lambda each: each.variant != "old")
    assert (old.n_exposed, old.n_measured, old.mean) == (2, 2, 0.5)
    assert (new.n_exposed, new.n_measured, new.mean) == (2, 2, 0.5)
    acme = compare(stamped([row for row in rows if row["tenant"] == "acme"])).variants
    assert [(each.variant, each.n_exposed, each.mean) for each in acme] == [("old", 2, 1.0)]


def test_the_mean_of_a_variant_has_the_interval_of_student(rng):
    values = rng.normal(5.0, 2.0, 40)

    (control,) = compare(log({"old": values})).variants

    low, high = stats.t.interval(0.95, 39, loc=values.mean(), scale=stats.sem(values))
    assert (control.mean, control.n_measured) == (pytest.approx(values.mean()), 40)
    assert (control.low, control.high) == (pytest.approx(low), pytest.approx(high))
    assert control.verdict == "no_difference"
    assert math.isnan(control.difference)


def test_the_mean_of_zeros_and_ones_has_the_interval_of_wilson():
    (control,) = compare(log({"old": [1.0] * 3 + [0.0] * 97})).variants
    ci = stats.binomtest(3, 100).proportion_ci(method="wilson")
    assert (control.low, control.high) == (pytest.approx(ci.low), pytest.approx(ci.high))


def test_two_units_have_the_interval_of_one_degree_of_freedom():
    found = compare(log({"old": [1.0, 2.0], "new": [1.5, 4.5]}), min_units=2).variants[1]
    assert found.high - found.mean == pytest.approx(12.706 * 1.5, rel=1e-3)


@pytest.mark.parametrize(("n_new", "verdict"), [(180, "insufficient"), (200, "no_difference")])
def test_ten_successes_and_failures_are_to_be_expected_in_each_arm(n_new, verdict):
    # one in twenty of both arms
    outcomes = {"old": [1.0] * 50 + [0.0] * 950, "new": ([1.0] + [0.0] * 19) * (n_new // 20)}
    for values in (outcomes, {name: [1 - x for x in of] for name, of in outcomes.items()}):
        found = compare(log(values)).variants[1]
        assert found.verdict == verdict
        if verdict == "insufficient":
            assert "of 180 units about 9 differ from the usual" in found.reason
            assert found.reason.endswith("10 in each variant are needed, so about 200 units")


def test_a_variant_without_any_success_is_worse():
    found = compare(log({"old": [1.0] * 100 + [0.0] * 900, "new": [0.0] * 800})).variants[1]
    assert found.verdict == "worse"


def test_a_small_arm_is_not_called_worse_by_chance():
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(40):
        a, b = rng.lognormal(0, 1.5, 1000), rng.lognormal(0, 1.5, 30)
        arms = {"old": Arm(1000, a), "new": Arm(30, b)}
        verdicts.append(compare_arms(arms, "old", ComparisonRule())[1].verdict)
    assert verdicts == ["no_difference"] * 40


def test_a_small_loss_beyond_chance_is_worse(rng):
    old, new = rng.normal(0.5, 0.1, 90), rng.normal(0.3, 0.1, 90)
    assert compare(log({"old": old, "new": new})).variants[1].verdict == "worse"


def test_the_side_of_the_interval_is_the_verdict(rng):
    noise = rng.normal(0, 1, 60)
    report = compare(log({"old": noise, "worse": noise - 2, "better": noise + 2, "same": noise}))
    verdicts = {each.variant: each.verdict for each in report.variants}
    assert verdicts == {
        "old": "no_difference",
        "worse": "worse",
        "better": "better",
        "same": "no_difference",
    }
    said = "better is better; same is no difference; worse is worse"
    assert report.reason == f"{said}; valid at any number of looks"


@pytest.mark.parametrize(
    ("n_old", "n_new", "enough"), [(30, 30, True), (29, 30, False), (30, 29, False)]
)
def test_thirty_units_of_each_are_enough(rng, n_old, n_new, enough):
    report = compare(log({"old": rng.normal(0, 1, n_old), "new": rng.normal(9, 1, n_new)}))
    assert report.variants[1].verdict == ("better" if enough else "insufficient")
    assert report.variants[0].verdict == ("no_difference" if n_old >= 30 else "insufficient")
    if not enough:
        assert report.variants[1].reason == "29 units; 30 are needed"


def test_the_split_is_tested_at_any_number_of_looks():
    table = log({"old": [0.0, 1.0] * 65, "new": [0.0, 1.0] * 45, "third": [0.0, 1.0] * 40})
    shares = {"old": 0.4, "new": 0.35, "third": 0.25}

    report = compare(table, shares=shares)

    assert report.split_p_value == split_p_value([130, 90, 80], [0.4, 0.35, 0.25])
    assert report.variants[1].verdict != "invalid"


@pytest.mark.parametrize("n_new", [100, 116, 118, 120, 122, 124, 126, 128, 140])
def test_a_split_less_likely_than_one_in_a_thousand_is_not_trusted(n_new):
    outcomes = {"old": [0.0, 0.1] * 100, "new": [0.9, 1.0] * (n_new // 2)}

    report = compare(log(outcomes), shares={"old": 0.5, "new": 0.5})

    expected = split_p_value([200, n_new], [0.5, 0.5])
    assert report.variants[1].verdict == ("invalid" if expected < 0.001 else "better")
    assert report.reason.startswith("not to be trusted") is (expected < 0.001)


def test_a_variant_that_was_not_planned_or_never_came_makes_the_split_impossible():
    table = log({"old": [0.0, 1.0], "new": [0.0, 1.0]})
    assert compare(table, shares={"old": 0.5, "third": 0.5}).split_p_value == 0.0
    absent = compare(table, shares={"old": 0.3, "new": 0.3, "third": 0.4}).split_p_value
    assert absent == split_p_value([2, 2, 0], [0.3, 0.3, 0.4])
    assert math.isnan(compare(table).split_p_value)


def test_a_loud_unit_counts_once_and_other_ratings_do_not():
    rows = [exposure_row("layout", unit, "old", tenant=None) for unit in ("a", "b")]
    rows.append(exposure_row("elsewhere", "c", "old", tenant=None))
    rows += [rating("a", 1.0, number=i) for i in range(9)] + [rating("b", 0.0), rating("c", 7.0)]
    rows += [rating("b", 5.0, name="stars"), rating(None, 5.0)]
    rows.append({**exposure_row("layout", "x", "old", tenant=None), "unit": None})
    table = log_table("feedback", [{**row, "timestamp": AT} for row in rows])

    (control,) = compare(table).variants

    assert (control.n_exposed, control.n_measured, control.mean) == (2, 2, 0.5)


def seen(unit, session, variant) -> dict:
    """An exposure as this release writes it, or without a unit as earlier ones did."""
    row = exposure_row("layout", unit or session, variant, tenant=None, session_id=session)
    return {**row, "unit": unit}


def said(unit, session, score, number=0) -> dict:
    return {**rating(session, score, number=number), "unit": unit}


@pytest.mark.parametrize(
    ("rows", "exposed", "measured", "mean"),
    [
        pytest.param(
            [
                seen("ann", "s1", "old"), said("ann", "s1", 1.0),
                seen("bob", "s1", "old"), said("bob", "s1", 0.0, 1),
            ],
            2, 2, 0.5, id="two users of one session",
        ),
        pytest.param(
            [seen("ann", "s1", "old"), said("ann", "s1", 1.0), said("ann", "s2", 0.0)],
            1, 1, 0.5, id="a user of two sessions",
        ),
        pytest.param(
            [seen("ann", None, "old"), said("ann", "s1", 1.0), said("eve", "s2", 0.0)],
            1, 1, 1.0, id="a unit that was never exposed",
        ),
        pytest.param(
            [seen("ann", "s1", "old"), said("other", "s1", 1.0)],
            1, 1, 1.0, id="a rating under another unit in the session that was exposed",
        ),
        pytest.param(
            [seen("ann", "s1", "old"), said(None, "s1", 1.0)],
            1, 1, 1.0, id="a rating that somebody else wrote, by its session",
        ),
        pytest.param(
            [seen(None, "s1", "old"), said(None, "s1", 1.0), said("h(s1)", "s1", 0.0, 1)],
            1, 1, 0.5, id="exposed by an earlier release, rated before and after the update",
        ),
        pytest.param(
            [seen(None, "s1", "old"), seen("h(s1)", "s1", "old"), said("h(s1)", "s1", 1.0)],
            1, 1, 1.0, id="exposed before and after the update",
        ),
        pytest.param(
            [seen(None, "s1", "old"), said(None, "s1", 1.0), said(None, None, 0.0)],
            1, 1, 1.0, id="an earlier release",
        ),
    ],
)  # fmt: skip
def test_a_unit_counts_once_in_whatever_way_its_rows_name_it(rows, exposed, measured, mean):
    table = log_table("feedback", [{**row, "timestamp": AT} for row in rows])

    (control,) = compare(table).variants

    assert (control.n_exposed, control.n_measured, control.mean) == (exposed, measured, mean)


def test_ratings_that_name_nobody_are_told():
    rows = [seen("ann", "s1", "old"), *(said(None, None, 1.0, i) for i in range(3))]
    report = compare(log_table("feedback", [{**row, "timestamp": AT} for row in rows]))

    assert report.variants[0].n_measured == 0
    assert "3 ratings name neither a unit nor a session" in report.reason
    assert "neither" not in compare(log({"old": [1.0], "new": [0.0]})).reason


def test_a_table_without_the_column_of_units_is_read_by_its_sessions():
    table = log({"old": [1.0, 0.0, 1.0], "new": [0.0]})
    sessions = pa.array([unit or session for unit, session in zip(
        table["unit"].to_pylist(), table["session_id"].to_pylist(), strict=True
    )])  # fmt: skip
    plain = table.drop_columns(["unit", "session_id"]).append_column("session_id", sessions)

    assert compare(plain) == compare(table)


def test_one_unit_has_a_mean_and_no_interval_and_equal_units_no_p_value():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = compare(log({"old": [1.0] * 40, "new": [1.0] * 40, "one": [3.0]}))
    by_name = {each.variant: each for each in report.variants}
    assert by_name["one"].mean == 3.0
    assert math.isnan(by_name["one"].low)
    assert math.isnan(by_name["one"].difference_low)
    assert math.isnan(by_name["new"].p_value)
    assert by_name["new"].verdict == "insufficient"
    assert by_name["new"].reason.startswith("of 40 units about 0 differ from the usual 1")


@pytest.mark.parametrize("odd", [math.inf, -math.inf, None], ids=str)
def test_ratings_without_a_finite_score_are_counted_and_decide_nothing(rng, odd):
    outcomes = {"old": rng.normal(0, 1, 60), "new": rng.normal(0, 1, 60)}
    table = log(outcomes)
    rows = table.to_pylist()
    for row in rows[60:63] + rows[180:182]:
        row["score"] = odd
    kept = {"old": outcomes["old"][3:], "new": outcomes["new"][2:]}

    report = compare(log_table("feedback", rows))

    assert report.n_unreadable == 5
    assert "5 ratings without a finite score are not counted" in report.reason
    for found in report.variants:
        assert (found.n_exposed, found.n_measured) == (60, len(kept[found.variant]))
        assert found.mean == pytest.approx(kept[found.variant].mean())


@pytest.mark.parametrize(
    "made",
    [
        lambda scores: pa.array(scores, pa.float32()),
        lambda scores: pa.array([str(each) for each in scores]),
        lambda scores: pa.array([str(each) for each in scores]).dictionary_encode(),
        lambda scores: pa.array([Decimal(str(each)) for each in scores]),
        lambda scores: pa.array([bool(each) for each in scores]),
    ],
    ids=["float32", "text", "dictionary", "decimal", "boolean"],
)
def test_scores_may_be_stored_in_any_way(rng, made):
    outcomes = {name: (rng.random(80) < 0.5).astype(float) for name in ("old", "new")}
    table = log(outcomes)
    place = table.column_names.index("score")
    scores = [each or 0.0 for each in table["score"].to_pylist()]
    stored = table.set_column(place, "score", made(scores))
    assert compare(stored) == compare(table)


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.float64(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_variants_may_be_numbers_and_codes(rng, kind):
    table = log({"1": rng.normal(0, 1, 40), "2": rng.normal(2, 1, 40)})
    place = table.column_names.index("variant")
    stored = table.set_column(place, "variant", table["variant"].cast(kind))
    assert compare(stored, control="1") == compare(table, control="1")


def test_a_rating_from_before_the_exposure_is_no_outcome():
    rows = [exposure_row("layout", unit, "old", tenant=None) for unit in ("a", "b")]
    stamped = [{**row, "timestamp": AT} for row in rows]
    for hour, score in ((11, 9.0), (12, 1.0), (13, 3.0)):
        said = {**rating("a", score, number=hour), "timestamp": AT.replace("T12", f"T{hour}")}
        stamped.append(said)
    report = compare(log_table("feedback", stamped))
    assert (report.variants[0].n_measured, report.variants[0].mean) == (1, 2.0)
    assert report.n_before == 1
    assert "1 ratings from before the exposure of their unit are not counted" in report.reason


def test_scores_that_are_no_numbers_and_missing_columns_are_refused_by_name():
    table = log({"old": [1.0], "new": [0.0]})
    place = table.column_names.index("score")
    with pytest.raises(DataError, match=r"'score' must be numeric, found .*string such as 'good'"):
        compare(table.set_column(place, "score", pa.array(["good"] * len(table))))
    with pytest.raises(DataError, match="experiment, variant not found among"):
        compare(table.drop_columns(["experiment", "variant"]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shares": {"old": 50, "new": 50}}, r"must be a number in \(0, 1\], got 50 for 'old'"),
        ({"shares": {"old": 0.5, "new": math.nan}}, "got nan for 'new'"),
        ({"shares": {"old": 0.5, "new": "0.5"}}, "got '0.5' for 'new'"),
        ({"shares": {"old": 1.0, "new": 0.0}}, "got 0.0 for 'new'"),
        ({"shares": {"old": 0.5, "new": 0.4}}, "must add up to 1, got 0.9; name every variant"),
        ({"shares": {"a": 0.5, "b": 0.5}}, "control must be one of a, b; got 'old'"),
        ({"min_units": 1}, "min_units must be a whole number of at least 2, got 1"),
        ({"min_units": 30.5}, "got 30.5"),
        ({"min_units": math.nan}, "got nan"),
        ({"planned_units": 1500.0}, r"whole number of at least 60, got 1500.0"),
        ({"planned_units": 59}, "got 59"),
        (
            {"shares": {"old": 0.4, "new": 0.3, "third": 0.3}, "planned_units": 60},
            "planned_units must be a whole number of at least 90, got 60",
        ),
        ({"shares": {"old": 1.0}}, "must name two variants or more"),
        ({"shares": [0.5, 0.5]}, "must be numbers by the name of the variant"),
        ({"shares": {1: 0.5, 2: 0.5}}, "must be numbers by the name of the variant"),
        ({"control": ""}, "control must be a name, got ''"),
        ({"experiment": None}, "experiment must be a name, got None"),
    ],
)
def test_a_plan_is_checked_before_the_experiment_begins(given, message):
    plan = {"experiment": "layout", "outcome": "thumbs", "control": "old"} | given
    with pytest.raises(ConfigError, match=message):
        ExperimentPlan(**plan)
    with pytest.raises(ConfigError, match=message):
        CompareVariants("compare", **plan)


def test_rounded_shares_are_shares():
    outcomes = {name: [0.0, 1.0] * 50 for name in ("old", "new", "third")}
    report = compare(log(outcomes), shares=dict.fromkeys(outcomes, 0.333))
    assert report.split_p_value == 1.0


def gates(report: ExperimentReport) -> dict[str, float]:
    return {each.name: each.value for each in report.measurements() if each.is_gate}


@pytest.mark.parametrize(
    "outcomes",
    [
        {},
        {"old": [0.0, 1.0] * 50},
        {"new": [0.0, 1.0] * 50},
        {"old": [0.0, 1.0] * 50, "new": []},
        {"old": [], "new": [0.0, 1.0] * 50},
        {"old": [], "new": []},
    ],
    ids=["nobody", "control only", "no control", "variant silent", "control silent", "all silent"],
)
def test_without_a_variant_to_compare_nothing_is_decided_and_the_report_says_why(outcomes):
    report = compare(log(outcomes, silent=30))
    assert not report.decided
    assert report.unmeasured
    found = gates(report)
    assert math.isnan(found["decided"])
    assert math.isnan(found["worse"])
    assert 'class="verdict good"' not in report.to_html()


@pytest.mark.parametrize(
    ("outcomes", "silent"),
    [
        ({"old": [0.0, 1.0] * 5, "new": [0.0, 1.0] * 5}, 20),
        ({"old": [0.0, 1.0] * 50, "new": [1.0]}, 40),
        ({"old": [0.0], "new": []}, 28),
        ({"old": [1.0] * 500, "new": [1.0] * 500}, 0),
    ],
    ids=["few units", "one unit", "none of a variant yet", "all alike"],
)
def test_an_experiment_that_has_too_few_units_yet_is_unknown_and_no_finding(outcomes, silent):
    report = compare(log(outcomes, silent=silent))
    assert report.unmeasured == ""
    found = gates(report)
    assert math.isnan(found["decided"])
    assert math.isnan(found["worse"])
    assert 'class="verdict good"' not in report.to_html()


def test_an_experiment_is_no_finding_from_its_first_night_to_its_verdict(rng):
    rules = [
        AlertRule(metric="experiment.worse", above=0),
        AlertRule(metric="alerts.unmeasured", above=0),
    ]
    for n in (5, 15, 25, 100, 400):
        units = {name: rng.random(n) < 0.5 for name in ("old", "new")}
        report = compare(log(units, silent=2 * n), shares={"old": 0.5, "new": 0.5})
        decided = evaluate_rules(rules, [report], at=AT)
        assert decided.findings == ()
        phases = [each.phase for each in decided.alerts]
        assert phases == ["no_data" if n < 100 else "ok", "ok"]


def test_an_experiment_without_any_rating_is_a_finding():
    report = compare(log({"old": [], "new": []}, silent=5))
    assert report.unmeasured.startswith("0 of 1 variants could be judged: new: 0 units")


def test_a_planned_variant_that_nobody_saw_is_in_the_report_and_keeps_the_page_from_green(rng):
    shares = {"old": 0.49, "new": 0.49, "third": 0.02}
    table = log({"old": rng.random(60) < 0.5, "new": rng.random(60) < 0.5})
    report = compare(table, shares=shares)
    third = report.variants[2]
    assert (third.variant, third.n_exposed, third.verdict) == ("third", 0, "insufficient")
    assert third.reason == "0 units; 30 are needed"
    assert report.variants[1].verdict == "no_difference"
    assert not report.unmeasured
    assert 'class="verdict good"' not in report.to_html()
    assert math.isnan(gates(report)["worse.third"])


def test_a_split_that_is_not_the_planned_one_is_told_before_there_are_units_to_compare():
    report = compare(log({"old": [1.0] * 200}), shares={"old": 0.5, "new": 0.5})
    assert report.variants[1].verdict == "insufficient"
    assert report.split_p_value < 0.001
    assert gates(report)["invalid"] == 1
    # without planned shares nothing was tested, which is not the same as a valid split
    assert math.isnan(gates(compare(log({"old": [1.0, 0.0], "new": [1.0, 0.0]})))["invalid"])


def survivors(n_silent: int):
    """Those who rate are as content with either; of the new variant, some get no answer."""
    rows = []
    for variant, n, silent in (("old", 400, 40), ("new", 400, n_silent)):
        for i in range(n):
            rows.append(exposure_row("layout", f"{variant}{i}", variant, tenant=None))
            if i >= silent:
                rows.append(rating(f"{variant}{i}", float(i % 2)))
    return log_table("feedback", [{**row, "timestamp": AT} for row in rows])


def test_a_variant_whose_failures_leave_no_rating_is_not_as_good_as_the_control():
    report = compare(survivors(200))
    assert report.variants[1].verdict == "invalid"
    assert report.measured_p_value < 0.001
    assert "the share of units with an outcome differs" in report.reason
    assert report.unmeasured
    assert gates(report)["invalid"] == 1
    shares = {
        each.name: each.value for each in report.measurements() if "measured_share" in each.name
    }
    assert shares == {"measured_share.old": 0.9, "measured_share.new": 0.5}
    counted = compare(survivors(200), unrated=0.0)
    assert counted.variants[1].verdict == "worse"
    assert counted.variants[1].n_measured == 400
    assert counted.variants[1].mean == pytest.approx(100 / 400)
    assert math.isnan(counted.measured_p_value)
    alike = compare(survivors(44))
    assert alike.variants[1].verdict == "no_difference"
    assert alike.measured_p_value > 0.1


def test_the_share_of_measured_units_may_differ_by_chance_at_every_look():
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(40):
        rows, night_p = [], []
        for night in range(5):
            for i in range(60):
                unit, variant = f"{night}-{i}", ("old", "new")[rng.integers(2)]
                rows.append({**exposure_row("layout", unit, variant, tenant=None), "timestamp": AT})
                if rng.random() < 0.6:
                    rows.append({**rating(unit, float(rng.integers(2))), "timestamp": AT})
            night_p.append(compare(log_table("feedback", rows)).measured_p_value)
        refused += min(night_p) < 0.001
    assert refused == 0


def test_the_outcome_of_units_without_a_rating_must_be_a_number():
    with pytest.raises(ConfigError, match="unrated must be a number"):
        ExperimentPlan(experiment="e", outcome="o", control="c", unrated=math.nan)
