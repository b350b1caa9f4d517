from __future__ import annotations

import pytest

from bot.sandbox.driver import Person
from bot.sandbox.server import Sandbox
from tests.e2e.installation import Installation
from tests.sandbox.openapi_check import check, description_path


@pytest.fixture
async def sandbox():
    async with Sandbox() as sandbox:
        yield sandbox
        # Whatever the test was about, every request of the bot has to be one that Discord describes.
        if description_path() is not None:
            check(sandbox.records)


@pytest.fixture
async def installation(sandbox, tmp_path):
    installation = Installation(sandbox, tmp_path)
    yield installation
    await installation.close()


@pytest.fixture
async def ada(sandbox):
    async with Person(sandbox.base_url, "Ada") as person:
        yield person


@pytest.fixture
async def linus(sandbox):
    async with Person(sandbox.base_url, "Linus") as person:
        yield person


@pytest.fixture
async def grace(sandbox):
    """A moderator."""
    async with Person(sandbox.base_url, "Grace") as person:
        yield person
