"""Rows on disk: whole, readable while they are written, and readable without weave or openai."""

from __future__ import annotations

import importlib
import json
import math
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from flytekitplugins.wbmon import llm
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import CallLog, PriceTable, call_attributes
from flytekitplugins.wbmon.llm.retry_after import retry_after_s
from flytekitplugins.wbmon.monitor.llm.calls.read import read_calls
from flytekitplugins.wbmon.monitor.llm.calls.row import call_scope, emit, new_row
from flytekitplugins.wbmon.monitor.llm.cost.track import summarise_usage
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import PredictionLogger, SamplingPolicy
from flytekitplugins.wbmon.storage.segments.log import SegmentLog
from support.child import result_of


def row(**columns: Any) -> dict[str, Any]:
    return new_row(gen_ai_request_model="house", gen_ai_usage_input_tokens=10, **columns)


def test_a_row_can_be_read_while_the_log_is_open_and_after(tmp_path: Path) -> None:
    with CallLog(tmp_path, "ask") as log:
        log.log_call(row(latency_ms=math.nan, tenant="acme"))
        assert read_calls(tmp_path).num_rows == 1
        log.log_call(row(gen_ai_usage_output_tokens=5, stage_ms={"retrieval": 3.0}))
    table = read_calls(tmp_path, service="ask")

    assert table.num_rows == 2
    assert table.column("tenant").to_pylist() == ["acme", None]
    assert table.column("service").to_pylist() == ["ask", "ask"]
    assert not list(tmp_path.glob("open/ask/*"))
    assert summarise_usage(table, PriceTable(builtin=False)).total.n_calls == 2


@pytest.mark.parametrize(
    "column",
    [
        *({"sample_weight": value} for value in (0, -1, 0.5, 2**63, math.inf, math.nan, "x", [1])),
        *({"kind": value} for value in (None, True, 7, 1.5, "", "x", "feedback", [1], {"a": 1})),
    ],
    ids=str,
)
def test_a_weight_or_a_kind_that_cannot_be_is_left_out_and_the_call_is_counted(
    tmp_path: Path, column: dict[str, Any]
) -> None:
    with CallLog(tmp_path, "ask") as log:
        log.log_call(row() | column)
    report = compact_prediction_log(str(tmp_path), "ask")
    table = read_calls(tmp_path, day=report.days[0])

    assert (log.n_rows, log.n_failed, report.n_torn) == (1, 0, 0)
    assert table.column("sample_weight").to_pylist() == [1.0]


def test_segments_are_whole_at_their_size_and_no_row_is_lost(tmp_path: Path) -> None:
    with CallLog(tmp_path, "ask", segment_bytes=2000) as log:
        threads = [
            threading.Thread(target=lambda: [log.log_call(row()) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(list(tmp_path.glob("sealed/ask/*.jsonl"))) > 5
    assert read_calls(tmp_path).num_rows == 200
    assert log.n_rows == 200


def test_a_torn_last_line_is_cut(tmp_path: Path) -> None:
    with CallLog(tmp_path, "ask") as log:
        log.log_call(row())
    (segment,) = tmp_path.glob("sealed/ask/*.jsonl")
    with segment.open("a") as file:
        file.write('{"timestamp": "2026-')

    assert read_calls(tmp_path).num_rows == 1


def test_segments_go_to_a_url_when_they_are_whole(tmp_path: Path) -> None:
    with CallLog("memory://llm-calls", "ask") as log:
        log.log_call(row())

    assert read_calls("memory://llm-calls").num_rows == 1


def test_a_disk_that_fails_is_counted_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "open").write_text("in the way")
    log = CallLog(tmp_path, "ask")
    log.log_call(row())

    assert (log.n_rows, log.n_failed) == (0, 1)


def test_attributes_nest_and_an_unknown_one_is_refused() -> None:
    with call_attributes(tenant="acme"), call_attributes(purpose="judge"):
        found = new_row()
    assert (found["tenant"], found["purpose"]) == ("acme", "judge")
    assert "tenant" not in new_row()
    with pytest.raises(ConfigError, match="colour"), call_attributes(colour="red"):
        pass


def test_a_request_is_one_row_with_the_failed_ones_of_its_operation_that_it_repeats() -> None:
    rows: list[dict[str, Any]] = []
    failed = {"error_type": "RateLimitError", "rate_limited": True, "latency_ms": 1.0}
    with call_scope() as scope:
        for operation, outcome in (("chat", failed), ("embeddings", {}), ("chat", {})):
            asked = new_row(gen_ai_operation_name=operation, attempts=1, **outcome)
            emit(asked, rows.append, scope, scope.begin(operation))

    found = [(each["gen_ai_operation_name"], each["attempts"]) for each in rows]
    assert found == [("embeddings", 1), ("chat", 2)]
    assert rows[1]["rate_limited"]


def test_rows_are_plain_json(tmp_path: Path) -> None:
    with CallLog(tmp_path, "ask") as log:
        log.log_call(row(prompt_version=Path("x")))
    (segment,) = tmp_path.glob("sealed/ask/*.jsonl")

    assert json.loads(segment.read_text())["prompt_version"] == "x"


@pytest.mark.parametrize("name", ["", "a/b", ".a", "a*", "a::b"])
def test_a_service_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        CallLog(tmp_path, name)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_wait_is_read_in_every_form(headers: dict | None, expected: float | None) -> None:
    assert retry_after_s(headers) == expected


def test_the_ring_loads_neither_weave_nor_openai_nor_arrays(tmp_path: Path) -> None:
    code = """
    import json, sys
    import flytekit
    before = set(sys.modules)
    import flytekitplugins.wbmon.llm as llm
    from flytekitplugins.wbmon.llm import CallLog, Judge, PromptTemplate
    from flytekitplugins.wbmon.llm import instrument_openai, weave_init
    heavy = {"weave", "openai", "tenacity", "genai_prices", "numpy", "pandas", "wandb"}
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    print(json.dumps(sorted(loaded & heavy)))
    """

    assert result_of(code, home=tmp_path) == []


def test_every_name_of_the_ring_is_where_it_is_said_to_be() -> None:
    assert sorted(llm._HOMES) == sorted(llm.__all__)
    for name, home in llm._HOMES.items():
        module = importlib.import_module(f"flytekitplugins.wbmon.{home}")
        assert getattr(llm, name) is getattr(module, name)
    with pytest.raises(AttributeError, match="nothing"):
        llm.nothing  # noqa: B018 - reading it is the test
    assert "CallLog" in dir(llm)


def test_columns_that_the_contract_lacks_are_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with CallLog(tmp_path, "ask") as log:
        for name in ("colour", "shape"):
            log.log_call(row(**{name: "red"}))
    (segment,) = tmp_path.glob("sealed/ask/*.jsonl")

    assert log.n_rows == 2
    assert "colour" not in segment.read_text()
    assert [record.message for record in caplog.records] == [
        "a call has no columns colour; they are left out"
    ]


@pytest.mark.parametrize("settings", [{"segment_bytes": 0}, {"segment_age": -1.0}])
def test_settings_of_a_call_log_that_cannot_work_are_refused(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="positive"):
        CallLog(tmp_path, "ask", **settings)


class Vault(MemoryFileSystem):
    """A store that only who has its file system can reach."""

    protocol = "vault"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("vault://").strip("/")


def test_a_file_system_of_the_callers_own_is_written_to_and_read_from(tmp_path: Path) -> None:
    vault = Vault(skip_instance_cache=True)
    with CallLog("vault://calls", "ask", spool=str(tmp_path), filesystem=vault) as log:
        log.log_call(row(tenant="acme"))

    assert read_calls("vault://calls", filesystem=vault)["tenant"].to_pylist() == ["acme"]
    assert list(tmp_path.glob("sealed/ask/*")) == []


MAIL = "a@b.com"
ALL = SamplingPolicy(rate=1.0)


def test_every_text_of_a_call_is_redacted_unless_the_opposite_is_asked_for(tmp_path: Path) -> None:
    texts = {
        "input_text": [{"role": "user", "content": f"I am {MAIL}"}],
        "output_text": f"mail {MAIL}",
        "error_text": f"no {MAIL}",
        "prediction": MAIL,
        "cat_features": {"from": MAIL, "password": "hunter2"},
    }
    with CallLog(tmp_path / "hidden", "ask") as log:
        log.log_call(row(**texts))
    with CallLog(tmp_path / "clear", "ask", redactor=None) as log:
        log.log_call(row(**texts))
    hidden, clear = (
        json.loads(next((tmp_path / name).rglob("*.jsonl")).read_text())
        for name in ("hidden", "clear")
    )

    assert hidden["redactions"] == 6
    assert not {MAIL, "hunter2"} & set(json.dumps(hidden).split('"'))
    assert MAIL not in json.dumps(hidden)
    assert clear["redactions"] == 0
    assert json.dumps(clear).count(MAIL) == 5


def test_a_redactor_that_fails_costs_its_text_and_not_the_row(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def text(self, text: str) -> tuple[str, int]:
            if "secret" in text:
                raise ValueError(text)
            return text, 0

    with CallLog(tmp_path, "ask", redactor=Broken()) as log:
        for _ in range(2):
            log.log_call(row(input_text="a secret", output_text="nothing", tenant="acme"))
    first, _ = read_calls(tmp_path).to_pylist()

    assert (first["input_text"], first["output_text"]) == (None, "nothing")
    assert (first["tenant"], log.n_rows, log.n_failed) == ("acme", 2, 0)
    assert [record.message for record in caplog.records] == [
        "texts that cannot be redacted are left out (ValueError)"
    ]


def test_documents_given_by_their_ids_have_ranks(tmp_path: Path) -> None:
    with CallLog(tmp_path, "ask") as log, call_attributes(retrieved_documents=["doc-7", "doc-2"]):
        log.log_call(row())

    assert read_calls(tmp_path)["retrieved_documents"].to_pylist() == [
        [{"id": "doc-7", "rank": 1, "score": None}, {"id": "doc-2", "rank": 2, "score": None}]
    ]


def test_a_call_that_ends_in_the_midst_of_another_being_written_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CallLog(tmp_path, "ask") as log:
        append, left = SegmentLog.append, [row(tenant="inner")]

        def interrupted(self: SegmentLog, *given: Any) -> None:
            if left:  # as the garbage collector does, which ends a stream that nobody reads
                log.log_call(left.pop())
            append(self, *given)

        monkeypatch.setattr(SegmentLog, "append", interrupted)
        log.log_call(row(tenant="outer"))

    assert read_calls(tmp_path)["tenant"].to_pylist() == ["outer", "inner"]
    assert log.n_rows == 2


def test_names_that_must_be_hidden_are_one_in_both_logs(tmp_path: Path) -> None:
    predictions = PredictionLogger("ask", str(tmp_path / "a"), sampling=ALL, user_key="k")
    predictions.log_prediction(prediction=1, session_id=MAIL, tenant="acme")
    predictions.close()
    with CallLog(tmp_path / "b", "ask", user_key="k") as log:
        log.log_call(row(session_id=MAIL, tenant="acme", prompt_name=MAIL))
    (prediction,) = read_calls(tmp_path / "a").to_pylist()
    (call,) = read_calls(tmp_path / "b").to_pylist()

    assert (call["session_id"], call["tenant"]) == (prediction["session_id"], "acme")
    assert MAIL not in (call["session_id"], call["prompt_name"])


def test_features_of_a_call_that_are_texts_are_categories(tmp_path: Path) -> None:
    with CallLog(tmp_path, "ask") as log:
        log.log_call(row(features={"n": 3, "topic": "billing"}, prediction=0.5, truncated=None))
    found = json.loads(next(tmp_path.rglob("*.jsonl")).read_text())

    assert (found["features"], found["cat_features"]) == ({"n": 3}, {"topic": "billing"})
    assert (found["prediction"], found["truncated"]) == (0.5, False)


@pytest.mark.parametrize(
    "wrong",
    [{"service": 5}, {"segment_bytes": "1"}, {"segment_age": None}, {"redactor": 5}],
)
def test_a_log_that_cannot_work_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        CallLog(tmp_path, **{"service": "ask", **wrong})


def test_no_column_of_a_call_shows_a_key_or_a_user(tmp_path: Path) -> None:
    key, user = "sk-proj-AbCdEf0123456789AbCdEf0123456789AbCdEf01", "jane.doe@corp.com"
    tried = {"model": key, "status": 500, "duration_ms": 4111111111111.1111}
    digest = "0a" * 32
    with CallLog(tmp_path, "ask", user_key="k") as log:
        log.log_call(row(attempt_log=[tried], purpose=f"for {user}", user_hash=user, instance=key))
        log.log_call(row(openai_response_service_tier=key, user_hash=digest))

    first, second = read_calls(tmp_path).to_pylist()
    assert not {key, user} & {part for each in (first, second) for part in str(each).split("'")}
    (kept,) = json.loads(first["attempt_log"])
    assert (kept["status"], kept["duration_ms"]) == (500, tried["duration_ms"])
    assert len(first["user_hash"]) == 64
    assert second["user_hash"] == digest
    written = "".join(path.read_text() for path in tmp_path.glob("sealed/ask/*.jsonl"))
    assert key not in written
    assert user not in written


def test_a_row_has_its_columns_as_they_were_when_it_began() -> None:
    documents, tried = ["a"], [{"status": 500}]
    with call_attributes(retrieved_documents=documents):
        begun = new_row(attempt_log=tried)
    documents.append("of another call")
    tried[0]["status"] = 200

    assert begun["retrieved_documents"] == ["a"]
    assert begun["attempt_log"] == [{"status": 500}]
