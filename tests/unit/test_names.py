from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flytekitplugins.wbmon.names import listed_names, on_one_line, quoted_name, shown_name
from support.odd_names import ODD_NAMES

ANY_NAME = st.text(st.characters(codec=None), max_size=200)


@pytest.mark.parametrize(
    "name", ["amount", "net amount", "length (cm)", "prix réel", "it's", "a.b"]
)
def test_an_ordinary_name_is_told_as_it_is(name: str) -> None:
    assert shown_name(name) == name


@pytest.mark.parametrize(
    ("name", "told"),
    [("", "''"), (" ", "' '"), ("a\nb", r"'a\nb'"), ("'a'", "\"'a'\""), ("\u202ea", r"'\u202ea'")],
)
def test_what_would_be_invisible_or_break_the_line_is_quoted(name: str, told: str) -> None:
    assert shown_name(name) == told


@given(ANY_NAME)
def test_every_name_is_told_on_one_line_that_can_be_written(name: str) -> None:
    for told in (shown_name(name), quoted_name(name)):
        assert told.isprintable()
        assert 0 < len(told) <= 80
        told.encode()


def test_no_two_names_are_told_alike() -> None:
    for tell in (shown_name, quoted_name, lambda name: shown_name(name, 24)):
        assert len({tell(name) for name in ODD_NAMES.values()}) == len(ODD_NAMES)


@given(ANY_NAME)
@example("a\r\nb\u2028c")
def test_a_text_on_one_line_keeps_all_that_can_be_seen(text: str) -> None:
    assert on_one_line(text).isprintable()
    if text.isprintable():
        assert on_one_line(text) == text


def test_a_list_of_names_says_that_it_goes_on() -> None:
    assert listed_names([]) == "none"
    assert listed_names(["a", 1, ""]) == "'a', 1, ''"
    assert listed_names(map(str, range(20))).endswith("'19'")
    assert listed_names(map(str, range(21))).endswith("'19', …")


def test_a_number_that_python_does_not_write_is_told_too() -> None:
    assert quoted_name(10**20) == str(10**20)
    assert quoted_name(10**5000).startswith("0x31e2")
    assert listed_names([10**5000]).startswith("0x31e2")
