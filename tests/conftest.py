from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

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
