"""How a W&B server answers what is asked about runs, and about who asks."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from urllib.parse import quote

from support.wandb_records import (
    LAST_PAGE,
    Json,
    Memory,
    RefusedError,
    ServedAlert,
    ServedRun,
    node_id,
    now,
    project_node,
    strict_json,
)


def viewer(memory: Memory, _: Json) -> Json:
    return {
        "viewer": {
            "id": node_id("User", 1),
            "entity": memory.entity,
            "username": memory.entity,
            "name": memory.entity,
            "email": f"{memory.entity}@example.com",
            "admin": False,
            "flags": "{}",
            "photoUrl": None,
            "deletedAt": None,
            "accountType": None,
            "defaultEntity": {"id": node_id("Entity", 1), "name": memory.entity},
            "teams": {"edges": [{"node": {"name": memory.entity}}]},
            "apiKeys": {"edges": []},
        }
    }


def server_features(_memory: Memory, _: Json) -> Json:
    return {"serverInfo": {"features": []}}


def server_info(_memory: Memory, _: Json) -> Json:
    version = {"max_cli_version": "0.31.0"}
    return {
        "serverInfo": {
            "cliVersionInfo": version,
            "latestLocalVersionInfo": None,
            "features": [],
        }
    }


def organization(_memory: Memory, _: Json) -> Json:
    return {"entity": {"organization": None, "user": None}}


def upsert_run(memory: Memory, variables: Json) -> Json:
    """A node id names a run that is there; a name makes one if there is none."""
    _refuse_too_long(variables)
    if variables.get("id"):
        run = next((run for run in memory.runs if run.node_id == variables["id"]), None)
        if run is None:
            raise RefusedError("run not found")
        inserted = False
    elif variables.get("name"):
        project = variables.get("project") or "uncategorized"
        inserted = memory.find(project, variables["name"]) is None
        run = memory.run(variables.get("entity"), project, variables["name"])
    else:
        raise RefusedError("upsertBucket needs the id or the name of a run")
    run.heartbeat_at = now()
    _apply_upsert(run, variables)
    bucket = {**_run_node(run), "project": project_node(run.project, run.entity)}
    return {"upsertBucket": {"inserted": inserted, "bucket": {**bucket, "description": None}}}


def create_run_files(memory: Memory, variables: Json) -> Json:
    run = memory.run(variables.get("entity"), variables["project"], variables["run"])
    base = f"{memory.url}/storage/run/{run.project}/{run.id}"
    files = [{"name": name, "uploadUrl": f"{base}/{quote(name)}"} for name in variables["files"]]
    return {"createRunFiles": {"runID": run.node_id, "uploadHeaders": [], "files": files}}


def alert(memory: Memory, variables: Json) -> Json:
    memory.alerts.append(
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


def delete_run(memory: Memory, variables: Json) -> Json:
    memory.runs = [run for run in memory.runs if run.node_id != variables["id"]]
    return {"deleteRun": {"clientMutationId": None}}


def stopped(_memory: Memory, _: Json) -> Json:
    return {"project": {"run": {"stopped": False}}}


def resume_status(memory: Memory, variables: Json) -> Json:
    run = memory.find(variables.get("project") or "", variables.get("name") or "")
    if run is None:
        return {"model": None}
    tail = [run.lines[max(run.lines)]] if run.lines else []
    wandb_config = run.config_values.get("_wandb", {}).get("value", {})
    bucket = {
        **_run_node(run),
        "logLineCount": len(run.output),
        "eventsLineCount": len(run.events),
        "historyTail": json.dumps([strict_json(line) for line in tail]),
        "eventsTail": json.dumps(run.events[-1:]),
        "wandbConfig": json.dumps(wandb_config),
    }
    return {"model": {**project_node(run.project, run.entity), "bucket": bucket}}


def read_run(memory: Memory, variables: Json) -> Json:
    run = memory.find(variables["project"], _named(variables))
    return {"project": {"run": _run_node(run) if run else None}}


def read_runs(memory: Memory, variables: Json) -> Json:
    runs = [run for run in memory.runs if run.project == variables["project"]]
    edges = [{"node": _run_node(run), "cursor": run.id} for run in runs]
    return {
        "project": {
            "internalId": "1",
            "runCount": len(runs),
            "readOnly": False,
            "runs": {"edges": edges, "pageInfo": LAST_PAGE},
        }
    }


def parquet_history(_memory: Memory, _: Json) -> Json:
    return {"project": {"run": {"parquetHistory": {"parquetUrls": [], "liveData": []}}}}


def history_page(memory: Memory, variables: Json) -> Json:
    run = memory.find(variables["project"], _named(variables))
    if run is None:
        return {"project": {"run": None}}
    rows = run.lines.between(variables["minStep"], variables["maxStep"])
    return {
        "project": {
            "run": {"history": list(map(strict_json, _sampled(rows, _page_size(variables))))}
        }
    }


def sampled_history(memory: Memory, variables: Json) -> Json:
    run = memory.find(variables["project"], variables["run"])
    specs = variables.get("specs") or [variables["spec"]]
    sampled = [_rows_with(json.loads(spec).get("keys"), run) for spec in specs]
    return {"project": {"run": {"sampledHistory": sampled}}}


def full_history(memory: Memory, variables: Json) -> Json:
    run = memory.find(variables["project"], variables["run"])
    rows = [strict_json(run.lines[number]) for number in sorted(run.lines)] if run else []
    return {"project": {"run": {"history": rows, "events": run.events if run else []}}}


def run_files(memory: Memory, variables: Json) -> Json:
    project, run_id = variables["project"], variables["name"]
    run = memory.find(project, run_id)
    files = run.files if run else {}
    # one that was asked for by its name is told of even if it never came
    edges = [
        {
            "node": _file_node(memory, f"run/{project}/{run_id}", name, files.get(name)),
            "cursor": name,
        }
        for name in variables.get("fileNames") or files
    ]
    page = {"edges": edges, "pageInfo": LAST_PAGE}
    return {"project": {"run": {"fileCount": len(files), "files": page}}}


def projects(memory: Memory, _: Json) -> Json:
    names = sorted({run.project for run in memory.runs})
    edges = [{"node": project_node(name, memory.entity)} for name in names]
    return {"models": {"pageInfo": LAST_PAGE, "edges": edges}}


def _file_node(memory: Memory, folder: str, name: str, data: bytes | None) -> Json:
    url = f"{memory.url}/storage/{folder}/{name}"
    return {
        "__typename": "File",
        "id": node_id("File", folder, name),
        "name": name,
        "url": url,
        "directUrl": url,
        "sizeBytes": len(data or b""),
        "mimetype": None,
        "updatedAt": None,
        "digest": None,
        "md5": "0" if data is None else b64encode(hashlib.md5(data).digest()).decode(),  # noqa: S324
        "storagePath": None,
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


def _refuse_too_long(variables: Json) -> None:
    """Refuse what does not fit into the columns of the real server's database."""
    for name, longest in {"displayName": 128, "groupName": 128, "jobType": 64}.items():
        if len(variables.get(name) or "") > longest:
            raise RefusedError(f"Data too long for {name}")
    if any(len(tag) > 64 for tag in variables.get("tags") or []):
        raise RefusedError("Data too long for tags")


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
        "summaryMetrics": strict_json(json.dumps(run.summary)),
        "systemMetrics": "{}",
        "group": run.group or None,
        "jobType": run.job_type or None,
        "tags": run.tags,
        "notes": run.notes,
        "description": None,
        "commit": None,
        "readOnly": False,
        "createdAt": run.created_at,
        "heartbeatAt": run.heartbeat_at,
        "exitcode": run.exit_code,
        "historyLineCount": len(run.lines),
        "historyKeys": run.lines.keys_node,
        "user": {"name": run.entity, "username": run.entity},
        "projectId": "1",
    }


def _rows_with(keys: list[str] | None, run: ServedRun | None) -> list[Json]:
    rows = [json.loads(strict_json(json.dumps(row))) for row in run.history] if run else []
    if not keys:
        return rows
    return [{key: row[key] for key in keys} for row in rows if set(keys) <= set(row)]


def _named(variables: Json) -> str:
    """The run that a query asks for; its queries differ in what they call it."""
    return variables.get("name") or variables.get("run") or variables.get("runName") or ""


def _page_size(variables: Json) -> int:
    return variables.get("pageSize") or variables.get("samples") or 500


def _sampled(rows: list[str], n_most: int) -> list[str]:
    """At most so many rows, spread over all: a page that is too small leaves rows out."""
    if len(rows) <= n_most:
        return rows
    return [rows[place * len(rows) // n_most] for place in range(n_most)]


OPERATIONS: Mapping[str, Callable[[Memory, Json], Json]] = {
    "CreateRunFiles": create_run_files,
    "DeleteRun": delete_run,
    "FetchOrgInfoFromEntity": organization,
    "GetDefaultEntity": viewer,
    "GetProjects": projects,
    "GetRun": read_run,
    "GetViewer": viewer,
    "HistoryPage": history_page,
    "LightweightRun": read_run,
    "LightweightRuns": read_runs,
    "NotifyScriptableRunAlert": alert,
    "OrganizationByEntity": organization,
    "OrganizationCoreWeaveOrganizationID": organization,
    "Run": read_run,
    "RunFiles": run_files,
    "RunFullHistory": full_history,
    "RunHistoryKeys": read_run,
    "RunParquetHistory": parquet_history,
    "RunResumeStatus": resume_status,
    "RunSampledHistory": sampled_history,
    "RunState": read_run,
    "RunStoppedStatus": stopped,
    "Runs": read_runs,
    "SampledHistoryPage": sampled_history,
    "ServerFeaturesQuery": server_features,
    "ServerInfo": server_info,
    "UpsertBucket": upsert_run,
    "Viewer": viewer,
    "viewer": viewer,
    "ViewerIdentity": viewer,
}
