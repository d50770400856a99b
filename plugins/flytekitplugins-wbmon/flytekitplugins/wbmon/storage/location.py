"""What a location is: a path on this disk, a URL of a store, or a chain of file systems.

Whatever takes a path or a URL asks here, so that a location is the same thing where it is checked,
opened, listed and shown.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

# `://` behind a slash is within the path of a file
_URL = re.compile(r"[^/]*://")
# of what follows `::`, fsspec takes such a word for a scheme, and all else for a path
_WORD = re.compile(r"[a-z]+")
_DISK = ("file", "local")


def schemes_of(location: str) -> tuple[str, ...]:
    """The schemes of a URL as they are written; none of a path on this disk.

    A chain of file systems, such as `zip://a.csv::s3://bucket/a.zip`, has several; the last one is
    that of the store.

    >>> schemes_of("s3://bucket/a"), schemes_of("/mnt/s3://bucket/a"), schemes_of("a::b")
    (('s3',), (), ())
    >>> schemes_of("simplecache::s3://bucket/a"), schemes_of("zip://a.csv::/mnt/a.zip")
    (('simplecache', 's3'), ('zip', 'file'))
    """
    if not _URL.match(location):
        return ()
    if _scheme(location) in _DISK:  # no chain begins with a disk, so all else is the name of a file
        return (_scheme(location),)
    *links, last = location.split("::")
    is_path = "://" not in last and not _WORD.fullmatch(last)
    return (*(_scheme(link) for link in links), "file" if is_path else _scheme(last))


def is_chain(location: str) -> bool:
    """Whether a location is a chain of file systems, as `simplecache::s3://bucket/a` is."""
    return len(schemes_of(location)) > 1


def local_path(location: str) -> str | None:
    """The path on this disk, as it is written; None for a URL of another store.

    >>> local_path("out/a"), local_path("file:///mnt/a"), local_path("s3://bucket/a")
    ('out/a', '/mnt/a', None)
    """
    schemes = schemes_of(location)
    if not schemes:
        return location
    return location.partition("://")[2] if schemes[0] in _DISK else None


def is_local(location: str) -> bool:
    """Whether a location is a path on this disk."""
    return local_path(location) is not None


def fault_of(location: str) -> str:
    """Why no file system can open a URL, and the remedy; empty if one can, or for a path."""
    schemes = schemes_of(location)
    if not schemes:
        return ""
    known = _known_schemes()
    unknown = next((scheme for scheme in schemes if scheme not in known), None)
    if unknown is None:
        return ""
    meant = unknown.strip().lower()
    near = [meant] if meant in known else get_close_matches(meant, known, n=2, cutoff=0.5)
    hint = f"write {' or '.join(f'{scheme}://' for scheme in near)}, " if near else ""
    return (
        f"fsspec knows no scheme {unknown!r}; {hint}install the package that brings it, or begin a "
        "path with './'"
    )


def _scheme(link: str) -> str:
    return link.partition("://")[0]


def _known_schemes() -> list[str]:
    # here, because fsspec takes longer to import than this package
    import fsspec

    # what a program has registered as a class is not among the protocols that are available
    return sorted({*fsspec.available_protocols(), *fsspec.registry})
