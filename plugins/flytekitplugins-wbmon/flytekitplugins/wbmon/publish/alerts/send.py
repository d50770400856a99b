"""Sends notifications through channels, independently of each other and each with a time limit.

A channel that fails or hangs does not affect the others. The notifications that it did not accept
are returned to the caller, who can try again. The address of a channel is never shown.
"""

from __future__ import annotations

import contextvars
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError, PublishError
from flytekitplugins.wbmon.flyte.secrets import read_secret
from flytekitplugins.wbmon.monitor.alerts.state import Notification
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.message_id import prepare_service

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

WANDB = "wandb"
_LEVELS = {"info": "INFO", "warn": "WARN", "error": "ERROR"}
_KINDS = {"info": "info", "warn": "warning", "error": "failure"}
# W&B documents this limit of alert titles; its client does not check it
_MAX_TITLE = 64
# shorter parts of an address, such as `com`, would also be removed from ordinary words
_MIN_PIECE = 4
# loggers whose messages contain the addresses
# of a channel's time, to wait before each further attempt: a web hook that restarts or asks for
# patience is back a second later, and the next night is a day later
_WAITS = (0.1, 0.2)
_TALKATIVE = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A channel that is ready to send.

    Attributes:
        name: Name of the channel.
        send: Sends one notification; raises if it was not accepted.
        timeout_s: Time limit in seconds for all notifications of a window together.
    """

    name: str
    send: Callable[[Notification], None]
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of a channel.

    Attributes:
        name: Name of the channel.
        taken: Ids of the notifications that it accepted.
        problem: Why it did not accept all; empty if it did.
    """

    name: str
    taken: frozenset[str]
    problem: str = ""


@dataclass(slots=True)
class _Progress:
    taken: list[str] = field(default_factory=list)
    problem: str = ""
    is_over: threading.Event = field(default_factory=threading.Event)


def wandb_post(run: wandb.Run) -> Post:
    """The alerts of an open run as a channel; W&B notifies its users as they have set there."""

    def send(notification: Notification) -> None:
        # wandb turns a wait of 0 into one minute, in which W&B would drop the second alert
        run.alert(
            title=notification.title[:_MAX_TITLE],
            text=_text(notification),
            level=_LEVELS[notification.severity],
            wait_duration=0.001,
        )

    return Post(name=WANDB, send=send)


def channel_post(channel: Channel) -> Post:
    """A channel that sends through apprise; its secret is read when it sends."""
    had: set[tuple[str, str]] = set()

    def send(notification: Notification) -> None:
        address = _address(channel)
        send_by_apprise(address, notification, timeout_s=channel.timeout_s, had=had)

    return Post(name=channel.label, send=send, timeout_s=channel.timeout_s)


def check_channels(channels: Sequence[Channel]) -> tuple[str, ...]:
    """The problems that prevent channels from being used, found even if nothing has to be sent."""
    problems = [_problem(channel) for channel in channels]
    return tuple(problem for problem in problems if problem)


def usable_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """The channels that can be used; the others are logged as warnings.

    This is for local runs, which may lack the secrets of the cluster.
    """
    usable = []
    for channel in channels:
        problem = _problem(channel)
        if problem:
            logger.warning("nobody is told by this local run: %s", problem)
        else:
            usable.append(channel)
    return tuple(usable)


def deliver(notifications: Iterable[Notification], posts: Sequence[Post]) -> list[Outcome]:
    """Send each notification to the channels that have not received it yet.

    The channels work in parallel. One that does not accept a notification is tried twice again
    within its time limit; one that exceeds it is abandoned. The notification that it was sending
    may still arrive, and then arrives again with the next attempt, with the same message id.

    Args:
        notifications: The notifications in the order of sending; `waiting` names their channels.
        posts: The channels.

    Returns:
        One outcome per channel, in the order of `posts`. Problems are also logged.
    """
    notifications = list(notifications)
    begun = time.monotonic()
    started = [(post, *_start(post, notifications)) for post in posts]
    outcomes = []
    for post, thread, progress in started:
        # all limits count from the common start, so the slowest channel determines the total time
        thread.join(max(0.0, begun + post.timeout_s - time.monotonic()))
        # an abandoned channel sends nothing more
        progress.is_over.set()
        problem = (
            f"no answer within {post.timeout_s:g} s" if thread.is_alive() else progress.problem
        )
        if problem:
            logger.error("alert channel %s: %s", post.name, problem)
        outcomes.append(Outcome(name=post.name, taken=frozenset(progress.taken), problem=problem))
    return outcomes


def send_by_apprise(
    address: str,
    notification: Notification,
    *,
    timeout_s: float = 15.0,
    had: set[tuple[str, str]] | None = None,
) -> None:
    """Send one notification through apprise.

    Args:
        address: Apprise URLs, one per line; no error message contains them.
        notification: The notification.
        timeout_s: Longest time in seconds that a service may take to answer, unless its URL says
            otherwise (`rto`).
        had: Notifications, by id and URL, that need not be sent again; those that are accepted are
            added.

    Raises:
        MissingExtraError: If apprise is not installed.
        ConfigError: If apprise does not recognise an address.
        PublishError: If a service did not accept the notification.
    """
    apprise = _apprise()
    with _hushed() as said:
        # each service in this thread: Apprise.notify() starts other threads, which the interpreter
        # waits for at exit, and whose log lines the filter below would not recognise
        lines = [line.strip() for line in address.splitlines() if line.strip()]
        services = [apprise.Apprise.instantiate(line) for line in lines]
        # `instantiate` returns None for an address that it does not recognise
        if not all(services):
            raise ConfigError(
                "the channel's secret must hold apprise URLs such as slack://… or mailto://…, one "
                "a line; apprise does not know this one"
            )
        had = set() if had is None else had
        problems = []
        for service, line in zip(services, lines, strict=True):
            prepare_service(service, line, notification.message_id, timeout_s=timeout_s)
            # one that fails takes nothing from those after it
            if (notification.id, line) not in had:
                problem = _notify(service, notification)
                problems += [problem] if problem else []
                had |= set() if problem else {(notification.id, line)}
    if problems:
        why = _without("; ".join(said or problems), address)
        raise PublishError(f"the notification was not taken: {why}")


def _notify(service: Any, notification: Notification) -> str:
    """Why a service did not accept a notification; empty if it did."""
    try:
        is_taken = service.notify(
            title=notification.title,
            body=_text(notification),
            notify_type=_KINDS[notification.severity],
        )
    except Exception as error:  # noqa: BLE001 - any plugin, any exception
        # only its words: the traceback would show the address
        return f"apprise raised {type(error).__name__}: {error}"
    return "" if is_taken else "no reason given"


def _apprise() -> Any:
    try:
        import apprise
    except ImportError as error:
        raise MissingExtraError.for_feature("Sending alerts", extra="notify") from error
    return apprise


def _start(post: Post, notifications: Sequence[Notification]) -> tuple[threading.Thread, _Progress]:
    own = [notification for notification in notifications if post.name in notification.waiting]
    progress = _Progress()
    # a daemon, because a channel that hangs must not keep the container alive; in a copy of the
    # caller's context, from which flytekit reads secrets
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(_send_all, post, own, progress), daemon=True
    )
    thread.start()
    return thread, progress


def _send_all(post: Post, notifications: Sequence[Notification], progress: _Progress) -> None:
    problems: dict[str, str] = {}
    left = list(notifications)
    for share in (0.0, *_WAITS):
        if not left or progress.is_over.wait(share * post.timeout_s):
            break
        again = []
        for notification in left:
            # goes on after a problem, which may concern this notification only
            problem, is_final = _send_one(post, notification)
            if problem:
                problems[notification.id] = problem
                again += [] if is_final else [notification]
            else:
                problems.pop(notification.id, None)
                progress.taken.append(notification.id)
            if progress.is_over.is_set():
                return
        left = again
    progress.problem = next(reversed(problems.values()), "")


def _send_one(post: Post, notification: Notification) -> tuple[str, bool]:
    """What went wrong, and whether it would again; an empty text if it was accepted."""
    try:
        post.send(notification)
    except Exception as error:  # noqa: BLE001 - one channel must not harm the others
        # what a service did not accept now it may accept in a second
        return f"{type(error).__name__}: {error}", not isinstance(error, PublishError)
    return "", True


def _text(notification: Notification) -> str:
    own = notification.message_id
    return f"{notification.text}\nId: {own}" if own else notification.text


def _problem(channel: Channel) -> str:
    # reads the secret and sends nothing: a mistake is then found before there is an alert to send
    try:
        _apprise()
        _address(channel)
    except ConfigError as error:
        return f"channel {channel.label} cannot be used: {error}"
    return ""


def _address(channel: Channel) -> str:
    return read_secret(channel.secret, holds="the channel's address")


def _without(text: str, address: str) -> str:
    """The text without any part of the address."""
    # in pieces, because messages often quote only a part, such as the host or the token
    pieces = {piece for piece in re.split(r"[\s:/@?&=,]+", address) if len(piece) >= _MIN_PIECE}
    # the longest first, so that a piece inside another leaves no rest
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, "[hidden]")
    return text[:500]


@contextmanager
def _hushed() -> Iterator[list[str]]:
    """Keep this thread's apprise and urllib3 records out of the log; yield the warnings."""
    said: list[str] = []
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        # other threads may use apprise or urllib3 for purposes of their own
        if record.thread != thread:
            return True
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage())
        return False

    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    for each in loggers:
        each.addFilter(keep)
    try:
        yield said
    finally:
        for each in loggers:
            each.removeFilter(keep)
