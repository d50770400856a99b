"""One process's part of a prediction log; a forked child has one of its own."""

from __future__ import annotations

from time import time

from flytekitplugins.wbmon.serving.log.buffer import Buffer
from flytekitplugins.wbmon.serving.log.encode import RowEncoder
from flytekitplugins.wbmon.serving.log.settings import LogSettings
from flytekitplugins.wbmon.serving.log.thread import Writer
from flytekitplugins.wbmon.storage.segments.layout import unique_instance
from flytekitplugins.wbmon.storage.segments.log import SegmentLog


class ProcessLog:
    """What waits to be written, and the thread that writes it, begun when there is something.

    Args:
        settings: How the log is written.

    Attributes:
        buffer: Counts and rows; what the path of a request touches.
        is_begun: Whether the thread is there.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self.buffer = Buffer(settings.sampling, max_queue=settings.max_queue, now=time())
        self._segments: SegmentLog | None = None
        self._writer: Writer | None = None
        self.is_begun = False

    def begin(self) -> None:
        """Start the thread that writes; once."""
        if self.is_begun:
            return
        self.is_begun = True
        told = self._settings
        instance = unique_instance(told.instance)
        self._segments = SegmentLog(
            told.destination,
            told.service,
            instance,
            max_bytes=told.segment_bytes,
            max_age_s=told.segment_age,
            spool=told.spool,
        )
        static = {
            "service": told.service,
            "instance": instance,
            "model": told.model,
            "model_version": told.model_version,
            "deployment": told.deployment,
        }
        encoder = RowEncoder(
            static, redactor=told.redactor, user_key=told.user_key, max_text=told.max_text
        )
        self._writer = Writer(
            self.buffer,
            encoder,
            self._segments,
            sinks=told.sinks,
            flush_interval_s=told.flush_interval,
            window_s=told.window,
        )
        self._writer.start()

    def close(self, timeout_s: float) -> None:
        """Write what is left until the time is up; later rows are counted and dropped."""
        # without a thread there is none to begin any more
        self.is_begun = True
        if self._writer is not None:
            self._writer.close(timeout_s)
        self.buffer.is_closed = True

    def abandon(self) -> None:
        """In a forked child: leave the segment to the parent."""
        if self._segments is not None:
            self._segments.abandon()
