"""Where the parts of weave are that are not its public API, and whether they are as they must be.

No list of releases decides. The parts are looked up by name, in each place where a release had
them, and a client made of them is tried out before a task is traced with it: what it writes for one
call must have the known form. So a release that is not known works if its form is the same, and
one that differs is refused before a task begins, never inside it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flytekitplugins.wbmon.errors import MissingExtraError
from flytekitplugins.wbmon.traces.spool_server import Digests, SpoolServer, Write

# the oldest and the newest release that all tests passed with
TESTED = ((0, 52, 7), (0, 54, 0))

_SETTINGS = {
    "print_call_link": False,
    "capture_client_info": False,
    "capture_system_info": False,
    "implicitly_patch_integrations": False,
    "use_server_cache": False,
    # no threads: a finished call is on disk before the caller goes on, also if it is then killed
    "client_parallelism": 0,
}
_ASKED, _ANSWERED = {"asked": 1}, "answered"

_LOCK = threading.RLock()

logger = logging.getLogger(__name__)


class UnsupportedWeaveError(RuntimeError):
    """This release of weave has not the form that the offline client needs."""


def weave_version() -> str:
    """The version that is installed.

    Raises:
        MissingExtraError: If none is.
    """
    try:
        return version("weave")
    except PackageNotFoundError as error:
        raise MissingExtraError.for_feature("Weave tracing", extra="llm") from error


@cache
def say_once(message: str) -> None:
    """Warn, once in a process."""
    logger.warning(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeaveParts:
    """The parts of weave that are leaned on.

    Attributes:
        client: The class of clients: entity, project, server, `ensure_project_exists`.
        settings: The class of settings.
        install_settings: Takes a mapping of settings, for the whole process.
        get_client: The client that ops record to.
        set_client: Sets it.
        digests: The functions that name what is published.
        unbox: Takes weave's wrapper off a value.
    """

    client: Callable[..., Any]
    settings: type
    install_settings: Callable[[Mapping[str, Any]], Any]
    get_client: Callable[[], Any]
    set_client: Callable[[Any], None]
    digests: Digests
    unbox: Callable[[Any], Any]

    def make_client(self, entity: str, project: str, write: Write) -> Any:
        """A client whose server is a function that writes."""
        server = SpoolServer(write, self.digests)
        return self.client(entity, project, server, ensure_project_exists=False)

    def activate(self, client: Any) -> Any:
        """Let ops record to this client; the one that they recorded to before."""
        with _LOCK:
            before = self.get_client()
            self.set_client(None)
            self.set_client(client)
        return before


def find_parts() -> WeaveParts:
    """Look the parts up.

    Raises:
        UnsupportedWeaveError: If one is nowhere.
    """
    context = "weave.trace.context.weave_client_context"
    return WeaveParts(
        client=_find("weave.trace.weave_client:WeaveClient"),
        settings=_find("weave.trace.settings:UserSettings"),
        install_settings=_find(
            "weave.trace.settings:replace_settings",
            "weave.trace.settings:parse_and_apply_settings",  # up to 0.52.40
        ),
        get_client=_find(f"{context}:get_weave_client"),
        set_client=_find(f"{context}:set_weave_client_global"),
        digests=_find_digests(),
        unbox=_find("weave.trace.box:unbox"),
    )


def working_parts(entity: str, project: str, *, capture_code: bool) -> WeaveParts:
    """The parts, with settings in place, after a client made of them has passed a trial.

    Args:
        entity: W&B user or team.
        project: W&B project; weave may refuse another than that of the W&B run in the process.
        capture_code: Whether the source of ops is recorded.

    Raises:
        UnsupportedWeaveError: If this release of weave works in another way.
    """
    found = weave_version()
    try:
        parts = find_parts()
        known = _names(parts.settings)
        wanted = {**_SETTINGS, "capture_code": capture_code}
        parts.install_settings({name: wanted[name] for name in wanted if name in known})
        # in a context of its own, so that the trial leaves no call open in the task's
        is_late = copy_context().run(_try_out, parts, entity, project)
    except UnsupportedWeaveError as error:
        raise UnsupportedWeaveError(f"weave {found} works in another way ({error})") from error
    except Exception as error:  # whatever another release does
        problem = f"{type(error).__name__}: {error}"
        raise UnsupportedWeaveError(f"weave {found} works in another way ({problem})") from error
    _warn(found, is_late=is_late)
    return parts


def _try_out(parts: WeaveParts, entity: str, project: str) -> bool:
    """Trace one call; whether a part of it was written only when the client had to finish.

    The digests of a table and `unbox` are used once too.
    """
    seen: list[tuple[str, Mapping[str, Any]]] = []
    client = parts.make_client(entity, project, lambda kind, req: seen.append((kind, req)))
    before = parts.activate(client)
    try:
        call = client.create_call("trial", dict(_ASKED), display_name="trial")
        client.finish_call(call, _ANSWERED, exception=None)
        n_early = len(seen)
        client.flush()
    finally:
        parts.activate(before)
    is_late = n_early < len(seen)
    client.server.table_create({"table": {"rows": [dict(_ASKED)]}})
    if parts.unbox(_ANSWERED) != _ANSWERED:
        raise UnsupportedWeaveError("unbox changes what it is given")
    _check(dict(seen))
    return is_late


def _check(written: Mapping[str, Mapping[str, Any]]) -> None:
    """Whether this is what a call looks like."""
    missing = {"obj_create", "call_start", "call_end"} - written.keys()
    if missing:
        raise UnsupportedWeaveError(
            f"a call was traced without {', '.join(sorted(missing))}; "
            "WEAVE_DISABLED and WEAVE_ENABLE_WAL must not be set"
        )
    start, end = written["call_start"]["start"], written["call_end"]["end"]
    for name in ("project_id", "op_name", "trace_id", "started_at"):
        if not isinstance(start.get(name), str):
            raise UnsupportedWeaveError(f"a call starts without {name}")
    if (start["id"], start["inputs"]) != (end["id"], _ASKED):
        raise UnsupportedWeaveError("the inputs of a call have another form")
    if end["output"] != _ANSWERED or not isinstance(end["ended_at"], str):
        raise UnsupportedWeaveError("the end of a call has another form")


def _warn(found: str, *, is_late: bool) -> None:
    oldest, newest = TESTED
    if not oldest <= _release(found) <= newest:
        say_once(
            f"weave {found} is not among the releases that this was tested with "
            f"({_text(oldest)} to {_text(newest)}); it has the expected form, so tasks are traced"
        )
    if is_late:
        say_once(
            f"weave {found} records calls in threads of its own; a task that is killed can lose "
            "its last calls"
        )


class DigestsOfOld:
    """Digests for the releases that leave them to the server, as the server computes them now.

    Args:
        bytes_digest: Weave's function for content.
    """

    def __init__(self, bytes_digest: Callable[[bytes], str]) -> None:
        self._bytes_digest = bytes_digest

    def compute_file_digest(self, content: bytes, /) -> str:
        """Of a file."""
        return self._bytes_digest(content)

    def compute_object_digest(self, value: Any, /) -> str:
        """Of an object."""
        return self.compute_file_digest(json.dumps(value, sort_keys=True).encode())

    def compute_row_digest(self, row: Any, /) -> str:
        """Of a row of a table."""
        return self.compute_object_digest(row)

    def compute_table_digest(self, rows: list[str], /) -> str:
        """Of a table, by the digests of its rows."""
        return hashlib.sha256("".join(rows).encode()).hexdigest()


def _find_digests() -> Digests:
    found: Any = _find(
        "weave.trace.serialization.digest",
        "weave.shared.digest",  # up to 0.53.12
        "weave.trace_server.trace_server_interface_util:bytes_digest",  # up to 0.52.28
    )
    digests: Digests = DigestsOfOld(found) if callable(found) else found
    return digests


def _find(*places: str) -> Any:
    """The first of these that exists."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            found = import_module(module)
            return getattr(found, name) if name else found
        except (ImportError, AttributeError):
            continue
    raise UnsupportedWeaveError(f"there is no {' and no '.join(places)}")


def _names(settings: Any) -> set[str]:
    if is_dataclass(settings):
        return {field.name for field in fields(settings)}
    return set(settings.model_fields)  # a model of pydantic, up to 0.52.40


def _release(text: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(text).release[:3]


def _text(release: tuple[int, ...]) -> str:
    return ".".join(map(str, release))
