"""From what a vendor calls a picture to pixels: fetched without our key, and believed only when fully decoded."""

from __future__ import annotations

import asyncio
import binascii
import logging
from base64 import b64decode
from io import BytesIO
from urllib.parse import unquote_to_bytes

import httpx
from PIL import Image, ImageOps

from flux_core.errors import InvalidPicture, ProviderBroken
from flux_core.generation import RATIO_TOLERANCE
from flux_core.images.intake import decode
from flux_core.images.threads import in_picture_thread
from flux_core.models import MAX_PIXELS
from flux_core.providers.hosted.http import MOST_BYTES, HttpTransport, Patience, read_within
from flux_core.providers.hosted.vendor import Found

log = logging.getLogger(__name__)

REDIRECTS = 3
DECODED_AT_ONCE = 2
FETCHED_AT_ONCE = 8
MOST_PIXELS = 8 * MAX_PIXELS
"""Some vendors enlarge; anything beyond this was not asked for by anybody."""
PREVIEW_PIXELS = MAX_PIXELS


class _Gone(Exception):
    """A failed download; ``again``: whether another attempt may help."""

    def __init__(self, detail: str, *, again: bool) -> None:
        self.again = again
        super().__init__(detail)


class Pictures:
    """Fetches and decodes for one vendor, a few at a time. Belongs to one event loop."""

    def __init__(self, title: str, transport: HttpTransport, patience: Patience) -> None:
        self._title = title
        self._transport = transport
        self._patience = patience
        self._decoding = asyncio.Semaphore(DECODED_AT_ONCE)
        self._fetching = asyncio.Semaphore(FETCHED_AT_ONCE)

    async def image(self, found: Found, size: tuple[int, int]) -> Image.Image:
        """Return the RGB pixels of ``found``, which was asked for in ``size``.

        Raises ProviderBroken when it cannot be fetched in time, is no picture, or has another aspect.
        """
        async with self._fetching:
            data = found.data if found.data is not None else await self._data(found.url or "")
        async with self._decoding:
            try:
                image = await in_picture_thread(lambda: decode(data, max_pixels=MOST_PIXELS))
            except InvalidPicture as error:
                raise self._broken(f"answered with something that is no picture ({error})") from None
        if abs(image.width / image.height / (size[0] / size[1]) - 1) > RATIO_TOLERANCE:
            raise self._broken(f"drew {image.width}×{image.height} instead of {size[0]}×{size[1]}")
        return image

    async def preview(self, data: bytes) -> Image.Image | None:
        """Return the pixels of a preview, None where it is none."""
        async with self._decoding:
            try:
                return await in_picture_thread(lambda: decode(data, max_pixels=PREVIEW_PIXELS))
            except InvalidPicture:
                return None

    async def fitted(self, image: Image.Image, size: tuple[int, int]) -> bytes:
        """Return ``image`` cropped and scaled to ``size`` as PNG."""
        async with self._decoding:
            return await in_picture_thread(lambda: _fitted(image, size))

    async def _data(self, url: str) -> bytes:
        if url.startswith("data:"):
            return await in_picture_thread(lambda: self._inline(url))
        detail = "in time"
        try:
            async with asyncio.timeout(self._patience.download):
                for attempt in range(1, self._patience.tries + 1):
                    try:
                        return await self._download(url)
                    except _Gone as gone:
                        detail = str(gone)
                        if not gone.again:
                            break
                    if attempt < self._patience.tries:
                        await asyncio.sleep(self._patience.backoff(attempt))
        except TimeoutError:
            pass
        raise self._broken(f"drew a picture that cannot be fetched: {detail}")

    def _inline(self, url: str) -> bytes:
        head, comma, text = url.partition(",")
        try:
            if not comma:
                raise ValueError("no comma")
            return b64decode(text, validate=True) if head.endswith(";base64") else unquote_to_bytes(text)
        except (ValueError, binascii.Error):
            raise self._broken("answered with a data URI that cannot be read") from None

    async def _download(self, url: str) -> bytes:
        """Fetch ``url`` once, following redirects one by one: each of them has to be allowed."""
        patience = self._patience
        client = self._transport.open
        target = self._allowed(url)
        for _ in range(REDIRECTS + 1):
            request = client.build_request(
                "GET",
                target,
                timeout=httpx.Timeout(patience.silence, connect=patience.connect, pool=patience.pool),
            )
            try:
                response = await client.send(request, stream=True)
                try:
                    if response.is_success:
                        return await read_within(response, MOST_BYTES)
                finally:
                    await response.aclose()
            except Exception as error:
                # Whatever a network or a broken-off answer raises; httpcore's errors reach us as they are.
                raise _Gone(self._transport.hide(f"{type(error).__name__}: {error}"), again=True) from None
            if not response.has_redirect_location:
                again = response.status_code >= 500 or response.status_code in (404, 408, 425, 429)
                raise _Gone(f"{target.host} answered {response.status_code}", again=again)
            try:
                target = self._allowed(str(target.join(response.headers["location"])))
            except httpx.InvalidURL:
                raise _Gone(f"{target.host} redirects to no URL", again=False) from None
        raise _Gone("too many redirects", again=False)

    def _allowed(self, url: str) -> httpx.URL:
        try:
            target = httpx.URL(url)
        except httpx.InvalidURL:
            raise _Gone("its URL is none", again=False) from None
        if not self._transport.rules.may_fetch(target):
            log.warning("A picture of %s lies at %s://%s, where we do not go", self._title, target.scheme, target.host)
            raise _Gone(f"it lies at {target.scheme}://{target.host}, where we do not go", again=False)
        return target

    def _broken(self, what: str) -> ProviderBroken:
        return ProviderBroken(self._transport.hide(f"{self._title} {what}"), provider=self._title)


def _fitted(image: Image.Image, size: tuple[int, int]) -> bytes:
    png = BytesIO()
    ImageOps.fit(image, size, Image.Resampling.LANCZOS).save(png, "PNG", compress_level=1)
    return png.getvalue()
