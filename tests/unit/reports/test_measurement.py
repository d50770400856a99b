from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flytekitplugins.wbmon.reports.measurement import metric_part, number
from support.odd_names import ODD_NAMES

LETTERS = st.characters(codec=None) | st.sampled_from("~/. \\n2FE")
ANY_NAME = st.text(LETTERS, max_size=200)


@pytest.mark.parametrize(
    "name", ["amount", "net amount", "p95", "length (cm)", "réel", "gpt-4", "@"]
)
def test_an_ordinary_name_is_the_same_in_wandb(name: str) -> None:
    assert metric_part(name) == name


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("", "~empty"),
        ("gpt-4.1", "gpt-4~2E1"),
        ("/predict", "~2Fpredict"),
        ("a~2Fb", "a~7E2Fb"),
        (" a  b ", "~20a ~20b~20"),
        ("\u202e", "~E2~80~AE"),
        ("\ud83d", "~ED~A0~BD"),
    ],
)
def test_what_wandb_would_take_for_something_else_is_written_in_bytes(name: str, part: str) -> None:
    assert metric_part(name) == part


@given(ANY_NAME)
def test_a_part_can_be_read_seen_and_sent_and_is_not_long(name: str) -> None:
    part = metric_part(name)
    assert part.isprintable()
    assert part == part.strip()
    assert 0 < len(part) <= 100
    assert not set(part) & set('/.\\*"`<>')
    part.encode()


@given(ANY_NAME, ANY_NAME)
def test_two_names_are_two_parts(one: str, other: str) -> None:
    assume(one != other)
    assert metric_part(one) != metric_part(other)


@given(ANY_NAME)
def test_a_short_part_can_be_turned_back(name: str) -> None:
    part = metric_part(name)
    assume("~~" not in part and name)
    first, *rest = part.split("~")
    data = first.encode() + b"".join(bytes.fromhex(each[:2]) + each[2:].encode() for each in rest)
    assert data.decode("utf-8", "surrogatepass") == name


def test_no_odd_name_becomes_another_metric() -> None:
    assert len({metric_part(name) for name in ODD_NAMES.values()}) == len(ODD_NAMES)


def test_a_name_with_slashes_is_not_taken_for_several_parts() -> None:
    one, other = number("mean", "a/low", value=1), number("mean", "a", "low", value=1)
    assert one.metric != other.metric


def test_a_sentence_names_a_number_on_one_line() -> None:
    assert number("effect_size", "amount", value=1).told == "effect_size.amount"
    assert number("effect_size", "a\nb", value=1).told == r"effect_size.'a\nb'"
