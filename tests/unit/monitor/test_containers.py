"""What holds the values does not matter: every container of the same values gives the same answer.

Durations in any unit are seconds, integers that miss one are the same numbers although pandas has
floats for them, a Categorical is what it holds, NaN, None, NaT, NA and null are one missing, a
decimal is a number, times are compared in UTC and are UTC if they do not say, bytes of UTF-8 are
text, a UUID is its text, and dictionaries, views and run ends are only storage, also within lists
and structs. A number that was
rounded to 32 bits is the shortest decimal that is rounded so: 0.1 is still 0.1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon import check_drift, check_performance, join_labels, profile_data
from support.containers import STORAGES, WRAPPERS, Storage, data_of

N_ROWS = 150
UTC = timezone.utc
FEW = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-9999, 9999),
    "unsigned": st.integers(0, 250),
    # floats have every second of them, or every 1024th
    "many digits": st.integers(2**53, 2**53 + 40) | st.integers(2**63 - 9, 2**63 - 1),
    "float": st.integers(-99999, 99999).map(lambda cents: cents / 100),
    "boolean": st.booleans(),
    "text": st.text(LETTERS, max_size=8),
    "uuid": st.uuids(),
    "timestamp": st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001
        lambda at: at.replace(microsecond=0, tzinfo=UTC)
    ),
    "date": st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    "duration": st.integers(-100_000, 100_000).map(lambda s: timedelta(seconds=s)),
    "time": st.times().map(lambda at: at.replace(microsecond=0)),
    "vector": st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=3, max_size=3),
    "whole vector": st.lists(st.integers(-99, 99), min_size=3, max_size=3),
    "interval": st.integers(-9, 9).map(lambda n: pd.Interval(n / 4, n / 4 + 0.5)),
    # sixteen bytes may be those of a UUID
    "bytes": st.binary(max_size=9) | st.text(LETTERS, max_size=3).map(str.encode),
    "texts": st.lists(st.text(LETTERS, max_size=3), max_size=3),
    "record": st.fixed_dictionaries(
        {"n": st.none() | st.integers(-99, 99), "t": st.none() | st.text(LETTERS, max_size=3)}
    ),
    "pairs": st.lists(
        st.fixed_dictionaries({"key": st.text(LETTERS, max_size=3), "value": st.integers(-9, 9)}),
        max_size=3,
    ),
}
CELLS = [(kind, name) for kind, storages in STORAGES.items() for name in storages]
CLASSES = [cell for cell in CELLS if cell[0] in ("integer", "unsigned", "boolean", "text", "bytes")]
NUMBERS = [cell for cell in CELLS if cell[0] in ("integer", "unsigned", "float")]
KEYS = [cell for cell in CELLS if cell[0] in ("integer", "unsigned", "text", "uuid", "bytes")]


@st.composite
def windows(draw: st.DrawFn, kind: str, number: int = 1) -> list[list[Any]]:
    """Windows of values, None where one is missing; few or many of them differ."""
    size = draw(st.sampled_from([2, 5, 60]))
    pool = draw(st.lists(VALUES[kind], min_size=2 if kind == "boolean" else size, max_size=size))
    if draw(st.booleans()):
        pool = [None, *pool]
    rng = random.Random(draw(st.integers(0, 2**32)))  # noqa: S311
    # each window prefers other values
    weights = [[rng.random() ** 2 for _ in pool] for _ in range(number)]
    # of empty lists and fields without a value only their type says what they would hold
    return [[*rng.choices(pool, weight, k=N_ROWS - 1), SOME[kind][0]] for weight in weights]


def held(storage: Storage, values: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The column, and its values: without the missing ones, if the storage cannot miss any."""
    try:
        return storage.make(values), list(values)
    except (TypeError, ValueError, pa.ArrowException):
        present = [value for value in values if value is not None]
        return storage.make(present), present


def in_both(kind: str, name: str, values: Sequence[Any]) -> tuple[Any, Any]:
    """A table of the storage, and that of the plain one."""
    storage, plain = STORAGES[kind][name], next(iter(STORAGES[kind].values()))
    column, values = held(storage, values)
    return data_of({"x": column}, storage.library), data_of({"x": plain.make(values)}, "arrow")


def profiled(data: Any) -> dict[str, Any]:
    """All that a profile says of the values of its only column."""
    return _told(profile_data(data).features["x"])


def _told(feature: Any) -> dict[str, Any]:
    return {
        "kind": feature.kind,
        "rows": (feature.n_rows, feature.n_missing, feature.n_infinite),
        "range": [repr(float(number)) for number in (feature.minimum, feature.maximum)],
        "dimension": feature.dimension,
        # Python compares whole numbers with floats digit by digit
        "edges": None if feature.edges is None else feature.edges.tolist(),
        "categories": feature.categories,
        "counts": None if feature.counts is None else feature.counts.tolist(),
        "unseen": dict(feature.unseen),
        "facets": {name: _told(facet) for name, facet in feature.facets.items()},
    }


def drifted(reference: Any, current: Any) -> dict[str, Any]:
    report = check_drift(reference, current)
    found = report.features["x"]
    return {
        "verdict": report.verdict,
        "status": found.status,
        "level": found.level,
        "rows": (found.n_reference, found.n_current),
        "missing": (found.missing_reference, found.missing_current),
        "checks": {
            (check.facet, check.name): tuple(
                repr(round(number, 9)) for number in (check.statistic, check.p_value)
            )
            for check in found.checks
        },
    }


@pytest.mark.parametrize(("kind", "name"), CELLS)
@FEW
@given(data=st.data())
def test_a_profile_is_of_the_values(kind: str, name: str, data: st.DataObject) -> None:
    (values,) = data.draw(windows(kind))
    held_so, plain = in_both(kind, name, values)

    assert profiled(held_so) == profiled(plain)


@pytest.mark.parametrize(("kind", "name"), CELLS)
@FEW
@given(data=st.data())
def test_a_container_is_no_drift(kind: str, name: str, data: st.DataObject) -> None:
    values, others = data.draw(windows(kind, 2))
    held_so, plain = in_both(kind, name, values)
    others_so, others_plain = in_both(kind, name, others)

    same = drifted(plain, plain)
    assert drifted(held_so, plain) == same
    assert drifted(plain, held_so) == same
    assert drifted(held_so, held_so) == same
    moved = drifted(plain, others_plain)
    assert drifted(held_so, others_plain) == moved
    assert drifted(plain, others_so) == moved


@pytest.mark.parametrize(("kind", "name"), CELLS)
@FEW
@given(data=st.data())
def test_a_container_is_no_drift_from_a_profile(kind: str, name: str, data: st.DataObject) -> None:
    values, others = data.draw(windows(kind, 2))
    held_so, plain = in_both(kind, name, values)
    others_so, others_plain = in_both(kind, name, others)
    reference = profile_data(plain)

    moved = drifted(reference, others_plain)
    assert drifted(reference, held_so) == drifted(reference, plain)
    assert drifted(reference, others_so) == moved
    assert drifted(profile_data(held_so), others_plain) == moved


def measured(data: Any, task: Any) -> dict[str, Any]:
    report = check_performance(data, task=task, label="label", prediction="prediction")
    numbers = {name: repr(round(metric.value, 9)) for name, metric in report.metrics.items()}
    return {"status": report.status, "rows": report.n_rows, "metrics": numbers}


def check_outcomes(kind: str, name: str, task: str, values: Sequence[Any]) -> None:
    rng = random.Random(0)  # noqa: S311 - the same in every run
    storage, plain = STORAGES[kind][name], next(iter(STORAGES[kind].values()))
    labels, values = held(storage, values)
    others = [value if rng.random() < 0.7 else rng.choice(values) for value in values]
    made = data_of({"label": labels, "prediction": storage.make(others)}, storage.library)
    expected = data_of({"label": plain.make(values), "prediction": plain.make(others)}, "arrow")
    assert measured(made, task) == measured(expected, task)
    if storage.library == "arrow":
        mixed = pa.table({"label": labels, "prediction": plain.make(others)})
        assert measured(mixed, task) == measured(expected, task)


@pytest.mark.parametrize(("kind", "name"), CLASSES)
@FEW
@given(data=st.data())
def test_classes_are_of_the_values(kind: str, name: str, data: st.DataObject) -> None:
    (values,) = data.draw(windows(kind))
    check_outcomes(kind, name, "classification", values)


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@FEW
@given(data=st.data())
def test_errors_are_of_the_values(kind: str, name: str, data: st.DataObject) -> None:
    (values,) = data.draw(windows(kind))
    check_outcomes(kind, name, "regression", values)


def labelled(predictions: Any, labels: Any) -> tuple[Any, ...]:
    joined = join_labels(predictions, labels, on="key", label="label")
    found = joined.table["label"].to_pylist()
    return found, joined.n_labelled, joined.n_unmatched, joined.n_repeated, joined.n_revised


@pytest.mark.parametrize(("kind", "name"), KEYS)
@FEW
@given(data=st.data())
def test_keys_are_of_the_values(kind: str, name: str, data: st.DataObject) -> None:
    storage, plain = STORAGES[kind][name], next(iter(STORAGES[kind].values()))
    keys, others = data.draw(windows(kind, 2))
    (column, keys), (other_column, others) = held(storage, keys), held(storage, others)
    numbers = [float(i) for i in range(len(others))]
    label = {"arrow": pa.array, "pandas": list, "polars": _polars_numbers}[storage.library](numbers)
    made = data_of({"key": column}, storage.library)
    came = data_of({"key": other_column, "label": label}, storage.library)
    plain_made = pa.table({"key": plain.make(keys)})
    plain_came = pa.table({"key": plain.make(others), "label": numbers})

    expected = labelled(plain_made, plain_came)
    assert labelled(made, plain_came) == expected
    assert labelled(plain_made, came) == expected
    assert labelled(made, came) == expected


def _polars_numbers(numbers: list[float]) -> Any:
    return pl.Series(numbers, dtype=pl.Float64)


SOME: dict[str, list[Any]] = {
    "integer": [1, 2, None, 3],
    "unsigned": [1, 2, None, 250],
    # pandas makes floats of whole numbers that miss one, and digits are lost before anyone reads
    "many digits": [2**60, 2**60 + 1, 2**60 + 2, 2**63 - 1],
    "float": [0.1, 0.25, None, 3.75],
    "boolean": [True, False, None, True],
    "text": ["a", "ä", None, ""],
    "uuid": [UUID(int=1), UUID(int=2), None, UUID(int=3)],
    "timestamp": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)] + [None],
    "date": [date(2026, 1, 1), date(1968, 12, 31), None, date(2026, 1, 2)],
    "duration": [timedelta(seconds=1), timedelta(days=-1), None, timedelta(0)],
    "time": [time(1, 2, 3), time(0), None, time(23, 59, 59)],
    "vector": [[1.0, 2.0, 3.0], [0.0, 0.5, 0.25], None, [1.0, 1.0, 1.0]],
    "whole vector": [[1, 2, 3], [0, 5, -7], None, [1, 1, 1]],
    "interval": [pd.Interval(0.0, 0.5), pd.Interval(0.5, 1.5), None, pd.Interval(-1.0, 0.0)],
    "bytes": [b"a", b"\xe4", None, b"\xc3\xa4"],
    "texts": [["a", "ä"], [], None, ["a"]],
    "record": [{"n": 1, "t": "a"}, {"n": None, "t": "ä"}, None, {"n": 2, "t": None}],
    "pairs": [[{"key": "a", "value": 1}, {"key": "b", "value": 2}], [], None, []],
}


@pytest.mark.parametrize("kind", STORAGES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_table_is_the_same_however_it_is_given(kind: str, wrapper: str, tmp_path: Path) -> None:
    plain = pa.table({"x": next(iter(STORAGES[kind].values())).make(SOME[kind] * 40)})

    # a reader can be read once
    def given_so(number: int) -> Any:
        folder = tmp_path / str(number)
        folder.mkdir()
        return WRAPPERS[wrapper](plain, folder)

    assert profiled(given_so(0)) == profiled(plain)
    assert drifted(plain, given_so(1)) == drifted(plain, plain)
    assert drifted(given_so(2), plain) == drifted(plain, plain)


CONTAINERS = [cell for cell in CELLS if cell[0] in ("texts", "record", "pairs", "whole vector")]


@pytest.mark.parametrize("wrapper", ["dataset of files", "parquet", "folder"])
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name in CONTAINERS if name.endswith("dictionary")]
)
def test_dictionaries_within_others_are_the_same_in_files(
    kind: str, name: str, wrapper: str, tmp_path: Path
) -> None:
    # each row group has words of its own
    values = [*SOME[kind] * 20, *SOME[kind][:1] * 80]
    held_so, plain = in_both(kind, name, values)
    given_so = WRAPPERS[wrapper](held_so, tmp_path)

    assert profiled(given_so) == profiled(plain)
    assert drifted(plain, given_so) == drifted(given_so, plain) == drifted(plain, plain)


@pytest.mark.parametrize("wrapper", ["table", "reader", "dataset"])
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name in CELLS if name.startswith("arrow")]
)
def test_a_table_without_rows_is_insufficient_however_it_is_given(
    kind: str, name: str, wrapper: str, tmp_path: Path
) -> None:
    table, _ = in_both(kind, name, [])
    # no batch at all, not one without rows
    empty = WRAPPERS[wrapper](pa.Table.from_batches([], table.schema), tmp_path)
    _, plain = in_both(kind, name, SOME[kind] * 40)

    assert drifted(plain, empty)["verdict"] == "insufficient"


LONG_DECIMAL = pa.decimal256(50, 2)


@pytest.mark.parametrize(
    "dtype",
    [
        LONG_DECIMAL,
        pa.list_(LONG_DECIMAL),
        pa.list_(LONG_DECIMAL, 3),
        pa.struct({"a": LONG_DECIMAL}),
        pa.struct({"a": pa.list_(pa.struct({"b": LONG_DECIMAL}))}),
    ],
)
def test_decimals_that_polars_cannot_have_are_insufficient_in_a_frame_without_rows(
    dtype: pa.DataType,
) -> None:
    empty = pl.from_arrow(pa.table({"x": pa.nulls(0, dtype)}))
    plain = pa.table({"x": pa.array([1, 2, 3] * 100, pa.decimal256(50, 2))})

    assert profile_data(empty).n_rows == 0
    assert drifted(plain, empty)["verdict"] == "insufficient"
    assert drifted(empty, plain)["verdict"] == "insufficient"


def test_durations_and_times_are_seconds() -> None:
    for kind, first, last in (("duration", -86_400.0, 1.0), ("date", -31_622_400.0, 1767312000.0)):
        for name in STORAGES[kind]:
            held_so, _ = in_both(kind, name, SOME[kind])
            feature = profile_data(held_so).features["x"]
            assert (feature.minimum, feature.maximum) == (first, last), name


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_a_window_of_one_row_is_one_too(kind: str, name: str) -> None:
    held_so, plain = in_both(kind, name, SOME[kind][:1])

    assert profiled(held_so) == profiled(plain)
    assert drifted(plain, held_so) == drifted(plain, plain)


@pytest.mark.parametrize(("kind", "name"), CELLS)
def test_a_window_without_rows_is_insufficient_whatever_holds_it(kind: str, name: str) -> None:
    empty, _ = in_both(kind, name, [])
    _, plain = in_both(kind, name, SOME[kind] * 40)

    # an empty column of objects does not tell its kind
    assert profiled(empty)["rows"] == (0, 0, 0)
    assert drifted(plain, empty)["verdict"] == "insufficient"
    assert drifted(empty, empty)["verdict"] == "insufficient"


VECTORS = [[1.0, float(i)] for i in range(600)]
STRUCTS = [{"a": float(i)} for i in range(600)]


def of_objects(values: Sequence[Any]) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(values, dtype=object)})


@pytest.mark.parametrize(
    ("values", "odd"),
    [
        *((VECTORS, odd) for odd in ("n/a", [1.0, "x"], ["a", 3], {"a": 1})),
        *((STRUCTS, odd) for odd in ({"a": "x"}, {1: 2}, {"a": "\ud800"}, np.array([1.0]), {1})),
        *(([True, False] * 300, odd) for odd in (1.5, float("inf"), 2**64)),
    ],
)
def test_one_odd_value_costs_its_row_alone(values: list[Any], odd: Any) -> None:
    clean = of_objects(values)
    dirty = of_objects([*values[:3], odd, *values[4:]])

    found = profile_data(dirty).features["x"]
    assert (found.kind, found.n_unreadable) == (profile_data(clean).features["x"].kind, 1)
    for reference, current in ((clean, dirty), (dirty, clean), (profile_data(clean), dirty)):
        assert check_drift(reference, current).verdict == "ok"


MATRICES = [np.ones((2, 2)) * i for i in range(400)]
MAPS = pa.table({"x": pa.array([[("k", i % 5)] for i in range(400)], pa.map_("string", "int64"))})
ENTRIES = pa.table({"x": [[{"key": "k", "value": i % 5}] for i in range(400)]})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (MAPS, MAPS.to_pandas()),
        (MAPS, ENTRIES),
        (of_objects(MATRICES), of_objects([matrix.tolist() for matrix in MATRICES])),
        (
            of_objects([b"%d" % (i % 9) for i in range(400)]),
            of_objects([bytearray(b"%d" % (i % 9)) for i in range(400)]),
        ),
    ],
)
def test_containers_of_containers_are_what_they_hold(one: Any, other: Any) -> None:
    for reference, current in ((one, other), (other, one), (profile_data(one), other)):
        report = check_drift(reference, current)
        assert (report.verdict, report.features["x"].unreadable_current) == ("ok", 0.0)
