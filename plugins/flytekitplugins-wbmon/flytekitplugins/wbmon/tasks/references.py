"""The nodes that load the current reference or baseline of a model, and that promote a new one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from flytekit import Secret

from flytekitplugins.wbmon.arguments import real_number, require_text
from flytekitplugins.wbmon.delivery.artifacts.name import require_artifact_name
from flytekitplugins.wbmon.delivery.wandb_hosts import require_api_url
from flytekitplugins.wbmon.errors import ConfigError
from flytekitplugins.wbmon.flyte.deck import show_note
from flytekitplugins.wbmon.flyte.filesystem import filesystem_of_task
from flytekitplugins.wbmon.flyte.identity import current_identity
from flytekitplugins.wbmon.flyte.secrets import request_secrets
from flytekitplugins.wbmon.flyte.type_transformers import RECORDS
from flytekitplugins.wbmon.monitor.alerts.decision import Decision
from flytekitplugins.wbmon.monitor.drift.report import DriftReport
from flytekitplugins.wbmon.monitor.performance.report import PerformanceReport
from flytekitplugins.wbmon.monitor.versions.history import PRODUCTION
from flytekitplugins.wbmon.monitor.versions.names import (
    require_alias,
    require_name,
    require_which,
)
from flytekitplugins.wbmon.run.api_key import require_api_key
from flytekitplugins.wbmon.run.lifecycle import current_run
from flytekitplugins.wbmon.storage.record_file import RecordFile
from flytekitplugins.wbmon.tasks._node import Node

if TYPE_CHECKING:
    from flytekitplugins.wbmon.monitor.references.files import ReferenceFiles

_KINDS = {record.file_format(): record for record in RECORDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """Settings of `LoadReference`, where they are described."""

    uri: str
    model: str
    record: str
    version: str
    wandb_artifact: str
    secret: Secret | None
    api_host: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteSettings:
    """Settings of `PromoteReference`, where they are described."""

    uri: str
    model: str
    record: str
    alias: str
    reason: str


class ReferencePromoted(NamedTuple):
    """The outputs of `PromoteReference`.

    Attributes:
        promoted: Whether the record is the reference since.
        reason: Why it is, or why not.
        version: Digest of the record, which is saved in any case.
        before: Digest of the version that was the reference; empty if there was none.
    """

    promoted: bool
    reason: str
    version: str
    before: str


class LoadReference(Node[LoadSettings]):
    """Load the record that a model is compared with now, such as its reference profile.

    The output has the type of the record. The alias is followed when the node runs, so it cannot be
    cached; nodes that get the record can, as its content has a hash.

    With `wandb_artifact` an alias in W&B decides. What the artifact gives is saved as a version in
    the folder, and is the reference while W&B is away: no answer in time, or none of W&B's, or one
    of status 3xx, 407, 408, 429 or 5xx, or a download that breaks. The log and the Deck say so.

    Args:
        name: The task's name.
        uri: Path or URL of the folder of references, as passed to `PromoteReference`.
        model: Name of the model: a file name of at most 200 bytes.
        record: Class of the record: `Profile`, `PerformanceReport`, `LossModel` …
        version: The alias to follow, or the digest of a version; in the folder.
        wandb_artifact: In its place an artifact of W&B and its alias or version, such as
            `team/payments/payments-profile:production`. The record is its only file, or the only
            one whose name ends as `save` names such records: `.wbmon-profile`.
        secret: The W&B key, which the node requests; None to use W&B's own environment.
        api_host: URL of the W&B API; None for WANDB_BASE_URL where the node runs, or
            https://api.wandb.ai.
        timeout_s: Time limit in seconds for W&B.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a setting is empty, of another type or no such name, `cache` is set, or
            `version`, `secret` or `api_host` would have no effect.
    """

    shared_urls = ("uri",)

    def __init__(  # noqa: PLR0913 - one keyword a setting
        self,
        name: str,
        *,
        uri: str,
        model: str,
        record: type[Any],
        version: str = PRODUCTION,
        wandb_artifact: str = "",
        secret: Secret | None = None,
        api_host: str | None = None,
        timeout_s: float = 60.0,
        **task_kwargs: Any,
    ) -> None:
        _require_named(uri=uri, model=model, version=version)
        require_name(model, "model")
        require_which("version", version)
        _refuse_cache(name, task_kwargs)
        settings = LoadSettings(
            uri=uri,
            model=model,
            record=_format_of(record),
            version=version,
            wandb_artifact=wandb_artifact,
            secret=secret,
            api_host=api_host,
            timeout_s=real_number("timeout_s", timeout_s, above=0),
        )
        _require_one_place(settings)
        super().__init__(name, settings, **request_secrets(task_kwargs, secret))

    def _typed_compute(self, config: LoadSettings) -> Callable[..., Any]:
        # W&B does not tell what an alias of its own meant in the past
        compute = self._follow if config.wandb_artifact else self.compute
        return _with_types(compute, {"return": _KINDS[config.record]})

    def compute(self, at: datetime | None = None) -> Any:
        """Load the record.

        Args:
            at: Where the alias pointed then, for a window of the past; now if not given. No input
                of a node with `wandb_artifact`.
        """
        if self.config.wandb_artifact:
            return self._follow()
        return _files(self.config).load(self.config.model, self.config.version, at=at)

    def _follow(self) -> Any:
        from flytekitplugins.wbmon.delivery.artifacts.followed import follow_artifact

        settings = self.config
        api_host = require_api_url(settings.api_host)
        found = follow_artifact(
            _files(settings),
            settings.model,
            settings.wandb_artifact,
            api_host=api_host,
            key=require_api_key(settings.secret, api_host=api_host),
            timeout_s=settings.timeout_s,
            by=current_identity(self.name).group,
        )
        show_note(found.said)
        return found.record

    def _publish(self, inputs: Mapping[str, Any], outputs: Any) -> None:
        from flytekitplugins.wbmon.publish.lineage import publish_lineage

        # the record was made elsewhere: its numbers are not of this run
        publish_lineage({**inputs, "reference": outputs}, (), run=current_run())


class PromoteReference(Node[PromoteSettings]):
    """Make a record the reference of a model, unless the evidence speaks against it.

    The record is saved as a version in any case. A report that is given as evidence speaks against
    it if it found drift, a worse model or an alert, or nothing was measured; an alert node's
    decision does so unless each of its rules was judged and is not breached (a pending or silent
    breach is one). The decision is put on record with the reason, the execution and the numbers of
    the evidence, so it can be rolled back (`ReferenceFiles.roll_back`). What was rolled back is
    promoted again only by hand, and nothing twice on the same evidence: a node that runs again
    undoes no decision.

    Args:
        name: The task's name.
        uri: Path or URL of the folder of references.
        model: Name of the model: a file name of at most 200 bytes.
        record: Class of the record: `Profile`, `PerformanceReport`, `LossModel` …
        alias: The alias that points at the reference: letters of a to z, digits, `.`, `_` and `-`;
            six or more of the digits 0-9 and a-f alone are none, as a digest reads so.
        reason: Why it is promoted, in words; on record.
        task_kwargs: As for any node.

    Raises:
        ConfigError: If a setting is empty, of another type or no such name, or `cache` is set.
    """

    shared_urls = ("uri",)

    def __init__(
        self,
        name: str,
        *,
        uri: str,
        model: str,
        record: type[Any],
        alias: str = PRODUCTION,
        reason: str,
        **task_kwargs: Any,
    ) -> None:
        _require_named(uri=uri, model=model, alias=alias, reason=reason)
        require_name(model, "model")
        require_alias("alias", alias)
        _refuse_cache(name, task_kwargs)
        settings = PromoteSettings(
            uri=uri, model=model, record=_format_of(record), alias=alias, reason=reason
        )
        super().__init__(name, settings, **task_kwargs)

    def _typed_compute(self, config: PromoteSettings) -> Callable[..., Any]:
        return _with_types(self.compute, {"record": _KINDS[config.record]})

    def compute(
        self,
        record: Any,
        decision: Decision | None = None,
        drift: DriftReport | None = None,
        performance: PerformanceReport | None = None,
    ) -> ReferencePromoted:
        """Promote the record.

        Args:
            record: The new reference.
            decision: Evidence: the decision of the alert node.
            drift: Evidence: whether the record's window drifted.
            performance: Evidence: how good the model was in the record's window.

        Returns:
            promoted: Whether the record is the reference since.
            reason: Why it is, or why not.
            version: Digest of the record, which is saved in any case.
            before: Digest of the version that was the reference; empty if there was none.
        """
        from flytekitplugins.wbmon.monitor.references.promote import promote_reference

        found = promote_reference(
            _files(self.config),
            self.config.model,
            record,
            alias=self.config.alias,
            reason=self.config.reason,
            by=current_identity(self.name).group,
            evidence=[each for each in (decision, drift, performance) if each is not None],
        )
        verb = "is" if found.promoted else "is not"
        show_note(f"{found.version[:12]} {verb} promoted to {self.config.alias}: {found.reason}")
        return ReferencePromoted(
            promoted=found.promoted,
            reason=found.reason,
            version=found.version,
            before=found.before,
        )

    def _publish(self, inputs: Mapping[str, Any], outputs: Any) -> None:
        from flytekitplugins.wbmon.publish.lineage import publish_promotion

        super()._publish(inputs, outputs)
        if outputs.promoted:
            publish_promotion(
                inputs["record"],
                model=self.config.model,
                alias=self.config.alias,
                version=outputs.version,
                run=current_run(),
            )


def _files(settings: LoadSettings | PromoteSettings) -> ReferenceFiles[Any]:
    from flytekitplugins.wbmon.monitor.references.files import ReferenceFiles

    kind = _KINDS[settings.record]
    return ReferenceFiles(settings.uri, kind, filesystem=filesystem_of_task(settings.uri))


def _format_of(record: Any) -> str:
    if record not in RECORDS:
        raise ConfigError(
            "record must be a class of records such as Profile, PerformanceReport or LossModel, "
            f"got {record!r}"
        )
    kind: type[RecordFile] = record
    return kind.file_format()


def _require_named(**texts: Any) -> None:
    for name, text in texts.items():
        require_text(name, text)
        if not text.strip():
            raise ConfigError(f"{name} must not be empty")


def _require_one_place(settings: LoadSettings) -> None:
    if settings.wandb_artifact != "":
        require_artifact_name("wandb_artifact", settings.wandb_artifact)
        if settings.version != PRODUCTION:
            raise ConfigError("version must be left out with wandb_artifact, whose alias decides")
    elif settings.secret is not None or settings.api_host is not None:
        raise ConfigError("secret and api_host must be left out without wandb_artifact")


def _refuse_cache(name: str, task_kwargs: Mapping[str, Any]) -> None:
    if task_kwargs.get("cache"):
        raise ConfigError(
            f"node {name!r} must not be cached, as an alias may point elsewhere in each run; cache "
            "the nodes that get the record"
        )


def _with_types(compute: Callable[..., Any], types: Mapping[str, Any]) -> Callable[..., Any]:
    """A function with the signature of another, some of whose types are given by the settings."""
    annotations = {**get_type_hints(compute), **types}
    signature = inspect.signature(compute)
    parameters = [
        each.replace(annotation=annotations[name]) for name, each in signature.parameters.items()
    ]

    def typed(**inputs: Any) -> Any:
        return compute(**inputs)

    typed.__annotations__ = annotations
    typed.__signature__ = signature.replace(  # type: ignore[attr-defined]  # read by `inspect`
        parameters=parameters, return_annotation=annotations["return"]
    )
    return typed
