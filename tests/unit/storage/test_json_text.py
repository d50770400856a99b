"""Whatever is wrong with JSON that was read is one error, for every reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon import Answer
from flytekitplugins.wbmon.delivery.runs.receipt import FILE_NAME, Receipt
from flytekitplugins.wbmon.delivery.traces.pending import count_confirmed, read_result
from flytekitplugins.wbmon.delivery.traces.spool import CONFIRMED, RECORDS, RESULT
from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.monitor.llm.evaluation.answer_cache import AnswerStore
from flytekitplugins.wbmon.monitor.llm.steps.spans import span_of_call
from flytekitplugins.wbmon.reports.serialize import record_from_json
from flytekitplugins.wbmon.storage.json_text import read_json

DEEP = "[" * 100_000


def test_json_is_what_it_says() -> None:
    assert read_json(b'{"a": [1, null]}') == read_json('{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize("text", ["", "{", DEEP, '{"a":' * 100_000, b"\xff", "1" * 5000 + "x"])
def test_all_else_is_one_error(text: Any) -> None:
    with pytest.raises(DataError, match=r"^JSON must"):
        read_json(text)
    with pytest.raises(DataError, match="must be JSON of class Answer"):
        record_from_json(Answer, text)


def test_a_deep_file_is_like_any_other_damage(tmp_path: Path) -> None:
    for name in (FILE_NAME, RESULT):
        (tmp_path / name).write_text(DEEP)
    (tmp_path / RECORDS).touch()
    assert Receipt.load(tmp_path) is None
    assert read_result(tmp_path).n_sent == 0
    (tmp_path / CONFIRMED).write_text(f"{DEEP}\n")
    with pytest.raises(DataError, match=f"{CONFIRMED} must be lines of JSON"):
        count_confirmed(tmp_path)
    answers = AnswerStore(str(tmp_path))
    (tmp_path / "ke").mkdir()
    (tmp_path / "ke" / "key.json").write_text(DEEP)
    assert answers.get("key") is None
    at = "2026-03-02T00:00:00Z"
    call = {"id": "1", "trace_id": "1", "started_at": at, "exception": DEEP}
    assert span_of_call(call).error == "[" * 80
