"""Client for a Weave trace server: one request after the other, within a time limit."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.delivery.no_redirection import NoRedirection
from flytekitplugins.wbmon.delivery.traces.newest_alias import newest_digest
from flytekitplugins.wbmon.delivery.traces.pending import Batch
from flytekitplugins.wbmon.delivery.traces.spool import Target

logger = logging.getLogger(__name__)

_REQUEST_S = 10.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 5.0
# a wrong key, host or project: no record would be accepted, so sending stops
_HOPELESS = (401, 403, 404)
_PATHS = {
    "obj_create": "/obj/create",
    "table_create": "/table/create",
    "table_create_from_digests": "/table/create_from_digests",
    "file_create": "/file/create",
    "call_update": "/call/update",
    "feedback_create": "/feedback/create",
    "cost_create": "/cost/create",
    "obj_set_aliases": "/objs/{object_id}/aliases",
}


class OutageError(Exception):
    """The server accepts nothing at present.

    Attributes:
        may_pass: Whether a retry may succeed.
        status: HTTP status; 0 if the server did not answer.
    """

    def __init__(self, message: str, *, may_pass: bool, status: int = 0) -> None:
        super().__init__(message)
        self.may_pass = may_pass
        self.status = status


class RefusedError(Exception):
    """The server rejects this record for good, but may accept others.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True, kw_only=True)
class TraceApi:
    """Sends requests to the server, within a time limit.

    Attributes:
        target: Server, entity and project.
        authorization: Value of the header `Authorization`.
        until: Returns the time on the clock of `time.monotonic()` at which to give up.
    """

    target: Target
    authorization: str
    until: Callable[[], float]

    def send_patiently(self, batch: Batch) -> None:
        """Send a batch, and retry with exponential backoff during an outage.

        Raises:
            OutageError: If the server did not accept it in time, or a retry is useless.
            RefusedError: If the server rejects this batch for good.
        """
        wait = _FIRST_WAIT_S
        while not self._is_sent(batch, may_wait=time.monotonic() + wait < self.until()):
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _is_sent(self, batch: Batch, *, may_wait: bool) -> bool:
        try:
            self._send(batch)
        except OutageError as error:
            if not (error.may_pass and may_wait):
                raise
            return False
        return True

    def _send(self, batch: Batch) -> None:
        target = self.target
        if batch.kind == "calls":
            path = f"/v2/{target.entity}/{target.project}/calls/complete"
            self._post(path, json.dumps({"batch": batch.body}).encode())
        elif batch.kind == "file_create":
            self._post(_PATHS[batch.kind], *_multipart(batch.body))
        elif batch.kind == "obj_set_aliases":
            self._send_alias(batch.body)
        else:
            self._post(_PATHS[batch.kind], json.dumps(batch.body).encode())

    def _send_alias(self, body: dict[str, Any]) -> None:
        path = _PATHS["obj_set_aliases"].format(object_id=quote(body["object_id"], safe=""))
        told = {name: body[name] for name in ("project_id", "aliases")}
        told["digest"] = newest_digest(body)
        try:
            self._post(path, json.dumps(told).encode(), method="PUT")
        except (OutageError, RefusedError) as error:
            if error.status not in (404, 405):
                raise
            # an older server without aliases; the object published beside the prompt has the same
            logger.warning("this Weave server knows no aliases: %s", error)

    def _post(
        self, path: str, body: bytes, kind: str = "application/json", *, method: str = "POST"
    ) -> None:
        headers = {"Content-Type": kind, "Authorization": self.authorization}
        # S310: the URL is the user's own setting, always http(s)
        request = urllib.request.Request(  # noqa: S310
            f"{self.target.trace_url}{path}", data=body, headers=headers, method=method
        )
        # not 0, which would make the socket non-blocking, so that every request fails
        left = max(0.1, min(_REQUEST_S, self.until() - time.monotonic()))
        try:
            with urllib.request.build_opener(NoRedirection).open(request, timeout=left) as answer:
                answer.read()  # an answer that breaks off confirms nothing
        except urllib.error.HTTPError as error:
            with error:  # the server says why in the body, which may be a long HTML page
                text = error.read(300).decode(errors="replace")
            classify_status(error.code, f"{path} answered {error.code}: {text}")
        except (OSError, http.client.HTTPException) as error:
            raise OutageError(f"{self.target.trace_url}: {error}", may_pass=True) from error


def classify_status(status: int, message: str) -> None:
    """Raise the exception for an HTTP status other than success.

    Raises:
        OutageError: If the server accepts nothing at present (3xx, 401, 403, 404, 408, 429, 5xx).
        RefusedError: For any other status: the server rejects this record for good.
    """
    # another address may get the record one day, but not with this key
    if status in _HOPELESS or status < 400:  # noqa: PLR2004 - HTTP
        raise OutageError(message, may_pass=False, status=status)
    if status in (408, 429) or status >= 500:  # noqa: PLR2004 - HTTP
        raise OutageError(message, may_pass=True, status=status)
    raise RefusedError(message, status=status)


def _multipart(body: dict[str, Any]) -> tuple[bytes, str]:
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="project_id"\r\n\r\n'
    name = str(body["name"]).replace('"', "")
    file = (
        f'\r\n--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    content = base64.b64decode(body["data"])
    parts = (head.encode(), str(body["project_id"]).encode(), file.encode(), content)
    return b"".join(parts) + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


def basic_authorization(api_key: str) -> str:
    """Value of the header `Authorization` for a W&B key."""
    return "Basic " + base64.b64encode(f"api:{api_key}".encode()).decode()
