"""A very small HTTP server: GET of a few paths, one answer a connection, on the event loop of the process.

On the loop and not in a thread of its own, so that an answer proves that the loop goes round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from flux_core.errors import ConfigurationError

log = logging.getLogger(__name__)

MOVE_SECONDS = 5.0
"""How long a request may take to arrive, and its answer to leave: whoever is silent holds no place for long."""
HEAD_BYTES = 16 * 1024
CONNECTIONS = 32
"""Most at once; whoever comes then is hung up on."""
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = TEXT


Page = Callable[[Mapping[str, str]], Awaitable[Answer]]
"""Answers a GET; it is given the request's headers, their names in lower case."""


@asynccontextmanager
async def serve(pages: Mapping[str, Page], host: str, port: int) -> AsyncIterator[int]:
    """Serve ``pages`` (path → page) meanwhile; yields the port, which the system chooses for 0.

    Raises ConfigurationError for an address that cannot be taken.
    """
    server = _Server(pages)
    try:
        listening = await asyncio.start_server(server.accept, host, port, limit=HEAD_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"Metrics cannot be served on {host}:{port} ({error.strerror or error}). Set METRICS_HOST and METRICS_PORT "
            "to a free address; port 0 takes any free one, and without METRICS_PORT none are served."
        ) from error
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await server.close()


class _Server:
    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._open: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End the connections that are still open."""
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to answer, in a task of our own: that of asyncio complains when it is cancelled."""
        if len(self._open) >= CONNECTIONS:
            writer.close()
            return
        task = asyncio.create_task(self._answer(reader, writer), name="metrics")
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and hang up."""
        try:
            method, said = await self._asked(reader)
            async with asyncio.timeout(MOVE_SECONDS):
                writer.write(_written(said, with_body=method != "HEAD"))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()

    async def _asked(self, reader: asyncio.StreamReader) -> tuple[str, Answer]:
        try:
            async with asyncio.timeout(MOVE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return "GET", _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return "GET", _plain(HTTPStatus.BAD_REQUEST)
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return method, _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        page = self._pages.get(target.partition("?")[0])
        if page is None:
            return method, _plain(HTTPStatus.NOT_FOUND)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        try:
            return method, await page(headers)
        except Exception:
            log.exception("%s cannot be answered", target.partition("?")[0])
            return method, _plain(HTTPStatus.INTERNAL_SERVER_ERROR)


def _plain(status: HTTPStatus) -> Answer:
    return Answer(f"{status.phrase}\n".encode(), status)


def _written(answer: Answer, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (answer.body if with_body else b"")
