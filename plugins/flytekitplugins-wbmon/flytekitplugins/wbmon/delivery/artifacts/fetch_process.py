"""The process that downloads a record from an artifact, with the key from its standard input.

It is one of its own because wandb, of which no call has a time limit, starts processes and may wait
for minutes, and because the task's process would keep the memory that wandb takes. What it found is
in `answer.json` of its folder: `version` and `file`, or `refused` or `failed` with the reason.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from flytekitplugins.wbmon.delivery.artifacts.contents import ArtifactFile, only_record_file
from flytekitplugins.wbmon.delivery.runs.wandb_internals import load_lean
from flytekitplugins.wbmon.errors import DataError, error_message, error_type

ANSWER, FILES = "answer.json", "files"


def main(folder: str, artifact: str, ending: str, timeout_s: str, key: str) -> None:
    """Download the record.

    Args:
        folder: Where it and the answer go.
        artifact: Full name of the artifact.
        ending: How the names of files of such records end.
        timeout_s: Whole seconds that W&B has for an answer.
        key: The W&B key.
    """
    try:
        answer = _download(Path(folder), artifact, ending, int(timeout_s), key)
    except DataError as error:
        answer = {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - wandb and requests raise many kinds
        answer = {"failed": f"{error_type(error)}: {error_message(error)}"}
    (Path(folder) / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def _download(folder: Path, artifact: str, ending: str, timeout_s: int, key: str) -> dict[str, str]:
    load_lean()
    import wandb

    api = wandb.Api(
        api_key=key, timeout=timeout_s, overrides={"base_url": os.environ["WANDB_BASE_URL"]}
    )
    found = api.artifact(artifact)
    files = [
        ArtifactFile(
            path=str(entry.path), n_bytes=entry.size or 0, is_reference=entry.ref is not None
        )
        for entry in found.manifest.entries.values()
    ]
    path = only_record_file(artifact, files, ending)
    found.download(root=str(folder / FILES), path_prefix=path, skip_cache=True)
    return {"version": found.version, "file": path}


if __name__ == "__main__":
    _, to, of, named, seconds = sys.argv
    main(to, of, named, seconds, sys.stdin.read())
    # wandb ends its service when Python ends, which waits for one that hangs
    os._exit(0)
