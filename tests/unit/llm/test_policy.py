"""Which errors are tried again, where, for how long, and what is remembered of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.llm import CallPolicy, instrument_openai
from flytekitplugins.wbmon.llm.circuit_breaker import CircuitBreaker
from flytekitplugins.wbmon.llm.policy import CircuitOpenError, remedy_for
from support.openai_server import OpenAIServer

openai = pytest.importorskip("openai", reason="the llm extra is not installed")
pytest.importorskip("tenacity", reason="the llm extra is not installed")

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture
def ask(server: OpenAIServer, rows: list) -> Any:
    plain = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0)
    client = instrument_openai(plain, rows.append)
    return lambda model: client.chat.completions.create(model=model, messages=MESSAGES)


def policy(**given: Any) -> CallPolicy:
    return CallPolicy(**{"wait_s": 0.001, "max_wait_s": 0.05, **given})


@pytest.mark.parametrize("kind", ["429", "429:0.01", "500", "503"])
def test_what_may_pass_is_tried_again(
    ask: Any, server: OpenAIServer, rows: list, kind: str
) -> None:
    server.script(kind, kind, "ok")
    tried = policy()

    assert tried.call(ask, model="house").choices
    assert len(server.requests) == 3
    (row,) = rows
    assert (row["attempts"], row["retries"]) == (3, 2)
    assert row["rate_limited"] == kind.startswith("429")
    assert "error_type" not in row
    assert tried.stats.n_retried == 1


@pytest.mark.parametrize("kind", ["400", "401", "404"])
def test_what_will_not_pass_is_raised_at_once_and_no_other_model_is_asked(
    ask: Any, server: OpenAIServer, rows: list, kind: str
) -> None:
    server.script(kind)
    with pytest.raises(openai.APIStatusError):
        policy(fallbacks=["other"]).call(ask, model="house")

    assert len(server.requests) == 1
    assert rows[0]["status_code"] == int(kind)


def test_an_exhausted_quota_goes_to_the_next_model_without_a_retry(
    ask: Any, server: OpenAIServer, rows: list
) -> None:
    server.by_model = {"house": "quota"}
    tried = policy(fallbacks=["other"])

    assert tried.call(ask, model="house").model.startswith("other")
    assert [request.body["model"] for request in server.requests] == ["house", "other"]
    (row,) = rows
    assert row["fallback_from"] == "house"
    assert row["gen_ai_request_model"] == "other"
    assert tried.stats.n_fallback == 1


def test_when_no_model_answers_the_last_error_is_raised_as_it_was(
    ask: Any, server: OpenAIServer, rows: list
) -> None:
    server.by_model = {"house": "500", "other": "429"}
    tried = policy(attempts=2, fallbacks=["other"])
    with pytest.raises(openai.RateLimitError):
        tried.call(ask, model="house")

    (row,) = rows
    assert row["attempts"] == 4
    assert row["error_type"] == "RateLimitError"
    assert [each["model"] for each in row["attempt_log"]] == ["house"] * 2 + ["other"] * 2
    assert tried.stats.n_failed == 1


def test_a_server_that_asks_for_a_longer_wait_than_allowed_is_not_asked_again(
    ask: Any, server: OpenAIServer
) -> None:
    server.by_model = {"house": "429:5"}

    assert policy(fallbacks=["other"]).call(ask, model="house").model.startswith("other")
    assert len(server.requests) == 2


def test_the_deadline_ends_the_tries_of_all_models(ask: Any, server: OpenAIServer) -> None:
    server.script(*["500"] * 100)
    patient = CallPolicy(attempts=100, deadline_s=1, wait_s=0.1, max_wait_s=0.1, breaker=None)
    with pytest.raises(openai.InternalServerError):
        patient.call(ask, model="house")

    assert 2 < len(server.requests) < 90


def test_a_coroutine_is_cancelled_at_the_deadline() -> None:
    async def hang(model: str) -> None:
        await asyncio.sleep(60)

    with pytest.raises((TimeoutError, asyncio.TimeoutError)):
        asyncio.run(policy(deadline_s=0.05).acall(hang, model="house"))


def test_coroutines_are_tried_like_functions(server: OpenAIServer, rows: list) -> None:
    async def run() -> Any:
        plain = openai.AsyncOpenAI(base_url=server.url, api_key="x", max_retries=0)
        client = instrument_openai(plain, rows.append)

        async def ask(model: str) -> Any:
            return await client.chat.completions.create(model=model, messages=MESSAGES)

        server.by_model = {"house": "503"}
        return await policy(attempts=2, fallbacks=["other"]).acall(ask, model="house")

    assert asyncio.run(run()).model.startswith("other")
    (row,) = rows
    assert (row["attempts"], row["fallback_from"]) == (3, "house")


def test_a_model_that_keeps_failing_is_left_alone_until_a_probe_succeeds(
    ask: Any, server: OpenAIServer
) -> None:
    now = [0.0]
    breaker = CircuitBreaker(failures=2, cooldown_s=10, clock=lambda: now[0])
    tried = policy(attempts=1, fallbacks=["other"], breaker=breaker)
    server.by_model = {"house": "500"}
    for _ in range(4):
        tried.call(ask, model="house")
    asked = [request.body["model"] for request in server.requests]
    assert asked == ["house", "other", "house", "other", "other", "other"]
    assert breaker.open_models == ("house",)

    now[0] = 11
    server.by_model = {}
    assert tried.call(ask, model="house").model.startswith("house")
    assert breaker.open_models == ()


def test_a_probe_that_fails_opens_the_circuit_again() -> None:
    now = [0.0]
    breaker = CircuitBreaker(failures=1, cooldown_s=10, clock=lambda: now[0])
    breaker.failed("m")
    assert not breaker.allows("m")
    now[0] = 10
    assert breaker.allows("m")
    assert not breaker.allows("m"), "one probe at a time"
    breaker.failed("m")
    now[0] = 19
    assert not breaker.allows("m")
    now[0] = 20
    assert breaker.allows("m")
    breaker.release_probe("m")
    assert breaker.allows("m")


def test_when_every_model_is_left_alone_the_error_says_so(ask: Any, server: OpenAIServer) -> None:
    breaker = CircuitBreaker(failures=1, cooldown_s=60)
    tried = policy(attempts=1, breaker=breaker)
    server.script("500")
    with pytest.raises(openai.InternalServerError):
        tried.call(ask, model="house")
    with pytest.raises(CircuitOpenError, match="left alone"):
        tried.call(ask, model="house")
    assert len(server.requests) == 1


def test_a_client_that_does_not_log_is_logged_by_the_policy(rows: list) -> None:
    outcomes = iter([ConnectionError("no route"), "hello"])

    def request(model: str) -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    seen: list = []
    tried = policy(log=rows.append, on_attempt=seen.append)

    assert tried.call(request, model="house") == "hello"
    assert (rows[0]["attempts"], rows[0]["retries"]) == (2, 1)
    assert [each.error_type for each in seen] == ["ConnectionError", ""]


@pytest.mark.parametrize(
    ("kind", "status"),
    [("ok", None), ("400", 400), ("429", 429), ("quota", 429), ("503", 503), ("slow:1", None)],
)
def test_a_policy_logs_the_outcome_that_an_instrumented_client_would(
    server: OpenAIServer, rows: list, kind: str, status: int | None
) -> None:
    plain = openai.OpenAI(base_url=server.url, api_key="x", max_retries=0, timeout=0.1)

    def outcome(client: Any, **log: Any) -> dict[str, Any]:
        server.by_model = {"house": kind}
        rows.clear()
        with suppress(openai.APIError):
            policy(attempts=2, **log).call(
                lambda model: client.chat.completions.create(model=model, messages=MESSAGES),
                model="house",
            )
        (row,) = rows
        names = ("error_type", "status_code", "attempts", "rate_limited", "finish_reason")
        return {name: row.get(name) for name in names}

    by_policy = outcome(plain, log=rows.append)
    assert by_policy == outcome(instrument_openai(plain, rows.append))
    assert by_policy["status_code"] == status


def test_a_response_that_failed_is_an_error_in_the_row_of_a_policy(
    server: OpenAIServer, rows: list
) -> None:
    server.changes = {"status": "failed", "error": {"code": "server_error", "message": "no"}}
    plain = openai.OpenAI(base_url=server.url, api_key="x")
    policy(log=rows.append).call(
        lambda model: plain.responses.create(model=model, input="hello"), model="house"
    )

    assert [row["error_type"] for row in rows] == ["server_error"]


@pytest.mark.parametrize(
    ("status", "expected", "n_asked"),
    [
        ("503", 503, 2),
        (503.0, 503, 2),
        (HTTPStatus.SERVICE_UNAVAILABLE, 503, 2),
        ("unavailable", None, 1),
        (float("nan"), None, 1),
        (object(), None, 1),
        (property(lambda _: 1 // 0), None, 1),
    ],
)
def test_a_status_in_whatever_form_a_client_has_it_does_not_hide_its_error(
    rows: list, status: Any, expected: int | None, n_asked: int
) -> None:
    class OwnError(Exception):
        status_code = status

    asked: list[str] = []

    def request(model: str) -> None:
        asked.append(model)
        raise OwnError

    with pytest.raises(OwnError):
        policy(attempts=2, log=rows.append).call(request, model="house")
    assert (len(asked), rows[0].get("status_code")) == (n_asked, expected)


def test_an_error_of_the_application_is_no_reason_to_retry() -> None:
    assert remedy_for(KeyError("x")) == "raise"
    assert remedy_for(TimeoutError()) == "retry"


@pytest.mark.parametrize(
    "wrong", [{"attempts": 0}, {"deadline_s": 0}, {"wait_s": 2, "max_wait_s": 1}]
)
def test_a_policy_that_cannot_work_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        CallPolicy(**wrong)
    with pytest.raises(ConfigError):
        CircuitBreaker(failures=0)
