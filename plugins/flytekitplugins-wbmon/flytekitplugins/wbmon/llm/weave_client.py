"""The parts of weave that are not its public API: a client that needs no server.

Weave's own client keeps calls in memory until a server takes them, and drops them when none does.
Here it is given a server that writes to disk instead, so a task needs no network and an outage
costs nothing. This is the one module that knows how; it is written for the versions named in it,
and another version is refused here, so that the caller can do without.
"""

from __future__ import annotations

import base64
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any

from flytekitplugins.wbmon.errors import MissingExtraError

SUPPORTED = ("0.54",)
_SETTINGS = {
    "print_call_link": False,
    "capture_client_info": False,
    "capture_system_info": False,
    "implicitly_patch_integrations": False,
    "use_server_cache": False,
    # no threads: a finished call is on disk before the caller goes on, also if it is then killed
    "client_parallelism": 0,
}
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

Write = Callable[[str, Mapping[str, Any]], None]


class UnsupportedWeaveError(RuntimeError):
    """This version of weave is not one that the offline client was written for."""


def weave_version() -> str:
    """The version that is installed.

    Raises:
        MissingExtraError: If none is.
    """
    try:
        return version("weave")
    except PackageNotFoundError as error:
        raise MissingExtraError.for_feature("Weave tracing", extra="llm") from error


def offline_client(entity: str, project: str, write: Write, *, capture_code: bool) -> Any:
    """A Weave client whose server is a function that writes.

    Args:
        entity: W&B user or team.
        project: W&B project.
        write: Gets the kind of each request and its body, as plain JSON data.
        capture_code: Whether the source of ops is recorded.

    Raises:
        UnsupportedWeaveError: If this version of weave works in another way.
    """
    found = weave_version()
    if not found.startswith(tuple(f"{each}." for each in SUPPORTED)):
        raise UnsupportedWeaveError(
            f"weave must be {' or '.join(SUPPORTED)} for tracing through the disk, found {found}"
        )
    try:
        from weave.trace import settings
        from weave.trace.weave_client import WeaveClient

        settings.replace_settings({**_SETTINGS, "capture_code": capture_code})
        return WeaveClient(entity, project, SpoolServer(write), ensure_project_exists=False)
    except (ImportError, AttributeError, TypeError) as error:
        raise UnsupportedWeaveError(f"weave {found} works in another way: {error}") from error


def activate(client: Any) -> Any:
    """Let ops record to this client; the one that they recorded to before."""
    from weave.trace.context import weave_client_context as context

    with _LOCK:
        before = context.get_weave_client()
        context.set_weave_client_global(None)
        context.set_weave_client_global(client)
    return before


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
    except (ImportError, AttributeError) as error:
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
    except (ImportError, AttributeError) as error:
        logger.warning("calls of %s are not traced, it cannot be patched: %s", provider, error)
    return _nothing


def _nothing() -> None:
    """Nothing to take back."""


def point_alias(client: Any, ref: Any, alias: str, *, source: Mapping[str, str]) -> None:
    """Let an alias of a published object mean this version of it.

    Args:
        client: What records now.
        ref: Of the version.
        alias: Such as `production`.
        source: `registry` and `prompt`: who decides, for a delivery that comes late.
    """
    if isinstance(client.server, SpoolServer):
        client.server.obj_set_aliases(
            {
                "project_id": client.project_id,
                "object_id": ref.name,
                "digest": ref.digest,
                "aliases": [alias],
                "source": dict(source),
            }
        )
    elif hasattr(client, "set_aliases"):
        client.set_aliases(ref, alias)


def plain(value: Any) -> Any:
    """What an op returns, without the wrapper that weave puts around texts, numbers and times.

    Flyte checks the types of outputs and takes no subclass of `str`.
    """
    from weave.trace.box import unbox

    if type(value) in (tuple, list):
        return type(value)(plain(each) for each in value)
    if type(value) is dict:
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_replace"):
        return type(value)(*map(plain, value))
    return unbox(value)


class SpoolServer:
    """What a Weave client asks of its server, answered without one.

    Digests are those that weave computes, so that references are right when the objects arrive.
    What only a server can answer raises `NotImplementedError`.
    """

    def __init__(self, write: Write) -> None:
        self._write = write

    def call_start(self, req: Mapping[str, Any]) -> Any:
        """A call began."""
        self._put("call_start", req)
        return SimpleNamespace(id=req["start"]["id"], trace_id=req["start"]["trace_id"])

    def call_end(self, req: Mapping[str, Any]) -> Any:
        """A call ended."""
        self._put("call_end", req)
        return SimpleNamespace()

    def call_update(self, req: Mapping[str, Any]) -> Any:
        """A call got another name."""
        self._put("call_update", req)
        return SimpleNamespace()

    def obj_create(self, req: Mapping[str, Any]) -> Any:
        """An object was published."""
        from weave.trace.serialization.digest import compute_object_digest

        self._put("obj_create", req)
        return SimpleNamespace(
            digest=compute_object_digest(req["obj"]["val"]), object_id=req["obj"]["object_id"]
        )

    def obj_set_aliases(self, req: Mapping[str, Any]) -> Any:
        """Aliases of an object; from `point_alias` also who decides about them."""
        self._put("obj_set_aliases", req)
        return {}

    def table_create(self, req: Mapping[str, Any]) -> Any:
        """The rows of a data set."""
        from weave.trace.serialization.digest import compute_row_digest, compute_table_digest

        self._put("table_create", req)
        rows = [compute_row_digest(row) for row in req["table"]["rows"]]
        return SimpleNamespace(digest=compute_table_digest(rows), row_digests=rows)

    def table_create_from_digests(self, req: Mapping[str, Any]) -> Any:
        """A data set of rows that were written before."""
        from weave.trace.serialization.digest import compute_table_digest

        rows = list(req["row_digests"])
        if rows:
            self._put("table_create_from_digests", req)
        return SimpleNamespace(digest=compute_table_digest(rows), row_digests=rows)

    def file_create(self, req: Mapping[str, Any]) -> Any:
        """A file, such as an image or the source of an op."""
        from weave.trace.serialization.digest import compute_file_digest

        name, content = req["file"]
        encoded = base64.b64encode(content).decode()
        self._put("file_create", {"project_id": req["project_id"], "name": name, "data": encoded})
        return SimpleNamespace(digest=compute_file_digest(content))

    def feedback_create(self, req: Mapping[str, Any]) -> Any:
        """Feedback on a call; its id is made here, so that it can be sent twice and count once."""
        named = {**req, "id": req.get("id") or str(uuid.uuid4())}
        self._put("feedback_create", named)
        return SimpleNamespace(
            id=named["id"],
            created_at=datetime.now(timezone.utc),
            wb_user_id="",
            payload=req.get("payload"),
        )

    def cost_create(self, req: Mapping[str, Any]) -> Any:
        """Prices of models."""
        self._put("cost_create", req)
        return SimpleNamespace(ids=[(str(uuid.uuid4()), name) for name in req["costs"]])

    def projects_info(self, req: Mapping[str, Any]) -> Any:  # noqa: ARG002 - weave's signature
        """Nothing is known of projects here."""
        return []

    def _put(self, kind: str, req: Mapping[str, Any]) -> None:
        from pydantic_core import to_jsonable_python

        self._write(kind, to_jsonable_python(req, inf_nan_mode="null", fallback=str))
