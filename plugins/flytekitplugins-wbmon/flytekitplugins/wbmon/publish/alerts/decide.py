"""Decides on a window, stores the decision in the alert memory, and sends its notifications.

The order makes retries safe. The decision and its notifications are stored before anything is sent,
and each notification is removed after it was sent. If a pod dies in between, a retry of the same
window counts nothing twice and sends only the notifications that are still stored.
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
from flytekitplugins.wbmon.monitor.alerts.decision import (
    AlertRule,
    Decision,
    PageBudget,
    Severity,
)
from flytekitplugins.wbmon.monitor.alerts.history import (
    diff_from_previous,
    headlines,
    previous_window,
    remember_window,
    summarise_window,
    with_intervals,
)
from flytekitplugins.wbmon.monitor.alerts.judge import judge_window
from flytekitplugins.wbmon.monitor.alerts.notifications import (
    claim_notifications,
    plan_notifications,
    remove_sent,
    with_message_ids,
)
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notification
from flytekitplugins.wbmon.monitor.alerts.volume import volume_findings
from flytekitplugins.wbmon.names import quoted_name
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

# well above the 15 s that a channel has by default; then another task may send in place of this one
_LEASE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRouting:
    """Where decisions are stored and to whom notifications are sent.

    Attributes:
        state_uri: URL of the state file; empty for a monitor without memory.
        channels: The channels that are used in addition to the W&B run.
        remind_after: Time after which a reminder is sent for an alert that is still firing; None
            for no reminders.
        keep_nights: Number of windows that are kept for the index page.
        budget: How often chance may page; None for no limit.
        monitor: Name of the monitor, which alone may use the state file; any may if empty.
        place: Its Flyte project and domain; empty outside of a cluster.
    """

    state_uri: str = ""
    channels: tuple[Channel, ...] = ()
    remind_after: timedelta | None = None
    keep_nights: int = 60
    budget: PageBudget | None = field(default_factory=PageBudget)
    monitor: str = ""
    place: str = ""


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
    """Evaluate the rules for a window, store the result, and send notifications of what is new.

    Failures of the memory or of a channel become findings of the decision. Errors of the
    configuration are raised; if they concern the memory, what this window finds is sent before.

    A state file that is another monitor's is such an error, and left as it is: a monitor that was
    renamed must not lose the page of its first night, and one that shares a file by mistake must
    not take back another's.

    Args:
        rules: As for `evaluate_rules`.
        reports: As for `evaluate_rules`.
        at: Time of the window, with a time zone; one of the future is a finding, and is not
            remembered as the newest (`judge_window`).
        routing: Where to store the decision, and where to send notifications.
        run: The open W&B run; None for no W&B alerts.
        sender: Identifies the sending task; the same for all its attempts.
        findings: Problems of the monitor that are already known.
        links: URLs of pages about the window, by their titles.

    Returns:
        The decision, with all findings.

    Raises:
        ConfigError: As `evaluate_rules`, or if the store of `state_uri` is not configured, or if it
            is the state file of another monitor.
    """
    session = _Session(
        rules=rules,
        reports=reports,
        at=at,
        routing=routing,
        run=run,
        # without a name of its own, a retry waits until the lease of the first attempt ends
        sender=sender or uuid.uuid4().hex,
        findings=list(findings),
        links=dict(links or {}),
    )
    session.remember()
    session.notify()
    session.record_sent()
    if session.refused is not None:
        raise session.refused
    return session.decision


@dataclass(slots=True, kw_only=True)
class _Session:
    """The processing of one window: `remember`, then `notify`, then `record_sent`."""

    rules: Sequence[AlertRule]
    reports: Sequence[Report | None]
    at: datetime
    routing: AlertRouting
    run: wandb.Run | None
    sender: str
    findings: list[str]
    links: Mapping[str, str]
    refused: ConfigError | None = None
    _later: list[str] = field(default_factory=list)
    _judged: Decision | None = None
    _file: MemoryFile | None = None
    _mine: tuple[Notification, ...] = ()
    _unusual: tuple[str, ...] = ()
    _taken: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def decision(self) -> Decision:
        """The decision, with the findings so far."""
        if self._judged is None:
            self._judge(AlertMemory())
        assert self._judged is not None  # noqa: S101 - _judge sets it, or raises
        return replace(self._judged, findings=(*self._judged.findings, *self._later))

    def remember(self) -> None:
        """Evaluate the rules, and store the decision and the notifications to send."""
        self.findings += check_channels(self.routing.channels)
        uri = self.routing.state_uri
        if not uri:
            self._judge(AlertMemory())
            return
        try:
            self._file = MemoryFile(uri, filesystem_of_task(uri))
            self._file.update(self._judge_own)
        except ConfigError as error:
            # a mistake in the settings, which a retry would not mend; one in the rules is raised
            # again by `_judge`
            self._file, self.refused = None, error
            self.findings.append(str(error))
            self._judge(AlertMemory())
        except Exception as error:  # noqa: BLE001 - any store, any exception
            self._cannot_keep(error)

    def notify(self) -> None:
        """Send the notifications that this task has claimed."""
        posts = [wandb_post(self.run)] if self.run is not None else []
        posts += [channel_post(channel) for channel in self.routing.channels]
        for outcome in deliver(self._mine, posts):
            self._taken[outcome.name] = outcome.taken
            if outcome.problem:
                self._later.append(f"channel {outcome.name}: {outcome.problem}")

    def record_sent(self) -> None:
        """Remove the sent notifications from the memory, and write the index page."""
        if self._file is None:
            return
        try:
            self._file.write_index(self._file.update(self._without_sent).history)
        except Exception as error:  # noqa: BLE001 - any store, any exception
            self._cannot_keep(error)

    def _judge_own(self, memory: AlertMemory) -> AlertMemory:
        routing = self.routing
        is_other = memory.monitor and routing.monitor and memory.monitor != routing.monitor
        is_elsewhere = memory.place and routing.place and memory.place != routing.place
        if is_other or is_elsewhere:
            raise _not_own(routing, memory)
        judged = self._judge(memory)
        return replace(
            judged,
            monitor=memory.monitor or routing.monitor,
            place=memory.place or routing.place,
        )

    def _judge(self, memory: AlertMemory) -> AlertMemory:
        # may be called several times: each call replaces the results of the one before
        numbers = headlines(self.reports)
        unusual = volume_findings(self.reports, numbers, memory.history, self.at)
        self._unusual = tuple(unusual)
        # the wall clock, not the window's time: for the lease of processes that run now, and for
        # windows that cannot have been
        now = datetime.now(timezone.utc)
        judged = judge_window(
            memory,
            self.rules,
            self.reports,
            at=self.at,
            now=now,
            budget=self.routing.budget,
            findings=[*self.findings, *self._broken_file, *unusual.values()],
        )
        decision = replace(judged.decision, numbers=with_intervals(numbers), links=self.links)
        summary = summarise_window(decision, self.reports, unusual=self._unusual)
        self._judged = replace(
            decision, changes=diff_from_previous(previous_window(memory, self.at), summary, numbers)
        )
        planned = plan_notifications(
            decision,
            judged.memory,
            channels=self._audience,
            remind_after=self.routing.remind_after,
            in_order=judged.in_order,
            standing=judged.standing,
        )
        # a file that several monitors could share is still one of theirs alone
        owner = f"{self.routing.place}/{self.routing.monitor or self.routing.state_uri}"
        claimed, self._mine = claim_notifications(
            with_message_ids(planned, owner), sender=self.sender, now=now, lease=_LEASE
        )
        history = remember_window(memory, summary, keep=self.routing.keep_nights, now=now)
        return replace(claimed, state=decision.state, history=history)

    def _without_sent(self, memory: AlertMemory) -> AlertMemory:
        # again, because sending may have added findings
        summary = summarise_window(self.decision, self.reports, unusual=self._unusual)
        now = datetime.now(timezone.utc)
        history = remember_window(memory, summary, keep=self.routing.keep_nights, now=now)
        return replace(remove_sent(memory, self._mine, self._taken), history=history)

    @property
    def _broken_file(self) -> list[str]:
        return [self._file.finding] if self._file is not None and self._file.finding else []

    @property
    def _audience(self) -> dict[str, Severity]:
        # W&B gets all severities, because its users choose there how they are notified
        audience: dict[str, Severity] = {WANDB: "info"} if self.run is not None else {}
        return audience | {each.label: each.min_severity for each in self.routing.channels}

    def _cannot_keep(self, error: Exception) -> None:
        # `record_sent` then writes nothing
        self._file = None
        finding = (
            f"the alert memory {self.routing.state_uri} could not be kept "
            f"({type(error).__name__}: {error}); alerts may be told again"
        )
        logger.error(finding)
        if self._judged is not None:
            self._later.append(finding)
            return
        # with an empty memory every firing alert counts as new: better sent twice than never
        self.findings.append(finding)
        self._judge(AlertMemory())


def _not_own(routing: AlertRouting, memory: AlertMemory) -> ConfigError:
    owner, own = (
        f"{quoted_name(monitor)}{f' in {place}' if place else ''}"
        for monitor, place in ((memory.monitor, memory.place), (routing.monitor, routing.place))
    )
    return ConfigError(
        f"state_uri {routing.state_uri} must be of one monitor alone, and it is that of {owner}; "
        f"this is {own}, which would take back its pages: give it a state_uri of its own or, if it "
        'goes on in place of the other, empty "monitor" and "place" in the file'
    )
