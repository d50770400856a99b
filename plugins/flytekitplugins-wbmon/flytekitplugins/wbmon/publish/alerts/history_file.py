"""The page of the last nights, kept beside the state file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import PurePosixPath

from flytekitplugins.wbmon.monitor.alerts.history_page import history_page
from flytekitplugins.wbmon.monitor.alerts.state import WindowSummary
from flytekitplugins.wbmon.publish.alerts.state_file import MemoryFile

logger = logging.getLogger(__name__)


def index_uri(state_uri: str) -> str:
    """Where the page of a state file is: `….json` becomes `….html`."""
    stem = state_uri.removesuffix(".json")
    return f"{stem}.html"


def write_index(file: MemoryFile, nights: Sequence[WindowSummary]) -> None:
    """Write the page of the nights; one that cannot be written costs the monitor nothing."""
    if not nights:
        return
    uri = index_uri(file.uri)
    try:
        html = history_page(PurePosixPath(uri).stem, nights)
        file.filesystem.pipe_file(uri, html.encode())
    except Exception:  # a monitor must never break what it monitors
        logger.warning("the index page %s could not be written", uri, exc_info=True)
