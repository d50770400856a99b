"""The record in an artifact of W&B, or why there is none: W&B is away, or says no.

What wandb raises does not tell the two apart in all releases. So a question of our own, before
wandb's, decides whether W&B knows the artifact and the key may read it. W&B is away if nobody
answers that in time, or what answers is not W&B, or has a status that may pass. It is away too if
it has the artifact and the download fails, however it does, unless a server refuses that for good.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from flytekitplugins.wbmon.delivery.artifacts.fetch_process import ANSWER, FILES, is_final
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.delivery.runs.api import (
    QueryRefusedError,
    ServerRefusedError,
    WandbApi,
)
from flytekitplugins.wbmon.delivery.runs.transport import StatusError
from flytekitplugins.wbmon.delivery.runs.wandb_child import run_child, server_variables
from flytekitplugins.wbmon.errors import DataError, PublishError
from flytekitplugins.wbmon.names import on_one_line, shown_name
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.storage.record_file import RecordFile
from flytekitplugins.wbmon.storage.room import temporary_folder

R = TypeVar("R", bound=RecordFile)

_PROCESS = "flytekitplugins.wbmon.delivery.artifacts.fetch_process"
_SHOWN = 300


class AwayError(PublishError):
    """W&B does not answer, not in time, with an error that may pass, or with something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRecord(Generic[R]):
    """A record from an artifact.

    Attributes:
        record: The record.
        version: The version of the artifact, such as `v3`.
    """

    record: R
    version: str


def fetch_record(
    kind: type[R], artifact: str, *, api_host: str, key: ApiKey, timeout_s: float
) -> FetchedRecord[R]:
    """Download the record that an artifact has.

    Args:
        kind: The class of the record.
        artifact: Full name of the artifact, `entity/project/name:alias`.
        api_host: URL of the W&B API.
        key: The W&B key.
        timeout_s: Time limit in seconds.

    Raises:
        AwayError: If W&B is away, or goes away before the content is there.
        DataError: If the artifact has no such record, or more than one, or a damaged one.
        PublishError: If W&B refuses the key, has no such artifact, or the download is refused.
    """
    until = time.monotonic() + timeout_s
    api = WandbApi(api_host, key, until=lambda: until)
    is_there = _is_there(api, artifact)
    with _own_folder() as name:
        folder = Path(name)
        code = run_child(
            _PROCESS,
            *(name, artifact, f".{kind.file_format()}", str(math.ceil(timeout_s))),
            variables=_variables(api_host, name),
            key=key,
            until=lambda: until,
        )
        if code is None:
            raise AwayError(f"W&B at {api_host} did not give {artifact!r} within {timeout_s:g} s")
        answer = _answer(folder / ANSWER, code)
        if "refused" in answer:
            raise DataError(answer["refused"])
        if "failed" in answer:
            # the name of a registry is one that only wandb may know how to ask for
            is_there = is_there or answer["is_found"] or _is_there(api, artifact)
            words = SecretRedactor([key.reveal()]).text(on_one_line(answer["failed"]))
            is_away = is_there and not answer["is_final"]
            raise _failure(artifact, api_host, words, is_away=is_away)
        content = (folder / FILES / answer["file"]).read_bytes()
    shown = f"{artifact} ({answer['version']}), {answer['file']}"
    return FetchedRecord(record=kind.from_bytes(content, shown), version=answer["version"])


def _is_there(api: WandbApi, artifact: str) -> bool:
    entity, project, name = artifact.split("/")
    try:
        return api.ask_for_artifact(entity, project, name)
    except QueryRefusedError:
        return False  # it answers; wandb may ask otherwise, or says what is wrong
    except ServerRefusedError:
        raise
    except PublishError as error:
        if isinstance(error, StatusError) and is_final(error.status):
            raise
        raise AwayError(str(error)) from error


def _failure(artifact: str, api_host: str, words: str, *, is_away: bool) -> PublishError:
    words = shown_name(words, _SHOWN)
    if is_away:
        return AwayError(f"W&B at {api_host} has {artifact!r}, and the download failed: {words}")
    return PublishError(
        f"{artifact!r} must be an artifact of W&B at {api_host} that the key may read: {words}; "
        "check its name and alias, and the key"
    )


def _own_folder() -> tempfile.TemporaryDirectory[str]:
    # wandb's service may write to its log there until it notices that it is alone
    return tempfile.TemporaryDirectory(
        prefix="wandb-artifact-", dir=temporary_folder(), ignore_cleanup_errors=True
    )


def _variables(api_host: str, folder: str) -> dict[str, str]:
    own = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_DIR", "WANDB_ARTIFACT_DIR")
    return {
        **server_variables(api_host),
        **dict.fromkeys(own, folder),
        # its entries are for others: of them, `requests` would send the default one to any server
        "NETRC": os.devnull,
    }


def _answer(path: Path, code: int) -> Mapping[str, Any]:
    with suppress(OSError, ValueError):
        answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return answer
    # a fault of this pod, not of W&B: a copy in its place would hide it night after night
    failed = f"the process that downloads ended with {code} and said nothing"
    return {"failed": failed, "is_found": False, "is_final": True}
