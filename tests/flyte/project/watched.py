"""A monitor that fails, and the node that says so."""

from __future__ import annotations

from datetime import datetime

from flytekit import Secret, task, workflow

from flytekitplugins.wbmon import Channel, MonitorFailure

ON_CALL = Channel(name="on-call", secret=Secret(group="alerts", key="on_call"))


@task
def read_night(kickoff: datetime, n_rows: int) -> int:
    """Find no data."""
    if n_rows > 0:
        raise ValueError("no rows, api_key=abcdefgh12345678")
    return n_rows


@workflow(
    on_failure=MonitorFailure(
        "watched.failed",
        inputs={"kickoff": datetime, "n_rows": int},
        at="kickoff",
        owner="payments team",
        channels=[ON_CALL],
    )
)
def watched(kickoff: datetime, n_rows: int) -> int:
    """A night that fails."""
    return read_night(kickoff=kickoff, n_rows=n_rows)
