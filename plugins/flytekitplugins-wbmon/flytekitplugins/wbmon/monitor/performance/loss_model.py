"""The model of a regression model's loss, as it is kept between the nights that use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.storage.record_file import RecordFile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flytekitplugins.wbmon.stats.loss_model import FittedLoss

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossModel(RecordFile):
    """What `fit_loss_model` learned from labelled rows; `estimate_loss` applies it to a window.

    It holds the features of up to 20,000 rows of the reference, so it is as confidential as they
    are.

    Attributes:
        label: Column of the true values in the reference.
        prediction: Column of predicted values, in both windows.
        features: Columns from which the loss is predicted, the prediction last.
        weight: Column of row weights; empty if rows are not weighted.
        words: The values of each feature of text, in sorted order; its numbers are their places.
        units: Unit of each feature that has one: `s` for durations.
        reference: What was measured in the reference: the baseline of each estimate.
        rows: Features of rows of the reference, `nan` where missing; shape `(n, d)`.
        row_weight: Their weights, `> 0`; shape `(n,)`.
        losses: The fitted model of each loss, `mae` and `mse`; empty if errors are too large.
    """

    FILE_NOUN: ClassVar[str] = "a model of the loss"
    IF_TOO_LARGE: ClassVar[str] = "if it is data, fit a model first: fit_loss_model(path, ...)"

    label: str
    prediction: str
    features: tuple[str, ...]
    weight: str = ""
    words: Mapping[str, tuple[str, ...]]
    units: Mapping[str, str]
    reference: PerformanceReport
    rows: Floats
    row_weight: Floats
    losses: Mapping[str, FittedLoss]

    @classmethod
    def file_format(cls) -> str:
        """The ending of its files, and the format of its blobs in Flyte."""
        return "wbmon-loss-model"

    def to_bytes(self) -> bytes:
        """The content of its file; the same for equal models, in every process.

        Raises:
            DataError: If it does not fit in 256 MiB.
        """
        from flytekitplugins.wbmon.monitor.performance.loss_model_file import fields_to_bytes

        return fields_to_bytes({item.name: getattr(self, item.name) for item in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes, path: str) -> LossModel:
        """The model in the content of a file; what it can take of memory and time is bounded.

        Raises:
            DataError: If it is none, is damaged, or was written by a newer version.
        """
        from flytekitplugins.wbmon.monitor.performance.loss_model_file import fields_from_bytes

        return cls(**fields_from_bytes(content, path))

    def to_html(self) -> str:
        """What was measured in the reference, as a page."""
        return self.reference.to_html()
