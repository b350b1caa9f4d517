"""Which hosts a provider's answers may send us to, and the clients that keep to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from fnmatch import fnmatchcase
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from socket import SOCK_STREAM
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

KEEPALIVE_SECONDS = 4.0
"""Servers commonly close idle connections after 5 s (Node.js) or more; ours are gone before."""
_NAT64 = IPv6Network("64:ff9b::/96")
_UNICAST = IPv6Network("2000::/3")
"""All that IANA has assigned to the open internet; outside lie addresses that wrap others, or mean this network."""


class ForbiddenAddress(httpcore.ConnectError):
    """Say that a host name leads into a private network."""


def is_public(address: str) -> bool:
    """Say whether an IP address lies in the open internet, also where an IPv6 address wraps an IPv4 one."""
    ip: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _UNICAST:
            return False
    return ip.is_global and not ip.is_multicast


class HostRules:
    """Where requests for one vendor may go: with the key, and without it."""

    def __init__(self, base_url: str, trusted: Iterable[str] = ()) -> None:
        self.base = httpx.URL(base_url)
        self._trusted = tuple(pattern.lower() for pattern in trusted)

    def may_see_key(self, url: httpx.URL) -> bool:
        """Say whether ``url`` is of the base URL's own origin, or of a host that the vendor's file trusts."""
        if _origin(url) == _origin(self.base):
            return True
        if url.scheme not in ("https", self.base.scheme) or url.userinfo:
            return False
        return any(fnmatchcase(url.host.lower(), pattern) for pattern in self._trusted)

    def may_fetch(self, url: httpx.URL) -> bool:
        """Say whether ``url`` may be asked without a key: https anywhere, http at the base URL's host and port only.

        That a public name does not lead into a private network is seen to when the connection is made.
        """
        if not url.host or url.userinfo:
            return False
        return url.scheme == "https" or (url.scheme == "http" and self.is_home(url.host, _port(url)))

    def is_home(self, host: str, port: int | None) -> bool:
        """Say whether this is the base URL's server, which may well be in a private network.

        Other ports of its machine are other servers, and none of the vendor's business.
        """
        return (host.lower(), port) == (self.base.host.lower(), _port(self.base))


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host.lower(), _port(url)


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


@cache
def tls(*, http2: bool) -> ssl.SSLContext:
    """Return the TLS settings that all clients share: loading the certificates takes longer than a request.

    One for each version of HTTP, since the protocols on offer are written into it.
    """
    return httpx.create_ssl_context()


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to public addresses and to the base URL's host only, whatever a name resolves to.

    The address that was checked is the one connected to, so a name cannot change its mind in between. Where the
    environment names a proxy, that one resolves names and connects, and what it reaches is its operator's choice.
    """

    def __init__(self, rules: HostRules, *, connections: int) -> None:
        self._rules = rules
        self._direct = httpcore.AsyncConnectionPool(
            ssl_context=tls(http2=True),
            http2=True,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=_CheckedNetwork(rules),
        )
        proxy = getproxies().get("https")
        self._proxy = None if proxy is None else httpx.AsyncHTTPTransport(proxy=proxy, verify=tls(http2=False))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; errors are httpcore's."""
        url = request.url
        if self._proxy is not None and url.scheme == "https" and not proxy_bypass(url.host):
            return await self._proxy.handle_async_request(request)
        assert isinstance(request.stream, httpx.AsyncByteStream)
        answer = await self._direct.handle_async_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._direct.aclose()
        if self._proxy is not None:
            await self._proxy.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    def __init__(self, rules: HostRules) -> None:
        self._rules = rules
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if self._rules.is_home(host, port):
            return await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} was not resolved in time") from None
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} does not resolve: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses or not all(is_public(address) for address in addresses):
            raise ForbiddenAddress(f"{host} leads into a private network")
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise ForbiddenAddress("no socket files")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
