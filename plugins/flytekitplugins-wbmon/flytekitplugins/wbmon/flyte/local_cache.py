"""Makes flytekit's local cache work in an environment that has weave installed.

weave installs its own `diskcache`, which stores JSON where flytekit's local cache stores bytes, so
that every local `@task(cache=True)` fails. The cache is opened with the disk format that flytekit
expects.
"""

from __future__ import annotations

from typing import Any

from flytekitplugins.wbmon.flyte.internals import open_local_cache_by


def keep_working_beside_weave() -> None:
    """Make local caching work whichever `diskcache` is installed; loads neither it nor weave."""
    open_local_cache_by(_byte_cache)


def _byte_cache(location: str) -> Any:
    import diskcache  # type: ignore[import-untyped]

    # the default `disk` is what weave changes
    return diskcache.Cache(location, disk=diskcache.Disk)
