"""Look-up and test of the parts of weave that are needed but are not its public API.

No list of releases decides what works. The parts are looked up by name in every place where some
release had them. A client built from them is tested before a task is traced: what it writes for one
call must have the known form. So an unknown release works if its form is the same, and a different
one is rejected before the task begins, never inside it.
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
from threading import get_ident
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
    """This release of weave lacks the form that the offline client needs."""


def weave_version() -> str:
    """The installed version of weave.

    Raises:
        MissingExtraError: If weave is not installed.
    """
    try:
        return version("weave")
    except PackageNotFoundError as error:
        raise MissingExtraError.for_feature("Weave tracing", extra="llm") from error


@cache
def say_once(message: str) -> None:
    """Log a warning, once per process and message."""
    logger.warning(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeaveParts:
    """The parts of weave that this package depends on.

    Attributes:
        client: The client class; takes entity, project, server and `ensure_project_exists`.
        settings: The class of settings.
        install_settings: Installs a mapping of settings for the whole process.
        get_client: Returns the client to which ops record.
        set_client: Sets this client.
        digests: Digest functions for published objects.
        boxes: The module whose `box` wraps what an op returns, looked up there at each return.
        unbox: Removes weave's wrapper from a value.
    """

    client: Callable[..., Any]
    settings: type
    install_settings: Callable[[Mapping[str, Any]], Any]
    get_client: Callable[[], Any]
    set_client: Callable[[Any], None]
    digests: Digests
    boxes: Any
    unbox: Callable[[Any], Any]

    def make_client(self, entity: str, project: str, write: Write) -> Any:
        """Make a client whose requests go to `write` instead of a server."""
        server = SpoolServer(write, self.digests)
        return self.client(entity, project, server, ensure_project_exists=False)

    def activate(self, client: Any) -> Any:
        """Make this the client to which ops record; returns the previous one."""
        with _LOCK:
            before = self.get_client()
            # weave's setter ignores a client while another one is set
            self.set_client(None)
            self.set_client(client)
        return before

    def leave_values_plain(self) -> None:
        """Let ops return what their functions return while they record to a client of ours.

        Weave wraps text, numbers and times, to attach references to them. Flyte refuses the wrapper
        where it is passed to a task, and the wrapper of a time without a zone is another time.
        """
        if not isinstance(self.boxes.box, _BoxOfOthers):
            self.boxes.box = _BoxOfOthers(self.boxes.box, self.get_client)


class _BoxOfOthers:
    """Weave's `box` for all clients but ours."""

    def __init__(self, box: Callable[[Any], Any], get_client: Callable[[], Any]) -> None:
        self._box = box
        self._get_client = get_client

    def __call__(self, obj: Any) -> Any:
        server = getattr(self._get_client(), "server", None)
        return obj if isinstance(server, SpoolServer) else self._box(obj)


def find_parts() -> WeaveParts:
    """Look up all parts in the installed weave.

    Raises:
        UnsupportedWeaveError: If a part is not found.
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
        boxes=_find_boxes(),
        unbox=_find("weave.trace.box:unbox"),
    )


def working_parts(entity: str, project: str, *, capture_code: bool) -> WeaveParts:
    """Find the parts, install the settings and test a client built from them.

    Args:
        entity: W&B user or team.
        project: W&B project; weave may reject one that differs from that of the process's W&B run.
        capture_code: Whether the source of ops is recorded.

    Raises:
        UnsupportedWeaveError: If this release of weave does not have the expected form.
    """
    found = weave_version()
    try:
        parts = find_parts()
        known = _names(parts.settings)
        wanted = {**_SETTINGS, "capture_code": capture_code}
        # older releases lack some settings and reject unknown names
        parts.install_settings({name: wanted[name] for name in wanted if name in known})
        # in a context of its own, so that the trial leaves no call open in the task's
        is_late = copy_context().run(_try_out, parts, entity, project)
    except UnsupportedWeaveError as error:
        raise UnsupportedWeaveError(f"weave {found} works in another way ({error})") from error
    except Exception as error:  # whatever another release does
        problem = f"{type(error).__name__}: {error}"
        raise UnsupportedWeaveError(f"weave {found} works in another way ({problem})") from error
    parts.leave_values_plain()
    _warn(found, is_late=is_late)
    return parts


def _try_out(parts: WeaveParts, entity: str, project: str) -> bool:
    """Trace one call as a test, and use table digests and `unbox` once.

    Returns:
        Whether parts of the call were written only by the final flush, or in other threads, which
        may come that late.
    """
    seen: list[tuple[str, Mapping[str, Any]]] = []
    threads: set[int] = set()

    def see(kind: str, request: Mapping[str, Any]) -> None:
        seen.append((kind, request))
        threads.add(get_ident())

    client = parts.make_client(entity, project, see)
    before = parts.activate(client)
    try:
        call = client.create_call("trial", dict(_ASKED), display_name="trial")
        client.finish_call(call, _ANSWERED, exception=None)
        n_early = len(seen)
        client.flush()
    finally:
        parts.activate(before)
    is_late = n_early < len(seen) or threads != {get_ident()}
    client.server.table_create({"table": {"rows": [dict(_ASKED)]}})
    if parts.unbox(_ANSWERED) != _ANSWERED:
        raise UnsupportedWeaveError("unbox changes what it is given")
    _check(dict(seen))
    return is_late


def _check(written: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `UnsupportedWeaveError` unless the requests of one call have the known form."""
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
    """Digests for releases without digest functions, computed as current servers do.

    Args:
        bytes_digest: Weave's digest function for bytes.
    """

    def __init__(self, bytes_digest: Callable[[bytes], str]) -> None:
        self._bytes_digest = bytes_digest

    def compute_file_digest(self, content: bytes, /) -> str:
        """Digest of a file."""
        return self._bytes_digest(content)

    def compute_object_digest(self, value: Any, /) -> str:
        """Digest of an object."""
        return self.compute_file_digest(json.dumps(value, sort_keys=True).encode())

    def compute_row_digest(self, row: Any, /) -> str:
        """Digest of a row of a table."""
        return self.compute_object_digest(row)

    def compute_table_digest(self, rows: list[str], /) -> str:
        """Digest of a table, from the digests of its rows."""
        return hashlib.sha256("".join(rows).encode()).hexdigest()


def _find_digests() -> Digests:
    found: Any = _find(
        "weave.trace.serialization.digest",
        "weave.shared.digest",  # up to 0.53.12
        "weave.trace_server.trace_server_interface_util:bytes_digest",  # up to 0.52.28
    )
    digests: Digests = DigestsOfOld(found) if callable(found) else found
    return digests


def _find_boxes() -> Any:
    _find("weave.trace.box:box")
    return _find("weave.trace.box")


def _find(*places: str) -> Any:
    """The first of these that exists, each as `module` or `module:name`."""
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
