from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from flytekit import Secret

from flytekitplugins.wbmon.errors import ConfigError, MissingExtraError, PublishError
from flytekitplugins.wbmon.monitor.alerts.state import Notification
from flytekitplugins.wbmon.publish.alerts.channel import Channel
from flytekitplugins.wbmon.publish.alerts.send import (
    Post,
    channel_post,
    check_channels,
    deliver,
    send_by_apprise,
)
from support.examples import AT
from support.receiver import Hook, mail_server, web_hook

SLACK = Channel(secret=Secret(group="alerts", key="slack"), name="slack")


def notification(*channels: str, title: str = "drift") -> Notification:
    return Notification(
        id=title,
        kind="firing",
        severity="error",
        title=title,
        text="amount moved",
        at=AT,
        waiting=channels,
    )


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with web_hook() as hook:
        monkeypatch.setenv("_FSEC_ALERTS_SLACK", hook.url)
        yield hook


def test_a_notice_arrives_with_its_title_text_and_severity(hook: Hook) -> None:
    (outcome,) = deliver([notification("slack")], [channel_post(SLACK)])
    assert outcome.taken == {"drift"}
    assert outcome.problem == ""
    (message,) = hook.received
    assert (message["title"], message["message"]) == ("drift", "amount moved")
    assert message["type"] == "failure"


def test_a_mail_arrives() -> None:
    with mail_server() as (port, mails):
        address = (
            f"mailto://127.0.0.1:{port}?from=ops@example.com&to=oncall@example.com&mode=insecure"
        )
        send_by_apprise(address, notification())
    (mail,) = mails
    assert "Subject: drift" in mail
    assert "oncall@example.com" in mail


def test_a_notice_goes_only_where_it_is_awaited(hook: Hook) -> None:
    (outcome,) = deliver([notification("other")], [channel_post(SLACK)])
    assert outcome.taken == frozenset()
    assert hook.received == []


def test_a_channel_that_refuses_takes_nothing_from_the_others(hook: Hook) -> None:
    hook.status = 500
    sent: list[Notification] = []
    posts = [channel_post(SLACK), Post(name="other", send=sent.append)]
    refused, other = deliver([notification("slack", "other")], posts)
    assert refused.taken == frozenset()
    assert "not taken" in refused.problem
    assert other.taken == {"drift"}
    assert len(sent) == 1


def test_a_channel_that_hangs_is_left_behind_in_time() -> None:
    never = threading.Event()
    sent: list[Notification] = []
    posts = [
        Post(name="hangs", send=lambda _: never.wait(60), timeout_s=0.2),
        Post(name="other", send=sent.append),
    ]
    hanging, other = deliver([notification("hangs", "other")], posts)
    assert hanging.taken == frozenset()
    assert "0.2 s" in hanging.problem
    assert other.taken == {"drift"}
    assert not never.is_set()
    never.set()


def test_what_was_taken_before_a_failure_stays_taken() -> None:
    def send(each: Notification) -> None:
        if each.id == "second":
            raise ValueError("no")

    notifications = [notification("a", title=title) for title in ("first", "second", "third")]
    (outcome,) = deliver(notifications, [Post(name="a", send=send)])
    assert outcome.taken == {"first", "third"}
    assert "ValueError" in outcome.problem


@pytest.mark.parametrize("status", [200, 500])
def test_no_log_line_and_no_error_shows_the_address(
    hook: Hook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    hook.status = status
    outcomes = deliver([notification("slack")], [channel_post(SLACK)])
    shown = caplog.text + repr(outcomes)
    assert "sekretpassword" not in shown
    assert "T0KENT0KEN" not in shown


def test_an_address_that_apprise_does_not_know_is_named_by_its_secret_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("_FSEC_ALERTS_SLACK", "bogus://sekretpassword/T0KENT0KEN")
    (outcome,) = deliver([notification("slack")], [channel_post(SLACK)])
    assert "apprise does not know" in outcome.problem
    assert "sekretpassword" not in caplog.text + outcome.problem
    assert "T0KENT0KEN" not in caplog.text + outcome.problem


def test_an_unreachable_address_is_hidden_in_the_reason() -> None:
    with pytest.raises(PublishError, match="not taken") as failure:
        send_by_apprise("json://sekretpassword:T0KENT0KEN@127.0.0.1:9/T0KENT0KEN", notification())
    assert "T0KEN" not in str(failure.value)


def test_what_a_plugin_raises_shows_no_part_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.custom_json import NotifyJSON

    def send(self: NotifyJSON, *_: object, **__: object) -> bool:
        raise ValueError(f"cannot post to {self.url()}")

    monkeypatch.setattr(NotifyJSON, "send", send)
    with pytest.raises(PublishError, match="raised ValueError") as failure:
        send_by_apprise("json://user:sekretpassword@127.0.0.1:9/T0KENT0KEN", notification())
    assert "sekretpassword" not in str(failure.value)
    assert "T0KENT0KEN" not in str(failure.value)
    assert failure.value.__cause__ is None


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_secret_is_a_problem(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_FSEC_ALERTS_SLACK", value)
    assert len(check_channels([SLACK])) == 1


def test_a_missing_secret_is_found_before_there_is_news() -> None:
    (problem,) = check_channels([SLACK])
    assert "slack" in problem
    assert "secret group 'alerts', key 'slack'" in problem


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtraError, match=r"flytekitplugins-wbmon\[notify\]"):
        send_by_apprise("json://127.0.0.1", notification())
    (problem,) = check_channels([SLACK])
    assert "[notify]" in problem


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"secret": "slack://token"}, "named by a flytekit Secret"),
        ({"secret": SLACK.secret, "min_severity": "fatal"}, "min_severity"),
        ({"secret": SLACK.secret, "timeout_s": 0}, "timeout_s"),
    ],
)
def test_a_channel_that_cannot_work_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as failure:
        Channel(**arguments)
    assert "slack://token" not in str(failure.value)
