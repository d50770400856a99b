"""Nodes that profile a window, and add profiles of partitions up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """What `ProfileData` reads."""

    columns: tuple[str, ...] = ()
    weight: str = ""


class ProfileData(Node[ProfileSettings]):
    """Summarise a window, column by column, in one pass and in bounded memory.

    Without `like` the window is a reference: it fixes the grid that other windows are counted into.

    Args:
        name: The task's name.
        columns: The columns to profile; all of them if empty.
        weight: Column of row weights, such as the `sample_weight` of a sampled log.
        task_kwargs: As for any node.
    """

    def __init__(
        self, name: str, *, columns: tuple[str, ...] = (), weight: str = "", **task_kwargs: Any
    ) -> None:
        settings = ProfileSettings(columns=tuple(columns), weight=weight)
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, like: Profile | None = None) -> Profile:
        """Profile a window of data.

        Args:
            data: Parquet (a file or a folder) or a data frame of another task.
            like: The reference profile whose grid the window is counted into.

        Returns:
            profile: The window's profile.
        """
        from flytekitplugins.wbmon.monitor.profiles.build import profile_data

        return profile_data(
            open_data(data),
            like=like,
            columns=self.config.columns or None,
            weight=self.config.weight or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSettings:
    """`MergeProfiles` has nothing to set."""


class MergeProfiles(Node[MergeSettings]):
    """Add the profiles of partitions up to the profile of the whole; exact for all counts.

    Args:
        name: The task's name.
        task_kwargs: As for any node.
    """

    def __init__(self, name: str, **task_kwargs: Any) -> None:
        super().__init__(name, MergeSettings(), **task_kwargs)

    def compute(self, profiles: list[Profile]) -> Profile:
        """Merge profiles that were counted into the same grid.

        Args:
            profiles: At least one, all made `like` the same reference.

        Returns:
            profile: The profile of all their rows.
        """
        from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles

        return merge_profiles(profiles)
