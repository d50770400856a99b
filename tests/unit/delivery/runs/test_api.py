"""Answers of any shape to the requests of a delivery, over a real socket."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import (
    KeyRefusedError,
    RunTarget,
    ServedRun,
    ServerRefusedError,
    WandbApi,
)
from flytekitplugins.wbmon.delivery.runs.transport import UnreachableError
from flytekitplugins.wbmon.errors import PublishError

TARGET = RunTarget(entity="ops", project="payments", run_id="r1")
ALERT = {"title": "t", "text": "x", "level": "WARN", "wait_ms": 1}
REQUESTS: dict[str, Callable[[WandbApi], Any]] = {
    "find_run": lambda api: api.find_run(TARGET),
    "list_runs": lambda api: api.list_runs("ops", "payments", "group"),
    "send_alert": lambda api: api.send_alert(TARGET, ALERT),
    "has_artifact": lambda api: api.has_artifact("client", "digest"),
    "ask_for_artifact": lambda api: api.ask_for_artifact("ops", "payments", "profile:production"),
    "set_outcome": lambda api: api.set_outcome(TARGET, 0),
    "read_rows": lambda api: api.read_rows(TARGET, 0, 9, most=5),
    "absent_files": lambda api: api.absent_files(TARGET, {"a.txt"}),
    "create_run": lambda api: api.create_run(TARGET),
    "write_config": lambda api: api.write_config(ServedRun(node_id="n"), {"a": {"value": 1}}),
    "set_tags": lambda api: api.set_tags(ServedRun(node_id="n"), ("a",)),
}
RUN = {
    "id": "n1", "name": "r1", "state": "finished", "historyLineCount": 3, "tags": ["a"],
    "historyKeys": {"lastStep": 2}, "summaryMetrics": '{"loss": 1}',
    "config": "{}", "heartbeatAt": None, "displayName": "a name", "notes": None,
}  # fmt: skip


class AnyServer:
    """A socket that reads a request and answers with whatever a test wants."""

    def __init__(self) -> None:
        self.answer: bytes | Callable[[socket.socket], None] = b""
        self.requests: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=32)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.requests.append(_read(connection))
            if callable(self.answer):
                self.answer(connection)
            else:
                connection.sendall(self.answer)


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (more := connection.recv(65536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)) and (more := connection.recv(65536)):
        body += more
    return head + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def server() -> Iterator[AnyServer]:
    server = AnyServer()
    yield server
    server.stop()


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def api(server: AnyServer, *, seconds: float = 5) -> WandbApi:
    until = time.monotonic() + seconds
    return WandbApi(server.url, ApiKey("k" * 40), until=lambda: until)


def data(**content: Any) -> bytes:
    return http(json.dumps({"data": content}).encode())


def served(**changes: Any) -> bytes:
    return data(project={"run": {**RUN, **changes}})


ODD = {
    "nothing": b"",
    "no status line": b"hello\r\n\r\n",
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half a status line": b"HTTP/1.1 2",
    "an endless line": b"HTTP/1.1 200 " + b"x" * 70_000,
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n{}",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    "half of it": b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"data": ',
    "an empty body": http(b""),
    "no content": http(b"", "204 No Content"),
    "HTML": http(b"<html>log in</html>", "200 OK", "Content-Type: text/html"),
    "gzip that nobody asked for": http(gzip.compress(b"{}"), "200 OK", "Content-Encoding: gzip"),
    "another charset": http('{"data": "é"}'.encode("latin-1")),
    "deep nesting": http(b"[" * 100_000),
    "null": http(b"null"),
    "a list": http(b"[]"),
    "a number": http(b"7"),
    "nothing in it": http(b"{}"),
    "no data": http(b'{"data": null}'),
    "data of another type": http(b'{"data": ["project"]}'),
    "an empty object": http(b'{"data": {}}'),
    "errors as text": http(b'{"errors": "no"}'),
    "errors as a number": http(b'{"errors": 1, "data": {}}'),
    "errors in a list of lists": http(b'{"errors": [[1]]}'),
    "an error of the server": http(b"{}", "500 Oops"),
    "too many requests": http(b"{}", "429 Slow Down"),
    "a status that does not exist": http(b"{}", "799 What"),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("odd", ODD)
def test_an_answer_that_is_none_is_an_error_of_delivery(
    server: AnyServer, name: str, odd: str
) -> None:
    server.answer = ODD[odd]
    means_nothing = {
        "set_outcome",
        "set_tags",
        "write_config",
    }  # whose answer is not read, only its status
    with suppress(PublishError) if name in means_nothing else pytest.raises(PublishError):
        REQUESTS[name](api(server))


@pytest.mark.parametrize(
    ("project", "is_there"),
    [(None, False), ({"artifact": None}, False), ({"artifact": {"id": "a"}}, True)],
)
def test_an_artifact_is_there_if_the_server_says_so(
    server: AnyServer, project: Any, is_there: bool
) -> None:
    server.answer = data(project=project)
    assert api(server).ask_for_artifact("ops", "payments", "profile:production") is is_there


FIELDS = (
    "data", "project", "run", "runs", "edges", "node", "pageInfo", "endCursor", "hasNextPage",
    "clientIDMapping", "serverID", "artifact", "errors", "group", "history",
    "upsertBucket", "bucket", "inserted", "notifyScriptableRunAlert", "files", "md5",
)  # fmt: skip
names = st.sampled_from((*FIELDS, *RUN))
odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=odd_json | st.fixed_dictionaries({"data": odd_json}))
@pytest.mark.parametrize("name", REQUESTS)
def test_any_json_is_understood_or_an_error_of_delivery(
    server: AnyServer, name: str, content: Any
) -> None:
    server.answer = http(json.dumps(content).encode())
    with suppress(PublishError):
        REQUESTS[name](api(server))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(nodes=st.lists(st.dictionaries(st.sampled_from(["id", "name", "md5"]), odd_json)))
def test_of_a_file_that_is_told_of_in_an_odd_way_nothing_is_believed_or_it_is_an_error(
    server: AnyServer, nodes: list[dict[str, Any]]
) -> None:
    server.answer = data(project={"run": {"files": {"edges": [{"node": one} for one in nodes]}}})
    with suppress(PublishError):
        assert api(server).absent_files(TARGET, {"a.txt"}) == {"a.txt"}


def test_a_file_that_was_announced_and_never_came_is_absent(server: AnyServer) -> None:
    nodes = [{"name": "a.txt", "md5": "0"}, {"name": "b.txt", "md5": "x"}, {"name": "c.txt"}]
    server.answer = data(project={"run": {"files": {"edges": [{"node": one} for one in nodes]}}})
    wanted = {"a.txt", "b.txt", "c.txt", "d.txt"}
    assert api(server).absent_files(TARGET, wanted) == {"a.txt", "d.txt"}


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(changes=st.dictionaries(st.sampled_from(sorted(RUN)), odd_json, min_size=1, max_size=3))
def test_of_a_run_with_odd_values_every_value_has_its_type(
    server: AnyServer, changes: dict[str, Any]
) -> None:
    server.answer = served(**changes)
    try:
        run = api(server).find_run(TARGET)
    except PublishError:
        return
    assert run is not None
    assert type(run.n_rows) is int
    assert type(run.last_step) is int
    assert run.n_rows >= 0
    assert isinstance(run.summary, dict)
    assert all(type(one) is str for one in (run.run_id, run.node_id, run.state, *run.tags))


def test_a_run_that_is_there_and_one_that_is_not(server: AnyServer) -> None:
    server.answer = served()
    run = api(server).find_run(TARGET)
    assert run is not None
    assert (run.n_rows, run.last_step, run.summary, run.tags) == (3, 2, {"loss": 1}, ("a",))
    for none in (data(project=None), data(project={"run": None})):
        server.answer = none
        assert api(server).find_run(TARGET) is None


@pytest.mark.parametrize(
    "unsure", [data(project={}), data(project={"run": {}}), data(project=[]), data(project=False),
               served(historyLineCount=None), served(historyLineCount="3"),
               served(historyLineCount=True), served(historyLineCount=-1)],
)  # fmt: skip
def test_what_is_not_answered_is_not_taken_for_an_absent_run_or_no_rows(
    server: AnyServer, unsure: bytes
) -> None:
    server.answer = unsure
    with pytest.raises(PublishError, match="must be"):
        api(server).find_run(TARGET)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_says_whether_it_is_of_the_key(server: AnyServer, status: int) -> None:
    server.answer = http(b"{}", f"{status} No")
    with pytest.raises(ServerRefusedError, match=f"answered {status} to Run") as caught:
        api(server).find_run(TARGET)
    assert isinstance(caught.value, KeyRefusedError) == (status == 401)
    assert ("check the secret" in str(caught.value)) == (status == 401)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirection_is_not_followed_as_the_new_address_would_get_the_key(
    server: AnyServer, status: int
) -> None:
    other = AnyServer()
    server.answer = http(b"", f"{status} Elsewhere", f"Location: {other.url}/graphql")
    with pytest.raises(PublishError, match=f"answered {status}"):
        api(server).find_run(TARGET)
    assert other.requests == []
    other.stop()


def drip(head: bytes, body: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for byte in body:
            time.sleep(0.2)
            connection.sendall(bytes([byte]))

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"", b"HTTP/1.1 200 OK" + b" " * 999),
        drip(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 999),
        drip(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 999),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 999),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
        lambda connection: time.sleep(30),
    ],
    ids=["status line", "headers", "body", "chunks", "continue", "nothing"],
)
def test_the_time_limit_is_for_the_whole_answer(
    server: AnyServer, answer: Callable[[socket.socket], None]
) -> None:
    server.answer = answer
    began = time.monotonic()
    with pytest.raises(UnreachableError, match="no whole answer to Run within 1 s"):
        api(server, seconds=0.5).find_run(TARGET)
    assert time.monotonic() - began < 10


def test_an_answer_without_end_fills_no_memory(
    server: AnyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flytekitplugins.wbmon.delivery.runs.transport._MAX_BYTES", 2**20)

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 2**16)

    server.answer = answer
    with pytest.raises(PublishError, match="more than 1048576 bytes"):
        api(server).find_run(TARGET)


def test_nobody_at_the_address_is_told_from_an_odd_answer() -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        WandbApi("http://127.0.0.1:9", ApiKey("k")).find_run(TARGET)
    for address in ("http://[::1", "nonsense", "http://host:port"):
        with pytest.raises(PublishError):
            WandbApi(address, ApiKey("k")).find_run(TARGET)


def test_pages_that_never_end_are_left(server: AnyServer) -> None:
    page = {"edges": [], "pageInfo": {"endCursor": "c", "hasNextPage": True}}
    server.answer = data(project={"runs": page})
    assert REQUESTS["list_runs"](api(server)) == ()
