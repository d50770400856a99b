"""The template of the route that a request matched; paths have unboundedly many values, it few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flytekitplugins.wbmon.monitor.prediction_log.schema import UNMATCHED


def route_template(scope: Mapping[str, Any], root_path: str) -> str:
    """The template of a request's route, after the framework has routed the request.

    Args:
        scope: The ASGI scope after the app has run.
        root_path: The value of `scope["root_path"]` before the app ran.

    Returns:
        The template, such as `/items/{id}`, with the prefix of a mounted app; `(unmatched)` if no
        route matched.
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
    # if the mounted app does no routing, the route in the scope is the mount itself
    return mounted if hasattr(route, "app") and not hasattr(route, "methods") else mounted + path


def _with_names(prefix: str, parameters: Mapping[str, Any], path: str) -> str:
    """The mount's path with its parameters' names in place of their values."""
    names = {
        str(value): f"{{{name}}}" for name, value in parameters.items() if f"{{{name}" not in path
    }
    return "/".join(names.get(part, part) for part in prefix.split("/"))
