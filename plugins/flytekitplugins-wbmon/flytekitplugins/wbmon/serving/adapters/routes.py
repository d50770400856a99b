"""The template of the route that matched a request: few values, where paths have no end of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.schema import UNMATCHED


def route_template(scope: Mapping[str, Any], root_path: str) -> str:
    """The template behind a request, after the framework has routed it.

    Args:
        scope: The ASGI scope, as the framework left it.
        root_path: What `scope["root_path"]` was before.

    Returns:
        Such as `/items/{id}`, with the prefix of a mounted app; `(unmatched)` if none matched.
    """
    route = scope.get("route")
    if route is None:
        return str(scope.get("path_template") or UNMATCHED)
    path: str | None = getattr(route, "path", None)
    if path is None:
        return UNMATCHED
    if scope.get("root_path", "") == root_path:
        return path
    prefix = str(scope.get("root_path", ""))[len(root_path) :]
    mounted = _with_names(prefix, scope.get("path_params") or {}, path)
    # a mount is the last to match where the app under it does not route
    return mounted if hasattr(route, "app") and not hasattr(route, "methods") else mounted + path


def _with_names(prefix: str, parameters: Mapping[str, Any], path: str) -> str:
    """The mount's path with its parameters' names in place of their values."""
    names = {
        str(value): f"{{{name}}}" for name, value in parameters.items() if f"{{{name}" not in path
    }
    return "/".join(names.get(part, part) for part in prefix.split("/"))
