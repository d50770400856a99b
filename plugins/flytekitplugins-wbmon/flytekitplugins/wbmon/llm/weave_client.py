"""The parts of weave that are not its public API: a client that needs no server.

Weave's own client keeps calls in memory until a server takes them, and drops them when none does.
Here it is given a server that writes to disk instead, so a task needs no network and an outage
costs nothing. This is the one module that knows how; it is written for the versions named in it,
and another version is refused here, so that the caller can do without.
"""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
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
_LOCK = threading.RLock()

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
