"""What describes a run: arguments are checked, variables are repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from flytekitplugins.wbmon.run.description import LONGEST, VARIABLES, described
from flytekitplugins.wbmon.run.init_arguments import init_arguments
from flytekitplugins.wbmon.run.settings import RunSettings

TARGET: dict[str, Any] = {"project": "payments", "entity": "ops"}

# what a variable can hold: any text without the character that ends it, and bytes that are no UTF-8
_VALUES = st.text(st.characters(exclude_characters="\0"), max_size=200).map(
    lambda text: text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
)


@given(st.dictionaries(st.sampled_from([*VARIABLES.values(), "WANDB_TAGS"]), _VALUES))
def test_whatever_variables_hold_becomes_what_wandb_takes(environ: dict[str, str]) -> None:
    found = described({}, environ)
    for name, longest in LONGEST.items():
        assert len(found.get(name, "")) <= longest
    assert all(0 < len(tag) <= 64 for tag in found["tags"])
    assert len(set(found["tags"])) == len(found["tags"])
    "".join([*found["tags"], *(found.get(name, "") for name in VARIABLES)]).encode()
    assert described({}, environ) == found


def test_long_tags_that_begin_alike_stay_different() -> None:
    image = "registry.example.com/team/fraud-model:2026-11-28-" + "f" * 40
    tags = described({}, {"WANDB_TAGS": f"nightly, {image}1,,{image}2,nightly"})["tags"]
    assert tags[0] == "nightly"
    assert len(tags) == 3
    assert all(tag.startswith("registry.example.com/team/fraud") for tag in tags[1:])


def test_what_fits_stays_as_it_is() -> None:
    environ = {
        "WANDB_NAME": "é" * 128, "WANDB_NOTES": "n" * 5000, "WANDB_RUN_GROUP": "g" * 128,
        "WANDB_JOB_TYPE": "j" * 64, "WANDB_TAGS": "t" * 64,
    }  # fmt: skip
    assert described({}, environ) == {
        "name": "é" * 128, "notes": "n" * 5000, "group": "g" * 128, "job_type": "j" * 64,
        "tags": ["t" * 64],
    }  # fmt: skip


def test_an_argument_wins_over_its_variable() -> None:
    environ = {"WANDB_NAME": "theirs", "WANDB_TAGS": "theirs", "WANDB_RUN_GROUP": "theirs"}
    assert described({"name": "mine", "tags": []}, environ) == {
        "name": "mine",
        "group": "theirs",
        "tags": [],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": 7}, {"name": "n" * 129}, {"group": ["a"]}, {"group": "g" * 129},
        {"job_type": "j" * 65}, {"notes": b"x"}, {"notes": "half \udcff"}, {"name": "\ud800"},
        {"tags": 7}, {"tags": [7]}, {"tags": [" "]}, {"tags": ["\udcff"]}, {"tags": "nightly"},
        {"tags": b"nightly"},
    ],
)  # fmt: skip
def test_an_argument_that_wandb_would_not_take_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} must"):
        RunSettings(**TARGET, init=wrong)


@pytest.mark.parametrize(
    "tags",
    [
        lambda: ["nightly", "é" * 64, "nightly"],
        lambda: ("nightly", "é" * 64),
        lambda: (tag for tag in ("nightly", "é" * 64)),
        lambda: {"nightly": 1, "é" * 64: 2},
    ],
)
def test_tags_of_any_kind_are_read_once_and_told_once(tags: Callable[[], Any]) -> None:
    settings = RunSettings(**TARGET, init={"tags": tags()})
    assert settings.init["tags"] == ["nightly", "é" * 64]
    assert RunSettings.from_config(settings.to_config()) == settings


def test_the_group_and_the_job_type_are_an_argument_a_variable_or_flytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = TaskIdentity(is_local=False, execution="exec", task=f"wf.{'train_' * 20}")

    def arguments(**init: Any) -> dict[str, Any]:
        settings = RunSettings(**TARGET, init=init)
        return init_arguments(settings, identity, run_id="id", inputs={}, redactor=SecretRedactor())

    assert arguments()["group"] == "exec"
    assert arguments()["job_type"].startswith("train_train_")
    assert len(arguments()["job_type"]) == 64
    monkeypatch.setenv("WANDB_RUN_GROUP", "theirs")
    monkeypatch.setenv("WANDB_JOB_TYPE", "theirs")
    monkeypatch.setenv("WANDB_NOTES", "theirs")
    assert [arguments()[name] for name in ("group", "job_type", "notes")] == ["theirs"] * 3
    assert arguments(group="mine")["group"] == "mine"


def test_settings_that_hid_a_secret_in_a_long_tag_still_travel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "hunter22")
    settings = RunSettings(**TARGET, init={"tags": [f"{'t' * 55} hunter22"]})
    assert "hunter22" not in settings.init["tags"][0]
    assert RunSettings.from_config(settings.to_config()) == settings


def test_a_folder_or_a_config_that_cannot_be_used_is_told_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_DIR", "/proc/token=hunter22")
    settings = RunSettings(**TARGET, init={"config": "password: hunter22"})
    init_arguments(settings, TaskIdentity(), run_id="id", inputs={}, redactor=SecretRedactor())
    assert "/proc/token=[SECRET] cannot be written to" in caplog.text
    assert "config is left out: it must be a dict" in caplog.text
    assert "hunter22" not in caplog.text


def test_what_stands_for_a_secret_does_not_make_a_text_too_long() -> None:
    settings = RunSettings(**TARGET, init={"tags": [f"{'t' * 58}s3cr3t"], "name": "n" * 128})
    arguments = init_arguments(
        settings, TaskIdentity(), run_id="id", inputs={}, redactor=SecretRedactor(["s3cr3t"])
    )
    (tag,) = arguments["tags"]
    assert len(tag) <= 64
    assert "s3cr3t" not in tag
