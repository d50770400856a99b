"""Makes the folder of a run out of what was stored of it in parts."""

from __future__ import annotations

import base64
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.package import KEPT, TAIL
from flytekitplugins.wbmon.delivery.runs.pending_log import logged_artifact
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as PROGRESS
from flytekitplugins.wbmon.delivery.runs.steps import FILE_NAME as STEPS
from flytekitplugins.wbmon.delivery.runs.transaction_log import (
    exit_record,
    read_records,
    write_records,
)
from flytekitplugins.wbmon.errors import DataError

if TYPE_CHECKING:
    from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)

_PART = re.compile(r"(\d{12,})-(\d{12,})\.part")
_LOG = "run-stored.wandb"


def unpack(folder: Path, about: Mapping[str, Any]) -> None:
    """Join the parts of a run's log, and write the small files that go with it.

    Args:
        folder: A copy of the stored folder, which is changed; one of an earlier release, which has
            no parts, is not.
        about: What the folder's manifest says.

    Raises:
        DataError: If a part is missing, or the manifest is damaged.
    """
    parts = sorted((folder / "log").glob("*.part"))
    sides = about.get(KEPT)
    if not parts and sides is None:
        return
    end = 0
    with (folder / _LOG).open("wb") as log:
        for part in parts:
            found = _PART.fullmatch(part.name)
            if found is None or int(found[1]) != end:
                raise DataError(f"the parts of a log must follow each other, {part.name} does not")
            end = int(found[2])
            log.write(part.read_bytes())
        if sides is not None:
            log.write(_tail(sides))
    shutil.rmtree(folder / "log", ignore_errors=True)
    if sides is None:
        return  # stored as a whole, by its task's end
    for name in (PROGRESS, STEPS):
        if name in sides and not (folder / name).exists():
            (folder / name).write_text(str(sides[name]))
    _leave_out_artifacts(folder)
    # the task has ended, but its container was killed before all of it was stored
    code = about.get("exit_code")
    if isinstance(code, int):
        write_records(folder / "whole", chain(read_records(folder / _LOG), [exit_record(code)]))
        (folder / "whole").replace(folder / _LOG)


def _tail(sides: Any) -> bytes:
    try:
        return base64.b64decode(sides[TAIL], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the end of a log must be in base64, and is not: {error}") from None


def _leave_out_artifacts(folder: Path) -> None:
    """Take those artifacts out of the log of which the store has not got every file."""
    log = folder / _LOG
    lost = {
        artifact.client_id
        for record in read_records(log)
        if (artifact := logged_artifact(record)) is not None and not _is_whole(record, folder)
    }
    if not lost:
        return
    logger.warning("W&B: %d artifacts were not stored when their task was killed", len(lost))
    write_records(folder / "whole", _without(log, lost))
    (folder / "whole").replace(log)


def _is_whole(record: Record, folder: Path) -> bool:
    artifact = logged_artifact(record)
    return artifact is None or all(
        (folder / entry.local_path).is_file()
        for entry in artifact.manifest.contents
        if entry.local_path
    )


def _without(log: Path, lost: set[str]) -> Iterator[Record]:
    for record in read_records(log):
        artifact = logged_artifact(record)
        if artifact is None or artifact.client_id not in lost:
            yield record
