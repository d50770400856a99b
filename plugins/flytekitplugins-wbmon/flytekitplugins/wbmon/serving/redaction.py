"""Redaction of requests and responses, by the same patterns as the samples of batch scoring."""

from __future__ import annotations

from flytekitplugins.wbmon.monitor.redaction import (
    PatternRedactor,
    Redacted,
    Redactor,
    redact_value,
)

__all__ = ["PatternRedactor", "Redacted", "Redactor", "redact_value"]
