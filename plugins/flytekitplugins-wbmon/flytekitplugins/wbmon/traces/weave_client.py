"""The Weave client of a traced task, which works without a server.

Weave's own client keeps calls in memory until a server accepts them, and drops them if none does.
Here the client gets a server that writes to disk, so a task needs no network and an outage loses no
calls. This depends on parts of weave that are not its public API:

| part | looked up in | if it is missing or different |
|---|---|---|
| `WeaveClient`: `create_call`, `finish_call`, `flush` | `weave_parts` | tasks are not traced |
| the requests to its server, as mappings or models | `spool_server` | tasks are not traced |
| `replace_settings` or `parse_and_apply_settings` | `weave_parts` | tasks are not traced |
| the setting `client_parallelism` | `weave_parts` | a kill can lose the last calls; logged once |
| the client that ops record to | `weave_parts` | tasks are not traced |
| the functions that compute digests | `weave_parts` | tasks are not traced |
| `box`, `unbox` | `weave_parts` | tasks are not traced |
| `thread`, `attributes` | `as_call` | only the ops are calls, not the task; logged once |
| `WeaveClient.attributes` | `offline_client` | calls in threads of the task lack them |
| `ObjectRef.uri`, a method or a property | `address` | the prompt's alias is not in Weave; logged |
| patchers that can undo | `patch` | permanent `weave.integrations.patch_<provider>`; logged |

`weave_parts` tests a client before a task is traced with it. Errors after that, where a release
differs in ways that the test does not cover, are logged here and do not reach the task.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any

from flytekitplugins.wbmon.traces.spool_server import Write
from flytekitplugins.wbmon.traces.weave_parts import (
    UnsupportedWeaveError,
    find_parts,
    say_once,
    weave_version,
    working_parts,
)

__all__ = [
    "UnsupportedWeaveError",
    "activate",
    "address",
    "as_call",
    "current_call",
    "finish",
    "offline_client",
    "patch",
    "plain",
    "point_alias",
    "say_once",
    "weave_version",
]

# where weave patches the client libraries that `patch` may name, and what it calls them
_RETURNED: ContextVar[tuple[str, ...]] = ContextVar("wbmon_returned", default=())

_PATCHERS = {
    "openai": ("openai.openai_sdk", "openai"),
    "anthropic": ("anthropic.anthropic_sdk", "anthropic"),
    "litellm": ("litellm.litellm", "litellm"),
    "google_genai": ("google_genai.google_genai_sdk", "google.genai"),
    "mistral": ("mistral.mistral_sdk", "mistralai"),
    "cohere": ("cohere.cohere_sdk", "cohere"),
    "groq": ("groq.groq_sdk", "groq"),
}
_LOCK = threading.RLock()

logger = logging.getLogger(__name__)


def offline_client(
    entity: str, project: str, write: Write, *, capture_code: bool, about: Mapping[str, Any]
) -> Any:
    """Make a Weave client whose requests go to `write` instead of a server.

    Args:
        entity: W&B user or team.
        project: W&B project.
        write: Called with the kind and the body of each request, as plain JSON data.
        capture_code: Whether the source of ops is recorded.
        about: Attributes of every call, including those in threads that the task starts.

    Raises:
        UnsupportedWeaveError: If this release of weave does not have the expected form.
    """
    parts = working_parts(entity, project, capture_code=capture_code)
    client = parts.make_client(entity, project, write)
    client.attributes = dict(about)  # ignored before 0.52.39, so `as_call` sets them as well
    return client


def activate(client: Any) -> Any:
    """Make this the client to which ops record; returns the previous one."""
    return find_parts().activate(client)


@contextmanager
def as_call(
    client: Any, task: str, inputs: Mapping[str, Any], *, thread_id: str, about: Mapping[str, Any]
) -> Iterator[None]:
    """Record the block as a call; an exception of the block becomes the exception of the call.

    What `note_returned` is given in the block becomes its output.

    Args:
        client: The Weave client.
        task: Full name of the task.
        inputs: The inputs to record.
        thread_id: Groups the calls of one attempt; empty for none.
        about: Attributes of every call in the block.
    """
    import weave

    call, process = None, os.getpid()
    with ExitStack() as stack:
        stack.callback(_RETURNED.reset, _RETURNED.set(()))
        try:
            if thread_id:
                stack.enter_context(weave.thread(thread_id))
            stack.enter_context(weave.attributes(dict(about)))
            # the name groups calls in Weave, the full name is only displayed
            name = task.rpartition(".")[2] or "task"
            call = client.create_call(name, dict(inputs), attributes=dict(about), display_name=task)
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            _say_broken("the task itself is not a call", error)
        try:
            yield
        except BaseException as error:
            _end_call(client, call, error, process)
            raise
        else:
            _end_call(client, call, None, process)


def _end_call(client: Any, call: Any, outcome: BaseException | None, process: int) -> None:
    # a forked child leaves the block too, and ends nothing of its parent
    if call is None or process != os.getpid():
        return
    try:
        client.finish_call(call, list(_RETURNED.get()) or None, exception=outcome)
    except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
        _say_broken("the task's call has no end", error)


def note_returned(outputs: Any, *, is_declared: bool) -> None:
    """Note that a task returned something, for the call that records it.

    Only the types are noted: what a task returns may be large, and nobody's business.

    Args:
        outputs: What it returned; several outputs are a tuple.
        is_declared: Whether it says that it returns anything. None of one that does not is its
            result, as it should be.
    """
    values = outputs if isinstance(outputs, tuple) else (outputs,)
    known = [each for each in values if each is not None or not is_declared]
    _RETURNED.set(tuple(type(each).__name__ for each in known if not _is_empty(each)))


def _is_empty(value: Any) -> bool:
    return isinstance(value, str | bytes | list | tuple | dict | set) and not value


def _say_broken(what: str, error: Exception) -> None:
    say_once(f"weave {weave_version()}: {what} ({type(error).__name__}: {error})")


def current_call() -> Any:
    """The innermost call that the running code is in; None outside of any."""
    import weave

    try:
        return weave.get_current_call()
    except Exception as error:  # noqa: BLE001 - whatever another release does
        _say_broken("a call that its client logs may be logged twice", error)
        return None


def finish(client: Any) -> None:
    """Flush the client, so that all its requests have been written."""
    client.flush()


def patch(provider: str) -> Callable[[], None]:
    """Patch a client library so that its calls are traced.

    Weave itself patches the library for the rest of the process, and then warns at every call
    outside a trace that it is not recorded. Therefore this patch can be undone.

    Args:
        provider: The library, as in `weave.integrations.patch_<provider>`.

    Returns:
        A function that undoes the patch; it does nothing if the library was already patched.
    """
    path, symbol = _PATCHERS[provider]
    try:
        known: set[str] = import_module("weave.integrations.patch")._PATCHED_INTEGRATIONS  # noqa: SLF001
        module = import_module(f"weave.integrations.{path}")
        patcher = getattr(module, f"get_{provider}_patcher")()
        with _LOCK:
            # part by part: a library may lack some of them, and then weave never reports success
            free = [part for part in patcher.patchers if part._original_value is None]  # noqa: SLF001
            if symbol in known or not free:
                return _nothing
            patcher.attempt_patch()
            known.add(symbol)
    except Exception as error:  # noqa: BLE001 - whatever another release does
        return _patch_for_good(provider, error)

    def take_back() -> None:
        with _LOCK:
            for part in free:
                part.undo_patch()
            known.discard(symbol)

    return take_back


def _patch_for_good(provider: str, why: Exception) -> Callable[[], None]:
    from weave import integrations

    try:
        getattr(integrations, f"patch_{provider}")()
        logger.info("%s stays patched after the task: %s", provider, why)
    except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
        logger.warning("calls of %s are not traced, it cannot be patched: %s", provider, error)
    return _nothing


def _nothing() -> None:
    """Stands for an undo function where there is nothing to undo."""


def address(ref: Any) -> str:
    """The URI of a published object."""
    found = ref.uri  # a method up to 0.52.33
    return str(found if isinstance(found, str) else found())


def point_alias(client: Any, ref: Any, alias: str, *, source: Mapping[str, str]) -> None:
    """Point an alias of a published object to this version of it.

    Args:
        client: The Weave client of the task.
        ref: Reference to the version.
        alias: Name of the alias, such as `production`.
        source: The `registry` and the `prompt`; a late delivery asks them whether the alias still
            points to this version.
    """
    client.server.obj_set_aliases(
        {
            "project_id": f"{ref.entity}/{ref.project}",
            "object_id": ref.name,
            "digest": ref.digest,
            "aliases": [alias],
            "source": dict(source),
        }
    )


def plain(value: Any) -> Any:
    """Remove the wrappers that weave puts around text, numbers and times returned by an op.

    Flyte checks the types of outputs and does not accept a subclass of `str`. Ops in a traced
    task return none of these wrappers; they come from what was read from Weave before it.
    """
    return _unboxed(value, find_parts().unbox)


def _unboxed(value: Any, unbox: Callable[[Any], Any]) -> Any:
    if type(value) in (tuple, list):
        return type(value)(_unboxed(each, unbox) for each in value)
    if type(value) is dict:
        return {name: _unboxed(each, unbox) for name, each in value.items()}
    # a NamedTuple takes its fields one by one, unlike a plain tuple
    if isinstance(value, tuple) and hasattr(value, "_replace"):
        return type(value)(*(_unboxed(each, unbox) for each in value))
    return unbox(value)
