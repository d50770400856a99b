"""Presidio as the engine of redaction, for names and places that no pattern can know."""

from __future__ import annotations

from typing import Any

from flytekitplugins.wbmon.errors import MissingExtraError
from flytekitplugins.wbmon.serving.redaction import PatternRedactor


class PresidioRedactor:
    """Hides what a Presidio analyzer finds, after the patterns have hidden keys and numbers.

    An analysis takes milliseconds where the patterns take microseconds; it runs in the writer
    thread, so give it a low sampling rate.

    Args:
        analyzer: A `presidio_analyzer.AnalyzerEngine` of the caller's languages and models; it is
            made once and used for every text. None for Presidio's default, which must be
            installed together with its language model.
        language: Of the texts.
        min_score: Findings that Presidio is less sure of are left.

    Raises:
        MissingExtraError: If no analyzer is given and Presidio is not installed.
    """

    def __init__(
        self, analyzer: Any = None, *, language: str = "en", min_score: float = 0.5
    ) -> None:
        self._analyzer = analyzer or _default_analyzer()
        self._language, self._min_score = language, min_score
        self._patterns = PatternRedactor()

    def text(self, text: str) -> tuple[str, int]:
        """The text with every finding replaced by its kind in brackets, and how often."""
        text, n = self._patterns.text(text)
        found = self._analyzer.analyze(text=text, language=self._language)
        end = len(text)
        for each in sorted(found, key=lambda item: (item.start, item.end), reverse=True):
            if each.score < self._min_score or each.end > end:
                continue
            text = f"{text[: each.start]}[{each.entity_type}]{text[each.end :]}"
            end = each.start
            n += 1
        return text, n


def _default_analyzer() -> Any:
    try:
        from presidio_analyzer import AnalyzerEngine  # type: ignore[import-not-found]
    except ImportError as error:
        raise MissingExtraError.for_feature("PresidioRedactor", extra="presidio") from error
    return AnalyzerEngine()
