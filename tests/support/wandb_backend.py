"""What a W&B server answers, without HTTP.

Written from the requests that wandb 0.23 to 0.31 were observed to make. An operation that is not
known is answered with an error and kept in `unknown`, so that a test can tell that the client has
changed.
Limits on the number of runs or the rate of alerts are not modelled: every alert is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from support import wandb_artifacts, wandb_runs, wandb_views
from support.wandb_graphql import IS_STRICT, check_variables, select_fields
from support.wandb_records import Json, Memory, RefusedError, now, project_node
from support.wandb_schema import asked_types, describe_types

# of which wandb's source says that the server imposes it
MAX_LINE = 10 * 1024 * 1024

_OPERATIONS = {
    **wandb_runs.OPERATIONS,
    **wandb_artifacts.OPERATIONS,
    **wandb_views.OPERATIONS,
}


class Backend:
    """The answers and what they are made from; callers hold a lock.

    Args:
        url: Under which uploads come back.
        entity: Who the API keys belong to.
    """

    def __init__(self, url: str, entity: str) -> None:
        self.memory = Memory(url, entity)
        self.unknown: list[str] = []
        self._blobs: dict[str, bytes] = {}

    def answer(self, operation: str, query: str, variables: Json) -> Json:
        """The answer to one GraphQL request."""
        types = asked_types(query, variables)
        if types:
            return self._describe(types)
        resolve = _OPERATIONS.get(operation)
        if resolve is None:
            self.unknown.append(operation)
            return {"data": {}, "errors": [{"message": f"unknown operation {operation}"}]}
        try:
            if IS_STRICT:
                check_variables(query, variables)
            answer = resolve(self.memory, variables)
            if isinstance(answer.get("project"), dict):
                name = variables.get("project") or variables.get("projectName")
                answer["project"] = project_node(name, self.memory.entity) | answer["project"]
            return {"data": select_fields(query, variables, answer) if IS_STRICT else answer}
        except RefusedError as error:
            return {"data": None, "errors": [{"message": str(error)}]}

    def _describe(self, types: Mapping[str, str]) -> Json:
        try:
            return {"data": describe_types(types)}
        except KeyError as error:
            self.unknown.append(f"type {error}")
            return {"data": {}, "errors": [{"message": f"unknown type {error}"}]}

    def stream(self, project: str, run_id: str, body: Json) -> Json | None:
        """Take one request of the file stream: rows, summary, output, the end.

        Returns:
            None if there is no such run.

        Raises:
            RefusedError: If a line is longer than the server takes.
        """
        run = self.memory.find(project, run_id)
        if run is None:
            return None
        chunks = (body.get("files") or {}).values()
        if any(
            len(line.encode()) > MAX_LINE for one in chunks for line in one.get("content") or ()
        ):
            raise RefusedError("line too long")
        run.heartbeat_at = now()
        for name, chunk in (body.get("files") or {}).items():
            lines, offset = chunk.get("content") or [], chunk.get("offset") or 0
            if name == "wandb-history.jsonl":
                run.lines.write(lines, offset)
            elif name == "output.log":
                run.output.update(enumerate(lines, start=offset))
            elif name == "wandb-summary.json" and lines:
                run.summary = json.loads(lines[-1])
            elif name == "wandb-events.jsonl":
                run.events[offset : offset + len(lines)] = lines
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
            run.state = "failed" if run.exit_code else "finished"
            run.n_finished += 1
        else:  # a run that is resumed runs again
            run.state, run.exit_code = "running", None
        return {"exitcode": run.exit_code, "limits": {}}

    def put(self, path: str, data: bytes) -> None:
        """Take an upload to one of the URLs that were handed out."""
        self._blobs[path] = data
        kind, owner, name = path.removeprefix("/storage/").split("/", 2)
        if kind == "run":
            project, run_id, name = f"{owner}/{name}".split("/", 2)
            self.memory.run(self.memory.entity, project, run_id).files[name] = data
        elif kind == "artifact":
            self.memory.artifact(owner).files[name] = data
        elif kind == "manifest":
            self.memory.artifact(owner).manifest = json.loads(data)

    def get(self, path: str) -> bytes | None:
        """What was uploaded to a URL; None if nothing was."""
        return self._blobs.get(path)
