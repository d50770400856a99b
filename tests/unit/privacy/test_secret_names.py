"""Names and values of real configurations: which are hidden, and which never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.privacy.patterns import PatternRedactor
from flytekitplugins.wbmon.privacy.secret_names import is_secret, is_secret_name
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from support.config_names import FRAMES, KEY_FORMS, ORDINARY, SECRET_NAMES

HELD = "xk7 Qz-19"


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_the_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)
    for held in (HELD, [HELD], {"value": HELD}, HELD.encode()):
        assert SecretRedactor().value({name: held}) == {name: "[SECRET]"}


def test_no_ordinary_configuration_is_touched() -> None:
    """The measurement of false hits: 0 of more than 150 names, with a value of each."""
    assert len(ORDINARY) > 150
    hidden = SecretRedactor().value(ORDINARY)
    assert {name for name, value in ORDINARY.items() if hidden[name] != value} == set()


def test_no_ordinary_configuration_is_touched_in_a_text() -> None:
    lines = [f"{name}: {value}" for name, value in ORDINARY.items()]
    assert [line for line in lines if SecretRedactor().text(line) != line] == []


@pytest.mark.parametrize("form", KEY_FORMS)
def test_the_form_of_a_key_is_known_under_any_name(form: str) -> None:
    key = KEY_FORMS[form]
    for value in (key, f"use {key}, please", [key], {"deep": {"er": key}}, {key: 1}):
        shown = repr(SecretRedactor().value({"x": value}))
        assert "Ab3dEf6hAb3dEf6h" not in shown
        assert key not in shown


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("secret", ["hunter2hunter2", "Zm9vYmFyMDEyMzQ1Njc4OTAx"])
def test_what_stands_around_a_secret_gives_it_away(frame: str, secret: str) -> None:
    text = FRAMES[frame].format(secret)
    assert secret not in SecretRedactor().text(text)
    assert secret not in repr(SecretRedactor().value({"x": [text]}))
    assert secret not in PatternRedactor().text(text)[0]


PASSWORDS = st.text("abcXYZ019 '@/:!#$%^&*()+=~-_.", min_size=6, max_size=40)


@given(PASSWORDS.filter(lambda text: text.strip() == text and "://" not in text))
def test_any_password_of_a_url_is_hidden(secret: str) -> None:
    text = f"postgres://bob:x{secret}y@db.example.com:5432/churn"
    left = SecretRedactor().value(text)
    assert left == "postgres://[CREDENTIALS]@db.example.com:5432/churn"


@given(
    st.from_regex(
        r"x[a-z0-9]{1,3}([,;&\"']?[A-Za-z0-9!@#$%^*+~_./-][A-Za-z0-9()#]{0,8}){2,4}", fullmatch=True
    )
)
def test_a_password_without_blanks_is_hidden_to_its_end(secret: str) -> None:
    text = f"no login with password={secret} at the host"
    assert SecretRedactor().text(text) == "no login with password=[SECRET] at the host"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("connect(password=abc,host=db, n=1)", "connect(password=[SECRET],host=db, n=1)"),
        ("?password=abc&user=bob", "?password=[SECRET]&user=bob"),
        ('["password=abc","verbose"]', '["password=[SECRET]","verbose"]'),
        ("secret=False,verbose", "secret=False,verbose"),
        ("pat=[1, 2], pat=*.parquet", "pat=[1, 2], pat=*.parquet"),
        ("<token>word</token><key>amount</key>", "<token>word</token><key>amount</key>"),
        ("docker run -u 1000:1000 curl", "docker run -u 1000:1000 curl"),
        ("api_key=...", "api_key=..."),
    ],
)
def test_what_stands_beside_a_secret_or_only_looks_like_one_stays(text: str, shown: str) -> None:
    assert SecretRedactor().text(text) == shown


def test_a_value_decides_where_a_name_does_not() -> None:
    assert not is_secret("token", "<pad>")
    assert is_secret("token", "xk7Qz-19")
    assert not is_secret("pwd", "/home/ada")
    assert is_secret("pwd", "xk7Qz-19")
    assert is_secret("db_password", 271828)
    assert not is_secret("password", 8)
    assert is_secret("auth", ("bob", "xk7Qz-19"))
    assert is_secret("auth", "bob:xk7Qz-19")
    assert not is_secret("auth", "kerberos")


def test_the_value_of_a_flag_is_hidden_in_a_list_of_arguments() -> None:
    given = ["mysql", "--password", HELD, "--token", "--host", "db", "-x"]
    assert SecretRedactor().value(given) == [
        "mysql", "--password", "[SECRET]", "--token", "--host", "db", "-x",
    ]  # fmt: skip


@given(st.integers(10**12, 4 * 10**12 - 1))
def test_a_number_of_thirteen_digits_is_no_card(number: int) -> None:
    """Milliseconds since 1970 and ids of orders are: only Visa's have had thirteen, with a 4."""
    assert PatternRedactor().text(f"order {number}") == (f"order {number}", 0)
