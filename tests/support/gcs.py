"""Google Cloud Storage on the loopback device: those calls of its JSON API that gcsfs makes.

https://cloud.google.com/storage/docs/json_api/v1: what is not there is 404, `ifGenerationMatch=0`
of what is there 412, and names in paths are percent-encoded with their slashes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from support.objects import Buckets, Content, StoreHandler, serving

_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/([^/]+)$")
_COPY = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo/b/([^/]+)/o|moveTo/o)/([^/]+)$")
_UPLOAD = re.compile(r"/upload/storage/v1/b/([^/]+)/o$")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o$")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)$")


class _Refused(Exception):  # noqa: N818 - a status, not a fault
    """An answer that is no success."""


class _Handler(StoreHandler):
    def do(self) -> None:
        """Answer a request."""
        body = self.body()
        url = urlsplit(self.path)
        self.asked = dict(parse_qsl(url.query))
        self.resource = f"{url.scheme}{url.path}"
        try:
            with self.buckets.lock:
                self._route(url.path, body)
        except KeyError:
            self._error(404, "Not Found")
        except _Refused:
            self._error(412, "conditionNotMet")

    do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815 - http.server's names

    def _route(self, path: str, body: bytes) -> None:
        if path == "/batch/storage/v1":
            self._batch(body)
        elif found := _COPY.match(path):
            self._copy(*(unquote(each) if each else "" for each in found.groups()))
        elif found := _OBJECT.match(path):
            self._object(unquote(found[1]), unquote(found[2]))
        elif found := _UPLOAD.match(path):
            self._upload(unquote(found[1]), body)
        elif found := _LIST.match(path):
            self._list(unquote(found[1]))
        elif found := _BUCKET.match(path):
            self.buckets.objects[found[1]]
            self._json({"kind": "storage#bucket", "name": found[1]})
        else:
            raise AssertionError(f"the stand-in of GCS does not know {self.command} {self.path}")

    def _object(self, bucket: str, name: str) -> None:
        content = self.buckets.objects[bucket][name]
        if self.command == "DELETE":
            del self.buckets.objects[bucket][name]
            self.answer(204)
        elif self.asked.get("alt") == "media":
            self.part(content.data, self.headers.get("Range"))
        else:
            self._json(_resource(bucket, name, content))

    def _upload(self, bucket: str, body: bytes) -> None:
        objects = self.buckets.objects[bucket]
        if self.asked["uploadType"] == "resumable" and "upload_id" not in self.asked:
            name = self.asked.get("name") or json.loads(body)["name"]
            where = f"http://{self.headers['Host']}{self.path}&upload_id={len(self.buckets.blocks)}"
            self.buckets.blocks[bucket, where.rpartition("=")[2]] = {"name": name.encode()}
            self.answer(200, headers={"Location": where})
            return
        if self.asked["uploadType"] == "resumable":
            name, data = self._resumed(bucket, body)
        else:
            boundary = re.search('boundary="([^"]+)"', self.headers["Content-Type"])
            assert boundary is not None
            _, about, part, _ = body.split(b"--" + boundary[1].encode())
            name = json.loads(about.partition(b"\n\n")[2])["name"]
            data = part.partition(b"\n\n")[2].removesuffix(b"\n")
        if data is None:
            return
        if self.asked.get("ifGenerationMatch") == "0" and name in objects:
            raise _Refused
        self._json(_resource(bucket, name, self.buckets.put(bucket, name, data)))

    def _resumed(self, bucket: str, body: bytes) -> tuple[str, bytes | None]:
        """The name and, after the last chunk, the data of an upload in chunks."""
        session = self.buckets.blocks[bucket, self.asked["upload_id"]]
        session["data"] = session.get("data", b"") + body
        place = self.headers.get("Content-Range", "bytes */*").removeprefix("bytes ")
        if place.endswith("/*") and body:
            headers = {"Range": f"bytes=0-{len(session['data']) - 1}"}
            self.answer(308, headers=headers)
            return "", None
        return session["name"].decode(), session["data"]

    def _copy(self, bucket: str, name: str, to_bucket: str, to_name: str) -> None:
        data = self.buckets.objects[bucket][name].data
        target = to_bucket or bucket
        resource = _resource(target, to_name, self.buckets.put(target, to_name, data))
        if to_bucket:
            self._json({"done": True, "resource": resource})
        else:
            del self.buckets.objects[bucket][name]
            self._json(resource)

    def _list(self, bucket: str) -> None:
        found, folders = self.buckets.list(
            bucket, self.asked.get("prefix", ""), self.asked.get("delimiter", "")
        )
        items = [_resource(bucket, name, content) for name, content in found.items()]
        # in pages, as the real one lists
        start = int(self.asked.get("pageToken", 0))
        stop = start + min(int(self.asked.get("maxResults", 1000)), 1000)
        page: dict[str, Any] = {"kind": "storage#objects", "items": items[start:stop]}
        if folders and not start:
            page["prefixes"] = folders
        if stop < len(items):
            page["nextPageToken"] = str(stop)
        self._json(page)

    def _batch(self, body: bytes) -> None:
        answers = []
        for bucket, name in re.findall(r"DELETE /storage/v1/b/([^/]+)/o/(\S+?)[? ]", body.decode()):
            gone = self.buckets.objects[unquote(bucket)].pop(unquote(name), None)
            answers.append(f"--batch_x\r\n\r\nHTTP/1.1 {204 if gone else 404} -\r\n\r\n")
        text = "".join(answers) + "--batch_x--"
        self.answer(200, text.encode(), {"Content-Type": "multipart/mixed; boundary=batch_x"})

    def _json(self, content: Any) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, message: str) -> None:
        error = {"error": {"code": status, "message": message}}
        self.answer(status, json.dumps(error).encode(), {"Content-Type": "application/json"})


def _resource(bucket: str, name: str, content: Content) -> dict[str, Any]:
    at = datetime.fromtimestamp(content.written_at, timezone.utc)
    written_at = at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(len(content.data)),
        "generation": str(content.version),
        "etag": f"etag-{content.version}",
        "md5Hash": base64.b64encode(hashlib.md5(content.data).digest()).decode(),  # noqa: S324 - as GCS
        "timeCreated": written_at,
        "updated": written_at,
    }


@contextmanager
def gcs_server() -> Iterator[tuple[dict[str, str], Buckets]]:
    """Start a stand-in; the environment that leads to it, without credentials, and its buckets."""
    with serving(_Handler) as (url, buckets):
        yield {"STORAGE_EMULATOR_HOST": url, "NO_GCE_CHECK": "true"}, buckets
