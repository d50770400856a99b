"""What users download, built from a copy of the checkout, and environments without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.environment import BIN, ROOT

UV = BIN / "uv"
# found before the tests get a home of their own; with it, an environment takes no room on the disk
_CACHE = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")


def bare_environment(home: Path) -> dict[str, str]:
    """What a process needs to know nothing of the checkout and its environment.

    Args:
        home: The process's home; made if need be.
    """
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "WANDB_ERROR_REPORTING": "false"}


def run_uv(*words: str | Path, home: Path) -> str:
    """What uv prints.

    Args:
        words: What it is told.
        home: Its home.

    Raises:
        AssertionError: If it fails; the message is its output.
    """
    certificates = {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return _output(
        [UV, *words],
        cwd=home,
        env={**bare_environment(home), **certificates, "UV_CACHE_DIR": _CACHE},
    )


def copy_checkout(folder: Path) -> Path:
    """Copy the files of the checkout, and none that git ignores.

    Args:
        folder: Where to; it must not exist.
    """
    listed = _output(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-zco", "--exclude-standard"],
        cwd=ROOT,
        env=os.environ,
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # one that was removed is listed until that is committed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build(kind: str, source: Path, *, home: Path) -> Path:
    """Build a distribution in an environment that has the build system only.

    Args:
        kind: `wheel` or `sdist`.
        source: The folder with `setup.py`, or a source distribution.
        home: Home of the process; the file is put below it.
    """
    folder = home / "dist" / source.name
    run_uv("build", f"--{kind}", "--python", sys.executable, "--out-dir", folder, source, home=home)
    (built,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def wheel_contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_names(sdist: Path) -> set[str]:
    """The files of a source distribution, named as in the checkout."""
    with tarfile.open(sdist) as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
    return {name.partition("/")[2] for name in files}


@dataclass(frozen=True)
class Installation:
    """An environment of its own.

    Attributes:
        folder: The environment.
        home: The home of its processes.
    """

    folder: Path
    home: Path

    def uv_pip(self, command: str, *words: str | Path) -> str:
        """What `uv pip` prints, told to work here."""
        python = self.folder / "bin" / "python"
        return run_uv("pip", command, "--python", python, *words, home=self.home)

    def run(self, *words: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
        """What its Python prints.

        Raises:
            AssertionError: If it fails; the message is its output.
        """
        return _output(
            [self.folder / "bin" / "python", *words],
            cwd=cwd,
            env={**bare_environment(self.home), **(env or {})},
        )


@contextmanager
def installation(home: Path, *requirements: str | Path) -> Iterator[Installation]:
    """An environment with what is required, removed in the end: it holds 600 MB.

    Args:
        home: The home of its processes; the environment is below it.
        requirements: What is installed, as `uv pip install` takes it.
    """
    made = Installation(home / "environment", home)
    home.mkdir(parents=True, exist_ok=True)
    try:
        run_uv("venv", "--python", sys.executable, made.folder, home=home)
        if requirements:
            made.uv_pip("install", *requirements)
        yield made
    finally:
        shutil.rmtree(made.folder, ignore_errors=True)


def _output(words: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
