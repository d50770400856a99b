"""Names for requests, and decisions that depend on a name alone."""

from __future__ import annotations

import re
from hashlib import blake2b
from random import getrandbits
from time import time_ns

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_RANGE = float(2**64)


def new_request_id() -> str:
    """A UUID of version 7: unique, and sorted by the time it was made.

    The random part is not secret; it must be unique only, so it is not read from the kernel.
    """
    milliseconds = time_ns() // 1_000_000
    low = getrandbits(74)
    text = (
        f"{milliseconds:012x}7{low >> 62:03x}{0x8000 | ((low >> 48) & 0x3FFF):04x}"
        f"{low & 0xFFFFFFFFFFFF:012x}"
    )
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_acceptable(request_id: str) -> bool:
    """Whether an id from outside can be stored and sent back: short, and of harmless letters."""
    return _ACCEPTABLE.fullmatch(request_id) is not None


def unit_share(identifier: str, salt: bytes = b"") -> float:
    """A number in [0, 1) that depends on the identifier and the salt alone, evenly spread."""
    digest = blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8, key=salt)
    return int.from_bytes(digest.digest(), "big") / _RANGE
