"""JSON that anyone may have written: whatever is wrong with it is one error.

Python's parser raises another one for brackets in brackets than for everything else.
"""

from __future__ import annotations

import json
from typing import Any

from flytekitplugins.wbmon.errors import DataError


def read_json(text: str | bytes) -> Any:
    """What a text of JSON says.

    Raises:
        DataError: If it is not JSON, or nested more deeply than Python reads.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"JSON must be whole, got {error}") from error
    except RecursionError as error:
        raise DataError("JSON must not be nested so deeply") from error
