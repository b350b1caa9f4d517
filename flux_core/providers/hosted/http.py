"""HTTP to one vendor: what is paid for leaves once, what is not is repeated, and the key stays between us and it.

A submit gets a connection of its own, over HTTP/1.1: one that was kept alive may die in the moment it is used, and the
streams of one HTTP/2 connection fail together, which would make unknown outcomes of many paid orders at once. All the
rest shares a pool, with HTTP/2 where the vendor offers it.

Proxies from the environment (HTTPS_PROXY, NO_PROXY) are used for https, where they see no more than the host's name.
Plain http never goes through one: it would show the key.
"""

from __future__ import annotations

import asyncio
import json as json_module
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, Self

import httpx
import tenacity

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderDown,
    ProviderFault,
)
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.limits import Pace
from flux_core.providers.hosted.network import KEEPALIVE_SECONDS, GuardedTransport, HostRules, tls
from flux_core.providers.hosted.patience import Patience, retry_after
from flux_core.providers.hosted.secrecy import Veil
from flux_core.providers.hosted.transport import Answer
from flux_core.providers.hosted.vendor import Vendor, text_of

__all__ = ["MOST_BYTES", "USER_AGENT", "HttpTransport", "Patience"]

log = logging.getLogger(__name__)

MOST_BYTES = 64 * 1024 * 1024
"""Of one answer."""
CALLS_AT_ONCE = 8
"""Requests that are not paid for, and so connections kept. The pool looks through all of them for every request, which
with hundreds takes longer than the request itself."""
REPEATED_STATUSES = frozenset({408, 425, 429})
"""Besides 500 and above: worth another attempt of a request that may be repeated."""


def _version() -> str:
    try:
        return version("flux-bot")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"


USER_AGENT = f"flux-bot/{_version()} (Discord image studio)"
"""Some download servers refuse a request without one."""

Files = Mapping[str, tuple[str, bytes, str]]


class _Again(Exception):
    """A failure after which the same request may be sent once more, and what it is if it stays the last one."""

    def __init__(self, fault: GenerationFailed, after: float | None = None) -> None:
        self.fault = fault
        self.after = after
        super().__init__(str(fault))


class HttpTransport:
    """The Transport of one vendor. Belongs to one event loop; ``async with`` or ``close`` gives connections back."""

    def __init__(self, vendor: Vendor, *, patience: Patience | None = None, pace: Pace | None = None) -> None:
        """Speak for ``vendor``; ``pace`` hears of answers that say "too many", and gives turns for repetitions."""
        hush()
        self._vendor = vendor
        self._patience = patience or Patience()
        self._pace = pace
        self._veil = Veil(vendor)
        self._calling = asyncio.Semaphore(CALLS_AT_ONCE)
        self.rules = HostRules(vendor.access.base_url, vendor.trusted_hosts)
        connections = max(8, pace.most if pace is not None else vendor.limits.concurrency)
        through_proxies = self.rules.base.scheme == "https"
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"}
        common: dict[str, Any] = {"headers": headers, "follow_redirects": False}
        common["cookies"] = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # keeps none, sends none
        self._submits = httpx.AsyncClient(
            verify=tls(http2=False),
            trust_env=through_proxies,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=0),
            **common,
        )
        self._calls = httpx.AsyncClient(
            verify=tls(http2=True),
            http2=True,
            trust_env=through_proxies,
            limits=httpx.Limits(
                max_connections=CALLS_AT_ONCE,
                max_keepalive_connections=CALLS_AT_ONCE,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
            **common,
        )
        self.open = httpx.AsyncClient(
            transport=GuardedTransport(self.rules, connections=CALLS_AT_ONCE), trust_env=False, **common
        )
        """For requests without the key: pictures to fetch, presigned uploads."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for client in (self._submits, self._calls, self.open):
            await client.aclose()

    async def submit(
        self,
        path: str,
        *,
        json: Any = None,
        files: Files | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """POST what is paid for; see ``Transport.submit``."""
        url = self._url(path, keyless=False)
        silence = self._patience.submit_silence or self._vendor.submit_seconds
        again = False

        async def send() -> Answer:
            nonlocal again
            if again and self._pace is not None:
                await self._pace.turn()
            again = True
            request = self._request(self._submits, "POST", url, silence, json, None, files, data, headers)
            return await self._paid(request, silence + self._patience.whole)

        return await self._insistently(self._patience.submit_tries, send)

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        files: Files | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        keyless: bool = False,
    ) -> Answer:
        """Send a request that may be repeated; see ``Transport.call``."""
        url = self._url(path, keyless=keyless)
        if params:
            url = url.copy_merge_params(params)
        client = self.open if keyless else self._calls

        async def send() -> Answer:
            request = self._request(
                client, method, url, self._patience.silence, json, content, files, data, headers, keyless=keyless
            )
            async with self._calling:
                return await self._unpaid(client, request)

        return await self._insistently(self._patience.tries, send)

    def hide(self, text: str) -> str:
        """Return ``text`` without our key."""
        return self._veil.text(text)

    def _url(self, path: str, *, keyless: bool) -> httpx.URL:
        try:
            url = httpx.URL(path if "://" in path else f"{self._vendor.access.base_url}/{path.lstrip('/')}")
        except (httpx.InvalidURL, TypeError):
            raise self._broken("named a URL that is none") from None
        if not (self.rules.may_fetch(url) if keyless else self.rules.may_see_key(url)):
            log.warning("%s sends us to %s, where we do not go", self._vendor.title, url.host)
            raise self._broken(f"sends us to {url.host}, which is none of its hosts")
        return url

    def _broken(self, what: str) -> ProviderBroken:
        title = self._vendor.title
        return ProviderBroken(self._veil.text(f"{title} {what}"), provider=title)

    def _request(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: httpx.URL,
        silence: float,
        json: Any,
        content: bytes | None,
        files: Files | None,
        data: Mapping[str, str] | None,
        headers: Mapping[str, str] | None,
        *,
        keyless: bool = False,
    ) -> httpx.Request:
        patience = self._patience
        return client.build_request(
            method,
            url,
            json=json,
            content=content,
            files=files,
            data=data,
            headers={**({} if keyless else self._vendor.headers()), **(headers or {})},
            timeout=httpx.Timeout(silence, connect=patience.connect, write=patience.write, pool=patience.pool),
        )

    async def _paid(self, request: httpx.Request, seconds: float) -> Answer:
        gone = Departure()
        request.extensions["trace"] = gone.trace
        answer, trouble = await self._exchange(self._submits, request, seconds, paid=True)
        if answer is None:
            line = f"{self._vendor.title}: {trouble}"
            if gone.happened:
                raise OutcomeUnknown(f"{line}; the order may have arrived")
            raise _Again(ProviderDown(line, provider=self._vendor.title))
        if 200 <= answer.status < 300:
            return answer
        fault, clear = self._fault(answer)
        after = retry_after(answer.headers, time.time())
        if answer.status in faults.UNCLEAR and not clear:
            raise OutcomeUnknown(f"{self._vendor.title} answered {answer.status}; the order may have arrived")
        if answer.status == 429 and self._pace is not None:
            self._pace.too_many(None if after is None else min(after, self._patience.longest_retry_after))
        # Whoever wrote a 503, only the wish to be asked later says that nothing was taken on.
        vague = answer.status == 503 and after is None
        if isinstance(fault, ProviderBusy) and not vague:
            raise _Again(fault, after)
        raise fault

    async def _unpaid(self, client: httpx.AsyncClient, request: httpx.Request) -> Answer:
        answer, trouble = await self._exchange(client, request, self._patience.whole, paid=False)
        if answer is None:
            raise _Again(ProviderDown(f"{self._vendor.title}: {trouble}", provider=self._vendor.title))
        if 200 <= answer.status < 300:
            return answer
        fault, clear = self._fault(answer)
        passing = answer.status in REPEATED_STATUSES or answer.status >= 500
        if passing and (not clear or (isinstance(fault, ProviderFault) and fault.transient)):
            raise _Again(fault, retry_after(answer.headers, time.time()))
        raise fault

    def _fault(self, answer: Answer) -> tuple[GenerationFailed, bool]:
        """Return what an answer without success means, and whether that is the vendor's own clear word."""
        try:
            fault = self._vendor.fault(answer)
        except Exception:
            log.exception("An answer of %s with status %d cannot be read", self._vendor.title, answer.status)
            fault = None
        if fault is not None and (answer.json is not None or answer.status < 500):
            return fault, answer.json is not None
        # A page with a 5xx is not in the vendor's words, whatever its file reads out of it.
        detail = "" if answer.json is None else self._veil.text(text_of(json_module.dumps(answer.json)))
        return faults.by_status(self._vendor.title, answer.status, detail, submitting=answer.paid), False

    async def _exchange(
        self, client: httpx.AsyncClient, request: httpx.Request, seconds: float, *, paid: bool
    ) -> tuple[Answer | None, str]:
        """Return the whole answer, or None and what went wrong, without our key in either."""
        try:
            async with asyncio.timeout(seconds):
                response = await client.send(request, stream=True)
                try:
                    body = await read_within(response, MOST_BYTES)
                finally:
                    await response.aclose()
        except TimeoutError:
            return None, f"no whole answer within {seconds:g} s"
        except Exception as error:
            # Not httpx's errors alone: h2 and ssl let some of their own through, and on a paid way each one counts.
            return None, self._veil.text(f"{type(error).__name__}: {error}".rstrip(": "))
        names = {name.lower(): self._veil.text(value) for name, value in response.headers.items()}
        return Answer(response.status_code, names, self._veil.body(body), paid), ""

    async def _insistently(self, tries: int, send: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await tenacity.AsyncRetrying(
                sleep=asyncio.sleep,
                stop=tenacity.stop_after_attempt(tries),
                wait=self._wait,
                retry=tenacity.retry_if_exception(self._worth_it),
                reraise=True,
            )(send)
        except _Again as again:
            fault = again.fault
        # Raised out here, it drags no request along that has our key in its headers.
        raise fault

    def _worth_it(self, error: BaseException) -> bool:
        return isinstance(error, _Again) and (error.after or 0.0) <= self._patience.longest_retry_after

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = None if state.outcome is None else state.outcome.exception()
        pause = self._patience.backoff(state.attempt_number)
        return pause if not isinstance(error, _Again) or error.after is None else error.after + pause


class Departure:
    """Notices when a request begins to leave: from then on it may have arrived.

    With a proxy, asking it for a tunnel already counts; that errs on the safe side.
    """

    def __init__(self) -> None:
        self.happened = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Hear of what httpcore does (its ``trace`` extension)."""
        if event.endswith("send_request_headers.started"):
            self.happened = True


class TooMuch(Exception):
    """Say that an answer is larger than anything we want."""


async def read_within(response: httpx.Response, most: int) -> bytes:
    """Return the body of ``response``, decompressed; raises TooMuch over ``most`` bytes.

    gzip alone is unpacked, and once: it makes a thousand bytes of one at most, what is packed twice a million, and each
    piece that arrives is unpacked before it can be counted.
    """
    codings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    packed = [name for name in codings if name not in ("", "identity")]
    if packed not in ([], ["gzip"]):
        raise TooMuch(f"an answer packed as {', '.join(packed)[:60]}")
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise TooMuch(f"an answer of {declared} bytes")
    parts = bytearray()
    async for part in response.aiter_bytes():
        parts += part
        if len(parts) > most:
            raise TooMuch(f"an answer of more than {most} bytes")
    return bytes(parts)


def hush() -> None:
    """Keep libraries from logging what must not be seen: headers with the key, signed URLs."""
    for name in ("hpack", "h2", "httpcore", "httpx", "websockets"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)
