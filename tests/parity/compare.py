"""Plays scripts in every way at once and compares what the servers have afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from support.wandb_server import WandbServer
from tests.parity.intended import INTENDED, OFFLINE, unintended
from tests.parity.scripts import Script
from tests.parity.snapshot import Snapshot, differences, take_snapshot
from tests.parity.ways import WAYS, collect, start


def compare(scripts: Sequence[Script]) -> dict[str, list[str]]:
    """What differs from plain wandb online and is not meant to, by the script's id.

    An offline run cannot be resumed, so scripts of several sessions are not played offline.
    """
    played = {way: list(scripts) for way in WAYS}
    played["offline"] = [script for script in scripts if len(script["sessions"]) == 1]
    seen = _play(played)
    return {
        script["id"]: [
            f"{way} {difference}"
            for way, listed in (("spool", INTENDED), ("offline", OFFLINE))
            if script["id"] in seen[way]
            for difference in unintended(
                differences(seen["online"][script["id"]], seen[way][script["id"]]), listed
            )
        ]
        for script in scripts
    }


def _play(played: Mapping[str, Sequence[Script]]) -> dict[str, dict[str, Snapshot]]:
    """What each way's server has of each script's run, and what the script was told."""
    with ExitStack() as stack:
        servers = {way: stack.enter_context(WandbServer()) for way in WAYS}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        processes = {way: start(way, played[way], servers[way], folder / way) for way in WAYS}
        seen = {}
        for way in WAYS:
            told = collect(processes[way], folder / way)
            seen[way] = {
                script["id"]: _seen(servers[way], script, said)
                for script, said in zip(played[way], told, strict=True)
            }
            assert servers[way].unknown == []
        return seen


def _seen(server: WandbServer, script: Script, said: list[list[str]]) -> Snapshot:
    # so that a difference names the call
    calls = [
        {f"{number} {call}": answer for number, (call, answer) in enumerate(session)}
        for session in said
    ]
    return {**take_snapshot(server, script["id"], resumed=len(said) > 1), "told": calls}
