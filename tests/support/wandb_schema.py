"""What a W&B server says of its own schema; wandb before 0.26 asks before it asks for anything.

Only the types that were seen to be asked for, with the fields that this server knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from support.wandb_records import Json

_TYPES: Mapping[str, tuple[str, ...]] = {
    "Artifact": (
        "aliases", "artifactSequence", "artifactType", "commitHash", "createdAt",
        "currentManifest", "description", "digest", "fileCount", "historyStep", "id", "metadata",
        "size", "state", "tags", "ttlDurationSeconds", "ttlIsInherited", "updatedAt",
        "versionIndex",
    ),
    "CreateArtifactFileSpecInput": ("artifactID", "artifactManifestID", "md5", "mimetype", "name"),
    "CreateArtifactInput": (
        "aliases", "artifactCollectionName", "artifactCollectionNames", "artifactTypeName",
        "clientID", "description", "digest", "digestAlgorithm", "enableDigestDeduplication",
        "entityName", "historyStep", "labels", "metadata", "projectName", "runName",
        "sequenceClientID", "storageRegion", "tags", "ttlDurationSeconds",
    ),
    "Mutation": (
        "commitArtifact", "createArtifact", "createArtifactFiles", "createArtifactManifest",
        "createRunFiles", "notifyScriptableRunAlert", "updateArtifact", "upsertBucket",
        "useArtifact",
    ),
    "Project": ("artifact", "artifactCollection", "artifactType", "id", "name", "run", "runs"),
    "Query": ("artifact", "clientIDMapping", "entity", "project", "serverInfo", "viewer"),
    "ServerInfo": ("cliVersionInfo", "features", "latestLocalVersionInfo"),
    "ServerSettings": (),
    "UseArtifactInput": ("artifactID", "entityName", "projectName", "runName", "usedAs"),
}  # fmt: skip
_QUESTION = re.compile(r'(?:(\w+):\s*)?__type\(\s*name:\s*(?:"(\w+)"|\$(\w+))\s*\)')


def asked_types(query: str, variables: Json) -> dict[str, str]:
    """The types that a query asks for, by the names under which it wants them."""
    return {
        alias or "__type": name or str(variables.get(variable))
        for alias, name, variable in _QUESTION.findall(query)
    }


def describe_types(types: Mapping[str, str]) -> Json:
    """The answer about some types.

    Raises:
        KeyError: If this server has no such type.
    """
    return {alias: _described(name) for alias, name in types.items()}


def _described(kind: str) -> Json:
    named = [{"name": name, "args": []} for name in _TYPES[kind]]
    return {"name": kind, "fields": named, "inputFields": named}
