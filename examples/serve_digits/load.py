"""Traffic: digits that the model has not seen, from two scanners, one of which breaks."""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any
from urllib.parse import urlsplit

from workflows.digits import N_TRAIN, digit_rows

N_ROWS = 1797
_EVERY_BROKEN = 97
_EVERY_EMPTY = 211


class Client:
    """Keeps one connection a thread."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url)
        self._mine = local()

    def post(self, path: str, body: Any, tenant: str) -> tuple[int, str]:
        """Send JSON; the status, and the request id that came back."""
        if not hasattr(self._mine, "connection"):
            self._mine.connection = http.client.HTTPConnection(
                str(self._place.hostname), self._place.port, timeout=30
            )
        headers = {"content-type": "application/json", "x-tenant": tenant}
        self._mine.connection.request("POST", path, json.dumps(body), headers)
        answer = self._mine.connection.getresponse()
        answer.read()
        if answer.status >= http.client.INTERNAL_SERVER_ERROR:
            self._mine.connection.close()  # the server hangs up after an error
        return answer.status, answer.headers["x-request-id"] or ""


def send(url: str, *, n: int, scanner_breaks: bool) -> dict[int, int]:
    """Send `n` images and, for every second one, what it really was; requests by status.

    Args:
        url: Of the server.
        n: Images.
        scanner_breaks: Whether the scanner of the tenant `south` loses the lower half of the light.
    """
    rows = digit_rows(N_TRAIN, N_ROWS)
    labels = rows.pop("label").tolist()
    images: list[list[int]] = rows.to_numpy().tolist()
    client = Client(url)
    counts: dict[int, int] = {}

    def ask(i: int) -> int:
        place = i % len(images)
        tenant = "south" if i % 2 else "north"
        pixels = images[place]
        if scanner_breaks and tenant == "south":
            pixels = _broken(pixels)
        status, request_id = client.post("/predict", _body(i, pixels), tenant)
        if status == http.client.OK and i % 4 < 2:  # noqa: PLR2004 - half of each tenant's
            said = {"request_id": request_id, "label": labels[place]}
            client.post("/feedback", said, tenant)
        return status

    with ThreadPoolExecutor(4) as pool:
        for status in pool.map(ask, range(n)):
            counts[status] = counts.get(status, 0) + 1
    return counts


def _broken(pixels: Sequence[int]) -> list[int]:
    return [*pixels[:32], *(ink // 2 for ink in pixels[32:])]


def _body(i: int, pixels: list[int]) -> dict[str, Any]:
    if i % _EVERY_BROKEN == _EVERY_BROKEN - 1:
        return {"pixels": pixels[:10]}
    if i % _EVERY_EMPTY == _EVERY_EMPTY - 1:
        return {"pixels": [0] * 64}
    return {"pixels": pixels}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("url")
    arguments.add_argument("-n", type=int, default=2000)
    arguments.add_argument("--scanner-breaks", action="store_true")
    given = arguments.parse_args()
    print(send(given.url, n=given.n, scanner_breaks=given.scanner_breaks))
