from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.openai_server import OpenAIServer


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """What a client logs, where it is given `rows.append`."""
    return []
