"""Retries, fallbacks and a deadline for LLM calls; every attempt is recorded.

Transient errors are retried: connection errors, 408, 409, 429 and 5xx. Permanent errors, such as a
bad request or a rejected key, are raised at once. An exhausted quota leads directly to the next
model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError, WbmonError, error_type
from flytekitplugins.wbmon.llm.circuit_breaker import CircuitBreaker
from flytekitplugins.wbmon.llm.retry_after import retry_after_s
from flytekitplugins.wbmon.monitor.llm.calls.openai_columns import answer_columns
from flytekitplugins.wbmon.monitor.llm.calls.row import (
    Attempt,
    CallScope,
    Sink,
    call_scope,
    emit,
    new_row,
    require_sink,
)

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")
Remedy = Literal["retry", "fallback", "raise"]

_PASSING = (408, 409, 429)
_SERVER = 500
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "quota_exceeded")
# by class name, so that neither openai nor httpx has to be imported
_NO_CONNECTION = {
    "APIConnectionError",
    "APITimeoutError",
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "TimeoutError",
}


class CircuitOpenError(WbmonError, RuntimeError):
    """No model was called, because the circuit of each is open after repeated failures."""


def remedy_for(error: BaseException) -> Remedy:
    """Whether an error calls for a retry, a fallback to another model, or neither.

    Args:
        error: An exception of any client; its HTTP status is read from `status_code`.
    """
    status = _status(error)
    if status is None:
        names = {each.__name__ for each in type(error).__mro__}
        passing = isinstance(error, (ConnectionError, TimeoutError)) or names & _NO_CONNECTION
        return "retry" if passing else "raise"
    # sent with status 429, but waiting does not help
    if _code(error) in _QUOTA:
        return "fallback"
    return "retry" if status in _PASSING or status >= _SERVER else "raise"


def _status(error: Any) -> int | None:
    """HTTP status of an exception; None if it has none, or one that is no number."""
    try:
        return int(error.status_code)
    except Exception:  # noqa: BLE001 - of any type, and may be a property that raises
        return None


def _code(error: BaseException) -> str:
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else {}
    inner = inner if isinstance(inner, dict) else {}
    return str(getattr(error, "code", None) or inner.get("code") or inner.get("type") or "")


@dataclass(slots=True, kw_only=True)
class PolicyStats:
    """Counts of a policy so far.

    Attributes:
        n_calls: Calls made through the policy.
        n_attempts: Requests sent, retries and fallbacks included.
        n_retried: Calls with more than one attempt.
        n_rate_limited: Calls with at least one answer of status 429.
        n_fallback: Calls that another model than the first one answered.
        n_failed: Calls that no model answered.
    """

    n_calls: int = 0
    n_attempts: int = 0
    n_retried: int = 0
    n_rate_limited: int = 0
    n_fallback: int = 0
    n_failed: int = 0


@dataclass(slots=True, kw_only=True)
class CallPolicy:
    """Retry, fallback and deadline rules for calls of a language model.

    The client must not retry by itself, because its retries would multiply with these. Give it
    `max_retries=0`.

    Args:
        attempts: Maximum attempts per model; `>= 1`.
        deadline_s: Seconds for the whole call, waits and fallbacks included. A coroutine that is
            still running then is cancelled; a plain function is only not started again.
        fallbacks: Models to try after the first, in order.
        wait_s: Upper limit of the first wait in seconds. It doubles with each attempt, and the wait
            is drawn uniformly below it. A wait that the server requests is used instead.
        max_wait_s: Longest wait in seconds; if the server requests more, there is no retry.
        breaker: Circuit breaker that skips models which keep failing; None to skip none.
        log: Receives a row for each call whose client does not log by itself.
        on_attempt: Called with each attempt when it ends.
        stats: Counts of the calls so far.

    Raises:
        ConfigError: If a number is out of range, or `log` neither a log nor callable.
    """

    attempts: int = 3
    deadline_s: float = 60.0
    fallbacks: Sequence[str] = ()
    wait_s: float = 0.5
    max_wait_s: float = 20.0
    breaker: CircuitBreaker | None = field(default_factory=CircuitBreaker)
    log: Sink | None = None
    on_attempt: Callable[[Attempt], None] | None = None
    stats: PolicyStats = field(default_factory=PolicyStats)

    def __post_init__(self) -> None:
        if self.attempts < 1 or not self.deadline_s > 0 or not 0 <= self.wait_s <= self.max_wait_s:
            raise ConfigError(
                "a policy must hold attempts >= 1, deadline_s > 0 and 0 <= wait_s <= max_wait_s; "
                f"got {self.attempts}, {self.deadline_s}, {self.wait_s}, {self.max_wait_s}"
            )
        if self.log is not None:
            require_sink(self.log)
        try:
            import tenacity  # noqa: F401 - found missing now, not at the first call
        except ImportError as error:
            raise MissingExtraError.for_feature("CallPolicy", extra="llm") from error

    def call(self, request: Callable[[str], T], *, model: str) -> T:
        """Make a call.

        Args:
            request: Sends one request to the model whose name it receives.
            model: The model to try first.

        Raises:
            CircuitOpenError: If the circuit of every model is open.
            Exception: The last error of the last model, unchanged.
        """
        call = _CallState(policy=self, model=model)
        with call_scope(self.log) as scope:
            for name in call.models(scope):
                retrying = self._retrying(call)
                try:
                    for attempt in retrying:
                        with attempt, call.attempt(name, attempt):
                            call.answer = request(name)
                            return call.answer
                except Exception as error:  # noqa: BLE001 - whatever the client raises
                    call.record_failure(name, error)
            raise call.error(scope)
        raise AssertionError("unreachable")

    async def acall(self, request: Callable[[str], Awaitable[T]], *, model: str) -> T:
        """Make a call with a coroutine function; see `call`."""
        call = _CallState(policy=self, model=model)
        with call_scope(self.log) as scope:
            for name in call.models(scope):
                retrying = self._retrying(call, is_async=True)
                try:
                    async for attempt in retrying:
                        with attempt, call.attempt(name, attempt):
                            call.answer = await asyncio.wait_for(request(name), call.left_s)
                            return call.answer
                except Exception as error:  # noqa: BLE001 - whatever the client raises
                    if isinstance(error, asyncio.TimeoutError):
                        scope.note_deadline()
                    call.record_failure(name, error)
            raise call.error(scope)
        raise AssertionError("unreachable")

    def _retrying(self, call: _CallState, *, is_async: bool = False) -> Any:
        import tenacity

        kind = tenacity.AsyncRetrying if is_async else tenacity.Retrying
        return kind(
            retry=tenacity.retry_if_exception(lambda error: remedy_for(error) == "retry"),
            wait=call.wait,
            stop=tenacity.stop_any(tenacity.stop_after_attempt(self.attempts), call.is_out_of_time),
            # the client's own exception, not tenacity's RetryError
            reraise=True,
        )


@dataclass(slots=True, kw_only=True)
class _CallState:
    """State of one call across its attempts and models."""

    policy: CallPolicy
    model: str
    begun: float = field(default_factory=time.monotonic)
    made: list[Attempt] = field(default_factory=list)
    answer: Any = None
    last_error: Exception | None = None
    is_over: bool = False
    is_done: bool = False

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; may be negative."""
        return self.policy.deadline_s - (time.monotonic() - self.begun)

    def models(self, scope: CallScope) -> Iterator[str]:
        """Yield the models to try until the deadline has passed or an error is permanent."""
        breaker = self.policy.breaker
        try:
            # a model that is named twice is tried once
            for name in dict.fromkeys((self.model, *self.policy.fallbacks)):
                if self.is_over or self.left_s <= 0:
                    return
                if breaker is None or breaker.allows(name):
                    yield name
        finally:
            # also runs when the caller returns from its loop: that closes this generator
            self._count(scope)

    def attempt(self, model: str, state: tenacity.AttemptManager) -> _AttemptTimer:
        """Record an attempt while it runs."""
        waited = getattr(state.retry_state, "upcoming_sleep", 0.0) or 0.0
        is_first = state.retry_state.attempt_number == 1
        return _AttemptTimer(
            call=self, attempt=Attempt(model=model, wait_s=0.0 if is_first else waited)
        )

    def wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds until the next attempt: the server's request, else random backoff."""
        import tenacity

        error = state.outcome.exception() if state.outcome else None
        asked = retry_after_s(getattr(getattr(error, "response", None), "headers", None))
        if asked is not None:
            return asked
        policy = self.policy
        return float(
            tenacity.wait_random_exponential(multiplier=policy.wait_s, max=policy.max_wait_s)(state)
        )

    def is_out_of_time(self, state: tenacity.RetryCallState) -> bool:
        """Whether the next attempt would start too late."""
        # tenacity computes the wait before it asks whether to stop
        wait = state.upcoming_sleep or 0.0
        return wait > self.policy.max_wait_s or wait >= self.left_s

    def record_failure(self, model: str, error: Exception) -> None:
        """Record that a model did not answer."""
        self.last_error = error
        remedy = remedy_for(error)
        if self.policy.breaker is not None:
            # a refused request shows that the model is reachable, so it is no failure of its health
            if remedy == "raise":
                self.policy.breaker.release_probe(model)
            else:
                self.policy.breaker.failed(model)
        self.is_over = remedy == "raise"

    def error(self, scope: CallScope) -> Exception:
        """The exception to raise when no model has answered."""
        self._count(scope)
        if self.last_error is not None:
            return self.last_error
        tried = ", ".join(dict.fromkeys((self.model, *self.policy.fallbacks)))
        return CircuitOpenError(
            f"a call must reach one of {tried}; each failed {self.policy.breaker.failures} times "  # type: ignore[union-attr]
            "in a row and is left alone for now"
        )

    def _count(self, scope: CallScope) -> None:
        # both `error` and the end of `models` come here
        if self.is_done:
            return
        self.is_done = True
        stats, made = self.policy.stats, self.made
        stats.n_calls += 1
        stats.n_attempts += len(made)
        stats.n_retried += len(made) > 1
        stats.n_rate_limited += any(each.status == 429 for each in made)  # noqa: PLR2004 - HTTP
        failed = not made or bool(made[-1].error_type)
        stats.n_failed += failed
        stats.n_fallback += bool(made) and not failed and made[-1].model != self.model
        self._log(scope, failed=failed)

    def _log(self, scope: CallScope, *, failed: bool) -> None:
        if self.policy.log is None or scope.is_logged or not self.made:
            return
        last = self.made[-1]
        outcome = {"error_type": last.error_type, "status_code": last.status}
        row = new_row(
            gen_ai_operation_name="chat",
            gen_ai_request_model=last.model,
            latency_ms=(time.monotonic() - self.begun) * 1e3,
            attempts=len(self.made),
            retries=len(self.made) - 1,
            rate_limited=any(each.status == 429 for each in self.made),  # noqa: PLR2004 - HTTP
            fallback_from=self.model if last.model != self.model else None,
            attempt_log=[each.to_row() for each in self.made],
            **(outcome if failed else self._answered()),
        )
        emit(row, self.policy.log, scope, scope.begin("chat"))

    def _answered(self) -> dict[str, Any]:
        """The columns of an answer in OpenAI's form; of any other, none are known."""
        try:
            return answer_columns(self.answer)
        except Exception:  # noqa: BLE001 - of any type
            return {}


@dataclass(slots=True, kw_only=True)
class _AttemptTimer:
    """Measures and records one attempt."""

    call: _CallState
    attempt: Attempt
    begun: float = field(default_factory=time.perf_counter)

    def __enter__(self) -> Attempt:
        return self.attempt

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        attempt, policy = self.attempt, self.call.policy
        attempt.duration_ms = (time.perf_counter() - self.begun) * 1e3
        if error is None:
            if policy.breaker is not None:
                policy.breaker.succeeded(attempt.model)
        else:
            attempt.error_type = error_type(error)
            attempt.status = _status(error)
            headers = getattr(getattr(error, "response", None), "headers", None)
            attempt.retry_after_s = retry_after_s(headers)
        self.call.made.append(attempt)
        if policy.on_attempt is not None:
            policy.on_attempt(attempt)
