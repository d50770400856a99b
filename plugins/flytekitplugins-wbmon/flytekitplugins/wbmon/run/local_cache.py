"""flytekit's local cache beside weave.

weave brings a `diskcache` of its own that stores JSON where flytekit's local cache stores bytes, so
that with weave installed every local `@task(cache=True)` fails. The cache is told to use the disk
format it was written for.
"""

from __future__ import annotations

from typing import Any


def keep_working_beside_weave() -> None:
    """Make local caching work whichever `diskcache` is installed; loads neither it nor weave."""
    from flytekit.core.local_cache import LocalTaskCache

    LocalTaskCache.initialize = staticmethod(_initialize)


def _initialize() -> None:
    import diskcache  # type: ignore[import-untyped]
    from flytekit.core.local_cache import CACHE_LOCATION, LocalTaskCache

    LocalTaskCache._cache = _byte_cache(diskcache, CACHE_LOCATION)  # noqa: SLF001 - no public way
    LocalTaskCache._initialized = True  # noqa: SLF001 - no public way


def _byte_cache(diskcache: Any, location: str) -> Any:
    return diskcache.Cache(location, disk=diskcache.Disk)
