"""Client for the few requests that delivery makes to a W&B server, each with a time limit.

`wandb sync` reports success even if nothing arrived, so delivery asks the server what it has. The
client uses plain HTTPS, because wandb's own client retries without a limit.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.errors import PublishError

_TIMEOUT_S = 5.0
_REFUSED = (401, 403, 404)

_RUN = """
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $name) {
      id name state heartbeatAt historyLineCount historyKeys config summaryMetrics tags
    }
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
_ROWS = """
query HistoryPage($entity: String!, $project: String!, $run: String!, $minStep: Int64!,
    $maxStep: Int64!, $pageSize: Int!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) }
  }
}
"""
_CREATE = """
mutation UpsertBucket($name: String, $project: String, $entity: String) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity}) {
    bucket { id name } inserted
  }
}
"""
_CONFIG = """
mutation UpsertBucket($id: String, $config: JSONString) {
  upsertBucket(input: {id: $id, config: $config}) { bucket { id name } inserted }
}
"""
_TAGS = """
mutation UpsertBucket($id: String, $tags: [String!]) {
  upsertBucket(input: {id: $id, tags: $tags}) { bucket { id name tags } inserted }
}
"""


class ServerRefusedError(PublishError):
    """The server rejects this for good, so a retry is useless: a wrong key, host or entity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTarget:
    """Entity, project and id of a run."""

    entity: str
    project: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedRun:
    """A run as the server has it.

    Attributes:
        run_id: The run's id.
        node_id: Its id in the server's GraphQL API, which mutations need.
        state: `running`, `finished`, `failed`, `crashed` …
        n_rows: Number of rows of its history.
        last_step: Step of the last row; -1 if there is none.
        summary: The run's summary.
        config: The run's config, each value as W&B keeps it: `{"value": …}`.
        heartbeat_at: When the server last heard of a process that writes the run; None if it does
            not say.
        tags: The run's tags.
    """

    run_id: str = ""
    node_id: str = ""
    state: str = ""
    n_rows: int = 0
    last_step: int = -1
    summary: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    heartbeat_at: datetime | None = None
    tags: tuple[str, ...] = ()


class WandbApi:
    """A W&B server, accessed with one key.

    Args:
        api_host: URL of the W&B API.
        key: The W&B key.
    """

    def __init__(self, api_host: str, key: ApiKey) -> None:
        self._host = api_host.rstrip("/")
        token = base64.b64encode(f"api:{key.reveal()}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def find_run(self, target: RunTarget) -> ServedRun | None:
        """The run as the server has it; None if it has no such run.

        Raises:
            ServerRefusedError: If the server rejects the key, the host or the entity.
            PublishError: If the server does not answer, or answers with an error.
        """
        names = {"entity": target.entity, "project": target.project, "name": target.run_id}
        project = self._ask("Run", _RUN, names).get("project") or {}
        node = project.get("run")
        if not node:
            return None
        return _served(node)

    def list_runs(self, entity: str, project: str, group: str) -> tuple[ServedRun, ...]:
        """Every run of a group; raises as `find_run` does."""
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

    def read_rows(
        self, target: RunTarget, first_step: int, last_step: int, *, most: int
    ) -> list[dict[str, Any]]:
        """The rows of a run whose step lies in a range; raises as `find_run` does.

        Args:
            target: The run.
            first_step: The smallest step.
            last_step: The largest step.
            most: Most rows that are returned.
        """
        names = {"entity": target.entity, "project": target.project, "run": target.run_id}
        steps = {"minStep": first_step, "maxStep": last_step + 1, "pageSize": most}
        answer = self._ask("HistoryPage", _ROWS, {**names, **steps})
        run = (answer.get("project") or {}).get("run") or {}
        rows = [json.loads(row) if isinstance(row, str) else row for row in run["history"] or ()]
        return [row for row in rows if isinstance(row, dict)]

    def create_run(self, target: RunTarget) -> ServedRun | None:
        """Create a run without content; raises as `find_run` does.

        Returns:
            The run; None if it was there already.
        """
        names = {"entity": target.entity, "project": target.project, "name": target.run_id}
        answer = self._ask("UpsertBucket", _CREATE, names).get("upsertBucket") or {}
        return _served(answer["bucket"]) if answer.get("inserted") else None

    def write_config(self, run: ServedRun, config: Mapping[str, Any]) -> None:
        """Replace the config of a run, in the form of `ServedRun`; raises as `find_run` does."""
        # by its id: by its name, the server takes it for a run that begins again
        self._ask("UpsertBucket", _CONFIG, {"id": run.node_id, "config": json.dumps(config)})

    def send_alert(self, target: RunTarget, alert: Mapping[str, Any]) -> None:
        """Send an alert; raises as `find_run` does.

        Args:
            target: The run that the alert belongs to.
            alert: `title`, `text`, `level`, and `wait_ms`, the time in which W&B sends no second
                alert with this title.
        """
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
        """Whether the artifact is committed with this content; raises as `find_run` does.

        Args:
            client_id: The id that the run's log gives the artifact, before the server knows it.
            digest: Digest of its content; of the same name a later version may be there.
        """
        mapped = self._ask("ClientIDMapping", _CLIENT_ID, {"clientID": client_id})
        server_id = (mapped.get("clientIDMapping") or {}).get("serverID")
        if not server_id:
            return False
        found = self._ask("ArtifactByID", _ARTIFACT, {"id": server_id}).get("artifact") or {}
        return found.get("state") == "COMMITTED" and found.get("digest") == digest

    def set_outcome(self, target: RunTarget, exit_code: int) -> None:
        """End the run with an exit code, even if it has ended; raises as `find_run` does."""
        # `astuple` gives entity, project, run: the order of the path
        path = "/".join(quote(part, safe="") for part in astuple(target))
        url = f"{self._host}/files/{path}/file_stream"
        self._post(url, "the run's outcome", {"complete": True, "exitcode": exit_code})

    def set_tags(self, run: ServedRun, tags: tuple[str, ...]) -> None:
        """Replace the run's tags; raises as `find_run` does."""
        self._ask("UpsertBucket", _TAGS, {"id": run.node_id, "tags": list(tags)})

    def _ask(self, operation: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        body = {"operationName": operation, "query": query, "variables": variables}
        content = self._post(f"{self._host}/graphql", operation, body)
        if content.get("errors"):  # GraphQL reports errors with status 200
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
        config=json.loads(node.get("config") or "{}"),
        heartbeat_at=_time(node.get("heartbeatAt")),
        tags=tuple(node.get("tags") or ()),
    )


def _time(text: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=timezone.utc)


def _last_step(keys: Any) -> int:
    # a JSON scalar of GraphQL may come as text or as an object
    found = json.loads(keys) if isinstance(keys, str) else keys
    step = (found or {}).get("lastStep")
    return -1 if step is None else int(step)
