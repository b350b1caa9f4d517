from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from bot.sandbox.server import Sandbox
from bot.sandbox.world import Limits

from .browser import PageView, start
from .line import Line

ROOT = Path(__file__).parents[2]
T = TypeVar("T")
Chromium = Callable[..., PageView]


def pytest_exception_interact(node: pytest.Item) -> None:
    """Save what the browser showed when a test failed."""
    view = getattr(node, "funcargs", {}).get("page")
    if isinstance(view, PageView):
        view.picture(f"failed-{node.name.partition('[')[0]}")


class Loop:
    """An event loop in a thread, for servers that run beside a test that blocks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sandbox", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.close()


@pytest.fixture(scope="module")
def sandbox(chromium_paths: tuple[str, str], loop: Loop) -> Iterator[Sandbox]:
    # Tests post faster than Discord lets a bot.
    running = Sandbox(limits=Limits(rate_limits=False))
    loop.run(running.start())
    yield running
    loop.run(running.stop())


class ScriptedBot:
    """The scripted bot as a process of its own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        s = self._sandbox
        arguments = (s.api_base, s.gateway_url, s.cdn_base, s.token)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.sandbox_page.scripted_bot", *arguments], cwd=ROOT
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@pytest.fixture(scope="module")
def scripted_bot(sandbox: Sandbox) -> Iterator[ScriptedBot]:
    bot = ScriptedBot(sandbox)
    bot.start()
    deadline = time.monotonic() + 60
    while not sandbox.world.commands.every():
        assert time.monotonic() < deadline, "The scripted bot registered no commands."
        time.sleep(0.05)
    yield bot
    bot.stop()


@pytest.fixture(scope="module")
def line(sandbox: Sandbox, loop: Loop) -> Iterator[Line]:
    """The way from the browser to the sandbox, which a test may cut."""
    built = Line(httpx.URL(sandbox.base_url).port or 0)
    loop.run(built.start())
    yield built
    loop.run(built.stop())


@pytest.fixture(scope="module")
def chromium(chromium_paths: tuple[str, str]) -> Iterator[Callable[..., Any]]:
    """Start browsers; all end with the module."""
    drivers = []

    def open_browser(**how: Any) -> Any:
        drivers.append(start(*chromium_paths, **how))
        return drivers[-1]

    yield open_browser
    for driver in drivers:
        driver.quit()


@pytest.fixture(scope="module")
def desktop(chromium: Callable[..., Any]) -> Any:
    return chromium()


@pytest.fixture
def page(desktop: Any, line: Line, scripted_bot: ScriptedBot) -> Iterator[PageView]:
    """Ada in #studio, at a desktop; nothing may have gone wrong in the browser's console afterwards."""
    view = PageView(desktop, f"http://127.0.0.1:{line.port}/", ROOT / ".artifacts")
    view.open("Ada", "studio")
    view.none("[data-banner=offline]")
    desktop.get_log("browser")
    yield view
    complaints = [entry["message"] for entry in desktop.get_log("browser") if entry["level"] == "SEVERE"]
    assert [text for text in complaints if "Failed to load resource" not in text and "WebSocket" not in text] == []
