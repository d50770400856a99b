"""A lease has one holder, for a while."""

from __future__ import annotations

import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fsspec import filesystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from flytekitplugins.wbmon.storage.lease import Lease, LeaseLostError
from support.child import run_python

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from support.s3 import S3Server

Place = tuple["AbstractFileSystem", str]

CONTEND = """
import json, sys, time
from fsspec import filesystem
from flytekitplugins.wbmon.storage.lease import Lease

files, won = filesystem("file"), []
time.sleep(max(0, {at} - time.time()))
for number in range(20):
    if Lease.acquire(files, f"{path}/{{number}}.json", seconds=60):
        won.append(number)
print(json.dumps(won))
"""


@pytest.fixture(params=["disk", "s3", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A file on a local disk, on S3, or on what tells no two writers apart."""
    if request.param == "disk":
        return filesystem("file"), str(tmp_path / "lease.json")
    if request.param == "memory":
        MemoryFileSystem.store.clear()
        return MemoryFileSystem(), "/folder/lease.json"
    server: S3Server = request.getfixturevalue("s3")
    for name, value in server.bucket("leases").env.items():
        if name.startswith("FLYTE_AWS"):
            monkeypatch.setenv(name, value)
    return open_filesystem(f"s3://leases/{tmp_path.name}/lease.json")


def test_a_lease_has_one_holder_until_it_is_given_back(place: Place) -> None:
    held = Lease.acquire(*place, seconds=60)
    assert held is not None
    assert held.is_held
    assert Lease.acquire(*place, seconds=60) is None
    held.release()
    assert not place[0].exists(place[1])
    assert Lease.acquire(*place, seconds=60) is not None


def test_the_lease_of_a_dead_holder_ends_by_itself(place: Place) -> None:
    dead = Lease.acquire(*place, seconds=-1)
    after = Lease.acquire(*place, seconds=60)
    assert dead is not None
    assert after is not None
    assert not dead.is_held
    dead.release()
    assert after.is_held, "who lost the lease cannot give it back"


def test_a_lease_is_kept_while_its_holder_lives(place: Place) -> None:
    files, path = place
    held = Lease.acquire(files, path, seconds=0.8)
    assert held is not None
    first = held.held_until
    with held.renewed():
        for _ in range(3):
            time.sleep(0.5)
            assert Lease.acquire(files, path, seconds=60) is None
            held.check()
    assert held.held_until > first + 0.5
    time.sleep(1)
    with pytest.raises(LeaseLostError, match="somebody else may have taken it"):
        held.check()
    assert Lease.acquire(files, path, seconds=60) is not None


@pytest.mark.parametrize("skew_s", [-7200, 7200])
def test_a_clock_that_is_wrong_takes_no_lease_of_a_living_holder_and_waits_for_no_dead_one(
    place: Place, skew_s: float
) -> None:
    files, path = place

    def as_seen_by_another() -> None:  # whose clock differs by so much
        content = json.loads(files.cat_file(path))
        files.pipe_file(path, json.dumps({**content, "until": time.time() - skew_s}).encode())

    held = Lease.acquire(files, path, seconds=2)
    assert held is not None
    as_seen_by_another()
    with held.renewed():
        assert Lease.acquire(files, path, seconds=2) is None
        held.check()
    as_seen_by_another()
    assert Lease.acquire(files, path, seconds=2) is not None


def test_who_lost_a_lease_learns_so(place: Place) -> None:
    late = Lease.acquire(*place, seconds=0)
    other = Lease.acquire(*place, seconds=60)
    assert late is not None
    assert other is not None
    for asked in (late.check, late.renew):
        with pytest.raises(LeaseLostError, match="somebody else may have taken it"):
            asked()
    assert other.is_held


def test_a_holder_that_is_cut_off_from_the_store_stops_before_another_may_begin(
    tmp_path: Path,
) -> None:
    class CutOff(LocalFileSystem):
        def cat_file(self, *_: object, **__: object) -> bytes:
            raise OSError("no route to the store")

    path = str(tmp_path / "lease.json")
    held = Lease.acquire(filesystem("file"), path, seconds=1)
    assert held is not None
    until = json.loads(Path(path).read_text())["until"]
    held._files = CutOff(skip_instance_cache=True)
    with held.renewed():
        assert time.time() + held.held_until - time.monotonic() < until - 0.2
        time.sleep(max(0, held.held_until - time.monotonic()))
        with pytest.raises(LeaseLostError):
            held.check()
        assert time.time() < until


odd_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(
    st.binary(max_size=40)
    | st.fixed_dictionaries(
        {}, optional={"token": odd_json, "until": odd_json, "seconds": odd_json}
    ).map(lambda content: json.dumps(content).encode())
)
@example(b"[" * 100_000)
@example(b'{"until": 1e999, "seconds": 1e999}')
@example(b'{"until": 1' + b"0" * 400 + b"}")
def test_a_lease_of_any_content_is_held_or_over(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("flytekitplugins.wbmon.storage.lease._WATCHED_FOR", 0.0001)
        path = Path(folder, "lease.json")
        path.write_bytes(content)
        lease = Lease.acquire(filesystem("file"), str(path), seconds=60)
        assert lease is None or lease.is_held


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7"])
def test_half_a_lease_is_none(place: Place, content: bytes) -> None:
    place[0].makedirs(place[1].rpartition("/")[0], exist_ok=True)
    place[0].pipe_file(place[1], content)
    assert Lease.acquire(*place, seconds=60) is not None


def test_of_two_processes_that_ask_at_the_same_moment_one_gets_it(tmp_path: Path) -> None:
    for name in ("a", "b", "leases"):
        (tmp_path / name).mkdir()
    for number in range(20):  # those of dead holders
        dead = {"token": "dead", "until": 0}
        (tmp_path / "leases" / f"{number}.json").write_text(json.dumps(dead))
    code = CONTEND.format(at=time.time() + 3, path=tmp_path / "leases")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: run_python(code, home=tmp_path / name), ("a", "b")))
    won = [json.loads(each.stdout) for each in done]
    assert sorted(won[0] + won[1]) == list(range(20))
