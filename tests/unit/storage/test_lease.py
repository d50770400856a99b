"""A lease has one holder, for a while."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fsspec import filesystem
from fsspec.implementations.memory import MemoryFileSystem

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


def test_a_lease_is_extended_in_the_second_half_of_its_time(place: Place) -> None:
    files, path = place
    held = Lease.acquire(files, path, seconds=2)
    assert held is not None
    first = json.loads(files.cat_file(path))["until"]
    held.extend()
    assert json.loads(files.cat_file(path))["until"] == first
    time.sleep(1.1)
    held.extend()
    assert json.loads(files.cat_file(path))["until"] > first + 0.5
    assert Lease.acquire(files, path, seconds=60) is None


def test_who_lost_a_lease_learns_so_when_it_is_extended(place: Place) -> None:
    late = Lease.acquire(*place, seconds=0)
    other = Lease.acquire(*place, seconds=60)
    assert late is not None
    assert other is not None
    with pytest.raises(LeaseLostError, match="somebody else has taken it"):
        late.extend()
    assert other.is_held


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
