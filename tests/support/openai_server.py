"""An OpenAI-compatible server on the loopback device that fails as it is told.

    with OpenAIServer() as server:
        server.script("429", "ok")          # one reply a request; then always `ok`
        client = openai.OpenAI(base_url=server.url, api_key="x")

Kinds: `ok`, `429` (bare), `429:0.02` (asks to wait, in seconds), `quota`, `400`, `401`, `404`,
`500`, `503`, `slow:0.3`, `garbage`, `cut` (the connection ends within a stream), `length`,
`says:{"error": {}}` (a body of status 200).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """A request that came in, and the reply it got."""

    path: str
    body: Json
    kind: str


def echo(messages: list[Json]) -> str:
    """The last message, as it was said."""
    return str(messages[-1]["content"])


class OpenAIServer:
    """A server in threads of this process.

    Args:
        answer: Makes the text of an answer from the messages.

    Attributes:
        changes: What takes the place of fields of an answer, such as `usage`.
        deltas: What the chunks of a streamed chat say; None for the words of the answer.
    """

    def __init__(self, answer: Callable[[list[Json]], str] = echo) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.by_model: dict[str, str] = {}
        self.changes: Json = {}
        self.deltas: list[Json] | None = None
        self._script: list[str] = []
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"app": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        """For `base_url`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def script(self, *kinds: str) -> None:
        """What the next requests get."""
        self._script = list(kinds)

    def next_kind(self, body: Json) -> str:
        """What this request gets."""
        with self._lock:
            if body.get("model") in self.by_model:
                return self.by_model[body["model"]]
            return self._script.pop(0) if self._script else "ok"

    def close(self) -> None:
        """Stop."""
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> OpenAIServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    app: OpenAIServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        kind, _, detail = self.app.next_kind(body).partition(":")
        self.app.requests.append(Request(self.path, body, kind))
        with suppress(OSError):
            self._reply(body, kind, detail)

    def log_message(self, *_: object) -> None:
        """Nothing on the test's output."""

    def _reply(self, body: Json, kind: str, detail: str) -> None:
        if kind == "slow":
            time.sleep(float(detail))
        if kind == "quota":
            self._error(429, "insufficient_quota")
        elif kind.isdigit():
            self._error(int(kind), "rate_limit_exceeded" if kind == "429" else "failed", detail)
        elif kind == "garbage":
            self._send(200, b"<html>gateway</html>")
        elif kind == "says":
            self._send(200, json.loads(detail))
        elif self.path.endswith("/embeddings"):
            self._send(200, _embeddings(body))
        elif self.path.endswith("/responses"):
            self._respond(body)
        elif body.get("stream"):
            self._stream(body, kind)
        elif "prompt" in body:
            self._send(200, _text_completion(body))
        else:
            text = self.app.answer(body["messages"])
            self._send(200, _completion(body, text, kind) | self.app.changes)

    def _error(self, status: int, code: str, wait: str = "") -> None:
        message = f"Rate limit reached for {code}" if status == 429 else code
        headers = {"retry-after-ms": str(float(wait) * 1e3)} if wait else {}
        error = {"error": {"message": message, "type": code, "code": code, "param": None}}
        self._send(status, error, headers)

    def _respond(self, body: Json) -> None:
        whole = _response(body) | self.app.changes
        if not body.get("stream"):
            self._send(200, whole)
            return
        self._begin_events()
        text = {"type": "response.output_text.delta", "delta": "hello", "item_id": "m"}
        text |= {"output_index": 0, "content_index": 0, "sequence_number": 1, "logprobs": []}
        last = {"type": f"response.{whole['status']}", "sequence_number": 2, "response": whole}
        self._event(text)
        self._event(last)

    def _begin_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _stream(self, body: Json, kind: str) -> None:
        self._begin_events()
        deltas = self.app.deltas
        if deltas is None:
            words = self.app.answer(body["messages"]).split(" ")
            deltas = [{"content": f" {word}"[not place :]} for place, word in enumerate(words)]
        common = {"id": "c1", "object": "chat.completion.chunk", "created": 1}
        common |= {"model": f"{body['model']}-2026-01-01"}
        for delta in deltas:
            self._event(common | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            if kind == "cut":
                self.connection.close()
                return
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self._event(common | {"choices": [last]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self._event(common | {"choices": [], "usage": _usage(body, len(deltas))})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, data: Json) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _send(self, status: int, body: Any, headers: Json | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(body, bytes) else "application/json"
        for name, value in {
            "Content-Type": kind,
            "Content-Length": len(data),
            **(headers or {}),
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)


def _usage(body: Json, n_output: int) -> Json:
    n_input = sum(len(str(each.get("content")).split()) for each in body["messages"])
    return {
        "prompt_tokens": n_input,
        "completion_tokens": n_output,
        "total_tokens": n_input + n_output,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


def _completion(body: Json, text: str, kind: str) -> Json:
    reason = "length" if kind == "length" else "stop"
    message = {"role": "assistant", "content": text}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{body['model']}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": _usage(body, len(text.split())),
    }


def _text_completion(body: Json) -> Json:
    return {
        "id": "t1",
        "object": "text_completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "text": "hello", "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
    }


def _embeddings(body: Json) -> Json:
    return {
        "object": "list",
        "model": body["model"],
        "data": [{"object": "embedding", "index": 0, "embedding": [0.0, 1.0]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def _response(body: Json) -> Json:
    part = {"type": "output_text", "text": "hello", "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
    usage = {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
    usage |= {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    return {
        "id": "r1",
        "object": "response",
        "created_at": 1,
        "model": body["model"],
        "status": "completed",
        "output": [{**message, "content": [part]}],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }
