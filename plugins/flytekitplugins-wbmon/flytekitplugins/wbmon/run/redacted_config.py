"""Keeps secrets out of a run's config whoever puts them there: wandb itself, or the task's body.

Not only the `config` argument fills a config: so do `config-defaults.yaml`, a sweep, SageMaker's
parameters, `run.config.update` and `wandb.config[...] =`. They all go through one function of
wandb, which this module makes redact what it is given. So do those that tell the run what there is
and what has changed: a list or a dict of the config may have been changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flytekitplugins.wbmon.delivery.runs.wandb_internals import config_class, warn_missing
from flytekitplugins.wbmon.privacy.secrets import SecretRedactor

if TYPE_CHECKING:
    import wandb

_FUNCTION = "_sanitize"
_TELLING, _CONTENT = "_callback", "_as_dict"
# wandb's own entry
_OWN = "_wandb"
_WITHHELD = "[not recorded: it could not be redacted]"


@contextmanager
def redacting_configs(redactor: SecretRedactor) -> Iterator[None]:
    """Redact the configs of all runs that are opened in the block.

    Args:
        redactor: Hides secrets.
    """
    kind = config_class()
    own = getattr(kind, _FUNCTION, None)
    if kind is None or own is None:
        warn_missing("secrets that a task puts into `run.config` are not hidden")
        yield
        return
    setattr(
        kind, _FUNCTION, lambda self, *given, **named: own(self, *_clean(redactor, given), **named)
    )
    try:
        yield
    finally:
        setattr(kind, _FUNCTION, own)


def redact_config(run: wandb.Run, redactor: SecretRedactor) -> None:
    """Redact whatever is put into the config of an open run.

    Args:
        run: The run.
        redactor: Hides secrets.
    """
    own: Callable[..., Any] | None = getattr(type(run.config), _FUNCTION, None)
    if own is None:
        return

    def redacting(*given: Any, **named: Any) -> Any:
        return own(run.config, *_clean(redactor, given), **named)

    # not by assignment, which would make it an entry of the config
    object.__setattr__(run.config, _FUNCTION, redacting)
    tell: Callable[..., Any] | None = getattr(run.config, _TELLING, None)
    content: Callable[[], dict[str, Any]] | None = getattr(run.config, _CONTENT, None)
    if tell is None or content is None:
        return

    def cleaned(entries: Mapping[str, Any]) -> dict[str, Any]:
        return dict(_clean(redactor, entry) for entry in entries.items())

    def telling(key: Any = None, val: Any = None, data: Any = None) -> Any:
        if key is not None:
            key, val = _clean(redactor, (key, val))
        return tell(key=key, val=val, data=None if data is None else cleaned(data))

    object.__setattr__(run.config, _TELLING, telling)
    object.__setattr__(run.config, _CONTENT, lambda: cleaned(content()))


def _clean(redactor: SecretRedactor, given: tuple[Any, ...]) -> tuple[Any, ...]:
    name, value, *rest = given
    # an artifact: W&B writes its name and version
    if name == _OWN or type(value).__module__.startswith("wandb."):
        return given
    try:
        shown, value = redactor.entry(str(name), value)
        return (shown if isinstance(name, str) else name), value, *rest
    except Exception:  # noqa: BLE001 - of any object: what is not clean is not kept
        return name, _WITHHELD, *rest
