"""All parts of a day have one schema, with the values that our own reader gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.monitor.prediction_log.arrow_schema import log_table
from flytekitplugins.wbmon.monitor.prediction_log.compact import (
    compact_prediction_log,
    with_day,
)
from flytekitplugins.wbmon.monitor.prediction_log.files import LogFiles
from flytekitplugins.wbmon.monitor.prediction_log.level import level_day
from flytekitplugins.wbmon.monitor.prediction_log.schema import day_folder
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

DAY = "2026-03-02"


def day(root: Path | str, kind: Any = "prediction", of: str = DAY) -> Path:
    return Path(day_folder(str(root), kind, "api", of))


def put(root: Path | str, name: str, answers: Sequence[Any], of: str = DAY, **more: Any) -> None:
    """A segment of predictions, of which the feature `f` is the answer, too."""
    path = Path(root, "sealed", "api", f"{name}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "kind": "prediction",
            "timestamp": f"{of}T10:00:00.000000+00:00",
            "request_id": f"{name}-{i}",
            "prediction": answer,
            "features": {"f": answer, **more},
        }
        for i, answer in enumerate(answers)
    ]
    path.write_bytes(b"".join(map(to_line, rows)))


def schemas(folder: Path) -> set[str]:
    parts = sorted(folder.glob("part-*.parquet"))
    return {pq.read_schema(part).remove_metadata().to_string() for part in parts}


def values(folder: Path, name: str = "prediction") -> list[Any]:
    return list(open_source(folder).column(name).to_pylist())


def present(found: list[Any]) -> list[Any]:
    """As pandas reads null, in a column of floats or of objects."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in found]


def meaning(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    # a decimal has the digits that a float is written with
    return Fraction(str(value + 0))


READERS: dict[str, Callable[[Path], list[Any]]] = {
    "pandas": lambda folder: pd.read_parquet(folder)["prediction"].tolist(),
    "polars": lambda folder: pl.read_parquet(folder / "*.parquet")["prediction"].to_list(),
    "pyarrow": lambda folder: ds.dataset(folder).to_table()["prediction"].to_pylist(),
    "parquet": lambda folder: pq.read_table(folder)["prediction"].to_pylist(),
}


@pytest.mark.parametrize(
    ("parts", "stored"),
    [
        ([["spam"], [0.7]], ["spam", "0.7"]),
        ([[True], ["spam"]], ["1", "spam"]),
        ([[True, 3, 0.5], ["x", True, 3.0]], ["1", "3", "0.5", "x", "1", "3"]),
        ([[True], [1]], [1, 1]),
        ([[True], [0.5]], [1, 0.5]),
        ([[1], [0.5], [None]], [1, 0.5, None]),
        ([[None], ["spam"]], [None, "spam"]),
        ([[None], [None]], [None, None]),
        ([[2**53 + 1], ["a"]], [str(2**53 + 1), "a"]),
        ([[2**53 + 1], [0.5]], [Decimal(2**53 + 1), Decimal("0.5")]),
        ([[10**20], [1]], [Decimal(10**20), Decimal(1)]),
    ],
    ids=str,
)
def test_any_reader_reads_a_day_whose_segments_differ(
    tmp_path: Path, parts: list[list[Any]], stored: list[Any]
) -> None:
    for i, answers in enumerate(parts):
        put(tmp_path, f"s-{i}", answers, **{f"only_{i}": i})
    compact_prediction_log(str(tmp_path), "api")

    for name, read in READERS.items():
        assert present(read(day(tmp_path))) == stored, name
    assert values(day(tmp_path)) == stored
    assert values(day(tmp_path), "feature.f") == stored


ANSWERS = st.one_of(
    st.lists(st.booleans(), max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
    st.lists(st.integers(-(10**30), 10**30), max_size=3),
    st.lists(st.floats(-1e15, 1e15).map(lambda value: round(value, 6)), max_size=3),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=3),
    st.lists(st.none(), max_size=3),
)


@settings(max_examples=8, deadline=None)
@given(parts=st.lists(ANSWERS, min_size=1, max_size=4), n_early=st.integers(0, 4))
@example(parts=[[True], [2], ["x"]], n_early=2)
@example(parts=[[1], [0.5], ["x"]], n_early=2)
@example(parts=[[2**53 + 1], [0.5], ["x"]], n_early=2)
@example(parts=[[None], [0.5]], n_early=1)
@example(parts=[[], [0.5]], n_early=1)
def test_our_reader_gives_the_same_before_and_after_however_often_a_day_is_levelled(
    parts: list[list[Any]], n_early: int
) -> None:
    tables = [
        log_table("prediction", [{"prediction": value, "features": {"f": value}} for value in part])
        for part in parts
    ]
    with TemporaryDirectory() as raw, TemporaryDirectory() as root:
        for folder in (Path(raw), day(root)):
            folder.mkdir(parents=True, exist_ok=True)
        log = LogFiles(root, "api")
        for i, table in enumerate(tables):
            pq.write_table(table, f"{raw}/part-{i}-0.parquet")
            pq.write_table(table, day(root) / f"part-{i}-0.parquet")
            # as in a night that comes while the day still lasts
            if i + 1 == n_early:
                level_day(log, "prediction", DAY)
        before = values(Path(raw))
        n_rows = level_day(log, "prediction", DAY)
        after = values(day(root))
        others = [READERS[name](day(root)) for name in ("pyarrow", "parquet")]
        levelled = len(schemas(day(root)))
        stamps = [path.stat().st_mtime_ns for path in sorted(day(root).iterdir())]
        level_day(log, "prediction", DAY)
        again = [path.stat().st_mtime_ns for path in sorted(day(root).iterdir())]

    assert [meaning(value) for value in after] == [meaning(value) for value in before]
    assert n_rows == len(before)
    assert levelled == 1
    assert again == stamps
    for found in others:
        assert [meaning(value) for value in found] == [meaning(value) for value in before]


def test_only_parts_that_deviate_are_written_again(tmp_path: Path) -> None:
    for i, answers in enumerate(([0.5], [1], [1.5])):
        put(tmp_path, f"s-{i}", answers)
    compact_prediction_log(str(tmp_path), "api")
    before = {path.name: path.stat().st_ino for path in day(tmp_path).glob("part-*")}
    put(tmp_path, "s-3", [7])
    compact_prediction_log(str(tmp_path), "api")
    after = {path.name: path.stat().st_ino for path in day(tmp_path).glob("part-*")}

    assert {name: after[name] for name in before} == before
    assert values(day(tmp_path)) == [0.5, 1.0, 1.5, 7.0]


def test_a_levelled_day_still_knows_its_rows(tmp_path: Path) -> None:
    put(tmp_path, "s-0", [True])
    put(tmp_path, "s-1", ["x"])
    compact_prediction_log(str(tmp_path), "api")
    put(tmp_path, "s-0", [True])  # the segment again, as after a kill
    put(tmp_path, "s-2", [1.5])
    again = (tmp_path / "sealed/api/s-1.jsonl", tmp_path / "sealed/api/s-9.jsonl")
    put(tmp_path, "s-1", ["x"])
    again[0].rename(again[1])  # the rows of another
    report = compact_prediction_log(str(tmp_path), "api")

    assert (report.n_predictions, report.n_duplicates) == (2, 1)
    assert sorted(values(day(tmp_path))) == ["1", "1.5", "x"]
    assert len(schemas(day(tmp_path))) == 1


@pytest.mark.parametrize("kind", ["prediction", "feedback", "window"])
def test_an_empty_day_among_others_is_read_with_them(tmp_path: Path, kind: Any) -> None:
    """In order of the days the first decides what `pyarrow.dataset` takes the others for."""
    put(tmp_path, "s-0", [0.5], of="2026-03-01")
    put(tmp_path, "s-1", [1.5], of="2026-03-04")
    report = compact_prediction_log(str(tmp_path), "api")
    for each in ("2026-03-02", "2026-03-03"):
        report = with_day(report, str(tmp_path), each)

    assert (report.day, report.n_day_predictions) == ("2026-03-03", 0)
    empty = day(tmp_path, kind)
    assert [path.name for path in empty.iterdir()] == ["part-empty.parquet"]
    if kind == "prediction":
        assert schemas(empty) == schemas(day(tmp_path, of="2026-03-01"))
        table = ds.dataset([*map(str, sorted(empty.parent.rglob("*.parquet")))][1:]).to_table()
        assert table["prediction"].to_pylist() == [1.5]
        assert table["feature.f"].to_pylist() == [1.5]


def test_rows_that_come_late_to_an_empty_day_decide_what_it_is(tmp_path: Path) -> None:
    with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)
    assert pq.read_schema(day(tmp_path) / "part-empty.parquet").field("prediction").type == "string"
    put(tmp_path, "s-0", [0.5])
    compact_prediction_log(str(tmp_path), "api")

    assert len(schemas(day(tmp_path))) == 1
    assert READERS["pyarrow"](day(tmp_path)) == [0.5]


def test_a_day_of_an_earlier_release_is_levelled_when_it_is_handed_on(tmp_path: Path) -> None:
    day(tmp_path).mkdir(parents=True)
    for i, answer in enumerate((1, "x")):
        table = log_table("prediction", [{"prediction": answer}]).drop_columns(["error_text"])
        pq.write_table(table, day(tmp_path) / f"part-{i}-0.parquet")
    report = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)

    assert report.n_day_predictions == 2
    assert READERS["polars"](day(tmp_path)) == ["1", "x"]
    assert "error_text" in pq.read_schema(day(tmp_path) / "part-0-0.parquet").names


def test_foreign_columns_that_nothing_holds_together_stay_as_they_are(tmp_path: Path) -> None:
    day(tmp_path).mkdir(parents=True)
    rows: list[dict[str, Any]] = [{"request_id": "a"}]
    for i, odd in enumerate((pa.array([[1]]), pa.array(["x"]), pa.array([{"a": 1}]))):
        table = log_table("prediction", rows).append_column("odd", odd)
        pq.write_table(table, day(tmp_path) / f"part-{i}-0.parquet")
    put(tmp_path, "s-9", [1])
    compact_prediction_log(str(tmp_path), "api")

    assert values(day(tmp_path), "request_id") == ["a", "a", "a", "s-9-0"]
    kept = pq.ParquetFile(day(tmp_path) / "part-2-0.parquet").read(["odd"])
    assert kept["odd"].to_pylist() == [{"a": 1}]


def test_a_reader_at_the_same_time_reads_whole_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        put(tmp_path, f"s-{i}", [i or "x"])
    real = LogFiles.write_part
    found: list[int] = []

    def reads(self: LogFiles, *args: Any) -> None:
        real(self, *args)
        source = open_source(day(tmp_path))
        found.append(len(source.column("prediction")))

    monkeypatch.setattr(LogFiles, "write_part", reads)
    compact_prediction_log(str(tmp_path), "api")

    assert found == [1, 2, 3, 3, 3]
    assert not list(day(tmp_path).glob("_incomplete*"))
