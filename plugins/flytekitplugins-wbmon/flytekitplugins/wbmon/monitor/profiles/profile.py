"""The profile of a window of data: a summary of bounded size that can be compared and merged.

The rows are counted into a *layout*: the edges of a grid for each numeric column, a table of names
for each categorical column. The reference profile learns its layout from its own rows; other
profiles are counted into the layout of the reference. Profiles with the same layout can be merged
in any order and grouping.

Beside a `LossModel` this is the only record that contains numpy arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.storage.record_file import RecordFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(RecordFile):
    """A summary of a window of data, with one `FeatureProfile` for each column.

    Attributes:
        n_rows: Number of rows of the window.
        features: Profiles by column, in the order of the layout.
        layout: Digest of the layout; profiles with the same one can be merged and compared.
        weight: The column with the row weights; empty if rows were not weighted.
        at: The column with the time of each row, from which ages were counted; empty without one.
    """

    FILE_NOUN: ClassVar[str] = "a profile"
    IF_TOO_LARGE: ClassVar[str] = "if it is data, profile it first: profile_data(path)"

    n_rows: int
    features: Mapping[str, FeatureProfile]
    layout: str = ""
    weight: str = ""
    at: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether it has neither rows nor columns, as one that was merged of no partition."""
        return not self.n_rows and not self.features

    def to_bytes(self) -> bytes:
        """The content of its file; the same for equal profiles, in every process.

        Raises:
            DataError: If it does not fit in 256 MiB.
        """
        from flytekitplugins.wbmon.monitor.profiles.profile_file import features_to_bytes

        return features_to_bytes(
            self.features, n_rows=self.n_rows, layout=self.layout, weight=self.weight, at=self.at
        )

    @classmethod
    def from_bytes(cls, content: bytes, path: str) -> Profile:
        """The profile in the content of a file; what it can take of memory and time is bounded.

        Raises:
            DataError: If it is none, is damaged, or was written by a newer version.
        """
        from flytekitplugins.wbmon.monitor.profiles.profile_file import features_from_bytes

        features, about = features_from_bytes(content, path)
        return cls(features=features, **about)


def require_profiles(name: str, given: Iterable[Any]) -> None:
    """Refuse what is no profile where several are taken.

    Args:
        name: Name of the argument.
        given: What it holds.

    Raises:
        ConfigError: If any is none.
    """
    for item in given:
        if not isinstance(item, Profile):
            raise ConfigError(
                f"{name} must hold profiles, got one {type(item).__name__}; make each with "
                "profile_data(data, like=reference), or read it with Profile.load"
            )
