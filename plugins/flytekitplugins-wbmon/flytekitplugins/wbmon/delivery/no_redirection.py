"""Requests that carry the key go to the server that was named, and to no other."""

from __future__ import annotations

import urllib.request
from typing import Any


class NoRedirection(urllib.request.HTTPRedirectHandler):
    """Lets an answer that names another address be an `HTTPError` with its status."""

    def redirect_request(self, *_: Any) -> None:
        """Do not follow: the new address would be sent the key."""
