"""Flyte types of the records, and access to the data behind a task input.

A record is passed between tasks as one blob, so its size is not limited by that of a Flyte literal,
and the same file can be passed to `pyflyte run` or opened in a notebook.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flytekit import FlyteContext
from flytekit.core.type_engine import TypeEngine, TypeTransformer, TypeTransformerFailedError
from flytekit.models.core.types import BlobType
from flytekit.models.literals import Blob, BlobMetadata, Literal, Scalar
from flytekit.models.types import LiteralType
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon.errors import DataError
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.drift.joint_report import JointDrift
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.drift.series_report import DriftSeries
from flytekitplugins.wbmon.monitor.llm.cost.report import UsageReport
from flytekitplugins.wbmon.monitor.llm.evaluation.report import EvaluationReport
from flytekitplugins.wbmon.monitor.llm.feedback.report import FeedbackReport
from flytekitplugins.wbmon.monitor.llm.rag.report import RAGReport
from flytekitplugins.wbmon.monitor.llm.steps.report import StepReport
from flytekitplugins.wbmon.monitor.performance.loss_model import LossModel
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.prediction_log.report import CompactionReport, LabelReport
from flytekitplugins.wbmon.monitor.profiles.profile import Profile
from flytekitplugins.wbmon.monitor.scoring.report import ScoringReport
from flytekitplugins.wbmon.monitor.service.experiment_report import ExperimentReport
from flytekitplugins.wbmon.monitor.service.report import ServingReport
from flytekitplugins.wbmon.monitor.service.slo_report import SLOReport
from flytekitplugins.wbmon.reports.serialize import record_from_json, record_to_json

if TYPE_CHECKING:
    from flytekit.types.structured import StructuredDataset

    from flytekitplugins.wbmon.data.sources import Source

R = TypeVar("R")


_JSON_RECORDS: tuple[type[Any], ...] = (
    DriftReport,
    DriftSeries,
    JointDrift,
    PerformanceReport,
    ScoringReport,
    Decision,
    CompactionReport,
    LabelReport,
    ServingReport,
    SLOReport,
    ExperimentReport,
    UsageReport,
    FeedbackReport,
    EvaluationReport,
    RAGReport,
    StepReport,
)


class RecordTransformer(TypeTransformer[R], Generic[R]):
    """Transformer that stores a record as a single-file blob.

    Args:
        record: Type of the record.
        file_format: Blob format and file extension.
        save: Writes a record to a path.
        load: Reads a record from a path.
    """

    def __init__(
        self,
        record: type[R],
        *,
        file_format: str,
        save: Callable[[R, Path], None],
        load: Callable[[Path], R],
    ) -> None:
        super().__init__(name=f"wbmon-{record.__name__}", t=record)
        self._format, self._save, self._load = file_format, save, load

    @property
    def blob_type(self) -> BlobType:
        """The blob type: a single file in the format of this record."""
        return BlobType(format=self._format, dimensionality=BlobType.BlobDimensionality.SINGLE)

    def get_literal_type(self, t: type[R]) -> LiteralType:  # noqa: ARG002 - flytekit's signature
        """The Flyte type of the record."""
        return LiteralType(blob=self.blob_type)

    def assert_type(self, t: type[R], v: Any) -> None:
        """Accept the record, or a file that holds one, as `pyflyte run` passes it."""
        if not isinstance(v, FlyteFile):
            super().assert_type(t, v)

    def to_literal(
        self,
        ctx: FlyteContext,
        python_val: R | FlyteFile,
        python_type: type[R],
        expected: LiteralType,  # noqa: ARG002 - flytekit's signature
    ) -> Literal:
        """Write the record to a file under the raw output prefix."""
        if isinstance(python_val, FlyteFile):
            # read and written again, so a wrong file fails here and not in the task that gets it
            python_val = self._read(Path(python_val.download()))
        if not isinstance(python_val, self.python_type):
            raise TypeTransformerFailedError(
                f"expected a {python_type.__name__}, got a {type(python_val).__name__}"
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self.python_type.__name__}.{self._format}"
            self._save(python_val, path)
            uri = ctx.file_access.put_raw_data(str(path))
        metadata = BlobMetadata(type=self.blob_type)
        return Literal(scalar=Scalar(blob=Blob(metadata=metadata, uri=uri)))

    def to_python_value(
        self,
        ctx: FlyteContext,
        lv: Literal,
        expected_python_type: type[R],
    ) -> R:
        """Download the file and read the record."""
        if lv.scalar is None or lv.scalar.blob is None:
            raise TypeTransformerFailedError(
                f"expected a file of a {expected_python_type.__name__}, got {lv}"
            )
        uri = lv.scalar.blob.uri
        if not ctx.file_access.is_remote(uri):
            return self._read(Path(ctx.file_access.strip_file_header(uri)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record"
            ctx.file_access.get_data(uri, str(path), is_multipart=False)
            return self._read(path)

    def to_html(
        self,
        ctx: FlyteContext,  # noqa: ARG002 - flytekit's signature
        python_val: R,
        expected_python_type: type[R],  # noqa: ARG002 - flytekit's signature
    ) -> str:
        """The HTML page of the record, or its type name if it has none."""
        render = getattr(python_val, "to_html", None)
        return render() if render else f"<p>{type(python_val).__name__}</p>"

    def _read(self, path: Path) -> R:
        try:
            return self._load(path)
        except DataError as error:
            raise TypeTransformerFailedError(str(error)) from error


def _json_transformer(record: type[R]) -> RecordTransformer[R]:
    def save(value: R, path: Path) -> None:
        path.write_text(record_to_json(value), encoding="utf-8")

    def load(path: Path) -> R:
        return record_from_json(record, path.read_bytes())

    file_format = f"wbmon-{record.__name__.lower()}"
    return RecordTransformer(record, file_format=file_format, save=save, load=load)


def register() -> None:
    """Register the transformers of all records with flytekit; safe to call twice."""
    profile = RecordTransformer(
        Profile,
        file_format="wbmon-profile",
        save=lambda value, path: value.save(str(path)),
        load=lambda path: Profile.load(str(path)),
    )
    loss_model = RecordTransformer(
        LossModel,
        file_format="wbmon-loss-model",
        save=lambda value, path: value.save(str(path)),
        load=lambda path: LossModel.load(str(path)),
    )
    reports = [_json_transformer(record) for record in _JSON_RECORDS]
    for transformer in (profile, loss_model, *reports):
        TypeEngine.register(transformer)


def open_data(data: StructuredDataset) -> Source:
    """Open the data of a task input as a source that is read part by part.

    Raises:
        DataError: If there is nothing to read, or it is not Parquet.
    """
    from flytekitplugins.wbmon.data.open import open_source

    # set if the data set was made in this process, as in a test that calls the node
    if data.dataframe is not None:
        return open_source(data.dataframe)
    uri = data.literal.uri if data.literal is not None else data.uri
    if not uri:
        raise DataError("a StructuredDataset must have a dataframe or a uri, got neither")
    return open_source(uri, filesystem=filesystem_of_task(uri))


register()
