"""The ways in which scripts are played, each in a process of its own.

`online` is plain wandb, `offline` is plain wandb and `wandb sync` afterwards, and `spool` is a
function under `wandb_init`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from support.environment import ROOT, SOURCE, clean_environment
from support.wandb_server import KEY, WandbServer
from tests.parity.body import Said, decode, play

PROJECT, ENTITY = "parity", "ops"
WAYS = ("online", "offline", "spool")

# several at once, as most of a run's time is waiting for answers
_AT_ONCE = 4
_LONGEST_S = 3000
_DELIVERY_TIMEOUT_S = 30

Session = Mapping[str, Any]


def start(
    way: str, scripts: Sequence[Any], server: WandbServer, home: Path
) -> subprocess.Popen[str]:
    """A process that plays scripts in one way; `collect` waits for it."""
    environment = {
        **clean_environment(home=home),
        "PYTHONPATH": os.pathsep.join(map(str, (SOURCE, ROOT / "tests"))),
        "WANDB_SILENT": "true",
        "WANDB_DISABLE_WEAVE": "true",
    }
    if way != "spool":  # ours takes the key and the host as arguments
        environment |= server.env
    (home / "scripts.json").write_text(json.dumps(list(scripts)))
    log = (home / "log.txt").open("w")
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.parity.ways", way, server.url],
            cwd=ROOT,
            env={**environment, "PARITY_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def collect(process: subprocess.Popen[str], home: Path) -> list[list[Said]]:
    """What each session of each script was told by its calls.

    Raises:
        RuntimeError: If the process did not play them all.
    """
    try:
        process.wait(_LONGEST_S)
    finally:
        process.kill()
    answers = home / "answers.json"
    if process.returncode or not answers.exists():
        raise RuntimeError((home / "log.txt").read_text()[-8000:])
    told: list[list[Said]] = json.loads(answers.read_text())
    return told


def main(way: str, url: str) -> None:
    """Play the scripts of the process's folder."""
    home = Path(os.environ.pop("PARITY_HOME"))
    scripts = json.loads((home / "scripts.json").read_text())
    work = home / "work"
    work.mkdir()
    os.chdir(work)
    play_session = _SESSIONS[way]

    def play_script(script: Mapping[str, Any]) -> list[Said]:
        told: list[Said] = []
        for number, session in enumerate(script["sessions"]):
            folder = work / f"{script['id']}-{number}"
            folder.mkdir()
            said: Said = []
            try:
                play_session(script["id"], session, folder, said, url)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - compared like an answer
                said.append(("end", type(error).__name__))
            told.append(said)
        return told

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(pool.map(play_script, scripts))
    if way == "offline":
        _sync(work.glob("*/wandb/offline-run-*"))
    (home / "answers.json").write_text(json.dumps(told))


def _play_plain(
    mode: Any, run_id: str, session: Session, folder: Path, said: Said, url: str
) -> None:
    import wandb

    init = decode(session["init"])
    # runs at the same time in one process would close each other's output; one may capture it
    console = {} if init.pop("console", False) else {"console": "off"}
    run = wandb.init(
        project=PROJECT,
        entity=ENTITY,
        id=run_id,
        dir=str(folder),
        mode=mode,
        reinit="create_new",
        settings={"base_url": url, "api_key": KEY, **console},
        **init,
    )
    exit_code = 1
    try:
        play(run, session, folder, said)
        exit_code = 0
    except SystemExit as end:
        exit_code = int(end.code or 0)
        raise
    finally:
        run.finish(exit_code=exit_code)


def _play_spool(run_id: str, session: Session, folder: Path, said: Said, url: str) -> None:
    from flytekitplugins.wbmon import current_run, wandb_init

    init = {name: value for name, value in decode(session["init"]).items() if name != "console"}

    @wandb_init(
        project=PROJECT,
        entity=ENTITY,
        secret=lambda: KEY,
        id=run_id,
        api_host=url,
        delivery_timeout_s=_DELIVERY_TIMEOUT_S,
        offline_store=str(folder / "store"),
        dir=str(folder),
        **init,
    )
    def body() -> None:
        play(current_run(), session, folder, said)

    try:
        body()
    finally:
        # no file is stored if everything was confirmed
        if any(path.is_file() for path in (folder / "store").rglob("*")):
            said.append(("delivery", "to the store"))


_SESSIONS: Mapping[str, Callable[..., None]] = {
    "online": partial(_play_plain, "online"),
    "offline": partial(_play_plain, "offline"),
    "spool": _play_spool,
}


def _sync(folders: Iterable[Path]) -> None:
    """Send what is in the folders of offline runs."""
    subprocess.run(
        [sys.executable, "-m", "wandb", "sync", *map(str, folders)],
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
