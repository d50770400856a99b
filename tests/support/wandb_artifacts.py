"""How a W&B server answers what is asked about artifacts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from support.wandb_records import (
    LAST_PAGE,
    Json,
    Memory,
    ServedArtifact,
    node_id,
    now,
    project_node,
)


def create_artifact(memory: Memory, variables: Json) -> Json:
    given = variables.get("input") or variables
    names = given.get("artifactCollectionNames") or [given.get("artifactCollectionName")]
    project, name, digest = given["projectName"], names[0], given["digest"]
    versions = [a for a in memory.artifacts if (a.project, a.name) == (project, name)]
    artifact = next((a for a in versions if a.committed and a.digest == digest), None)
    if artifact is None:
        artifact = ServedArtifact(
            id=node_id("Artifact", len(memory.artifacts) + 1),
            entity=given.get("entityName") or memory.entity,
            project=project,
            name=name,
            type=given.get("artifactTypeName") or "",
            version=len(versions),
            digest=digest,
            created_at=now(),
            run=given.get("runName") or "",
            metadata=given.get("metadata") or "{}",
            description=given.get("description"),
        )
        memory.artifacts.append(artifact)
    _point(memory, artifact, given.get("aliases") or ())
    if given.get("clientID"):
        memory.clients[given["clientID"]] = artifact.id
    committed = [version for version in versions if version.committed]
    latest = {"id": committed[-1].id, "versionIndex": committed[-1].version} if committed else None
    sequence = {"id": node_id("ArtifactCollection", name), "latestArtifact": latest}
    node = {"id": artifact.id, "state": artifact.state, "digest": artifact.digest}
    return {"createArtifact": {"artifact": {**node, "artifactSequence": sequence}}}


def create_manifest(memory: Memory, variables: Json) -> Json:
    artifact_id = variables["artifactID"]
    return {"createArtifactManifest": {"artifactManifest": _manifest_node(memory, artifact_id)}}


def update_manifest(memory: Memory, variables: Json) -> Json:
    artifact_id = variables["artifactManifestID"].removeprefix("manifest-")
    return {"updateArtifactManifest": {"artifactManifest": _manifest_node(memory, artifact_id)}}


def create_artifact_files(memory: Memory, variables: Json) -> Json:
    given = variables.get("input") or variables
    edges = [
        {
            "node": {
                "id": node_id("ArtifactFile", item["artifactID"], item["name"]),
                "name": item["name"],
                "displayName": item["name"],
                "storagePath": f"artifact/{item['artifactID']}/{item['name']}",
                "uploadUrl": f"{memory.url}/storage/artifact/{item['artifactID']}/{item['name']}",
                "uploadHeaders": [],
                "uploadMultipartUrls": None,
                "artifact": {"id": item["artifactID"]},
            }
        }
        for item in given.get("artifactFiles") or []
    ]
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def commit_artifact(memory: Memory, variables: Json) -> Json:
    artifact = memory.artifact(variables["artifactID"])
    artifact.state = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


def update_artifact(memory: Memory, variables: Json) -> Json:
    given = variables.get("input") or variables
    return {"updateArtifact": {"artifact": _artifact_node(memory.artifact(given["artifactID"]))}}


def add_aliases(memory: Memory, variables: Json) -> Json:
    given = variables["input"]
    _point(memory, memory.artifact(given["artifactID"]), given["aliases"])
    return {"addAliases": {"success": True}}


def use_artifact(memory: Memory, variables: Json) -> Json:
    given = variables.get("input") or variables
    artifact = memory.artifact(given["artifactID"])
    artifact.used_by.append(given.get("runName") or "")
    return {"useArtifact": {"artifact": _artifact_node(artifact)}}


def client_id(memory: Memory, variables: Json) -> Json:
    server_id = memory.clients.get(variables.get("clientID") or "")
    return {"clientIDMapping": {"serverID": server_id} if server_id else None}


def artifact_type(memory: Memory, variables: Json) -> Json:
    found = memory.find_artifact(variables["project"], variables["name"])
    node = {"artifactType": {"name": found.type}} if found else None
    return {"project": {"artifact": node}}


def artifact_by_id(memory: Memory, variables: Json) -> Json:
    return {"artifact": _artifact_node(memory.artifact(variables["id"]))}


def artifact_by_name(memory: Memory, variables: Json) -> Json:
    found = memory.find_artifact(variables["project"], variables["name"])
    if found is None:
        return {"project": {"artifactCollectionMembership": None}}
    node = _artifact_node(found)
    membership = {
        "__typename": "ArtifactCollectionMembership",
        "id": node_id("Membership", found.id),
        "versionIndex": found.version,
        "createdAt": found.created_at,
        "aliases": node["aliases"],
        "artifactCollection": node["artifactSequence"],
        "artifact": node,
    }
    return {"project": {"artifactCollectionMembership": membership}}


def plain_artifact_by_name(memory: Memory, variables: Json) -> Json:
    """As clients before wandb 0.24 ask a server that does not say that it knows memberships."""
    found = memory.find_artifact(variables["project"], variables["name"])
    return {"project": {"artifact": None if found is None else _artifact_node(found)}}


def membership_file_urls(memory: Memory, variables: Json) -> Json:
    name = f"{variables['collection']}:{variables['alias']}"
    found = memory.find_artifact(variables["project"], name)
    if found is None:
        return {"project": {"artifactCollection": None}}
    membership = {"artifactMembership": {"files": _file_urls(memory, found)}}
    return {"project": {"artifactCollection": {"__typename": "ArtifactSequence", **membership}}}


def artifact_file_urls(memory: Memory, variables: Json) -> Json:
    return {"artifact": {"files": _file_urls(memory, memory.artifact(variables["id"]))}}


def artifact_manifest(memory: Memory, variables: Json) -> Json:
    artifact_id = variables.get("id") or variables.get("artifactID")
    manifest = _manifest_node(memory, str(artifact_id))
    return {"artifact": {"currentManifest": manifest}}


def run_artifacts(memory: Memory, variables: Json) -> Json:
    found = [
        _artifact_node(artifact)
        for artifact in memory.artifacts
        if (artifact.project, artifact.run) == (variables["project"], variables["run"])
    ]
    edges = [{"node": node, "cursor": node["id"]} for node in found]
    artifacts = {"totalCount": len(edges), "pageInfo": LAST_PAGE, "edges": edges}
    return {"project": {"run": {"artifacts": artifacts}}}


def _point(memory: Memory, artifact: ServedArtifact, aliases: Iterable[Json]) -> None:
    """Point aliases at a version; an alias names one version of an artifact."""
    for alias in [item["alias"] for item in aliases]:
        for other in memory.artifacts:
            if (other.project, other.name) == (artifact.project, artifact.name):
                other.aliases = [kept for kept in other.aliases if kept != alias]
        artifact.aliases.append(alias)


def _file_urls(memory: Memory, artifact: ServedArtifact) -> Json:
    """Where the content of each file is; no key is needed there, as W&B signs these URLs."""
    edges = [
        {
            "node": {
                "__typename": "File",
                "name": name,
                "directUrl": f"{memory.url}/storage/artifact/{artifact.id}/{name}",
            }
        }
        for name in artifact.files
    ]
    return {"edges": edges, "pageInfo": LAST_PAGE}


def _manifest_node(memory: Memory, artifact_id: str) -> Json:
    url = f"{memory.url}/storage/manifest/{artifact_id}/wandb_manifest.json"
    file = {
        "id": node_id("File", artifact_id),
        "name": "wandb_manifest.json",
        "displayName": "wandb_manifest.json",
        "uploadUrl": url,
        "uploadHeaders": [],
        "directUrl": url,
    }
    return {"id": f"manifest-{artifact_id}", "file": file}


def _artifact_node(artifact: ServedArtifact) -> Json:
    sequence = {
        "__typename": "ArtifactSequence",
        "id": node_id("ArtifactCollection", artifact.name),
        "name": artifact.name,
        "project": project_node(artifact.project, artifact.entity),
    }
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
                "id": node_id("Alias", artifact.id, alias),
                "alias": alias,
                "artifactCollection": sequence,
            }
            for alias in artifact.aliases
        ],
    }


OPERATIONS: Mapping[str, Callable[[Memory, Json], Json]] = {
    "AddAliases": add_aliases,
    "ArtifactByID": artifact_by_id,
    "ArtifactByName": plain_artifact_by_name,
    "ArtifactFileUrls": artifact_file_urls,
    "ArtifactManifest": artifact_manifest,
    "ArtifactMembershipByName": artifact_by_name,
    "ArtifactType": artifact_type,
    "ClientIDMapping": client_id,
    "CommitArtifact": commit_artifact,
    "CreateArtifact": create_artifact,
    "CreateArtifactFiles": create_artifact_files,
    "CreateArtifactManifest": create_manifest,
    "FetchArtifactManifest": artifact_manifest,
    "GetArtifactFileUrls": artifact_file_urls,
    "GetArtifactMembershipFileUrls": membership_file_urls,
    "RunOutputArtifacts": run_artifacts,
    "UpdateArtifact": update_artifact,
    "UpdateArtifactManifest": update_manifest,
    "UseArtifact": use_artifact,
}
