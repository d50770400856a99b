"""Azure Blob Storage on the loopback device: those calls of its REST API that adlfs makes.

https://learn.microsoft.com/rest/api/storageservices: what is not there is 404, and a blob that
`If-None-Match: *` finds is 409. The account's key is not checked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from support.objects import Buckets, Content, StoreHandler, serving

_ACCOUNT = "loopback"
_KEY = base64.b64encode(b"no secret").decode()


class _Handler(StoreHandler):
    def do(self) -> None:
        """Answer a request."""
        body = self.body()
        url = urlsplit(self.path)
        self.asked = dict(parse_qsl(url.query, keep_blank_values=True))
        _, _, container, *names = unquote(url.path).split("/", 3)
        try:
            with self.buckets.lock:
                if names and names[0]:
                    self._blob(container, names[0], body)
                else:
                    self._container(container)
        except KeyError as error:
            is_container = container not in self.buckets.objects
            self._error(404, "ContainerNotFound" if is_container else "BlobNotFound", str(error))

    do_GET = do_HEAD = do_PUT = do_DELETE = do  # noqa: N815 - http.server's names

    def _container(self, container: str) -> None:
        self.buckets.objects[container]  # a KeyError is an answer
        if self.asked.get("comp") == "list":
            self._list(container)
        elif self.command in ("GET", "HEAD"):
            self.answer(200, headers={"ETag": '"0x1"', "Last-Modified": formatdate(usegmt=True)})
        else:
            raise AssertionError(f"the stand-in of Azure does not know {self.command} {self.path}")

    def _blob(self, container: str, name: str, body: bytes) -> None:
        objects = self.buckets.objects[container]
        if self.command == "PUT":
            self._put(container, name, body)
        elif self.command == "DELETE":
            del objects[name]
            self.answer(202)
        elif self.command == "HEAD":
            content = objects[name]
            self.answer(200, content.data, _headers(content))
        else:
            content = objects[name]
            asked = self.headers.get("x-ms-range") or self.headers.get("Range")
            self.part(content.data, asked, _headers(content))

    def _put(self, container: str, name: str, body: bytes) -> None:
        objects = self.buckets.objects[container]
        blocks = self.buckets.blocks.setdefault((container, name), {})
        what = self.asked.get("comp", "blob")
        if what == "block":
            blocks[self.asked["blockid"]] = body
            self.answer(201)
            return
        if self.headers.get("If-None-Match") == "*" and name in objects:
            self._error(409, "BlobAlreadyExists", name)
            return
        status, data = 201, body
        if what == "blocklist":
            data = b"".join(blocks[each] for each in re.findall(r">([^<>\s]+)</", body.decode()))
        elif source := self.headers.get("x-ms-copy-source"):
            _, _, from_container, from_name = unquote(urlsplit(source).path).split("/", 3)
            status, data = 202, self.buckets.objects[from_container][from_name].data
        elif what != "blob":
            raise AssertionError(f"the stand-in of Azure does not know {self.command} {self.path}")
        done = self.buckets.put(container, name, data)
        copied = {"x-ms-copy-id": "1", "x-ms-copy-status": "success"} if status == 202 else {}
        self.answer(status, headers={**_headers(done), **copied})

    def _list(self, container: str) -> None:
        found, folders = self.buckets.list(
            container, self.asked.get("prefix", ""), self.asked.get("delimiter", "")
        )
        entries = [
            f"<Blob><Name>{escape(name)}</Name><Properties>{_properties(content)}</Properties></Blob>"
            for name, content in found.items()
        ]
        # in pages, as the real one lists
        start = int(self.asked.get("marker") or 0)
        stop = start + min(int(self.asked.get("maxresults", 5000)), 5000)
        prefixes = [f"<BlobPrefix><Name>{escape(each)}</Name></BlobPrefix>" for each in folders]
        shown = "".join([*entries[start:stop], *([] if start else prefixes)])
        marker = str(stop) if stop < len(entries) else ""
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ServiceEndpoint="http://x/" ContainerName="{container}">'
            f"<Blobs>{shown}</Blobs><NextMarker>{marker}</NextMarker></EnumerationResults>"
        )
        self.answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _error(self, status: int, code: str, message: str) -> None:
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        )
        headers = {"Content-Type": "application/xml", "x-ms-error-code": code}
        self.answer(status, text.encode(), headers)


def _headers(content: Content) -> dict[str, Any]:
    at = formatdate(content.written_at, usegmt=True)
    return {
        "ETag": f'"0x{content.version:X}"',
        "Last-Modified": at,
        "x-ms-creation-time": at,
        "x-ms-blob-type": "BlockBlob",
        "Content-Type": "application/octet-stream",
    }


def _properties(content: Content) -> str:
    at = formatdate(content.written_at, usegmt=True)
    return (
        f"<Creation-Time>{at}</Creation-Time><Last-Modified>{at}</Last-Modified>"
        f"<Etag>0x{content.version:X}</Etag><Content-Length>{len(content.data)}</Content-Length>"
        "<Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType>"
    )


@contextmanager
def azure_server() -> Iterator[tuple[dict[str, str], Buckets]]:
    """Start a stand-in; the environment that leads to it, and its containers."""
    with serving(_Handler) as (url, buckets):
        connection = (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
            f"BlobEndpoint={url}/{_ACCOUNT};"
        )
        yield {"AZURE_STORAGE_CONNECTION_STRING": connection}, buckets
