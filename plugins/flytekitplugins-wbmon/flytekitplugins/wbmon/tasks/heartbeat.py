"""The node that sends an alert when another monitor has stopped reporting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from flytekitplugins.wbmon.arguments import moment, require_duration
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.tasks._node import Node
from flytekitplugins.wbmon.tasks.alerts import (
    AlertSettings,
    Decided,
    checked_reminder,
    checked_uri,
    decide,
    listed_channels,
    with_channel_secrets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings(AlertSettings):
    """Settings of `DeadManCheck`, where they are described."""

    watched_uri: str = ""
    data_uri: str = ""


class DeadManCheck(Node[HeartbeatSettings]):
    """Send an alert if a monitor has not reported, or no data have arrived, for too long.

    Schedule it in its own launch plan, some hours after the monitor, because a monitor that was
    never started cannot report that. It stores state and notifies as `DegradationAlert` does.

    Args:
        name: The task's name.
        watched_uri: The `state_uri` of the `DegradationAlert` to watch; empty to watch data only.
        data_uri: The folder where new data of one service appear each night: files, or
            partitions whose names sort by date (`dt=2026-02-13`); empty to watch reports only.
        max_age: Maximum age of both; by default a little more than one day.
        owner: Person or team in charge; shown in the alert.
        runbook: Link to instructions; shown in the alert.
        channels: As for `DegradationAlert`.
        state_uri: State file of this check, different from the watched one.
        remind_after: As for `DegradationAlert`.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If there is nothing to watch, both state files are the same, or a value is of
            another type or not positive.
    """

    shared_urls = ("watched_uri", "data_uri", "state_uri")

    def __init__(  # noqa: PLR0913 - what a node may be told, all by name
        self,
        name: str,
        *,
        watched_uri: str = "",
        data_uri: str = "",
        max_age: timedelta = timedelta(hours=26),
        owner: str = "",
        runbook: str = "",
        channels: Sequence[Channel] = (),
        state_uri: str = "",
        remind_after: timedelta | None = None,
        **task_kwargs: Any,
    ) -> None:
        watched_uri, data_uri, state_uri = (
            checked_uri(key, uri)
            for key, uri in (
                ("watched_uri", watched_uri),
                ("data_uri", data_uri),
                ("state_uri", state_uri),
            )
        )
        if not watched_uri and not data_uri:
            raise ConfigError(
                f"DeadManCheck {name!r} must watch something; give it watched_uri, data_uri or both"
            )
        if state_uri and state_uri == watched_uri:
            raise ConfigError(
                f"DeadManCheck {name!r} must have a state_uri other than the one that it watches, "
                f"got {state_uri!r} for both"
            )
        require_duration("max_age", max_age)
        hours = max_age.total_seconds() / 3600
        signs = {"no report": ("report_age_h", watched_uri), "no data": ("data_age_h", data_uri)}
        rules = tuple(
            AlertRule(
                metric=f"heartbeat.{metric}",
                above=hours,
                severity="error",
                name=f"{words} for {hours:g} h",
                owner=owner,
                runbook=runbook,
            )
            for words, (metric, uri) in signs.items()
            if uri
        )
        settings = HeartbeatSettings(
            rules=rules,
            channels=listed_channels(channels),
            state_uri=state_uri,
            remind_after=checked_reminder(remind_after),
            watched_uri=watched_uri,
            data_uri=data_uri,
        )
        super().__init__(name, settings, **with_channel_secrets(channels, task_kwargs))

    def compute(self, at: datetime | None = None) -> Decided:
        """Check the age of the last report and of the newest data.

        Args:
            at: The time to count from, such as the kickoff time of a schedule; now if not given.

        Returns:
            decision: What is missing, and since when.
            fired: Whether anything is missing.
            severity: `error` if anything is missing, else `none`.
        """
        from flytekitplugins.wbmon.publish.alerts.read_heartbeat import read_heartbeat

        at = datetime.now(timezone.utc) if at is None else moment("at", at)
        pulse = read_heartbeat(
            at=at,
            watched_uri=self.config.watched_uri,
            data_uri=self.config.data_uri,
        )
        return decide(self, [pulse], at=at, findings=[pulse.problem] if pulse.problem else [])
