from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.columns import read_columns
from flytekitplugins.wbmon.data.join_labels import join_labels
from flytekitplugins.wbmon.errors import ConfigError, DataError

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
MADE = pa.table({"request_id": ["a", "b", "c", "d"], "p": [0.1, 0.2, 0.3, 0.4]})


def join(made, came, **given):
    return join_labels(made, came, label="fraud", **given)


def test_labels_find_their_predictions_in_any_order():
    joined = join(MADE, pa.table({"fraud": [1, 0, 1], "request_id": ["c", "a", "x"]}))
    assert joined.table["request_id"] == MADE["request_id"]
    assert joined.table["fraud"].to_pylist() == [0, None, 1, None]
    assert (joined.n_rows, joined.n_labelled, joined.n_unmatched) == (4, 2, 1)
    assert joined.coverage == 0.5


def test_the_last_label_of_a_key_wins_and_revisions_are_counted():
    came = pa.table({"request_id": ["a", "b", "a", "b"], "fraud": [1, 0, 0, 0]})
    joined = join(MADE, came)
    assert joined.table["fraud"].to_pylist()[:2] == [0, 0]
    assert (joined.n_repeated, joined.n_revised) == (2, 1)


def test_a_time_tells_the_last_label_whatever_the_order_of_rows():
    at = [START + timedelta(days=day) if day else None for day in (5, 1, 0)]
    came = pa.table({"request_id": ["a", "a", "a"], "fraud": [1, 0, 0], "at": at})
    assert join(MADE, came, latest_by="at").table["fraud"][0].as_py() == 1


def test_a_window_can_be_joined_again_when_more_labels_come():
    first = join(MADE, pa.table({"request_id": ["a", "b"], "fraud": [1, 0]}))
    second = join(first.table, pa.table({"request_id": ["b", "c"], "fraud": [1, 1]}))
    assert second.table["fraud"].to_pylist() == [1, 1, 1, None]
    assert second.table.column_names == first.table.column_names
    assert second.n_labelled == 3


@pytest.mark.parametrize(
    "nothing",
    [
        pd.DataFrame({"id": [], "score": []}),
        pa.table({"id": pa.nulls(0), "score": pa.nulls(0)}),
        pd.DataFrame({"other": []}),
    ],
    ids=["without types", "of Arrow's null", "without columns"],
)
def test_a_window_without_rows_joins_to_none(nothing):
    labels = pd.DataFrame({"id": ["a", "b"], "label": [1, 0]})
    joined = join_labels(nothing, labels, label="label", on="id")
    assert (joined.n_rows, joined.n_labelled, joined.n_unmatched) == (0, 0, 2)
    assert joined.table.column_names == [*read_columns(nothing, None).column_names, "label"]


def test_labels_that_have_not_come_leave_every_prediction_without_one():
    none = pd.DataFrame({"other": []})
    joined = join_labels(MADE, none, label="fraud")
    assert (joined.n_rows, joined.n_labelled, joined.coverage) == (4, 0, 0.0)
    assert joined.table["fraud"].null_count == 4


def test_rows_without_key_or_label_are_never_joined():
    made = pa.table({"request_id": ["a", None]})
    came = pa.table({"request_id": ["a", None, "a"], "fraud": [1, 1, None]})
    joined = join(made, came)
    assert joined.table["fraud"].to_pylist() == [1, None]
    assert (joined.n_unmatched, joined.n_repeated) == (0, 0)


def test_files_and_frames_are_joined(tmp_path):
    pq.write_table(MADE, tmp_path / "made.parquet")
    came = pd.DataFrame({"request_id": ["d"], "fraud": [True]})
    assert join(tmp_path / "made.parquet", came).table["fraud"][3].as_py() is True


@pytest.mark.parametrize("made", [MADE, MADE.slice(0, 0)])
def test_no_labels_yet_gives_a_window_without_labels(made):
    none = pa.table({"request_id": pa.array([], pa.string()), "fraud": pa.array([], pa.int64())})
    joined = join(made, none)
    assert joined.n_labelled == 0
    assert joined.table["fraud"].null_count == len(made)
    assert math.isnan(joined.coverage) == (len(made) == 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_joining_is_what_a_dictionary_does(rows):
    made = pa.table({"request_id": np.arange(12)})
    keys, said = ([row[i] for row in rows] for i in (0, 1))
    came = pa.table({"request_id": pa.array(keys, pa.int32()), "fraud": pa.array(said, pa.bool_())})
    joined = join(made, came)
    assert joined.table["fraud"].to_pylist() == [dict(rows).get(key) for key in range(12)]
    assert joined.n_repeated == len(rows) - len(dict(rows))


@pytest.mark.parametrize(
    ("came", "error", "message"),
    [
        ({"request_id": ["a"]}, DataError, "'fraud'"),
        ({"request_id": [1], "fraud": [1]}, DataError, "of one kind.*string and int64"),
        ({"request_id": [1.5], "fraud": [1]}, DataError, "text or whole numbers, found double"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(came, error, message):
    with pytest.raises(error, match=message):
        join(MADE, pa.table(came))


def test_a_key_must_be_there_and_be_another_column():
    came = pa.table({"id": ["a"], "fraud": [1]})
    with pytest.raises(DataError, match="must have the key 'id'; found 'request_id', 'p'"):
        join(MADE, came, on="id")
    with pytest.raises(ConfigError, match="different columns"):
        join(MADE, came, on="fraud")


def test_labels_of_another_kind_than_the_known_ones_are_refused():
    made = MADE.append_column("fraud", pa.array(["yes", None, None, None]))
    with pytest.raises(DataError, match="string and int64"):
        join(made, pa.table({"request_id": ["b"], "fraud": [1]}))


WHOLE = [0, 7, -3, 2**40]
KEYS = [
    pa.array(WHOLE, pa.int64()),
    pa.array([float(key) for key in WHOLE]),
    pa.array([Decimal(key) for key in WHOLE], pa.decimal128(20, 2)),
    pa.array([Decimal(key) for key in WHOLE], pa.decimal256(50, 0)),
    pa.array(WHOLE).dictionary_encode(),
]


@pytest.mark.parametrize("made", KEYS, ids=lambda keys: str(keys.type))
@pytest.mark.parametrize("came", KEYS, ids=lambda keys: str(keys.type))
def test_whole_numbers_meet_whatever_their_types(made, came):
    joined = join(
        pa.table({"request_id": made}), pa.table({"request_id": came, "fraud": [1, 2, 3, 4]})
    )
    assert joined.table["fraud"].to_pylist() == [1, 2, 3, 4]
    assert joined.table["request_id"].combine_chunks() == made


NEAR = st.lists(st.integers(2**63 - 3, 2**63 + 3), max_size=12)


@given(NEAR, NEAR)
def test_keys_beyond_64_bits_meet_only_if_they_are_equal(made, came):
    labels = {key: i for i, key in enumerate(came)}
    expected = [labels.get(key) for key in made]
    objects = pd.DataFrame({"request_id": pd.Series(made, dtype=object)})
    unsigned = pa.table({"request_id": pa.array(made, pa.uint64())})
    decimals = pa.table({"request_id": pa.array(map(Decimal, made), pa.decimal128(30, 0))})
    said = pa.table({"request_id": pa.array(came, pa.uint64()), "fraud": np.arange(len(came))})
    for form in (objects, unsigned, decimals):
        joined = join(form, said)
        assert joined.table["fraud"].to_pylist() == expected
        assert joined.n_unmatched == len(set(came) - set(made))
        assert joined.n_repeated == len(came) - len(set(came))


def test_a_uuid_meets_its_text_and_a_view_its_string():
    ids = [UUID(int=i) for i in range(3)]
    texts = [str(each) for each in ids]
    forms = [
        pd.DataFrame({"request_id": ids}),
        pa.table({"request_id": pa.array([each.bytes for each in ids], pa.binary(16))}),
        pa.table({"request_id": pa.array(texts, pa.string_view())}),
        pa.table({"request_id": pa.array(texts).dictionary_encode()}),
        pa.table({"request_id": pa.array([text.encode() for text in texts])}),
    ]
    came = pa.table({"request_id": texts[::-1], "fraud": [2, 1, 0]})
    for form in forms:
        assert join(form, came).table["fraud"].to_pylist() == [0, 1, 2]


def test_dates_meet_in_every_container():
    days = [date(2026, 1, 1), date(1969, 12, 30)]
    made = pa.table({"request_id": pa.array(days, pa.date64())})
    for came in (
        pa.table({"request_id": pa.array(days, pa.date32()), "fraud": [1, 0]}),
        pl.DataFrame({"request_id": days, "fraud": [1, 0]}),
        pd.DataFrame({"request_id": pd.to_datetime(days), "fraud": [1, 0]}),
    ):
        assert join(made, came).table["fraud"].to_pylist() == [1, 0]


def test_a_number_is_not_the_text_of_its_digits():
    with pytest.raises(DataError, match=r"of one kind.*int64 and string"):
        join(pa.table({"request_id": [1]}), pa.table({"request_id": ["1"], "fraud": [1]}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (pa.array([[1]]), "found list"),
        (pa.array([True]), "found bool"),
        (pa.array([timedelta(1)]), "found duration"),
        (pa.array([START.replace(hour=1)]), "found timestamp"),
        (pa.array([0.5]), "found double such as 0.5"),
        (pa.array([Decimal("0.5")]), r"found decimal128\(1, 1\) such as 0.5"),
        (pa.array([2.0**60]), "1152921504606846976 as double, which has lost digits"),
    ],
)
def test_what_is_no_key_is_refused_by_its_name(keys, message):
    with pytest.raises(DataError, match=message):
        join(pa.table({"request_id": keys}), pa.table({"request_id": [1], "fraud": [1]}))


MISSING = [None, float("nan"), pd.NaT, pd.NA, "", "  "]


def test_all_that_is_missing_is_neither_a_key_nor_a_label():
    keys = [*MISSING, "a", "b"]
    made = pd.DataFrame({"request_id": pd.Series(keys, dtype=object)})
    joined = join(made, made.assign(fraud="yes"))
    assert joined.table["fraud"].to_pylist() == [None] * 6 + ["yes"] * 2
    for missing in MISSING:
        for real, others in (("yes", ["no"]), (1, [0, 0]), (True, [False, False])):
            said = pd.Series([real, missing, *others], dtype=object)
            came = pd.DataFrame({"request_id": ["a", "a", *"xy"[: len(others)]], "fraud": said})
            joined = join(pd.DataFrame({"request_id": ["a"]}), came)
            assert joined.table["fraud"].to_pylist() == [real]
            assert (joined.n_repeated, joined.n_revised, joined.n_unreadable) == (0, 0, 0)


def test_an_empty_text_is_no_label():
    came = pa.table({"request_id": ["a", "b"], "fraud": ["ok", ""]})
    joined = join(pa.table({"request_id": ["a", "b"]}), came)
    assert joined.coverage == 0.5
    nan = pa.table({"request_id": ["a", "b"], "fraud": [1.0, math.nan]})
    assert join(MADE, nan).n_labelled == 1


def test_one_odd_label_or_key_costs_itself():
    keys = pd.Series([1, 2, 3, "n/a"], dtype=object)
    labels = pd.Series([1, 0, "unknown", 1], dtype=object)
    joined = join(
        pa.table({"request_id": [1, 2, 3, 4]}), pd.DataFrame({"request_id": keys, "fraud": labels})
    )
    assert joined.table["fraud"].to_pylist() == [1, 0, None, None]
    assert joined.n_unreadable == 1
    made = pd.DataFrame({"request_id": keys, "note": keys})
    again = join(made, pa.table({"request_id": [2], "fraud": [1]})).table
    assert again["fraud"].to_pylist() == [None, 1, None, None]
    assert again["note"].to_pylist() == ["1", "2", "3", "n/a"]


def objects(values):
    return pd.Series(values, dtype=object)


def latest(at, **form):
    came = {"request_id": ["a"] * len(at), "fraud": list(range(len(at))), "at": at, **form}
    return join(MADE, pd.DataFrame(came), latest_by="at").table["fraud"][0].as_py()


def test_the_latest_label_may_be_that_of_the_highest_number():
    assert latest([10, 9]) == 0
    assert latest([2**60 + 1, 2**60]) == 0
    assert latest([2.5, None]) == 0
    assert latest(pd.array([None, -5], dtype="Int64")) == 1
    assert latest(np.array([2**63 + 5, 2**63 + 4], dtype=np.uint64)) == 0
    assert latest([Decimal("1.5"), Decimal("1.25")]) == 0


WIDE = st.integers(1, 90).flatmap(lambda digits: st.integers(-(10**digits), 10**digits))
FORMS = {
    "int64": lambda values: pa.array(values, pa.int64()),
    "uint64": lambda values: pa.array(values, pa.uint64()),
    "decimal128": lambda values: pa.array([Decimal(v) for v in values], pa.decimal128(38, 0)),
    "decimal256": lambda values: pa.array([Decimal(v) for v in values], pa.decimal256(76, 2)),
    "objects": lambda values: values,
    "decimals": lambda values: [Decimal(value) for value in values],
}


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(start=WIDE, steps=st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_numbers_of_any_size_are_ordered_by_their_last_digit(form, start, steps):
    values = [start + step for step in steps]
    try:
        at = FORMS[form](values)
    except (pa.ArrowException, OverflowError):
        return  # it does not hold numbers of this size
    if form == "decimals" and max(map(abs, values)) >= 10**76:
        return  # a decimal of more digits than Arrow has is a float
    rows = {"request_id": ["a"] * len(values), "fraud": list(range(len(values)))}
    came = (
        pd.DataFrame({**rows, "at": objects(at)})
        if isinstance(at, list)
        else pa.table({**rows, "at": at})
    )
    last = max(range(len(values)), key=lambda row: (values[row], row))
    assert join(MADE, came, latest_by="at").table["fraud"][0].as_py() == last


def test_a_revision_that_is_none_is_refused_by_its_name():
    assert latest(objects([10**400 + 1, 10**400, None, math.nan, "  "])) == 0
    assert latest(objects([2, "3", 1])) == 1
    with pytest.raises(DataError, match="times or numbers; found 'n/a' among numbers"):
        latest(objects([1, 2, 3, "n/a", "n/a"]))
    # of all digits, as the numbers beside them
    assert latest(objects([1, 1, 1, "1.25", "1.125"])) == 3


@pytest.mark.parametrize("odd", ["n/a", "2024-02-30", "NaT", [1], 7, "2026-01-01T00:00:99"])
def test_a_time_of_a_label_that_cannot_be_read_is_as_if_it_were_missing(odd):
    days = [f"2026-01-{day:02}" for day in range(1, 9)]
    for at in (days, list(pd.to_datetime(days))):
        times = objects([*at, odd])
        came = pd.DataFrame({"request_id": ["a"] * 9, "fraud": range(9), "at": times})
        joined = join(MADE, came, latest_by="at")
        assert (joined.table["fraud"][0].as_py(), joined.n_unreadable) == (7, 1)


def test_a_revision_that_cannot_be_read_is_the_earliest():
    came = pd.DataFrame({"request_id": ["a"] * 3, "fraud": range(3), "at": objects([2, 1, "n/a"])})
    joined = join(MADE, came, latest_by="at")
    assert (joined.table["fraud"][0].as_py(), joined.n_unreadable) == (0, 1)


def test_times_are_ordered_by_all_digits_of_their_seconds():
    at = "2026-01-01T00:00:00."
    assert latest([f"{at}000000000002Z", f"{at}000000000001Z"]) == 0
    assert latest([f"{at}{'0' * 17}2", f"{at}{'0' * 17}1"]) == 0
    assert latest([f"{at}1{'0' * 30}", f"{at}0"]) == 0
    moment = pd.Timestamp(1_767_225_600_000_000_001)
    assert latest(objects([moment, f"{at}0000000010001Z", f"{at}0000000009"])) == 1
    # more than 64 bits hold: no place rather than a wrong one
    fine = pd.DataFrame({"request_id": ["a"] * 2, "fraud": [0, 1], "at": [at + "1", at + "2" * 19]})
    joined = join(MADE, fine, latest_by="at")
    assert (joined.table["fraud"][0].as_py(), joined.n_unreadable) == (0, 1)


NANOSECOND = st.integers(-3, 3).map(lambda step: 1_767_225_600_000_000_000 + step)
TIMES = {
    "timestamps": pd.to_datetime,
    "with a zone": lambda ns: pd.to_datetime(ns, utc=True).tz_convert("Asia/Tokyo"),
    "objects": lambda ns: objects([pd.Timestamp(at) for at in ns]),
    "text": lambda ns: [f"{pd.Timestamp(at).isoformat(timespec='nanoseconds')}Z" for at in ns],
    "objects and text": lambda ns: objects(
        [pd.Timestamp(ns[0], tz="UTC"), *(str(pd.Timestamp(at)) for at in ns[1:2])]
        + [pd.Timestamp(at, tz="UTC") for at in ns[2:]]
    ),
}


@pytest.mark.parametrize("form", TIMES)
@settings(deadline=None)
@given(moments=st.lists(NANOSECOND, min_size=1, max_size=6))
def test_times_are_ordered_to_the_nanosecond(form, moments):
    last = max(range(len(moments)), key=lambda row: (moments[row], row))
    assert latest(TIMES[form](moments)) == last


def test_a_nanosecond_beside_midnight_is_no_date():
    midnight = 1_767_225_600_000_000_000
    for beside in (-1, 1, 499):
        at = pd.to_datetime([midnight, midnight + beside])
        for keys in (at, objects(list(at)), at.tz_localize("UTC")):
            came = pd.DataFrame({"request_id": keys, "fraud": [1, 0]})
            with pytest.raises(DataError, match="found timestamp"):
                join(came[["request_id"]], came)


def test_the_latest_label_is_so_in_time_and_not_in_text():
    # 23:00 in New York is later than 01:00 of the next day in Berlin
    assert latest(["2026-01-01T23:00:00-05:00", "2026-01-02T01:00:00+01:00"]) == 0
    assert latest(["2026-01-02", "2026-01-01T23:59:59Z"]) == 0
    assert latest([None, "2026-01-01", ""]) == 1
    assert latest(pd.to_datetime(["2026-01-02", "2026-01-01"])) == 0
    assert latest([date(2026, 1, 2), date(2026, 1, 1)]) == 0
    # a nanosecond apart, which seconds as floats do not tell
    assert (
        latest(
            pd.Series([1_767_225_600_000_000_001, 1_767_225_600_000_000_000]).astype(
                "datetime64[ns]"
            )
        )
        == 0
    )
    assert latest(["2026-01-01", "2026-01-01"]) == 1


@pytest.mark.parametrize("freq", ["D", "M", "Q", "W", "h"])
def test_a_period_is_the_time_of_its_start(freq):
    periods = pd.period_range("2026-01-05", periods=3, freq=freq)[::-1]
    assert latest(periods) == 0
    assert latest(objects([None, *periods])) == 1
    assert latest(objects([periods[1], str(periods[0].start_time), periods[2]])) == 1
    days = pd.DataFrame({"request_id": periods.to_timestamp().normalize(), "fraud": [0, 1, 2]})
    if freq != "h":
        made = pd.DataFrame({"request_id": periods})
        assert join(made, days).table["fraud"].to_pylist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ([True, False], "must hold timestamps or dates, got bool"),
        (["2026-01-01", "2026-01-02", *["yesterday"] * 2], "must hold times.*found 'yesterday'"),
        (["yesterday"], "must hold times.*found 'yesterday'"),
        ([True, False], "got bool"),
    ],
)
def test_what_is_no_time_orders_no_labels(at, message):
    with pytest.raises(DataError, match=message):
        latest(at)


def test_a_label_that_became_a_float_fills_those_that_did_not():
    made = MADE.append_column("fraud", pa.array([2**53 + 1, None, None, None]))
    joined = join(made, pa.table({"request_id": ["b"], "fraud": [1.0]}))
    assert joined.table["fraud"].to_pylist() == [2**53 + 1, 1, None, None]
    floats = MADE.append_column("fraud", pa.array([0.5, math.nan, None, None]))
    joined = join(floats, pa.table({"request_id": ["c"], "fraud": [1]}))
    assert joined.table["fraud"].to_pylist() == [0.5, None, 1.0, None]


@pytest.mark.parametrize(
    "none",
    [[None], [math.nan], pd.Categorical([None]), pd.Series([pd.NaT])],
    ids=["null", "nan", "category", "time"],
)
def test_a_column_without_any_value_is_of_every_kind(none):
    label = pd.DataFrame({"request_id": ["a"], "fraud": ["yes"]})
    keyless = join(pd.DataFrame({"request_id": none}), label)
    assert (keyless.n_labelled, keyless.n_unmatched) == (0, 1)
    known = join(pd.DataFrame({"request_id": ["a"], "fraud": none}), label)
    assert known.table["fraud"].to_pylist() == ["yes"]
    kept = join(label, pd.DataFrame({"request_id": ["a"], "fraud": none}))
    assert kept.table["fraud"].to_pylist() == ["yes"]


def of_each(made, came):
    """The place of the label that each prediction has, when each label is its own place."""
    labels = pd.DataFrame({"request_id": came, "fraud": range(len(came))})
    return join(pd.DataFrame({"request_id": made}), labels)


# no number of 64 bits, of 76 digits, of a float, or that Python writes in decimals
NUMBERS = st.sampled_from([0, 7, -7, 2**64, 10**80, 10**309, 10**400, 10**400 + 1, 10**5000])
TEXTS = st.sampled_from(["007", "7.0", "+7", " 7", "-0", "A3", "a3", "n/a", "\u0667"])
MIXED = st.lists(st.one_of(NUMBERS, TEXTS), max_size=12).map(lambda keys: [*keys, 1, "z"])


@settings(deadline=None)
@given(MIXED, MIXED)
def test_keys_of_a_mixed_column_meet_only_if_they_are_equal(made, came):
    labels = {key: i for i, key in enumerate(came)}
    joined = of_each(objects(made), objects(came))
    assert joined.table["fraud"].to_pylist() == [labels.get(key) for key in made]
    assert joined.n_unmatched == len(set(came) - set(made))
    assert joined.n_repeated == len(came) - len(set(came))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), max_size=12))
def test_digits_beside_numbers_are_the_number(rows):
    keys = [str(number) if is_text else number for number, is_text in rows]
    joined = of_each(objects([*keys, 9, "A3"]), objects([*range(-3, 4), "A3"]))
    assert joined.table["fraud"].to_pylist() == [*(number + 3 for number, _ in rows), None, 7]


@pytest.mark.parametrize("mixed", [[1, 2, 3, "A3"], [1, "A3", "B4"], ["A3", date(2026, 1, 1)]])
def test_the_texts_of_a_mixed_column_meet_those_of_a_column_of_text(mixed):
    place = mixed.index("A3")
    assert of_each(["A3", "x"], objects(mixed)).table["fraud"].to_pylist() == [place, None]
    joined = of_each(objects(mixed), ["x", "A3"])
    assert joined.table["fraud"].to_pylist()[place] == 1
    assert (joined.n_labelled, joined.n_unmatched) == (1, 1)


@pytest.mark.parametrize(
    ("mixed", "texts", "message"),
    [
        ([1, 2, "A3"], ["1", "A3"], "found '1' as text in one and as a number in the other"),
        ([1, "A3", "B4"], ["1", "A3"], "found '1' as text in one and as another value"),
        (
            [date(2026, 1, 1), date(2026, 1, 2), "A3"],
            ["2026-01-01"],
            "found '2026-01-01' as text in one and as a date in the other; store both as text",
        ),
    ],
)
def test_a_number_in_a_mixed_column_is_not_the_text_of_its_digits(mixed, texts, message):
    for made, came in ((objects(mixed), texts), (texts, objects(mixed))):
        with pytest.raises(DataError, match=message):
            of_each(made, came)


def test_keys_that_nobody_knows_are_refused():
    with pytest.raises(DataError, match="must hold text or whole numbers, found '<object"):
        of_each(objects([object()]), ["a"])


def test_one_odd_value_among_dates_is_a_key_of_its_own():
    keys = objects([date(2026, 1, 1), date(2026, 1, 2), "soon"])
    assert of_each(keys, keys).table["fraud"].to_pylist() == [0, 1, 2]
    dates = objects([date(2026, 1, 2), date(2026, 1, 1)])
    assert of_each(keys, dates).table["fraud"].to_pylist() == [1, 0, None]


@pytest.mark.parametrize("odd", [1.5, math.inf, Decimal("1.5"), Decimal("Infinity")])
@pytest.mark.parametrize("big", [1, 2**60, 2**64, 10**80])
def test_a_key_that_is_no_whole_number_costs_itself(odd, big):
    if big == 10**80 and odd == 1.5:
        big = 2**64  # its text is a key like any other beside that of a number
    joined = of_each(objects([big, 2, odd]), objects([2, big, 5]))
    assert joined.table["fraud"].to_pylist() == [1, 0, None]
    joined = of_each(objects([2, big, 5]), objects([big, 2, odd, odd, 7] + [7] * 40))
    assert joined.table["fraud"].to_pylist() == [1, 0, None]
    assert (joined.n_unreadable, joined.n_unmatched) == (2, 1)


def test_a_whole_number_of_any_size_meets_the_decimal_of_it():
    for made in ([10**80, 1], [Decimal(10**80), 1], [Decimal("1E+80"), Decimal(1)]):
        assert of_each(objects(made), objects([1, 10**80])).table["fraud"].to_pylist() == [1, 0]


WRITTEN = [
    str,
    lambda each: str(each).upper(),
    lambda each: each.hex,
    lambda each: each.hex.upper(),
    lambda each: f"{{{each}}}",
    lambda each: each.urn,
]
UUIDS = {
    "objects": objects,
    "bytes": lambda ids: pd.Series(
        [each.bytes for each in ids], dtype=pd.ArrowDtype(pa.binary(16))
    ),
    "categories": lambda ids: pd.Series(pd.Categorical(ids)),
}


@pytest.mark.parametrize("form", UUIDS)
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.uuids(), st.sampled_from(WRITTEN)), min_size=1, unique_by=lambda r: r[0])
)
def test_a_uuid_is_its_value_however_it_is_written(form, rows):
    ids = UUIDS[form]([each for each, _ in rows])
    texts = [write(each) for each, write in rows]
    plain = [str(each) for each, _ in rows]
    for made, came in ((ids, [*texts, "x"]), (texts, ids), (ids, ids), (plain, texts)):
        joined = of_each(made, came)
        assert joined.table["fraud"].to_pylist() == list(range(len(rows)))


def test_keys_of_uuids_stay_texts():
    each = UUID(int=2**100)
    made = of_each([each.hex.upper(), "A" * 31, None], [str(each), "a" * 31]).table
    assert made["request_id"].to_pylist() == [each.hex.upper(), "A" * 31, None]
    assert made["fraud"].to_pylist() == [0, None, None]
    made = of_each(objects([each, None]), [each.hex]).table
    assert made["request_id"].to_pylist() == [str(each), None]
    assert made["request_id"].type == pa.large_string()
    with pytest.raises(DataError, match="found UUIDs and int64"):
        of_each(objects([each]), [1])


@pytest.mark.parametrize(
    "later",
    [
        "2026-01-01T00:00:07.5Z",
        "2026-01-01 00:00:07,5",
        "20260101T000007.5Z",
        "2026-01-01t00:00:07.5z",
        "2026-01-01 01:00:07.5+01",
    ],
)
@pytest.mark.parametrize("earlier", ["2026-01-01T00:00:07.25", "2026-01-01 00:00:07,25+00"])
def test_the_latest_label_is_the_later_in_any_spelling(earlier, later):
    made = pd.DataFrame({"k": [1]})
    for times, latest in (([earlier, later], 2.0), ([later, earlier], 1.0)):
        came = pd.DataFrame({"k": [1, 1], "label": [1.0, 2.0], "at": times})
        joined = join_labels(made, came, on="k", label="label", latest_by="at")
        assert joined.table["label"].to_pylist() == [latest]
