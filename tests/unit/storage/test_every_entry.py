"""Whatever takes a URL reaches a bucket by Flyte's variables alone, and by Amazon's alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import s3fs
from flytekit.configuration import DataConfig

from support.s3 import S3Server
from support.storage_entries import LIBRARY, NODES, Entry, task_with
from support.store import Store


@pytest.fixture(params=["flyte_env", "fsspec_env"])
def bucket(
    request: pytest.FixtureRequest, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """A bucket that the environment alone leads to, by one family of variables."""
    store = s3.bucket(f"entry-{abs(hash(tmp_path)):x}")
    for name, value in getattr(s3, request.param).items():
        monkeypatch.setenv(name, value)
    # fsspec's file systems live as long as the process, with the keys that they found first
    s3fs.S3FileSystem.clear_instance_cache()
    return store


@pytest.mark.parametrize("entry", LIBRARY, ids=lambda each: each.__name__)
def test_in_a_notebook(entry: Entry, bucket: Store, tmp_path: Path) -> None:
    entry(bucket.root, tmp_path)


@pytest.mark.parametrize("entry", NODES, ids=lambda each: each.__name__)
def test_in_a_task(entry: Entry, bucket: Store, tmp_path: Path) -> None:
    with task_with(DataConfig.auto(), tmp_path):
        entry(bucket.root, tmp_path)


@pytest.mark.parametrize("entry", NODES, ids=lambda each: each.__name__)
def test_in_a_task_whose_store_only_a_config_file_of_flytekit_names(
    entry: Entry, s3: S3Server, tmp_path: Path
) -> None:
    store = s3.bucket(f"config-{abs(hash(tmp_path)):x}")
    config = tmp_path / "config.yaml"
    config.write_text(
        "storage:\n  connection:\n"
        f"    endpoint: {s3.endpoint}\n    access-key: loopback\n    secret-key: loopback\n"
    )
    with task_with(DataConfig.auto(str(config)), tmp_path):
        entry(store.root, tmp_path)
