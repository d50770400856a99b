"""What every report can do: become plain data, and become a page."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Report:
    """Base of the reports; the page of a report is made by `page.py` beside its module."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain Python containers and numbers."""
        from flytekitplugins.wbmon.reports.serialize import record_to_dict

        return record_to_dict(self)

    def to_html(self) -> str:
        """A self-contained page, the verdict first."""
        package = type(self).__module__.rpartition(".")[0]
        html: str = import_module(f"{package}.page").page_of(self)
        return html


class Record:
    """Base of what is no report but can be written down."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain Python containers and numbers."""
        from flytekitplugins.wbmon.reports.serialize import record_to_dict

        return record_to_dict(self)
