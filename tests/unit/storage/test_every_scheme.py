"""Whatever takes a URL works in each store alike; S3 is in `test_every_entry`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import adlfs
import gcsfs
import pytest
from flytekit.configuration import DataConfig

from flytekitplugins.wbmon.storage.compare_and_swap import is_guarded
from flytekitplugins.wbmon.storage.filesystem import open_filesystem
from support.azure import azure_server
from support.gcs import gcs_server
from support.objects import Buckets
from support.storage_entries import LIBRARY, NODES, Entry, task_with

Stores = dict[str, tuple[dict[str, str], Buckets]]

GUARDED = {"file": True, "gs": False, "abfs": False, "memory": False}
"""Which store refuses one of two writers; docs/alerts.md says so of the alert memory."""


@pytest.fixture(scope="module")
def stores() -> Iterator[Stores]:
    with gcs_server() as google, azure_server() as azure:
        yield {"gs": google, "abfs": azure}


@pytest.fixture(params=GUARDED)
def url(
    request: pytest.FixtureRequest,
    stores: Stores,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A folder that nobody has written to, which the environment alone leads to."""
    scheme: str = request.param
    if scheme == "file":
        return (tmp_path / "store").as_uri()
    name = f"bucket-{abs(hash(tmp_path)):x}"
    if scheme in stores:
        environment, buckets = stores[scheme]
        buckets.objects[name] = {}
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        # fsspec's file systems live as long as the process, with the settings found first
        for kind in (gcsfs.GCSFileSystem, adlfs.AzureBlobFileSystem):
            kind.clear_instance_cache()
    return f"{scheme}://{name}/monitors"


@pytest.mark.parametrize("entry", LIBRARY, ids=lambda each: each.__name__)
def test_in_a_notebook(entry: Entry, url: str, tmp_path: Path) -> None:
    entry(url, tmp_path)


@pytest.mark.parametrize("entry", NODES, ids=lambda each: each.__name__)
def test_in_a_task(entry: Entry, url: str, tmp_path: Path) -> None:
    with task_with(DataConfig.auto(), tmp_path):
        entry(url, tmp_path)


def test_which_store_refuses_one_of_two_writers(url: str) -> None:
    files, _ = open_filesystem(url)
    assert is_guarded(files) is GUARDED[url.partition(":")[0]]
