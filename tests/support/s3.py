"""An S3 of our own on the loopback device (moto), for pods and for the test's process."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import Request, urlopen

from flytekit.configuration import S3Config

from support.environment import BIN
from support.store import Store

_KEY = "loopback"


@dataclass(frozen=True)
class S3Server:
    """A running server; `endpoint` is its URL."""

    endpoint: str

    def bucket(self, name: str) -> Store:
        """Make a bucket and return it as a store."""
        urlopen(Request(f"{self.endpoint}/{name}", method="PUT"), timeout=30).close()
        return Store(
            root=f"s3://{name}",
            env=self.flyte_env,
            options={
                "key": _KEY,
                "secret": _KEY,
                "client_kwargs": {"endpoint_url": self.endpoint, "region_name": "us-east-1"},
            },
            s3=S3Config(endpoint=self.endpoint, access_key_id=_KEY, secret_access_key=_KEY),
        )

    @property
    def flyte_env(self) -> dict[str, str]:
        """What Flyte's own sandbox tells its pods: nothing that boto3 knows."""
        return {
            "FLYTE_AWS_ENDPOINT": self.endpoint,
            "FLYTE_AWS_ACCESS_KEY_ID": _KEY,
            "FLYTE_AWS_SECRET_ACCESS_KEY": _KEY,
        }

    @property
    def fsspec_env(self) -> dict[str, str]:
        """What a process needs to reach the server by fsspec or boto3, without flytekit."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server in a process of its own and end it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        server = S3Server(endpoint=f"http://127.0.0.1:{port}")
        _wait_until_ready(server.endpoint, process)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, "moto_server ended before it answered"
        try:
            urlopen(f"{endpoint}/moto-api/", timeout=5).close()
        except (URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"no answer from {endpoint}")
