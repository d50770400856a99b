"""The settings of a prediction log, checked when its logger is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flytekitplugins.wbmon.arguments import real_number
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.privacy.patterns import Redactor, require_redactor
from flytekitplugins.wbmon.serving.log.sampling import SamplingPolicy
from flytekitplugins.wbmon.serving.log.thread import Sink
from flytekitplugins.wbmon.storage.guard import require_known
from flytekitplugins.wbmon.storage.segments.layout import require_instance, require_service

_POSITIVE = (
    "max_queue", "flush_interval", "window", "segment_bytes", "segment_age", "max_text",
)  # fmt: skip

HASHABLE = ("tenant", "session_id", "conversation_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """The arguments of a `PredictionLogger`, which documents them, under the same names.

    Raises:
        ConfigError: If the service is not a valid folder name, the destination is a URL of a scheme
            that fsspec does not know, a number is not positive, the
            redactor is none, or columns cannot be hashed.
    """

    service: str
    destination: str
    model: str | None
    model_version: str | None
    deployment: str | None
    sampling: SamplingPolicy
    redactor: Redactor | None
    user_key: bytes | None
    hashed: Sequence[str]
    max_queue: int
    flush_interval: float
    window: float
    segment_bytes: int
    segment_age: float
    max_text: int
    instance: str | None
    spool: str | None
    sinks: Sequence[Sink]

    def __post_init__(self) -> None:
        require_service(self.service)
        # what sends the log would find it in a thread, when nobody can be told
        require_known(self.destination)
        require_redactor(self.redactor)
        for name in _POSITIVE:
            real_number(name, getattr(self, name), above=0)
        wrong = [name for name in self.hashed if name not in HASHABLE]
        if wrong:
            raise ConfigError(
                f"hashed must name columns among {', '.join(HASHABLE)}; got {wrong[0]!r}"
            )
        require_instance(self.instance)
        if self.hashed and self.user_key is None:
            raise ConfigError("hashed columns need a secret user_key; give PredictionLogger one")
