"""From reports to people: one decision, remembered, shown and sent, each once.

The order is what makes it safe: the decision and its notifications are written down before
anything is sent, and struck off after. A pod that dies in between is followed by a retry of the
same window, which counts nothing twice and sends only what was not struck off.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule, Decision, Severity
from flytekitplugins.wbmon.monitor.alerts.evaluate import evaluate_rules
from flytekitplugins.wbmon.monitor.alerts.history import (
    diff_from_previous,
    headlines,
    previous_window,
    remember_window,
    summarise_window,
    with_intervals,
)
from flytekitplugins.wbmon.monitor.alerts.notifications import (
    claim_notifications,
    plan_notifications,
    remove_sent,
)
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.send import (
    WANDB,
    channel_post,
    check_channels,
    deliver,
    wandb_post,
)
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile
from flytekitplugins.wbmon.reports.report import Report

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

_LEASE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRouting:
    """Where a decision is remembered and who is told.

    Attributes:
        state_uri: The state file; empty for a monitor without memory.
        channels: Beside the W&B run.
        remind_after: Time after which an alert that goes on firing is mentioned again.
        keep_nights: Windows on the index page.
    """

    state_uri: str = ""
    channels: tuple[Channel, ...] = ()
    remind_after: timedelta | None = None
    keep_nights: int = 60


def decide_and_notify(
    rules: Sequence[AlertRule],
    reports: Sequence[Report | None],
    *,
    at: datetime,
    routing: AlertRouting,
    run: wandb.Run | None = None,
    sender: str = "",
    findings: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
) -> Decision:
    """Judge a window by what is remembered, remember it, and tell people what is new.

    What goes wrong with the memory or a channel becomes a finding of the decision; only rules that
    do not fit the reports raise.

    Args:
        rules: As for `evaluate_rules`.
        reports: As for `evaluate_rules`.
        at: The window's time, with a zone.
        routing: Where to remember, and whom to tell.
        run: The open W&B run; None for no W&B alerts.
        sender: Who tells, the same for every attempt of one task.
        findings: What else is wrong with the monitor.
        links: Pages about the window, by what they are called.

    Raises:
        ConfigError: As `evaluate_rules`.
    """
    session = _Session(
        rules=rules,
        reports=reports,
        at=at,
        routing=routing,
        run=run,
        sender=sender or uuid.uuid4().hex,
        findings=list(findings),
        links=dict(links or {}),
    )
    session.remember()
    session.notify()
    session.record_sent()
    return session.decision


@dataclass(slots=True, kw_only=True)
class _Session:
    """One window on its way from reports to people."""

    rules: Sequence[AlertRule]
    reports: Sequence[Report | None]
    at: datetime
    routing: AlertRouting
    run: wandb.Run | None
    sender: str
    findings: list[str]
    links: Mapping[str, str]
    _judged: Decision | None = None
    _file: MemoryFile | None = None
    _mine: tuple[Notification, ...] = ()
    _taken: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def decision(self) -> Decision:
        """The decision, with everything found on the way."""
        if self._judged is None:
            self._judge(AlertMemory())
        assert self._judged is not None  # noqa: S101 - _judge sets it, or raises
        return replace(self._judged, findings=tuple(self.findings))

    def remember(self) -> None:
        """Judge, and write down what is decided and what is to be sent."""
        self.findings += check_channels(self.routing.channels)
        uri = self.routing.state_uri
        if not uri:
            self._judge(AlertMemory())
            return
        try:
            self._file = MemoryFile(uri, filesystem_of_task(uri))
            kept = self._file.update(self._judge)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - any store, any exception
            self._cannot_keep(error)
        else:
            self.findings += [kept.finding] if kept.finding else []

    def notify(self) -> None:
        """Send what is to be sent."""
        posts = [wandb_post(self.run)] if self.run is not None else []
        posts += [channel_post(channel) for channel in self.routing.channels]
        for outcome in deliver(self._mine, posts):
            self._taken[outcome.name] = outcome.taken
            if outcome.problem:
                self.findings.append(f"channel {outcome.name}: {outcome.problem}")

    def record_sent(self) -> None:
        """Strike off what was sent, and write the index page."""
        if self._file is None:
            return
        try:
            kept = self._file.update(self._without_sent)
            self._file.write_index(kept.memory.history)
        except Exception as error:  # noqa: BLE001 - any store, any exception
            self._cannot_keep(error)

    def _judge(self, memory: AlertMemory) -> AlertMemory:
        numbers = headlines(self.reports)
        decision = replace(
            evaluate_rules(self.rules, self.reports, state=memory.state, at=self.at),
            numbers=with_intervals(numbers),
            links=self.links,
        )
        summary = summarise_window(decision, self.reports)
        self._judged = replace(
            decision, changes=diff_from_previous(previous_window(memory, self.at), summary, numbers)
        )
        planned = plan_notifications(
            decision, memory, channels=self._audience, remind_after=self.routing.remind_after
        )
        now = datetime.now(timezone.utc)
        claimed, self._mine = claim_notifications(
            planned, sender=self.sender, now=now, lease=_LEASE
        )
        history = remember_window(memory, summary, keep=self.routing.keep_nights)
        return replace(claimed, state=decision.state, history=history)

    def _without_sent(self, memory: AlertMemory) -> AlertMemory:
        summary = summarise_window(self.decision, self.reports)
        history = remember_window(memory, summary, keep=self.routing.keep_nights)
        return replace(remove_sent(memory, self._mine, self._taken), history=history)

    @property
    def _audience(self) -> dict[str, Severity]:
        audience: dict[str, Severity] = {WANDB: "info"} if self.run is not None else {}
        return audience | {each.label: each.min_severity for each in self.routing.channels}

    def _cannot_keep(self, error: Exception) -> None:
        self._file = None
        if self._judged is None:
            self._judge(AlertMemory())
        self.findings.append(
            f"the alert memory {self.routing.state_uri} could not be kept "
            f"({type(error).__name__}: {error}); alerts may be told again"
        )
        logger.error(self.findings[-1])
