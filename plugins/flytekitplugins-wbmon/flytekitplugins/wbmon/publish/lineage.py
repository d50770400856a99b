"""Which model, which data: a task's inputs and outputs as W&B artifacts of its run.

What one task makes and another takes has the same content, hence the same digest, and W&B joins the
two runs by it: from the decision back to the reports, the profiles, the predictions and the model.
Records are stored in the artifact; data and models stay where they are and are named by their URL.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.reports.report import Report
from flytekitplugins.wbmon.reports.serialize import record_to_json

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)


def publish_lineage(
    inputs: Mapping[str, Any], outputs: Iterable[Any], *, run: wandb.Run | None
) -> None:
    """Note on an open run what a task took and what it made; other values are passed over.

    Args:
        inputs: The task's inputs by name.
        outputs: What it returns.
        run: The task's W&B run; None if it has none.
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


def _use(run: wandb.Run, artifact: wandb.Artifact) -> None:
    # use_artifact() refuses an offline run, though the record that it writes is one that is
    # delivered like any other; its own way to write it is private, so it may be gone one day
    write = getattr(run, "_log_artifact", None)
    if write is None:
        run.config[f"input/{artifact.name}"] = artifact.digest
    else:
        write(artifact, is_user_created=True, use_after_commit=True)


def _artifacts(value: Any) -> Iterable[wandb.Artifact]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _artifacts(item)
    elif isinstance(value, Profile):
        yield _stored("profile", value.save)
    elif isinstance(value, Report):
        text = record_to_json(value)
        yield _stored(value.artifact_name, lambda path: Path(path).write_text(text))
    else:
        found = _address(value)
        if found is not None:
            yield _referred(*found)


def _stored(kind: str, save: Any) -> wandb.Artifact:
    import wandb

    artifact = wandb.Artifact(kind, type=kind)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind
        save(str(path))
        artifact.add_file(str(path), name=kind)
    return artifact


def _referred(kind: str, uri: str) -> wandb.Artifact:
    import wandb

    artifact = wandb.Artifact(kind, type=kind)
    # without a checksum nothing is read: the URL itself is the content, and Flyte never uses one
    # twice
    artifact.add_reference(uri, name=kind, checksum=False)
    return artifact


def _address(value: Any) -> tuple[str, str] | None:
    """What a data set or a file is called and where it is; None for anything else."""
    from flytekit.types.directory import FlyteDirectory
    from flytekit.types.file import FlyteFile
    from flytekit.types.structured import StructuredDataset

    if isinstance(value, StructuredDataset):
        uri = value.literal.uri if value.literal is not None else value.uri
        return ("data", _url(str(uri))) if uri else None
    if isinstance(value, (FlyteFile, FlyteDirectory)):
        return ("model", _url(str(value.remote_source or value.path)))
    return None


def _url(uri: str) -> str:
    return uri if "://" in uri else Path(uri).resolve().as_uri()
