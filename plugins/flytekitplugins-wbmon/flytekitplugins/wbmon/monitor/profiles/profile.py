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
from os import PathLike
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.storage.record_file import read_record, shown_path, write_record

_RECORD = "a profile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A summary of a window of data, with one `FeatureProfile` for each column.

    Attributes:
        n_rows: Number of rows of the window.
        features: Profiles by column, in the order of the layout.
        layout: Digest of the layout; profiles with the same one can be merged and compared.
        weight: The column with the row weights; empty if rows were not weighted.
        at: The column with the time of each row, from which ages were counted; empty without one.
    """

    n_rows: int
    features: Mapping[str, FeatureProfile]
    layout: str = ""
    weight: str = ""
    at: str = ""

    @property
    def is_nothing(self) -> bool:
        """Whether it has neither rows nor columns, as one that was merged of no partition."""
        return not self.n_rows and not self.features

    def save(self, path: str | PathLike[str]) -> None:
        """Write the profile to one file, and the folders that it lacks on a disk.

        Args:
            path: The file; any path or fsspec URL.

        Raises:
            ConfigError: If the URL must not be used as it is, such as one that holds keys.
            DataError: If no file can have the path: a folder does, or a file where it has a folder.
            StorageError: If the file cannot be written.
        """
        from flytekitplugins.wbmon.monitor.profiles.profile_file import features_to_bytes

        content = features_to_bytes(
            self.features, n_rows=self.n_rows, layout=self.layout, weight=self.weight, at=self.at
        )
        write_record(path, content, record=_RECORD)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Profile:
        """Read a profile that `save` wrote; `path` may be any fsspec URL.

        A file that anyone may have written is safe to load: what it can take of memory and time is
        bounded, and nothing in it is executed.

        Raises:
            ConfigError: If the URL must not be used as it is, such as one that holds keys.
            DataError: If the file does not exist, is not a profile, is longer than 256 MiB, is
                damaged, was written by a newer version of this package, or lies at a URL of a
                protocol that fsspec does not know.
            StorageError: If the file cannot be read.
        """
        from flytekitplugins.wbmon.monitor.profiles.profile_file import (
            MAX_FILE_BYTES,
            features_from_bytes,
        )

        content = read_record(
            path,
            record=_RECORD,
            most=MAX_FILE_BYTES,
            otherwise="if it is data, profile it first: profile_data(path)",
        )
        features, about = features_from_bytes(content, shown_path(path, _RECORD))
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
