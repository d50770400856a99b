from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.prediction_log.schema import (
    COLUMNS,
    PREDICTION_COLUMNS,
)
from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor
from flytekitplugins.wbmon.serving import Experiment, PredictionLogger, SamplingPolicy
from support.prediction_log import read_rows, segments

ALL = SamplingPolicy(rate=1.0)
# what the log says itself, or an operator sets: no caller gives it
OWN = {"schema_version", "timestamp", "service", "instance", "sample_reason", "user_hash", "unit"}


def mail(of: str) -> str:
    return f"{of}.secret@example.com"


def written(folder: Path) -> str:
    return "".join(path.read_text() for path in segments(folder))


def a_log(tmp_path: Path, **settings: Any) -> PredictionLogger:
    return PredictionLogger("s", str(tmp_path), sampling=ALL, **settings)


TEXTS = [name for name, of in PREDICTION_COLUMNS.items() if of in ("string", "any")]


@pytest.mark.parametrize("key", [None, "k"])
def test_an_address_in_any_column_is_not_in_the_log(tmp_path: Path, *, key: str | None) -> None:
    log = a_log(tmp_path, user_key=key)
    columns = {name: mail(name) for name in TEXTS if name not in OWN | {"request_id", "route"}}
    log.log_prediction(
        **columns,
        request_id=mail("request_id"),
        route=f"/users/{mail('route')}",
        user=mail("user"),
        features={mail("number"): 1.0, mail("name"): mail("value"), "list": [mail("item")]},
        retrieved_documents=[{"id": mail("document"), "rank": 1}],
        stage_ms={mail("stage"): 1.0},
    )
    for prediction in ([mail("in a list")], {"a": (mail("in a tuple"),)}):
        log.log_prediction(prediction=prediction, tenant=mail("another tenant"))
    log.log_feedback(
        mail("request_id"), mail("feedback"), label=mail("label"), comment=mail("comment"),
        session_id=mail("session"), tenant=mail("tenant"), feedback_id=mail("id"),
    )  # fmt: skip
    log.log_event(mail("event"), session_id=mail("session"), label=mail("page"))
    log.assign(Experiment(name=mail("experiment"), variants={"a": 0.5, "b": 0.5}), mail("unit"))
    log.close()

    assert "secret" not in written(tmp_path)
    assert len(read_rows(tmp_path)) == 3
    # the first is a part of another request, as it says
    assert sum(row["requests"] for row in read_rows(tmp_path, "window")) == 2


def test_keys_that_are_hidden_still_tell_rows_apart_and_join_them(tmp_path: Path) -> None:
    log = a_log(tmp_path, user_key="k")
    for who in ("ann", "bob", "ann"):
        log.log_prediction(request_id=mail(f"r-{who}"), tenant=mail(who), session_id=mail(who))
        log.log_feedback(mail(f"r-{who}"), "thumbs", score=1.0, session_id=mail(who))
    log.close()
    rows, ratings = read_rows(tmp_path), read_rows(tmp_path, "feedback")

    assert [row["tenant"] == rows[0]["tenant"] for row in rows] == [True, False, True]
    assert [row["request_id"] for row in rows] == [row["request_id"] for row in ratings]
    assert [row["session_id"] for row in rows] == [row["session_id"] for row in ratings]
    assert {row["tenant"] for row in rows} == {
        row["tenant"] for row in read_rows(tmp_path, "window")
    }


def test_columns_are_hashed_when_asked_and_without_a_key_the_log_is_refused(tmp_path: Path) -> None:
    log = a_log(tmp_path, user_key="k", hashed=("tenant", "session_id"))
    log.log_prediction(tenant="acme", session_id="7", prediction="acme")
    log.log_feedback("r", "thumbs", score=1.0, tenant="acme", session_id="7")
    log.close()
    (row,), (rating,) = read_rows(tmp_path), read_rows(tmp_path, "feedback")
    (window,) = read_rows(tmp_path, "window")

    assert row["tenant"] == rating["tenant"] == window["tenant"] != "acme"
    assert row["session_id"] == rating["session_id"] != "7"
    # nothing else is: the prediction is what the model said
    assert row["prediction"] == "acme"
    with pytest.raises(ConfigError, match="need a secret user_key"):
        a_log(tmp_path, hashed=("tenant",))
    with pytest.raises(ConfigError, match="got 'route'"):
        a_log(tmp_path, user_key="k", hashed=("route",))


def test_what_is_innocent_passes_as_it_is(tmp_path: Path) -> None:
    given = {
        "tenant": "acme", "session_id": "42", "conversation_id": "c-1", "finish_reason": "stop",
        "gen_ai_request_model": "gpt-4o-2024-08-06", "prompt_version": "3", "variant": "b",
        "prediction": "spam",
    }  # fmt: skip
    log = a_log(tmp_path)
    log.log_prediction(**given, features={"country": "de", "n": 3}, request_id="order-17")
    log.close()
    (row,) = read_rows(tmp_path)

    assert {name: row[name] for name in given} == given
    assert (row["request_id"], row["cat_features"], row["features"]) == (
        "order-17", {"country": "de"}, {"n": 3},
    )  # fmt: skip


@pytest.mark.parametrize("number", [4111111111111111, 4111111111111111.0, 5500000000000004])
def test_a_number_that_is_a_cards_is_left_out_and_counted(tmp_path: Path, *, number: float) -> None:
    log = a_log(tmp_path)
    log.log_prediction(prediction=number, features={"card": number, "n": 4111111111111112})
    log.close()
    (row,) = read_rows(tmp_path)

    assert "41111111111111" not in json.dumps({**row, "features": None})
    assert row["features"] == {"n": 4111111111111112}
    assert row["redactions"] == 2


def test_a_redactor_that_fails_leaves_names_to_the_patterns_and_numbers_as_they_are() -> None:
    class Broken:
        def text(self, text: str) -> tuple[str, int]:
            raise RuntimeError("broken")

    noted: list[Exception] = []
    screen = Screen(Broken(), user_key=None, max_text=100, note=noted.append)
    texts: dict[str, Any] = {"input_text": "me", "output_text": "you"}

    assert screen.texts(texts) == (0, False)
    assert texts == {}
    assert len(noted) == 2
    assert screen.name("/items/{id}") == "/items/{id}"
    assert screen.name("to me@x.com") == "to [EMAIL]"
    assert screen.number(7e15) == 7e15


def test_names_that_are_hidden_stay_apart_and_lose_no_value(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    people = {mail("ann"): 1, mail("bob"): 2}
    log.log_prediction(features={**people, "n": 3}, input_text=people, stage_ms=people)
    log.log_prediction(features={mail("bob"): 5})
    log.close()
    row, other = read_rows(tmp_path)

    assert sorted(row["features"].values()) == [1, 2, 3]
    assert sorted(row["stage_ms"].values()) == [1.0, 2.0]
    assert sorted(json.loads(row["input_text"]).values()) == [1, 2]
    # the same name has the same place in every row
    assert other["features"].keys() <= row["features"].keys()
    assert "secret" not in written(tmp_path)


@pytest.mark.parametrize("answer", [("text", "many"), ([1], 1), None, "text", (1, 1)])
def test_a_redactor_that_returns_something_else_has_failed_and_costs_texts_only(
    tmp_path: Path, *, answer: Any
) -> None:
    class Odd:
        def text(self, text: str) -> Any:
            return answer

    log = a_log(tmp_path, redactor=Odd())
    name = log.log_prediction(prediction=1, score=0.5, input_text="me", features={"a": 1, "b": "c"})
    log.log_feedback(name, "thumbs", score=1.0, comment="me")
    stats = log.close()
    (row,), (rating,) = read_rows(tmp_path), read_rows(tmp_path, "feedback")

    assert (row["prediction"], row["score"], row["features"]) == (1, 0.5, {"a": 1})
    assert "input_text" not in row
    assert (rating["score"], rating.get("comment")) == (1.0, None)
    assert (stats.dropped, stats.feedback_dropped, stats.failed) == (0, 0, 3)


def test_the_id_of_feedback_says_nothing_of_what_is_hidden_in_its_parts(tmp_path: Path) -> None:
    log = a_log(tmp_path, user_key="k")
    for _ in range(2):
        log.log_feedback("ssn: 078-05-1120", "thumbs", score=1.0)
    log.log_feedback("ssn: 078-05-1121", "thumbs", score=1.0)
    log.close()
    ids = [row["feedback_id"] for row in read_rows(tmp_path, "feedback")]

    assert "078" not in written(tmp_path)
    assert ids[0] == ids[1] != ids[2]


def test_json_with_line_breaks_and_quotes_as_escapes_is_searched_as_it_reads(
    tmp_path: Path,
) -> None:
    log = a_log(tmp_path)
    log.log_prediction(input_text=json.dumps({"m": "user,password\nanna,Hunter2zz\nbob,x1"}))
    log.log_prediction(input_text=json.dumps({"m": "a\tb", "n": 1}))
    log.close()
    hidden, kept = (row["input_text"] for row in read_rows(tmp_path))

    assert "Hunter2zz" not in hidden
    assert json.loads(kept) == {"m": "a\tb", "n": 1}


def test_every_text_of_every_table_is_screened_or_said_to_be_the_logs_own() -> None:
    screen = Screen(PatternRedactor(), user_key=None, max_text=1000)
    texts = {"input_text", "output_text", "error_text", "comment"}
    for kind, columns in COLUMNS.items():
        names = {name for name, of in columns.items() if of == "string"} - OWN - texts
        row = screen.row(kind, {name: mail("x") for name in names})
        assert all("secret" not in text for text in row.values()), kind


@pytest.mark.parametrize("number", [4111111111111111, -4111111111111111, -4111111111111111.0])
def test_a_card_is_no_number_whatever_its_sign(number: float) -> None:
    screen = Screen(PatternRedactor(), user_key=None, max_text=100)
    assert screen.number(number) is None
    assert screen.number(number + 1) == number + 1
    assert screen.number(float("-inf")) == float("-inf")


def test_attempts_are_searched_to_their_depth() -> None:
    screen = Screen(PatternRedactor(), user_key=None, max_text=1000)
    attempts = [
        {"model": "m", mail("ann"): 1, mail("bob"): 2, "n": 4111111111111111},
        {"error": {"to": [mail("ann")], "api_key": "some word"}, "input_tokens": [1, 2000]},
    ]
    row = screen.row("prediction", {"attempt_log": json.dumps(attempts)})
    first, second = json.loads(row["attempt_log"])

    assert "example" not in row["attempt_log"]
    assert len(first) == 4
    assert first["n"] == 4111111111111111
    assert second == {
        "error": {"to": ["[EMAIL]"], "api_key": "[SECRET]"}, "input_tokens": [1, 2000],
    }  # fmt: skip
