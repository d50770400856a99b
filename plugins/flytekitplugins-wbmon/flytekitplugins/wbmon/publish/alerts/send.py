"""Tell people: each channel on its own, within its own time, and never with its address in sight.

A channel that fails or hangs takes nothing from the others. What it did not take is reported back,
so that the caller can try again.
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

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

WANDB = "wandb"
_LEVELS = {"info": "INFO", "warn": "WARN", "error": "ERROR"}
_KINDS = {"info": "info", "warn": "warning", "error": "failure"}
_MAX_TITLE = 64
_MIN_PIECE = 4
# whose log lines repeat the addresses that they are given
_TALKATIVE = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A channel ready to send.

    Attributes:
        name: The channel's.
        send: Sends one notification; raises if it was not taken.
        timeout_s: For all notifications of a window together.
    """

    name: str
    send: Callable[[Notification], None]
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a channel did: the ids of the notifications that it took, and why not the rest."""

    name: str
    taken: frozenset[str]
    problem: str = ""


@dataclass(slots=True)
class _Progress:
    taken: list[str] = field(default_factory=list)
    problem: str = ""


def wandb_post(run: wandb.Run) -> Post:
    """The alerts of an open run; W&B mails or posts them as its user has set."""

    def send(notification: Notification) -> None:
        # W&B reads a wait of 0 as one minute, which would swallow the second alert of a window
        run.alert(
            title=notification.title[:_MAX_TITLE],
            text=notification.text,
            level=_LEVELS[notification.severity],
            wait_duration=0.001,
        )

    return Post(name=WANDB, send=send)


def channel_post(channel: Channel) -> Post:
    """A channel through apprise; its secret is read when it first sends."""

    def send(notification: Notification) -> None:
        send_by_apprise(_address(channel), notification)

    return Post(name=channel.label, send=send, timeout_s=channel.timeout_s)


def check_channels(channels: Sequence[Channel]) -> tuple[str, ...]:
    """What would keep the channels from being used, found also in a night without news."""
    problems = [_problem(channel) for channel in channels]
    return tuple(problem for problem in problems if problem)


def usable_channels(channels: Sequence[Channel]) -> tuple[Channel, ...]:
    """Those whose secret is here: outside a pod, a channel without one is left out, and logged."""
    usable = []
    for channel in channels:
        problem = _problem(channel)
        if problem:
            logger.warning("nobody is told by this local run: %s", problem)
        else:
            usable.append(channel)
    return tuple(usable)


def deliver(notifications: Iterable[Notification], posts: Sequence[Post]) -> list[Outcome]:
    """Send each notification to the channels that it waits for.

    The channels work at the same time. One that does not end in time is left behind: what it was
    sending may still arrive, and so arrive twice.

    Args:
        notifications: In the order to send.
        posts: The channels, by whose names the notifications wait.

    Returns:
        One outcome a channel, in order; a problem is also logged.
    """
    notifications = list(notifications)
    begun = time.monotonic()
    started = [(post, *_start(post, notifications)) for post in posts]
    outcomes = []
    for post, thread, progress in started:
        thread.join(max(0.0, begun + post.timeout_s - time.monotonic()))
        problem = (
            f"no answer within {post.timeout_s:g} s" if thread.is_alive() else progress.problem
        )
        if problem:
            logger.error("alert channel %s: %s", post.name, problem)
        outcomes.append(Outcome(name=post.name, taken=frozenset(progress.taken), problem=problem))
    return outcomes


def send_by_apprise(address: str, notification: Notification) -> None:
    """Send one notification.

    Args:
        address: Apprise URLs, one a line; never shown.
        notification: What to send.

    Raises:
        MissingExtraError: If apprise is not installed.
        ConfigError: If apprise does not know an address.
        PublishError: If it was not taken.
    """
    apprise = _apprise()
    with _hushed() as said:
        # each service in this thread: Apprise.notify() has threads of its own, which the
        # interpreter would wait for at its end, and whose log lines would not be ours to hush
        lines = [line.strip() for line in address.splitlines() if line.strip()]
        services = [apprise.Apprise.instantiate(line) for line in lines]
        if not all(services):
            raise ConfigError(
                "the channel's secret must hold apprise URLs such as slack://… or mailto://…, one "
                "a line; apprise does not know this one"
            )
        try:
            taken = [
                service.notify(
                    title=notification.title,
                    body=notification.text,
                    notify_type=_KINDS[notification.severity],
                )
                for service in services
            ]
        except Exception as error:  # noqa: BLE001 - any plugin, any exception
            raise PublishError(
                f"apprise raised {type(error).__name__}: {_without(str(error), address)}"
            ) from None
    if not all(taken):
        why = _without("; ".join(said) or "no reason given", address)
        raise PublishError(f"the notification was not taken: {why}")


def _apprise() -> Any:
    try:
        import apprise
    except ImportError as error:
        raise MissingExtraError.for_feature("Sending alerts", extra="notify") from error
    return apprise


def _start(post: Post, notifications: Sequence[Notification]) -> tuple[threading.Thread, _Progress]:
    own = [notification for notification in notifications if post.name in notification.waiting]
    progress = _Progress()
    # a daemon: a channel that hangs must not keep the container alive; with the caller's context,
    # because flytekit looks secrets up in it
    context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(_send_all, post, own, progress), daemon=True
    )
    thread.start()
    return thread, progress


def _send_all(post: Post, notifications: Sequence[Notification], progress: _Progress) -> None:
    for notification in notifications:
        problem = _send_one(post, notification)
        if problem:
            progress.problem = problem
        else:
            progress.taken.append(notification.id)


def _send_one(post: Post, notification: Notification) -> str:
    try:
        post.send(notification)
    except Exception as error:  # noqa: BLE001 - one channel must not harm the others
        return f"{type(error).__name__}: {error}"
    return ""


def _problem(channel: Channel) -> str:
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
    pieces = {piece for piece in re.split(r"[\s:/@?&=,]+", address) if len(piece) >= _MIN_PIECE}
    for piece in sorted(pieces, key=len, reverse=True):
        text = text.replace(piece, "[hidden]")
    return text[:500]


@contextmanager
def _hushed() -> Iterator[list[str]]:
    """Keep this thread's lines of apprise and urllib3 out of the log; yields its warnings."""
    said: list[str] = []
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
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
