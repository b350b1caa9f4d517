"""Fetch what a member uploaded from Discord's CDN, and vet it."""

from __future__ import annotations

import asyncio

import aiohttp

from flux_core.errors import PictureEmpty, PictureNotFetched, PictureTooHeavy, PictureUnsupported
from flux_core.images.intake import VettedPicture, vet

OFFICIAL_CDN = "https://cdn.discordapp.com"
"""Where Discord says attachments are; with a proxy before it, the same path there is asked instead."""
CONTENT_TYPES = frozenset({"image/png", "image/jpeg", "image/jpg", "image/webp", "image/gif"})
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5, sock_read=10)
TRIES = 3
_CHUNK = 64 * 1024


def check_declared(*, size: int, content_type: str | None, max_bytes: int) -> None:
    """Refuse by what Discord says of a file, before anything is fetched; the bytes themselves are vetted later.

    Raises PictureEmpty, PictureTooHeavy or PictureUnsupported.
    """
    if size <= 0:
        raise PictureEmpty()
    if size > max_bytes:
        raise PictureTooHeavy(size=size, limit=max_bytes)
    # Without a declared type the bytes decide.
    if content_type is not None and content_type.partition(";")[0].strip().lower() not in CONTENT_TYPES:
        raise PictureUnsupported()


def cdn_address(url: str, cdn: str) -> str:
    """Return the address to fetch an attachment from: always below ``cdn``.

    Raises PictureNotFetched for an address anywhere else: the bot fetches from no other host.
    """
    base = cdn.rstrip("/") + "/"
    if url.startswith(base):
        return url
    if url.startswith(OFFICIAL_CDN + "/"):
        return base + url.removeprefix(OFFICIAL_CDN + "/")
    raise PictureNotFetched("attachment outside the CDN")


async def fetch(session: aiohttp.ClientSession, url: str, *, cdn: str, max_bytes: int) -> bytes:
    """Download an attachment; redirects are not followed.

    Raises PictureTooHeavy as soon as there are more than ``max_bytes``, and PictureNotFetched when
    the CDN does not hand it over within 30 seconds.
    """
    address = cdn_address(url, cdn)
    for attempt in range(TRIES):
        if attempt:
            await asyncio.sleep(0.25 * 2**attempt)
        try:
            async with session.get(address, timeout=TIMEOUT, allow_redirects=False) as response:
                if response.status >= 500 or response.status == 429:
                    continue
                if response.status != 200:
                    break
                return await _body(response, max_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError):
            continue
    raise PictureNotFetched("the CDN did not hand over the attachment")


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    declared = response.content_length
    if declared is not None and declared > max_bytes:
        raise PictureTooHeavy(size=declared, limit=max_bytes)
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise PictureTooHeavy(size=len(body), limit=max_bytes)
    return bytes(body)


class AttachmentReader:
    """Fetches and vets uploads, few at a time: decoded, one picture can take hundreds of megabytes."""

    def __init__(self, *, cdn: str, max_bytes: int, max_pixels: int, at_once: int = 2) -> None:
        self._cdn = cdn
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._turn = asyncio.Semaphore(at_once)
        self._session: aiohttp.ClientSession | None = None

    def check(self, *, size: int, content_type: str | None) -> None:
        """Refuse by what Discord declares; see ``check_declared``."""
        check_declared(size=size, content_type=content_type, max_bytes=self._max_bytes)

    async def read(self, url: str) -> VettedPicture:
        """Return the picture at ``url``; raises the InvalidPicture that says what is wrong with it."""
        async with self._turn:
            data = await self.fetch(url, max_bytes=self._max_bytes)
            return await asyncio.to_thread(vet, data, max_bytes=self._max_bytes, max_pixels=self._max_pixels)

    async def fetch(self, url: str, *, max_bytes: int) -> bytes:
        """Return an uploaded file as it is; raises PictureTooHeavy or PictureNotFetched, see ``fetch``."""
        if self._session is None:
            # Pictures are compressed already: nothing is asked for, nor unpacked, that could swell on its way in.
            self._session = aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}, auto_decompress=False)
        return await fetch(self._session, url, cdn=self._cdn, max_bytes=max_bytes)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
