"""What is peculiar to a bucket: links, refusals, an address that is wrong, and a server that is away or silent."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from base64 import b64encode
from datetime import timedelta
from io import StringIO
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from flux_core.errors import PictureGone, StorageUnavailable
from flux_core.images import store as store_module
from flux_core.images.store import PictureStore
from flux_core.logs import configure_logging
from flux_core.settings import Settings
from tests.bucket import PAGE, SECRET, BucketServer

KEY = "pictures/a/0.webp"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a bucket at once."""
    monkeypatch.setattr(store_module, "RETRIES", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)})


async def attempts(store: PictureStore) -> list[str]:
    """Do everything that can be done with a store; return what each refused attempt said."""
    calls = (
        store.put(KEY, b"x", "image/webp"),
        store.get(KEY),
        store.list("pictures"),
        store.delete([KEY]),
    )
    said = []
    for call in calls:
        with pytest.raises(StorageUnavailable) as caught:
            await call
        said.append(str(caught.value))
    return said


async def test_pictures_lie_below_the_path_of_the_url_with_their_type(bucket: str, bucket_server: BucketServer) -> None:
    store = PictureStore(f"{bucket}/house/one")
    await store.put(KEY, b"pixels", "image/webp")
    assert bucket_server.keys(bucket) == {f"house/one/{KEY}"}
    async with httpx.AsyncClient() as client:
        answer = await client.get(await store.link(KEY, 60))
    assert (answer.content, answer.headers["content-type"]) == (b"pixels", "image/webp")


async def test_a_link_is_signed_for_one_picture_and_some_time(bucket: str) -> None:
    store = PictureStore(bucket)
    assert store.has_links
    link = httpx.URL(await store.link(KEY, 300))
    assert (link.path.endswith(KEY), link.params["X-Amz-Expires"]) == (True, "300")
    assert SECRET not in str(link)


async def test_a_large_picture_is_one_upload(bucket: str, bucket_server: BucketServer) -> None:
    began = 0

    async def upload() -> None:
        await PictureStore(bucket).put(KEY, bytes(20_000_000), "image/png")

    uploading = asyncio.create_task(upload())
    while not uploading.done():
        began += "<UploadId>" in await asyncio.to_thread(bucket_server.uploads, bucket)
    await uploading
    assert began == 0, "parts of it would be left behind by a crash"
    assert len(await PictureStore(bucket).get(KEY)) == 20_000_000


async def test_azure_is_asked_for_the_container_of_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "studio")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", b64encode(SECRET.encode()).decode())
    link = httpx.URL(await PictureStore("az://container/house").link(KEY, 60))
    assert (link.host, link.path) == ("studio.blob.core.windows.net", f"/container/house/{KEY}")
    assert SECRET not in str(link)


async def test_google_is_asked_for_the_bucket_of_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    account = {
        "type": "service_account",
        "client_email": "studio@example.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": key.private_bytes(*form).decode(),
        "token_uri": "https://oauth2.googleapis.com/token",
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    link = httpx.URL(await PictureStore("gs://bucket/house").link(KEY, 60))
    assert (link.host, link.path) == ("storage.googleapis.com", f"/bucket/house/{KEY}")
    assert "X-Goog-Signature" in link.params


async def test_more_than_one_page_of_a_bucket_is_gone_through(bucket: str) -> None:
    store = PictureStore(bucket)
    await asyncio.gather(*(store.put(f"inputs/{n:04}.png", b"x", "image/png") for n in range(2 * PAGE + 5)))
    assert len(await store.list("inputs")) == 2 * PAGE + 5


async def test_a_bucket_that_refuses_says_so_without_any_secret(bucket: str, bucket_server: BucketServer) -> None:
    store = PictureStore(bucket)
    await store.put(KEY, b"x", "image/webp")
    with bucket_server.denying():
        said = await attempts(store)
    assert all("403" in line and SECRET not in line for line in said)
    assert await store.get(KEY) == b"x"


async def test_a_bucket_that_was_never_made_is_no_bucket_without_pictures(bucket: str) -> None:
    await attempts(PictureStore("s3://never-made"))
    with pytest.raises(PictureGone):
        await PictureStore(bucket).get(KEY)


async def test_an_address_without_encryption_has_to_be_allowed(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    assert all("AWS_ALLOW_HTTP=true" in line for line in await attempts(PictureStore(bucket)))


async def test_a_server_that_is_away_is_told_and_found_again(monkeypatch: pytest.MonkeyPatch, hasty: None) -> None:
    server = BucketServer()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    store = PictureStore("s3://late")
    await attempts(store)
    server.start()
    try:
        server.bucket("late")
        await store.put(KEY, b"x", "image/webp")
        assert await store.get(KEY) == b"x"
    finally:
        server.stop()


async def test_a_server_that_is_away_is_not_asked_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BucketServer().environment.items():
        monkeypatch.setenv(name, value)
    began = time.monotonic()
    with pytest.raises(StorageUnavailable):
        await PictureStore("s3://away").get(KEY)
    assert time.monotonic() - began < 60


async def test_whoever_waits_for_a_silent_server_can_stop_waiting(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await PictureStore(bucket).get(KEY)


async def test_neither_the_key_nor_a_signed_link_gets_into_the_log(bucket: str, bucket_server: BucketServer) -> None:
    before, log = logging.getLogger().handlers[:], StringIO()
    configure_logging(Settings(_env_file=None, log_level="debug"), log)
    try:
        store = PictureStore(bucket)
        link = await store.link(KEY, 60)
        logging.getLogger("tests").info("fetching %s", link)
        with bucket_server.denying():
            try:
                await store.get(KEY)
            except StorageUnavailable:
                logging.getLogger("tests").exception("no picture")
    finally:
        logging.getLogger().handlers[:] = before
    said = log.getvalue()
    assert "X-Amz-Signature=***" in said
    assert "no picture" in said
    assert httpx.URL(link).params["X-Amz-Signature"] not in said
    assert SECRET not in said
