"""A lock that lets only one thread at a time make W&B artifacts.

wandb caches the last hundred artifacts of a process, including tables, in a dictionary. It removes
old entries without a lock, so once the cache is full, two threads that make an artifact at the same
moment can raise `KeyError`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def making_artifacts() -> Iterator[None]:
    """Hold the lock while artifacts or tables are logged to any run of this process."""
    with _LOCK:
        yield
