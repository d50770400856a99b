"""What a server has of a run, as plain data in which equal runs are equal.

Left out is what two plays of one script never share: times, and the ids that wandb makes up.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from support.wandb_records import ServedArtifact, ServedRun
from support.wandb_server import WandbServer
from tests.parity.ways import PROJECT

Snapshot = dict[str, Any]

ABSENT = "absent"

_CLOCKS = ("_runtime", "_timestamp")
_CLIENT_ID = re.compile(r"(wandb-client-artifact(?:-collection)?://)[^/]+")
_MEDIA_STEP = re.compile(r"(media/[^\"]*?)_\d+_([0-9a-f]{20}\.)")
# telemetry: which features of wandb were used
_TELEMETRY = ("t",)


def take_snapshot(server: WandbServer, run_id: str, *, resumed: bool) -> Snapshot:
    """Everything that the server has of one run; nothing if it has no such run.

    Args:
        server: The server.
        run_id: Id of the run.
        resumed: Whether several sessions wrote it. The names of its media files are then compared
            without the step in them, which a task does not know.
    """
    run = server.backend.memory.find(PROJECT, run_id)
    if run is None:
        return {}
    artifacts = [artifact for artifact in server.artifacts if artifact.run == run_id]
    alerts = [alert for alert in server.alerts if alert.run == run_id]
    snapshot = {
        "rows": [_row(row) for row in run.history],
        "summary": _summary(run.summary),
        "config": _config(run.config_values),
        "tags": sorted(set(run.tags)),
        "notes": run.notes,
        "name": run.name,
        "group": run.group,
        "job_type": run.job_type,
        "state": run.state,
        "exit_code": run.exit_code,
        "alerts": [[alert.title, alert.text, alert.level, alert.wait_ms] for alert in alerts],
        "artifacts": {f"{one.name}:v{one.version}": _artifact(one) for one in artifacts},
        "files": {name: _digest(data) for name, data in _files(run)},
        # other scripts' output is captured too; each line begins with its time
        "output": [line.partition(" ")[2] for line in run.output.values() if f" {run_id} " in line],
        "events": bool(run.events),
    }
    text = json.dumps(_comparable(snapshot))
    plain: Snapshot = json.loads(_MEDIA_STEP.sub(r"\1_N_\2", text) if resumed else text)
    return plain


def differences(expected: Any, got: Any, place: str = "") -> list[str]:
    """Where two snapshots differ, each as `place: expected, got` in JSON."""
    if isinstance(expected, dict) and isinstance(got, dict):
        names = sorted(expected.keys() | got.keys())
        pairs = [(key, expected.get(key, ABSENT), got.get(key, ABSENT)) for key in names]
    elif isinstance(expected, list) and isinstance(got, list):
        both = zip_longest(expected, got, fillvalue=ABSENT)
        pairs = [(str(number), one, other) for number, (one, other) in enumerate(both)]
    elif expected == got and type(expected) is type(got):
        return []
    else:
        return [f"{place}: {_short(expected)}, {_short(got)}"]
    inner = place + "." if place else ""
    return [one for key, old, new in pairs for one in differences(old, new, inner + key)]


def _row(row: Mapping[str, Any]) -> Any:
    # that there is a time is part of the row
    return {**row, **{clock: "a time" for clock in _CLOCKS if isinstance(row.get(clock), float)}}


def _summary(summary: Mapping[str, Any]) -> Any:
    own = summary.get("_wandb")
    kept = {key: value for key, value in own.items() if key != "runtime"} if own else None
    clocks = {clock: "a time" for clock in _CLOCKS if isinstance(summary.get(clock), (int, float))}
    return {**summary, **clocks, "_wandb": kept}


def _config(values: Mapping[str, Any]) -> Any:
    own = {
        key: value
        for key, value in values.get("_wandb", {}).get("value", {}).items()
        if key not in _TELEMETRY
    }
    return {**{key: item["value"] for key, item in values.items()}, "_wandb": own}


def _artifact(artifact: ServedArtifact) -> Any:
    return {
        "type": artifact.type,
        "aliases": sorted(set(artifact.aliases)),
        "metadata": json.loads(artifact.metadata),
        "description": artifact.description,
        "digest": artifact.digest,
        "state": artifact.state,
        "files": {name: _digest(data) for name, data in sorted(artifact.files.items())},
        "manifest": sorted(artifact.manifest.get("contents", {})),
    }


def _files(run: ServedRun) -> list[tuple[str, bytes]]:
    # both repeat what stands elsewhere, with times
    repeated = ("config.yaml", "wandb-summary.json")
    return [(name, data) for name, data in sorted(run.files.items()) if name not in repeated]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_comparable(inner) for inner in value]
    if isinstance(value, float) and math.isnan(value):
        return "a NaN"
    if isinstance(value, str):
        return _CLIENT_ID.sub(r"\1…", value)
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 200 else f"{text[:200]}…"
