"""What the prediction log reads of a body: no form of one carries a secret past the search."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest

from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.privacy.patterns import PatternRedactor
from flytekitplugins.wbmon.serving.adapters.bodies import Bodies, Body
from flytekitplugins.wbmon.serving.log.encode import RowEncoder
from flytekitplugins.wbmon.serving.log.request import Request

JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"
LOGIN = {"user": "bob", "password": 87654321, "keys": [{"api_key": ["hunter2", 5]}]}


def body(data: bytes, limit: int = 8_192) -> Body:
    kept = Body(limit)
    for start in range(0, len(data), 100):
        kept.add(data[start : start + 100])
    return kept


def content(data: bytes, kind: bytes = JSON, encoding: bytes = b"", limit: int = 8_192) -> Any:
    return body(data, limit).content(kind, encoding)


def logged(data: bytes, kind: bytes, encoding: bytes = b"", limit: int = 8_192) -> dict[str, Any]:
    """The row of a request with a body."""
    request = Request("r")
    request.bodies = Bodies(body(data, limit), (kind, encoding), Body(limit), (b"", b""))
    encoder = RowEncoder({}, Screen(PatternRedactor(), user_key=None, max_text=10_000))
    return dict(json.loads(encoder.prediction(request)))


def test_json_is_searched_by_name_and_stays_json() -> None:
    row = logged(json.dumps(LOGIN).encode(), JSON)
    assert json.loads(row["input_text"]) == {
        "user": "bob", "password": "[SECRET]", "keys": [{"api_key": "[SECRET]"}],
    }  # fmt: skip
    assert row["redactions"] == 2


def test_a_form_is_decoded_before_it_is_searched() -> None:
    form = b"email=a%40b.com&card=4111+1111+1111+1111&password=correct+horse&tag=a&tag=b"
    row = logged(form, FORM)
    assert json.loads(row["input_text"]) == {
        "email": "[EMAIL]", "card": "[CARD]", "password": "[SECRET]", "tag": ["a", "b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "form", [b"&".join(b"f%d=1" % i for i in range(5_000)), b"a=" + b"%25" * 200_000]
)
def test_of_a_long_form_no_more_is_decoded_than_a_log_can_keep(form: bytes) -> None:
    kept = body(form, 1_000_000)
    fields = kept.content(FORM)
    assert len(fields) <= 1_000
    assert sum(map(len, fields.values())) < 70_000
    assert kept.is_cut


def test_the_last_field_of_a_form_that_is_too_long_shows_no_half_of_a_secret() -> None:
    form = b"note=" + b"a " * 32_762 + b"%34111111111111111&x=1"
    assert "4111" not in content(form, FORM, limit=1_000_000)["note"]


def parts(boundary: str = "xyz") -> bytes:
    head = "Content-Disposition: form-data; name="
    fields = [
        f'{head}"password"\r\n\r\nhunter2 it is',
        f'{head}"note"\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n',
        f'{head}"photo"; filename="jane.doe.png"\r\nContent-Type: image/png\r\n\r\nPNGPNG',
    ]
    return "".join(f"--{boundary}\r\n{field}\r\n" for field in fields).encode() + b"--xyz--\r\n"


def test_of_a_form_in_parts_fields_are_kept_and_of_files_the_size() -> None:
    row = logged(parts(), b'multipart/form-data; boundary="xyz"')
    assert json.loads(row["input_text"]) == {
        "password": "[SECRET]", "note": "", "photo": "[image/png, 6 bytes]",
    }  # fmt: skip
    assert content(parts(), b"multipart/form-data") == f"[multipart, {len(parts())} bytes]"


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (b"gzip", gzip.compress(json.dumps(LOGIN).encode(), mtime=0)),
        (b"deflate", zlib.compress(json.dumps(LOGIN).encode())),
        (b"Deflate", zlib.compress(json.dumps(LOGIN).encode(), wbits=-15)),
        (b"identity", json.dumps(LOGIN).encode()),
    ],
)
def test_a_compressed_body_is_opened(encoding: bytes, packed: bytes) -> None:
    assert json.loads(content(packed, encoding=encoding)) == LOGIN


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, br", b"gzip"])
def test_what_cannot_be_opened_is_named_only(encoding: bytes) -> None:
    shown = f"[content-encoding {encoding.decode()}, 5 bytes]"
    assert content(b"\x0b\x02\x80hi", encoding=encoding) == shown


def test_a_body_that_becomes_large_when_it_is_opened_is_read_no_further_than_any_other() -> None:
    bomb = gzip.compress(b"word " * 20_000_000, compresslevel=1)
    packed = body(bomb, limit=len(bomb))
    tracemalloc.start()
    text = packed.content(b"text/plain", b"gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < len(text) <= len(bomb)
    assert packed.is_cut
    assert peak < 20 * len(bomb)


@pytest.mark.parametrize(
    ("charset", "written"),
    [
        (b"utf-16", "utf-16"), (b'"UTF-16LE"', "utf-16-le"), (b"latin-1", "latin-1"),
        (b"windows-1252", "cp1252"), (b"", "utf-8"), (b"punycode", "utf-8"), (b"none", "utf-8"),
        (b"", "utf-8-sig"), (b"", "utf-16"), (b"", "utf-16-le"), (b"", "utf-32-be"),
        (b"utf-8", "utf-16-be"), (b"utf-16-le", "utf-16"),
    ],
)  # fmt: skip
def test_text_is_read_in_its_alphabet(charset: bytes, written: str) -> None:
    kind = b"text/plain; charset=" + charset if charset else b"text/plain"
    assert content("schreib müller@example.de".encode(written), kind) == "schreib müller@example.de"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"note": "first", "password": "correct horse battery staple", "x": 1}', JSON),
        (b"note=first&password=correct+horse+battery+staple&x=1", FORM),
        (
            b"note: first, card 4111 1111 1111 1111 and mail jane.doe [at] example.com",
            b"text/plain",
        ),
        (
            parts().replace(b"hunter2 it is", b"correct horse battery staple"),
            b"multipart/form-data; boundary=xyz",
        ),
        (b"note eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0." + b"Ab3dEf6h" * 8, b""),
    ],
)
def test_a_body_that_is_cut_anywhere_shows_no_part_of_a_secret(data: bytes, kind: bytes) -> None:
    for limit in range(1, len(data)):
        row = logged(data, kind, limit=limit)
        shown = row["input_text"]
        assert row["truncated"]
        for piece in ("horse", "batt", "1111", "jane", "zdWI", "Ab3d", "hunter2"):
            assert piece not in shown, (limit, shown)


@pytest.mark.parametrize("data", [b"{", b'"text"', b"[1, 2", b"[" * 5_000, b"{}x"])
def test_what_is_called_json_and_is_none_is_text(data: bytes) -> None:
    assert content(data) == data.decode()
