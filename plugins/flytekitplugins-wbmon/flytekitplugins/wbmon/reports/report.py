"""The base class of all reports: a report defines its numbers once, for rules, charts and pages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any, ClassVar, TypeVar

from flytekitplugins.wbmon.reports.measurement import Measurement
from flytekitplugins.wbmon.storage.record_file import RecordFile

R = TypeVar("R", bound="Report")


class Report(RecordFile):
    """What a check or an analysis of one window found.

    What the report measured is the only source of its names in W&B, of the addresses of alert
    rules, and of what is kept and compared from window to window. Its page is made by `page.py`
    beside the module of the report.
    """

    __slots__ = ()

    FILE_NOUN: ClassVar[str] = "a report"
    IF_TOO_LARGE: ClassVar[str] = "if it is data, make a report of it first"

    KIND: ClassVar[str]
    # other kinds that some of its numbers are of
    OTHER_KINDS: ClassVar[tuple[str, ...]] = ()
    # the numbers that say how much the window holds, which the alert node compares with past ones
    VOLUMES: ClassVar[tuple[str, ...]] = ()
    # the input of its node with which it is compared; the first of a chain has no `previous` report
    BASELINE_INPUT: ClassVar[str] = "baseline"

    @property
    def kind(self) -> str:
        """The first word of all its names, such as `drift`."""
        return self.KIND

    @property
    def artifact_name(self) -> str:
        """What the report is called as an artifact in the lineage of W&B runs."""
        return f"{self.kind.replace('_', '-')}-report"

    def measurements(self) -> Iterator[Measurement]:
        """Every number of the report; no two have one address."""
        for each in self._measured():
            yield each if each.kind else replace(each, kind=self.kind)

    @abstractmethod
    def _measured(self) -> Iterable[Measurement]:
        """The numbers, without the kind of the report unless theirs is another."""

    @property
    def unmeasured(self) -> str:
        """What of this window could not be judged, and why, with counts; empty if all was.

        The alert node makes it a finding, whatever the rules ask. A gate that nothing was measured
        for is unknown (`nan`), never 0.
        """
        return ""

    @property
    def usual_volumes(self) -> tuple[float, ...]:
        """What past windows held, where the report itself knows it."""
        return ()

    def absent(self, name: str) -> Measurement | None:
        """What a name stands for that may exist and is not in this window; None if it cannot.

        A route that nobody called, for example: a rule about it is not a mistake.

        Args:
            name: The address without the kind.
        """
        del name
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain Python containers and numbers."""
        from flytekitplugins.wbmon.reports.serialize import record_to_dict

        return record_to_dict(self)

    def to_bytes(self) -> bytes:
        """The content of its file: JSON; the same for equal reports, in every process.

        Raises:
            DataError: If it does not fit in 256 MiB.
        """
        from flytekitplugins.wbmon.reports.report_file import report_to_bytes

        return report_to_bytes(self)

    @classmethod
    def from_bytes(cls: type[R], content: bytes, path: str) -> R:
        """The report in the content of a file.

        Raises:
            DataError: If it is none of this class, is damaged, or was written by a newer version.
        """
        from flytekitplugins.wbmon.reports.report_file import report_from_bytes

        return report_from_bytes(cls, content, path)

    def to_html(self) -> str:
        """A self-contained page, the verdict first."""
        package = type(self).__module__.rpartition(".")[0]
        html: str = import_module(f"{package}.page").page_of(self)
        return html
