"""What stands in for the Weave server in a traced task: it writes to disk what is asked of it.

Weave's clients ask in two shapes, by release: plain mappings or models of pydantic. Both become
JSON data here before anything else is done with them. Digests are those that the server computes
from that JSON, so that references are right when the objects arrive.
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
    """What names published things as the server does, so that a reference to them is right."""

    def compute_object_digest(self, value: Any, /) -> str:
        """Of an object."""

    def compute_row_digest(self, row: Any, /) -> str:
        """Of a row of a table."""

    def compute_table_digest(self, rows: list[str], /) -> str:
        """Of a table, by the digests of its rows."""

    def compute_file_digest(self, content: bytes, /) -> str:
        """Of a file."""


class NoServerError(NotImplementedError, AttributeError):
    """Only a server can answer this, and a traced task has none.

    It is an `AttributeError` too, because Weave asks with `hasattr` what its server can do.
    """


class SpoolServer:
    """What a Weave client asks of its server, answered without one.

    What only a server can answer, and what a release of weave asks that was not there when this
    was written, raises `NoServerError`.

    Args:
        write: Gets the kind of each request and its body, as plain JSON data.
        digests: Name what is published.
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
        """A call began."""
        start = self._put("call_start", req)["start"]
        return SimpleNamespace(id=start["id"], trace_id=start["trace_id"])

    def call_end(self, req: Any) -> Any:
        """A call ended."""
        self._put("call_end", req)
        return SimpleNamespace()

    def call_update(self, req: Any) -> Any:
        """A call got another name."""
        self._put("call_update", req)
        return SimpleNamespace()

    def obj_create(self, req: Any) -> Any:
        """An object was published."""
        made = self._put("obj_create", req)["obj"]
        digest = self._digests.compute_object_digest(made["val"])
        return SimpleNamespace(digest=digest, object_id=made["object_id"])

    def obj_set_aliases(self, req: Any) -> Any:
        """Aliases of an object; from `point_alias` also who decides about them."""
        self._put("obj_set_aliases", req)
        return {}

    def table_create(self, req: Any) -> Any:
        """The rows of a data set."""
        table = self._put("table_create", req)["table"]
        return self._table([self._digests.compute_row_digest(row) for row in table["rows"]])

    def table_create_from_digests(self, req: Any) -> Any:
        """A data set of rows that were written before."""
        body = _as_json(req)
        if body["row_digests"]:
            self._write("table_create_from_digests", body)
        return self._table(body["row_digests"])

    def file_create(self, req: Any) -> Any:
        """A file, such as an image or the source of an op."""
        asked = dict(req)
        name, content = asked["file"] if "file" in asked else (asked["name"], asked["content"])
        encoded = base64.b64encode(content).decode()
        file = {"project_id": asked["project_id"], "name": name, "data": encoded}
        self._write("file_create", file)
        return SimpleNamespace(digest=self._digests.compute_file_digest(content))

    def feedback_create(self, req: Any) -> Any:
        """Feedback on a call; its id is made here, so that it can be sent twice and count once."""
        asked = dict(req)
        named = self._put("feedback_create", {**asked, "id": asked.get("id") or str(uuid.uuid4())})
        return SimpleNamespace(
            id=named["id"],
            created_at=datetime.now(timezone.utc),
            wb_user_id="",
            payload=named.get("payload"),
        )

    def cost_create(self, req: Any) -> Any:
        """Prices of models."""
        costs = self._put("cost_create", req)["costs"]
        return SimpleNamespace(ids=[(str(uuid.uuid4()), name) for name in costs])

    def projects_info(self, req: Any) -> Any:  # noqa: ARG002 - weave's signature
        """Nothing is known of projects here."""
        return []

    def _table(self, rows: list[str]) -> Any:
        return SimpleNamespace(digest=self._digests.compute_table_digest(rows), row_digests=rows)

    def _put(self, kind: str, req: Any) -> dict[str, Any]:
        body = _as_json(req)
        self._write(kind, body)
        return body


def _as_json(req: Any) -> dict[str, Any]:
    from pydantic_core import to_jsonable_python

    return dict(to_jsonable_python(req, inf_nan_mode="null", fallback=str))
