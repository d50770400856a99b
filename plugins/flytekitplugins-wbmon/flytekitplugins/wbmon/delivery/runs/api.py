"""Client for the few requests that delivery makes to a W&B server, each with a time limit.

`wandb sync` reports success even if nothing arrived, so delivery asks the server what it has. The
client uses plain HTTPS, because wandb's own client retries without a limit.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.answers import (
    MAX_COUNT,
    error_message,
    json_object,
    misunderstood,
    optional_object,
    row_count,
    typed_value,
)
from flytekitplugins.wbmon.delivery.runs.transport import StatusError, post_json
from flytekitplugins.wbmon.delivery.wandb_hosts import page_url
from flytekitplugins.wbmon.errors import PublishError

_TIMEOUT_S = 5.0
# a request that begins when the time is nearly over
_LEAST_S = 1.0
_UNAUTHORIZED = 401
_REFUSED = (_UNAUTHORIZED, 403, 404)

_RUN = """
query Run($project: String!, $entity: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    run(name: $name) {
      id name displayName notes tags state exitcode heartbeatAt
      historyLineCount historyKeys config summaryMetrics
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
_ARTIFACT_BY_NAME = """
query ArtifactByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) { artifact(name: $name) { id } }
}
"""
_ROWS = """
query HistoryPage($entity: String!, $project: String!, $run: String!, $minStep: Int64!,
    $maxStep: Int64!, $pageSize: Int!) {
  project(name: $project, entityName: $entity) {
    run(name: $run) { history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize) }
  }
}
"""
_FILES = """
query RunFiles($project: String!, $entity: String!, $name: String!, $fileNames: [String] = [],
    $fileLimit: Int = 50) {
  project(name: $project, entityName: $entity) {
    run(name: $name) {
      files(names: $fileNames, first: $fileLimit) { edges { node { id name md5 } } }
    }
  }
}
"""
_FILES_OF_A_PAGE = 100
# in place of the digest of a file that is not there
_NO_FILE = "0"
_CREATE = """
mutation UpsertBucket($name: String, $project: String, $entity: String) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity}) {
    bucket { id name state heartbeatAt historyLineCount historyKeys config summaryMetrics tags }
    inserted
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


class KeyRefusedError(ServerRefusedError):
    """The server rejects the key itself, whatever it is asked."""


class QueryRefusedError(PublishError):
    """The server understands the request and answers with an error."""


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
        exit_code: Its exit code; None if the server does not know or tell it.
        n_rows: Number of rows of its history.
        last_step: Step of the last row; -1 if there is none.
        summary: The run's summary.
        config: The run's config, each value as W&B keeps it: `{"value": …}`.
        heartbeat_at: When the server last heard of a process that writes the run; None if it does
            not say.
        name: The name that is shown.
        notes: The run's notes.
        tags: The run's tags.
    """

    run_id: str = ""
    node_id: str = ""
    state: str = ""
    exit_code: int | None = None
    n_rows: int = 0
    last_step: int = -1
    summary: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    heartbeat_at: datetime | None = None
    name: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nobody writes the run any more."""
        return self.state in ("finished", "failed", "crashed", "killed", "preempted")


class WandbApi:
    """A W&B server, accessed with one key.

    Args:
        api_host: URL of the W&B API.
        key: The W&B key.
        until: Returns the time on the clock of `time.monotonic()` at which requests must be over.
    """

    def __init__(
        self, api_host: str, key: ApiKey, *, until: Callable[[], float] = lambda: math.inf
    ) -> None:
        self._until = until
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
        project = optional_object(self._ask("Run", _RUN, names), "project")
        node = optional_object(project, "run")
        return _served(node) if node else None

    def list_runs(self, entity: str, project: str, group: str) -> tuple[ServedRun, ...]:
        """Every run of a group; raises as `find_run` does."""
        names = {"entity": entity, "project": project, "filters": json.dumps({"group": group})}
        found: list[ServedRun] = []
        cursor: str | None = None
        while True:
            answer = self._ask("Runs", _RUNS, {**names, "cursor": cursor, "perPage": 200})
            page = optional_object(optional_object(answer, "project"), "runs")
            nodes = [optional_object(edge, "node") for edge in typed_value(page, "edges", list, [])]
            found += [_served(node) for node in nodes if node and node.get("group") == group]
            info = optional_object(page, "pageInfo")
            before, cursor = cursor, typed_value(info, "endCursor", str, "")
            # a server that gives the same page for ever must not be asked for ever
            if not info.get("hasNextPage") or cursor in ("", before):
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
        run = optional_object(optional_object(answer, "project"), "run")
        rows = typed_value(run, "history", list, [])
        return [json_object({"history": row}, "history") for row in rows]

    def absent_files(self, target: RunTarget, names: Collection[str]) -> set[str]:
        """Those of the names under which a run has no file; raises as `find_run` does."""
        wanted, absent = sorted(names), set(names)
        for number in range(0, len(wanted), _FILES_OF_A_PAGE):
            page = wanted[number : number + _FILES_OF_A_PAGE]
            run = {"entity": target.entity, "project": target.project, "name": target.run_id}
            answer = self._ask(
                "RunFiles", _FILES, {**run, "fileNames": page, "fileLimit": _FILES_OF_A_PAGE}
            )
            found = optional_object(optional_object(answer, "project"), "run")
            edges = typed_value(optional_object(found, "files"), "edges", list, [])
            nodes = [optional_object(edge, "node") for edge in edges]
            # W&B also tells of a file that was announced and never came
            absent -= {
                typed_value(node, "name", str)
                for node in nodes
                if node and node.get("md5") != _NO_FILE
            }
        return absent

    def create_run(self, target: RunTarget) -> ServedRun | None:
        """Create a run without content; raises as `find_run` does.

        Returns:
            The run; None if it was there already.
        """
        names = {"entity": target.entity, "project": target.project, "name": target.run_id}
        answer = optional_object(self._ask("UpsertBucket", _CREATE, names), "upsertBucket")
        if answer.get("inserted") not in (True, False):
            raise misunderstood("`inserted`", "true or false", answer.get("inserted"))
        return _served(optional_object(answer, "bucket")) if answer["inserted"] else None

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
        if optional_object(answer, "notifyScriptableRunAlert").get("success") is not True:
            raise PublishError("W&B must accept the alert, and did not; it is tried again later")

    def has_artifact(self, client_id: str, digest: str) -> bool:
        """Whether the artifact is committed with this content; raises as `find_run` does.

        Args:
            client_id: The id that the run's log gives the artifact, before the server knows it.
            digest: Digest of its content; of the same name a later version may be there.
        """
        mapped = self._ask("ClientIDMapping", _CLIENT_ID, {"clientID": client_id})
        server_id = optional_object(mapped, "clientIDMapping").get("serverID")
        if not server_id:
            return False
        found = optional_object(self._ask("ArtifactByID", _ARTIFACT, {"id": server_id}), "artifact")
        return found.get("state") == "COMMITTED" and found.get("digest") == digest

    def ask_for_artifact(self, entity: str, project: str, name: str) -> bool:
        """Whether there is an artifact that the key may read; raises as `find_run` does."""
        names = {"entity": entity, "project": project, "name": name}
        answer = self._ask("ArtifactByName", _ARTIFACT_BY_NAME, names)
        return bool(optional_object(optional_object(answer, "project"), "artifact"))

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
        if not isinstance(content, dict):
            raise misunderstood(operation, "an object", content)
        if content.get("errors"):  # GraphQL reports errors with status 200
            raise QueryRefusedError(f"W&B refused {operation}: {error_message(content['errors'])}")
        data = content.get("data")
        if not data or not isinstance(data, dict):
            raise misunderstood(f"`data` of {operation}", "an object", data)
        return data

    def _post(self, url: str, what: str, body: Mapping[str, Any]) -> Any:
        left = max(_LEAST_S, self._until() - time.monotonic())
        timeout_s = min(_TIMEOUT_S, left)
        try:
            return post_json(url, body, what=what, headers=self._headers, timeout_s=timeout_s)
        except StatusError as error:
            if error.status not in _REFUSED:
                raise
            if error.status == _UNAUTHORIZED:
                raise KeyRefusedError(
                    f"{error}: it refuses the W&B key; check the secret, your key is shown at "
                    f"{page_url(self._host)}/authorize"
                ) from None
            raise ServerRefusedError(str(error)) from None


def _served(node: Mapping[str, Any]) -> ServedRun:
    return ServedRun(
        run_id=typed_value(node, "name", str),
        node_id=typed_value(node, "id", str),
        state=typed_value(node, "state", str, ""),
        exit_code=None if node.get("exitcode") is None else typed_value(node, "exitcode", int),
        # a count that is not there is not 0: rows would be sent a second time
        n_rows=row_count(node, "historyLineCount"),
        last_step=_last_step(json_object(node, "historyKeys")),
        summary=json_object(node, "summaryMetrics"),
        config=json_object(node, "config"),
        heartbeat_at=_time(node.get("heartbeatAt")),
        name=typed_value(node, "displayName", str, ""),
        notes=typed_value(node, "notes", str, ""),
        tags=tuple(str(tag) for tag in typed_value(node, "tags", list, [])),
    )


def _time(text: Any) -> datetime | None:
    try:
        read = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=timezone.utc)


def _last_step(keys: Mapping[str, Any]) -> int:
    step = keys.get("lastStep")
    if step is None:
        return -1
    is_step = isinstance(step, (int, float)) and float(step).is_integer()
    if not is_step or abs(step) > MAX_COUNT:
        raise misunderstood("`lastStep`", "a number", step)
    return int(step)
