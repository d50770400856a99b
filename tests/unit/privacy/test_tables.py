"""The values below the name of a secret, in tables as they are written in JSON and CSV."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, redact_value, redact_within
from support.private_texts import PRIVATE

HELD = "xk7Qz-19"
redactor = PatternRedactor()
TABLES: dict[str, Any] = {
    "pandas": {"columns": ["user", "api_key"], "index": [0], "data": [["joe", HELD]]},
    "MLflow": {"dataframe_split": {"columns": ["a", "pw"], "data": [["joe", HELD], ["b", HELD]]}},
    "KServe": {"inputs": [{"name": "password", "shape": [1], "data": [HELD]}]},
    "fields": {"fields": ["user", "password"], "rows": [("joe", HELD)]},
    "header": [["user", "password"], ["joe", HELD]],
    "header of three": [["password", "user", "n"], [HELD, "joe", 1], [HELD, "joe", 2]],
    "pairs": [{"k": "password", "v": HELD}, {"field": "password", "value": HELD}],
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_value_is_hidden_below_the_name_of_a_secret(kind: str) -> None:
    table = TABLES[kind]
    left, n = redact_value(redactor, table)
    assert n
    assert HELD not in str(left)
    assert ("joe" in str(left)) == ("joe" in str(table))
    screen = Screen(redactor, user_key=None, max_text=1000)
    texts = {"input_text": json.dumps(table)}
    screen.texts(texts)
    assert HELD not in texts["input_text"]


@pytest.mark.parametrize(
    "table",
    [
        {"columns": ["a", "b"], "data": [[1, 2]]},
        {"columns": ["a", "token"], "data": [[1, 2], [3]]},
        {"name": "token", "data": [1, 2]},
        [["x-type", "a"], ["host", "b"]],
        {"fields": "password", "rows": 3},
        {"columns": [["a", "password"]], "data": {"a": 1}},
    ],
)
def test_any_other_table_is_kept(table: Any) -> None:
    assert redact_value(redactor, table) == (table, 0)


def test_headers_are_pairs_and_no_table() -> None:
    headers = [["authorization", "Basic of some"], ["host", "a"]]
    assert redact_value(redactor, headers).value == [["authorization", "[SECRET]"], ["host", "a"]]


def test_a_table_is_read_as_far_as_there_is_room() -> None:
    table = {"columns": ["n", "password"], "data": [[1, HELD]] * 100}
    left, _, was_cut = redact_within(redactor, table, limit=60)
    assert was_cut
    assert HELD not in str(left)
    assert len(left["data"]) < 30


@pytest.mark.parametrize("name", [name for name in PRIVATE if name.startswith(("csv", "markdown"))])
def test_a_column_is_hidden_whatever_its_cells_hold(name: str) -> None:
    text, secret = PRIVATE[name]
    assert secret not in redactor.text(text)[0]
