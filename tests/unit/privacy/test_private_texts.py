"""How much of what people send is hidden, and how much of the innocent is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flytekitplugins.wbmon.privacy.cut import cut_safely, without_cut_end
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, redact_value, redact_within
from support.private_texts import CARD, INNOCENT, PRIVATE

redactor = PatternRedactor()
# a sample of forms whose halves are still telling
CUT = (
    "mail", "mail with [at]", "mail with at and dot", "card", "card with dots", "IBAN", "jwt",
    "private key", "aws secret, named", "openai", "url", "slack hook", "phone", "JSON", "cookie",
    "prose, quoted", "basic auth", "azure storage", "prose, code first", "key behind an underscore",
    "bcrypt", "phone, named", "xml, escaped", "JSON in a URL",
)  # fmt: skip

# what stands beside them in a sentence, a log or in Markdown
AROUND = (
    "%.", "%, thanks", "(%)", "[%]", '"%"', "**%**", "`%`", "_%_", "Hi,\n%\nbye", "<p>%</p>",
    "note: %", "7,%,9", "🙂%🙂", "你好,%。", "% %",
)  # fmt: skip
BESIDE = (
    "mail with [at]", "mail with at and dot", "social security, named by a word", "PIN in a line",
    "aws", "github", "openai", "phone", "IBAN", "card", "JSON", "German, lautet", "Spanish prose",
    "prose, PIN", "French", "PESEL", "IMEI", "date of birth", "bcrypt", "prose, one-time",
)  # fmt: skip


def is_hidden(value: Any, secret: str) -> bool:
    left, n = redact_value(redactor, value)
    return n > 0 and secret not in str(left)


def test_nearly_all_that_is_private_is_hidden_and_nearly_all_that_is_not_is_kept() -> None:
    shown = {name for name, (value, secret) in PRIVATE.items() if not is_hidden(value, secret)}
    lost = {name for name, value in INNOCENT.items() if redact_value(redactor, value).n}

    assert len(PRIVATE) > 300
    assert len(shown) <= 0.015 * len(PRIVATE), shown
    assert len(INNOCENT) > 170
    assert len(lost) <= 0.015 * len(INNOCENT), lost


@pytest.mark.parametrize("around", AROUND)
def test_what_stands_around_a_secret_does_not_show_it(around: str) -> None:
    for name in BESIDE:
        text, secret = PRIVATE[name]
        assert is_hidden(around.replace("%", text), secret), name


def test_what_is_innocent_is_kept_as_it_was_written() -> None:
    for value in INNOCENT.values():
        left, n = redact_value(redactor, value)
        if not n:
            assert left == value


@pytest.mark.parametrize("name", CUT)
def test_a_text_that_is_cut_anywhere_shows_no_part_of_a_secret(name: str) -> None:
    text, secret = PRIVATE[name]
    secret = secret[:4]
    before = "this is a note. "
    whole = f"{before}{text} and more to read behind it"
    for limit in range(len(whole)):
        shown, _, was_cut = redact_within(redactor, whole, limit=limit)
        assert was_cut
        assert len(shown) <= max(limit, 40) + 40
        assert secret not in shown, (limit, shown)
        if limit < len(before + text):
            assert secret not in redactor.text(without_cut_end(whole[:limit]))[0]


def test_a_text_that_is_short_enough_is_not_cut() -> None:
    assert cut_safely("mail me@x.com", 13) == "mail me@x.com"
    assert redact_within(redactor, "mail me@x.com", limit=13) == ("mail [EMAIL]", 1, False)


def test_containers_are_followed_as_far_as_there_is_room() -> None:
    value = {"a": ["me@x.com"] * 3, "b": {"c": "word " * 100}, "d": 1}
    left, n, was_cut = redact_within(redactor, value, limit=50)
    assert left == {
        "a": ["[EMAIL]"] * 3, "b": {"c": "word word word [...]"}, "[...]": "[...]",
    }  # fmt: skip
    assert (n, was_cut) == (3, True)
    assert redact_within(redactor, list(range(100)), limit=10).value == [*range(10), "[...]"]


def test_a_container_of_any_size_costs_what_the_limit_allows() -> None:
    class Endless(dict[str, int]):
        read = 0

        def items(self) -> Any:
            while True:
                Endless.read += 1
                yield f"n{Endless.read}", 1

    left, _, was_cut = redact_within(redactor, Endless(), limit=100)
    assert was_cut
    assert len(left) < 100
    assert Endless.read < 200


def test_a_large_array_is_named_and_not_read() -> None:
    numpy = pytest.importorskip("numpy")
    image = numpy.zeros((100, 100))
    assert redact_within(redactor, [image], limit=1_000) == (["[ndarray ...]"], 0, True)
    small = numpy.zeros(3)
    assert redact_within(redactor, small, limit=1_000)[0] is small


@pytest.mark.parametrize("value", [int(CARD), float(CARD), [int(CARD)], {int(CARD): 1}])
def test_a_number_may_be_a_card(value: Any) -> None:
    assert "[CARD]" in str(redact_value(redactor, value).value)


@pytest.mark.parametrize("value", [int(CARD) + 1, 1e300, float("nan"), -int(CARD), True, 10**18])
def test_any_other_number_stays(value: Any) -> None:
    assert redact_value(redactor, value).n == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("birth_date", "1944-05-14"), ("birthDate", "14.05.1944"), ("national_id", "S1234567D"),
        ("nationalId", "0101006500006"), ("tax_id", "12-3456789"), ("taxId", "86095742719"),
        ("personnummer", "811228-9874"), ("nric", "S1234567D"), ("account_no", "55779911"),
        ("accountNo", "55779911"), ("mobileNumber", "07911123456"), ("mobile_no", "07911123456"),
        ("cellphone", "07911123456"), ("sort_code", "200000"), ("imei", "490154203237518"),
        ("auth", "Qz7-S3same0penXw9"), ("REDIS_AUTH", "Qz7-S3same0penXw9"), ("csrf", "a1" * 8),
        ("connect.sid", "s:a1b2c3d4e5f6"), ("mnemonic", "apple bridge canal donkey"),
        ("clave", "Hunter2zz"), ("pesel", "44051401359"), ("drivers_license", "D1234567"),
    ],
)  # fmt: skip
def test_a_name_is_known_in_a_text_as_it_is_in_a_container(name: str, value: str) -> None:
    assert is_hidden({"a": 1, name: value}, value)
    for text in (json.dumps({"a": 1, name: value}), f"{name}: '{value}'"):
        assert is_hidden(text, value)


@pytest.mark.parametrize(
    "name",
    [
        "signed", "section", "ZIP+4", "getter of a name", "getter of keys", "getter of a lexer",
        "config", "type of a flag", "granted",
    ],
)  # fmt: skip
def test_numbers_and_code_that_only_look_like_something_are_kept(name: str) -> None:
    assert redact_value(redactor, INNOCENT[name]) == (INNOCENT[name], 0)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32-le"])
def test_bytes_are_read_in_their_encoding(encoding: str) -> None:
    body = '{"password": "correct horse", "n": "é"}'.encode(encoding)
    left, n = redact_value(redactor, {"body": body})
    assert (n, "horse" in str(left).replace("\0", "")) == (1, False)


@pytest.mark.parametrize("text", ["+1.5555551234", "password=FBHbOF(tJTP", "password=xaAA("])
def test_what_looks_like_a_fraction_or_code_but_is_none_is_hidden(text: str) -> None:
    assert redactor.text(text)[1] == 1


@pytest.mark.parametrize("name", [name for name in PRIVATE if "PIN" in name])
def test_a_pin_is_hidden_in_any_language(name: str) -> None:
    assert is_hidden(*PRIVATE[name])
