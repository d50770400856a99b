"""The node that puts labels that come late beside their predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings:
    """By which column `JoinLabels` joins which."""

    label: str
    on: str = "request_id"
    latest_by: str = ""

    def __post_init__(self) -> None:
        if self.on == self.label:
            raise ConfigError(
                f"the key and the label must be different columns, both are {self.on!r}"
            )


class LabelsJoined(NamedTuple):
    """Predictions with their labels, and how many have one."""

    data: StructuredDataset
    coverage: float


class JoinLabels(Node[LabelSettings]):
    """Join labels to the predictions of a window by a key, whenever some have come.

    Of several labels of one key the last wins, and a label replaces the one that the predictions
    had. So the same window may be joined and measured again every night.

    This is for labels in a table of their own, one column a label, of any predictions. For the
    feedback that a server logged (`PredictionLogger.log_feedback`) use `JoinFeedback`, which picks
    one name out of that log, leaves out requests that predicted nothing, and joins likewise.

    Args:
        name: The task's name.
        label: Column of the label; of this name afterwards, too.
        on: Column of the key in both: text or whole numbers.
        latest_by: Column of the labels that tells which of several is the last, such as their
            time; the order of the rows if empty.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the key is the label.
    """

    def __init__(
        self,
        name: str,
        *,
        label: str,
        on: str = "request_id",
        latest_by: str = "",
        **task_kwargs: Any,
    ) -> None:
        settings = LabelSettings(label=label, on=on, latest_by=latest_by)
        super().__init__(name, settings, **task_kwargs)

    def compute(self, predictions: StructuredDataset, labels: StructuredDataset) -> LabelsJoined:
        """Join by the key.

        Args:
            predictions: Of a window; all columns are kept.
            labels: All that have come, of this window and others.

        Returns:
            data: The predictions in their order with the label behind them; missing where none
                came.
            coverage: Share of the predictions that have a label now; `nan` without predictions.
        """
        from flytekitplugins.wbmon.data.join_labels import join_labels

        joined = join_labels(
            open_data(predictions),
            open_data(labels),
            label=self.config.label,
            on=self.config.on,
            latest_by=self.config.latest_by or None,
        )
        return LabelsJoined(
            data=StructuredDataset(dataframe=joined.table), coverage=joined.coverage
        )
