"""The name that Flyte gives to the pod of one attempt of a node.

The link of the Flyte console to W&B ends in it, so it is the id of a run. It is computed, as the
pod itself knows it only by its host name, which with `hostNetwork` is that of the machine.
"""

from __future__ import annotations

import base64

# as in Flyte's `FixedLengthUniqueID`
_LONGEST = 50
_OFFSET, _PRIME = 0x811C9DC5, 0x01000193
_LETTERS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"abcdefghijklmnopqrstuvwxyz123456")


def pod_name(execution: str, node: str, attempt: int) -> str:
    """The name of a pod: at most 50 characters; a longer one becomes `f` and its FNV-1a hash.

    Args:
        execution: Name of the execution.
        node: Unique name of the node, as in the URL of its page.
        attempt: Number of the attempt.

    >>> pod_name("a8xk2", "n0", 1)
    'a8xk2-n0-1'
    """
    name = f"{execution}-{node}-{attempt}"
    if len(name) <= _LONGEST:
        return name
    digest = _OFFSET
    for byte in name.encode():
        digest = (digest ^ byte) * _PRIME % 2**32
    letters = base64.b32encode(digest.to_bytes(4, "big")).rstrip(b"=")
    return "f" + letters.translate(_LETTERS).decode()
