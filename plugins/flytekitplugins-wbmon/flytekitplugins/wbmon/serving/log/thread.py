"""The writer thread of a prediction log: writes rows and windows, and seals segments."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from time import monotonic, perf_counter, sleep, thread_time, time
from typing import Any, Protocol

from flytekitplugins.wbmon.serving.log.buffer import Buffer, Item
from flytekitplugins.wbmon.serving.log.encode import RowEncoder
from flytekitplugins.wbmon.serving.log.request import Prediction, Request
from flytekitplugins.wbmon.serving.log.window_clock import WindowClock
from flytekitplugins.wbmon.storage.segments.json_lines import to_utf8
from flytekitplugins.wbmon.storage.segments.log import SegmentLog
from flytekitplugins.wbmon.warn import warn

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
_LATE_PATIENCE_S = 0.2


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
        # locks and flags, no `Event`: a signal may interrupt `Event.set`, which then holds a lock
        # that the thread and the handler wait for
        self._is_stopping, self._wake = False, threading.Lock()
        self._is_ended, self._end = True, threading.Lock()
        self._deadline = inf
        self._is_given_up = False
        self._late = threading.Lock()
        self._unsaved: list[str] = []
        self._clock = WindowClock(window_s)
        self._tail = self._written_tail = b""
        self._tail_due, self._served_in_tail = 0.0, 0
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="wbmon-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._is_ended = False
        self._wake.acquire()
        self._end.acquire()
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Write the waiting rows within `timeout_s` seconds; the rest is counted as dropped.

        It may be called again: while another call waits, which a signal may have interrupted, it
        waits too; later it writes the counts of requests that have ended since.
        """
        begin = monotonic()
        # set first: the thread reads the deadline as soon as it stops; of two calls the one that
        # comes by a signal is in more haste
        self._deadline = min(self._deadline, begin + timeout_s)
        self._is_stopping = True
        with suppress(RuntimeError):  # another call has woken it
            self._wake.release()
        # a second more than its deadline, to write the last window and seal the segment
        if self._is_ended_within(0.0 if self._is_given_up else timeout_s + 1.0):
            self._write_late()
        else:
            # it is held up by a value or the disk: what it holds and what waits behind is lost
            self._is_given_up = True
            self._buffer.close()
        self._segments.finish_sending(max(0.0, timeout_s - (monotonic() - begin)))

    def _is_ended_within(self, timeout_s: float) -> bool:
        if not self._is_ended and self._end.acquire(timeout=timeout_s):
            self._end.release()
            # not for long: a signal may have interrupted one who joins, too
            self._thread.join(_LATE_PATIENCE_S)
        return self._is_ended

    def _run(self) -> None:
        try:
            self._write_on()
        finally:
            self._is_ended = True
            self._end.release()

    def _write_on(self) -> None:
        self._clock = WindowClock(self._window_s)
        self._buffer.begin_window(self._clock.start)
        self._segments.send()
        while not self._wake.acquire(timeout=self._flush_interval_s):
            self._guarded(self._drain)
            if self._clock.is_over():
                self._guarded(self._end_window)
            self._guarded(self._segments.seal_if_due, time())
        self._guarded(self._drain)
        self._finish()

    def _finish(self) -> None:
        self._buffer.close()
        self._guarded(self._end_window)
        self._lose_windows(len(self._unsaved))
        self._guarded(self._segments.seal)
        for sink in self._sinks:
            self._guarded(sink.close)
        self._sinks = ()
        self._report_drops()

    def _write_late(self) -> None:
        """Write the counts of requests that ended after the thread did."""
        # in the caller's thread, because none can be started when the interpreter exits; whom a
        # signal has interrupted here does not go on, and twice the same counts would be too many
        if self._buffer.has_counts and self._late.acquire(timeout=_LATE_PATIENCE_S):
            try:
                self._finish()
            finally:
                self._late.release()

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
            if not self._is_stopping:
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
        self._lose_windows(len(self._unsaved) - _MAX_UNSAVED_WINDOWS)
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

    def _lose_windows(self, n: int) -> None:
        """Give up the oldest windows that could not be written, and count each as a failure."""
        if n > 0:
            del self._unsaved[:n]
            self._buffer.count_failure(n)
            self._say("windows", f"{n} windows are lost, they could not be written")

    def _report_drops(self) -> None:
        dropped = self._buffer.dropped + self._buffer.feedback_dropped
        if dropped:
            self._say(
                "drop",
                f"{dropped} rows dropped so far; every request is still counted. Raise max_queue, "
                "lower the sampling rate, or look at the disk",
            )

    def _warn(self, what: str, error: BaseException) -> None:
        # the class only: a message may hold what had to be hidden
        self._say(what, f"{what} ({type(error).__name__})")

    def _say(self, matter: str, words: str) -> None:
        """Log a warning, once for each matter."""
        if matter not in self._warned:
            self._warned.add(matter)
            # here also nothing that ends a thread, such as `SystemExit`, may come of it
            with suppress(BaseException):
                warn(logger, "prediction log: %s", words)
