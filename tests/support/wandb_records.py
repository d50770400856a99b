"""What a W&B server keeps: runs, alerts, artifacts, workspaces and reports."""

from __future__ import annotations

import base64
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]


class RefusedError(Exception):
    """The server answers a request with an error."""


LAST_PAGE: Mapping[str, Any] = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


class History(dict[int, str]):
    """The rows of a run as they were sent, by line number; they are found by step too."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: dict[int, int] = {}
        self._by_step: list[tuple[int, int]] = []
        self._types: dict[str, Counter[str]] = {}

    def write(self, lines: Iterable[str], offset: int) -> None:
        """Take lines; they replace those that have the same number."""
        for number, line in enumerate(lines, start=offset):
            if number in self:
                self._count(json.loads(self[number]), -1)
            row = json.loads(line)
            self[number] = line
            self._steps[number] = row.get("_step", number)
            self._count(row, 1)
        self._by_step = []

    def between(self, low: int, high: int) -> list[str]:
        """The lines with `low <= step < high`, by step."""
        if len(self._by_step) != len(self._steps):
            self._by_step = sorted((step, number) for number, step in self._steps.items())
        first, end = (bisect_left(self._by_step, (step, -1)) for step in (low, high))
        return [self[number] for _, number in self._by_step[first:end]]

    @property
    def keys_node(self) -> Json:
        """What a server says of the logged keys: their types, and the highest step."""
        keys = {
            key: {
                "typeCounts": [{"type": kind, "count": n} for kind, n in types.items() if n],
                "monotonic": False,
            }
            for key, types in self._types.items()
            if types.total()
        }
        return {"lastStep": max(self._steps.values(), default=-1), "keys": keys, "sets": []}

    def _count(self, row: Json, times: int, prefix: str = "") -> None:
        for key, value in row.items():
            if isinstance(value, dict) and "_type" not in value:
                self._count(value, times, f"{prefix}{key}.")
            else:
                types = self._types.setdefault(f"{prefix}{key}", Counter())
                types[_kind(value)] += times


@dataclass
class ServedRun:
    """A run as the server has it.

    Attributes:
        lines: The history as it was sent, by its line number.
        heartbeat_at: When the run was last heard of.
        n_finished: How often the run was declared finished.
    """

    entity: str
    project: str
    id: str
    created_at: str
    heartbeat_at: str = ""
    name: str = ""
    notes: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config_values: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    lines: History = field(default_factory=History)
    output: dict[int, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    n_finished: int = 0

    @property
    def history(self) -> list[Json]:
        """The logged rows, in the order of their line numbers."""
        return [json.loads(self.lines[number]) for number in sorted(self.lines)]

    @property
    def config(self) -> Json:
        """The config's values, without what wandb adds for itself."""
        values = {key: item.get("value") for key, item in self.config_values.items()}
        values.pop("_wandb", None)
        return values

    @property
    def node_id(self) -> str:
        """The id of the run in the server's graph."""
        return node_id("Run", "v1", self.id, self.project, self.entity)

    def column(self, key: str) -> list[Any]:
        """The logged values of one metric, in order."""
        return [row[key] for row in self.history if key in row]


@dataclass
class ServedAlert:
    """An alert that was accepted; `wait_ms` is its throttling time."""

    project: str
    run: str
    title: str
    text: str
    level: str
    wait_ms: int


@dataclass
class ServedArtifact:
    """A version of an artifact; its content has arrived when it is committed.

    Attributes:
        run: Id of the run that made it.
        used_by: Ids of the runs that took it.
    """

    id: str
    entity: str
    project: str
    name: str
    type: str
    version: int
    digest: str
    created_at: str
    run: str = ""
    used_by: list[str] = field(default_factory=list)
    state: str = "PENDING"
    aliases: list[str] = field(default_factory=list)
    metadata: str = "{}"
    description: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: Json = field(default_factory=dict)

    @property
    def committed(self) -> bool:
        """Whether the client said that everything was uploaded."""
        return self.state == "COMMITTED"


@dataclass
class ServedView:
    """A saved workspace (`project-view`) or report (`runs`); `spec` says what is on it."""

    id: str
    name: str
    kind: str
    title: str
    spec: Json


@dataclass
class Memory:
    """Everything that arrived.

    Attributes:
        url: Under which uploads come back.
        entity: Who the API keys belong to.
        clients: Artifact ids by the ids that clients gave them.
    """

    url: str
    entity: str
    runs: list[ServedRun] = field(default_factory=list)
    alerts: list[ServedAlert] = field(default_factory=list)
    artifacts: list[ServedArtifact] = field(default_factory=list)
    clients: dict[str, str] = field(default_factory=dict)
    views: dict[str, ServedView] = field(default_factory=dict)

    def find(self, project: str, run_id: str) -> ServedRun | None:
        """A run by its project and id."""
        for run in self.runs:
            if (run.project, run.id) == (project, run_id):
                return run
        return None

    def find_artifact(self, project: str, name: str) -> ServedArtifact | None:
        """The newest committed version of `name`, `name:v3` or `name:alias`."""
        name, _, alias = name.partition(":")
        for artifact in reversed(self.artifacts):
            known = (artifact.project, artifact.name) == (project, name) and artifact.committed
            if known and alias in ("", "latest", f"v{artifact.version}", *artifact.aliases):
                return artifact
        return None

    def run(self, entity: str | None, project: str, run_id: str) -> ServedRun:
        run = self.find(project, run_id)
        if run is None:
            run = ServedRun(entity or self.entity, project, run_id, now(), now())
            self.runs.append(run)
        return run

    def artifact(self, artifact_id: str) -> ServedArtifact:
        return next(artifact for artifact in self.artifacts if artifact.id == artifact_id)


def _kind(value: Any) -> str:
    """The server's name for the type of a logged value."""
    if isinstance(value, dict):
        return str(value["_type"])
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list"}
    return names.get(type(value), "nil")


def strict_json(text: str) -> str:
    """JSON as the server answers it: numbers that JSON does not have become texts.

    The client sends `NaN` and `Infinity` as they are.
    """
    if "NaN" not in text and "Infinity" not in text:
        return text
    return json.dumps(json.loads(text, parse_constant=str))


def node_id(*parts: object) -> str:
    """The id of a thing in the server's graph; it can stand in a URL."""
    return base64.urlsafe_b64encode(":".join(map(str, parts)).encode()).decode()


def now() -> str:
    """The time as the server writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def project_node(name: str, entity: str) -> Json:
    """A project as it appears in answers."""
    return {
        "__typename": "Project",
        "id": node_id("Project", name),
        "internalId": node_id("Project", name),
        "name": name,
        "entityName": entity,
        "entity": {"id": node_id("Entity", 1), "name": entity},
        "createdAt": "2026-01-01T00:00:00Z",
        "isBenchmark": False,
        "user": None,
    }
