from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.privacy.secrets import HIDDEN, SecretRedactor, environment_secrets

KEY = "0123456789abcdef0123456789abcdef01234567"
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


def test_a_known_secret_is_hidden_wherever_it_occurs() -> None:
    redactor = SecretRedactor(["hunter2-hunter2", None])
    assert redactor.text("a hunter2-hunter2b") == f"a {HIDDEN}b"
    assert redactor.value({"x": ["hunter2-hunter2", ("deep", {"y": "hunter2-hunter2"})]}) == {
        "x": [HIDDEN, ["deep", {"y": HIDDEN}]]
    }


@given(st.text(min_size=6), st.text(), st.text())
def test_no_text_shows_a_known_secret(secret: str, before: str, after: str) -> None:
    shown = SecretRedactor([secret]).text(before + secret + after)
    assert secret not in shown.replace(HIDDEN, "\0") or secret in HIDDEN


def test_a_secret_inside_another_leaves_no_rest() -> None:
    assert SecretRedactor(["secret", "secret-and-more"]).text("secret-and-more") == HIDDEN


@pytest.mark.parametrize(
    "text",
    [
        f"bad key {KEY}",
        "local-abcdefghijklmnopqrstuvwxyz",
        "wandb_v1_abcdefghijklmnopqrstuvwxyz",
        "AKIAABCDEFGHIJKLMNOP",
        "Authorization: Bearer abc.def-ghi",
        "postgres://user:pass@host/db",
        "password=hunter2",
        'api_key: "hunter2"',
        "eyJhbGciOiJI.eyJzdWIiOiIx.c2ln",
    ],
)
def test_what_looks_like_a_key_is_hidden_in_messages(text: str) -> None:
    shown = SecretRedactor().text(text)
    assert shown != text
    assert not set(shown.split()) & {KEY, "hunter2", "abc.def-ghi"}


@pytest.mark.parametrize(
    "name", ["api_key", "WANDB_API_KEY", "db.password", "token", "webhook_url"]
)
def test_a_value_under_a_secret_name_is_hidden(name: str) -> None:
    assert SecretRedactor().value({name: "value"}) == {name: HIDDEN}


@pytest.mark.parametrize(
    "config",
    [
        {"max_tokens": 512, "tokenizer": "bpe", "key": "amount", "token": None},
        {"commit": COMMIT, "monkey": "see", "api_key": ""},
        {"layers": [1, 2.5, None], "shape": [3, 4]},
    ],
)
def test_an_ordinary_config_is_left_alone(config: dict[str, object]) -> None:
    assert SecretRedactor(["x" * 8]).value(config) == config


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"model of commit {COMMIT} not found", f"model of commit {COMMIT} not found"),
        (f"Incorrect API key provided: {KEY}.", f"Incorrect API key provided: {HIDDEN}."),
        (f"wandb login --relogin {KEY}", f"wandb login --relogin {HIDDEN}"),
        (f"KeyError: '{COMMIT}'", f"KeyError: '{COMMIT}'"),
    ],
)
def test_forty_digits_are_a_key_where_a_word_before_them_says_so(text: str, shown: str) -> None:
    assert SecretRedactor().text(text) == shown


def test_the_key_in_use_is_hidden_whatever_stands_before_it() -> None:
    assert SecretRedactor([KEY]).text(f"commit {KEY}") == f"commit {HIDDEN}"


class Login(pydantic.BaseModel):
    user: int
    password: int


def test_a_model_that_refuses_a_password_does_not_show_it() -> None:
    with pytest.raises(pydantic.ValidationError) as raised:
        Login.model_validate({"user": "bob", "password": "xk7Qz-19"})
    redactor = SecretRedactor()
    for text in (str(raised.value), repr(raised.value.errors()), raised.value.json()):
        assert "bob" in redactor.text(text)
        assert "xk7Qz-19" not in redactor.text(text)
    listed = redactor.value(raised.value.errors())
    assert [error["input"] for error in listed] == ["bob", HIDDEN]


def test_a_very_short_secret_is_not_searched_for() -> None:
    assert SecretRedactor(["a"]).text("a banana") == "a banana"


def test_variables_with_the_name_of_a_secret_are_secrets(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.touch()
    environ = {
        "DB_PASSWORD": "xk7Qz-19", "POSTGRES_PASSWORD": "postgres", "HOME": "/home/ada",
        "GOOGLE_APPLICATION_CREDENTIALS": str(file), "USE_TOKEN": "true", "PWD": "/home/ada",
        "LONG_TOKEN": "x7" * 5000, "AZ_TOKEN": "/var/run/secrets/token",
        "U_SECRET": "wandb/api_key",
    }  # fmt: skip
    assert environment_secrets(environ) == ["xk7Qz-19", "x7" * 5000]


class Model(pydantic.BaseModel):
    depth: int = 3
    api_key: str = "xk7Qz-19"
    token: pydantic.SecretStr = pydantic.SecretStr("xk7Qz-20")


class Lazy(Mapping[str, object]):
    """Looks a value up when it is asked for, as OmegaConf does, and may not find it."""

    def __getitem__(self, name: str) -> object:
        return {"depth": 3, "password": "xk7Qz-19"}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("depth", "password", "missing"))

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("config", [Model(), SimpleNamespace(**vars(Model())), vars(Model())])
def test_a_config_is_a_dict_whatever_its_type(config: object) -> None:
    hidden = {"depth": 3, "api_key": HIDDEN, "token": HIDDEN}
    assert SecretRedactor().config(config) == hidden


def test_a_value_that_cannot_be_read_does_not_keep_the_others() -> None:
    hidden = {"depth": 3, "password": HIDDEN, "missing": "[KeyError]"}
    assert SecretRedactor().config(Lazy()) == hidden


@pytest.mark.parametrize("config", [None, "config.yaml"])
def test_what_is_no_object_is_left_to_wandb(config: object) -> None:
    assert SecretRedactor().config(config) is config


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("password=xk7Qz-19")


def test_an_object_that_cannot_be_shown_is_named_by_its_type() -> None:
    assert SecretRedactor().value({"x": Unprintable()}) == {"x": "[Unprintable]"}


def test_an_entry_without_a_secret_is_the_same_object() -> None:
    shape = (3, {"a": frozenset({1})})
    assert SecretRedactor().entry("shape", shape)[1] is shape
    assert SecretRedactor().entry("password", shape) == ("password", HIDDEN)


def test_the_names_of_an_entry_hold_no_secret_either() -> None:
    address = "postgres://bob:xk7Qz-19@db/churn"
    hidden = "postgres://[CREDENTIALS]@db/churn"
    assert SecretRedactor().entry(address, 1) == (hidden, 1)
    assert SecretRedactor().entry("by_url", {address: [1]}) == ("by_url", {hidden: [1]})
