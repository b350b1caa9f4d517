from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.bucket import BucketServer

# The same examples on every run. How quickly they are made, and checked, says something of the machine alone.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")


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
