"""Where a task keeps what it could not deliver."""

from __future__ import annotations

from pathlib import Path

import pytest

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.identity import TaskIdentity
from flytekitplugins.wbmon.run.offline_store import store_url


def test_a_path_is_made_absolute_and_a_url_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("runs", "a::b", "rel/s3://runs"):
        assert store_url(path, TaskIdentity()) == str(tmp_path / path)
    for url in ("s3://bucket/runs", "file:///mnt/runs", ""):
        assert store_url(url, TaskIdentity()) == url


def test_a_scheme_that_nobody_speaks_is_refused_before_anything_is_to_be_kept() -> None:
    with pytest.raises(ConfigError, match="'S3'; write s3://"):
        store_url("S3://bucket/runs", TaskIdentity())
