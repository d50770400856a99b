"""Whatever lies in a log, the night goes on: good rows are in the tables, the rest is put aside."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log, with_day
from flytekitplugins.wbmon.monitor.prediction_log.files import LogFiles
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport
from flytekitplugins.wbmon.monitor.prediction_log.schema import SCHEMA_VERSION, day_folder
from flytekitplugins.wbmon.monitor.prediction_log.store import LogStore
from flytekitplugins.wbmon.storage.segments.json_lines import to_line

DAY = "2026-03-01"


def line(name: str, **more: Any) -> bytes:
    at = f"{DAY}T10:00:00.000001+00:00"
    return to_line({"kind": "prediction", "timestamp": at, "request_id": name, **more})


def raw(text: str) -> bytes:
    """A line that JSON allows and `to_line` would not write."""
    said = line("odd").decode().rstrip()
    return f"{said[:-1]},{text}}}\n".encode()


def window(**more: Any) -> bytes:
    at = f"{DAY}T10:00:00.000000+00:00"
    return to_line({"kind": "window", "window_start": at, "requests": 1, **more})


def at(text: Any) -> bytes:
    return line("odd", timestamp=text)


BAD: Mapping[str, bytes] = {
    "half a line": b'{"kind":"prediction","req\n',
    "text": b'"text"\n',
    "a list": b"[1, 2]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "true": b"true\n",
    "no JSON": b"{not json\n",
    "two objects": line("x").rstrip() + line("y"),
    "single quotes": b"{'kind': 'prediction'}\n",
    "Latin-1": b'{"kind":"prediction","route":"\xe9"}\n',
    "binary": bytes(each for each in range(256) if each != 10) + b"\n",
    "NUL bytes": b"\0" * 100 + b"\n",
    "NUL bytes before a row": b"\0" * 7 + line("x"),
    "UTF-16": line("x").decode().rstrip().encode("utf-16-le") + b"\n",
    "10,000 deep": b"[" * 10_000 + b"]" * 10_000 + b"\n",
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"\n",
    "an unknown kind": b'{"kind":"span","timestamp":"2026-03-01T10:00:00+00:00"}\n',
    "a kind that is a list": b'{"kind":["prediction"],"timestamp":"2026-03-01T10:00:00"}\n',
    "a kind that is null": b'{"kind":null,"timestamp":"2026-03-01T10:00:00"}\n',
    "no time": b'{"kind":"prediction","request_id":"x"}\n',
    "a time that is none": at("yesterday"),
    "a time that is a number": at(1_790_000_000),
    "a time that is a list": at(["2026-03-01"]),
    "a time before the year 1": at("0001-01-01T00:00:00+14:00"),
    "a time after the year 9999": at("9999-12-31T23:59:59-14:00"),
    "a time in the year 10000": at("10000-01-01T00:00:00+00:00"),
    "the 30th of February": at("2026-02-30T00:00:00+00:00"),
    "a time with a path": at("../../../../../../etc/x+00:00"),
    "a window without a time": b'{"kind":"window","requests":1}\n',
    "a version that is text": line("x", schema_version="1"),
    "a version that is a list": line("x", schema_version=[1]),
    "5,000 digits": raw(f'"score":{"9" * 5000}'),
    "a cut escape": raw('"route":"\\ud8'),
    "a control character": b'{"kind":"prediction","route":"\x01"}\n',
    "latencies that are no histogram": window(latency=[1]),
    "errors that are no counts": window(errors={"a": "x", "b": None}, status=[200]),
}
GOOD: Mapping[str, bytes] = {
    "a blank line": b"\n\r\n  \n",
    "a byte order mark": b"\xef\xbb\xbf" + line("odd"),
    "CRLF": line("odd").rstrip() + b"\r\n",
    "spaces": b"   " + line("odd"),
    "duplicate keys": raw('"route":"/a","route":"/b"'),
    "2**64 - 1": raw(f'"score":{2**64 - 1},"prediction":{2**64 - 1},"attempts":{2**64 - 1}'),
    "2**70": raw(f'"features":{{"n":{2**70}}},"gen_ai_usage_input_tokens":{2**70}'),
    "1e400": raw('"score":1e400,"prediction":-1e400,"features":{"n":1e400}'),
    "NaN": raw('"score":NaN,"prediction":Infinity,"features":{"n":-Infinity}'),
    "half an emoji": raw('"route":"\\ud83d","prediction":"\\udc00","features":{"\\ud83d":1}'),
    "escaped NUL": raw('"route":"\\u0000","features":{"\\u0000":"\\u0000"}'),
    "900 deep": raw(f'"prediction":{"[" * 900}{"]" * 900}'),
    "long": raw(f'"input_text":"{"x" * 3_000_000}"'),
    "a version that is null": line("odd", schema_version=None),
    "version true": line("odd", schema_version=True),
    "version -1": line("odd", schema_version=-1),
    "features that are a list": line("odd", features=[1], cat_features="x"),
    "features in features": line("odd", features={"a": {"b": 1}, "c": [[1], "x"], "": None}),
    "types of another service": line("odd", score=[], status_code={}, stage_ms=[1], truncated="x"),
    "documents that are none": line("odd", retrieved_documents={"id": 1}, attempts="many"),
    "a tenant that is a list": line("odd", tenant=["a"], instance={"a": 1}, request_id=[1]),
    "the year 1": at("0001-01-01T00:00:00+00:00"),
    "the year 9999": at("9999-12-31T23:59:59.999999+00:00"),
    "the year 2099": at("2099-01-01T00:00:00Z"),
    "a week": at("2026-W10-7T10:00:00.000001+00:00"),
    "a comma": at("2026-03-01T10:00:00,000002+00:00"),
    "a window": window(),
    "dropped rows that are text": window(dropped_rows="many"),
    "dropped rows that are a list": window(dropped_rows=[1]),
    "dropped rows beyond int64": window(dropped_rows=2**70),
    "a tenant of a window that is a list": window(tenant=["a"], route={"a": 1}),
    "a rating": to_line({"kind": "feedback", "timestamp": DAY, "label": ["x"], "feedback_id": [1]}),
}


def put(root: Path | str, name: str, data: bytes, state: str = "sealed") -> Path:
    path = Path(root) / state / "api" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def rows(root: Path | str, name: str = "request_id", table: str = "prediction_log") -> list[Any]:
    found: list[Any] = []
    for part in sorted(Path(root, table).rglob("part-*.parquet")):
        found += pq.ParquetFile(part).read([name])[name].to_pylist()
    return found


def put_aside(root: Path | str) -> list[dict[str, Any]]:
    folder = Path(root, "quarantine", "service=api")
    return [
        json.loads(each)
        for path in sorted(folder.glob("*.jsonl"))
        for each in path.read_bytes().splitlines()
    ]


def content(row: Mapping[str, str]) -> bytes:
    return base64.b64decode(row["line_base64"]) if "line_base64" in row else row["line"].encode()


def written(report: CompactionReport) -> int:
    return report.n_predictions + report.n_feedback + report.n_windows


def test_what_is_no_row_is_put_aside_and_the_rows_around_it_are_there(tmp_path: Path) -> None:
    assert len(BAD) + len(GOOD) >= 54
    for i, data in enumerate((*BAD.values(), *GOOD.values())):
        put(tmp_path, f"s-{i:03}", line(f"before-{i}") + data + line(f"after-{i}"))
    report = compact_prediction_log(str(tmp_path), "api")

    found = rows(tmp_path)
    for i in range(len(BAD) + len(GOOD)):
        assert {f"before-{i}", f"after-{i}"} <= set(found), [*BAD, *GOOD][i]
    assert report.n_torn == len(BAD)
    # of the good ones a blank line is no row
    n_lines = len(BAD) + len(GOOD) - 1 + 2 * (len(BAD) + len(GOOD))
    assert written(report) + report.n_duplicates + report.n_torn == n_lines
    assert (report.n_left, report.n_damaged) == (0, 0)
    aside = put_aside(tmp_path)
    assert [content(each) + b"\n" for each in aside] == [*BAD.values()]
    assert [each["segment"] for each in aside] == [f"s-{i:03}" for i in range(len(BAD))]
    assert all(each["reason"] for each in aside)
    assert [each["offset"] for each in aside] == [len(line(f"before-{i}")) for i in range(len(BAD))]
    assert list((tmp_path / "sealed/api").iterdir()) == []
    for day in ("0001-01-01", DAY, "2099-01-01", "9999-12-31"):
        assert open_source(day_folder(str(tmp_path), "prediction", "api", day)).n_rows


def test_a_torn_tail_is_put_aside_with_a_reason_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, "s-1", line("a") + line("b").rstrip())
    report = compact_prediction_log(str(tmp_path), "api")

    (tail,) = put_aside(tmp_path)
    assert (rows(tmp_path), report.n_torn) == (["a"], 1)
    assert "cut off" in tail["reason"]
    assert tail["offset"] == len(line("a"))
    assert content(tail) == line("b").rstrip()


def test_lines_that_are_put_aside_are_said_everywhere(tmp_path: Path) -> None:
    put(tmp_path, "s-1", line("a") + b"{torn\n")
    report = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)

    said = "1 lines could not be read and are in the quarantine"
    assert said in report.unmeasured
    assert said in report.reason
    assert "nothing lost" not in report.reason
    page = report.to_html()
    assert "1 lines in quarantine" in page
    assert 'class="verdict warn"' in page


LOST = ("n_torn", "n_dropped", "n_left", "n_damaged", "n_conflicts")


@pytest.mark.parametrize("name", LOST)
def test_nothing_is_lost_only_where_no_count_says_so(name: str) -> None:
    whole = CompactionReport(service="api", n_segments=1, n_predictions=1, reason="")
    lossy = CompactionReport(
        service="api", n_segments=1, n_predictions=1, reason="", **{name: 12_345}
    )

    assert not whole.unmeasured
    assert "12,345" in lossy.unmeasured
    assert 'class="verdict good"' in whole.to_html()
    assert 'class="verdict good"' not in lossy.to_html()


STEPS = (
    (LogStore, "put"), (LogStore, "move"), (LogFiles, "note"), (LogFiles, "delete_segment"),
)  # fmt: skip


def test_a_kill_at_any_point_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def night(root: Path, dies_at: int) -> int:
        """How many files were written or moved before the night was over, or died."""
        n = 0

        def counted(owner: type, name: str) -> Any:
            real = getattr(owner, name)

            def call(self: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal n
                if n == dies_at:
                    raise KeyboardInterrupt
                n += 1
                return real(self, *args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for owner, name in STEPS:
                patch.setattr(owner, name, counted(owner, name))
            try:
                compact_prediction_log(str(root), "api")
            except KeyboardInterrupt:
                return n
            return n

    def begin(name: str) -> Path:
        put(tmp_path / name, "s-1", line("a", prediction=1) + b"{torn\n" + window())
        put(tmp_path / name, "s-2", line("a") + line("b", prediction="x") + b"\xff")
        return tmp_path / name

    def state(root: Path) -> dict[str, Any]:
        files = [path for path in root.rglob("*") if path.is_file()]
        names = {
            str(path.relative_to(root)): path for path in files if "_incomplete" not in str(path)
        }
        return {
            name: pq.ParquetFile(path).read().to_pylist()
            if name.endswith(".parquet")
            else path.read_bytes()
            for name, path in names.items()
        }

    whole = begin("whole")
    n_steps = night(whole, -1)
    assert n_steps > 10
    for dies_at in range(n_steps):
        root = begin(f"dies-{dies_at}")
        assert night(root, dies_at) == dies_at
        night(root, -1)
        assert state(root) == state(whole), dies_at


def test_folders_and_foreign_files_among_the_segments_are_left_and_counted(tmp_path: Path) -> None:
    put(tmp_path, "s-1", line("a"))
    put(tmp_path, "s-2", b"")
    folder = tmp_path / "sealed/api"
    (folder / "s-3.jsonl").mkdir()
    (folder / "readme.txt").write_text("hello")
    (folder / ".DS_Store").write_text("")
    (tmp_path / "open/api/o-1.jsonl").mkdir(parents=True)
    os.utime(tmp_path / "open/api/o-1.jsonl", (0, 0))
    report = compact_prediction_log(str(tmp_path), "api")

    assert rows(tmp_path) == ["a"]
    assert (report.n_segments, report.n_left) == (2, 2)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".DS_Store", "readme.txt", "s-3.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"[]", b"7", b"null", b"\xff", b'{"segments": []}', b'{"segments": {"a": 1}}',
     b'{"segments": {"a": {"rows": "x"}}}', b'{"segments": {"a": {"rows": 1e400}}}', b"[" * 10_000],
)  # fmt: skip
def test_a_manifest_that_is_none_is_put_aside_and_made_again(tmp_path: Path, said: bytes) -> None:
    put(tmp_path, "s-1", line("a") + line("b"))
    compact_prediction_log(str(tmp_path), "api")
    day = Path(day_folder(str(tmp_path), "prediction", "api", DAY))
    (day / "_manifest.json").write_bytes(said)
    put(tmp_path, "s-2", line("b") + line("c"))
    report = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)

    assert (report.n_predictions, report.n_duplicates, report.n_damaged) == (1, 1, 1)
    assert report.n_day_predictions == 3
    assert json.loads((day / "_manifest.json").read_text())["rows"] == 3
    aside = tmp_path / "quarantine/service=api/prediction_log" / f"dt={DAY}" / "_manifest.json"
    assert aside.read_bytes() == said


def break_part(root: Path, segment: str, keep: int) -> None:
    part = Path(day_folder(str(root), "prediction", "api", DAY), f"part-{segment}-0.parquet")
    part.write_bytes(part.read_bytes()[:keep])


@pytest.mark.parametrize("keep", [0, 4, 100])
def test_a_torn_part_is_put_aside_and_the_day_is_read(tmp_path: Path, keep: int) -> None:
    put(tmp_path, "s-1", line("a"))
    put(tmp_path, "s-2", line("b"))
    compact_prediction_log(str(tmp_path), "api")
    break_part(tmp_path, "s-1", keep)
    put(tmp_path, "s-3", line("b") + line("c"))
    report = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)

    assert (report.n_damaged, report.n_duplicates, report.n_day_predictions) == (1, 1, 2)
    assert "1 parts or manifests could not be read" in report.unmeasured
    day = day_folder(str(tmp_path), "prediction", "api", DAY)
    assert open_source(day).column("request_id").to_pylist() == ["b", "c"]
    aside = tmp_path / "quarantine/service=api/prediction_log" / f"dt={DAY}"
    assert (aside / "part-s-1-0.parquet").stat().st_size == keep


def test_a_torn_part_whose_segment_was_kept_is_made_again_by_the_next_night(tmp_path: Path) -> None:
    put(tmp_path, "s-1", line("a"))
    compact_prediction_log(str(tmp_path), "api", keep_segments=True)
    break_part(tmp_path, "s-1", 50)
    torn = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)
    again = with_day(compact_prediction_log(str(tmp_path), "api"), str(tmp_path), DAY)

    assert (torn.n_damaged, torn.n_day_predictions) == (1, 0)
    assert (again.n_damaged, again.n_day_predictions) == (0, 1)
    assert rows(tmp_path) == ["a"]


def test_a_window_that_differs_from_the_first_is_left_out_and_counted(tmp_path: Path) -> None:
    latency = {"scale": 2, "offset": 0, "counts": [1, 2], "zero_count": 0, "sum": 0.1}
    first = window(requests=5, errors={"x": 1}, latency=latency)
    put(tmp_path, "s-1", first + window(requests=7, tenant="t"))
    put(tmp_path, "s-2", first + window(requests=6))
    here = compact_prediction_log(str(tmp_path), "api")
    put(tmp_path, "s-3", window(requests=8, tenant="t") + first)
    later = compact_prediction_log(str(tmp_path), "api")

    assert (here.n_windows, here.n_duplicates, here.n_conflicts) == (2, 2, 1)
    assert (later.n_windows, later.n_duplicates, later.n_conflicts) == (0, 2, 1)
    assert "1 windows differ" in later.unmeasured
    assert rows(tmp_path, "requests", "serving_window") == [5, 7]


def test_a_row_that_no_table_holds_is_put_aside_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flytekitplugins.wbmon.monitor.prediction_log import compact

    real = compact.log_table

    def fails(kind: Any, given: Any) -> pa.Table:
        if any(row["request_id"] == "bad" for row in given):
            raise pa.ArrowInvalid
        return real(kind, given)

    monkeypatch.setattr(compact, "log_table", fails)
    put(tmp_path, "s-1", line("a") + line("bad") + line("b"))
    report = compact_prediction_log(str(tmp_path), "api")

    assert (rows(tmp_path), report.n_torn) == (["a", "b"], 1)
    assert content(put_aside(tmp_path)[0]) + b"\n" == line("bad")


ODD = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([*BAD.values(), *(v for v in GOOD.values() if len(v) < 10_000)]),
    st.builds(
        lambda data, place, more: data[: place % len(data)] + more + data[place % len(data) :],
        st.sampled_from([line("odd", prediction="x", features={"a": 1}), window(dropped_rows=1)]),
        st.integers(0, 1000),
        st.sampled_from([b"\0", b"\n", b'"', b"}", b"\\", b"\xff", b"9" * 400, b"[" * 2000, b","]),
    ),
)


@settings(max_examples=20, deadline=None)
@given(pieces=st.lists(ODD, max_size=6), cut=st.integers(0, 60))
@example(pieces=[b'{"schema_version":2}'], cut=0)
def test_any_bytes_between_good_lines_cost_no_good_line(pieces: list[bytes], cut: int) -> None:
    good = [line(f"good-{i}") for i in range(len(pieces) + 1)]
    data = b"".join(one + piece + b"\n" for one, piece in zip(good, [*pieces, b""], strict=True))
    tail = line("tail")[:cut]
    with TemporaryDirectory() as root:
        put(root, "s-1", data + tail)
        report = compact_prediction_log(root, "api")
        found, aside = rows(root), put_aside(root)

    if report.n_left:  # a row said that it is of a newer schema
        assert found == []
        return
    assert {f"good-{i}" for i in range(len(good))} <= set(found)
    lines = [each for each in (data + tail).split(b"\n") if each.strip()]
    assert written(report) + report.n_duplicates + len(aside) == len(lines)
    assert report.n_torn == len(aside)
    assert {content(each) for each in aside} <= set(lines)


def test_the_good_rows_are_as_they_would_be_alone(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc).date().isoformat()
    assert now > DAY
    row = {"prediction": 0.5, "features": {"a": 1, "b": "x"}, "schema_version": SCHEMA_VERSION}
    put(tmp_path / "alone", "s-1", line("a", **row))
    put(tmp_path / "mixed", "s-1", b"".join(BAD.values()) + line("a", **row))
    found = []
    for name in ("alone", "mixed"):
        compact_prediction_log(str(tmp_path / name), "api")
        day = Path(day_folder(str(tmp_path / name), "prediction", "api", DAY))
        found.append(pq.ParquetFile(day / "part-s-1-0.parquet").read())
    assert found[0].equals(found[1])
