"""How a W&B server answers who saves workspaces and reports."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from support.wandb_records import Json, Memory, ServedView, node_id, now, project_node


def project_internal_id(_memory: Memory, variables: Json) -> Json:
    name = variables["projectName"]
    return {"project": {"id": node_id("Project", name), "internalId": node_id("ProjectId", name)}}


def create_project(memory: Memory, variables: Json) -> Json:
    given = variables["input"]
    project = project_node(given["name"], given.get("entityName") or memory.entity)
    project |= {"description": None, "access": "PRIVATE", "views": None}
    return {"result": {"inserted": True, "project": project, "model": project}}


def upsert_view(memory: Memory, variables: Json) -> Json:
    name = variables.get("name") or f"view{len(memory.views)}"
    view_id = variables.get("id") or node_id("View", name)
    inserted = view_id not in memory.views
    memory.views[view_id] = ServedView(
        id=view_id,
        name=name,
        kind=variables.get("type") or "",
        title=variables.get("displayName") or "",
        spec=json.loads(variables["spec"]),
    )
    view = {
        "id": view_id,
        "name": name,
        "type": variables.get("type"),
        "displayName": variables.get("displayName") or "",
        "description": variables.get("description") or "",
        "spec": variables["spec"],
        "updatedAt": now(),
        "project": project_node(variables.get("projectName") or "", memory.entity),
    }
    return {"upsertView": {"view": view, "inserted": inserted}}


OPERATIONS: Mapping[str, Callable[[Memory, Json], Json]] = {
    "CreateProject": create_project,
    "ProjectInternalId": project_internal_id,
    "UpsertView2": upsert_view,
    "upsertView": upsert_view,
}
