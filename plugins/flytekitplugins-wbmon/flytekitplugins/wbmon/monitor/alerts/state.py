"""The stored state of a monitor: states of its rules, notifications, and its last windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from flytekitplugins.wbmon.equality import ByContent
from flytekitplugins.wbmon.monitor.alerts.decision import AlertState, Phase, Severity

NotificationKind = Literal["firing", "reminder", "resolved", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message about one alert.

    Attributes:
        id: Identifies the event, so it is the same each time the same window is evaluated.
        kind: `withdrawn` revokes a `firing` of the same window, after an evaluation with newer
            data.
        severity: Severity of the rule; `info` for the end of an alert.
        title: One line.
        text: What happened, since when, the owner, and links.
        at: The window's time.
        waiting: Channels that have not accepted it yet.
        n_attempts: Number of attempts to send it.
        n_before: How often the same event was told and revoked before.
        message_id: Tells a message that is sent again from a new one; the same in every attempt.
        sender: Id of the task that is sending it now, the same for each of its attempts; empty if
            none is.
        sender_until: Wall-clock time (UTC) from which another task may send it, in case the sender
            has died.
    """

    id: str
    kind: NotificationKind
    severity: Severity
    title: str
    text: str
    at: datetime
    waiting: tuple[str, ...] = ()
    n_attempts: int = 0
    n_before: int = 0
    message_id: str = ""
    sender: str = ""
    sender_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSummary(ByContent):
    """Summary of a window, kept for comparison with later windows and for the index page.

    Attributes:
        at: The window's time.
        severity: The worst severity that fired; `none` if nothing did.
        reason: The decision in one sentence.
        phases: Phase of each rule, by the rule's title.
        numbers: Headline metrics by their W&B names; undefined ones are left out.
        drifted: Names of the features that drifted.
        findings: Problems of the monitor itself.
        links: URLs of pages about the window, by their link texts.
        broken: Titles of the rules that could not be judged.
        unusual: Numbers that say how much the window held, where that was unusual.
    """

    at: datetime
    severity: str
    reason: str
    phases: Mapping[str, Phase] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    drifted: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    unusual: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMemory:
    """The content of a state file.

    Attributes:
        version: Version of this format.
        revision: Number of writes. It makes every content different, so that a compare-and-swap
            always sees that another process wrote in between.
        state: States of the rules.
        notified: When people were last notified of each firing alert, by the rule's title.
        outbox: Notifications that at least one channel has not accepted yet.
        made: Ids of the notifications of recent windows, so that none is made twice.
        history: Summaries of the last windows, oldest first; those dated in the future are last.
        monitor: Name of the monitor whose memory it is; empty before the first one has written it,
            and in files of release 0.2.
        place: Flyte project and domain of the monitor, `project/domain`; empty if it has only run
            outside of a cluster.
        late: Windows older than the newest one in which an alert fires that no other night has
            told, by the rule's title, until the next window in order.
        revoked: How often each event was told and revoked, by the id of its notification.
    """

    version: int = 2
    revision: int = 0
    state: AlertState = field(default_factory=AlertState)
    notified: Mapping[str, datetime] = field(default_factory=dict)
    outbox: tuple[Notification, ...] = ()
    made: tuple[str, ...] = ()
    history: tuple[WindowSummary, ...] = ()
    monitor: str = ""
    place: str = ""
    late: Mapping[str, tuple[datetime, ...]] = field(default_factory=dict)
    revoked: Mapping[str, int] = field(default_factory=dict)
