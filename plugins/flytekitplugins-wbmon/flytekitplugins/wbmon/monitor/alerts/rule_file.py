"""Alert rules in a YAML or JSON file, which users keep beside their code."""

from __future__ import annotations

import dataclasses
import difflib
import json
from os import PathLike
from typing import Any

from flytekitplugins.wbmon.errors import ConfigError, StorageError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

_KEYS = [field.name for field in dataclasses.fields(AlertRule)]


def load_rules(path: str | PathLike[str]) -> tuple[AlertRule, ...]:
    """Read rules from a YAML or JSON file: a list of keywords of `AlertRule`, under `rules`.

        rules:
          - metric: performance.accuracy
            drop: 0.05
            severity: error

    An address with blanks at its ends, `#` or `: ` in it must be quoted, as any text in YAML.

    Args:
        path: Path or fsspec URL of the file.

    Raises:
        ConfigError: If the file cannot be read or has no such list, or if a rule has an unknown
            keyword or a wrong value; then the message names the rule.
        StorageError: If the store of a URL cannot be reached.
    """
    # imported here: only users of a rule file need it
    import yaml  # type: ignore[import-untyped]

    files, place = open_filesystem(path)
    try:
        content = _content(files.cat_file(place).decode("utf-8"))
    except StorageError:
        raise
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} must be a readable YAML file; {error}") from error
    rules = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(rules, list) or not rules:
        raise ConfigError(f"{path} must have a list of rules under the key 'rules', found none")
    return tuple(_rule(place, keywords) for place, keywords in enumerate(rules, start=1))


def _content(text: str) -> Any:
    import yaml

    # PyYAML takes the two escapes of JSON for one letter beyond U+FFFF for two halves of letters
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)


def _rule(place: int, keywords: Any) -> AlertRule:
    if not isinstance(keywords, dict) or "metric" not in keywords:
        raise ConfigError(f"rule {place} must be a mapping with a metric, got {keywords!r}")
    for key in keywords:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(_KEYS)}"
            raise ConfigError(f"rule {place} has no keyword {key!r}; {hint}")
    try:
        return AlertRule(**keywords)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"rule {place} ({quoted_name(keywords['metric'])}): {error}") from error
