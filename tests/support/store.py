"""Where pods read and write: any folder or bucket, with what a pod needs to reach it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import fsspec
from flytekit import FlyteContext, FlyteContextManager
from flytekit.configuration import DataConfig, S3Config
from flytekit.core.data_persistence import FileAccessProvider


@dataclass(frozen=True)
class Store:
    """A folder on any file system, as the pods and as the test see it.

    Attributes:
        root: Its URL, without a slash at the end; a plain path is the local disk.
        env: What a pod's environment needs to reach it (endpoint and keys).
        options: The same for fsspec in the test's process.
        s3: The same for flytekit in the test's process.
    """

    root: str
    env: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    s3: S3Config = field(default_factory=S3Config)

    def url(self, *parts: str) -> str:
        """The URL of an entry."""
        return "/".join([self.root, *parts])

    def write(self, url: str, data: bytes) -> None:
        """Write a file; its folder is made if need be."""
        file_system, path = fsspec.url_to_fs(url, **self.options)
        file_system.makedirs(path.rpartition("/")[0], exist_ok=True)
        file_system.pipe_file(path, data)

    def read(self, url: str) -> bytes | None:
        """The file's content; None if there is none."""
        file_system, path = fsspec.url_to_fs(url, **self.options)
        file_system.invalidate_cache()
        try:
            return bytes(file_system.cat_file(path))
        except FileNotFoundError:
            return None

    def files(self, url: str = "") -> list[str]:
        """Every file below the folder `url` (the root if empty), sorted."""
        file_system, path = fsspec.url_to_fs(url or self.root, **self.options)
        file_system.invalidate_cache()
        return sorted(file_system.find(path))

    @contextmanager
    def flyte_context(self) -> Iterator[FlyteContext]:
        """A flytekit context that uploads to and downloads from this store."""
        access = FileAccessProvider(
            local_sandbox_dir=Path(mkdtemp(prefix="store-")),
            raw_output_prefix=self.url("raw", "test"),
            data_config=DataConfig(s3=self.s3),
        )
        context = FlyteContextManager.current_context()
        with FlyteContextManager.with_context(context.with_file_access(access)) as inner:
            yield inner
