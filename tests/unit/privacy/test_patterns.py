from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.errors import MissingExtraError
from flytekitplugins.wbmon.privacy.patterns import redact_value
from flytekitplugins.wbmon.serving import PatternRedactor, PresidioRedactor

A = "a"
# put together here, so that no scanner takes a test for a leak
SECRETS = {
    "email": [
        "me@x.com", "first.last+tag@sub.example.co.uk", "müller@exämple.de", "o'neil@example.org",
        "USER_99@EXAMPLE.IO", "me%40example.com", "名前@例え.jp",
    ],
    "phone": [
        "(555) 555-1234", "555-555-1234", "555.555.1234", "+1 555 555 1234", "+15555551234",
        "1-800-555-0199", "+44 20 7946 0958", "+49 (0)30 901820", "0171 1234567",
        "01 23 45 67 89", "0044 20 7946 0958", "+91-98765-43210", "+33 1 23 45 67 89",
        "020 7946 0958", "+86 138 0013 8000",
    ],
    "card": [
        "4111 1111 1111 1111", "4111111111111111", "5500-0000-0000-0004", "340000000000009",
        "3400 000000 00009", "6011000000000004", "2223003122003222",
    ],
    "iban": [
        "DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19",
        "FR14 2004 1010 0505 0001 3M02 606", "NL91ABNA0417164300",
    ],
    "id": [
        "078-05-1120", "078 05 1120", "AB 12 34 56 C", "AB123456C", "12345678Z", "X1234567L",
        "529.982.247-25", "1 85 05 78 006 084 91", "RSSMRA85T10A562S",
    ],
    "ip": ["10.1.2.3", "203.0.113.77", "2001:db8::1", "fe80::1ff:fe23:4567:890a"],
    "key": [
        f"sk-{A * 24}", f"sk-ant-api03-{A * 30}", f"sk-proj-{A * 30}", f"AKIA{'A' * 16}",
        f"ASIA{'B' * 16}", f"AIza{A * 35}", f"ghp_{A * 36}", f"github_pat_{A * 40}",
        f"glpat-{A * 20}", f"xoxb-{'1' * 12}-{A * 16}", f"hf_{A * 34}", f"gsk_{A * 40}",
        f"sk_live_{A * 24}", f"SG.{A * 22}.{A * 40}", f"wandb_v1_{A * 40}", f"npm_{A * 36}",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{A * 20}", f"ya29.{A * 30}",
        f"-----BEGIN {'PRIVATE'} KEY-----\nMIIB{A * 20}\n-----END {'PRIVATE'} KEY-----",
    ],
}  # fmt: skip
IN_CONTEXT = {
    "bearer": ("Authorization: Bearer abc.def-123456", "abc.def-123456"),
    "basic": ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    "url": ("postgres://bob:hunter2@db.example.com/x", "hunter2"),
    "password": ("password=hunter2", "hunter2"),
    "json": ('{"api_key": "hunter2hunter2"}', "hunter2hunter2"),
    "escaped": ('{"mail": "me\\u0040x.com"}', "me"),
    "azure": ("AccountKey=Zm9vYmFy0123456789==;", "Zm9vYmFy0123456789"),
}
HARMLESS = [
    "order 1700000000", "at 1700000000", "at 1700000000000 ms", "2024-01-15 10:22:33",
    "01.02.2024 12:30", "12/31/2024", "pixel 3.14159265358979", "price 12,345,678.90",
    "0192f0c4-7b1a-7c3d-8e4f-001122334455", "version 1.2.3", "at 12:30:45", "1,2,3,4,5,6,7,8",
    "[0.1234567, 0.7654321]", "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "1234 5678 9012 3456",
    "4111111111111112", "DE88 3704 0044 0532 0130 00", "12345678A", "000-12-3456",
    "tokens: 512", "basic training", "the bearer of bad news", "@home and a @ b", "5 @ 3 apples",
    "sku SKU-2024-000123", "ISBN 978-3-16-148410-0", "a::b", "std::vector", "C++ 20",
    "room 301-302", "chapter 7.3.2.1x", "40 000 000 people", "key: value", "f(x) = 2x + 10",
    "git commit 3f2a9c1", "row 00012345", "10:00-11:30", "mask 0xdeadbeef", "50% @ 3",
    "the password is long", "temperature -12.5 and 1013.25", "1e-10", "v2.0.0-rc.1",
]  # fmt: skip
CASES = [(kind, secret) for kind, secrets in SECRETS.items() for secret in secrets]
redactor = PatternRedactor()


@pytest.mark.parametrize(("kind", "secret"), CASES)
def test_it_is_hidden_wherever_it_stands(kind: str, secret: str) -> None:
    for frame in ("{}", "call {} now", "({})", '{{"a": "{}"}}', "x: {}.", "{}, and more"):
        left, n = redactor.text(frame.format(secret))
        assert secret not in left, (frame, left)
        assert n >= 1


@pytest.mark.parametrize("name", IN_CONTEXT)
def test_what_only_its_context_gives_away_is_hidden(name: str) -> None:
    text, secret = IN_CONTEXT[name]
    left, n = redactor.text(text)

    assert not re.search(rf"\b{re.escape(secret)}\b", left)
    assert n >= 1


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redactor.text(text) == (text, 0)


def test_precision_and_recall_on_the_labelled_list() -> None:
    found = sum(secret not in redactor.text(f"see {secret} there")[0] for _, secret in CASES)
    false = sum(redactor.text(text)[1] > 0 for text in HARMLESS)

    assert found / len(CASES) >= 0.98
    assert found / (found + false) >= 0.98


def test_nested_containers_are_redacted_everywhere_and_left_as_they_were() -> None:
    given = {
        "messages": [{"role": "user", "content": "I am me@x.com"}, ("10.1.2.3", 7, None)],
        "password": "hunter2",
        "to me@x.com": True,
        "raw": b"me@x.com",
    }
    left, n = redact_value(redactor, given)

    assert left == {
        "messages": [{"role": "user", "content": "I am [EMAIL]"}, ["[IP]", 7, None]],
        "password": "[SECRET]",
        "to [EMAIL]": True,
        "raw": "[EMAIL]",
    }
    assert n == 5
    assert given["password"] == "hunter2"  # noqa: S105 - planted


def test_a_container_without_end_is_cut_off() -> None:
    endless: list[object] = []
    endless.append(endless)

    assert "[too deep]" in str(redact_value(redactor, endless).value)


def test_a_text_without_anything_to_hide_is_the_same_text() -> None:
    text = "nothing to see, 42 times " * 100
    assert redactor.text(text) == (text, 0)


def test_a_hostile_text_does_not_take_long() -> None:
    for text in ("1 " * 20_000, "a.b-" * 20_000, "@" * 40_000, ":" * 40_000, "+(" * 20_000):
        redactor.text(text)


def test_further_patterns_can_be_given() -> None:
    own = PatternRedactor({"CUSTOMER": r"C-\d{6}"})
    assert own.text("C-123456 called") == ("[CUSTOMER] called", 1)


class Finding:
    def __init__(self, start: int, end: int, kind: str, score: float) -> None:
        self.start, self.end, self.entity_type, self.score = start, end, kind, score


KEYS = (
    r"AKIA[0-9A-Z]{16}",
    r"sk-proj-[A-Za-z0-9]{16,40}",
    r"ghp_[A-Za-z0-9]{16,40}",
    r"ya29\.[A-Za-z0-9]{20,40}",
    r"eyJ[A-Za-z0-9]{7,20}\.[A-Za-z0-9]{8,20}\.[A-Za-z0-9]{0,20}",
    r"-----BEGIN RSA PRIVATE KEY-----[a-z]{0,20}",
)
NUMBERS = ("+44 20 7946 0958", "4111 1111 1111 1111", "192.168.17.4", "2001:db8::8a2e:370:7334")
WORDS = st.text("abxyzé .,;:/%\n", max_size=40)


@given(WORDS, st.one_of([st.from_regex(key, fullmatch=True) for key in KEYS]), WORDS)
def test_a_key_is_hidden_whatever_stands_around_it(before: str, key: str, after: str) -> None:
    text, n = PatternRedactor().text(f"{before} {key} {after}")
    assert n >= 1
    assert key not in text


@given(WORDS, st.sampled_from(NUMBERS), WORDS)
def test_a_number_is_hidden_whatever_stands_around_it(before: str, number: str, after: str) -> None:
    text, n = PatternRedactor().text(f"{before} {number} {after}")
    assert n >= 1
    assert number not in text


class Analyzer:
    """Knows one name, as Presidio's engine would find it with a language model."""

    def analyze(self, *, text: str, language: str) -> list[Finding]:
        assert language == "en"
        at = text.find("Ada Lovelace")
        sure = [Finding(at, at + 12, "PERSON", 0.9), Finding(at, at + 3, "PERSON", 0.6)]
        return [*sure, Finding(0, 4, "DATE", 0.1)] if at >= 0 else []


def test_an_engine_for_names_can_take_over_after_the_patterns() -> None:
    text = PresidioRedactor(Analyzer()).text("ring Ada Lovelace at me@x.com")
    assert text == ("ring [PERSON] at [EMAIL]", 2)


def test_findings_that_overlap_leave_nothing_of_each_other() -> None:
    class Overlapping:
        supported_languages = ("de", "en")

        def analyze(self, *, text: str, language: str) -> list[Finding]:
            assert (text, language) == ("von Ada King Lovelace", "de")
            return [
                Finding(8, 21, "COMPANY", 0.6),
                Finding(4, 12, "PERSON", 0.9),
                Finding(0, 3, "TITLE", 0.5),
            ]

    redactor = PresidioRedactor(Overlapping(), language="de")
    assert redactor.text("von Ada King Lovelace") == ("[TITLE] [PERSON]", 2)


def test_without_presidio_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match="presidio"):
        PresidioRedactor()


@pytest.mark.parametrize(
    "before", ["服务器", "IPは", "내 IP는", "сервер", "ip:", "IP\uff1a", "src:", "peer_"]
)
@pytest.mark.parametrize("behind", ["", "无法访问", "です", "입니다", "。"])
@pytest.mark.parametrize("address", ["203.0.113.77", "2001:db8::7334", "2001:db8:1:2:3:4:a2e:7334"])
def test_an_address_is_known_beside_a_letter_of_another_language(
    before: str, behind: str, address: str
) -> None:
    assert PatternRedactor().text(f"{before}{address}{behind}")[1] == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("请拨打+86 138 0013 8000联系", "138"), ("我的电话是+8613800138000", "138"),
        ("电话13800138000", "138"), ("手机号13800138000吗", "138"),
        ("手机号码是13800138000", "138"),
        ("電話は+81 90-1234-5678です", "1234"), ("電話番号は090-1234-5678です", "1234"),
        ("전화는010-1234-5678입니다", "1234"), ("전화번호는 01012345678입니다", "1234"),
        ("SSN은536-22-8814입니다", "8814"),
    ],
)  # fmt: skip
def test_a_number_is_known_beside_a_letter_of_another_language(text: str, number: str) -> None:
    assert number not in PatternRedactor().text(text)[0]


@pytest.mark.parametrize(
    "text", ["lib_1.2.3.4.so", "std::a1b2::c", "v1.2.3.4", "版本1.2.3", "第13800138000号"]
)
def test_a_version_or_an_id_beside_a_letter_is_none(text: str) -> None:
    assert PatternRedactor().text(text) == (text, 0)
