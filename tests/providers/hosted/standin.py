"""The base of all stand-in vendors: an HTTP server on a loopback socket that fails in every way a test wants."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import json
import random
import socket
import struct
import zlib
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from aiohttp import web
from PIL import Image

from flux_core.errors import GenerationFailed
from flux_core.providers.hosted.vendor import Access, Vendor
from flux_core.providers.scripted import colour_of
from tests.providers.hosted.troubles import (
    Fault,
    Html,
    Huge,
    Mangled,
    Redirect,
    ResetAfterBody,
    ResetAtOnce,
    Silence,
    Status,
    Trickle,
    Truncated,
    WrongType,
)

Kind = Literal["submit", "poll", "file", "free", "picture"]
"""What a request is for. "picture" is no request: a fault of this kind damages the next picture that is made."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KindOf = Callable[[Any], Kind]
"""Tells the kind of a request by its JSON body, for vendors with one path for everything."""


@dataclass
class Task:
    """One ordered picture of a vendor that is polled."""

    id: str
    body: dict[str, Any]
    seed: int
    size: tuple[int, int]
    number: int
    """Of its submit."""
    polls: int = 0
    """Polls answered so far."""
    state: str = "working"
    """"working", then "done"; "cancelled" when it was."""


@dataclass(frozen=True)
class Seen:
    """One request that came in."""

    method: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    kind: str
    host: str


@dataclass(frozen=True, kw_only=True)
class Case:
    """One vendor (in one of its modes) for the contract suite."""

    id: str
    vendor: type[Vendor]
    standin: type[StandIn]
    models: tuple[str, ...]
    """Our ids; each is drawn once."""
    picture_model: str | None = None
    """Our id of the model that starts from a picture; None where nothing does."""
    polled: bool = False
    extra: Mapping[str, str] = field(default_factory=dict)
    access_models: Mapping[str, str] = field(default_factory=dict)
    documented: tuple[tuple[Status, type[GenerationFailed] | GenerationFailed], ...] | list[Any] = ()
    """Answers to a submit → the error it becomes; an instance's facts have to be there, too."""
    refusal_kind: Literal["submit", "poll"] | None = "submit"
    """Which answer says that a picture was moderated; None where nothing is, as on a server of one's own."""
    honours_seeds: bool = True
    """Whether the colour of a picture tells its seed."""


class StandIn:
    """One vendor on a loopback socket. ``async with TheStandIn() as standin:`` serves; leaving checks the key's ways.

    A handler is aiohttp's: it takes the request and returns the response. In ``request["body"]`` it finds the parsed
    body (JSON; form fields, and the bytes of each file under its field's name and under "file"), in
    ``request["number"]`` the number of the submit.
    """

    key: str = "key-5fQ2mXw8ZrT1bNc7LdJ4hYpA"
    prefix: ClassVar[str] = ""
    """Path of the base URL. Files are served without it."""
    auth_header: ClassVar[str] = "Authorization"
    auth_value: ClassVar[str] = "Bearer {key}"
    files_ask_key: ClassVar[bool] = False
    """Whether result pictures are fetched with the key, as from a server of one's own; else they must come without."""
    trusts_other_host: ClassVar[bool] = False
    """Whether the key may be seen at ``other_host_url``."""

    def __init__(self) -> None:
        self.submits: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.polls_needed = 2
        self.moderate: set[int] = set()
        self.seconds = 0.0
        self.tasks: dict[str, Task] = {}
        self.requests: list[Seen] = []
        self.inputs: list[Image.Image] = []
        """Pictures to start from, as they arrived."""
        self.stored: dict[str, bytes] = {}
        """URL → what was put there: uploads, and what our picture store published."""
        self.forgets = 0
        """How many of the next polls know of no task."""
        self.poured = 0
        """Bytes of huge answers that somebody took."""
        self._troubles: dict[str, deque[Fault]] = defaultdict(deque)
        self._app = web.Application(client_max_size=64 * 1024 * 1024)
        self._ended = asyncio.Event()
        self._served: set[tuple[str, str]] = set()
        self.kinds: set[str] = set()
        """Kinds of requests that it has handlers for."""

    # What a subclass says

    def routes(self) -> None:
        """Register the handlers of this vendor."""
        raise NotImplementedError

    def authorized(self, request: web.Request) -> bool:
        """Say whether a request carries the key as the vendor wants it."""
        return request.headers.get(self.auth_header) == self.auth_value.format(key=self.key)

    def denied(self, request: web.Request) -> web.StreamResponse:
        """Answer a wrong or missing key."""
        return web.json_response({"error": "Invalid or missing API key"}, status=401)

    def missing(self, request: web.Request) -> web.StreamResponse:
        """Answer a path that does not exist."""
        return web.json_response({"error": "Not found"}, status=404)

    # What a subclass calls

    def on_submit(self, method: str, path: str, handler: Handler) -> None:
        """Serve what is paid for."""
        self.on(method, path, handler, "submit")

    def on_poll(self, method: str, path: str, handler: Handler) -> None:
        """Serve how a task is doing, and its result where that is another call."""
        self.on(method, path, handler, "poll")

    def on_file(self, method: str, path: str, handler: Handler) -> None:
        """Serve result pictures at ``file_url(path)``; the path is below the host, without the prefix."""
        keyless = not self.files_ask_key
        self._add(method, path, handler, "file", keyless=keyless)
        if self.prefix:
            self._add(method, self.prefix + path, handler, "file", keyless=keyless)

    def file_url(self, path: str) -> str:
        """Return the address of a file; the client goes to our host only, since all others here are private."""
        return self.root_url + path

    def on_free(self, method: str, path: str, handler: Handler, *, keyless: bool = False) -> None:
        """Serve what costs nothing: check, upload, cancel. ``keyless`` asks for no key, as presigned URLs do."""
        self.on(method, path, handler, "free", keyless=keyless)

    def on(self, method: str, path: str, handler: Handler, kind: Kind | KindOf, *, keyless: bool = False) -> None:
        """Serve a path below the prefix."""
        self._add(method, self.prefix + path, handler, kind, keyless=keyless)

    def new_task(self, request: web.Request, *, seed: int, size: tuple[int, int], id: str | None = None) -> Task:
        """Take a submit on as a task."""
        number: int = request["number"]
        name = id or f"task-{number}-{len(self.tasks)}"
        task = Task(id=name, body=request["body"], seed=seed, size=size, number=number)
        self.tasks[task.id] = task
        return task

    def look(self, id: str) -> Task | None:
        """Count a poll of a task; it is done after ``polls_needed``. None where there is none, or it is forgotten."""
        if self.forgets > 0:
            self.forgets -= 1
            return None
        task = self.tasks.get(id)
        if task is not None:
            task.polls += 1
            if task.state == "working" and task.polls > self.polls_needed:
                task.state = "done"
        return task

    def cancel_task(self, id: str) -> Task | None:
        """Count a cancelled task. None where there is none."""
        self.cancelled.append(id)
        task = self.tasks.get(id)
        if task is not None and task.state == "working":
            task.state = "cancelled"
        return task

    def moderated(self, number: int, index: int = 0) -> bool:
        """Say whether the safety filter refuses picture ``index`` of submit ``number``."""
        return number + index in self.moderate

    async def work(self) -> None:
        """Take as long as a synchronous submit takes."""
        if self.seconds:
            await asyncio.sleep(self.seconds)

    def picture(self, seed: int, size: tuple[int, int], format: str = "webp") -> bytes:
        """Return a flat picture in the colour of ``seed``, encoded; or what a fault of kind "picture" makes of it."""
        data = _encoded(seed, size, format)
        match self._next("picture"):
            case Truncated():
                return data[: len(data) // 2]
            case Html():
                return PAGE.encode()
            case Huge():
                return _vast_png()
            case _:
                return data

    def take_picture(self, given: bytes | str) -> Image.Image:
        """Read a picture to start from (bytes, base64, data URI, or a URL where it was stored) and remember it.

        Raises ValueError when it is none.
        """
        if isinstance(given, str):
            if given.startswith("http"):
                if given not in self.stored:
                    raise ValueError(f"nothing at {given}")
                given = self.stored[given]
            else:
                given = base64.b64decode(given.partition(",")[2] if given.startswith("data:") else given, validate=True)
        try:
            image = Image.open(io.BytesIO(given))
            image.load()
        except OSError as error:
            raise ValueError("no picture") from error
        self.inputs.append(image)
        return image

    # What a test says

    def trouble(self, kind: Kind, fault: Fault, times: int = 1) -> None:
        """Let the next ``times`` requests of a kind meet a fault instead of the handler."""
        self._troubles[kind].extend([fault] * times)

    def access(self, case: Case, **changed: Any) -> Access:
        """Return how a vendor object reaches this stand-in."""
        given: dict[str, Any] = {
            "base_url": self.base_url,
            "key": self.key,
            "models": case.access_models,
            "extra": case.extra,
        }
        return Access(**(given | changed))

    async def publish(self, data: bytes, content_type: str) -> str:
        """Store a picture as our own bucket would, and return its signed URL."""
        url = f"https://bucket.example/{len(self.stored)}?signature=ok"
        self.stored[url] = data
        return url

    def of_kind(self, kind: str) -> list[Seen]:
        """Return the requests of one kind."""
        return [seen for seen in self.requests if seen.kind == kind]

    @property
    def seen_elsewhere(self) -> list[Seen]:
        """Return the requests that came in as ``other_host_url``."""
        return [seen for seen in self.requests if seen.host.startswith("localhost")]

    # Serving

    async def __aenter__(self) -> Self:
        self.routes()
        self._app.router.add_route("*", "/{tail:.*}", self._unknown)
        self._runner = web.AppRunner(self._app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
        await self._runner.setup()
        # A dual-stack listener would answer "localhost" on ::1 as well; here the client falls back to 127.0.0.1.
        self._socket = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, self._socket).start()
        port = self._socket.getsockname()[1]
        self.root_url = f"http://127.0.0.1:{port}"
        self.base_url = self.root_url + self.prefix
        self.other_host_url = f"http://localhost:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        await self._runner.cleanup()
        if kind is None:
            self.assert_key_stayed()

    def assert_key_stayed(self) -> None:
        """Fail when another host has seen the key, or when a URL has it."""
        secrets = {self.key, base64.b64encode(self.key.encode()).decode()}
        for seen in self.requests:
            assert not any(secret in seen.path for secret in secrets), f"the key is in a URL ({seen.method})"
            elsewhere = seen.host.startswith("localhost") and not self.trusts_other_host
            if elsewhere or (seen.kind == "file" and not self.files_ask_key):
                text = "\n".join(seen.headers.values())
                assert not any(secret in text for secret in secrets), f"the key went astray ({seen.kind})"

    def _add(self, method: str, path: str, handler: Handler, kind: Kind | KindOf, *, keyless: bool) -> None:
        if (method, path) in self._served:
            return
        self._served.add((method, path))
        self.kinds.add("submit" if callable(kind) else kind)

        async def serve(request: web.Request) -> web.StreamResponse:
            return await self._serve(request, handler, kind, keyless=keyless)

        self._app.router.add_route(method, path, serve)

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        self._record(request, "unknown")
        await request.read()
        return self.missing(request)

    def _record(self, request: web.Request, kind: str) -> None:
        self.requests.append(Seen(request.method, request.path_qs, request.headers.copy(), kind, request.host))

    def _next(self, kind: Kind) -> Fault | None:
        waiting = self._troubles[kind]
        return waiting.popleft() if waiting else None

    async def _serve(
        self, request: web.Request, handler: Handler, kind: Kind | KindOf, *, keyless: bool
    ) -> web.StreamResponse:
        body: Any = None
        if callable(kind):
            body = await _body(request)
            kind = kind(body)
        self._record(request, kind)
        fault = self._next(kind)
        if isinstance(fault, ResetAtOnce):
            self._register(request, kind, {})
            return _reset(request)
        if body is None:
            body = await _body(request)
        request["body"] = body
        if isinstance(fault, Status | Html | Redirect):
            if not (isinstance(fault, Status) and fault.takes_nothing_on):
                self._register(request, kind, body)
            return self._instead(request, fault)
        if not keyless and not self.authorized(request):
            return self.denied(request)
        self._register(request, kind, body)
        response = await handler(request)
        return response if fault is None else await self._damaged(request, response, fault)

    def _register(self, request: web.Request, kind: Kind, body: Any) -> None:
        if kind == "submit":
            if isinstance(body, list):
                body = body[0] if body else {}
            request["number"] = len(self.submits)
            self.submits.append(body if isinstance(body, dict) else {})

    def _instead(self, request: web.Request, fault: Status | Html | Redirect) -> web.StreamResponse:
        if isinstance(fault, Status):
            if isinstance(fault.body, str):
                return web.Response(status=fault.code, text=fault.body, headers=fault.headers)
            return web.json_response(fault.body, status=fault.code, headers=fault.headers)
        if isinstance(fault, Html):
            return web.Response(status=fault.status, text=PAGE, content_type="text/html")
        target = self.other_host_url if fault.to_other_host else self.root_url
        return web.Response(status=307, headers={"Location": target + request.path_qs})

    async def _damaged(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> web.StreamResponse:
        if isinstance(fault, ResetAfterBody):
            return _reset(request)
        if isinstance(fault, Silence):
            await self._ended.wait()
            return _reset(request)
        assert isinstance(response, web.Response), "only a whole answer can be damaged"
        assert isinstance(response.body, bytes)
        whole = response.body
        match fault:
            case WrongType(content_type):
                return web.Response(status=response.status, body=whole, content_type=content_type)
            case Mangled(turn):
                return _mangled(response, whole, turn)
            case Truncated(clean=True):
                half = whole[: len(whole) // 2]
                return web.Response(status=response.status, body=half, content_type=response.content_type)
            case Truncated(clean=False):
                broken = await self._begin(request, response, declared=len(whole))
                await broken.write(whole[: len(whole) // 2])
                await asyncio.sleep(0.01)  # so that the half arrives before the reset does
                return _reset(request, broken)
            case Trickle(bytes_per_second):
                slow = await self._begin(request, response, declared=len(whole))
                for byte in whole:
                    if self._ended.is_set():
                        return _reset(request, slow)
                    await slow.write(bytes([byte]))
                    await asyncio.sleep(1 / bytes_per_second)
                return slow
            case Huge(size, declared):
                endless = await self._begin(request, response, declared=size if declared else None)
                await endless.write(whole[: len(whole) // 2])
                block, left = bytes(256 * 1024), size - len(whole) // 2
                while left > 0 and not self._ended.is_set():
                    await endless.write(block[:left])
                    left -= len(block)
                    self.poured += len(block)
                return endless
        raise AssertionError(f"{fault} damages no answer")

    async def _begin(self, request: web.Request, like: web.Response, *, declared: int | None) -> web.StreamResponse:
        response = web.StreamResponse(status=like.status)
        response.content_type = like.content_type
        if declared is None:
            response.enable_chunked_encoding()
        else:
            response.content_length = declared
        await response.prepare(request)
        return response


PAGE = "<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"


def unreachable_url() -> str:
    """Return a URL where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


async def _body(request: web.Request) -> Any:
    if request.content_type.startswith("multipart/"):
        fields: dict[str, Any] = {}
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                fields[name] = fields["file"] = value.file.read()
            else:
                fields[name] = value
        return fields
    data = await request.read()
    try:
        return json.loads(data) if data else {}
    except ValueError:
        return {}


def _reset(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert isinstance(transport, asyncio.Transport)
        transport.abort()
    return response or web.Response()


def _mangled(response: web.Response, body: bytes, turn: int) -> web.Response:
    try:
        answer = json.loads(body)
    except ValueError:
        return response
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        for name, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
            places.append((value, name))
            if isinstance(inner, dict | list):
                collect(inner)

    collect([answer] if not isinstance(answer, dict | list) else answer)
    others: list[Any] = [None, 7, "x", [], {}, [None], -1.5, True]
    choice = random.Random(turn)
    if places and choice.random() > 0.1:
        container, name = choice.choice(places)
        container[name] = choice.choice(others)
    else:
        answer = choice.choice(others)
    return web.json_response(answer, status=response.status)


@functools.lru_cache(maxsize=512)
def _encoded(seed: int, size: tuple[int, int], format: str) -> bytes:
    file = io.BytesIO()
    options = {"webp": {"method": 0}, "png": {"compress_level": 1}}.get(format, {})
    Image.new("RGB", size, colour_of(seed)).save(file, "JPEG" if format == "jpg" else format.upper(), **options)
    return file.getvalue()


def _vast_png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "PNG")
    data = file.getvalue()
    header = b"IHDR" + struct.pack(">II", 50_000, 50_000) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
