"""How much a window holds, against what windows usually hold."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles

MIN_PAST_VOLUMES = 5
"""Past windows that say what is usual, at least."""

_FACTOR = 2.0


def unusual_volume(volume: float, past: Sequence[float]) -> str:
    """What is unusual about the volume of a window, in one phrase; empty if nothing is, or unknown.

    Unusual is less than half of the 10 % quantile of past windows, or more than twice their 90 %
    quantile. So neither one day of the week that is unlike the others nor a tenth of windows that
    were at fault decide what is usual.

    Args:
        volume: Rows, requests or calls of the window.
        past: Those of past windows; fewer than five say nothing.
    """
    if len(past) < MIN_PAST_VOLUMES:
        return ""
    deciles = quantiles(past, n=10, method="inclusive")
    if deciles[0] / _FACTOR <= volume <= deciles[-1] * _FACTOR:
        return ""
    usual = median(past)
    ratio = f", {volume / usual:.2g} times the median" if usual else ""
    return (
        f"{volume:,.6g} where past windows had {deciles[0]:,.6g} to {deciles[-1]:,.6g} (the middle "
        f"80 % of {len(past)}{ratio})"
    )
