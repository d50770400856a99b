"""Where the workflows keep what outlives a night, or what another pod than the writer reads.

`WBMON_SHARED` names a folder that every pod sees, such as `s3://bucket/monitors`, and must be set
when the workflows are registered. Without it they run on one machine, below `out/`.
"""

from __future__ import annotations

import os


def shared(name: str) -> str:
    """A file or a folder below the shared one."""
    # a cluster refuses this default by quoting it: its name says what is not set
    folder = os.environ.get("WBMON_SHARED") or "out/WBMON_SHARED"
    return f"{folder.rstrip('/')}/{name}"
