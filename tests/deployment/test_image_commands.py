"""The commands that make and run the bot's image, in an environment that has nothing else. ``make images-test``."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from flux_core.settings import Settings
from flux_core.worker.process import STOP_SECONDS
from tests.deployment.dockerfile import ROOT, STAGES, context, environment, healthcheck, instructions, last

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]
PLACES = ("/opt/flux", "/src", "/data")
"""Folders of the image; here they lie below a temporary one."""


@dataclass(frozen=True)
class Image:
    """What ``docker build --target bot`` would have made."""

    root: Path

    def __post_init__(self) -> None:
        """Do what the Dockerfile says: copy the context, run its commands."""
        lines = instructions("build-bot", STAGES)
        source = self.root / "src"
        for file in context():
            (source / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, source / file)
        (self.root / "data").mkdir()
        for keyword, rest in lines:
            if keyword == "RUN":
                subprocess.run(["sh", "-ec", self.here(rest)], cwd=source, env=self.variables(lines), check=True)
        shutil.rmtree(source)  # the image is made from a later stage

    def here(self, text: str) -> str:
        """Return a command with the image's folders where they lie here."""
        for place in PLACES:
            text = text.replace(place, str(self.root / place.rpartition("/")[2]))
        return text

    def variables(self, lines: list[tuple[str, str]], **more: str) -> dict[str, str]:
        """Return the environment of a container: what the image sets, and nothing of this machine's but pip's."""
        machine = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "HTTP"))}
        set_here = {name: self.here(value) for name, value in environment(lines).items()}
        path = set_here.pop("PATH").replace("$PATH", os.environ["PATH"])
        return {**machine, "PIP_QUIET": "1", "HOME": str(self.root), **set_here, "PATH": path, **more}

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command as in a container."""
        return subprocess.run(
            command,
            cwd=self.root / "data",
            env=self.variables(instructions("bot", STAGES), **more),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Make the image once."""
    return Image(tmp_path_factory.mktemp("image"))


def test_what_is_installed_is_what_the_constraints_say(image: Image) -> None:
    pinned = dict(line.lower().replace("_", "-").split("==") for line in (ROOT / "constraints.txt").read_text().split())
    listed = json.loads(image.run("pip", "list", "--format=json", PIP_QUIET="0").stdout)
    found = {one["name"].lower().replace("_", "-"): one["version"] for one in listed}
    ours = {name: version for name, version in found.items() if name not in ("pip", "setuptools", "flux-bot")}
    assert {"discord.py", "aiohttp", "sqlalchemy"} <= set(ours)
    assert [f"{name}=={version}" for name, version in ours.items() if pinned.get(name) != version] == []
    assert image.run("pip", "check").returncode == 0


def test_the_bot_runs_without_torch_and_a_worker_says_what_it_lacks(image: Image) -> None:
    assert "No module named 'torch'" in image.run("python", "-c", "import torch").stderr
    assert image.run("flux-bot", "--help").returncode == 0
    told = image.run("flux-bot", "worker")
    assert (told.returncode, "pip install -c constraints.txt '.[worker]'" in told.stderr) == (2, True)


def test_the_doctor_finds_its_way(image: Image) -> None:
    told = image.run("flux-bot", "doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert "Picture store" in told.stdout
    assert image.run("flux-bot", "db", "check").stdout.strip() == "Ledger, counters and jobs agree."


async def test_the_command_of_the_image_joins_discord_is_healthy_and_ends_in_order(image: Image) -> None:
    lines = instructions("bot", STAGES)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    async with Sandbox() as sandbox, Person(sandbox.base_url) as person:
        given = {
            "DISCORD_TOKEN": sandbox.token,
            "DISCORD_API_BASE": sandbox.api_base,
            "DISCORD_GATEWAY": sandbox.gateway_url,
            "DISCORD_CDN": sandbox.cdn_base,
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": port,
        }
        variables = image.variables(lines, **given)
        process = await asyncio.create_subprocess_exec(
            *json.loads(last("CMD", lines)), cwd=image.root / "data", env=variables
        )
        try:
            async with asyncio.timeout(60):
                while not ((await person.world())["bot"]["online"] and await person.registered()):
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
            if "metrics_port" in Settings.model_fields:
                well = await asyncio.create_subprocess_exec(*healthcheck(lines), env=variables)
                assert await well.wait() == 0
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                    assert (await client.get("/readyz")).status_code == httpx.codes.OK
                    assert "flux_discord_shard_up" in (await client.get("/metrics")).text
        finally:
            began = time.monotonic()
            process.send_signal(getattr(signal, last("STOPSIGNAL", lines)))
            async with asyncio.timeout(60):
                assert await process.wait() == 0
        assert time.monotonic() - began < STOP_SECONDS
        well = await asyncio.create_subprocess_exec(*healthcheck(lines), env=variables, stderr=subprocess.DEVNULL)
        assert await well.wait() != 0, "a process that has ended is not healthy"
