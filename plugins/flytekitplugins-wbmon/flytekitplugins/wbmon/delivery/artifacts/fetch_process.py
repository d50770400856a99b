"""The process that downloads a record from an artifact, with the key from its standard input.

It is one of its own because wandb, of which no call has a time limit, starts processes and may wait
for minutes, and because the task's process would keep the memory that wandb takes. What it found is
in `answer.json` of its folder: `version` and `file`, or `refused` with what is wrong with the
artifact, or `failed` with the error, and then `is_found`, whether W&B said that there is such an
artifact, and `is_final`, whether a server refused something for good.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.artifacts.contents import ArtifactFile, only_record_file
from flytekitplugins.wbmon.delivery.runs.wandb_internals import load_lean
from flytekitplugins.wbmon.errors import DataError, PublishError, error_message, error_type

ANSWER, FILES = "answer.json", "files"
# of a proxy, of one that waited too long, of one that is asked too often
_PASSING = (407, 408, 429)
_CLIENT_FAULTS = range(400, 500)


def main(folder: str, artifact: str, ending: str, timeout_s: str, key: str) -> None:
    """Download the record.

    Args:
        folder: Where it and the answer go.
        artifact: Full name of the artifact.
        ending: How the names of files of such records end.
        timeout_s: Whole seconds that W&B has for an answer.
        key: The W&B key.
    """
    found = None
    answer: dict[str, Any]
    try:
        found = _find(artifact, int(timeout_s), key)
        answer = _download(found, Path(folder) / FILES, artifact, ending)
    except DataError as error:
        answer = {"refused": str(error)}
    except Exception as error:  # noqa: BLE001 - wandb and requests raise many kinds
        answer = {
            "failed": f"{error_type(error)}: {error_message(error)}",
            "is_found": found is not None,
            "is_final": any(map(is_final, _statuses(error))),
        }
    (Path(folder) / ANSWER).write_text(json.dumps(answer), encoding="utf-8")


def is_final(status: int) -> bool:
    """Whether an HTTP status is a refusal that will not pass by itself."""
    return status in _CLIENT_FAULTS and status not in _PASSING


def require_content(content: bytes, entry: Any) -> None:
    """Refuse what is not the file that the manifest has, such as a page to log in.

    Args:
        content: What was downloaded.
        entry: The file in wandb's manifest.

    Raises:
        PublishError: If the size or the digest differs.
    """
    must = f"{entry.path} must have the content that the manifest tells of, and has "
    if entry.size is not None and entry.size != len(content):
        raise PublishError(f"{must}{len(content)} bytes, not {entry.size}")
    # releases from 0.31 on know other digests, and then say which
    is_md5 = entry.extra.get("alg", "MD5") == "MD5"
    found = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    if is_md5 and entry.digest != found:
        raise PublishError(f"{must}the digest {found}, not {entry.digest}")


def _find(artifact: str, timeout_s: int, key: str) -> Any:
    load_lean()
    import wandb

    api = wandb.Api(
        api_key=key, timeout=timeout_s, overrides={"base_url": os.environ["WANDB_BASE_URL"]}
    )
    return api.artifact(artifact)


def _download(found: Any, folder: Path, artifact: str, ending: str) -> dict[str, str]:
    entries = {str(entry.path): entry for entry in found.manifest.entries.values()}
    files = [
        ArtifactFile(path=path, n_bytes=entry.size or 0, is_reference=entry.ref is not None)
        for path, entry in entries.items()
    ]
    path = only_record_file(artifact, files, ending)
    found.download(root=str(folder), path_prefix=path, skip_cache=True)
    require_content((folder / path).read_bytes(), entries[path])
    return {"version": found.version, "file": path}


def _statuses(error: BaseException) -> Iterator[int]:
    """The HTTP statuses that an error tells of, and those that it was raised for."""
    left: list[Any] = [error]
    seen: list[Any] = [None]
    while left:
        one = left.pop()
        if one in seen:
            continue
        seen.append(one)
        response = getattr(one, "response", None)
        # of requests, and of wandb's service
        yield getattr(response, "status_code", 0) or getattr(response, "http_status", 0)
        # wandb's own errors have what they were raised for in `exc`
        left += [one.__cause__, one.__context__, getattr(one, "exc", None)]


if __name__ == "__main__":
    _, to, of, named, seconds = sys.argv
    main(to, of, named, seconds, sys.stdin.read())
    # wandb ends its service when Python ends, which waits for one that hangs
    os._exit(0)
