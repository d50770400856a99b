"""What a client sent against what the log says, as `benchmarks.serving_exactness` has all of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from support.exact_traffic import RATE, account, as_json

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


@pytest.mark.parametrize(
    ("model", "death"),
    [
        ("uvicorn, 3 workers", "SIGTERM"),
        ("forked, 3 workers", "SIGKILL, a second after the last answer"),
    ],
)
def test_every_request_is_counted_by_route_status_and_tenant(
    tmp_path: Path, model: str, death: str
) -> None:
    found = account(model, death, tmp_path, n=400)

    assert found.counted == found.sent, as_json(found)
    assert found.n_torn == 0
    failed = [row for row in found.rows if row["sample_reason"] == "error"]
    assert len(failed) == sum(n for (_, status, _), n in found.sent.items() if status == "5xx")
    ids = {row["request_id"] for row in found.rows}
    assert ids <= found.ids
    assert len(ids) == len(found.rows)
    # the others are a sample, whose weights add up to all of them but for its error
    n_others = sum(found.sent.values()) - len(failed)
    error = 4 * math.sqrt(n_others * (1 - RATE) / RATE)
    assert abs(found.weights() - len(failed) - n_others) < error
    batches = [row["request_id"] for row in found.rows if row["route"] == "/batch"]
    further = [row["parent_request_id"] for row in found.further]
    assert sorted(further) == sorted(batches * 4)
