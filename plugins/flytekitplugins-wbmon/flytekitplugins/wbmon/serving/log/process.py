"""The part of a prediction log that belongs to one process; a forked child makes its own."""

from __future__ import annotations

import logging
from time import time

from flytekitplugins.wbmon.monitor.prediction_log.screen import Screen
from flytekitplugins.wbmon.serving.log.buffer import Buffer
from flytekitplugins.wbmon.serving.log.encode import RowEncoder
from flytekitplugins.wbmon.serving.log.settings import LogSettings
from flytekitplugins.wbmon.serving.log.thread import Writer
from flytekitplugins.wbmon.storage.lifetime import close_with_child
from flytekitplugins.wbmon.storage.segments.layout import unique_instance
from flytekitplugins.wbmon.storage.segments.log import SegmentLog
from flytekitplugins.wbmon.warn import warn

logger = logging.getLogger(__name__)


class ProcessLog:
    """The buffer and the writer thread of one process; the thread starts with the first request.

    Args:
        settings: How the log is written.

    Attributes:
        buffer: Counts and waiting rows; the only part that the request path touches.
        is_begun: Whether the thread was started, or must not be started any more.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self.buffer = Buffer(settings.sampling, max_queue=settings.max_queue, now=time())
        self._segments: SegmentLog | None = None
        self._writer: Writer | None = None
        self.is_begun = False
        self._has_warned = False

    def begin(self) -> None:
        """Start the writer thread; later calls do nothing."""
        if self.is_begun:
            return
        self.is_begun = True
        settings = self._settings
        # made here and not in `__init__`, so that each forked worker gets a name of its own
        instance = unique_instance(settings.instance)
        self._segments = SegmentLog(
            settings.destination,
            settings.service,
            instance,
            max_bytes=settings.segment_bytes,
            max_age_s=settings.segment_age,
            spool=settings.spool,
        )
        static = {
            "service": settings.service,
            "instance": instance,
            "model": settings.model,
            "model_version": settings.model_version,
            "deployment": settings.deployment,
        }
        screen = Screen(
            settings.redactor,
            user_key=settings.user_key,
            hashed=settings.hashed,
            max_text=settings.max_text,
            note=self._note_unredacted,
        )
        self._writer = Writer(
            self.buffer,
            RowEncoder(static, screen),
            self._segments,
            sinks=settings.sinks,
            flush_interval_s=settings.flush_interval,
            window_s=settings.window,
        )
        self._writer.start()
        close_with_child()

    def close(self, timeout_s: float) -> None:
        """Write the waiting rows within `timeout_s` seconds; later rows are counted and dropped."""
        # a log that is closed before its first request must not start a thread afterwards
        self.is_begun = True
        if self._writer is not None:
            self._writer.close(timeout_s)
        self.buffer.is_closed = True

    def _note_unredacted(self, error: BaseException) -> None:
        self.buffer.count_failure()
        if not self._has_warned:
            self._has_warned = True
            # the class only: a message may hold what had to be hidden
            warn(
                logger,
                "prediction log: texts are left out, they could not be redacted (%s)",
                type(error).__name__,
            )

    def abandon(self) -> None:
        """In a forked child: leave the segment to the parent."""
        if self._segments is not None:
            self._segments.abandon()
