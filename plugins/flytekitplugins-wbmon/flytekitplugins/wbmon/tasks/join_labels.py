"""The node that joins late labels to their predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from flytekit.types.structured import StructuredDataset

from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.type_transformers import open_data
from flytekitplugins.wbmon.tasks._node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSettings:
    """Settings of `JoinLabels`, where they are described."""

    label: str
    on: str = "request_id"
    latest_by: str = ""

    def __post_init__(self) -> None:
        if self.on == self.label:
            raise ConfigError(
                f"the key and the label must be different columns, both are {self.on!r}"
            )


class LabelsJoined(NamedTuple):
    """Predictions with their labels, and the share that have one."""

    data: StructuredDataset
    coverage: float


class JoinLabels(Node[LabelSettings]):
    """Join labels to the predictions of a window by a key.

    Of several labels for one key the last one is used, and a new label replaces an existing one. So
    the same window can be joined and measured again every night.

    Use this node for labels in a separate table with one column per label. For feedback logged by a
    server (`PredictionLogger.log_feedback`) use `JoinFeedback`, which selects one name from that
    log, leaves out requests without a prediction, and joins in the same way.

    Args:
        name: The task's name.
        label: Name of the label column, in the labels and in the result.
        on: Name of the key column in both: text, whole numbers or dates.
        latest_by: Column with the time of each label, which orders several labels of one key:
            timestamps, dates, ISO text or numbers; row order if empty.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If the key and the label are the same column.
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
            predictions: Predictions of the window; all columns are kept.
            labels: All labels that have arrived, for this window and others.

        Returns:
            data: The predictions in their original order with the label column; null without a
                label.
            coverage: Share of predictions that have a label; `nan` without predictions.
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
