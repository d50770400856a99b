"""The model of a regression model's loss, as it is kept between the nights that use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING

from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.storage.record_file import read_record, shown_path, write_record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from flytekitplugins.wbmon.stats.loss_model import FittedLoss

    Floats = NDArray[np.float64]

_RECORD = "a model of the loss"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossModel:
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

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file, and the folders that it lacks on a disk.

        Args:
            path: The file; any path or fsspec URL.

        Raises:
            ConfigError: If the URL must not be used as it is, such as one that holds keys.
            DataError: If no file can have the path, or the model does not fit in 256 MiB.
            StorageError: If the file cannot be written.
        """
        from flytekitplugins.wbmon.monitor.performance.loss_model_file import fields_to_bytes

        values = {item.name: getattr(self, item.name) for item in fields(self)}
        write_record(path, fields_to_bytes(values), record=_RECORD)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> LossModel:
        """Read a model that `save` wrote; `path` may be any fsspec URL.

        A file that anyone may have written is safe to load: what it can take of memory and time is
        bounded, and nothing in it is executed.

        Raises:
            ConfigError: If the URL must not be used as it is, such as one that holds keys.
            DataError: If the file does not exist, is not a model of the loss, is longer than 256
                MiB, is damaged, or was written by a newer version of this package.
            StorageError: If the file cannot be read.
        """
        from flytekitplugins.wbmon.monitor.performance.loss_model_file import (
            MAX_FILE_BYTES,
            fields_from_bytes,
        )

        content = read_record(
            path,
            record=_RECORD,
            most=MAX_FILE_BYTES,
            otherwise="if it is data, fit a model first: fit_loss_model(path, ...)",
        )
        return cls(**fields_from_bytes(content, shown_path(path, _RECORD)))

    def to_html(self) -> str:
        """What was measured in the reference, as a page."""
        return self.reference.to_html()
