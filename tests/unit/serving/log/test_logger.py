from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from flytekitplugins.wbmon.errors import ConfigError, DataError
from flytekitplugins.wbmon.monitor.prediction_log.identifiers import new_request_id, unit_share
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    FEEDBACK_COLUMNS,
    PREDICTION_COLUMNS,
    WINDOW_COLUMNS,
)
from flytekitplugins.wbmon.serving import Experiment, PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.segments import upload
from flytekitplugins.wbmon.storage.segments.writer import SegmentWriter
from support.prediction_log import read_rows, segments, total
from support.waiting import wait_until

ALL = SamplingPolicy(rate=1.0)
Make = Callable[..., PredictionLogger]


@pytest.fixture
def make(tmp_path: Path) -> Any:
    made: list[PredictionLogger] = []

    def build(**settings: Any) -> PredictionLogger:
        settings = {"sampling": ALL, **settings}
        made.append(PredictionLogger("digits", str(tmp_path), **settings))
        return made[-1]

    yield build
    for each in made:
        each.close()


def only_row(tmp_path: Path, kind: str = "prediction") -> dict[str, Any]:
    (row,) = read_rows(tmp_path, kind)
    return row


def test_a_prediction_becomes_a_row_of_the_contract(make: Make, tmp_path: Path) -> None:
    log = make(model="m", model_version="3", deployment="blue", user_key="k")
    name = log.log_prediction(
        features={"amount": 3.5, "n": 2, "is_new": True, "country": "de", "none": None},
        prediction="fraud",
        score=0.9,
        latency_ms=12.5,
        tenant="acme",
        user="bob",
        session_id="s1",
        prompt_name="p",
    )
    log.log_feedback(name, "thumbs", score=1.0, comment="mail me@x.com")
    log.close()

    row = only_row(tmp_path)
    assert row["features"] == {"amount": 3.5, "n": 2, "is_new": True}
    assert row["cat_features"] == {"country": "de"}
    assert (row["prediction"], row["score"], row["prompt_name"]) == ("fraud", 0.9, "p")
    assert (row["model"], row["model_version"], row["deployment"]) == ("m", "3", "blue")
    assert (row["tenant"], row["session_id"], row["latency_ms"]) == ("acme", "s1", 12.5)
    assert (row["sample_reason"], row["sample_weight"]) == ("rate", 1.0)
    assert len(row["user_hash"]) == 64
    assert "bob" not in json.dumps(row)
    said = only_row(tmp_path, "feedback")
    assert (said["request_id"], said["comment"]) == (name, "mail [EMAIL]")
    beside = {"kind", "features", "cat_features"}
    assert row.keys() - beside <= PREDICTION_COLUMNS.keys()
    assert said.keys() - beside <= FEEDBACK_COLUMNS.keys()
    assert only_row(tmp_path, "window").keys() - beside <= WINDOW_COLUMNS.keys()


def test_numbers_of_numpy_and_undefined_ones_are_written_as_json(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    log.log_prediction(
        features={"a": np.float32(0.5), "b": np.int64(7), "c": math.nan, "d": np.bool_(True)},
        prediction=np.int64(4),
        score=math.nan,
        output_text={"scores": np.array([0.25, np.nan])},
    )
    log.close()

    row = only_row(tmp_path)
    assert row["features"] == {"a": 0.5, "b": 7, "d": True}
    assert row["prediction"] == 4
    assert row.get("score") is None
    assert json.loads(row["output_text"]) == {"scores": [0.25, None]}


def test_what_happens_in_a_request_belongs_to_it(make: Make, tmp_path: Path) -> None:
    log = make()
    with log.request("/answer", tenant="acme") as request:
        with log.stage("retrieval"), log.stage("embedding"):
            pass
        name = log.log_prediction(prediction="yes", features={"n": 1})
        log.log_prediction(features={"m": 2})
    log.close()

    row = only_row(tmp_path)
    assert name == request.request_id == row["request_id"]
    assert row["features"] == {"n": 1, "m": 2}
    assert row["stage_ms"].keys() == {"retrieval", "embedding", "other"}
    assert sum(row["stage_ms"].values()) == pytest.approx(row["latency_ms"], abs=1e-3)


def test_an_exception_whose_text_cannot_be_made_is_noted_and_raised_as_it_was(
    make: Make, tmp_path: Path
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    log = make()
    with pytest.raises(MuteError), log.request("/r"):
        raise MuteError
    log.close()
    assert only_row(tmp_path)["error_type"] == "MuteError"


def test_an_exception_is_noted_and_raised_as_it_was(make: Make, tmp_path: Path) -> None:
    log = make(sampling=SamplingPolicy(rate=0.0))
    error = ValueError("cannot reach me@x.com")
    with pytest.raises(ValueError, match="cannot reach") as caught, log.request("/r"):
        raise error
    log.close()

    assert caught.value is error
    row = only_row(tmp_path)
    assert (row["error_type"], row["error_text"]) == ("ValueError", "cannot reach [EMAIL]")
    assert (row["status_code"], row["sample_reason"]) == (500, "error")


def test_a_decorated_function_is_a_request_each_time(make: Make, tmp_path: Path) -> None:
    log = make()

    @log.track("double")
    def double(x: int) -> int:
        return 2 * x

    @log.track("later")
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert double(4) == 8
    assert asyncio.run(later(4)) == 5
    log.close()
    assert [row["route"] for row in read_rows(tmp_path)] == ["double", "later"]


def test_requests_that_overlap_do_not_mix(make: Make, tmp_path: Path) -> None:
    log = make()

    async def serve(i: int) -> None:
        with log.request("/r", tenant=f"t{i}"):
            await asyncio.sleep(0.001 * (i % 3))
            log.log_prediction(features={"i": i})

    async def serve_all() -> None:
        await asyncio.gather(*(serve(i) for i in range(100)))

    asyncio.run(serve_all())
    log.close()
    rows = read_rows(tmp_path)
    assert len(rows) == 100
    assert all(row["tenant"] == f"t{row['features']['i']}" for row in rows)
    assert read_rows(tmp_path, "window")[0]["in_flight_max"] == 100


def test_every_request_is_accounted_for_whatever_happens_to_its_row(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make(sampling=SamplingPolicy(rate=0.5), max_queue=50, flush_interval=0.2)

    def serve() -> None:
        for _ in range(500):
            log.log_prediction(prediction=1.0, latency_ms=1.0)

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with caplog.at_level(logging.WARNING):
        stats = log.close()

    assert stats.served == 2000
    assert stats.served == stats.logged + stats.sampled_out + stats.dropped
    assert stats.dropped > 0
    assert len(read_rows(tmp_path)) == stats.logged
    assert total(tmp_path, "requests") == 2000
    assert total(tmp_path, "dropped_rows") == stats.dropped
    assert total(tmp_path, "sampled_rows") == stats.logged
    assert sum("rows dropped" in record.message for record in caplog.records) <= 1


def test_a_flood_that_the_writer_cannot_keep_up_with_does_not_hold_back_the_windows(
    make: Make, tmp_path: Path
) -> None:
    class Slow:
        def text(self, text: str) -> tuple[str, int]:
            time.sleep(0.001)
            return text, 0

    log = make(redactor=Slow(), max_queue=100, window=0.2)
    is_over = threading.Event()

    def flood() -> None:
        while not is_over.is_set():
            for _ in range(50):
                log.log_prediction(input_text="x", latency_ms=1.0)
            time.sleep(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        wait_until(lambda: len(read_rows(tmp_path, "window")) >= 3)
    finally:
        is_over.set()
        thread.join(60)
    stats = log.close()
    assert total(tmp_path, "requests") == stats.served


def test_after_closing_requests_are_counted_and_their_rows_dropped(make: Make) -> None:
    log = make()
    log.log_prediction(prediction=1.0)
    log.close()
    log.log_prediction(prediction=2.0)

    assert (log.stats.served, log.stats.logged, log.stats.dropped) == (2, 1, 1)


def test_a_request_that_cannot_be_counted_reaches_no_caller_and_is_dropped(make: Make) -> None:
    log = make()
    with log.request("/r") as request:
        request.tenant = ["unhashable"]  # type: ignore[assignment]
    log.log_prediction(prediction=1.0)
    stats = log.close()

    assert (stats.served, stats.logged, stats.dropped, stats.failed) == (2, 1, 1, 1)


def test_a_redactor_that_fails_costs_the_texts_and_not_the_numbers(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def text(self, text: str) -> tuple[str, int]:
            raise RuntimeError(f"cannot read {text}")

    log = make(redactor=Broken())
    log.log_prediction(
        features={"c": "secret", "n": 7}, input_text="secret", prediction="secret", score=0.5,
        latency_ms=3.0,
    )  # fmt: skip
    stats = log.close()

    row = only_row(tmp_path)
    assert "secret" not in json.dumps(row)
    assert "secret" not in caplog.text
    assert (row["latency_ms"], row["score"], row["features"]) == (3.0, 0.5, {"n": 7})
    # one for each text
    assert stats.failed == 3


def test_without_a_redactor_texts_are_kept_and_cut_to_length(make: Make, tmp_path: Path) -> None:
    log = make(redactor=None, max_text=10)
    log.log_prediction(input_text="me@x.com wrote", output_text="short")
    log.close()

    row = only_row(tmp_path)
    assert (row["input_text"], row["output_text"]) == ("me@x.com w", "short")
    assert row["truncated"] is True


def test_a_segment_is_sealed_when_it_is_large_and_when_the_log_closes(
    make: Make, tmp_path: Path
) -> None:
    log = make(segment_bytes=2_000)
    for i in range(100):
        log.log_prediction(features={"i": i})
        if i % 20 == 19:  # what is written at a time is never cut in two
            wait_until(lambda n=i + 1: log.stats.logged == n)
    log.close()

    assert segments(tmp_path, "open") == []
    assert len(segments(tmp_path, "sealed")) > 3
    assert sorted(row["features"]["i"] for row in read_rows(tmp_path)) == list(range(100))


def test_windows_count_by_route_tenant_and_error(make: Make, tmp_path: Path) -> None:
    log = make(sampling=SamplingPolicy(rate=0.0, error_rate=0.0))
    for route, tenant, error in [("/a", "t", None), ("/a", "t", KeyError), ("/b", "u", None)]:
        with suppress(KeyError), log.request(route, tenant=tenant):
            if error:
                raise error
    log.close()

    windows = {(row["route"], row["tenant"]): row for row in read_rows(tmp_path, "window")}
    assert windows["/a", "t"]["requests"] == 2
    assert windows["/a", "t"]["errors"] == {"KeyError": 1}
    assert windows["/a", "t"]["status"] == {"2xx": 1, "5xx": 1}
    assert sum(windows["/b", "u"]["latency"]["counts"]) == 1
    assert read_rows(tmp_path) == []


def test_endless_routes_take_bounded_memory(make: Make, tmp_path: Path) -> None:
    log = make(sampling=SamplingPolicy(rate=0.0))
    for i in range(1500):
        with log.request(f"/{i}"):
            pass
    log.close()

    rows = read_rows(tmp_path, "window")
    assert len(rows) <= 2 * 1001
    assert total(tmp_path, "requests") == 1500


def test_windows_go_to_the_sinks_and_a_sink_that_fails_harms_nothing(
    make: Make, tmp_path: Path
) -> None:
    class Sink:
        def __init__(self) -> None:
            self.n = 0
            self.closed = False

        def write_windows(self, rows: Any, now: float) -> None:
            self.n += sum(row["requests"] for row in rows)

        def close(self) -> None:
            self.closed = True

    class Broken(Sink):
        def write_windows(self, rows: Any, now: float) -> None:
            raise RuntimeError("down")

    good, broken = Sink(), Broken()
    log = make(sinks=[broken, good])
    log.log_prediction(prediction=1.0)
    stats = log.close()

    assert (good.n, good.closed, broken.closed) == (1, True, True)
    assert stats.failed == 1
    assert len(read_rows(tmp_path)) == 1


def test_feedback_is_checked_and_the_same_say_has_the_same_id(make: Make) -> None:
    log = make()

    assert log.log_feedback("r1", "thumbs", score=1.0) == log.log_feedback("r1", "thumbs", score=0)
    assert log.log_feedback("r1", "thumbs", source="annotator") != log.log_feedback("r1", "stars")
    wrong: list[dict[str, Any]] = [
        {"request_id": None, "name": "thumbs"},
        {"request_id": "r", "name": ""},
        {"request_id": "r", "name": "stars", "score": math.inf},
        {"request_id": "r", "name": "stars", "score": "many"},
        {"request_id": "r", "name": "label", "label": "x" * 300},
        {"request_id": "r", "name": "label", "source": "nobody"},
    ]
    for each in wrong:
        with pytest.raises(DataError):
            log.log_feedback(**each)


def test_a_variant_sticks_to_its_unit_and_is_exposed_once(make: Make, tmp_path: Path) -> None:
    log = make()
    layout = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
    variants = [log.assign(layout, f"s{i % 40}") for i in range(200)]
    with log.request("/r"):
        shown = log.assign(layout, "s1")
    log.close()

    assert variants[:40] == variants[40:80] == variants[160:]
    exposures = read_rows(tmp_path, "feedback")
    assert len(exposures) == 40
    assert {row["variant"] for row in exposures} == {"old", "new"}
    assert only_row(tmp_path)["variant"] == shown


def test_variants_are_split_as_planned_and_independently_of_other_experiments() -> None:
    one = Experiment(name="one", variants={"a": 0.2, "b": 0.8})
    two = Experiment(name="two", variants={"a": 0.5, "b": 0.5})
    units = [f"u{i}" for i in range(10_000)]
    in_a = [unit for unit in units if one.variant(unit) == "a"]

    assert len(in_a) == pytest.approx(2000, abs=150)
    assert sum(two.variant(unit) == "a" for unit in in_a) == pytest.approx(1000, abs=120)


@pytest.mark.parametrize("variants", [{"a": 1.0}, {"a": 0.5, "b": 0.6}, {"a": 1.0, "b": 0.0}])
def test_an_experiment_that_cannot_work_is_refused(variants: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Experiment(name="x", variants=variants)


def test_request_ids_are_uuids_of_version_7_in_the_order_of_time() -> None:
    from uuid import UUID

    names = [new_request_id() for _ in range(1000)]
    assert len(set(names)) == 1000
    assert {UUID(name).version for name in names} == {7}
    assert [name[:13] for name in names] == sorted(name[:13] for name in names)
    assert 0 <= unit_share(names[0]) < 1


def test_request_ids_do_not_come_again_where_a_program_seeds_its_random_numbers() -> None:
    seen = set()
    for _ in range(3):
        random.seed(7)
        seen |= {new_request_id()[19:] for _ in range(300)}

    assert len(seen) == 900


class Untellable(int):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "label",
    [["a"], {"a": 1}, np.arange(3), object(), 10**200, 10**5000, Untellable(1)],
    ids=["list", "dict", "array", "object", "long", "endless", "untellable"],
)
def test_what_cannot_be_a_label_reaches_no_caller_and_is_counted_and_told(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, label: Any
) -> None:
    log = make()
    assert log.log_feedback("r1", "label", label=label) == "r1:user:label"
    log.log_feedback("r2", "label", label="a")
    stats = log.close()

    assert only_row(tmp_path, "feedback")["label"] == "a"
    assert (stats.feedback, stats.feedback_logged, stats.feedback_dropped) == (2, 1, 1)
    assert stats.failed == 1
    assert "an error of its own" in caplog.text


@pytest.mark.parametrize(
    "nothing",
    [
        math.nan,
        np.float32("nan"),
        Decimal("NaN"),
        math.inf,
        np.float32("-inf"),
        Decimal("Infinity"),
    ],
)
def test_a_label_of_nothing_is_none(make: Make, tmp_path: Path, nothing: Any) -> None:
    log = make()
    log.log_feedback("r1", "label", label=nothing, score=0.5)
    log.close()

    row = only_row(tmp_path, "feedback")
    assert (row["score"], "label" in row) == (0.5, False)


@pytest.mark.parametrize("number", [complex(1, 2), np.complex64(1 + 2j)])
def test_a_complex_label_is_the_text_that_a_complex_prediction_is(
    make: Make, tmp_path: Path, number: Any
) -> None:
    log = make()
    log.log_feedback("r1", "label", label=number)
    log.log_prediction(prediction=number)
    log.close()

    label = only_row(tmp_path, "feedback")["label"]
    assert label == only_row(tmp_path, "prediction")["prediction"] == "(1+2j)"


def test_feedback_that_cannot_be_redacted_loses_its_comment_and_not_its_score(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def text(self, text: str) -> tuple[str, int]:
            raise RuntimeError(f"cannot read {text}")

    log = make(redactor=Broken())
    log.log_feedback("r1", "thumbs", score=1.0, comment="secret")
    stats = log.close()

    row = only_row(tmp_path, "feedback")
    assert (row["score"], "comment" in row) == (1.0, False)
    assert "secret" not in caplog.text
    assert (stats.feedback_logged, stats.failed) == (1, 1)


def test_a_column_that_is_not_in_the_contract_is_said_once_and_left_out(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    log.log_prediction(prediction=1.0, colour="red")
    log.close()

    assert "colour" in caplog.text
    assert "colour" not in only_row(tmp_path)


@pytest.mark.parametrize(
    "wrong", [{"service": "a/b"}, {"service": ""}, {"max_queue": 0}, {"window": -1.0}]
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    settings = {"service": "digits", "destination": str(tmp_path), **wrong}
    with pytest.raises(ConfigError):
        PredictionLogger(**settings)


def test_segments_go_to_a_url_and_stay_here_until_they_are_seen_there(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    log = PredictionLogger(
        "digits", "memory://log-of-a-test", sampling=ALL, spool=str(spool), segment_bytes=500
    )
    for i in range(20):
        log.log_prediction(features={"i": i})
    log.close()

    files = fsspec.filesystem("memory")
    names = files.glob("/log-of-a-test/sealed/digits/*.jsonl")
    lines = [line for name in names for line in files.cat(name).splitlines()]
    assert sum(json.loads(line)["kind"] == "prediction" for line in lines) == 20
    assert segments(spool) == []


@pytest.mark.parametrize(("orphan_after_s", "stays"), [("7200", True), ("3600", False)])
def test_the_last_word_of_a_process_leaves_alone_what_another_may_still_write_to(
    tmp_path: Path, orphan_after_s: str, *, stays: bool
) -> None:
    writer = SegmentWriter(tmp_path, "digits", "quiet", max_bytes=1000, max_age_s=7200)
    writer.append(b'{"kind":"window"}\n', time.time())
    (opened,) = segments(tmp_path, "open")
    quiet_since = time.time() - 5400
    os.utime(opened, (quiet_since, quiet_since))
    sealed = str(tmp_path / "sealed" / "digits")
    upload.main([sealed, f"memory://orphans-{orphan_after_s}", "digits", orphan_after_s])

    sent = fsspec.filesystem("memory").glob(f"/orphans-{orphan_after_s}/sealed/digits/*.jsonl")
    assert opened.exists() is stays
    assert len(sent) == (0 if stays else 1)


def test_a_url_that_cannot_be_reached_costs_no_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = PredictionLogger(
        "digits", "webhdfs://127.0.0.1:9/log", sampling=ALL, spool=str(tmp_path / "spool")
    )
    log.log_prediction(prediction=1.0)
    log.close(timeout=0.5)

    assert len(read_rows(tmp_path / "spool")) == 1
    # the thread that sends tries at least once, also after the time is up
    until = time.monotonic() + 30
    while "could not be sent" not in caplog.text and time.monotonic() < until:
        time.sleep(0.01)
    assert "could not be sent" in caplog.text


@pytest.mark.parametrize("key", [None, "secret"])
def test_a_unit_is_a_hash_that_is_the_same_in_every_log_with_the_key(
    make: Make, tmp_path: Path, key: str | None
) -> None:
    layout = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
    for log in (make(user_key=key), make(user_key=key, instance="other")):
        log.assign(layout, "ann@corp.com", session_id="s1")
        log.log_feedback("r1", "thumbs", score=1.0, unit="ann@corp.com")
        log.log_event("page_view", session_id="s1", unit="ann@corp.com")
        with log.request("predict", user="ann@corp.com"):
            log.log_prediction(prediction=1)
        log.close()

    feedback = read_rows(tmp_path, "feedback")
    assert len({row["unit"] for row in feedback}) == 1
    assert {row.get("session_id") for row in feedback} == {"s1", None}
    users = {row.get("user_hash") for row in read_rows(tmp_path)}
    assert users == ({None} if key is None else {feedback[0]["unit"]})
    assert not any(b"ann" in path.read_bytes() for path in segments(tmp_path))


def test_feedback_on_a_session_is_replaced_by_the_same_user_only(
    make: Make, tmp_path: Path
) -> None:
    log = make()
    for unit in (None, "s1", "ann", "bob", "ann"):
        log.log_feedback(None, "stars", score=5, session_id="s1", unit=unit)
    log.log_feedback(None, "bought", score=1, unit="ann")
    log.close()

    anonymous, same, ann, bob, again, bought = read_rows(tmp_path, "feedback")
    assert anonymous["feedback_id"] == same["feedback_id"]
    assert "s1" not in anonymous["feedback_id"]
    assert anonymous["unit"] == same["unit"]
    assert ann["feedback_id"] == again["feedback_id"]
    assert len({row["feedback_id"] for row in (anonymous, ann, bob, bought)}) == 4
    assert bought["unit"] == ann["unit"]
    assert "ann" not in str(read_rows(tmp_path, "feedback"))


def test_users_of_one_name_in_two_tenants_are_two_units(make: Make, tmp_path: Path) -> None:
    log = make(user_key="k", hashed=("tenant",))
    layout = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
    for tenant in ("acme", "umbrella", None, "acme"):
        variant = log.assign(layout, "ann", tenant=tenant)
        log.log_feedback(None, "stars", score=5, unit="ann", tenant=tenant)
        assert variant == layout.variant("ann")
    log.close()

    rows = read_rows(tmp_path, "feedback")
    exposures = [row for row in rows if row["name"] == "exposure"]
    ratings = [row for row in rows if row["name"] == "stars"]
    assert len({row["feedback_id"] for row in exposures}) == len(exposures) == 3
    assert [row.get("tenant") for row in exposures] == [row.get("tenant") for row in ratings][:3]
    assert len({row["feedback_id"] for row in ratings}) == 3
    assert len({row["unit"] for row in rows}) == 1
    assert "acme" not in str(rows)


def test_nobody_is_no_unit(make: Make, tmp_path: Path) -> None:
    log = make()
    layout = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
    for nobody in (None, ""):
        with pytest.raises(DataError, match="must be a user or session id, got none"):
            log.assign(layout, nobody)  # type: ignore[arg-type]
        log.log_feedback("r1", "stars", score=5, session_id="s1", unit=nobody)
        with pytest.raises(DataError, match="a request_id, a session_id or a unit"):
            log.log_feedback(None, "stars", score=5, unit=nobody)
    log.assign(layout, 17)  # type: ignore[arg-type]
    log.log_feedback(None, "stars", score=5, unit="17")
    log.close()

    *of_session, exposure, rating = read_rows(tmp_path, "feedback")
    assert len({row["unit"] for row in of_session}) == 1
    assert of_session[0]["unit"] != exposure["unit"] == rating["unit"]


@pytest.mark.parametrize("score", [10**400, "9" * 5000 + "x", float("inf")])
def test_the_error_of_a_score_is_short_and_says_what_must_hold(make: Make, score: Any) -> None:
    with pytest.raises(DataError, match="the score of feedback must be") as error:
        make().log_feedback("r1", "stars", score=score)
    assert len(str(error.value)) < 250
    assert ("finite" in str(error.value)) is not isinstance(score, str)


def test_an_exposure_is_of_the_session_whose_request_is_served(make: Make, tmp_path: Path) -> None:
    log = make()
    layout = Experiment(name="layout", variants={"old": 0.5, "new": 0.5})
    with log.request("predict", session_id="s1"):
        log.assign(layout, "ann")
    log.close()

    assert only_row(tmp_path, "feedback")["session_id"] == "s1"


class Panic(BaseException):
    """As of Rust, which is no `Exception`."""


class Panicking:
    def __str__(self) -> str:
        raise Panic


def test_a_value_that_panics_costs_its_text_and_the_log_goes_on(make: Make, tmp_path: Path) -> None:
    log = make()
    log.log_prediction(input_text=Panicking(), prediction=1)
    log.log_prediction(features={"a": Panicking(), "b": 1}, prediction=2)
    log.log_prediction(prediction=3)
    stats = log.close()

    assert [row["prediction"] for row in read_rows(tmp_path)] == [1, 2, 3]
    assert (stats.logged, stats.failed) == (3, 2)
    assert segments(tmp_path, "open") == []


def test_what_waits_behind_a_value_that_takes_too_long_is_counted_as_dropped(make: Make) -> None:
    class Slow:
        def __str__(self) -> str:
            time.sleep(2.5)
            return "slow"

    log = make(flush_interval=0.01)
    log.log_prediction(input_text=Slow())
    time.sleep(0.1)
    for _ in range(5):
        log.log_prediction(prediction=1)
    stats = log.close(timeout=0.1)

    assert (stats.served, stats.dropped, stats.queued) == (6, 6, 0)


def test_a_write_that_hangs_counts_its_rows_as_dropped_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, hangs = threading.Event(), threading.Event()
    others = set(threading.enumerate())

    def hang(*_: Any, **__: Any) -> None:
        hangs.set()
        goes_on.wait(10)

    monkeypatch.setattr(SegmentWriter, "append", hang)
    log = make(flush_interval=0.01)
    log.log_prediction(prediction=1)
    log.log_feedback("r", "thumbs", score=1.0)
    with log.request("batch"):
        for i in range(3):
            log.log_prediction(prediction=i)
    assert hangs.wait(10)
    given_up = log.close(timeout=0.01)
    again = log.close()
    goes_on.set()
    wait_until(lambda: set(threading.enumerate()) <= others)

    assert (given_up.served, given_up.dropped, given_up.queued) == (2, 2, 0)
    assert (given_up.further_dropped, given_up.feedback_dropped) == (2, 1)
    # what was written in the end after all was given up before, and counts once
    assert given_up == again == log.stats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.timedelta64(5, "s"), "5"),
        (np.timedelta64(5_000_000_000, "ns"), "5"),
        (timedelta(seconds=5), "5"),
        (np.datetime64("2020-01-01"), "2020-01-01"),
    ],
)
def test_a_duration_or_a_time_as_a_feature_is_told_as_a_prediction_is(
    make: Make, tmp_path: Path, value: Any, shown: str
) -> None:
    log = make()
    log.log_prediction(features={"w": value, 10**5000: 1, "b": 2}, prediction=value)
    log.close()
    row = only_row(tmp_path)

    assert row["prediction"] == row["cat_features"]["w"] == shown
    assert row["features"]["b"] == 2
    assert len(row["features"]) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment_bytes": "1"}, "segment_bytes must be positive and finite; got '1'"),
        ({"window": True}, "window must be positive and finite; got True"),
        ({"max_text": math.nan}, "max_text must be positive and finite; got nan"),
        ({"redactor": 5}, "redactor must be a Redactor such as PatternRedactor"),
    ],
)
def test_settings_that_are_none_are_refused_when_the_log_is_made(
    make: Make, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**settings)
