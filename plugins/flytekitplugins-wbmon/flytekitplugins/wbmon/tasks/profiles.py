"""The nodes that profile a window and merge the profiles of partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.arguments import listed_columns
from flytekitplugins.wbmon.data.kind import declarations
from flytekitplugins.wbmon.flyte.function_reference import load_references, references_of
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """Settings of `ProfileData`, where they are described."""

    columns: tuple[str, ...] = ()
    weight: str = ""
    kinds: dict[str, str] = field(default_factory=dict)
    missing_values: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    at: str = ""
    embed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        declarations(self.kinds, self.missing_values)


class ProfileData(Node[ProfileSettings]):
    """Summarise each column of a window in one pass and in bounded memory.

    Without `like` the window becomes a reference, whose bins are used to count other windows.

    Args:
        name: The task's name.
        columns: The columns to profile; all of them if empty.
        weight: Column of row weights, such as the `sample_weight` of a sampled log.
        kinds: What columns are, by name, such as `{"store": "category", "size": "S < M < L"}`, as
            `profile_data` takes it. Used without `like`, whose kinds windows follow.
        missing_values: Values that stand for none, by column, such as `{"age": (-999,)}`; likewise.
        at: Column with the time of each row, from which the ages of other times are counted.
        embed: By column of text, a function that turns `n` texts into `n` vectors; a function at
            module level or `"module:name"`. Give it to the node of the reference and to those of
            windows.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a kind does not exist, or a function has no name that a pod could find.
    """

    def __init__(
        self,
        name: str,
        *,
        columns: tuple[str, ...] = (),
        weight: str = "",
        kinds: dict[str, str] | None = None,
        missing_values: dict[str, tuple[Any, ...]] | None = None,
        at: str = "",
        embed: Mapping[str, Callable[..., Any] | str] | None = None,
        **task_kwargs: Any,
    ) -> None:
        settings = ProfileSettings(
            columns=listed_columns("columns", columns),
            weight=weight,
            kinds=dict(kinds or {}),
            missing_values=dict(missing_values or {}),
            at=at,
            embed=references_of(embed),
        )
        super().__init__(name, settings, **task_kwargs)

    def compute(self, data: StructuredDataset, like: Profile | None = None) -> Profile:
        """Profile a window of data.

        Args:
            data: Parquet (a file or a folder) or a data frame of another task.
            like: The reference profile whose bins are used to count the window.

        Returns:
            profile: The window's profile.
        """
        from flytekitplugins.wbmon.monitor.profiles.build import profile_data

        return profile_data(
            open_data(data),
            like=like,
            columns=self.config.columns or None,
            weight=self.config.weight or None,
            kinds=self.config.kinds if like is None else None,
            missing_values=self.config.missing_values if like is None else None,
            at=self.config.at or None,
            embed=load_references(self.config.embed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSettings:
    """Settings of `MergeProfiles`, which has none."""


class MergeProfiles(Node[MergeSettings]):
    """Merge the profiles of partitions into one; all counts are exact.

    Args:
        name: The task's name.
        task_kwargs: As for any node.
    """

    def __init__(self, name: str, **task_kwargs: Any) -> None:
        super().__init__(name, MergeSettings(), **task_kwargs)

    def compute(self, profiles: list[Profile]) -> Profile:
        """Merge profiles that have the same bins.

        Args:
            profiles: Profiles that were all made with `like` set to the same reference. A night
                without partitions has none.

        Returns:
            profile: The profile of all their rows; without a profile, that of no row and no column.
        """
        from flytekitplugins.wbmon.monitor.profiles.build import merge_profiles

        return merge_profiles(profiles) if profiles else Profile(n_rows=0, features={})
