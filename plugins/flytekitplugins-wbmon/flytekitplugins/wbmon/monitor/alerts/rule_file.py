"""Alert rules in a YAML or JSON file, which users keep beside their code.

A file is read once, by whoever deploys, and then decides at night: every value is checked when it
is read, and an error names the line.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Iterator
from os import PathLike
from typing import Any, TypeAlias

from flytekitplugins.wbmon.errors import ConfigError, StorageError
from flytekitplugins.wbmon.monitor.alerts.decision import AlertRule
from flytekitplugins.wbmon.monitor.alerts.rule_values import rule_value
from flytekitplugins.wbmon.names import quoted_name
from flytekitplugins.wbmon.storage.filesystem import open_filesystem

# a node of PyYAML, which has no types
_Node: TypeAlias = Any

_KEYS = tuple(field.name for field in dataclasses.fields(AlertRule))
_MOST_BYTES = 256 * 1024
_MOST_SHOWN = 300
_MOST_BASES = 8
_TAG = "tag:yaml.org,2002:"
# what YAML 1.2 and JSON take for a number; YAML 1.1, which PyYAML reads, takes 1e-3 for a text, and
# 010 for 8
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def load_rules(path: str | PathLike[str]) -> tuple[AlertRule, ...]:
    """Read rules from a YAML or JSON file: a list of keywords of `AlertRule`, under `rules`.

        rules:
          - metric: performance.accuracy
            drop: 0.05
            severity: error

    An address with blanks at its ends, `#` or `: ` in it must be quoted, as any text in YAML. A
    time is written 2026-01-31 or 2026-01-31T06:00:00Z. What several rules share may be an anchor
    (`<<: *shared`).

    Args:
        path: Path or fsspec URL of the file, of 256 KiB at most.

    Raises:
        ConfigError: If the file cannot be read or has no such list, if a rule has an unknown or
            doubled keyword or a wrong value, or if two rules have one title; the message names the
            line.
        StorageError: If the store of a URL cannot be reached.
    """
    # imported here: only users of a rule file need it
    import yaml  # type: ignore[import-untyped]

    try:
        return _File(str(path)).rules()
    except StorageError:
        raise
    # RecursionError: of brackets in brackets
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        why = " ".join(str(error).split())[:_MOST_SHOWN]
        raise ConfigError(f"{path} must be a readable YAML file; {why}") from error


class _File:
    """The nodes of a file, each of which knows its line."""

    def __init__(self, path: str) -> None:
        files, place = open_filesystem(path)
        # no more than is allowed, and one byte to see that there is more
        with files.open(place, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ConfigError(
                f"{path} must be a readable YAML file of at most {_MOST_BYTES // 1024} KiB; split "
                "it, one file a monitor"
            )
        self.path = path
        self.text = data.decode("utf-8-sig")
        self.is_json = _is_json(self.text)

    def rules(self) -> tuple[AlertRule, ...]:
        """All rules of the file."""
        import yaml

        # tabs between the words of JSON are none in YAML
        text = self.text.replace("\t", " ") if self.is_json else self.text
        top = yaml.compose(text, Loader=yaml.SafeLoader)
        keys = self._pairs(top) if isinstance(top, yaml.MappingNode) else {}
        listed = keys.get("rules", (None, None))[1]
        if not isinstance(listed, yaml.SequenceNode) or not listed.value:
            near = difflib.get_close_matches("rules", keys, n=1)
            hint = f"; did you mean {near[0]!r} to be it?" if near and near[0] != "rules" else ""
            raise ConfigError(
                f"{self.path} must have a list of rules under the key 'rules', found none{hint}"
            )
        rules, lines = list[AlertRule](), dict[str, int]()
        for number, node in enumerate(listed.value, start=1):
            rule = self._rule(number, node)
            if rule.title in lines:
                raise self._error(
                    node,
                    f"the title {quoted_name(rule.title)} is that of the rule in line "
                    f"{lines[rule.title]}; give one of them a name",
                )
            lines[rule.title] = _line(node)
            rules.append(rule)
        return tuple(rules)

    def _rule(self, number: int, node: _Node) -> AlertRule:
        pairs = self._pairs(node) if node.tag == f"{_TAG}map" else {}
        if "metric" not in pairs:
            raise self._error(node, f"rule {number} must be a mapping with a metric")
        keywords = {}
        for key, (at, value) in pairs.items():
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(_KEYS)}"
                raise self._error(at, f"rule {number} has no keyword {quoted_name(key)}; {hint}")
            try:
                keywords[key] = rule_value(key, self._scalar(key, value))
            except ConfigError as error:
                raise self._error(at, f"rule {number} has a wrong value: {error}") from error
        try:
            return AlertRule(**keywords)
        except ConfigError as error:
            whose = quoted_name(keywords["metric"])
            raise self._error(node, f"rule {number} ({whose}): {error}") from error

    def _pairs(self, node: _Node, above: tuple[_Node, ...] = ()) -> dict[str, tuple[_Node, _Node]]:
        """Keys and values of a mapping, those of `<<` first, so that its own come after them."""
        own: dict[str, tuple[_Node, _Node]] = {}
        merged: dict[str, tuple[_Node, _Node]] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                for base in self._bases(key, value, (*above, node)):
                    # the first of several wins, as YAML says
                    merged = {**self._pairs(base, (*above, node)), **merged}
                continue
            name = str(key.value)
            if name in own:
                raise self._error(
                    key,
                    f"the key {quoted_name(name)} is there twice, first in line "
                    f"{_line(own[name][0])}; remove one",
                )
            own[name] = (key, value)
        return {**merged, **own}

    def _bases(self, key: _Node, value: _Node, above: tuple[_Node, ...]) -> Iterator[_Node]:
        bases = value.value if value.tag == f"{_TAG}seq" else [value]
        # few bases without bases of their own: an alias of aliases would take for ever
        is_flat = len(above) == 1 and all(base.tag == f"{_TAG}map" for base in bases)
        if not is_flat or len(bases) > _MOST_BASES:
            raise self._error(
                key, f"<< must name at most {_MOST_BASES} mappings that have no << themselves"
            )
        yield from bases

    def _scalar(self, name: str, node: _Node) -> Any:
        """The value of a node in Python; a list or a mapping is refused, however large it is."""
        import yaml

        if not isinstance(node, yaml.ScalarNode):
            raise ConfigError(f"{name} must be text or a number, got a list or a mapping")
        kind, text = node.tag.removeprefix(_TAG), node.value
        is_plain = node.style is None
        if is_plain and _NUMBER.fullmatch(text):
            return float(text) if re.search("[.eE]", text) else _whole(text)
        if is_plain and kind in ("int", "float") and not _NO_NUMBER.fullmatch(text):
            raise ConfigError(f"{name} must be a decimal number, got {text[:80]}")
        if kind == "str":
            return _joined(text)
        try:
            return yaml.SafeLoader("").construct_document(node)
        except (yaml.YAMLError, ValueError, KeyError, AttributeError) as error:
            why = " ".join(str(error).split())[:_MOST_SHOWN]
            raise ConfigError(f"{name} cannot be read: {why}") from error

    def _error(self, node: _Node, what: str) -> ConfigError:
        return ConfigError(f"{self.path} line {_line(node)}: {what}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _line(node: _Node) -> int:
    return int(node.start_mark.line) + 1


def _whole(text: str) -> int | float:
    # Python writes and reads no more digits
    return int(text) if len(text) < 400 else float(text)  # noqa: PLR2004


def _joined(text: str) -> str:
    """PyYAML takes the two escapes of JSON for one letter beyond U+FFFF for two halves of it."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        return text
