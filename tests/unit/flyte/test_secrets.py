"""A Flyte secret: read in one place, asked for once, and the same by name in the pod."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flytekit import Secret, map_task, task
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon import (
    AlertRule,
    Channel,
    DegradationAlert,
    DriftCheck,
    MonitorFailure,
    ReplayToWeave,
    SyncOfflineRuns,
    SyncOfflineTraces,
    TagBest,
    wandb_init,
)
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.secrets import (
    SecretNotFoundError,
    mounted_secrets,
    read_secret,
    request_secrets,
    secret_from_config,
    secret_to_config,
    with_secret,
)
from flytekitplugins.wbmon.llm import weave_init
from flytekitplugins.wbmon.run.decorated_task import tracking_of
from support.in_process import pod_context

VERSIONED = Secret(
    group="wandb", key="api_key", group_version="v2", mount_requirement=Secret.MountType.FILE
)
names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20)
secrets = st.builds(
    Secret,
    group=names,
    key=names,
    group_version=st.none() | names,
    mount_requirement=st.sampled_from(Secret.MountType),
)


@given(secrets)
def test_a_secret_is_the_same_after_its_way_through_json(secret: Secret) -> None:
    assert secret_from_config(json.loads(json.dumps(secret_to_config(secret)))) == secret


@given(st.lists(secrets, max_size=5), st.lists(secrets, max_size=5))
def test_every_secret_is_asked_for_once_and_the_users_own_come_first(
    own: list[Secret], needed: list[Secret]
) -> None:
    asked = request_secrets({"secret_requests": own, "retries": 2}, *needed, None)
    requests = asked["secret_requests"] or []
    found = [(one.group, one.key, one.group_version) for one in requests]
    assert len(set(found)) == len(found)
    assert set(found) == {(one.group, one.key, one.group_version) for one in [*own, *needed]}
    assert requests[:1] == (own + needed)[:1]
    assert asked["retries"] == 2


def test_another_version_of_a_secret_is_another_secret() -> None:
    first = Secret(group="wandb", key="api_key")
    context = with_secret(with_secret(None, first), VERSIONED)
    assert context.secrets == [first, VERSIONED]
    assert with_secret(context, VERSIONED) is context


def test_a_secret_is_read_from_the_pod_without_space_around_it(tmp_path: Path) -> None:
    with pod_context(tmp_path, env={"_FSEC_WANDB_V2_API_KEY": " value\n"}):
        assert read_secret(VERSIONED, holds="a key") == "value"


def test_a_secret_that_is_mounted_as_a_variable_of_its_own_name_is_found(tmp_path: Path) -> None:
    if "env_var" not in Secret.__dataclass_fields__:
        pytest.skip("this flytekit has no env_var")
    named = Secret(group="g", key="k", env_var="MY_KEY", mount_requirement=Secret.MountType.ENV_VAR)
    with pod_context(tmp_path, env={"MY_KEY": "value"}):
        assert read_secret(named, holds="a key") == "value"


def test_a_missing_secret_is_named_with_where_to_create_and_how_to_ask(tmp_path: Path) -> None:
    with pod_context(tmp_path), pytest.raises(SecretNotFoundError) as caught:
        read_secret(VERSIONED, holds="the channel's address")
    for part in (
        "group 'wandb', key 'api_key', version 'v2' must hold the channel's address",
        "secrets.example.yaml",
        "secret_requests=[Secret(group='wandb', key='api_key', group_version='v2')]",
    ):
        assert part in str(caught.value)


def test_outside_a_pod_the_variable_called_as_the_secret_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_V2_API_KEY", "value")
    assert read_secret(VERSIONED, holds="a key") == "value"
    with pod_context(tmp_path), pytest.raises(SecretNotFoundError):
        read_secret(VERSIONED, holds="a key")


def test_an_empty_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_V2_API_KEY", " ")
    with pytest.raises(ConfigError, match="got an empty text"):
        read_secret(VERSIONED, holds="a key")


@contextmanager
def mounted(tmp_path: Path, content: bytes) -> Iterator[Path]:
    """A pod in which the secret is a file; yields the file."""
    file = tmp_path / "secrets" / "wandb" / "v2" / "api_key"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pod_context(tmp_path, env={"FLYTE_SECRETS_DEFAULT_DIR": str(tmp_path / "secrets")}):
        yield file


def test_a_mounted_file_is_read_without_what_editors_put_around_a_text(tmp_path: Path) -> None:
    with mounted(tmp_path, b"\xef\xbb\xbfvalue\r\n"):
        assert read_secret(VERSIONED, holds="a key") == "value"
        assert "value" in mounted_secrets()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00k", "kéy".encode("utf-16"), b"\x80abc"])
def test_a_mounted_file_of_no_text_is_called_that(tmp_path: Path, content: bytes) -> None:
    with mounted(tmp_path, content), pytest.raises(ConfigError, match="no text in UTF-8") as caught:
        read_secret(VERSIONED, holds="a key")
    assert "version 'v2' must hold a key as text, got bytes" in str(caught.value)
    assert caught.value.__cause__ is None
    assert not isinstance(caught.value, SecretNotFoundError)


def test_a_variable_of_no_text_is_called_that(tmp_path: Path) -> None:
    with (
        pod_context(tmp_path, env={"_FSEC_WANDB_V2_API_KEY": os.fsdecode(b"\xff\xfek")}),
        pytest.raises(ConfigError, match="no text in UTF-8"),
    ):
        read_secret(VERSIONED, holds="a key")


@pytest.mark.parametrize("content", [b"", b" \n", b"\xef\xbb\xbf\r\n"])
def test_a_mounted_file_of_nothing_is_called_empty(tmp_path: Path, content: bytes) -> None:
    with mounted(tmp_path, content), pytest.raises(ConfigError, match="got an empty text"):
        read_secret(VERSIONED, holds="a key")


def test_a_mounted_file_that_cannot_be_read_is_not_called_missing(tmp_path: Path) -> None:
    with mounted(tmp_path, b"value") as file:
        file.unlink()
        file.mkdir()
        with pytest.raises(ConfigError, match=r"cannot read it .*Is a directory") as caught:
            read_secret(VERSIONED, holds="a key")
    assert not isinstance(caught.value, SecretNotFoundError)


@pytest.mark.parametrize("closed", ["the file", "its folder"])
def test_a_mounted_file_that_is_closed_to_this_process_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """As a process that is not root sees it, which the process of a test may be."""
    with mounted(tmp_path, b"value") as file:

        def refuse(path: Any, *_: Any, **__: Any) -> Any:
            if Path(path) == file:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return at_hand(path, *_, **__)

        place = "builtins.open" if closed == "the file" else "os.stat"
        at_hand = open if closed == "the file" else os.stat
        monkeypatch.setattr(place, refuse)
        with pytest.raises(ConfigError, match=r"cannot read it .*Permission denied") as caught:
            read_secret(VERSIONED, holds="a key")
        monkeypatch.undo()
    assert not isinstance(caught.value, SecretNotFoundError)


def made_in_a_list() -> list[Any]:
    """Nodes that are no variable of a module, so that only their arguments reach the pod."""
    channel, rule = Channel(secret=VERSIONED), AlertRule(metric="drift.share", above=0)
    return [
        SyncOfflineRuns("s.runs", secret=VERSIONED, offline_store="x"),
        SyncOfflineTraces("s.traces", secret=VERSIONED, offline_store="x"),
        ReplayToWeave("s.replay", project="p", entity="e", secret=VERSIONED),
        TagBest("s.tag", project="p", entity="e", metric="m", secret=VERSIONED),
        DegradationAlert("s.alert", rules=[rule], channels=[channel]),
        MonitorFailure("s.failed", inputs={}, channels=[channel]),
        wandb_init(project="p", entity="e", secret=VERSIONED)(DriftCheck("s.tracked")),
        weave_init("p", "e", secret=VERSIONED)(DriftCheck("s.traced")),
    ]


def secret_of(node: Any) -> Secret:
    """The secret that a node reads when it runs."""
    if tracking_of(node) is not None:
        return tracking_of(node).secret
    channels = getattr(node.config, "channels", ())
    return channels[0].secret if channels else node.config.secret


@pytest.mark.parametrize("number", range(8))
def test_a_node_made_in_a_list_keeps_its_whole_secret_in_the_pod(number: int) -> None:
    node = made_in_a_list()[number]
    assert node.security_context.secrets == [VERSIONED]
    again = node.task_resolver.load_task(node.task_resolver.loader_args(None, node))
    if node.name == "s.traced":
        assert again.security_context.secrets == [VERSIONED]
    else:
        assert secret_of(again) == VERSIONED


@pytest.mark.parametrize("wrong", ["text", 7, Secret, object()])
def test_what_is_no_secret_is_refused_when_the_node_is_made(wrong: Any) -> None:
    for make in (
        lambda: SyncOfflineRuns("w", secret=wrong, offline_store="x"),
        lambda: SyncOfflineTraces("w", secret=wrong, offline_store="x"),
        lambda: ReplayToWeave("w", project="p", entity="e", secret=wrong),
        lambda: TagBest("w", project="p", entity="e", metric="m", secret=wrong),
    ):
        with pytest.raises(ConfigError, match=r"flytekit\.Secret"):
            make()


def test_a_task_is_asked_for_the_secret_of_both_its_decorators_once() -> None:
    @wandb_init(project="p", entity="e", secret=VERSIONED)
    @weave_init("p", "e", secret=VERSIONED)
    @task
    def both() -> int:
        return 1

    assert both.security_context.secrets == [VERSIONED]


def test_every_mounted_secret_is_known_to_what_hides_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "secrets" / "wandb"
    folder.mkdir(parents=True)
    (folder / "api_key").write_text("in-a-file\n")
    (folder / "large").write_bytes(b"x" * 100_000)
    monkeypatch.setenv("FLYTE_SECRETS_DEFAULT_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("_FSEC_ALERTS_ON_CALL", "in-a-variable")
    with pod_context(tmp_path):
        assert sorted(mounted_secrets()) == ["in-a-file", "in-a-variable"]
    assert mounted_secrets() == ["in-a-variable"]


def test_a_cluster_may_name_the_variables_of_its_secrets_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTE_SECRETS_ENV_PREFIX", "_OURS_")
    monkeypatch.setenv("_OURS_ALERTS_ON_CALL", "in-a-variable")
    with pod_context(tmp_path):
        assert mounted_secrets() == ["in-a-variable"]


@task(secret_requests=[VERSIONED])
def asking(x: int) -> int:
    return x


@task
def not_asking(x: int) -> int:
    return x


@wandb_init(project="p", entity="e", secret=VERSIONED)
@task
def tracked(x: int) -> int:
    return x


@task
def mapped(x: int) -> int:
    return x


tracked_where_it_is_mapped = wandb_init(project="p", entity="e", secret=VERSIONED)(map_task(mapped))


@pytest.mark.parametrize(
    "entity",
    [
        asking,
        tracked,
        map_task(asking),
        tracked_where_it_is_mapped,
        SyncOfflineRuns("secrets.sync", secret=VERSIONED, offline_store="x"),
    ],
    ids=lambda entity: entity.name.rpartition(".")[2],
)
def test_of_a_secret_that_the_task_has_requested_it_is_said_where_to_look(
    entity: Any, tmp_path: Path
) -> None:
    with (
        pod_context(tmp_path, task=entity.name),
        pytest.raises(SecretNotFoundError, match="The task has requested it") as caught,
    ):
        read_secret(VERSIONED, holds="a key")
    assert "kubectl describe secret wandb -n flytesnacks-development" in str(caught.value)
    assert "secret_requests" not in str(caught.value)


@pytest.mark.parametrize("entity", [not_asking, map_task(not_asking)], ids=["task", "mapped task"])
def test_of_a_secret_that_nobody_requested_it_is_said_how(entity: Any, tmp_path: Path) -> None:
    with (
        pod_context(tmp_path, task=entity.name),
        pytest.raises(SecretNotFoundError, match="namespace flytesnacks-development") as caught,
    ):
        read_secret(VERSIONED, holds="a key")
    assert "secret_requests=[Secret(group='wandb', key='api_key', group_version='v2')]" in str(
        caught.value
    )
    # another secret of the same task is none
    other = Secret(group="wandb", key="other")
    with pod_context(tmp_path, task=asking.name), pytest.raises(SecretNotFoundError, match="If"):
        read_secret(other, holds="a key")


def test_outside_a_pod_it_is_said_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_V2_API_KEY", raising=False)
    with pytest.raises(SecretNotFoundError, match="Set WANDB_V2_API_KEY"):
        read_secret(VERSIONED, holds="a key")
