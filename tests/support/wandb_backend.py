"""What a W&B server keeps and answers, without HTTP: runs, artifacts, alerts, files.

Written from the requests that wandb 0.31 was observed to make. An operation that is not known is
answered with an error and kept in `unknown`, so that a test can tell that the client has changed.
Limits on the number of runs or the rate of alerts are not modelled: every alert is kept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]

_LAST_PAGE = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}


@dataclass
class ServedRun:
    """A run as the server has it.

    Attributes:
        lines: The history as it was sent, by its line number.
        n_finished: How often the run was declared finished.
    """

    entity: str
    project: str
    id: str
    created_at: str
    name: str = ""
    notes: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config_values: Json = field(default_factory=dict)
    summary: Json = field(default_factory=dict)
    lines: dict[int, str] = field(default_factory=dict)
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
        return _node_id("Run", "v1", self.id, self.project, self.entity)

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
    """A version of an artifact; its content has arrived when it is committed."""

    id: str
    entity: str
    project: str
    name: str
    type: str
    version: int
    digest: str
    created_at: str
    run: str = ""
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


class Backend:
    """The server's memory and its answers; callers hold a lock.

    Args:
        url: Under which uploads come back.
        entity: Who the API key belongs to.
    """

    def __init__(self, url: str, entity: str) -> None:
        self.url, self.entity = url, entity
        self.runs: list[ServedRun] = []
        self.alerts: list[ServedAlert] = []
        self.artifacts: list[ServedArtifact] = []
        self.unknown: list[str] = []
        self._clients: dict[str, str] = {}
        self._blobs: dict[str, bytes] = {}

    def answer(self, operation: str, variables: Json) -> Json:
        """The answer to one GraphQL request."""
        resolve = _OPERATIONS.get(operation)
        if resolve is None:
            self.unknown.append(operation)
            return {"data": {}, "errors": [{"message": f"unknown operation {operation}"}]}
        return {"data": resolve(self, variables)}

    def stream(self, entity: str, project: str, run_id: str, body: Json) -> Json:
        """Take one request of the file stream: rows, summary, output, the end."""
        run = self._run(entity, project, run_id)
        for name, chunk in (body.get("files") or {}).items():
            lines, offset = chunk.get("content") or [], chunk.get("offset") or 0
            if name == "wandb-history.jsonl":
                run.lines.update(enumerate(lines, start=offset))
            elif name == "output.log":
                run.output.update(enumerate(lines, start=offset))
            elif name == "wandb-summary.json" and lines:
                run.summary = json.loads(lines[-1])
            elif name == "wandb-events.jsonl":
                run.events += lines
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
            run.state = "failed" if run.exit_code else "finished"
            run.n_finished += 1
        return {"exitcode": run.exit_code, "limits": {}}

    def put(self, path: str, data: bytes) -> None:
        """Take an upload to one of the URLs that were handed out."""
        self._blobs[path] = data
        kind, owner, name = path.removeprefix("/storage/").split("/", 2)
        if kind == "run":
            project, run_id, name = f"{owner}/{name}".split("/", 2)
            self._run(self.entity, project, run_id).files[name] = data
        elif kind == "artifact":
            self._artifact(owner).files[name] = data
        elif kind == "manifest":
            self._artifact(owner).manifest = json.loads(data)

    def get(self, path: str) -> bytes | None:
        """What was uploaded to a URL; None if nothing was."""
        return self._blobs.get(path)

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

    def _run(self, entity: str | None, project: str, run_id: str) -> ServedRun:
        run = self.find(project, run_id)
        if run is None:
            run = ServedRun(entity or self.entity, project, run_id, _now())
            self.runs.append(run)
        return run

    def _artifact(self, artifact_id: str) -> ServedArtifact:
        return next(artifact for artifact in self.artifacts if artifact.id == artifact_id)

    # who asks

    def viewer(self, _: Json) -> Json:
        return {
            "viewer": {
                "id": _node_id("User", 1),
                "entity": self.entity,
                "username": self.entity,
                "name": self.entity,
                "email": f"{self.entity}@example.com",
                "admin": False,
                "flags": "{}",
                "photoUrl": None,
                "deletedAt": None,
                "accountType": None,
                "defaultEntity": {"id": _node_id("Entity", 1), "name": self.entity},
                "teams": {"edges": [{"node": {"name": self.entity}}]},
                "apiKeys": {"edges": []},
            }
        }

    def server_features(self, _: Json) -> Json:
        return {"serverInfo": {"features": []}}

    def server_info(self, _: Json) -> Json:
        version = {"max_cli_version": "0.31.0"}
        return {
            "serverInfo": {
                "cliVersionInfo": version,
                "latestLocalVersionInfo": None,
                "features": [],
            }
        }

    def organization(self, _: Json) -> Json:
        return {"entity": {"organization": None, "user": None}}

    # runs, written

    def upsert_run(self, variables: Json) -> Json:
        known = next((run for run in self.runs if run.node_id == variables.get("id")), None)
        project = variables.get("project") or "uncategorized"
        run = known or self.find(project, variables["name"])
        inserted = run is None
        run = run or self._run(variables.get("entity"), project, variables["name"])
        _apply_upsert(run, variables)
        bucket = {**_run_node(run), "project": self._project_node(run.project, run.entity)}
        return {"upsertBucket": {"inserted": inserted, "bucket": {**bucket, "description": None}}}

    def create_run_files(self, variables: Json) -> Json:
        run = self._run(variables.get("entity"), variables["project"], variables["run"])
        base = f"{self.url}/storage/run/{run.project}/{run.id}"
        files = [{"name": name, "uploadUrl": f"{base}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": run.node_id, "uploadHeaders": [], "files": files}}

    def alert(self, variables: Json) -> Json:
        self.alerts.append(
            ServedAlert(
                project=variables["projectName"],
                run=variables["runName"],
                title=variables["title"],
                text=variables["text"],
                level=variables.get("severity") or "",
                wait_ms=variables.get("waitDuration") or 0,
            )
        )
        return {"notifyScriptableRunAlert": {"success": True}}

    def delete_run(self, variables: Json) -> Json:
        self.runs = [run for run in self.runs if run.node_id != variables["id"]]
        return {"deleteRun": {"clientMutationId": None}}

    # runs, read

    def stopped(self, _: Json) -> Json:
        return {"project": {"run": {"stopped": False}}}

    def resume_status(self, variables: Json) -> Json:
        run = self.find(variables.get("project") or "", variables.get("name") or "")
        if run is None:
            return {"model": None}
        tail = [run.lines[max(run.lines)]] if run.lines else []
        wandb_config = run.config_values.get("_wandb", {}).get("value", {})
        bucket = {
            **_run_node(run),
            "logLineCount": len(run.output),
            "eventsLineCount": len(run.events),
            "historyTail": json.dumps(tail),
            "eventsTail": json.dumps(run.events[-1:]),
            "wandbConfig": json.dumps(wandb_config),
        }
        return {"model": {**self._project_node(run.project, run.entity), "bucket": bucket}}

    def read_run(self, variables: Json) -> Json:
        run = self.find(variables["project"], variables.get("name") or variables.get("run") or "")
        return {"project": {"run": _run_node(run) if run else None}}

    def read_runs(self, variables: Json) -> Json:
        runs = [run for run in self.runs if run.project == variables["project"]]
        edges = [{"node": _run_node(run), "cursor": run.id} for run in runs]
        return {
            "project": {
                "internalId": "1",
                "runCount": len(runs),
                "readOnly": False,
                "runs": {"edges": edges, "pageInfo": _LAST_PAGE},
            }
        }

    def parquet_history(self, _: Json) -> Json:
        return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}

    def history_page(self, variables: Json) -> Json:
        run = self.find(variables["project"], variables["run"])
        low, high = variables["minStep"], variables["maxStep"]
        rows = [
            line
            for number, line in sorted(run.lines.items() if run else ())
            if low <= json.loads(line).get("_step", number) < high
        ]
        return {"project": {"run": {"history": rows[: variables.get("pageSize") or 1000]}}}

    def sampled_history(self, variables: Json) -> Json:
        run = self.find(variables["project"], variables["run"])
        specs = variables.get("specs") or [variables["spec"]]
        sampled = [_rows_with(json.loads(spec).get("keys"), run) for spec in specs]
        return {"project": {"run": {"sampledHistory": sampled}}}

    def full_history(self, variables: Json) -> Json:
        run = self.find(variables["project"], variables["run"])
        rows = [run.lines[number] for number in sorted(run.lines)] if run else []
        return {"project": {"run": {"history": rows, "events": run.events if run else []}}}

    def run_files(self, variables: Json) -> Json:
        project, run_id = variables["project"], variables["name"]
        run = self.find(project, run_id)
        files = run.files if run else {}
        edges = [
            {"node": self._file_node(f"run/{project}/{run_id}", name, files[name]), "cursor": name}
            for name in variables.get("fileNames") or files
            if name in files
        ]
        page = {"edges": edges, "pageInfo": _LAST_PAGE}
        return {"project": {"run": {"fileCount": len(files), "files": page}}}

    def projects(self, _: Json) -> Json:
        names = sorted({run.project for run in self.runs})
        edges = [{"node": self._project_node(name, self.entity)} for name in names]
        return {"models": {"pageInfo": _LAST_PAGE, "edges": edges}}

    # artifacts, written

    def create_artifact(self, variables: Json) -> Json:
        given = variables.get("input") or variables
        names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
        project, name, digest = given["projectName"], names[0], given["digest"]
        versions = [a for a in self.artifacts if (a.project, a.name) == (project, name)]
        artifact = next((a for a in versions if a.committed and a.digest == digest), None)
        if artifact is None:
            artifact = ServedArtifact(
                id=_node_id("Artifact", len(self.artifacts) + 1),
                entity=given.get("entityName") or self.entity,
                project=project,
                name=name,
                type=given.get("artifactTypeName") or "",
                version=len(versions),
                digest=digest,
                created_at=_now(),
                run=given.get("runName") or "",
                metadata=given.get("metadata") or "{}",
                description=given.get("description"),
            )
            self.artifacts.append(artifact)
        artifact.aliases += [item["alias"] for item in given.get("aliases") or []]
        if given.get("clientID"):
            self._clients[given["clientID"]] = artifact.id
        committed = [version for version in versions if version.committed]
        latest = (
            {"id": committed[-1].id, "versionIndex": committed[-1].version} if committed else None
        )
        sequence = {"id": _node_id("ArtifactCollection", name), "latestArtifact": latest}
        node = {"id": artifact.id, "state": artifact.state, "digest": artifact.digest}
        return {"createArtifact": {"artifact": {**node, "artifactSequence": sequence}}}

    def create_manifest(self, variables: Json) -> Json:
        artifact_id = variables["artifactID"]
        return {"createArtifactManifest": {"artifactManifest": self._manifest_node(artifact_id)}}

    def update_manifest(self, variables: Json) -> Json:
        artifact_id = variables["artifactManifestID"].removeprefix("manifest-")
        return {"updateArtifactManifest": {"artifactManifest": self._manifest_node(artifact_id)}}

    def create_artifact_files(self, variables: Json) -> Json:
        given = variables.get("input") or variables
        edges = [
            {
                "node": {
                    "id": _node_id("ArtifactFile", item["artifactID"], item["name"]),
                    "name": item["name"],
                    "displayName": item["name"],
                    "storagePath": f"artifact/{item['artifactID']}/{item['name']}",
                    "uploadUrl": f"{self.url}/storage/artifact/{item['artifactID']}/{item['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": item["artifactID"]},
                }
            }
            for item in given.get("artifactFiles") or []
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def commit_artifact(self, variables: Json) -> Json:
        artifact = self._artifact(variables["artifactID"])
        artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def update_artifact(self, variables: Json) -> Json:
        return {"updateArtifact": {"artifact": {"id": variables.get("artifactID")}}}

    def use_artifact(self, variables: Json) -> Json:
        artifact = self._artifact((variables.get("input") or variables)["artifactID"])
        return {"useArtifact": {"artifact": self._artifact_node(artifact)}}

    # artifacts, read

    def client_id(self, variables: Json) -> Json:
        server_id = self._clients.get(variables.get("clientID") or "")
        return {"clientIDMapping": {"serverID": server_id} if server_id else None}

    def artifact_type(self, variables: Json) -> Json:
        found = self.find_artifact(variables["project"], variables["name"])
        node = {"artifactType": {"name": found.type}} if found else None
        return {"project": {"artifact": node}}

    def artifact_by_id(self, variables: Json) -> Json:
        return {"artifact": self._artifact_node(self._artifact(variables["id"]))}

    def artifact_by_name(self, variables: Json) -> Json:
        found = self.find_artifact(variables["project"], variables["name"])
        if found is None:
            return {"project": {"artifactCollectionMembership": None}}
        node = self._artifact_node(found)
        membership = {
            "__typename": "ArtifactCollectionMembership",
            "id": _node_id("Membership", found.id),
            "versionIndex": found.version,
            "createdAt": found.created_at,
            "aliases": node["aliases"],
            "artifactCollection": node["artifactSequence"],
            "artifact": node,
        }
        return {"project": {"artifactCollectionMembership": membership}}

    def artifact_manifest(self, variables: Json) -> Json:
        artifact_id = variables.get("id") or variables.get("artifactID")
        manifest = self._manifest_node(str(artifact_id))
        return {"artifact": {"currentManifest": manifest}}

    def run_artifacts(self, variables: Json) -> Json:
        found = [
            self._artifact_node(artifact)
            for artifact in self.artifacts
            if (artifact.project, artifact.run) == (variables["project"], variables["run"])
        ]
        edges = [{"node": node, "cursor": node["id"]} for node in found]
        artifacts = {"totalCount": len(edges), "pageInfo": _LAST_PAGE, "edges": edges}
        return {"project": {"run": {"artifacts": artifacts}}}

    # parts of answers

    def _project_node(self, name: str, entity: str) -> Json:
        return {
            "__typename": "Project",
            "id": _node_id("Project", name),
            "internalId": _node_id("Project", name),
            "name": name,
            "entityName": entity,
            "entity": {"id": _node_id("Entity", 1), "name": entity},
            "createdAt": "2026-01-01T00:00:00Z",
            "isBenchmark": False,
            "user": None,
        }

    def _file_node(self, folder: str, name: str, data: bytes) -> Json:
        url = f"{self.url}/storage/{folder}/{name}"
        return {
            "__typename": "File",
            "id": _node_id("File", folder, name),
            "name": name,
            "url": url,
            "directUrl": url,
            "sizeBytes": len(data),
            "mimetype": None,
            "updatedAt": None,
            "digest": None,
            "md5": None,
            "storagePath": None,
        }

    def _manifest_node(self, artifact_id: str) -> Json:
        url = f"{self.url}/storage/manifest/{artifact_id}/wandb_manifest.json"
        file = {
            "id": _node_id("File", artifact_id),
            "name": "wandb_manifest.json",
            "displayName": "wandb_manifest.json",
            "uploadUrl": url,
            "uploadHeaders": [],
            "directUrl": url,
        }
        return {"id": f"manifest-{artifact_id}", "file": file}

    def _artifact_node(self, artifact: ServedArtifact) -> Json:
        sequence = {
            "__typename": "ArtifactSequence",
            "id": _node_id("ArtifactCollection", artifact.name),
            "name": artifact.name,
            "project": self._project_node(artifact.project, artifact.entity),
        }
        aliases = ["latest", *artifact.aliases]
        return {
            "__typename": "Artifact",
            "id": artifact.id,
            "artifactSequence": sequence,
            "versionIndex": artifact.version,
            "artifactType": {"name": artifact.type},
            "description": artifact.description,
            "metadata": artifact.metadata,
            "ttlDurationSeconds": -1,
            "ttlIsInherited": False,
            "tags": [],
            "historyStep": None,
            "state": artifact.state,
            "size": sum(map(len, artifact.files.values())),
            "digest": artifact.digest,
            "digestAlgorithm": "MANIFEST_MD5",
            "commitHash": artifact.digest,
            "fileCount": len(artifact.files),
            "createdAt": artifact.created_at,
            "updatedAt": None,
            "aliases": [
                {
                    "__typename": "ArtifactAlias",
                    "id": _node_id("Alias", artifact.id, alias),
                    "alias": alias,
                    "artifactCollection": sequence,
                }
                for alias in dict.fromkeys(aliases)
            ],
        }


_OPERATIONS: Mapping[str, Callable[[Backend, Json], Json]] = {
    "ArtifactByID": Backend.artifact_by_id,
    "ArtifactManifest": Backend.artifact_manifest,
    "ArtifactMembershipByName": Backend.artifact_by_name,
    "ArtifactType": Backend.artifact_type,
    "ClientIDMapping": Backend.client_id,
    "CommitArtifact": Backend.commit_artifact,
    "CreateArtifact": Backend.create_artifact,
    "CreateArtifactFiles": Backend.create_artifact_files,
    "CreateArtifactManifest": Backend.create_manifest,
    "CreateRunFiles": Backend.create_run_files,
    "DeleteRun": Backend.delete_run,
    "FetchArtifactManifest": Backend.artifact_manifest,
    "FetchOrgInfoFromEntity": Backend.organization,
    "GetDefaultEntity": Backend.viewer,
    "GetProjects": Backend.projects,
    "GetRun": Backend.read_run,
    "GetViewer": Backend.viewer,
    "HistoryPage": Backend.history_page,
    "LightweightRun": Backend.read_run,
    "LightweightRuns": Backend.read_runs,
    "NotifyScriptableRunAlert": Backend.alert,
    "OrganizationByEntity": Backend.organization,
    "OrganizationCoreWeaveOrganizationID": Backend.organization,
    "Run": Backend.read_run,
    "RunFiles": Backend.run_files,
    "RunFullHistory": Backend.full_history,
    "RunHistoryKeys": Backend.read_run,
    "RunOutputArtifacts": Backend.run_artifacts,
    "RunParquetHistory": Backend.parquet_history,
    "RunResumeStatus": Backend.resume_status,
    "RunSampledHistory": Backend.sampled_history,
    "RunState": Backend.read_run,
    "RunStoppedStatus": Backend.stopped,
    "Runs": Backend.read_runs,
    "SampledHistoryPage": Backend.sampled_history,
    "ServerFeaturesQuery": Backend.server_features,
    "ServerInfo": Backend.server_info,
    "UpdateArtifact": Backend.update_artifact,
    "UpdateArtifactManifest": Backend.update_manifest,
    "UpsertBucket": Backend.upsert_run,
    "UseArtifact": Backend.use_artifact,
    "Viewer": Backend.viewer,
    "ViewerIdentity": Backend.viewer,
}

_RUN_FIELDS = {
    "displayName": "name",
    "display_name": "name",
    "notes": "notes",
    "groupName": "group",
    "jobType": "job_type",
    "state": "state",
    "tags": "tags",
}


def _apply_upsert(run: ServedRun, variables: Json) -> None:
    for key, attribute in _RUN_FIELDS.items():
        if variables.get(key) is not None:
            setattr(run, attribute, variables[key])
    if variables.get("config"):
        run.config_values = json.loads(variables["config"])
    if variables.get("summaryMetrics"):
        run.summary.update(json.loads(variables["summaryMetrics"]))


def _run_node(run: ServedRun) -> Json:
    return {
        "__typename": "Run",
        "id": run.node_id,
        "name": run.id,
        "displayName": run.name or run.id,
        "sweepName": None,
        "state": run.state,
        "config": json.dumps(run.config_values),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "group": run.group or None,
        "jobType": run.job_type or None,
        "tags": run.tags,
        "notes": run.notes,
        "description": None,
        "commit": None,
        "readOnly": False,
        "createdAt": run.created_at,
        "heartbeatAt": run.created_at,
        "historyLineCount": len(run.lines),
        "historyKeys": _history_keys(run.history),
        "user": {"name": run.entity, "username": run.entity},
        "projectId": "1",
    }


def _rows_with(keys: list[str] | None, run: ServedRun | None) -> list[Json]:
    rows = run.history if run else []
    if not keys:
        return rows
    return [{key: row[key] for key in keys} for row in rows if set(keys) <= set(row)]


def _history_keys(rows: list[Json]) -> Json:
    keys = {key: {"typeCounts": [], "monotonic": False} for row in rows for key in row}
    return {"lastStep": len(rows) - 1, "keys": keys, "sets": []}


def _node_id(*parts: object) -> str:
    # ids travel in URLs
    return base64.urlsafe_b64encode(":".join(map(str, parts)).encode()).decode()


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
