"""A person at the sandbox's keyboard, for tests and demonstrations: a typed client of the page's API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import httpx

from .reading import RawMessage, find_control, text_of
from .rules.commands import ATTACHMENT
from .rules.modals import fields_of

Predicate = Callable[[RawMessage], Any]
DM = "dm"
APPEARS_WITHIN = 2.0
"""Seconds that a person looks for a control before it counts as missing."""
T = TypeVar("T")


class Refused(Exception):
    """The page's API said no; the message is its sentence."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an interaction went: acknowledged or failed, and what it opened."""

    id: str
    state: str
    response_message_id: str | None
    modal: dict[str, Any] | None
    reason: str | None


class Person:
    """One member, seated: types commands, presses buttons, sees what that member may see.

    An async context manager. `channel` is a channel's name, or "dm"; methods take another one with `channel=`.
    Methods that wait take `within`, in seconds.
    """

    def __init__(self, base_url: str, name: str = "Ada", channel: str = "studio") -> None:
        self.name = name
        self.id = ""
        self.channel = channel
        # The sandbox speaks plain HTTP on loopback; reading the machine's certificates would take 0.1 s a person.
        self._http = httpx.AsyncClient(base_url=base_url, timeout=30, verify=False)
        self._socket_url = base_url.replace("http", "ws", 1) + "/sandbox/events"
        self._channels: dict[str, str] = {DM: DM}
        self._known: dict[str, RawMessage] = {}
        self._settled: dict[str, str] = {}
        self._modals: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Person:
        world = await self.world()
        member = next((member for member in world["members"] if member["name"] == self.name), None)
        if member is None:
            raise LookupError(f"Nobody in the sandbox is called {self.name!r}.")
        self.id = member["id"]
        seen = [channel for channel in world["channels"] if self.id in channel["seen_by"]]
        self._channels |= {channel["name"]: channel["id"] for channel in seen}
        ready = asyncio.Event()
        self._watching = asyncio.create_task(self._watch(ready), name=f"watch-as-{self.name}")
        async with asyncio.timeout(10):
            await ready.wait()
        for channel in self._channels:
            for message in await self.messages(channel=channel, limit=100):
                self._known.setdefault(message["id"], message)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        await self._http.aclose()

    async def world(self) -> dict[str, Any]:
        """Return the guild, its channels and members, and the bot."""
        found: dict[str, Any] = await self._ask("GET", "/sandbox/world")
        return found

    async def registered(self) -> list[dict[str, Any]]:
        """Return the registered application commands."""
        found: list[dict[str, Any]] = await self._ask("GET", "/sandbox/commands")
        return found

    async def messages(self, *, channel: str | None = None, limit: int = 50) -> list[RawMessage]:
        """Return the newest messages that this member sees in a channel, oldest first."""
        query = {"member": self.id, "channel": self._channel_id(channel), "limit": str(limit)}
        found: list[RawMessage] = await self._ask("GET", "/sandbox/messages", params=query)
        return found

    async def message(self, message_id: str) -> RawMessage | None:
        """Return a message as it is now, or None when this member does not see it (any more)."""
        return self._known.get(message_id)

    async def command(
        self, name: str, options: Mapping[str, Any] | None = None, /, *, channel: str | None = None, **more: Any
    ) -> str:
        """Send a command, subcommands after spaces ("admin grant"), and return the interaction's id.

        Options go as keywords, or in a mapping where a name would clash. An attachment option takes what `upload`
        returned. Raises Refused with the sentence the page would show.
        """
        top, *path = name.split(" ")
        given = await self._options(top, path, {**(options or {}), **more})
        return await self._send_command(top, 1, channel, options=given)

    async def user_menu(self, name: str, user_id: str, /, *, channel: str | None = None) -> str:
        """Choose a command from a member's context menu; return the interaction's id."""
        return await self._send_command(name, 2, channel, target_id=user_id)

    async def message_menu(self, name: str, message: RawMessage, /) -> str:
        """Choose a command from a message's context menu; return the interaction's id."""
        return await self._send_command(name, 3, _channel_of(message), target_id=message["id"])

    async def _send_command(self, name: str, kind: int, channel: str | None, **parts: Any) -> str:
        place = self._channel_id(channel)
        body = {"member": self.id, "channel": place, "name": name, "type": kind, **parts}
        return await self._open("/sandbox/commands", body)

    async def autocomplete(
        self, name: str, focused: str, typed: str = "", /, *, channel: str | None = None, **options: Any
    ) -> list[dict[str, Any]]:
        """Return the choices the bot offers for a focused option with `typed` in it."""
        top, *path = name.split(" ")
        listed = await self._options(top, path, {**options, focused: typed})
        for option in _innermost(listed):
            if option["name"] == focused:
                option["focused"] = True
        body = {"member": self.id, "channel": self._channel_id(channel), "name": top, "options": listed}
        choices: list[dict[str, Any]] = (await self._ask("POST", "/sandbox/autocomplete", json=body))["choices"]
        return choices

    async def press(self, message: RawMessage, button: str) -> str:
        """Press a button by its label, emoji or custom_id; return the interaction's id."""
        return await self.select(message, button)

    async def select(self, message: RawMessage, control: str, *values: str) -> str:
        """Use a select (or button) of a message; return the interaction's id."""
        found = await self._control(message, control)
        return await self._use(message, found["custom_id"], found["type"], list(values))

    async def _control(self, message: RawMessage, control: str) -> dict[str, Any]:
        """Find a control on a message as this person sees it, which may be a moment behind what another has seen.

        Raises LookupError that names what there is.
        """

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(LookupError):
                return find_control(self._known.get(message["id"], message), control)
            return None

        with contextlib.suppress(TimeoutError):
            return await self._until(look, APPEARS_WITHIN, f"the control {control!r}")
        return find_control(self._known.get(message["id"], message), control)

    async def forge(self, message: RawMessage, custom_id: str, kind: int = 2) -> str:
        """Press a button that the message does not have, as a tampered client might."""
        return await self._use(message, custom_id, kind, [], forged=True)

    async def _use(
        self, message: RawMessage, custom_id: str, kind: int, values: list[str], *, forged: bool = False
    ) -> str:
        body = {
            "member": self.id,
            "channel": _channel_of(message),
            "message_id": message["id"],
            "custom_id": custom_id,
            "component_type": kind,
            "values": values,
            "forged": forged,
        }
        return await self._open("/sandbox/components", body)

    async def modal(self, interaction_id: str, within: float = 15) -> dict[str, Any]:
        """Wait for the modal that an interaction opens."""
        return await self._until(lambda: self._modals.get(interaction_id), within, "a modal")

    async def submit_modal(self, interaction_id: str, answers: Mapping[str, Any]) -> str:
        """Fill in the modal an interaction opened and send it.

        `answers` maps a field's custom_id or label to its value: a text, true or false, or a list of values (upload
        ids for a file upload). Returns the id of the new interaction.
        """
        modal = await self.modal(interaction_id)
        unused = dict(answers)
        components = []
        for custom_id, (label, field) in fields_of(modal["components"]).items():
            key = next((key for key in (custom_id, label) if key in unused), None)
            if key is None:
                continue
            value = unused.pop(key)
            filled = {"type": field["type"], "custom_id": custom_id}
            filled["values" if isinstance(value, list) else "value"] = value
            components.append({"type": 18, "component": filled})
        if unused:
            raise LookupError(f"The modal has no field {', '.join(map(repr, unused))}.")
        body = {"member": self.id, "interaction_id": interaction_id, "custom_id": modal["custom_id"]}
        return await self._open("/sandbox/modals", {**body, "components": components})

    async def upload(self, data: bytes, filename: str) -> dict[str, Any]:
        """Upload a file for an attachment option or a file upload field; return what the page knows of it."""
        query = {"member": self.id}
        files = {"file": (filename, data)}
        found: dict[str, Any] = await self._ask("POST", "/sandbox/uploads", params=query, files=files)
        return found

    async def download(self, url: str) -> bytes:
        """Fetch a file from the CDN."""
        response = await self._http.get(url)
        response.raise_for_status()
        return response.content

    async def outcome(self, interaction_id: str, within: float = 30) -> Outcome:
        """Wait until an interaction is acknowledged or has failed."""
        await self._until(lambda: self._settled.get(interaction_id), within, "an acknowledgement")
        return Outcome(**await self._ask("GET", f"/sandbox/interactions/{interaction_id}"))

    async def response(self, interaction_id: str, within: float = 30) -> RawMessage:
        """Wait for the message that answers an interaction; a deferred one counts once it says something.

        Raises AssertionError when the interaction fails.
        """
        outcome = await self.outcome(interaction_id, within)
        if outcome.response_message_id is None:
            raise AssertionError(
                f"No message answers this interaction: {outcome.reason or 'it was only acknowledged'}."
            )
        message_id = outcome.response_message_id
        return await self.wait_for(lambda message: message["id"] == message_id and not is_thinking(message), within)

    async def wait_for(self, predicate: Predicate, within: float = 30) -> RawMessage:
        """Wait for a message this member sees that fits, newest first; those already there count.

        Raises TimeoutError that shows the newest messages.
        """
        return await self._until(lambda: self._newest(predicate), within, "such a message")

    async def wait_gone(self, message_id: str, within: float = 30) -> None:
        """Wait until a message is deleted."""
        await self._until(lambda: message_id not in self._known or None, within, "the message to go")

    async def faults(self, **patch: Any) -> dict[str, Any]:
        """Put faults in force (none: just read them) and return those now in force."""
        asked = self._ask("POST", "/sandbox/faults", json=patch) if patch else self._ask("GET", "/sandbox/faults")
        found: dict[str, Any] = await asked
        return found

    def _newest(self, predicate: Predicate) -> RawMessage | None:
        return next((message for message in reversed(self._known.values()) if predicate(message)), None)

    async def _until(self, look: Callable[[], T | None], within: float, what: str) -> T:
        """Wait until a look at what has been seen gives something."""
        async with self._changed:
            try:
                async with asyncio.timeout(within):
                    while not (found := look()):
                        await self._changed.wait()
            except TimeoutError:
                seen = "\n".join(f"  {message['id']}: {_gist(message)}" for message in [*self._known.values()][-5:])
                raise TimeoutError(
                    f"{self.name} waited {within:g} s for {what}. The newest messages:\n{seen}"
                ) from None
        return found

    async def _watch(self, ready: asyncio.Event) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self._socket_url, params={"member": self.id}, max_msg_size=0) as socket,
        ):
            async for frame in socket:
                event = frame.json()
                async with self._changed:
                    self._take(event["type"], event["data"])
                    self._changed.notify_all()
                ready.set()

    def _take(self, kind: str, data: Any) -> None:
        if kind in ("message_create", "message_update"):
            self._known[data["id"]] = data
        elif kind == "message_delete":
            self._known.pop(data["id"], None)
        elif kind == "interaction":
            self._settled[data["id"]] = data["state"]
        elif kind == "modal":
            self._modals[data["interaction_id"]] = data

    def _channel_id(self, channel: str | None) -> str:
        name = self.channel if channel is None else channel
        return self._channels.get(name, name)

    async def _options(self, top: str, path: list[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Give options the types of the registered command, nested under its subcommands."""
        command = next((c for c in await self.registered() if c["name"] == top and c["type"] == 1), None)
        known = (command or {}).get("options") or []
        nesting = []
        for step in path:
            found = next((option for option in known if option["name"] == step), {"name": step, "type": 1})
            nesting.append({"name": step, "type": found["type"]})
            known = found.get("options") or []
        types = {option["name"]: option["type"] for option in known}
        listed: list[dict[str, Any]] = []
        for name, value in options.items():
            if types.get(name) == ATTACHMENT and isinstance(value, dict):
                value = value["id"]
            listed.append({"name": name, "value": value} | ({"type": types[name]} if name in types else {}))
        for level in reversed(nesting):
            listed = [{**level, "options": listed}]
        return listed

    async def _open(self, path: str, body: dict[str, Any]) -> str:
        return str((await self._ask("POST", path, json=body))["interaction_id"])

    async def _ask(self, method: str, path: str, **parts: Any) -> Any:
        response = await self._http.request(method, path, **parts)
        if response.status_code >= 400:
            raise Refused(response.json()["error"])
        return response.json()


def is_thinking(message: RawMessage) -> bool:
    """Tell whether a message is a placeholder that still waits for its text."""
    return bool(message["interaction_state"] == "thinking")


def _channel_of(message: RawMessage) -> str:
    return str(message["channel_id"]) if "guild_id" in message else DM


def _innermost(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return _innermost(options[0]["options"]) if options and "options" in options[0] else options


def _gist(message: RawMessage) -> str:
    return "(thinking)" if is_thinking(message) else text_of(message)[:200].replace("\n", " / ")
