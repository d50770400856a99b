"""Who is to be told what: the notices of a window, each made once however often it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from flytekitplugins.wbmon.monitor.alerts.decision import Alert, Decision, Severity
from flytekitplugins.wbmon.monitor.alerts.state import AlertMemory, Notice, NoticeKind

_RANK: Mapping[str, int] = {"info": 0, "warn": 1, "error": 2}
_KEEP_IDS = 500
_KEEP_NOTICES = 200


def plan_notices(
    decision: Decision,
    memory: AlertMemory,
    *,
    channels: Mapping[str, Severity],
    remind_after: timedelta | None = None,
) -> AlertMemory:
    """The memory with the notices of this window in its outbox.

    An alert that fires or is over is news. One that goes on firing is mentioned again when
    `remind_after` has passed since people were last told. Judged again with newer data, a window
    whose alert fires no more takes its notice back.

    Args:
        decision: About the window.
        memory: From before it, with the rules' new state or the old.
        channels: Each with the least severity that it wants.
        remind_after: None for no reminders.
    """
    titles = {alert.rule.title for alert in decision.alerts}
    told = {title: at for title, at in memory.told.items() if title in titles}
    outbox, made = list(memory.outbox), list(memory.made)
    for alert in decision.alerts:
        kind = _kind(alert, decision, memory, remind_after)
        if kind is None:
            continue
        title = alert.rule.title
        before = told.pop(title, decision.at)
        if kind in ("firing", "reminder"):
            told[title] = max(before, decision.at)
        notice = _notice(alert, kind, decision, channels)
        if notice.id not in made:
            made.append(notice.id)
            outbox += [notice] if notice.waiting else []
    return replace(
        memory,
        told=told,
        outbox=tuple(outbox[-_KEEP_NOTICES:]),
        made=tuple(made[-_KEEP_IDS:]),
    )


def claim_notices(
    memory: AlertMemory, *, sender: str, now: datetime, lease: timedelta
) -> tuple[AlertMemory, tuple[Notice, ...]]:
    """The memory in which `sender` is sending what nobody else is, and what that is.

    Args:
        memory: With an outbox.
        sender: The same for every attempt of one task, so that a retry goes on at once.
        now: Wall-clock time.
        lease: How long another sender is trusted to be alive.
    """
    outbox = []
    for notice in memory.outbox:
        busy = notice.sender_until is not None and notice.sender_until > now
        if notice.sender in ("", sender) or not busy:
            outbox.append(replace(notice, sender=sender, sender_until=now + lease))
        else:
            outbox.append(notice)
    mine = tuple(notice for notice in outbox if notice.sender == sender)
    return replace(memory, outbox=tuple(outbox)), mine


def settle_notices(
    memory: AlertMemory, mine: tuple[Notice, ...], taken: Mapping[str, frozenset[str]]
) -> AlertMemory:
    """The memory without what was taken; the rest waits for the next window.

    Args:
        memory: As it is now.
        mine: What was to be sent.
        taken: Ids of the notices that each channel took.
    """
    ids = {notice.id for notice in mine}
    outbox = []
    for notice in memory.outbox:
        if notice.id not in ids:
            outbox.append(notice)
            continue
        waiting = tuple(
            name for name in notice.waiting if notice.id not in taken.get(name, frozenset())
        )
        if waiting:
            n_attempts = notice.n_attempts + 1
            outbox.append(
                replace(
                    notice, waiting=waiting, n_attempts=n_attempts, sender="", sender_until=None
                )
            )
    return replace(memory, outbox=tuple(outbox))


def _kind(
    alert: Alert, decision: Decision, memory: AlertMemory, remind_after: timedelta | None
) -> NoticeKind | None:
    title = alert.rule.title
    if alert in decision.news:
        return "resolved" if alert.phase == "resolved" else "firing"
    was_told = _id(title, "firing", decision.at) in memory.made
    if was_told and alert.phase not in ("firing", "no_data"):
        return "withdrawn"
    if alert.phase != "firing" or alert.is_silent or remind_after is None:
        return None
    last = memory.told.get(title)
    return "reminder" if last is not None and decision.at - last >= remind_after else None


def _notice(
    alert: Alert, kind: NoticeKind, decision: Decision, channels: Mapping[str, Severity]
) -> Notice:
    rule = alert.rule
    waiting = [name for name, least in channels.items() if _RANK[rule.severity] >= _RANK[least]]
    over = kind in ("resolved", "withdrawn")
    return Notice(
        id=_id(rule.title, kind, decision.at),
        kind=kind,
        severity="info" if over else rule.severity,
        title=rule.title if kind == "firing" else f"{kind.capitalize()}: {rule.title}",
        text=_text(alert, kind, decision),
        at=decision.at,
        waiting=tuple(waiting),
    )


def _text(alert: Alert, kind: NoticeKind, decision: Decision) -> str:
    first = alert.reason
    if kind == "withdrawn":
        first = f"judged again with newer data, it fires no more: {alert.reason}"
    lines = [f"{first} (window of {decision.at:%Y-%m-%d %H:%M} UTC)"]
    if alert.rule.owner:
        lines.append(f"Owner: {alert.rule.owner}")
    if alert.rule.runbook:
        lines.append(f"What to do: {alert.rule.runbook}")
    lines += [f"{name}: {url}" for name, url in decision.links.items()]
    return "\n".join(lines)


def _id(title: str, kind: str, at: datetime) -> str:
    return f"{title}|{kind}|{at.isoformat()}"
