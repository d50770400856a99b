"""A Weave trace server of our own on the loopback device, with faults on demand.

    with WeaveServer() as server:
        server.fault = Fault("hang")
        ...  # trace to server.url
        server.fault = None
        assert server.calls["..."]["op_name"]

Written from the requests that weave 0.52 to 0.54 were observed to make. It keeps what arrives and
answers what `weave.publish`, `weave.ref().get()`, `get_calls` and the feedback and cost calls need.
Digests are its own, as those of the real server are: a client that computes others is found out.
"""

from __future__ import annotations

import base64
import email.parser
import email.policy
import hashlib
import json
import re
import socket
import threading
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.wandb_faults import Fault

Json = dict[str, Any]

KEY = "loopback" * 5


def bytes_digest(content: bytes) -> str:
    """What the server calls a file."""
    text = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
    return text.translate(str.maketrans("-_", "XY")).rstrip("=")


def json_digest(value: Any) -> str:
    """What the server calls an object or a row."""
    return bytes_digest(json.dumps(value, sort_keys=True).encode())


class _MissingError(Exception):
    """Nothing of that name."""


class WeaveServer:
    """A server in threads of this process.

    Args:
        key: The only API key that is let in.
    """

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.calls: dict[str, Json] = {}
        self.objects: dict[tuple[str, str], list[Json]] = {}
        self.tables: dict[str, list[Json]] = {}
        self.files: list[tuple[str, bytes]] = []
        self.feedback: list[Json] = []
        self.costs: list[Json] = []
        self.requests: list[tuple[str, int]] = []
        self.unknown: list[str] = []
        self.knows_aliases = True
        self.fault: Fault | None = None
        self.lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._port = 0
        self._http: ThreadingHTTPServer | None = None
        self.start()

    @property
    def url(self) -> str:
        """Its base URL, as W&B's API would have it; traces are below `/traces`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def trace_url(self) -> str:
        """Base URL of the trace server."""
        return f"{self.url}/traces"

    def start(self) -> None:
        """Listen."""
        handler = type("Handler", (_Handler,), {"app": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._http.daemon_threads = True
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Die."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def __enter__(self) -> WeaveServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.fault = None
        self.stop()

    def named(self, name: str) -> list[Json]:
        """The calls of an op."""
        return [call for call in self.calls.values() if f"/op/{name}:" in call["op_name"]]

    def answer(self, path: str, body: Any) -> Any:
        """The answer to one request."""
        if re.fullmatch(r"/v2/[^/]+/[^/]+/calls/complete", path):
            for call in body["batch"]:
                self.calls[call["id"]] = call
            return {}
        single = re.fullmatch(r"(?:/v2/[^/]+/[^/]+)?/call/(start|end)", path)
        if single:
            part = body[single[1]]
            self.calls.setdefault(part["id"], {}).update(part)
            return {"id": part["id"], "trace_id": part.get("trace_id")}
        if path == "/call/upsert_batch":
            for item in body["batch"]:
                part = item["req"][item["mode"]]
                self.calls.setdefault(part["id"], {}).update(part)
            return {"res": [{} for _ in body["batch"]]}
        aliased = re.fullmatch(r"/objs/([^/]+)/aliases", path)
        if aliased and self.knows_aliases:
            return self.set_aliases(aliased[1], body["digest"], body["aliases"])
        answer = getattr(self, "answer_" + path.strip("/").replace("/", "_"), None)
        if answer is None:
            self.unknown.append(path)
            raise _MissingError(path)
        return answer(body)

    def answer_server_info(self, _: Any) -> Json:
        return {"min_required_weave_python_version": "0.0.1", "trace_server_version": "99.0.0"}

    def answer_call_update(self, body: Json) -> Json:
        self.calls[body["call_id"]]["display_name"] = body.get("display_name")
        return {}

    def answer_calls_stream_query(self, body: Json) -> list[Json]:
        found = [c for c in self.calls.values() if c["project_id"] == body["project_id"]]
        return [{"attributes": {}, "inputs": {}, "summary": {}, **call} for call in found]

    def answer_obj_create(self, body: Json) -> Json:
        new = dict(body["obj"])
        versions = self.objects.setdefault((new["project_id"], new["object_id"]), [])
        new["digest"] = json_digest(new["val"])
        if not any(each["digest"] == new["digest"] for each in versions):
            place = {"version_index": len(versions), "created_at": "2026-01-01T00:00:00Z"}
            versions.append({**new, **place, "aliases": [], "kind": "object", "is_latest": 1})
        return {"digest": new["digest"], "object_id": new["object_id"]}

    def answer_obj_read(self, body: Json) -> Json:
        versions = self.objects.get((body["project_id"], body["object_id"]), [])
        wanted = body["digest"]
        for each in reversed(versions):
            names = (each["digest"], "latest", f"v{each['version_index']}", *each["aliases"])
            if wanted in names:
                return {"obj": {**each, "base_object_class": None, "tags": []}}
        raise _MissingError(wanted)

    def set_aliases(self, object_id: str, digest: str, aliases: list[str]) -> Json:
        found = [each for (_, name), all_ in self.objects.items() if name == object_id
                 for each in all_]  # fmt: skip
        if all(each["digest"] != digest for each in found):
            raise _MissingError(digest)
        for each in found:
            each["aliases"] = [a for a in each["aliases"] if a not in aliases]
            if each["digest"] == digest:
                each["aliases"] += aliases
        return {}

    def aliased(self, object_id: str) -> dict[str, str]:
        """The digest that each alias of an object points at."""
        return {alias: each["digest"] for (_, name), versions in self.objects.items()
                if name == object_id for each in versions for alias in each["aliases"]}  # fmt: skip

    def answer_table_create(self, body: Json) -> Json:
        rows = body["table"]["rows"]
        digests = [json_digest(row) for row in rows]
        digest = hashlib.sha256("".join(digests).encode()).hexdigest()
        self.tables[digest] = rows
        return {"digest": digest, "row_digests": digests}

    def answer_table_query(self, body: Json) -> Json:
        rows = self.tables[body["digest"]]
        return {
            "rows": [{"digest": str(i), "val": r, "original_index": i} for i, r in enumerate(rows)]
        }

    def answer_file_create(self, parts: dict[str, Any]) -> Json:
        name, data = parts["file"]
        self.files.append((name, data))
        return {"digest": bytes_digest(data)}

    def answer_feedback_create(self, body: Json) -> Json:
        new = {**body, "id": body.get("id") or str(uuid.uuid4())}
        if all(each["id"] != new["id"] for each in self.feedback):
            self.feedback.append(new)
        created = {"created_at": "2026-01-01T00:00:00Z", "wb_user_id": "loop"}
        return {"id": new["id"], "payload": new.get("payload"), **created}

    def answer_feedback_query(self, _: Json) -> Json:
        return {"result": self.feedback}

    def answer_cost_create(self, body: Json) -> Json:
        self.costs.append(body)
        return {"ids": [[str(uuid.uuid4()), name] for name in body["costs"]]}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    app: WeaveServer

    def handle_any(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/traces")
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status = 0
        try:
            status = self._answer(path, raw)
        except OSError:
            self.close_connection = True
        finally:
            self.app.requests.append((path, status))

    do_GET = do_POST = do_PUT = handle_any  # noqa: N815 - names of the standard library

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""

    def _answer(self, path: str, raw: bytes) -> int:
        fault = self.app.fault
        if fault is not None and fault.hits(f"{self.command} {path}"):
            if fault.kind == "status":
                return self._send(fault.status, {"reason": "planned fault"})
            while fault.kind == "hang" and self.app.fault is fault:
                time.sleep(0.02)
            self.connection.close()
            self.close_connection = True
            return 0
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        if base64.b64decode(given).decode().partition(":")[2] != self.app.key:
            return self._send(401, {"reason": "invalid API key"})
        try:
            with self.app.lock:
                return self._send(200, self.app.answer(path, self._body(raw)))
        except (_MissingError, KeyError):
            return self._send(404, {"reason": "not found"})

    def _body(self, raw: bytes) -> Any:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/"):
            return json.loads(raw) if raw else None
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + raw)
        parts: dict[str, Any] = {}
        for part in message.iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            data = part.get_payload(decode=True)
            parts[name] = (part.get_filename(), data) if part.get_filename() else data
        return parts

    def _send(self, status: int, body: Any) -> int:
        if isinstance(body, list):
            data = "".join(json.dumps(each) + "\n" for each in body).encode()
        else:
            data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data)
        return status
