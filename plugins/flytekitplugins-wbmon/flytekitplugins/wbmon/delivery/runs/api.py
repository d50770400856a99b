"""The few questions that delivery asks of a W&B server, each with a time limit.

`wandb sync` says "done" for runs of which nothing arrived, so what arrived is asked of the server.
Plain HTTPS: wandb's own client retries without a bound.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.errors import PublishError

_TIMEOUT_S = 5.0
_REFUSED = (401, 403, 404)

_RUN = """
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $name) { id name state historyLineCount historyKeys summaryMetrics tags }
  }
}
"""
_RUNS = """
query Runs($project: String!, $entity: String!, $cursor: String, $perPage: Int = 200,
    $filters: JSONString) {
  project(name: $project, entityName: $entity) {
    runs(filters: $filters, after: $cursor, first: $perPage) {
      edges { node { id name state group historyLineCount historyKeys summaryMetrics tags } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
_ALERT = """
mutation NotifyScriptableRunAlert($entityName: String!, $projectName: String!, $runName: String!,
    $title: String!, $text: String!, $severity: AlertSeverity = INFO, $waitDuration: Duration) {
  notifyScriptableRunAlert(input: {entityName: $entityName, projectName: $projectName,
      runName: $runName, title: $title, text: $text, severity: $severity,
      waitDuration: $waitDuration}) { success }
}
"""
_CLIENT_ID = """
query ClientIDMapping($clientID: ID!) { clientIDMapping(clientID: $clientID) { serverID } }
"""
_ARTIFACT = """
query ArtifactByID($id: ID!) { artifact(id: $id) { id state digest } }
"""
_TAGS = """
mutation UpsertBucket($id: String, $tags: [String!]) {
  upsertBucket(input: {id: $id, tags: $tags}) { bucket { id name tags } inserted }
}
"""


class ServerRefusedError(PublishError):
    """The server will not take this however often it is asked: a wrong key, host or entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTarget:
    """Which run of which project."""

    entity: str
    project: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRun:
    """What the server has of a run.

    Attributes:
        run_id: The run's id.
        node_id: Its id in the server's graph.
        state: `running`, `finished`, `failed`, `crashed` …
        n_rows: Lines of history.
        last_step: Step of the last one; -1 without any.
        summary: The run's summary.
        tags: The run's tags.
    """

    run_id: str = ""
    node_id: str = ""
    state: str = ""
    n_rows: int = 0
    last_step: int = -1
    summary: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


class WandbApi:
    """A W&B server, asked with one key."""

    def __init__(self, api_host: str, key: ApiKey) -> None:
        self._host = api_host.rstrip("/")
        token = base64.b64encode(f"api:{key.reveal()}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def find_run(self, target: RunTarget) -> ServedRun | None:
        """What the server has of the run; None if it has never heard of it.

        Raises:
            ServerRefusedError: If asking again is useless.
            PublishError: If the server does not answer, or with an error.
        """
        names = {"entity": target.entity, "project": target.project, "name": target.run_id}
        project = self._ask("Run", _RUN, names).get("project") or {}
        node = project.get("run")
        if not node:
            return None
        return _served(node)

    def list_runs(self, entity: str, project: str, group: str) -> tuple[ServedRun, ...]:
        """Every run of a group; errors as of `find_run`."""
        names = {"entity": entity, "project": project, "filters": json.dumps({"group": group})}
        found: list[ServedRun] = []
        cursor: str | None = None
        while True:
            answer = self._ask("Runs", _RUNS, {**names, "cursor": cursor, "perPage": 200})
            page = (answer.get("project") or {}).get("runs") or {}
            nodes = [edge["node"] for edge in page.get("edges") or ()]
            found += [_served(node) for node in nodes if node.get("group") == group]
            info = page.get("pageInfo") or {}
            cursor = info.get("endCursor")
            if not info.get("hasNextPage") or not cursor:
                return tuple(found)

    def send_alert(self, target: RunTarget, alert: Mapping[str, Any]) -> None:
        """Send `title`, `text`, `level` and `wait_ms`; the errors are those of `find_run`."""
        answer = self._ask(
            "NotifyScriptableRunAlert",
            _ALERT,
            {
                "entityName": target.entity,
                "projectName": target.project,
                "runName": target.run_id,
                "title": alert["title"],
                "text": alert["text"],
                "severity": alert["level"] or "INFO",
                "waitDuration": alert["wait_ms"],
            },
        )
        if not (answer.get("notifyScriptableRunAlert") or {}).get("success"):
            raise PublishError("W&B must accept the alert, and did not; it is tried again later")

    def has_artifact(self, client_id: str, digest: str) -> bool:
        """Whether the artifact is committed with this content; errors as of `find_run`."""
        mapped = self._ask("ClientIDMapping", _CLIENT_ID, {"clientID": client_id})
        server_id = (mapped.get("clientIDMapping") or {}).get("serverID")
        if not server_id:
            return False
        found = self._ask("ArtifactByID", _ARTIFACT, {"id": server_id}).get("artifact") or {}
        return found.get("state") == "COMMITTED" and found.get("digest") == digest

    def set_outcome(self, target: RunTarget, exit_code: int) -> None:
        """End the run with this exit code, also one that has ended; errors as of `find_run`."""
        path = "/".join(quote(part, safe="") for part in astuple(target))
        url = f"{self._host}/files/{path}/file_stream"
        self._post(url, "the run's outcome", {"complete": True, "exitcode": exit_code})

    def set_tags(self, run: ServedRun, tags: tuple[str, ...]) -> None:
        """Replace the run's tags; errors as of `find_run`."""
        self._ask("UpsertBucket", _TAGS, {"id": run.node_id, "tags": list(tags)})

    def _ask(self, operation: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        body = {"operationName": operation, "query": query, "variables": variables}
        content = self._post(f"{self._host}/graphql", operation, body)
        if content.get("errors"):
            raise PublishError(f"W&B refused {operation}: {content['errors'][0].get('message')}")
        data: dict[str, Any] = content.get("data") or {}
        return data

    def _post(self, url: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the user's own W&B host
            url, json.dumps(body).encode(), self._headers
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                content: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            kind = ServerRefusedError if error.code in _REFUSED else PublishError
            raise kind(f"W&B at {url} answered {error.code} to {what}") from None
        except (OSError, ValueError) as error:
            raise PublishError(f"W&B at {url} cannot be reached: {error}") from None
        return content


def _served(node: Mapping[str, Any]) -> ServedRun:
    return ServedRun(
        run_id=node.get("name") or "",
        node_id=node.get("id") or "",
        state=node.get("state") or "",
        n_rows=node.get("historyLineCount") or 0,
        last_step=_last_step(node.get("historyKeys")),
        summary=json.loads(node.get("summaryMetrics") or "{}"),
        tags=tuple(node.get("tags") or ()),
    )


def _last_step(keys: Any) -> int:
    found = json.loads(keys) if isinstance(keys, str) else keys
    step = (found or {}).get("lastStep")
    return -1 if step is None else int(step)
