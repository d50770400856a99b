"""The buffer between the threads that serve requests and the thread that writes the log.

A finished request costs its thread one append to a deque. The writer thread later counts and
samples these requests in small batches, which takes a third of the time of doing it between two
requests. If the writer falls behind, the serving threads count the backlog themselves, so memory
stays bounded and every request is counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flytekitplugins.wbmon.serving.log.request import Prediction, Request
from flytekitplugins.wbmon.serving.log.sampling import Sampler, SamplingPolicy
from flytekitplugins.wbmon.serving.log.window_counts import WindowCounts
from flytekitplugins.wbmon.storage.lifetime import patiently

Item = Request | Prediction | dict[str, Any]
"""A finished request, a prediction that was made after its end, or the columns of feedback."""

_MAX_NOTED = 2_000
# larger than any backlog; an int, because `min` and `range` need one
_EVERYTHING = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerStats:
    """Exact counts of what became of all requests.

    The identity `served = logged + queued + sampled_out + dropped` always holds.

    Attributes:
        served: Finished requests.
        logged: Requests whose row has been written.
        queued: Requests whose row waits to be written.
        sampled_out: Requests that the sampling policy keeps no row of.
        dropped: Requests whose row should have been kept and was lost, for example because the
            queue or the disk was full.
        in_flight: Requests that are being served now.
        further_logged: Rows of further predictions of requests that have been written.
        further_dropped: Rows of further predictions that were lost.
        feedback: Feedback rows received.
        feedback_logged: Feedback rows that have been written.
        feedback_dropped: Feedback rows that were lost.
        failed: Errors inside the log, none of which was raised to a caller, and windows that were
            lost.
    """

    served: int
    logged: int
    queued: int
    sampled_out: int
    dropped: int
    in_flight: int
    further_logged: int
    further_dropped: int
    feedback: int
    feedback_logged: int
    feedback_dropped: int
    failed: int


class Buffer:
    """The counts of the current window, and the rows that wait for the writer.

    Args:
        policy: Decides which requests leave a row.
        max_queue: How many rows may wait; further ones are dropped and counted.
        now: Start of the first window; seconds since 1970, UTC.
    """

    def __init__(self, policy: SamplingPolicy, *, max_queue: int, now: float) -> None:
        self._lock = threading.Lock()
        self._noted: deque[Request] = deque()
        self._max_noted = min(_MAX_NOTED, max_queue)
        self._late: deque[Prediction] = deque()
        self._queue: deque[Item] = deque()
        self._max_queue = max_queue
        self._sampler = Sampler(policy)
        self._window = WindowCounts(now)
        self._n_queued_requests = 0
        # by identity: rows that the writer has taken, until they are written or lost
        self._in_hand: dict[int, Item] = {}
        self.is_closed = False
        self.live: set[Request] = set()
        self.in_flight_max = 0
        self.failed = 0
        self.served = self.logged = self.sampled_out = self.dropped = 0
        self.further_logged = self.further_dropped = 0
        self.feedback = self.feedback_logged = self.feedback_dropped = 0

    def enter(self, request: Request) -> None:
        """Count a request that begins; adding to a set is atomic and needs no lock."""
        live = self.live
        live.add(request)
        # `max` would be a call, and this is the path of every request
        if len(live) > self.in_flight_max:  # noqa: PLR1730
            self.in_flight_max = len(live)

    def record(self, request: Request) -> None:
        """Store a finished request for counting; appending to a deque is atomic, no lock needed."""
        self._noted.append(request)
        if len(self._noted) >= self._max_noted:
            self.fold(self._max_noted)

    def live_request(self, request_id: str) -> Request | None:
        """The request of that id among those that are being served; None if there is none."""
        # copied at once: other threads change the set meanwhile
        return next((each for each in list(self.live) if each.request_id == request_id), None)

    def add_late(self, prediction: Prediction) -> None:
        """Store a prediction that was made after its request had ended."""
        self._late.append(prediction)
        if len(self._late) >= self._max_noted:
            self.fold_late()

    def fold_late(self) -> None:
        """Queue the predictions made after the end of their request, if the policy keeps it."""
        late = self._late
        if not late:
            return
        n = len(late)
        # their requests first: they were stored before, and may not be decided yet
        self.fold(_EVERYTHING)
        with suppress(IndexError), patiently(self._lock):
            for _ in range(n):
                self._queue_late(late.popleft())

    def fold(self, n: int) -> int:
        """Count up to `n` stored requests, and queue the rows that the policy keeps.

        Args:
            n: Largest number to count, so that the calling thread is not held for long.

        Returns:
            How many requests were counted.
        """
        noted = self._noted
        n = min(n, len(noted))
        if not n:
            return 0
        done = 0
        # IndexError: another thread went on without the lock and emptied the deque first
        with suppress(IndexError), patiently(self._lock):
            while done < n:
                self._count_safely(noted.popleft())
                done += 1
        return done

    def add_feedback(self, row: dict[str, Any]) -> bool:
        """Queue a feedback row; False if there was no room and it was dropped."""
        with patiently(self._lock):
            self.feedback += 1
            if self.is_closed or len(self._queue) >= self._max_queue:
                self.feedback_dropped += 1
                return False
            self._append(row)
            return True

    def lose_feedback(self) -> None:
        """Count feedback of which no row could be made."""
        with patiently(self._lock):
            self.feedback += 1
            self.feedback_dropped += 1

    def close(self) -> None:
        """Take no more rows; those that wait, or are in the writer's hand, are lost and counted."""
        # closed before the last look, so that no row is queued behind it
        self.is_closed = True
        self.fold(_EVERYTHING)
        self.fold_late()
        self.take(_EVERYTHING)
        self.lost(list(self._in_hand.values()))

    @property
    def has_counts(self) -> bool:
        """Whether requests have ended within the window that has not."""
        return bool(self._noted or self._window.by_key)

    @property
    def n_noted(self) -> int:
        """Number of finished requests, and late predictions, that are not counted yet."""
        return len(self._noted) + len(self._late)

    @property
    def n_queued(self) -> int:
        """Number of rows that wait to be written."""
        return len(self._queue)

    def take(self, n: int) -> list[Item]:
        """Remove and return the next rows to write, at most `n`.

        The caller must pass each of them to `written` or `lost`, or the counts do not add up.
        """
        queue, in_hand, taken = self._queue, self._in_hand, list[Item]()
        # IndexError: the log was closed meanwhile, which takes all of them
        with suppress(IndexError):
            for _ in range(min(n, len(queue))):
                item = queue.popleft()
                in_hand[id(item)] = item
                taken.append(item)
        return taken

    def written(self, items: Iterable[Item]) -> None:
        """Count rows as written, if they were not counted as lost when the log was closed."""
        self._settle(items, lost=False)

    def lost(self, items: Iterable[Item]) -> None:
        """Count rows that could not be written as dropped."""
        self._settle(items, lost=True)

    def count_failure(self, n: int = 1) -> None:
        """Count an error inside the log, or several."""
        with patiently(self._lock):
            self.failed += n

    def turn_window(self, now: float) -> WindowCounts:
        """Begin a new window and return the counts of the one that ends."""
        # requests that finished within the window belong to its counts
        self.fold(_EVERYTHING)
        self.fold_late()
        with patiently(self._lock):
            ended, self._window = self._window, WindowCounts(now)
            # requests still in flight are the new window's first maximum, not 0
            ended.in_flight_max, self.in_flight_max = self.in_flight_max, len(self.live)
        return ended

    def begin_window(self, start: float) -> None:
        """Let the first window begin with the first request, not with the log."""
        self._window.start = start

    def window_so_far(self, now: float) -> list[dict[str, Any]]:
        """The rows of the window that has not ended yet."""
        with patiently(self._lock):
            self._window.in_flight_max = max(self.in_flight_max, len(self.live))
            return self._window.rows(now)

    def stats(self) -> LoggerStats:
        """The counts until now, including requests that finished a moment ago."""
        self.fold(_EVERYTHING)
        self.fold_late()
        with patiently(self._lock):
            return LoggerStats(
                served=self.served,
                logged=self.logged,
                queued=self._n_queued_requests,
                sampled_out=self.sampled_out,
                dropped=self.dropped,
                in_flight=len(self.live),
                further_logged=self.further_logged,
                further_dropped=self.further_dropped,
                feedback=self.feedback,
                feedback_logged=self.feedback_logged,
                feedback_dropped=self.feedback_dropped,
                failed=self.failed,
            )

    def _count_safely(self, request: Request) -> None:
        """Count a request; if that fails, it counts as served and dropped."""
        self.served += 1
        try:
            self._count(request)
        except Exception:  # noqa: BLE001 - it may be the caller's thread
            self.failed += 1
            self.dropped += 1

    def _count(self, request: Request) -> None:
        window = self._window
        key = (request.route, request.method, request.tenant)
        # a plain lookup first: `window.counts` is a call, needed only for a new or folded key
        counts = window.by_key.get(key) or window.counts(key)
        counts.add(request)
        decision = self._sampler.decide(request)
        if decision is None:
            request.reason = ""
            self.sampled_out += 1
        elif self.is_closed or len(self._queue) >= self._max_queue:
            request.reason = ""
            self.dropped += 1
            self.further_dropped += len(request.further or ())
            counts.dropped += 1
        else:
            request.reason, request.weight = decision
            counts.kept += 1
            self._n_queued_requests += 1
            self._append(request)

    def _queue_late(self, prediction: Prediction) -> None:
        request = prediction.request
        if request.reason is None:  # of another process, which has decided it in the same way
            request.reason, request.weight = self._sampler.decide(request) or ("", 1.0)
        if not request.reason:
            return
        if self.is_closed or len(self._queue) >= self._max_queue:
            self.further_dropped += 1
        else:
            self._append(prediction)

    def _append(self, item: Item) -> None:
        self._queue.append(item)
        self._window.depth_max = max(self._window.depth_max, len(self._queue))

    def _settle(self, items: Iterable[Item], *, lost: bool) -> None:
        with patiently(self._lock):
            for item in items:
                if self._in_hand.pop(id(item), None) is None:
                    continue  # counted already
                if isinstance(item, Request):
                    self._n_queued_requests -= 1
                    self._count_row(item, lost=lost)
                    self._count_further(len(item.further or ()), lost=lost)
                elif isinstance(item, Prediction):
                    self._count_further(1, lost=lost)
                elif lost:
                    self.feedback_dropped += 1
                else:
                    self.feedback_logged += 1

    def _count_further(self, n: int, *, lost: bool) -> None:
        if lost:
            self.further_dropped += n
        else:
            self.further_logged += n

    def _count_row(self, request: Request, *, lost: bool) -> None:
        if not lost:
            self.logged += 1
            return
        self.dropped += 1
        # the window that counted the row as kept may be over, so a single window's `kept` may be
        # negative; sums over windows stay exact
        counts = self._window.counts((request.route, request.method, request.tenant))
        counts.dropped += 1
        counts.kept -= 1
