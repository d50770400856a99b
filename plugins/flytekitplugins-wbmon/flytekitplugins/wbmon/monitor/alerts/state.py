"""The stored state of a monitor: states of its rules, notifications, and its last windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from flytekitplugins.wbmon.monitor.alerts.decision import AlertState, Phase, Severity

NotificationKind = Literal["firing", "reminder", "resolved", "withdrawn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One message about one alert.

    Attributes:
        id: The same for the same news, however often a window is judged.
        kind: `withdrawn` takes back a `firing` of the same window, judged again with newer data.
        severity: Of the rule; an end is `info`.
        title: One line.
        text: What happened, since when, whose it is, where to look.
        at: The window's time.
        waiting: Channels that have not taken it yet.
        n_attempts: How often it was tried.
        sender: Who is sending it now.
        sender_until: When another may take over, wall-clock time.
    """

    id: str
    kind: NotificationKind
    severity: Severity
    title: str
    text: str
    at: datetime
    waiting: tuple[str, ...] = ()
    n_attempts: int = 0
    sender: str = ""
    sender_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSummary:
    """What is kept of a window for the next one to be compared with, and for the index page.

    Attributes:
        at: The window's time.
        severity: The worst severity that fired; `none` if nothing did.
        reason: The decision in one sentence.
        phases: What each rule said, by its title.
        numbers: Headline metrics by their W&B names; undefined ones are left out.
        drifted: Names of the features that drifted.
        findings: What was wrong with the monitor itself.
        links: Pages about the window, by what they are called.
    """

    at: datetime
    severity: str
    reason: str
    phases: Mapping[str, Phase] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    drifted: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMemory:
    """The content of a state file.

    Attributes:
        version: Of this format.
        revision: Counts the writes, so that no two contents are ever the same.
        state: What the rules remember.
        notified: When people were last notified of an alert that fires, by the rule's title.
        outbox: Notifications that some channel has not taken yet.
        made: Ids of the notifications of recent windows, so that none is made twice.
        history: The last windows, oldest first.
    """

    version: int = 2
    revision: int = 0
    state: AlertState = field(default_factory=AlertState)
    notified: Mapping[str, datetime] = field(default_factory=dict)
    outbox: tuple[Notification, ...] = ()
    made: tuple[str, ...] = ()
    history: tuple[WindowSummary, ...] = ()
