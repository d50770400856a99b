"""Flyte types of the records, and access to the data behind a task input.

A record is passed between tasks as one blob, so its size is not limited by that of a Flyte literal,
and the same file can be passed to `pyflyte run` or opened in a notebook.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flytekit import FlyteContext
from flytekit.core.type_engine import TypeEngine, TypeTransformer, TypeTransformerFailedError
from flytekit.models.core.types import BlobType
from flytekit.models.literals import Blob, BlobMetadata, Literal, Scalar
from flytekit.models.types import LiteralType
from flytekit.types.file import FlyteFile

from flytekitplugins.wbmon.errors import ConfigError, DataError, StorageError
from flytekitplugins.wbmon.flyte.filesystem import (
    filesystem_of,
    filesystem_of_task,
    require_openable,
)
from flytekitplugins.wbmon.flyte.internals import HashedLiteral, is_packaging
from flytekitplugins.wbmon.flyte.store_outage import input_out_of_reach
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
from flytekitplugins.wbmon.storage.guard import refuse_keys_in
from flytekitplugins.wbmon.storage.location import is_local, schemes_of
from flytekitplugins.wbmon.storage.record_file import RecordFile

if TYPE_CHECKING:
    from flytekit.types.structured import StructuredDataset
    from fsspec import AbstractFileSystem

    from flytekitplugins.wbmon.data.sources import Source

R = TypeVar("R", bound=RecordFile)


RECORDS: tuple[type[RecordFile], ...] = (
    Profile,
    LossModel,
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
"""Every record that travels between tasks."""


class RecordTransformer(TypeTransformer[R], Generic[R]):
    """Transformer that stores a record as a single-file blob.

    A file at a URL is passed on as it is: it is neither read nor copied, and has no hash, as its
    content may be another when it is read.

    Args:
        record: Type of the record.
    """

    def __init__(self, record: type[R]) -> None:
        super().__init__(name=f"wbmon-{record.__name__}", t=record)
        self._record = record

    @property
    def blob_type(self) -> BlobType:
        """The blob type: a single file in the format of this record."""
        single = BlobType.BlobDimensionality.SINGLE
        return BlobType(format=self._record.file_format(), dimensionality=single)

    def get_literal_type(self, t: type[R]) -> LiteralType:  # noqa: ARG002 - flytekit's signature
        """The Flyte type of the record."""
        return LiteralType(blob=self.blob_type)

    def assert_type(self, t: type[R], v: Any) -> None:
        """Accept the record, or a file that holds one, as `pyflyte run` passes it.

        Raises:
            ConfigError: If a launch plan or workflow is packaged with it, and no pod could read it.
        """
        if not isinstance(v, FlyteFile):
            super().assert_type(t, v)
        # not in `to_literal` alone, whose errors are lost where the type is a union
        self._require_reachable(v)

    def to_literal(
        self,
        ctx: FlyteContext,
        python_val: R | FlyteFile,
        python_type: type[R],
        expected: LiteralType,  # noqa: ARG002 - flytekit's signature
    ) -> Literal:
        """Write the record to a file under the raw output prefix, unless it is at a URL."""
        url = _url_of(python_val)
        if url is not None:
            refuse_keys_in(url)
            require_openable(url)
            return Literal(scalar=self._scalar(url))
        self._require_reachable(python_val)
        if isinstance(python_val, FlyteFile):
            # read and written again, so a wrong file fails here and not in the task that gets it
            python_val = self._read(os.fspath(python_val.path))
        if not isinstance(python_val, self._record):
            raise TypeTransformerFailedError(
                f"expected a {python_type.__name__}, got a {type(python_val).__name__}"
            )
        content = python_val.to_bytes()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self._record.__name__}.{self._record.file_format()}"
            path.write_bytes(content)
            uri = ctx.file_access.put_raw_data(str(path))
        return HashedLiteral(scalar=self._scalar(uri), hash=hashlib.sha256(content).hexdigest())

    def to_python_value(
        self,
        ctx: FlyteContext,
        lv: Literal,
        expected_python_type: type[R],
    ) -> R:
        """Read the record from its file.

        Raises:
            TypeTransformerFailedError: If there is no file of such a record.
            FlyteDownloadDataException: If the store cannot be read; Flyte tries a node again.
        """
        if lv.scalar is None or lv.scalar.blob is None:
            raise TypeTransformerFailedError(
                f"expected a file of a {expected_python_type.__name__}, got {lv}"
            )
        uri = lv.scalar.blob.uri
        try:
            return self._read(uri, filesystem=filesystem_of(ctx.file_access, uri))
        except StorageError as error:
            raise input_out_of_reach(error) from error

    def to_html(
        self,
        ctx: FlyteContext,  # noqa: ARG002 - flytekit's signature
        python_val: R,
        expected_python_type: type[R],  # noqa: ARG002 - flytekit's signature
    ) -> str:
        """The HTML page of the record, or its type name if it has none."""
        render = getattr(python_val, "to_html", None)
        return render() if render else f"<p>{type(python_val).__name__}</p>"

    def _require_reachable(self, value: Any) -> None:
        url = _url_of(value)
        # what is in the memory of this process is in no other
        if url is not None and not (is_packaging() and schemes_of(url) == ("memory",)):
            require_openable(url)
        elif is_packaging():
            name = self._record.__name__
            raise ConfigError(
                f"a {name} that is packaged as an input must be at a URL that pods reach, got "
                f"{_shown(value)} on this machine; save it there once and give its file: "
                f'FlyteFile("s3://….{self._record.file_format()}")'
            )

    def _scalar(self, uri: str) -> Scalar:
        return Scalar(blob=Blob(metadata=BlobMetadata(type=self.blob_type), uri=uri))

    def _read(self, path: str, *, filesystem: AbstractFileSystem | None = None) -> R:
        try:
            return self._record.load_from(path, filesystem=filesystem)
        except DataError as error:
            raise TypeTransformerFailedError(str(error)) from error


def _url_of(value: Any) -> str | None:
    """The URL of a file that is elsewhere; None for all that is on this machine."""
    if not isinstance(value, FlyteFile):
        return None
    # `path` is a local copy once it was downloaded
    place = os.fspath(value.remote_source or value.path)
    return None if is_local(place) else place


def _shown(value: Any) -> str:
    return f"{os.fspath(value.path)!r}" if isinstance(value, FlyteFile) else "an object"


def register() -> None:
    """Register the transformers of all records with flytekit; safe to call twice."""
    for record in RECORDS:
        TypeEngine.register(RecordTransformer(record))


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
