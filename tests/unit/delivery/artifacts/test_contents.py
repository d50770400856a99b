"""Which file of an artifact is the record."""

from __future__ import annotations

from typing import Any

import pytest

from flytekitplugins.wbmon.delivery.artifacts.contents import ArtifactFile, only_record_file
from flytekitplugins.wbmon.errors import DataError

ENDING = ".wbmon-profile"


def choose(*paths: str, **changes: Any) -> str:
    files = [
        ArtifactFile(path=path, **{"n_bytes": 5, "is_reference": False, **changes})
        for path in paths
    ]
    return only_record_file("ops/p/x:a", files, ENDING)


def test_the_only_file_and_the_only_one_of_its_kind_are_the_record() -> None:
    assert choose("payments-profile") == "payments-profile"
    assert choose("README.md", "in/x.wbmon-profile", "x.wbmon-driftreport") == "in/x.wbmon-profile"


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ((), "found 0: none"),
        (("a", "b"), "found 2: 'a', 'b'"),
        (("a.wbmon-profile", "b.wbmon-profile", "c"), "found 2: 'a.wbmon-profile', 'b.wbmon"),
        (tuple(map(str, range(100))), "found 100: '0', "),
    ],
)
def test_none_or_several_are_refused(paths: tuple[str, ...], found: str) -> None:
    with pytest.raises(DataError, match="must have exactly one file") as error:
        choose(*paths)
    assert found in str(error.value)
    assert len(str(error.value)) < 500


def test_what_cannot_be_taken_is_refused_before_it_is_downloaded() -> None:
    with pytest.raises(DataError, match="a reference to a URL"):
        choose("x", is_reference=True)
    with pytest.raises(DataError, match="at most 268435456 bytes, got 268435457"):
        choose("x", n_bytes=2**28 + 1)
    for path in ("/etc/x", "../x", "a/../../x"):
        with pytest.raises(DataError, match="must be the path of a file in the artifact"):
            choose(path)
