"""The description of a stored run, which is the content of its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.runs.pending_log import LogContent

# of a run that is not stored as a whole: an entry with the content of its small files by name, and
# in it the end of the packed log, in base64
KEPT, TAIL = "kept", "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRun:
    """Description of a stored run.

    Attributes:
        entity: W&B entity.
        project: W&B project.
        run_id: The run's id.
        started_at: Start time in UTC, to the microsecond; runs are delivered in this order.
        n_rows: Number of rows of history.
        n_alerts: Number of alerts.
        n_artifacts: Number of artifacts.
        exit_code: The run's exit code; None if its log has no end.
        api_host: URL of the W&B API that the run is for; empty if its task named none, as in all
            runs that earlier releases have stored.
    """

    entity: str
    project: str
    run_id: str
    started_at: str
    n_rows: int
    n_alerts: int
    n_artifacts: int
    exit_code: int | None
    api_host: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain Python containers."""
        return asdict(self)

    @classmethod
    def of(cls, content: LogContent, folder: Path, api_host: str = "") -> PackedRun:
        """Describe a run by the content of its log, its folder, and the server that it is for."""
        target = content.target
        return cls(
            entity=target.entity if target else "",
            project=target.project if target else "",
            run_id=target.run_id if target else "",
            started_at=_started_at(content, folder),
            n_rows=content.n_rows,
            n_alerts=len(content.alerts),
            n_artifacts=len(content.artifacts),
            exit_code=content.exit_code,
            api_host=api_host,
        )

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PackedRun:
        """Read what `to_dict` wrote.

        Raises:
            KeyError: If an entry is missing, as in the description of something else.
            TypeError: If an entry is not of its type.
        """
        described = {"api_host": "", **stored}
        found = {each.name: described[each.name] for each in fields(cls)}
        for name, value in found.items():
            is_text = name in ("entity", "project", "run_id", "started_at", "api_host")
            is_optional = name == "exit_code" and value is None
            if not (is_optional or type(value) is (str if is_text else int)):
                raise TypeError(f"{name} must be {'text' if is_text else 'a number'}")
        return cls(**found)


def _started_at(content: LogContent, folder: Path) -> str:
    if content.began_at:
        began = datetime.fromtimestamp(content.began_at, tz=timezone.utc)
        return began.strftime("%Y%m%d_%H%M%S.%f")
    # the folder is `offline-run-{start}-{id}`; by slice, as another name may have fewer
    return "-".join(folder.name.split("-")[2:3]) or folder.name
