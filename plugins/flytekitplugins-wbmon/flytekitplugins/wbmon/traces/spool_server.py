"""A substitute for the Weave server in a traced task: it writes each request to disk.

Depending on the release, Weave's client sends plain mappings or pydantic models. Both are converted
to JSON data first. Digests are computed from this JSON as the server computes them, so references
to an object are valid once it has been delivered.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, Protocol

Write = Callable[[str, Mapping[str, Any]], None]


class Digests(Protocol):
    """Digest functions that agree with those of the Weave server."""

    def compute_object_digest(self, value: Any, /) -> str:
        """Digest of an object."""

    def compute_row_digest(self, row: Any, /) -> str:
        """Digest of a row of a table."""

    def compute_table_digest(self, rows: list[str], /) -> str:
        """Digest of a table, from the digests of its rows."""

    def compute_file_digest(self, content: bytes, /) -> str:
        """Digest of a file."""


class NoServerError(NotImplementedError, AttributeError):
    """A request that only a real server can answer.

    It is also an `AttributeError`, because Weave uses `hasattr` to test what its server supports.
    """


class SpoolServer:
    """The server interface of a Weave client, without a server.

    Requests that need a real server, and those that a later release of weave adds, raise
    `NoServerError`.

    Args:
        write: Called with the kind and the body of each request, as plain JSON data.
        digests: Digest functions for published objects.
    """

    def __init__(self, write: Write, digests: Digests) -> None:
        self._write = write
        self._digests = digests

    def __getattr__(self, name: str) -> Any:
        raise NoServerError(
            f"`{name}` needs the Weave server, which a traced task does not wait for; "
            "ask outside of the task"
        )

    def call_start(self, req: Any) -> Any:
        """Record the start of a call."""
        start = self._put("call_start", req)["start"]
        return SimpleNamespace(id=start["id"], trace_id=start["trace_id"])

    def call_end(self, req: Any) -> Any:
        """Record the end of a call."""
        self._put("call_end", req)
        return SimpleNamespace()

    def call_update(self, req: Any) -> Any:
        """Record a new display name of a call."""
        self._put("call_update", req)
        return SimpleNamespace()

    def obj_create(self, req: Any) -> Any:
        """Record a published object and compute its digest."""
        made = self._put("obj_create", req)["obj"]
        digest = self._digests.compute_object_digest(made["val"])
        return SimpleNamespace(digest=digest, object_id=made["object_id"])

    def obj_set_aliases(self, req: Any) -> Any:
        """Record aliases of an object; `point_alias` adds the registry that decides about them."""
        self._put("obj_set_aliases", req)
        return {}

    def table_create(self, req: Any) -> Any:
        """Record a table with all its rows."""
        table = self._put("table_create", req)["table"]
        return self._table([self._digests.compute_row_digest(row) for row in table["rows"]])

    def table_create_from_digests(self, req: Any) -> Any:
        """Record a table of rows that were recorded earlier."""
        body = _as_json(req)
        if body["row_digests"]:
            self._write("table_create_from_digests", body)
        return self._table(body["row_digests"])

    def file_create(self, req: Any) -> Any:
        """Record a file, such as an image or the source of an op."""
        asked = dict(req)
        name, content = asked["file"] if "file" in asked else (asked["name"], asked["content"])
        # the spool holds JSON, which has no bytes
        encoded = base64.b64encode(content).decode()
        file = {"project_id": asked["project_id"], "name": name, "data": encoded}
        self._write("file_create", file)
        return SimpleNamespace(digest=self._digests.compute_file_digest(content))

    def feedback_create(self, req: Any) -> Any:
        """Record feedback on a call; its id is set here, so that sending it twice counts once."""
        asked = dict(req)
        named = self._put("feedback_create", {**asked, "id": asked.get("id") or str(uuid.uuid4())})
        return SimpleNamespace(
            id=named["id"],
            created_at=datetime.now(timezone.utc),
            wb_user_id="",
            payload=named.get("payload"),
        )

    def cost_create(self, req: Any) -> Any:
        """Record prices of models."""
        costs = self._put("cost_create", req)["costs"]
        return SimpleNamespace(ids=[(str(uuid.uuid4()), name) for name in costs])

    def projects_info(self, req: Any) -> Any:  # noqa: ARG002 - weave's signature
        """Answer that no projects are known."""
        return []

    def _table(self, rows: list[str]) -> Any:
        return SimpleNamespace(digest=self._digests.compute_table_digest(rows), row_digests=rows)

    def _put(self, kind: str, req: Any) -> dict[str, Any]:
        body = _as_json(req)
        self._write(kind, body)
        return body


def _as_json(req: Any) -> dict[str, Any]:
    from pydantic_core import to_jsonable_python

    # JSON has no nan, and an object of the user must not make tracing fail
    return dict(to_jsonable_python(req, inf_nan_mode="null", fallback=str))
