"""A past window that is unlike the others."""

from __future__ import annotations

from dataclasses import dataclass

from flytekitplugins.wbmon.equality import ByContent


@dataclass(frozen=True, slots=True, kw_only=True)
class PastOutlier(ByContent):
    """A past window that would itself be found against the other past windows.

    It makes distances between past windows look larger than they are, so that drift is missed.

    Attributes:
        window: Its start and segment where they are known, else its place among the past windows,
            such as `past[3]`.
        features: The features in which it is unlike the others.
    """

    window: str
    features: tuple[str, ...]
