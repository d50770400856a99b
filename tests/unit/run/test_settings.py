from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable

import pytest
from flytekit import Secret

import wandb
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.run.settings import INIT_ARGUMENTS, RunSettings

TARGET = {"project": "payments", "entity": "ops"}


@pytest.fixture(autouse=True)
def no_wandb_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)


def test_the_known_arguments_are_those_of_wandb() -> None:
    import wandb

    named_by_us = {"project", "entity", "id"}
    assert set(inspect.signature(wandb.init).parameters) == INIT_ARGUMENTS | named_by_us


@pytest.mark.parametrize("missing", ["project", "entity"])
def test_project_and_entity_are_asked_for_at_decoration(missing: str) -> None:
    given = {name: value for name, value in TARGET.items() if name != missing}
    with pytest.raises(ValueError, match=f"{missing} must be set"):
        RunSettings(**given)


@pytest.mark.parametrize(
    "given", [{"enabled": False}, {"init": {"mode": "offline"}}, {"init": {"mode": "disabled"}}]
)
def test_a_run_that_is_not_delivered_needs_neither(given: dict[str, object]) -> None:
    assert RunSettings(**given).resolved_project is None


@pytest.mark.parametrize("resume", ["must", "never"])
def test_what_a_task_cannot_know_of_its_run_is_asked_for_only_online(resume: str) -> None:
    with pytest.raises(ConfigError, match="resume must be 'allow' or None"):
        RunSettings(**TARGET, init={"resume": resume})
    assert (
        RunSettings(**TARGET, delivery="online", init={"resume": resume}).init["resume"] == resume
    )


@pytest.mark.parametrize(
    ("resume", "expected"),
    [(True, "allow"), ("auto", "allow"), ("allow", "allow"), (None, None), (False, False)],
)
def test_a_run_goes_on_with_what_it_has_if_the_task_says_so(
    resume: object, expected: object
) -> None:
    assert RunSettings(**TARGET, init={"resume": resume}).init["resume"] == expected


def test_the_environment_may_name_project_and_entity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "p")
    monkeypatch.setenv("WANDB_ENTITY", "e")
    settings = RunSettings()
    assert (settings.resolved_project, settings.resolved_entity) == ("p", "e")
    assert RunSettings(**TARGET).resolved_project == "payments"


@pytest.mark.parametrize(
    ("environment", "argument", "expected"),
    [
        (None, None, "online"),
        ("offline", None, "offline"),
        ("dryrun", None, "offline"),
        ("disabled", "online", "online"),
        ("online", "disabled", "disabled"),
    ],
)
def test_the_mode_argument_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: str | None, argument: str | None, expected: str
) -> None:
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    init = {"mode": argument} if argument else {}
    assert RunSettings(**TARGET, init=init).mode == expected
    assert RunSettings(enabled=False, init=init).mode == "disabled"


@pytest.mark.parametrize(
    ("name", "near"),
    [("tag", "tags"), ("grop", "group"), ("secrets", "secret"), ("jobtype", "job_type")],
)
def test_an_unknown_argument_is_refused_with_a_suggestion(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean '{near}'"):
        RunSettings(**TARGET, init={name: "x"})


def test_an_argument_like_no_other_gets_the_whole_list() -> None:
    with pytest.raises(ConfigError, match="it takes allow_val_change"):
        RunSettings(**TARGET, init={"zzz": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        {"project": "a/b"},
        {"project": "p" * 129},
        {"entity": 7},
        {"delivery": "pigeon"},
        {"rank_scope": "local"},
        {"delivery_timeout_s": 0},
        {"delivery_timeout_s": "30"},
        {"api_host": "https://bob:hunter2@wandb.example.com"},
        {"api_host": "bob:hunter2@wandb", "init": {"mode": "offline"}},
        {"delivery_timeout_s": float("inf")},
        {"delivery_timeout_s": float("nan")},
        {"secret": "a-key-in-the-code"},
        {"secret": 7},
        {"id": "a/b"},
        {"init": {"mode": "turbo"}},
        {"init": {"tags": "nightly"}},
        {"init": {"tags": ["t" * 65]}},
        {"init": {"tags": [""]}},
    ],
)
def test_an_argument_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        RunSettings(**{**TARGET, **wrong})
    assert "a-key-in-the-code" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


OLD_KEY = "0a1b2c3d" * 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"entity": "https://bob:hunter2@wandb"},
        {"project": f"hunter2/{OLD_KEY}"},
        {"id": f"a/{OLD_KEY}"},
        {"id": "{night}password=hunter2"},
        {"delivery": "token=hunter2"},
        {"rank_scope": "api_key=hunter2"},
        {"delivery_timeout_s": "password=hunter2"},
        {"init": {"mode": "password=hunter2"}},
        {"init": {"postgres://bob:hunter2@db": 1}},
    ],
)
def test_an_argument_that_is_refused_is_told_without_its_secrets(
    wrong: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT_PW", f"hunter2/{OLD_KEY}")
    with pytest.raises(ConfigError) as caught:
        RunSettings(**{**TARGET, **wrong})
    assert "hunter2" not in str(caught.value)
    assert OLD_KEY not in str(caught.value)


@pytest.mark.parametrize("name", ["base_url", "app_url_override", "api_key"])
@pytest.mark.parametrize("make", [dict, wandb.Settings])
def test_settings_of_wandb_name_no_second_server_and_no_key(
    name: str, make: Callable[..., object]
) -> None:
    given = make(**{name: "https://other.example.com" if "url" in name else OLD_KEY})
    with pytest.raises(ConfigError, match=f"settings must not have {name}: pass ") as caught:
        RunSettings(**TARGET, init={"settings": given})
    assert OLD_KEY not in str(caught.value)


def test_other_settings_of_wandb_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com")
    for given in ({"console": "wrap"}, wandb.Settings(console="wrap")):
        assert RunSettings(**TARGET, init={"settings": given}).init["settings"] is given


def test_a_key_in_place_of_the_mode_is_not_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", OLD_KEY)
    assert RunSettings(**TARGET).mode == "offline"
    assert "WANDB_MODE must be one of" in caplog.text
    assert OLD_KEY not in caplog.text


def test_settings_survive_the_way_to_a_pod_as_json() -> None:
    secret = Secret(group="wandb", key="api_key", mount_requirement=Secret.MountType.FILE)
    settings = RunSettings(
        **TARGET,
        secret=secret,
        id="{task}-{date}",
        rank_scope="worker",
        offline_store="s3://bucket/offline",
        init={"tags": ["nightly"], "config": {"depth": 3}},
    )
    again = RunSettings.from_config(json.loads(json.dumps(settings.to_config())))
    assert again == settings
    assert RunSettings.from_config(RunSettings(**TARGET).to_config()) == RunSettings(**TARGET)


def test_a_callable_secret_cannot_travel() -> None:
    with pytest.raises(ConfigError, match="got a callable"):
        RunSettings(**TARGET, secret=lambda: "key").to_config()


def test_an_argument_that_is_no_plain_data_cannot_travel() -> None:
    with pytest.raises(ConfigError, match="not JSON serializable"):
        RunSettings(**TARGET, init={"config": object()}).to_config()


def test_a_cluster_may_point_at_its_own_wandb_without_a_change_of_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = RunSettings(project="p", entity="e")
    assert settings.resolved_api_host == "https://api.wandb.ai"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com")
    assert settings.resolved_api_host == "https://wandb.example.com"
    given = RunSettings(project="p", entity="e", api_host="https://other.example.com")
    assert given.resolved_api_host == "https://other.example.com"


def test_settings_show_no_secret_and_pickle_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_DB_PW", "xk7Qz-from-environment")
    settings = RunSettings(
        **TARGET,
        host="https://bob:xk7Qz-1@wandb.example.com",
        offline_store="https://store/b?sig=xk7Qz-2",
        init={
            "name": "pw=xk7Qz-3",
            "notes": "see postgres://bob:xk7Qz-4@db/x, xk7Qz-from-environment",
            "tags": ["nightly", "token=xk7Qz-5"],
            "config": {"api_key": "xk7Qz-6", "deep": [{"pass": "xk7Qz-7"}]},
        },
    )
    told = RunSettings(**TARGET, init={"settings": {"x_odd": "xk7Qz-8"}})
    assert "xk7Qz" not in repr(settings) + repr(told)
    assert "project='payments'" in repr(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings
    kept = pickle.dumps(settings.init)
    assert b"xk7Qz" not in kept
    assert settings.init["tags"][0] == "nightly"


def test_a_tag_is_not_too_long_for_what_hides_a_secret_in_it() -> None:
    settings = RunSettings(**TARGET, init={"tags": [f"{'x' * 57} pw=abc"], "name": "n"})
    (tag,) = RunSettings.from_config(settings.to_config()).init["tags"]
    assert "abc" not in tag
    assert len(tag) <= 64


def test_the_message_about_a_description_shows_no_secret() -> None:
    with pytest.raises(ConfigError, match="tags must be a list") as caught:
        RunSettings(**TARGET, init={"tags": [f"password=hunter2 {'x' * 64}"]})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["ofline", "on line", "ONLINE,offline"])
def test_a_mode_in_the_environment_that_is_none_keeps_the_run_offline(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", value)
    assert RunSettings(**TARGET).mode == "offline"
    assert "WANDB_MODE must be one of online" in caplog.text


@pytest.mark.parametrize("value", [" Offline ", "dryrun", "OFFLINE"])
def test_a_mode_in_the_environment_is_read_whatever_its_case(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", value)
    assert RunSettings().mode == "offline"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("WANDB_PROJECT", "a/b", "project must"),
        ("WANDB_PROJECT", "p" * 129, "project must"),
        ("WANDB_PROJECT", " ", "project must be set"),
        ("WANDB_ENTITY", "ops#1", "entity must"),
        ("WANDB_BASE_URL", "wandb.example.com", "api_host, or WANDB_BASE_URL, must"),
        ("WANDB_BASE_URL", "https://user:sekret@host:port", "api_host, or WANDB_BASE_URL, must"),
        (
            "WANDB_BASE_URL",
            "http://user:sekret@127.0.0.1:8080",
            "api_host, or WANDB_BASE_URL, must",
        ),
        ("WANDB_BASE_URL", "ftp://example.com", "api_host, or WANDB_BASE_URL, must"),
    ],
)
def test_a_target_in_the_environment_that_cannot_be_is_refused(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "payments")
    monkeypatch.setenv("WANDB_ENTITY", "ops")
    settings = RunSettings()
    monkeypatch.setenv(variable, value)
    # when the task is decorated, and again where it runs
    for check in (RunSettings, settings.check_target):
        with pytest.raises(ConfigError, match=message) as caught:
            check()
        assert "sekret" not in str(caught.value)
    RunSettings(project="payments", entity="ops", api_host="https://wandb.example.com")
