from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytekitplugins.wbmon.storage.segments.json_lines import read_lines, to_line, well_formed

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**200), 2**200),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=8,
)
rows = st.lists(st.dictionaries(texts, values, max_size=4), max_size=5)


@given(rows)
def test_rows_of_json_are_read_back_as_they_are(written: list[dict[str, Any]]) -> None:
    found = read_lines(b"".join(map(to_line, written)))

    assert (found.rows, found.n_torn) == (written, 0)


@given(rows, st.data())
def test_a_file_that_ends_anywhere_has_its_whole_lines(
    written: list[dict[str, Any]], data: st.DataObject
) -> None:
    whole = b"".join(map(to_line, written))
    cut = data.draw(st.integers(0, len(whole)))
    found = read_lines(whole[:cut])

    assert found.rows == written[: whole[:cut].count(b"\n")]
    assert found.n_torn == (cut > 0 and whole[cut - 1 : cut] != b"\n")


@given(st.text(st.characters(), max_size=20))
def test_a_text_with_halves_of_surrogate_pairs_becomes_what_a_reader_of_json_can_encode(
    text: str,
) -> None:
    mended = well_formed(text)

    assert mended.encode().decode() == mended
    assert well_formed(mended) == mended
    assert [each for each in mended if each != "\ufffd"] == [
        each
        for each in json.loads(json.dumps(text))
        if not "\ud800" <= each <= "\udfff" and each != "\ufffd"
    ]


@pytest.mark.parametrize(
    ("line", "is_row"),
    [
        (b'{"a": 1}', True),
        (b'{"a": 1', False),
        (b"[1]", False),
        (b"null", False),
        (b"\xff\xfe", False),
        (b"[" * 100_000, False),
        (b'{"a": ' + b"9" * 5000 + b"}", False),
        (b"", None),
    ],
)
def test_a_line_that_is_no_row_is_counted_and_the_next_one_read(
    line: bytes, is_row: bool | None
) -> None:
    found = read_lines(line + b'\n{"next": true}\n')

    assert found.rows[-1] == {"next": True}
    assert len(found.rows) == 1 + bool(is_row)
    assert found.n_torn == (is_row is False)
