from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from flytekit import Secret

from flytekitplugins.wbmon.delivery.credentials import ApiKey
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.run.api_key import read_api_key
from support.in_process import pod_context

HOST = "https://api.wandb.ai"
KEY = "planted-key-0123456789abcdef0123456789abcdef"
SECRET = Secret(group="wandb", key="api_key")


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def read(secret: object, *, is_local: bool = True) -> str | None:
    key = read_api_key(secret, api_host=HOST, is_local=is_local)
    return None if key is None else key.reveal()


def raising() -> str:
    raise RuntimeError(f"vault refused token={KEY}")


def test_the_usual_environment_variable_serves_a_secret_locally(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", f" {KEY}\n")
    assert read(SECRET) == KEY
    assert read(None) == KEY


def test_a_secret_is_read_from_the_pod(tmp_path: Path) -> None:
    with pod_context(tmp_path, env={"_FSEC_WANDB_API_KEY": KEY}):
        assert read(SECRET, is_local=False) == KEY


def test_a_version_of_a_secret_is_read_from_the_pod(tmp_path: Path) -> None:
    versioned = Secret(group="wandb", key="api_key", group_version="v2")
    with pod_context(tmp_path, env={"_FSEC_WANDB_V2_API_KEY": KEY}):
        assert read(versioned, is_local=False) == KEY


def test_a_missing_secret_in_a_pod_says_what_to_do(tmp_path: Path) -> None:
    with pod_context(tmp_path), pytest.raises(ConfigError) as caught:
        read(SECRET, is_local=False)
    for part in ("'wandb'", "'api_key'", "secret_requests", "secrets.example.yaml"):
        assert part in str(caught.value)


def test_the_machines_login_serves_where_the_secret_is_missing_locally(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai\n login user\n password {KEY}\n")
    assert read(SECRET) == KEY
    assert read(raising) == KEY


@pytest.mark.parametrize("name", ["api.forge.coreweave.com", "wandb.corp", "wandb.corp:8080"])
def test_the_name_of_the_host_selects_the_machines_login(tmp_path: Path, name: str) -> None:
    host = "http://wandb.corp:8080" if "corp" in name else HOST
    (tmp_path / "netrc").write_text(
        f"machine api.other login user password other\nmachine {name} login user password {KEY}\n"
    )
    key = read_api_key(None, api_host=host, is_local=True)
    assert key is not None
    assert key.reveal() == KEY
    assert read_api_key(None, api_host="https://api.example.com", is_local=True) is None


@pytest.mark.parametrize(
    "content",
    [
        "machine api.wandb.ai",
        "machine other login a password b",
        # the password of whatever other server
        "default login a password b",
    ],
)
def test_a_netrc_without_the_host_gives_no_key(tmp_path: Path, content: str) -> None:
    (tmp_path / "netrc").write_text(content)
    assert read(None) is None


def test_without_any_key_the_run_stays_offline_with_a_hint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert read(SECRET) is None
    assert "wandb login" in caplog.text
    assert read(None, is_local=False) is None
    assert "give wandb_init a secret" in caplog.text


def test_a_callable_is_asked_for_the_key_in_the_pod_and_locally() -> None:
    assert read(lambda: KEY) == KEY
    assert read(lambda: KEY, is_local=False) == KEY


def test_a_callable_that_raises_is_named_and_its_secrets_are_hidden() -> None:
    with pytest.raises(ConfigError, match=r"callable raising .* RuntimeError") as caught:
        read(raising, is_local=False)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("secret", [lambda: 7, KEY.encode, lambda: " ", lambda: None])
@pytest.mark.parametrize("is_local", [True, False])
def test_a_key_of_the_wrong_type_is_refused(secret: Callable[[], str], is_local: bool) -> None:
    with pytest.raises(ConfigError, match="must give the W&B key") as caught:
        read(secret, is_local=is_local)
    assert KEY not in str(caught.value)


def test_a_callable_that_raises_outside_a_pod_is_said_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert read(raising) is None
    assert "the callable given as secret raised RuntimeError" in caplog.text
    assert KEY not in caplog.text
    assert "vault" not in caplog.text


def test_a_key_does_not_print_or_pickle() -> None:
    key = ApiKey(KEY)
    assert KEY not in f"{key} {key!r} {[key]}"
    for leave in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="must not leave"):
            leave(key)
