"""Request ids, and pseudo-random numbers that depend only on an id."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b, sha256
from time import time_ns

_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:\-]{1,128}")
_RANGE = float(2**64)
# RFC 9562: the two highest bits of this digit are the UUID's variant, binary 10
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
# made in batches, because one call of `os.urandom` per id would be slow
_TAILS: list[str] = []
_N_TAILS = 256
# a forked child must not use the same random parts as its parent
os.register_at_fork(after_in_child=_TAILS.clear)
# the last 12 hexadecimal digits of a UUID
_TAIL_RANGE = float(2**48)
_UUID_LENGTH = 36
# position of the version's digit in a UUID
_UUID_VERSION = 14


def new_request_id() -> str:
    """A new UUID of version 7: unique, and sorted by the time of its creation.

    The random part comes from the operating system, because a program that seeds `random` would
    generate the same ids again.
    """
    half = _time_half(time_ns() // 1_000_000)
    try:  # `pop` is atomic: two threads never get the same one
        return half + _TAILS.pop()
    except IndexError:
        _TAILS.extend(_tails(_N_TAILS))
        return half + _TAILS.pop()


def _tails(n: int) -> Iterator[str]:
    digits = os.urandom(8 * n).hex()
    for at in range(0, 16 * n, 16):
        variant = _VARIANTS[digits[at]]
        yield f"-{variant}{digits[at + 1 : at + 4]}-{digits[at + 4 : at + 16]}"


@lru_cache(maxsize=8)
def _time_half(milliseconds: int) -> str:
    """The first half of a UUID of version 7; the same for all ids of one millisecond."""
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{os.urandom(2).hex()[1:]}"


def is_acceptable(request_id: str) -> bool:
    """Whether an id from a client can be stored and sent back: 1 to 128 safe ASCII characters."""
    return _ACCEPTABLE.fullmatch(request_id) is not None


def id_share(request_id: str) -> float:
    """A number in [0, 1) that depends only on the id, uniformly distributed over ids.

    The last 48 bits of a UUID of version 4 or 7 are random and are used as they are, which is
    faster than a hash; other ids are hashed.
    """
    if len(request_id) == _UUID_LENGTH and request_id[_UUID_VERSION] in "47":
        try:
            return int(request_id[-12:], 16) / _TAIL_RANGE
        except ValueError:
            pass  # only looks like a UUID
    return unit_share(request_id)


def keyed_hash(key: bytes, text: str) -> str:
    """HMAC-SHA256 as 64 hexadecimal digits.

    Keyed, because names of users are few enough to try all of them against a plain hash.
    """
    # halves of surrogate pairs must not raise here
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def unit_share(identifier: str, salt: bytes = b"") -> float:
    """A number in [0, 1) that depends only on identifier and salt, uniformly distributed.

    Args:
        identifier: Any text.
        salt: At most 64 bytes; two salts give independent numbers for the same identifier.
    """
    # not `hash`, which differs between processes; lone surrogates must not raise here
    digest = blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8, key=salt)
    return int.from_bytes(digest.digest(), "big") / _RANGE
