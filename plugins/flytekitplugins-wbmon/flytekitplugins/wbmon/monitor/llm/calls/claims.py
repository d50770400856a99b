"""One row for a call that two writers see: the client that sends it, and a trace around it.

The client knows more of a call (its retries, its rate limits, its failures), so its row stays: when
it begins a call whose row goes to the log of a trace, it claims the call, and the trace logs none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from flytekitplugins.wbmon.monitor.llm.calls.row import Row, Sink
from flytekitplugins.wbmon.storage.segments.layout import local_root


class Trace(Protocol):
    """What logs the calls that a tracing library records.

    Attributes:
        destination: Folder of its call log; path or fsspec URL.
    """

    destination: str

    def leave(self) -> Row:
        """Log no row for the call under way; returns what is known of it, as columns."""


# not a context variable, which a thread of the traced block would not have
_TRACES: list[Trace] = []


def begin_trace(trace: Trace) -> None:
    """Let clients claim calls from a trace."""
    _TRACES.append(trace)


def end_trace(trace: Trace) -> None:
    """End what `begin_trace` began."""
    if trace in _TRACES:
        _TRACES.remove(trace)


def claim(sink: Sink) -> Row:
    """Claim the call under way from the traces that log to the same place as the sink.

    Args:
        sink: Where the row of the call goes. Of a callable it is not known where that is, unless it
            is the method of a log.

    Returns:
        What the traces know of the call, as columns.
    """
    row: Row = {}
    for trace in tuple(_TRACES):
        if is_same_log(sink, trace.destination):
            row |= trace.leave()
    return row


def is_same_log(sink: Sink | None, destination: str) -> bool:
    """Whether a sink writes to the call log at a destination."""
    own: Any = getattr(getattr(sink, "__self__", sink), "destination", None)
    return isinstance(own, str) and _place(own) == _place(destination)


def _place(destination: str) -> str | Path:
    local = local_root(destination)
    return destination.rstrip("/") if local is None else local.resolve()
