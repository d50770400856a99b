"""What is assigned to the name of a secret is hidden whole, whatever it holds and stands in."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.privacy.patterns import PatternRedactor

WORD_HELD = "Wq7-S3same0pen"
redactor = PatternRedactor()

HELD = st.dictionaries(
    st.sampled_from(["user", "host", "a b", "it's", 'say "x"', "end\\"]),
    st.sampled_from(["admin", "db1, it", "x\\", "a: b", '"', "{}"]),
    max_size=3,
)
AROUND = ("{}", "{}\n{}", "data: {}\n\n", "aws said {} back", "RuntimeError('bad answer: {}')")


@given(HELD, st.integers(0, 3), st.sampled_from(AROUND))
def test_a_secret_that_is_json_is_hidden_to_its_end(
    held: dict[str, str], depth: int, around: str
) -> None:
    text = json.dumps({"SecretString": json.dumps({**held, "v": WORD_HELD}), "kept": "last"})
    for _ in range(depth):
        text = json.dumps({"arguments": text, "n": 1})
    left, n = redactor.text(around.replace("{}", text))
    assert n
    assert WORD_HELD not in left
    assert "last" in left


def test_what_stands_behind_a_secret_in_quotes_stays() -> None:
    for secret in ("x1\\", 'x1"', "x1\\\\", "x1'", "[x1", "{x1", 'x1", "y'):
        text = json.dumps({"a": json.dumps({"password": secret, "user": "joe"})})
        assert json.loads(json.loads(redactor.text(text)[0])["a"]) == {
            "password": "[SECRET]", "user": "joe",
        }  # fmt: skip


SIGNS = "!#$%*+-./:=?@^_|~"
WORD = st.text(string.ascii_letters + string.digits + SIGNS, min_size=2, max_size=5)
LINES = ("password: {}", "a: b\npassword: {}\nz: 1", "DB_PASSWORD={}\nZ=1", "X-Api-Key: {}\r\nA: b")


@given(
    st.lists(WORD, min_size=2, max_size=4),
    st.sampled_from([*"[]{}()", "](", "}]", ",]", "};", "&{"]),
    st.sampled_from(LINES),
)
def test_a_password_with_brackets_is_hidden_to_the_blank(
    words: list[str], bracket: str, line: str
) -> None:
    # letters first and last, or it may be the end of what it stands in
    password = "x" + f"q{bracket}q".join(words) + "x"
    left = redactor.text(line.replace("{}", password))[0]
    assert password[-4:] not in left
    assert not any(len(word) > 3 and word in left for word in words)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{user: a, password: b2cd}, next", "{user: a, password: [SECRET]}, next"),
        ("{password: ab1},{password: cd2}", "{password: [SECRET]},{password: [SECRET]}"),
        ("[password=abc] said: no", "[password=[SECRET]] said: no"),
        ("Pwd=U&0s!f3[PAxKzRHB;Db=z", "Pwd=[SECRET];Db=z"),
        ("password: {a: b, c: d} tail", "password: [SECRET] tail"),
        ("password: [ab]cdef12 tail", "password: [SECRET] tail"),
        ("<p>password: ab1</p>", "<p>password: [SECRET]</p>"),
        ("use `api_key=` or `token=`", "use `api_key=` or `token=`"),
        ("password: “S3 same 0pen”", "password: “[SECRET]”"),
        ("the password is „S3 same 0pen“", "the password is „[SECRET]“"),
        ("le mot de passe : « S3 same 0pen »", "le mot de passe : « [SECRET]»"),
        ("my password is J&+ZtoBX{hNLc|yS!", "my password is [SECRET]"),
        ("<a>1</a><password>x&lt;y/z</password>", "<a>1</a><password>[SECRET]</password>"),
    ],
)
def test_a_password_ends_where_what_it_stands_in_goes_on(text: str, shown: str) -> None:
    assert redactor.text(text)[0] == shown


MARKED = (
    "**{}:** {}", "**{}**: {}", "- **{}**: `{}`", "`{}`: `{}`", "*{}*: *{}*", "__{}__: {}",
    "1. **{}:** `{}`\n2. **Region:** eu", "{}:\n```\n{}\n```", "{}: ```{}```", "**{}** = {}",
    "<b>{}:</b> {}", "<strong>{}</strong>: {}", "<li><b>{}</b>: <code>{}</code></li>",
    "<tr><th>{}</th><td>{}</td></tr>", '<td class="a">{}</td>\n<td class="b">{}</td>',
    "<dt>{}</dt><dd>{}</dd>", "<dt><b>{}</b></dt>\n<dd>{}</dd>", "<label>{}</label>: {}",
)  # fmt: skip


@pytest.mark.parametrize("form", MARKED)
@pytest.mark.parametrize(
    ("name", "secret"),
    [("Password", WORD_HELD), ("API key", WORD_HELD), ("PIN", "4921"), ("SSN", "536228814")],
)
def test_bold_code_and_html_hide_no_name(form: str, name: str, secret: str) -> None:
    assert secret not in redactor.text(form.format(name, secret))[0]


@pytest.mark.parametrize(
    "text",
    [
        f"*password* is *{WORD_HELD}*", f"the `password` is `{WORD_HELD}`",
        f"my&nbsp;password&nbsp;is&nbsp;{WORD_HELD}",
        f"<name>db.password</name>\n  <value>{WORD_HELD}</value>",
        f"<key>password</key><string>{WORD_HELD}</string>",
        f"<password><value>{WORD_HELD}</value></password>",
        f"<credentials><user>a</user><pw>{WORD_HELD}</pw></credentials>",
        "<b>Phone:</b> 07911123456", "<td>PESEL</td><td>44051401359</td>",
        "<th>Date of birth</th><td>14.05.1944</td>",
    ],
)  # fmt: skip
def test_markup_within_a_sentence_or_around_a_value_hides_none(text: str) -> None:
    left, n = redactor.text(text)
    assert n
    assert not any(each in left for each in (WORD_HELD, "07911123456", "44051401359", "1944"))
