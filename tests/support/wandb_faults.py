"""What can be wrong with a W&B server, on demand and for chosen requests."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Literal

GRAPHQL = "/graphql"
FILE_STREAM = "/file_stream"
STORAGE = "/storage/"
ALERT = "NotifyScriptableRunAlert"
ARTIFACT = "Artifact"


@dataclass
class Fault:
    """One fault; a server answers normally to requests that it does not match.

    Attributes:
        kind: `status` answers with an error, `hang` never answers while the fault lasts, `reset`
            cuts the connection, `cut` does so in the middle of an answer, `page` answers with a
            page to log in, `delay` answers late, `refuse` closes the port for everybody.
        status: The HTTP status of `status`: 401, 403, 404, 409, 429, 500, 502, 503 …
        on: A regular expression searched in `METHOD /path Operation`; empty matches all requests.
        after: How many matching requests are answered first.
        times: How many are hit then; None for all.
        lasting_s: How long the fault lasts from when it was made; None until it is cleared.
        delay_s: How late `delay` is.
    """

    kind: Literal["status", "hang", "reset", "cut", "page", "delay", "refuse"] = "status"
    status: int = 503
    on: str = ""
    after: int = 0
    times: int | None = None
    lasting_s: float | None = None
    delay_s: float = 0.0
    _began: float = field(default_factory=time.monotonic, repr=False)
    _seen: int = field(default=0, repr=False)

    @property
    def over(self) -> bool:
        """Whether its time has passed."""
        return self.lasting_s is not None and time.monotonic() - self._began > self.lasting_s

    def hits(self, request: str) -> bool:
        """Whether this request is hit; counts it if it matches."""
        if self.over or not re.search(self.on, request):
            return False
        self._seen += 1
        last = float("inf") if self.times is None else self.after + self.times
        return self.after < self._seen <= last
