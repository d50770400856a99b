"""Names that users give, to columns, classes, segments …: how they are told, whatever they hold.

An ordinary name is told as it is. A name may as well be empty, hold line breaks or three hundred
letters; then a sentence must stay one line, and two names must not be told alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from itertools import islice

_LONGEST = 80
_LISTED = 20


def shown_name(name: str, longest: int = _LONGEST) -> str:
    """A name in a sentence or on a page: on one line, and with a digest where it is cut.

    One that would be invisible or break the line is quoted as Python writes it.

    Args:
        name: The name.
        longest: Number of characters that are told in full.
    """
    is_plain = name.isprintable() and name.strip() == name and name[:1] not in ("", "'", '"')
    return _cut(name, name if is_plain else repr(name), longest)


def quoted_name(name: object, longest: int = _LONGEST) -> str:
    """A name in an error message: quoted as Python writes it, and cut as in `shown_name`."""
    if type(name) is int:
        return _cut(whole_name(name), whole_name(name), longest)
    return _cut(str(name), repr(name), longest)


def listed_names(names: Iterable[object], *, none: str = "none") -> str:
    """The first names, quoted, with an ellipsis if there are more; `none` if there are none."""
    quoted = [quoted_name(name) for name in islice(names, _LISTED + 1)]
    more = ["…"] if len(quoted) > _LISTED else []
    return ", ".join([*quoted[:_LISTED], *more]) or none


def whole_name(number: int) -> str:
    """All digits of a whole number; hexadecimal ones where Python writes no others.

    That is beyond 4300 decimal digits, of which the time to write them grows with the square.

    >>> whole_name(10**20), whole_name(10**5000)[:6]
    ('100000000000000000000', '0x31e2')
    """
    try:
        return str(int(number))
    except ValueError:
        return hex(number)


def on_one_line(text: str) -> str:
    """A text with line breaks and what cannot be seen written as escapes."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def digest_of(name: str, digits: int) -> str:
    """Hexadecimal digits that stand for a name where there is no room for all of it."""
    # surrogatepass: a name may hold half of a pair, which plain UTF-8 refuses
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def fitted_name(name: str, longest: int, *, of: str = "") -> str:
    """A name for a field that holds so many characters: a longer one is cut and ends in a digest.

    Two long names that begin alike so stay different, and each stays the same from run to run.

    Args:
        name: The name.
        longest: Number of characters that fit.
        of: What the digest is made of, if the name was changed already; the name if empty.
    """
    if len(name) <= longest:
        return name
    digest = digest_of(of or name, 10)
    return f"{name[: longest - len(digest) - 1]}-{digest}"


def _cut(name: str, told: str, longest: int) -> str:
    if len(told) <= longest:
        return told
    return f"{told[: longest - 12]}… ~{digest_of(name, 8)}"


def window_name(start: datetime | None, segment: str) -> str:
    """The name of a window in a report: its start, its segment, or both."""
    time = "" if start is None else start.isoformat(sep=" ", timespec="minutes")
    time = time.removesuffix("+00:00").removesuffix(" 00:00")
    return " · ".join(part for part in (time, shown_name(segment) if segment else "") if part)
