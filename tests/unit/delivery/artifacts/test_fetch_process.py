"""What the process that downloads takes for the file, and what it tells of an error."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flytekitplugins.wbmon.delivery.artifacts import fetch_process
from flytekitplugins.wbmon.delivery.artifacts.fetch_process import ANSWER, require_content
from flytekitplugins.wbmon.errors import PublishError

CONTENT = b"a record"
MD5 = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()


def entry(**changes: Any) -> Any:
    """A file in wandb's manifest."""
    told = {"path": "one.wbmon-profile", "digest": MD5, "size": len(CONTENT), "extra": {}}
    return SimpleNamespace(**{**told, **changes})


class RaisedError(Exception):
    """An error as wandb and requests raise them."""

    def __init__(self, *, exc: Exception | None = None, **response: int) -> None:
        super().__init__("no")
        self.exc = exc
        self.response = SimpleNamespace(**response) if response else None


def because(cause: Exception) -> Exception:
    """An error that was raised for another."""
    error = ValueError("no")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "told", [{}, {"size": None}, {"extra": {"alg": "MD5"}}, {"extra": {"alg": "X"}, "digest": "x"}]
)
def test_the_content_that_the_manifest_tells_of_is_taken(told: dict[str, Any]) -> None:
    require_content(CONTENT, entry(**told))


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], b"<html>log in</html>", b"a_record"])
def test_another_content_is_told_from_it(content: bytes) -> None:
    with pytest.raises(PublishError, match=r"one\.wbmon-profile must have the content that the"):
        require_content(content, entry())


@pytest.mark.parametrize(
    "told", [{"digest": MD5, "size": None}, {"digest": "x", "extra": {"alg": "XXH128"}}]
)
def test_a_page_is_told_by_what_the_manifest_has(told: dict[str, Any]) -> None:
    with pytest.raises(PublishError):
        require_content(b"<html>log in</html>", entry(**told))


@pytest.mark.parametrize(
    ("error", "is_final"),
    [
        (RaisedError(status_code=403), True),
        (RaisedError(http_status=404), True),
        (RaisedError(exc=RaisedError(http_status=401)), True),
        (because(because(RaisedError(status_code=410))), True),
        (because(RaisedError(exc=because(RaisedError(http_status=400)))), True),
        *((RaisedError(status_code=status), False) for status in (0, 200, 302, 407, 408, 429, 503)),
        (RaisedError(), False),
        (ConnectionResetError(), False),
        (because(because(ValueError("403"))), False),
    ],
)
def test_a_refusal_is_found_behind_the_error_that_wandb_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, is_final: bool
) -> None:
    def raise_it(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(fetch_process, "_find", raise_it)
    fetch_process.main(str(tmp_path), "ops/payments/x:y", ".wbmon-profile", "5", "key")
    answer = json.loads((tmp_path / ANSWER).read_text())
    assert answer == {
        "failed": f"{type(error).__name__}: {error}", "is_found": False, "is_final": is_final,
    }  # fmt: skip


def test_errors_that_name_each_other_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RaisedError()
    error.exc = RaisedError(exc=error)

    def raise_it(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(fetch_process, "_find", raise_it)
    fetch_process.main(str(tmp_path), "ops/payments/x:y", ".wbmon-profile", "5", "key")
    assert json.loads((tmp_path / ANSWER).read_text())["is_final"] is False
