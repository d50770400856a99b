"""Reduces the inputs and outputs of any function to something small enough to log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_ITEMS = 50
_MAX_LABEL = 256
_MAX_DEPTH = 6


def outline(value: Any, depth: int = 0) -> Any:
    """The value with large objects (images, arrays, audio) replaced by their type and shape.

    >>> outline({"text": "hi", "raw": b"123"})
    {'text': 'hi', 'raw': '[bytes 3]'}
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        return f"[bytes {len(value)}]"
    # arrays have a shape; of PIL images only `size` is a tuple
    shape = getattr(value, "shape", None) or getattr(value, "size", None)
    if isinstance(shape, tuple):
        return f"[{type(value).__name__} {'x'.join(map(str, shape))}]"
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ITEMS]
        return {str(name): outline(item, depth + 1) for name, item in items}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple):
        return [outline(item, depth + 1) for item in value[:_MAX_ITEMS]]
    return f"[{type(value).__name__}]"


def answer_columns(output: Any) -> dict[str, Any]:
    """The output of a function as columns of a row: prediction and score, or output text.

    A mapping of labels to probabilities becomes the most probable label and its probability.
    """
    if isinstance(output, bool | int | float):
        return {"prediction": output}
    if isinstance(output, str) and len(output) <= _MAX_LABEL:
        return {"prediction": output}
    if isinstance(output, Mapping) and output and all(map(_is_probability, output.values())):
        best = max(output, key=output.__getitem__)
        return {"prediction": str(best), "score": float(output[best])}
    return {"output_text": outline(output)}


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
