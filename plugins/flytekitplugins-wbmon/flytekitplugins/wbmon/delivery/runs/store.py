"""Where runs wait that could not be delivered: a folder on any file system that fsspec knows.

{store}/{run's folder}/manifest.json     written last: without it the run is not there yet
delivery.json     what W&B already has
run-….wandb, files/…, artifacts/…
lease.json        who delivers it now
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any

from flytekitplugins.wbmon.delivery.runs.package import (
    MANIFEST,
    PACKED_LOG,
    PackedRun,
    checksum,
    pack,
)
from flytekitplugins.wbmon.delivery.runs.progress import FILE_NAME as LEDGER
from flytekitplugins.wbmon.errors import DataError

logger = logging.getLogger(__name__)

LEASE = "lease.json"
_SETTLE_S = 0.3


class OfflineStore:
    """A folder of runs that wait.

    Args:
        url: Any fsspec URL; flytekit's settings for the file system are used.
    """

    def __init__(self, url: str) -> None:
        from flytekit import FlyteContextManager

        access = FlyteContextManager.current_context().file_access
        self.url = url.rstrip("/")
        self._files = access.get_filesystem_for_path(self.url)

    def put(self, folder: Path) -> str:
        """Store a run's folder.

        Returns:
            The URL of the stored run.
        """
        packed, sources = pack(folder)
        target = f"{self.url}/{folder.name}"
        for name, path in sources.items():
            self._upload(path, f"{target}/{name}")
        (folder / PACKED_LOG).unlink()
        self._write(f"{target}/{MANIFEST}", json.dumps(packed.to_dict()).encode())
        return target

    def list_runs(self) -> list[tuple[str, PackedRun]]:
        """URL and description of every stored run below the store, oldest first."""
        root = self._files._strip_protocol(self.url)  # noqa: SLF001 - fsspec's documented way
        try:
            found = self._files.find(root)
        except FileNotFoundError:
            return []
        manifests = [path for path in found if path.rpartition("/")[2] == MANIFEST]
        runs = [(path.rpartition("/")[0], self._describe(path)) for path in manifests]
        known = [(url, packed) for url, packed in runs if packed is not None]
        return sorted(known, key=lambda run: (run[1].started_at, run[0]))

    def fetch(self, url: str, packed: PackedRun, folder: Path) -> None:
        """Bring a stored run to this disk.

        Raises:
            DataError: If a file is not what was stored.
        """
        for name, (size, digest) in packed.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == LEDGER:
                continue  # changes with every delivery; fetched below
            self._files.get_file(f"{url}/{name}", str(path))
            if (path.stat().st_size, checksum(path)) != (size, digest):
                raise DataError(
                    f"{url}/{name} must be {size} bytes with SHA-256 {digest[:12]}…; what is there "
                    "is something else. The run is left where it is"
                )
        if self._files.exists(f"{url}/{LEDGER}"):
            self._files.get_file(f"{url}/{LEDGER}", str(folder / LEDGER))

    def save_ledger(self, url: str, folder: Path) -> None:
        """Note in the store what W&B has by now."""
        self._upload(folder / LEDGER, f"{url}/{LEDGER}")

    def remove(self, url: str) -> None:
        """Forget a run that was delivered; its manifest goes first."""
        self._files.rm_file(f"{url}/{MANIFEST}")
        self._files.rm(url, recursive=True)

    def acquire(self, url: str, *, seconds: float) -> str | None:
        """Take the right to deliver a run.

        Args:
            url: The stored run.
            seconds: How long it is held at most, should the holder die.

        Returns:
            A token for `release`; None if somebody else holds it.
        """
        path, token = f"{url}/{LEASE}", uuid.uuid4().hex
        holder = self._read(path)
        if holder is not None and holder.get("until", 0) > time.time():
            return None
        if holder is not None:
            self._files.rm_file(path)
        lease = json.dumps({"token": token, "until": time.time() + seconds}).encode()
        if not self._create(path, lease):
            return None
        # two that replace one expired lease both believe to have created theirs: the later stays
        time.sleep(_SETTLE_S)
        return token if (self._read(path) or {}).get("token") == token else None

    def release(self, url: str, token: str) -> None:
        """Give the right back, if it is still held."""
        path = f"{url}/{LEASE}"
        if (self._read(path) or {}).get("token") == token:
            self._files.rm_file(path)

    def _describe(self, path: str) -> PackedRun | None:
        try:
            return PackedRun.from_dict(json.loads(self._files.cat_file(path)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is no manifest of a run and is left alone: %s", path, error)
            return None

    def _create(self, path: str, data: bytes) -> bool:
        try:
            self._files.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        except (TypeError, NotImplementedError, ValueError):
            self._files.pipe_file(path, data)  # a file system without exclusive creation
        return True

    def _read(self, path: str) -> dict[str, Any] | None:
        try:
            self._files.invalidate_cache()
            content: dict[str, Any] = json.loads(self._files.cat_file(path))
        except (FileNotFoundError, ValueError):
            return None
        return content

    def _write(self, url: str, data: bytes) -> None:
        self._files.makedirs(url.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(url, data)

    def _upload(self, path: Path, url: str) -> None:
        self._files.makedirs(url.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(path), url)
