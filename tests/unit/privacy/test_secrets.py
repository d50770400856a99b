from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.privacy.secrets import HIDDEN, SecretRedactor

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


def test_a_very_short_secret_is_not_searched_for() -> None:
    assert SecretRedactor(["a"]).text("a banana") == "a banana"
