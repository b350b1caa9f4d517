"""Bot and worker as processes that share a database and a bucket, and no folder."""

from __future__ import annotations

import pytest

from bot.sandbox.reading import pictures_of
from tests.bucket import SECRET
from tests.e2e.installation import Installation
from tests.e2e.test_main_job import finished, pictures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


async def test_pictures_go_from_a_worker_to_discord_through_the_bucket(sandbox, tmp_path, bucket, bucket_server, ada):
    folder = tmp_path / "house"
    folder.mkdir()
    installation = Installation(
        sandbox, folder, PICTURE_STORE=f"{bucket}/house", LOG_LEVEL="debug", **bucket_server.environment
    )
    try:
        await installation.bot()
        await installation.scripted()
        card = await finished(ada, await ada.command("imagine", prompt="a red circle --n 2"))
        assert [picture.size for picture in await pictures(ada, card)] == [(512, 512)] * len(pictures_of(card))
        stored = {key for key in bucket_server.keys(bucket) if key.startswith("house/pictures/")}
        assert len(stored) == len(pictures_of(card)) == 2
        assert not (folder / "pictures").exists()
    finally:
        await installation.close()
    assert all(SECRET not in installation.log(part) for part in ("bot", "worker"))
