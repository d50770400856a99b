"""What is remembered of a window of data: enough to compare it, small enough to keep.

A profile is counted into a *layout*: for each number the edges of a grid, for each category a table
of names. The first profile of a lineage learns the layout from its own rows; others are counted
into the layout of their reference. Profiles of one layout add up, in any order and any grouping.

This is the one record whose numbers are numpy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.errors import DataError, StorageError
from flytekitplugins.wbmon.monitor.profiles.feature import FeatureProfile
from flytekitplugins.wbmon.storage.filesystem import open_filesystem, write_file

if TYPE_CHECKING:
    from os import PathLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A window of data: one `FeatureProfile` a column, all over the same rows.

    Attributes:
        n_rows: Rows of the window.
        features: By column, in the order of the layout.
        layout: Identity of the layout; profiles with the same one can be merged and compared.
        weight: The column that holds the weight of a row; empty if rows were not weighted.
    """

    n_rows: int
    features: Mapping[str, FeatureProfile]
    layout: str = ""
    weight: str = ""

    def save(self, path: str | PathLike[str]) -> None:
        """Write the profile into one file; `path` may be any fsspec URL."""
        from flytekitplugins.wbmon.monitor.profiles.profile_file import features_to_bytes

        content = features_to_bytes(
            self.features, n_rows=self.n_rows, layout=self.layout, weight=self.weight
        )
        files, place = open_filesystem(path)
        write_file(files, place, content)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Profile:
        """Read a profile that `save` wrote; `path` may be any fsspec URL.

        Raises:
            DataError: If there is no such file, it is no profile, it is damaged, or a newer
                version of this package wrote it.
            StorageError: If the file cannot be read.
        """
        from flytekitplugins.wbmon.monitor.profiles.profile_file import features_from_bytes

        files, place = open_filesystem(path)
        try:
            content = files.cat_file(place)
        except StorageError:
            raise
        except OSError as error:
            raise DataError(
                f"a profile must be a readable file, could not read {str(path)!r}: {error}"
            ) from error
        features, about = features_from_bytes(content, str(path))
        return cls(features=features, **about)
