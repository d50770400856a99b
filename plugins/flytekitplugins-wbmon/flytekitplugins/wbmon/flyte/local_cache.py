"""flytekit's local cache beside weave.

weave brings a `diskcache` of its own that stores JSON where flytekit's local cache stores bytes, so
that with weave installed every local `@task(cache=True)` fails. The cache is told to use the disk
format it was written for.
"""

from __future__ import annotations

from typing import Any

from flytekitplugins.wbmon.flyte.internals import open_local_cache_by


def keep_working_beside_weave() -> None:
    """Make local caching work whichever `diskcache` is installed; loads neither it nor weave."""
    open_local_cache_by(_byte_cache)


def _byte_cache(location: str) -> Any:
    import diskcache  # type: ignore[import-untyped]

    return diskcache.Cache(location, disk=diskcache.Disk)
