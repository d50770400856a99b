"""A stand-in for a language model, so that the LLM workflows run without one.

It speaks the OpenAI API on the loopback device. It reads what it is given and finds the answer
there; without notes it knows about half of the capitals. It is no model: it shows the pipeline.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from workflows.llm_questions import CAPITALS

_ASKED = re.compile(r"capital of (\w+)")


def start(*, slots: int = 4, service_s: float = 0.0) -> str:
    """Serve in threads of this process; the base URL.

    Args:
        slots: Requests that are worked on at the same time; others wait.
        service_s: Seconds a request takes beyond its words.
    """
    handler = type("Handler", (_Handler,), {"gate": threading.Semaphore(slots), "pause": service_s})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


def reply(text: str) -> str:
    """What the stand-in says to a prompt."""
    if "JSON only" in text:
        return json.dumps(_verdict(text))
    asked = _ASKED.search(text)
    country = asked[1] if asked else ""
    noted = re.search(rf"{country} is a country\. Its capital is ([^.]+)\.", text)
    if noted:
        return f"{noted[1]} [doc-{country.lower()}]"
    luck = hashlib.sha256(country.encode()).digest()[0] / 255
    return CAPITALS.get(country, "I do not know") if luck < 0.55 else "I do not know"  # noqa: PLR2004


def _verdict(text: str) -> dict[str, Any]:
    asked, answer = _ASKED.search(text), re.search(r"^Answer: (.*?)(?: \[|$)", text, re.MULTILINE)
    notes = text.partition("Answer:")[0] if answer else text.partition("Document:")[2]
    wanted = answer[1] if answer else (asked[1] if asked else "?")
    return {"score": float(wanted in notes), "reason": f"{wanted!r} is or is not in the notes"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    gate: threading.Semaphore
    pause: float

    def do_POST(self) -> None:
        """Answer a chat request."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        with self.gate:
            time.sleep(self.pause)
            prompt = "\n".join(str(each["content"]) for each in body["messages"])
            text = reply(prompt)
        n_in, n_out = len(prompt.split()), len(text.split())
        usage = {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
        head = {"id": "c", "created": 1, "model": body["model"]}
        message = {"role": "assistant", "content": text}
        if body.get("stream"):
            delta = {"index": 0, "delta": message, "finish_reason": None}
            parts: list[dict[str, Any]] = [{"choices": [delta]}, {"choices": [], "usage": usage}]
            chunks = [{**head, "object": "chat.completion.chunk", **part} for part in parts]
            data = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"
        else:
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            data = json.dumps(
                {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            )
        self.send_response(200)
        self.send_header(
            "Content-Type", "text/event-stream" if body.get("stream") else "application/json"
        )
        self.send_header("Content-Length", str(len(data.encode())))
        self.end_headers()
        self.wfile.write(data.encode())

    def log_message(self, *_: object) -> None:
        """Nothing on the console."""
