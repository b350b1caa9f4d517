"""What every REST request goes through: body, faults, authorisation, rate limits, the handler, the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.sandbox import errors
from bot.sandbox.composing import Body
from bot.sandbox.errors import ApiError
from bot.sandbox.events import FaultsChanged
from bot.sandbox.files import SentFile
from bot.sandbox.gateway import Gateway
from bot.sandbox.multipart import split
from bot.sandbox.ratelimits import DEFAULT, Bucket, RateLimits, Verdict, limited
from bot.sandbox.recorder import Recorder
from bot.sandbox.rules.forms import Violation
from bot.sandbox.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """A request as handlers see it."""

    world: World
    gateway: Gateway
    params: Mapping[str, str]
    query: Mapping[str, str]
    json: Any
    files: Mapping[int, SentFile]

    def flag(self, name: str) -> bool:
        """Read a true/false query parameter."""
        return self.query.get(name, "").lower() in ("1", "true")

    def message_body(self, fields: Any | None = None) -> Body:
        """Return the body as a message body. Raises ApiError when it is no JSON object."""
        fields = self.json if fields is None else fields
        if not isinstance(fields, dict):
            raise errors.invalid_form(
                [Violation((), "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")]
            )
        return Body(fields, self.files)


Answer = Any
"""What a handler returns: JSON for 200, None for 204, or (status, JSON)."""
Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `major` names the path parameters that share a rate limit."""

    method: str
    path: str
    handler: Handler
    bucket: Bucket | None = DEFAULT
    major: tuple[str, ...] = ()
    with_bot_token: bool = True


@dataclass(slots=True)
class _Sent:
    """The body of a request, taken apart."""

    json: Any = None
    files: dict[str, SentFile] = field(default_factory=dict)


class Api:
    """Wrap handlers into aiohttp handlers."""

    def __init__(self, world: World, gateway: Gateway, recorder: Recorder) -> None:
        self._world = world
        self._gateway = gateway
        self._recorder = recorder
        self._limits = RateLimits(enforced=world.limits.rate_limits)

    def endpoint(self, route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Make the aiohttp handler of a route."""

        async def handle(request: web.Request) -> web.Response:
            sent = _Sent()
            headers: dict[str, str] = {}
            try:
                sent = await _read(request)
                response = await self._answer(route, request, sent, headers)
            except ApiError as error:
                response = _json(error.body(), status=error.status)
            response.headers.update(headers)
            self._recorder.add(
                route.method, request.path, route.path, request.query, sent.json, sent.files, response.status
            )
            return response

        return handle

    async def unknown(self, request: web.Request) -> web.Response:
        """Answer a path that the sandbox does not know, and record that it was asked for."""
        self._recorder.add(request.method, request.path, "", request.query, None, {}, 404)
        return _json(errors.not_found().body(), status=404)

    async def _answer(self, route: Route, request: web.Request, sent: _Sent, headers: dict[str, str]) -> web.Response:
        faults = self._world.faults
        if faults.slow_ms:
            await asyncio.sleep(faults.slow_ms / 1_000)
        if faults.rest_500:
            faults.rest_500 -= 1
            self._world.bus.publish(FaultsChanged(faults.raw()))
            return _broken()
        if faults.rest_429:
            faults.rest_429 -= 1
            self._world.bus.publish(FaultsChanged(faults.raw()))
            return _too_many(limited(faults.retry_after, is_global=faults.is_global), headers)
        if route.with_bot_token and request.headers.get("Authorization") != f"Bot {self._world.token}":
            raise errors.unauthorized()
        if route.bucket is not None:
            major = "/".join(request.match_info[name] for name in route.major)
            verdict = self._limits.take(route.bucket, major, counts_globally=route.with_bot_token)
            headers.update(verdict.headers)
            if verdict.retry_after is not None:
                return _too_many(verdict, headers)
        call = Call(
            self._world,
            self._gateway,
            request.match_info,
            request.query,
            sent.json,
            _numbered(sent.files),
        )
        answer = await route.handler(call)
        if faults.rest_lost:
            faults.rest_lost -= 1
            self._world.bus.publish(FaultsChanged(faults.raw()))
            return _broken()
        if answer is None:
            return web.Response(status=204)
        status, body = answer if isinstance(answer, tuple) else (200, answer)
        return _json(body, status=status)


def _json(body: Any, status: int = 200) -> web.Response:
    """Answer JSON without a charset, as Discord does: discord.py takes any other content type for text."""
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")


def _broken() -> web.Response:
    return _json({"message": "500: Internal Server Error", "code": 0}, status=500)


def _too_many(verdict: Verdict, headers: dict[str, str]) -> web.Response:
    headers.update(verdict.headers)
    body = {
        "message": "You are being rate limited.",
        "retry_after": round(verdict.retry_after or 0.0, 3),
        "global": verdict.is_global,
    }
    return _json(body, status=429)


def _numbered(files: Mapping[str, SentFile]) -> dict[int, SentFile]:
    """Return files by the number in their field's name, files[n]."""
    numbered: dict[int, SentFile] = {}
    for name, file in files.items():
        number = name.removeprefix("files[").removesuffix("]")
        if not (name == f"files[{number}]" and number.isdecimal()):
            raise errors.invalid_form([Violation((name,), "UNKNOWN_FIELD", f"There is no field called {name!r} here.")])
        numbered[int(number)] = file
    return numbered


async def _read(request: web.Request) -> _Sent:
    if not request.can_read_body:
        return _Sent()
    try:
        data = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise errors.request_too_large() from None
    if not data:
        return _Sent()
    try:
        if request.content_type != "multipart/form-data":
            return _Sent(json.loads(data))
        sent = _Sent()
        for part in split(data, request.headers["Content-Type"]):
            if part.filename is not None:
                sent.files[part.name] = SentFile(part.filename, part.data)
            elif part.name == "payload_json":
                sent.json = json.loads(part.data)
        sent.json = {} if sent.json is None else sent.json
        return sent
    except ValueError:
        raise errors.invalid_json() from None
