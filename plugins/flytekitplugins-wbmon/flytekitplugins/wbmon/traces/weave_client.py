"""Weave without its server: the client of a traced task, and what the task asks of it.

Weave's own client keeps calls in memory until a server takes them, and drops them when none does.
Here it is given a server that writes to disk instead, so a task needs no network and an outage
costs nothing. That leans on parts of weave which are not its public API:

| part | looked up in | where it is another |
|---|---|---|
| `WeaveClient`: `create_call`, `finish_call`, `flush` | `weave_parts` | tasks are not traced |
| the requests to its server, as mappings or models | `spool_server` | tasks are not traced |
| `replace_settings` or `parse_and_apply_settings` | `weave_parts` | tasks are not traced |
| the setting `client_parallelism` | `weave_parts` | a kill can lose the last calls; said once |
| the client that ops record to | `weave_parts` | tasks are not traced |
| the functions that compute digests | `weave_parts` | tasks are not traced |
| `unbox` | `weave_parts` | tasks are not traced |
| `thread`, `attributes` | `as_call` | the task itself is no call, its ops are; said once |
| `WeaveClient.attributes` | `offline_client` | only calls in threads of the task lack them |
| `ObjectRef.uri`, a method or a property | `address` | the prompt's alias is not in Weave; said |
| patchers that can undo | `patch` | `weave.integrations.patch_<provider>`, for good; said |

`weave_parts` tries a client out before a task is traced with it. What goes wrong later, because a
release differs where the trial does not look, is logged here and does not reach the task.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
    "finish",
    "offline_client",
    "patch",
    "plain",
    "point_alias",
    "say_once",
    "weave_version",
]

# where weave patches the client libraries that `patch` may name, and what it calls them
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
    """A Weave client whose server is a function that writes.

    Args:
        entity: W&B user or team.
        project: W&B project.
        write: Gets the kind of each request and its body, as plain JSON data.
        capture_code: Whether the source of ops is recorded.
        about: Attributes of every call, also of those in threads that a task makes.

    Raises:
        UnsupportedWeaveError: If this release of weave works in another way.
    """
    parts = working_parts(entity, project, capture_code=capture_code)
    client = parts.make_client(entity, project, write)
    client.attributes = dict(about)  # before 0.52.39 nothing looks at it: `as_call` does as well
    return client


def activate(client: Any) -> Any:
    """Let ops record to this client; the one that they recorded to before."""
    return find_parts().activate(client)


@contextmanager
def as_call(
    client: Any, task: str, inputs: Mapping[str, Any], *, thread_id: str, about: Mapping[str, Any]
) -> Iterator[None]:
    """The block as a call, which ends as the block ends.

    Args:
        client: What records.
        task: Full name of the task.
        inputs: Those that are recorded.
        thread_id: Groups the calls of one attempt; empty for none.
        about: Attributes of every call in the block.
    """
    import weave

    call = None
    with ExitStack() as stack:
        try:
            if thread_id:
                stack.enter_context(weave.thread(thread_id))
            stack.enter_context(weave.attributes(dict(about)))
            name = task.rpartition(".")[2] or "task"
            call = client.create_call(name, dict(inputs), attributes=dict(about), display_name=task)
        except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
            _say_broken("the task itself is not a call", error)
        try:
            yield
        except BaseException as error:
            _end_call(client, call, error)
            raise
        else:
            _end_call(client, call, None)


def _end_call(client: Any, call: Any, outcome: BaseException | None) -> None:
    if call is None:
        return
    try:
        client.finish_call(call, None, exception=outcome)
    except Exception as error:  # noqa: BLE001 - a monitor never breaks what it monitors
        _say_broken("the task's call has no end", error)


def _say_broken(what: str, error: Exception) -> None:
    say_once(f"weave {weave_version()}: {what} ({type(error).__name__}: {error})")


def finish(client: Any) -> None:
    """Let what is still being written reach the server."""
    client.flush()


def patch(provider: str) -> Callable[[], None]:
    """Let the calls of a client library be traced.

    Weave patches the library for the rest of the process, and then says of every call outside of
    a trace that it is not recorded. So what is patched here can be taken back.

    Args:
        provider: The library, as in `weave.integrations.patch_<provider>`.

    Returns:
        Takes it back; does nothing if somebody else had patched the library before.
    """
    path, symbol = _PATCHERS[provider]
    try:
        known: set[str] = import_module("weave.integrations.patch")._PATCHED_INTEGRATIONS  # noqa: SLF001
        module = import_module(f"weave.integrations.{path}")
        patcher = getattr(module, f"get_{provider}_patcher")()
        with _LOCK:
            # what a library does not have cannot be patched, so weave never says "done" as a whole
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
    """Nothing to take back."""


def address(ref: Any) -> str:
    """The address of a published object."""
    found = ref.uri  # a method up to 0.52.33
    return str(found if isinstance(found, str) else found())


def point_alias(client: Any, ref: Any, alias: str, *, source: Mapping[str, str]) -> None:
    """Let an alias of a published object mean this version of it.

    Args:
        client: The task's.
        ref: Of the version.
        alias: Such as `production`.
        source: `registry` and `prompt`: who decides, for a delivery that comes late.
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
    """What an op returns, without the wrapper that weave puts around texts, numbers and times.

    Flyte checks the types of outputs and takes no subclass of `str`.
    """
    return _unboxed(value, find_parts().unbox)


def _unboxed(value: Any, unbox: Callable[[Any], Any]) -> Any:
    if type(value) in (tuple, list):
        return type(value)(_unboxed(each, unbox) for each in value)
    if type(value) is dict:
        return {name: _unboxed(each, unbox) for name, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_replace"):
        return type(value)(*(_unboxed(each, unbox) for each in value))
    return unbox(value)
