"""What the rate of a window is compared with: that of the windows before it, as they were healthy.

The window before alone would forget: a fall that lasts would be over after one window, and one that
follows a window without ratings would never be found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from flytekitplugins.wbmon.monitor.llm.feedback.report import (
    FEWEST_RATED,
    FeedbackRate,
    FeedbackReport,
    PastRate,
)

KEPT = 30
"""Past windows that are remembered, each with at least ten ratings."""


def past_rates(previous: FeedbackReport | None) -> tuple[PastRate, ...]:
    """The rates that a window is compared with, oldest first.

    Args:
        previous: The report of the window before; of one of an older version, which remembers
            nothing, the rate of its own window.
    """
    if previous is None:
        return ()
    return previous.history or with_rate((), previous.total)


def pooled(history: Sequence[PastRate]) -> PastRate | None:
    """All past windows as one; None without any."""
    if not history:
        return None
    return PastRate(
        n=math.fsum(past.n for past in history),
        n_good=math.fsum(past.n_good for past in history),
    )


def with_rate(history: Sequence[PastRate], rate: FeedbackRate) -> tuple[PastRate, ...]:
    """The history with a window at its end, unless nothing was rated or it is worse than before.

    Windows of fewer than ten ratings are taken together, so that many of them do not drive out
    those that knew more.
    """
    n = rate.n_effective
    if not n or math.isnan(rate.rate) or (history and rate.verdict == "worse"):
        return tuple(history)
    known, new = list(history), PastRate(n=n, n_good=rate.rate * n)
    if known and known[-1].n < FEWEST_RATED:
        last = known.pop()
        new = PastRate(n=last.n + new.n, n_good=last.n_good + new.n_good)
    return (*known, new)[-KEPT:]
