"""The reference of a model that an alias in W&B decides, with copies for when W&B is away."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Generic, TypeVar

from flytekitplugins.wbmon.delivery.artifacts.fetch import AwayError, fetch_record
from flytekitplugins.wbmon.delivery.artifacts.name import alias_of
from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.monitor.references.files import ReferenceFiles
from flytekitplugins.wbmon.storage.record_file import RecordFile

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=RecordFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedRecord(Generic[R]):
    """The record that an artifact gives, or gave last.

    Attributes:
        record: The record.
        said: Where it comes from, in words.
    """

    record: R
    said: str


def follow_artifact(
    files: ReferenceFiles[R],
    model: str,
    artifact: str,
    *,
    api_host: str,
    key: ApiKey,
    timeout_s: float,
    by: str,
) -> FollowedRecord[R]:
    """The record in an artifact; while W&B is away, the one that it gave last.

    What it gives is saved as a version of the model. An alias of the folder (`alias_of`) points at
    it, so the history tells what W&B's alias meant, and since when that was seen.

    Args:
        files: The references of the model.
        model: Name of the model.
        artifact: Full name of the artifact, `entity/project/name:alias`.
        api_host: URL of the W&B API.
        key: The W&B key.
        timeout_s: Time limit in seconds for W&B.
        by: Execution that asks, for the history.

    Raises:
        AwayError: If W&B is away, and this artifact was never loaded into the folder.
        DataError: If the artifact has no such record, or more than one, or a damaged one.
        PublishError: If W&B refuses the key, has no such artifact, or the download is refused.
        StorageError: If the folder cannot be read or written.
    """
    alias = alias_of(artifact, api_host)
    try:
        fetched = fetch_record(
            files.record, artifact, api_host=api_host, key=key, timeout_s=timeout_s
        )
    except AwayError as away:
        return _last_record(files, model, artifact, alias, away)
    digest = files.save(model, fetched.record).digest
    if files.history(model).aliases.get(alias) != digest:
        why = f"{artifact} is {fetched.version} in W&B"
        files.promote(model, digest, alias=alias, reason=why, by=by)
    return FollowedRecord(
        record=fetched.record,
        said=f"the reference is {digest[:12]}: {artifact}, which is {fetched.version} in W&B",
    )


def _last_record(
    files: ReferenceFiles[R], model: str, artifact: str, alias: str, away: AwayError
) -> FollowedRecord[R]:
    history = files.history(model)
    seen = [each for each in history.decisions if each.alias == alias]
    if not seen:
        raise AwayError(
            f"{artifact!r} must be in W&B, or have been loaded into {files.uri!r} before, and W&B "
            f"is away: {away}; run again when it answers"
        ) from away
    said = (
        f"W&B is away, so the reference is {seen[-1].digest[:12]}, which {artifact} gave last "
        f"(seen since {seen[-1].at:%Y-%m-%d %H:%M} UTC): {away}"
    )
    logger.warning("%s", said)
    return FollowedRecord(record=files.load(model, alias), said=said)
