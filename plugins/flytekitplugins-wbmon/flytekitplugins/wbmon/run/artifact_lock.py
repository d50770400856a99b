"""One thread at a time makes W&B artifacts.

wandb keeps the last hundred artifacts of a process, tables among them, in a dictionary that it
prunes without a lock: from then on, two threads that make one at the same moment raise `KeyError`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def making_artifacts() -> Iterator[None]:
    """Around whatever logs artifacts or tables to any run of this process."""
    with _LOCK:
        yield
