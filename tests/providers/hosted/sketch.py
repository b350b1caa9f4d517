"""A vendor made up for the engine's own tests, in every mode that the engine knows, and its stand-in."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from flux_core.errors import (
    GenerationFailed,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    Refused,
    RequestRejected,
)
from flux_core.generation import GenerationRequest, InputPicture
from flux_core.offers import ImageInput, Offer, Price, Sizes
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.http import Patience
from flux_core.providers.hosted.transport import Answer, Transport
from flux_core.providers.hosted.vendor import Access, Done, Found, Limits, Outcome, Pending, Shot, Vendor
from tests.providers.hosted.standin import StandIn

SIDE = 256
HASTY = Patience(
    connect=1.0,
    write=1.0,
    pool=5.0,
    silence=0.3,
    submit_silence=0.3,
    whole=0.5,
    download=1.0,
    tries=3,
    submit_tries=3,
    pause=0.005,
    longest_pause=0.02,
    longest_retry_after=1.0,
    poll_pace=0.01,
    trouble=0.5,
    last_word=0.5,
)


class SketchVendor(Vendor):
    """Polled, and its poll URLs may lie elsewhere."""

    name = "sketch"
    title = "Sketch"
    base_url = ""
    limits = Limits(concurrency=8, per_minute=60_000)
    polled = True
    submit_seconds = 5.0
    poll_every = (0.5, 1.0)
    key_page = "https://sketch.example/keys"

    @property
    def offers(self) -> Mapping[str, Offer]:
        return {
            "flux-dev": Offer(
                theirs="sketch-1",
                sizes=Sizes(low=64, high=1024),
                price=Price(picture=0.01),
                image_input=ImageInput.LINK if "link" in self.access.extra else ImageInput.INLINE,
            ),
            "flux-schnell": Offer(theirs="sketch-words", sizes=Sizes(low=64, high=1024), price=Price(picture=0.02)),
        }

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        body: dict[str, Any] = {"seeds": list(shot.seeds), "size": list(shot.size), "id": shot.client_id}
        if shot.picture is not None:
            assert shot.link is not None or "link" not in self.access.extra
            body["image"] = (
                await shot.link()
                if shot.link is not None and "link" in self.access.extra
                else base64.b64encode(shot.picture).decode()
            )
        answer = await transport.submit("/order", json=body)
        return self._outcome(answer)

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        answer = await transport.call("GET", ticket if "://" in ticket else f"/order/{ticket}")
        if answer.json == "unheard":
            raise LookupError(ticket)
        return self._outcome(answer)

    async def cancel(self, ticket: str, transport: Transport) -> None:
        await transport.call("POST", f"/order/{ticket}/cancel")

    def _outcome(self, answer: Answer) -> Outcome:
        match answer.json:
            case {"state": "working", "id": str(id), **rest}:
                return Pending(ticket=id, progress=rest.get("progress"), preview=_bytes(rest.get("preview")))
            case {"state": "done", "pictures": list(pictures), **rest}:
                return Done(found=[_found(each) for each in pictures], microdollars=rest.get("cost"))
            case {"state": "failed"}:
                raise ProviderBroken("Sketch failed.", provider=self.title)
            case {"state": "slip"}:
                raise KeyError("a slip")
        raise ProviderBroken(f"Sketch answered {answer.body[:80]!r}.", provider=self.title)

    def fault(self, answer: Answer) -> GenerationFailed | None:
        match answer.json:
            case {"error": "moderated", "why": str(why)}:
                return Refused(reason=why)
            case {"error": "credit"}:
                return self.closed("credit", "No money.")
            case {"error": "words"}:
                return RequestRejected("Sketch does not like these words.", provider=self.title)
            case {"error": "full"}:
                return ProviderBusy("Sketch is full.", provider=self.title)
        return None

    def closed(self, reason: str, detail: str) -> ProviderClosed:
        return faults.closed(self.title, reason, detail)


class SketchAtOnce(SketchVendor):
    """Answers a submit with the pictures."""

    polled = False


class SketchNamed(SketchVendor):
    """Lets us name the task."""

    names_tasks = True


class SketchInPairs(SketchVendor):
    """Draws two pictures a call."""

    pictures_per_shot = 2


class SketchAfar(SketchVendor):
    """Trusts another host with the key."""

    trusted_hosts = ("local*",)


class SketchStandIn(StandIn):
    """Its server. ``at_once``: answers a submit with the pictures; ``named``: takes our ids."""

    def __init__(self, *, at_once: bool = False, named: bool = False) -> None:
        super().__init__()
        self.at_once = at_once
        self.named = named
        self.as_urls = False
        self.urls_at: str | None = None
        """Where result pictures lie instead of here."""
        self.size: tuple[int, int] | None = None
        """Drawn instead of what was asked for."""
        self.extra: dict[str, Any] = {}
        """Sent with every answer about an order."""
        self.state: str | None = None
        """Of all orders, whatever was done."""
        self.own_seed: int | None = None

    def routes(self) -> None:
        self.on_submit("POST", "/order", self._order)
        self.on_poll("GET", "/order/{id}", self._look)
        self.on_free("POST", "/order/{id}/cancel", self._cancel)
        self.on_file("GET", "/file/{seed}", self._file)

    async def _order(self, request: web.Request) -> web.StreamResponse:
        await self.work()
        body = request["body"]
        if "image" in body:
            self.take_picture(body["image"])
        task = self.new_task(
            request, seed=body["seeds"][0], size=tuple(body["size"]), id=body["id"] if self.named else None
        )
        if self.at_once:
            task.state = "done"
        return web.json_response(self._state(task))

    async def _look(self, request: web.Request) -> web.StreamResponse:
        task = self.look(request.match_info["id"])
        return web.json_response("unheard" if task is None else self._state(task))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        self.cancel_task(request.match_info["id"])
        return web.json_response({})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        size = self.size or (SIDE, SIDE)
        return web.Response(body=self.picture(int(request.match_info["seed"]), size), content_type="text/html")

    def _state(self, task: Any) -> dict[str, Any]:
        if self.state is not None:
            return {"state": self.state, "id": task.id}
        if task.state != "done":
            return {"state": "working", "id": task.id, "progress": task.polls / (self.polls_needed + 1)} | self.extra
        pictures: list[Any] = []
        for index, seed in enumerate(task.body["seeds"]):
            if self.moderated(task.number, index):
                pictures.append({"withheld": "naughty"})
            elif self.as_urls or self.urls_at is not None:
                pictures.append({"url": f"{self.urls_at or self.root_url}/file/{seed}"})
            else:
                data = self.picture(seed, self.size or task.size, "png")
                pictures.append({"data": base64.b64encode(data).decode(), "seed": self.own_seed})
        return {"state": "done", "pictures": pictures} | self.extra


def sketch(standin: StandIn, kind: type[SketchVendor] = SketchVendor, **changed: Any) -> SketchVendor:
    """Return a vendor object that talks to ``standin``."""
    return kind(Access(**({"base_url": standin.base_url, "key": standin.key} | changed)))


def asked_for(count: int = 1, *, model: str = "flux-dev", picture: bool = False, seed: int = 7) -> GenerationRequest:
    """Return a small request."""
    return GenerationRequest(
        prompt="a circle",
        model=model,
        width=SIDE,
        height=SIDE,
        steps=4,
        guidance=None,
        seed=seed,
        count=count,
        input_picture=InputPicture(key="inputs/x.png", width=512, height=512) if picture else None,
        strength=0.5 if picture else None,
    )


def _found(entry: dict[str, Any]) -> Found:
    data = entry.get("data")
    return Found(
        data=None if data is None else base64.b64decode(data),
        url=entry.get("url"),
        seed=entry.get("seed"),
        withheld=entry.get("withheld"),
    )


def _bytes(text: Any) -> bytes | None:
    return base64.b64decode(text) if isinstance(text, str) else None
