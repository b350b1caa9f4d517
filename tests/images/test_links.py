"""A link to a picture in a bucket opens that picture, for that time, and nothing else.

moto's server lets every signed request in. So a gate stands before it that does what S3 does, with AWS's own code: it
makes the signature again from the secret key, and looks at the time.
"""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from aiohttp import web
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from flux_core.images.store import PictureStore
from tests.bucket import SECRET, BucketServer

KEY, OTHER = "pictures/a/0.webp", "pictures/a/1.webp"
SECONDS = 300.0


class Gate:
    """Admits what is signed for this very request and has not expired, ``later`` than it is."""

    def __init__(self, server: BucketServer) -> None:
        self._server = server
        self.later = timedelta()
        self.address = ""

    async def handle(self, request: web.Request) -> web.Response:
        if not self.admits(request):
            return web.Response(status=403, text="<Code>AccessDenied</Code>")
        async with httpx.AsyncClient() as client:
            answer = await client.request(request.method, f"{self._server.address}{request.raw_path}")
        return web.Response(status=answer.status_code, body=answer.content)

    def admits(self, request: web.Request) -> bool:
        url = httpx.URL(str(request.url))
        given = url.params
        try:
            signed_at = datetime.strptime(given["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            seconds, signature = int(given["X-Amz-Expires"]), given["X-Amz-Signature"]
        except (KeyError, ValueError):
            return False
        if datetime.now(UTC) + self.later > signed_at + timedelta(seconds=seconds):
            return False
        signer = S3SigV4QueryAuth(Credentials("flux", SECRET), "s3", "us-east-1")
        unsigned = AWSRequest(
            request.method,
            str(url.copy_with(params=given.remove("X-Amz-Signature"))),
            headers={"Host": request.host},
        )
        unsigned.context["timestamp"] = given["X-Amz-Date"]
        made = signer.signature(signer.string_to_sign(unsigned, signer.canonical_request(unsigned)), unsigned)
        return hmac.compare_digest(made, signature)


@pytest.fixture
async def gate(
    bucket: str, bucket_server: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Gate, PictureStore]]:
    """The gate, and a store that knows its address alone."""
    await PictureStore(bucket).put(KEY, b"pixels", "image/webp")
    await PictureStore(bucket).put(OTHER, b"others' pixels", "image/webp")
    gate = Gate(bucket_server)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", gate.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gate.address = "http://{}:{}".format(*runner.addresses[0][:2])
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.address)
    yield gate, PictureStore(bucket)
    await runner.cleanup()


async def test_a_link_opens_its_picture_for_its_time(gate: tuple[Gate, PictureStore]) -> None:
    there, store = gate
    link = await store.link(KEY, SECONDS)
    assert link.startswith(there.address)
    async with httpx.AsyncClient() as client:
        answer = await client.get(link)
        assert (answer.status_code, answer.content) == (200, b"pixels")
        there.later = timedelta(seconds=SECONDS - 30)
        assert (await client.get(link)).status_code == 200
        there.later = timedelta(seconds=SECONDS + 30)
        assert (await client.get(link)).status_code == 403


async def test_a_link_opens_nothing_else(gate: tuple[Gate, PictureStore]) -> None:
    _, store = gate
    link = httpx.URL(await store.link(KEY, SECONDS))
    other = httpx.URL(await store.link(OTHER, SECONDS))
    bucket = link.path.removesuffix(KEY)
    changed = {
        "another picture": link.copy_with(path=f"{bucket}{OTHER}"),
        "the whole bucket": link.copy_with(path=bucket.rstrip("/")),
        "upwards": link.copy_with(path=f"{bucket}pictures/a/b/../1.webp"),
        "more time": link.copy_merge_params({"X-Amz-Expires": "600000"}),
        "a later date": link.copy_merge_params({"X-Amz-Date": other.params["X-Amz-Date"].replace("20", "21", 1)}),
        "another picture's signature": link.copy_merge_params({"X-Amz-Signature": other.params["X-Amz-Signature"]}),
        "no signature": link.copy_remove_param("X-Amz-Signature"),
        "a wish besides": link.copy_add_param("response-content-type", "text/html"),
    }
    async with httpx.AsyncClient() as client:
        assert (await client.get(other)).content == b"others' pixels"
        for what, url in changed.items():
            assert (await client.get(url)).status_code == 403, what
        for method in ("PUT", "DELETE", "HEAD", "POST"):
            assert (await client.request(method, link)).status_code == 403, method
        assert (await client.get(link)).content == b"pixels"
