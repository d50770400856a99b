"""The time that a text takes grows no faster than the text: `re` holds up all other threads."""

from __future__ import annotations

import base64
import importlib
import json
import pkgutil
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from flytekitplugins.wbmon import privacy
from flytekitplugins.wbmon.privacy.cut import cut_safely
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor, redact_value
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor
from support.hard_texts import hard_parts, repeated

SMALL, DOUBLINGS = 2_000, 3
# of quadratic work it would be 64
MOST = 2.2**DOUBLINGS
# on less than this the clock says nothing
LEAST_S = 2e-4
HOPELESS_S = 0.5
# these see a few letters only, or a whole value: whoever calls them searches no text with them
NEVER_SEARCHED = {
    "emails._NAME_BACKWARDS", "emails._WORDED_NAME", "cut._RUN_BACKWARDS", "cut._LAST_WORD",
    "secret_names._ACCESS_TOKEN", "secret_names._LOGIN_TEXT",
    "assigned_secrets._BLOCK", "assigned_secrets._WORD", "assigned_secrets._BEGINNING",
    "assigned_secrets._REST", "assigned_secrets._BEHIND_QUOTE",
    "secrets._PATH", "told_secrets._PASSWORD", "told_secrets._CODE", "secret_names._ENDING",
    "secret_names._LOGIN", "assigned_secrets._CODE_OR_FRACTION", "assigned_secrets._CODE",
    "assigned_secrets._WORDS", "assigned_secrets._TAGGED", "assigned_secrets._NUMBERS",
    "told_secrets._SEED", "told_secrets._TELLING",
}  # fmt: skip
PATTERNS = {
    f"{module.name}.{name}": value
    for module in pkgutil.iter_modules(privacy.__path__)
    for name, value in vars(importlib.import_module(f"{privacy.__name__}.{module.name}")).items()
    if isinstance(value, re.Pattern)
}
MOST_PARTS = 150
redactor = PatternRedactor()


def seconds(work: Callable[[Any], object], given: Any) -> float:
    began = time.thread_time()
    work(given)
    return time.thread_time() - began


def growth(work: Callable[[Any], object], make: Callable[[int], Any]) -> float:
    """By how much the time grows when the input is eight times as large; 0 if it takes no time.

    What grows too much is measured again, since a busy machine only adds to a time, and larger,
    since a bound within a pattern is reached at some thousand letters.
    """
    found = 0.0
    for size in (SMALL, SMALL, 4 * SMALL, 8 * SMALL):
        found, longest = _growth(work, make(size), make(size << DOUBLINGS))
        if found <= MOST or longest > HOPELESS_S:
            break
    return found


def _growth(work: Callable[[Any], object], small: Any, large: Any) -> tuple[float, float]:
    """The growth, and the time for the large input."""
    shortest, longest = float("inf"), float("inf")
    for _ in range(5):
        longest = min(longest, seconds(work, large))
        if longest < LEAST_S:
            return 0.0, longest
        shortest = min(shortest, *(seconds(work, small) for _ in range(3)))
        if longest <= MOST * shortest:
            break
    return longest / shortest, longest


def search(pattern: re.Pattern[Any]) -> Callable[[Any], object]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_is_linear_in_texts_made_of_its_own_parts(name: str) -> None:
    pattern = PATTERNS[name]
    work = pattern.fullmatch if name in NEVER_SEARCHED else search(pattern)
    is_bytes = isinstance(pattern.pattern, bytes)
    parts = hard_parts(pattern)
    for start, part in parts[:: 1 + len(parts) // MOST_PARTS]:

        def make(size: int, start: str = start, part: str = part) -> Any:
            text = repeated(start, part, size)
            return text.encode("latin-1", "replace") if is_bytes else text

        assert growth(work, make) <= MOST, (start, part)


def test_only_patterns_that_exist_are_never_searched() -> None:
    assert set(PATTERNS) >= NEVER_SEARCHED
    assert len(PATTERNS) > 60


PARTS = (
    "token='a ", "pwd='/a ", "pat='a ", 'token="a', "pat=a+", "token=a+", "token: [", "secret=\\",
    "password=", "password='", "password=[(", "pass='1 ", "'name': 'password', 'value': '",
    '"value": "a', "password is ", "password 'a ", "my pin ", "code: ", "user,password\n",
    "cookie:a;", "cookie=\n", "authorization: ", "digest username=", "--password ", "--a ",
    "auth=(", "curl -u a:", "login -p ", "name=a value=", 'form-data; name="a"\n', "<password>",
    "token\n  a [type=b, ", "'loc': ('a'), 'msg': '", "\\npassword\\n  a [type=a, input_value=",
    "://a:", "://a::/", "://a:b@c", "@a", "a@", "a@a.", "a at b dot ", "(at)a(dot)", "%40",
    "%2540", "&#64;", "\\u0040", "\\\\u", "\\", "eyJ-", "eyJa.", "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----", "AA11 ", "DE89 3704 ", "1 ", "1-", "+1", "(1", "4111 ",
    "4111\n", "4111111111111111 ", "1.1.", ":", "::1", "a:", "0f", "sk-", "[", "{", '"', "'",
    "phone: ", "account number 1 ", "routing 1 account ", "dob 1-", "password (a1", "1234 is your ",
    "token=`a", "token:**a", "token='\\'", "<th>token</th><td>", "<token>", "password is **A$",
    "pin for a ",
    "mnemonic ab ", "%22%3A", "%2522%253a", "&amp;", "$6$a$", "passphrase=ab ", "user,password\na,",
    "\n", " ", "a", "A", "7", "\u00e4", "\uff10", "\u200b", "a\u0301", "\u5bc6\u7801\uff1a",
    "\u7535\u8bdd1", "ip:2001:",
)  # fmt: skip
# what opens the gates for the patterns that are only searched if they may match
GATES = (
    " @a.b password=' token: x://y:z@w 1234 cookie: curl -u sig= bearer input_value= \n</a> "
    "value' key"
)


@pytest.mark.parametrize("part", PARTS)
def test_the_whole_redactor_is_linear(part: str) -> None:
    assert growth(redactor.text, lambda size: repeated("", part, size) + GATES) <= MOST


def test_the_whole_redactor_is_linear_in_texts_made_of_parts_of_its_patterns() -> None:
    parts = sorted({each for pattern in PATTERNS.values() for each in hard_parts(pattern)})
    for start, part in parts[:: len(parts) // 30]:

        def make(size: int, start: str = start, part: str = part) -> str:
            return repeated(start, part, size) + GATES

        assert growth(redactor.text, make) <= MOST, (start, part)


LARGE: dict[str, Callable[[int], Any]] = {
    "one word and an e-mail address": lambda n: "aB3-" * (n // 4) + " me@x.com",
    "an image": lambda n: base64.b64encode(bytes(range(256)) * (n // 300)).decode() + " @",
    "a list of names": lambda n: {"password": ["a"] * (n // 8), "x": [{"b": 1}] * (n // 8)},
    "numbers": lambda n: list(range(10**15, 10**15 + n // 4)),
    # of few kinds: what is known of a name is kept, for as many as there is room
    "names": lambda n: [{f"name_{i % 500}": i} for i in range(n // 16)],
    "JSON in JSON": lambda n: json.dumps({"b": json.dumps({"c": "\u00e4\\u0040" * (n // 12)})}),
    "nested": lambda n: "[" * n + "\\u0040",
    "base64 of JSON": lambda n: f"eyJ{'eyJh' * (n // 4)}",
}


@pytest.mark.parametrize("kind", LARGE)
def test_containers_and_large_values_are_redacted_in_linear_time(kind: str) -> None:
    assert growth(lambda value: redact_value(redactor, value), LARGE[kind]) <= MOST


@pytest.mark.parametrize("part", ["a", "1 ", "a@", "at ", "token='a "])
def test_cutting_and_the_hiding_of_known_secrets_are_linear(part: str) -> None:
    hidden = SecretRedactor(["hunter2-hunter2"])
    assert growth(hidden.text, lambda size: repeated("", part, size)) <= MOST
    assert (
        growth(
            lambda text: cut_safely(text, len(text) - 1), lambda size: repeated("", part, size * 8)
        )
        <= MOST
    )
