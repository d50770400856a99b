"""Data lineage: logs a task's inputs and outputs as W&B artifacts of its run.

An output of one task that is the input of another has the same content and hence the same digest.
W&B uses the digest to connect the two runs, so that a decision can be traced back to the reports,
profiles, predictions and the model. Records are stored in the artifact. Data and models stay where
they are; the artifact only refers to their URL.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.storage.location import schemes_of
from flytekitplugins.wbmon.storage.record_file import RecordFile

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

_LONGEST_NAME = 128


def publish_lineage(
    inputs: Mapping[str, Any], outputs: Iterable[Any], *, run: wandb.Run | None
) -> None:
    """Log the inputs and outputs of a task to its run; errors are only logged.

    Values that are not records, data sets, files or directories are skipped.

    Args:
        inputs: The inputs of the task by name.
        outputs: The outputs of the task.
        run: The W&B run of the task; None if there is none.
    """
    if run is None or run.disabled:
        return
    try:
        for value in inputs.values():
            for artifact in _artifacts(value):
                _use(run, artifact)
        for value in outputs:
            for artifact in _artifacts(value):
                run.log_artifact(artifact)
    except Exception:  # a monitor must never break what it monitors
        logger.warning("the lineage of the run could not be noted", exc_info=True)


def publish_promotion(
    record: RecordFile, *, model: str, alias: str, version: str, run: wandb.Run | None
) -> None:
    """Log a record that was promoted as a version of its own artifact; errors are only logged.

    The artifact is called by the model and the kind of the record, such as `payments-profile`.

    Args:
        record: The record.
        model: Name of the model.
        alias: The alias that points at it since.
        version: Its digest in the folder of references.
        run: The W&B run of the task; None if there is none.
    """
    if run is None or run.disabled:
        return
    try:
        kind = _name_of(record)
        # W&B allows no other characters
        name = re.sub(r"[^\w.-]", "-", f"{model}-{kind}", flags=re.ASCII)[:_LONGEST_NAME]
        artifact = _stored(name, record.save, kind="reference", metadata={"version": version})
        run.log_artifact(artifact, aliases=["latest", alias])
    except Exception:  # a monitor must never break what it monitors
        logger.warning("the promotion could not be noted in the run", exc_info=True)


def _use(run: wandb.Run, artifact: wandb.Artifact) -> None:
    # use_artifact() refuses offline runs, although the record that it writes can be delivered like
    # any other; the method that writes the record is private, so a release may lack it
    write = getattr(run, "_log_artifact", None)
    if write is None:
        # the digest at least can be searched for
        run.config[f"input/{artifact.name}"] = artifact.digest
    else:
        write(artifact, is_user_created=True, use_after_commit=True)


def _artifacts(value: Any) -> Iterable[wandb.Artifact]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _artifacts(item)
    elif isinstance(value, RecordFile):
        yield _stored(_name_of(value), value.save)
    else:
        found = _address(value)
        if found is not None:
            yield _referred(*found)


def _name_of(record: RecordFile) -> str:
    if isinstance(record, Report):
        return record.artifact_name
    return record.file_format().removeprefix("wbmon-")


def _stored(
    name: str, save: Any, *, kind: str = "", metadata: dict[str, Any] | None = None
) -> wandb.Artifact:
    import wandb

    artifact = wandb.Artifact(name, type=kind or name, metadata=metadata)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        save(str(path))
        # wandb copies the file into its staging area, so the folder may be removed
        artifact.add_file(str(path), name=name)
    return artifact


def _referred(kind: str, uri: str) -> wandb.Artifact:
    import wandb

    artifact = wandb.Artifact(kind, type=kind)
    # without a checksum wandb does not read the data and the digest depends on the URL alone, which
    # is sufficient because Flyte never writes to the same URL twice
    artifact.add_reference(uri, name=kind, checksum=False)
    return artifact


def _address(value: Any) -> tuple[str, str] | None:
    """Kind and URL of a data set, file or directory; None for any other value."""
    from flytekit.types.directory import FlyteDirectory
    from flytekit.types.file import FlyteFile
    from flytekit.types.structured import StructuredDataset

    if isinstance(value, StructuredDataset):
        # in a task the input has a literal; a data set that was just made has only a URI
        uri = value.literal.uri if value.literal is not None else value.uri
        return ("data", _url(str(uri))) if uri else None
    if isinstance(value, (FlyteFile, FlyteDirectory)):
        # `path` is a local copy once it was downloaded; `remote_source` is the same in all tasks
        return ("model", _url(str(value.remote_source or value.path)))
    return None


def _url(uri: str) -> str:
    return uri if schemes_of(uri) else Path(uri).resolve().as_uri()
