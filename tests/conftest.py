from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.bucket import BucketServer
from tests.heavy_first import in_order

if "PYTEST_XDIST_WORKER" in os.environ:
    # Torch is not imported yet, and the processes of tests inherit this. Threads of one process that wait for each
    # other spin meanwhile: beside other test processes, two take three times the processor time of one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every run. How quickly they are made, and checked, says something of the machine alone.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave out the garbage collector: of what collecting makes, and of torch, nothing becomes garbage any more."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each of xdist's processes a fitting share of what takes long."""
    items[:] = in_order(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))


@pytest.fixture(scope="session")
def chromium_paths() -> tuple[str, str]:
    """The browser and its driver; without them these tests are skipped, except in CI, where they fail."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    sentence = "The page's tests need Chromium: apt-get install chromium chromium-driver"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    """Run an S3-compatible server."""
    server = BucketServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def bucket(bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make an empty bucket that this process can reach; return its URL."""
    for name, value in bucket_server.environment.items():
        monkeypatch.setenv(name, value)
    return bucket_server.bucket()
