"""The outcome of a task's body, as its run records it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from flytekitplugins.wbmon.delivery.runs.tally import ERROR_MESSAGE, ERROR_TYPE
from flytekitplugins.wbmon.errors import error_message, error_type
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor

_FAILED = 1
# how a shell reports a process that SIGINT ended
_INTERRUPTED = 128 + signal.SIGINT
_MAX_MESSAGE = 2000
# what the text of these exceptions does not say
_MEANING: Mapping[type[BaseException], str] = {
    KeyboardInterrupt: "the task was interrupted (SIGINT)",
    asyncio.CancelledError: "the task was cancelled",
    GeneratorExit: "the task's coroutine was closed before its end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOutcome:
    """How a task's body ended.

    Attributes:
        exit_code: 0 for success, otherwise 1 to 255 as an operating system has it.
        summary: What the summary of the run says about a failure.
    """

    exit_code: int = 0
    summary: Mapping[str, str] = field(default_factory=dict)


def outcome_of(error: BaseException | None, redactor: SecretRedactor) -> TaskOutcome:
    """The outcome of a body that was left with this exception, or None if it returned.

    A `SystemExit` of any status is a failure, because the body has not returned: Flyte then has no
    outputs and fails the task, also for `sys.exit(0)`.

    Args:
        error: The exception.
        redactor: Hides secrets in the exception's text.
    """
    from flytekit.extend import IgnoreOutputs

    # flytekit's signal that a worker of a distributed task has no outputs; not a failure
    if error is None or isinstance(error, IgnoreOutputs):
        return TaskOutcome()
    # cut after redaction, or half of a secret at the cut would not be recognised
    message = redactor.text(_message(error))[:_MAX_MESSAGE]
    return TaskOutcome(
        exit_code=_exit_code(error),
        summary={ERROR_TYPE: error_type(error), ERROR_MESSAGE: message},
    )


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        # the part that the operating system keeps
        return error.code & 0xFF or _FAILED
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else _FAILED


def _message(error: BaseException) -> str:
    # a subclass has a text of its own
    if type(error) is SystemExit and not isinstance(error.code, str):
        status = "" if error.code is None else error.code
        return f"the task called sys.exit({status}) before it returned its outputs"
    return error_message(error) or _MEANING.get(type(error), "")
