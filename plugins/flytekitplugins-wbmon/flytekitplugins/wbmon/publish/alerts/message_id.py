"""Prepares a service of apprise: the id by which it tells a repeated message, and its limits.

Every message says its id in the text. Where a service has a field for it, it is there too, so that
a machine can drop a message that it has had already.
"""

from __future__ import annotations

from typing import Any

# by the names of apprise's plugins: the field by which the service itself merges messages
_OWN_FIELD = {"NotifyPagerDuty": "dedup", "NotifyOpsgenie": "alias"}
# web hooks of one's own: an entry of the payload, and a header
_WEB_HOOKS = ("NotifyJSON", "NotifyForm", "NotifyXML")
ENTRY, HEADER = "id", "Idempotency-Key"


def prepare_service(service: Any, url: str, message_id: str, *, timeout_s: float) -> None:
    """Set what apprise leaves open; what the URL says itself stays.

    Args:
        service: A service of apprise, changed in place.
        url: The URL that it was made from.
        message_id: The id of the message; nothing is set if it is empty.
        timeout_s: Longest time in seconds to wait for an answer. apprise waits four, after which a
            slow service has the message, and would get it again every night.
    """
    if "rto=" not in url:
        service.socket_read_timeout = timeout_s
    # a redirected POST arrives as a GET without its content, and is answered as if all was well
    if "redirect=" not in url:
        service.redirects = False
    if not message_id:
        return
    name = type(service).__name__
    field = _OWN_FIELD.get(name)
    # not every release of apprise has the field
    if field is not None and getattr(service, field, "") is None:
        setattr(service, field, message_id)
    if name in _WEB_HOOKS:
        service.payload_extras.setdefault(ENTRY, message_id)
        service.headers.setdefault(HEADER, message_id)
