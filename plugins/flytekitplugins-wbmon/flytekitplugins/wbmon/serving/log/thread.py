"""The writer thread of a prediction log: writes rows and windows, and seals segments."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic, perf_counter, sleep, thread_time, time
from typing import Any, Protocol

from flytekitplugins.wbmon.serving.log.buffer import Buffer, Item
from flytekitplugins.wbmon.serving.log.encode import RowEncoder
from flytekitplugins.wbmon.serving.log.request import Prediction, Request
from flytekitplugins.wbmon.serving.log.window_clock import WindowClock
from flytekitplugins.wbmon.storage.segments.json_lines import to_utf8
from flytekitplugins.wbmon.storage.segments.log import SegmentLog

logger = logging.getLogger(__name__)

# work is done in short slices with a pause between them, because the thread holds the GIL and the
# server would wait; slices grow with the backlog, so that the writer keeps up
_SLICE_S = 100e-6
_CALM = 64
_STEP_REQUESTS = 32
_STEP_ROWS = 2
_PAUSE_S = 0.0005
_WRITTEN_TOGETHER = 32
# the window that has not ended is written again after so many times the time that it took
_TAIL_RARITY = 200
_MAX_TAIL_AGE_S = 2.0
# windows that wait for a disk that is full; the oldest are given up first
_MAX_UNSAVED_WINDOWS = 10_000


class Sink(Protocol):
    """Receives each window as it ends, for a live view."""

    def write_windows(self, rows: Sequence[dict[str, Any]], now: float) -> None:
        """Receive the rows of a window; must return at once. An exception is only counted."""

    def close(self) -> None:
        """Deliver the windows that were not delivered yet."""


class Writer:
    """Moves rows from the buffer into segments, in a thread of its own.

    Args:
        buffer: The buffer that the request path fills.
        encoder: Encodes rows as lines.
        segments: Writes lines to files, and uploads the files where the log is at a URL.
        sinks: Further receivers of windows.
        flush_interval_s: Seconds between writes; a killed process loses the rows of that time.
        window_s: Length of a window in seconds; windows end at multiples of it since 1970.
    """

    def __init__(
        self,
        buffer: Buffer,
        encoder: RowEncoder,
        segments: SegmentLog,
        *,
        sinks: Sequence[Sink],
        flush_interval_s: float,
        window_s: float,
    ) -> None:
        self._buffer, self._encoder, self._segments = buffer, encoder, segments
        self._sinks = sinks
        self._flush_interval_s, self._window_s = flush_interval_s, window_s
        self._stop = threading.Event()
        self._deadline = 0.0
        self._unsaved: list[str] = []
        self._clock = WindowClock(window_s)
        self._tail = self._written_tail = b""
        self._tail_due, self._served_in_tail = 0.0, 0
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="wbmon-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Write the waiting rows within `timeout_s` seconds; the rest is counted as dropped."""
        begin = monotonic()
        # set before the event: the thread reads the deadline as soon as it sees the event
        self._deadline = begin + timeout_s
        self._stop.set()
        if self._thread.is_alive():
            # a second more than its deadline, to write the last window and seal the segment
            self._thread.join(timeout_s + 1.0)
        if self._thread.is_alive():
            # it is held up by a value or the disk: what waits behind that is lost
            self._buffer.close()
        self._segments.finish_sending(max(0.0, timeout_s - (monotonic() - begin)))

    def _run(self) -> None:
        self._clock = WindowClock(self._window_s)
        self._buffer.begin_window(self._clock.start)
        self._segments.send()
        while not self._stop.wait(self._flush_interval_s):
            self._guarded(self._drain)
            if self._clock.is_over():
                self._guarded(self._end_window)
            self._guarded(self._segments.seal_if_due, time())
        self._guarded(self._drain)
        self._buffer.close()
        self._guarded(self._end_window)
        self._guarded(self._segments.seal)
        for sink in self._sinks:
            self._guarded(sink.close)
        self._report_drops()

    def _guarded(self, step: Any, *arguments: Any) -> None:
        """Do a step; an exception is counted and logged, and does not end the thread."""
        try:
            step(*arguments)
        except BaseException as error:  # noqa: BLE001 - the log goes on, also if Rust panics
            self._buffer.count_failure()
            self._warn("an error of its own", error)

    def _drain(self) -> None:
        """Write waiting rows until there are none or the window ends.

        It stops at the window's end because during heavy traffic the queue may never be empty.
        """
        buffer, is_late = self._buffer, False
        # items are kept beside their lines, to be counted as written or lost after the write
        lines, items = list[str](), list[Item]()
        while (n_waiting := buffer.n_noted + buffer.n_queued) and not is_late:
            until = perf_counter() + _SLICE_S * (1 + n_waiting / _CALM)
            while perf_counter() < until and buffer.fold(_STEP_REQUESTS):
                pass
            buffer.fold_late()
            while perf_counter() < until and (taken := buffer.take(_STEP_ROWS)):
                self._encode_all(taken, lines, items)
            if len(lines) >= _WRITTEN_TOGETHER:
                self._write(lines, items)
                lines, items = [], []
            if not self._stop.is_set():
                sleep(_PAUSE_S)
                is_late = self._clock.is_over()
            else:
                is_late = monotonic() >= self._deadline
        self._write(lines, items)
        self._report_drops()

    def _encode_all(self, taken: list[Item], lines: list[str], items: list[Item]) -> None:
        for item in taken:
            line = self._encode(item)
            if line is not None:
                lines.append(line)
                items.append(item)

    def _encode(self, item: Item) -> str | None:
        try:
            if isinstance(item, Request):
                return self._encoder.prediction(item)
            if isinstance(item, Prediction):
                return self._encoder.further(item)
            return self._encoder.feedback(item)
        except BaseException as error:  # noqa: BLE001 - one odd row
            self._buffer.count_failure()
            self._buffer.lost([item])
            self._warn("a row could not be encoded", error)
            return None

    def _write(self, lines: list[str], items: list[Item]) -> None:
        tail = self._window_so_far()
        if not lines and tail is self._written_tail:
            return
        try:
            self._segments.append(to_utf8("".join(lines)), time(), tail=tail)
        except OSError as error:
            self._buffer.lost(items)
            self._warn("rows are lost, they could not be written", error)
        else:
            self._written_tail = tail
            self._buffer.written(items)

    def _window_so_far(self) -> bytes:
        """The rows of the window that has not ended, which would die with the process.

        They are made anew at most so often that it costs half a percent of the time.
        """
        served = self._buffer.served
        if served != self._served_in_tail and perf_counter() >= self._tail_due:
            # of the processor: the thread may wait for others meanwhile
            begin = thread_time()
            rows = self._buffer.window_so_far(time())
            lines = [self._encoder.window(self._encoder.screened(row)) for row in rows]
            self._tail = to_utf8("".join(lines))
            self._served_in_tail = served
            pause_s = min(_TAIL_RARITY * (thread_time() - begin), _MAX_TAIL_AGE_S)
            self._tail_due = perf_counter() + pause_s
        return self._tail

    def _end_window(self) -> None:
        end = self._clock.turn()
        ended = self._buffer.turn_window(self._clock.start)
        rows = [self._encoder.screened(row) for row in ended.rows(end)]
        # kept until written: a window has counts that nothing else holds
        self._unsaved += [self._encoder.window(row) for row in rows]
        del self._unsaved[:-_MAX_UNSAVED_WINDOWS]
        self._tail = b""
        for sink in self._sinks:
            self._guarded(sink.write_windows, rows, end)
        if self._unsaved:
            try:
                self._segments.append(to_utf8("".join(self._unsaved)), time())
            except OSError as error:
                self._warn("windows wait, they could not be written", error)
            else:
                self._written_tail = b""
                self._unsaved.clear()

    def _report_drops(self) -> None:
        dropped = self._buffer.dropped + self._buffer.feedback_dropped
        if dropped and "drop" not in self._warned:
            self._warned.add("drop")
            logger.warning(
                "prediction log: %d rows dropped so far; every request is still counted. Raise "
                "max_queue, lower the sampling rate, or look at the disk",
                dropped,
            )

    def _warn(self, what: str, error: BaseException) -> None:
        if what not in self._warned:
            self._warned.add(what)
            # the class only: a message may hold what had to be hidden
            logger.warning("prediction log: %s (%s)", what, type(error).__name__)
