"""Whatever a client sends, each request is in the tables of the night."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytekitplugins.wbmon.data.open import open_source
from flytekitplugins.wbmon.monitor.prediction_log.compact import compact_prediction_log
from flytekitplugins.wbmon.serving import (
    PredictionLogger,
    PredictionLoggingMiddleware,
    SamplingPolicy,
)

fastapi = pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")

BODIES: tuple[bytes, ...] = (
    b'{"x": 1}',
    b'{"x": "\\ud83d"}',
    b'{"\\ud83d": "\\udc00", "x": "\\ud83d\\ude00"}',
    b'{"x": 18446744073709551615}',
    b'{"x": 1180591620717411303424, "y": -1180591620717411303424}',
    b'{"x": %s}' % (b"9" * 4000),
    b'{"x": %s}' % (b"9" * 5000),
    b'{"x": 1e400, "y": -1e400, "z": 1e-400}',
    b'{"x": NaN, "y": Infinity, "z": -Infinity}',
    b'{"x": "\\u0000", "\\u0000": 1}',
    b'{"x": "a\0b"}',
    b'{"x": 1, "x": "two", "X": 3}',
    b'{"x": %s1%s}' % (b"[" * 500, b"]" * 500),
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"x": "\xff\xfe"}',
    "{'x': 1}".encode("utf-16"),
    b'\xef\xbb\xbf{"x": 1}',
    b'{"x": {"y": null}, "": true, "feature.x": false, "timestamp": "x", "kind": "window"}',
    b'["x", 1]',
    b'"x"',
    b"null",
    b"",
    b"\0" * 100,
    b"\xed\xa0\x80",
    b'{"x": "' + b"a" * 20_000 + b'"}',
    b'{"x": "line\\u2028\\r\\n"}',
)


def test_every_request_is_there_whatever_its_body_was(tmp_path: Path) -> None:
    log = PredictionLogger("api", str(tmp_path), sampling=SamplingPolicy(rate=1.0))
    api = fastapi.FastAPI()

    @api.post("/predict")
    async def predict(request: fastapi.Request) -> Any:
        found = json.loads(await request.body())
        log.log_prediction(features=found, prediction=found.get("x"), input_text=found)
        return {"answer": str(found.get("x"))[:10].encode("utf-8", "replace").decode()}

    app = PredictionLoggingMiddleware(api, log, capture="bodies", tenant="x-tenant")
    names = [f"request-{i}" for i in range(len(BODIES))]
    with testclient.TestClient(app, raise_server_exceptions=False) as web:
        for name, body in zip(names, BODIES, strict=True):
            tenant = b"t\xff" if len(body) % 2 else b"a"
            headers = [(b"x-request-id", name.encode()), (b"x-tenant", tenant)]
            web.post("/predict", content=body, headers=headers)
    stats = log.close()
    report = compact_prediction_log(str(tmp_path), "api")

    assert stats.served == stats.logged == report.n_predictions == len(BODIES)
    assert (report.n_torn, report.n_left, report.n_duplicates) == (0, 0, 0)
    source = open_source(tmp_path / "prediction_log")
    assert source.column("request_id").to_pylist() == names
    status = source.column("status_code").to_pylist()
    predictions = source.column("prediction").to_pylist()
    assert status[:5] == [200] * 5
    assert predictions[:5] == [
        "1",
        "\ufffd",
        "😀",
        "18446744073709551615",
        "1180591620717411303424",
    ]
    windows = open_source(tmp_path / "serving_window")
    assert sum(windows.column("requests").to_pylist()) == len(BODIES)
