"""What somebody does on the first day: start the sandbox, open the page, type a prompt, draw from the shell."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from PIL import Image
from selenium.common.exceptions import TimeoutException

from flux_core.images.encoding import read_provenance
from flux_core.settings import child_environment
from tests.sandbox_page.browser import PageView, start

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
PROMPT = "a red circle on a blue background"
LONG = 240


@contextlib.asynccontextmanager
async def open_house(data_dir: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run ``flux-bot run`` without a token; yield the process and the address it prints."""
    environment = child_environment(DATA_DIR=str(data_dir), DISCORD_TOKEN="", SANDBOX_PORT="0", TORCH_THREADS="1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "run", env=environment, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(LONG):
        while not (found := re.search(rb"http://127\.0\.0\.1:\d+", said)):
            said += await process.stderr.readline()
    rest = asyncio.create_task(process.stderr.read())
    try:
        yield process, found[0].decode()
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), LONG)
        print((said + await rest).decode())  # noqa: T201 (pytest shows it when the test fails)


async def test_the_sandbox_tells_its_address_and_leaves_nothing_behind(tmp_path):
    async with open_house(tmp_path) as (process, _):
        async with asyncio.timeout(LONG):
            # Another process has no event to wait for.
            while not (children := psutil.Process(process.pid).children(recursive=True)):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), LONG) == 0
        _, alive = psutil.wait_procs(children, timeout=60)
        assert alive == []


@pytest.mark.browser
async def test_a_prompt_typed_into_the_page_becomes_four_pictures(tmp_path, chromium_paths):
    async with open_house(tmp_path) as (_, address):
        await asyncio.to_thread(draw_in_browser, address, chromium_paths)


def draw_in_browser(address, chromium_paths):
    driver = start(*chromium_paths, height=1000)
    try:
        page = PageView(driver, address, ROOT / ".artifacts")
        page.open("Ada", "studio")
        page.none("[data-banner=offline]")
        page.command(f"/imagine prompt: {PROMPT}")
        drawn = "return [...document.querySelectorAll('img')].filter(i => i.complete && i.naturalWidth == 512).length"
        for _ in range(4):  # the worker loads its model meanwhile
            with contextlib.suppress(TimeoutException):
                page.wait(lambda: driver.execute_script(drawn) == 4, "four pictures")
                break
        page.picture("four-pictures")
        assert driver.execute_script(drawn) == 4
        assert page.one('[data-component="button"][data-label="V4"]')
    finally:
        driver.quit()


async def test_the_shell_draws_through_the_same_queue(tmp_path):
    output = tmp_path / "out.png"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "imagine", "a red circle --seed 7", "-o", str(output)),
        env=child_environment(DATA_DIR=str(tmp_path), TORCH_THREADS="1"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), LONG)
    assert process.returncode == 0
    assert "seed 7" in said.decode()
    with Image.open(output) as picture:
        assert (picture.format, picture.size) == ("PNG", (512, 512))
    assert "Seed: 7" in read_provenance(output.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([""], "nothing to draw yet"),
        (["x" * 10_000], "10,000 characters"),
        (["a circle --sede 7"], "--seed"),
        (["a circle", "--steps", "900"], "50"),
        (["a circle", "--model", "sd15"], "flux-tiny"),
        (["a circle", "-o", "out.bmp"], ".png"),
    ],
    ids=["empty", "long", "flag", "range", "model", "ending"],
)
async def test_the_shell_refuses_in_a_sentence(tmp_path, arguments, sentence):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "imagine", *arguments),
        env=child_environment(DATA_DIR=str(tmp_path)),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), LONG)
    assert process.returncode in (1, 2)
    assert sentence in said.decode()
    assert "Traceback" not in said.decode()
