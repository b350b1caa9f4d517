"""The page's API: what a person at the keyboard sees and does. Tests drive it through `driver.Person`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from . import events, losses
from .community import GUILD_ID
from .errors import invalid_form
from .faults import check_patch
from .files import SentFile, describe
from .gateway import Gateway
from .invoking import Invoker
from .loopback import is_loopback
from .multipart import split
from .rules.invocations import DoesNotFit
from .rules.permissions import Permission, named
from .viewers import Viewers
from .world import World

STATIC = Path(__file__).parent / "static"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Page:
    """Serve the page, its API and its events."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world = world
        self._gateway = gateway
        self._invoker = Invoker(world)
        self._viewers = Viewers(world, gateway)

    def add_routes(self, app: web.Application) -> None:
        """Put the page, its assets and its API into the application."""
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/sandbox/world", self._get_world),
            ("GET", "/sandbox/commands", self._get_commands),
            ("GET", "/sandbox/messages", self._get_messages),
            ("GET", "/sandbox/events", self._watch),
            ("POST", "/sandbox/uploads", self._upload),
            ("POST", "/sandbox/commands", self._command),
            ("POST", "/sandbox/autocomplete", self._autocomplete),
            ("POST", "/sandbox/components", self._component),
            ("POST", "/sandbox/modals", self._modal),
            ("GET", "/sandbox/faults", self._get_faults),
            ("POST", "/sandbox/faults", self._set_faults),
            ("GET", "/sandbox/interactions/{id}", self._get_interaction),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, _guarded(handler))
        app.router.add_get("/healthz", _health)
        app.router.add_get("/", _index)
        if STATIC.is_dir():
            app.router.add_static("/static/", STATIC)

    async def _get_world(self, request: web.Request) -> web.Response:
        community = self._world.community
        people = []
        for member in community.people.values():
            role = next((community.roles[role_id] for role_id in member.role_ids), None)
            held = community.guild_permissions(member.user.id)
            people.append(
                {
                    "id": member.user.id,
                    "name": member.user.global_name,
                    "avatar": f"/embed/avatars/{member.user.avatar_index}.png",
                    "color": f"#{role.color:06x}" if role is not None else None,
                    "role": "moderator" if held & Permission.MANAGE_GUILD else "member",
                    "title": role.name if role is not None else "Member",
                    "permissions": str(int(held)),
                    "owner": member.user is community.application_owner,
                }
            )
        channels = [
            {
                "id": channel.id,
                "guild_id": channel.guild_id,
                "name": channel.name,
                "topic": channel.topic,
                "type": channel.kind,
                "parent_id": channel.parent_id,
                "nsfw": channel.nsfw,
                "seen_by": [
                    member_id
                    for member_id in community.people
                    if community.permissions(member_id, channel) & Permission.VIEW_CHANNEL
                ],
                "bot_permissions": str(int(community.permissions(community.bot.id, channel))),
            }
            for channel in community.channels.values()
            if not channel.is_direct
        ]
        roles = [{"id": role.id, "name": role.name} for role in community.roles.values()]
        bot = {
            "id": community.bot.id,
            "name": community.bot.username,
            "avatar": f"/embed/avatars/{community.bot.avatar_index}.png",
            "online": self._gateway.online,
            "shards": self._gateway.shards,
        }
        guild = {"id": GUILD_ID, "name": community.name}
        return web.json_response({"guild": guild, "channels": channels, "roles": roles, "members": people, "bot": bot})

    async def _get_commands(self, request: web.Request) -> web.Response:
        return web.json_response(self._world.commands.every())

    async def _get_messages(self, request: web.Request) -> web.Response:
        member_id = request.query.get("member", "")
        channel = self._invoker.place(member_id, request.query.get("channel", ""))
        limit = int(request.query.get("limit", "50"))
        visible: list[dict[str, Any]] = []
        for message in self._world.messages.newest_first(channel.id):
            if len(visible) >= limit:
                break
            if message.visible_to(member_id):
                visible.append(message.for_page())
        return web.json_response(visible[::-1])

    async def _get_interaction(self, request: web.Request) -> web.Response:
        interaction = self._world.interactions.get(request.match_info["id"])
        if interaction is None:
            return web.json_response({"error": "There is no such interaction."}, status=404)
        return web.json_response(interaction.summary())

    async def _upload(self, request: web.Request) -> web.Response:
        world = self._world
        member_id = request.query.get("member", "")
        channel = self._invoker.place(member_id, "dm")
        parts = split(await request.read(), request.headers.get("Content-Type", ""))
        part = next((part for part in parts if part.name == "file" and part.filename), None)
        if part is None or part.filename is None:
            raise DoesNotFit("The form has no file.")
        if len(part.data) > world.limits.attachment_bytes:
            most = world.limits.attachment_bytes / 1024 / 1024
            raise DoesNotFit(f"This file is too big: Discord takes up to {most:g} MiB.")
        upload_id = world.snowflakes.next()
        attachment = describe(
            upload_id,
            SentFile(part.filename, part.data),
            cdn_base=world.addresses.cdn_base,
            folder="ephemeral-attachments",
            channel_id=channel.id,
            ephemeral=True,
        )
        world.files.put(upload_id, SentFile(attachment["filename"], part.data))
        world.uploads[upload_id] = attachment
        shown = {
            key: attachment.get(key) for key in ("id", "filename", "size", "content_type", "width", "height", "url")
        }
        return web.json_response(shown)

    async def _command(self, request: web.Request) -> web.Response:
        sent = await _json(request)
        member_id, channel = _text(sent, "member"), _text(sent, "channel")
        target = sent.get("target_id")
        interaction = self._invoker.command(
            member_id,
            self._invoker.place(member_id, channel),
            _text(sent, "name"),
            sent.get("type", 1),
            sent.get("options") or [],
            None if target is None else str(target),
        )
        return web.json_response({"interaction_id": interaction.id})

    async def _autocomplete(self, request: web.Request) -> web.Response:
        sent = await _json(request)
        member_id, channel = _text(sent, "member"), _text(sent, "channel")
        place = self._invoker.place(member_id, channel)
        interaction = self._invoker.autocomplete(member_id, place, _text(sent, "name"), sent.get("options") or [])
        assert interaction.choices is not None
        return web.json_response({"choices": await interaction.choices})

    async def _component(self, request: web.Request) -> web.Response:
        sent = await _json(request)
        member_id, channel = _text(sent, "member"), _text(sent, "channel")
        interaction = self._invoker.component(
            member_id,
            self._invoker.place(member_id, channel),
            _text(sent, "message_id"),
            _text(sent, "custom_id"),
            sent.get("component_type", 2),
            _list(sent, "values"),
            forged=sent.get("forged") is True,
        )
        return web.json_response({"interaction_id": interaction.id})

    async def _modal(self, request: web.Request) -> web.Response:
        sent = await _json(request)
        interaction = self._invoker.modal(
            _text(sent, "member"), _text(sent, "interaction_id"), _text(sent, "custom_id"), sent.get("components")
        )
        return web.json_response({"interaction_id": interaction.id})

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._world.faults.raw())

    async def _set_faults(self, request: web.Request) -> web.Response:
        patch = await _json(request)
        broken = list(check_patch(patch, ()))
        if broken:
            where = ".".join(map(str, broken[0].path)) or "faults"
            return web.json_response(
                {"error": f"{where}: {broken[0].message}", **invalid_form(broken).body()}, status=400
            )
        self.set_faults(patch)
        return web.json_response(self._world.faults.raw())

    def set_faults(self, patch: dict[str, Any]) -> None:
        """Put faults in force. Raises ValueError with a sentence for an unknown name of a permission or channel."""
        world = self._world
        bits = named(patch["deny"]) if "deny" in patch else None
        world.faults.apply(patch)
        if bits is not None:
            for channel in world.community.deny_bot(Permission(bits)):
                world.bus.publish(events.ChannelUpdated(channel))
        if patch.get("expire_tokens"):
            world.interactions.expire_tokens()
        if "drop_gateway" in patch:
            self._gateway.drop(patch["drop_gateway"])
        if "delete_channel" in patch:
            losses.delete_channel(world, patch["delete_channel"])
        if "archive_threads" in patch:
            losses.archive_threads(world, locked=patch["archive_threads"] == "locked")
        if "remove_bot" in patch:
            (losses.remove_bot if patch["remove_bot"] else losses.invite_bot)(world)
        world.bus.publish(events.FaultsChanged(world.faults.raw()))

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        member_id = request.query.get("member", "")
        self._invoker.place(member_id, "dm")
        return await self._viewers.watch(request, member_id)

    async def close(self) -> None:
        """Close every open page's connection."""
        await self._viewers.close()


@web.middleware
async def keep_out_other_sites(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer nothing to other web sites, neither on the page's API nor on the bot's side.

    The sandbox knows no passwords, and its bot token is in the source. A page of another origin in the same browser
    must not be able to type in it, nor to log in as the bot: any site may open a web socket to this machine.
    """
    origin = request.headers.get("Origin")
    foreign = origin is not None and origin.split("://", 1)[-1] != request.host
    # A name that only resolves to this machine is another site's, whatever its origin says.
    if foreign or not is_loopback(request.url.host):
        return web.json_response({"error": "Only the sandbox's own page may ask for this."}, status=403)
    return await handler(request)


def _guarded(handler: Handler) -> Handler:
    """Answer sentences for what does not fit."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ValueError as wrong:
            return web.json_response({"error": str(wrong)}, status=400)
        except web.HTTPRequestEntityTooLarge:
            return web.json_response({"error": "This file is too big."}, status=413)

    return handle


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        sent = await request.json()
    except ValueError:
        raise DoesNotFit("The body is not JSON.") from None
    if not isinstance(sent, dict):
        raise DoesNotFit("The body is not a JSON object.")
    return sent


def _text(sent: dict[str, Any], name: str) -> str:
    value = sent.get(name)
    if not isinstance(value, str):
        raise DoesNotFit(f"The field {name!r} must be a text.")
    return value


def _list(sent: dict[str, Any], name: str) -> list[Any]:
    value = sent.get(name)
    if value is not None and not isinstance(value, list):
        raise DoesNotFit(f"The field {name!r} must be a list.")
    return value or []


async def _health(request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def _index(request: web.Request) -> web.StreamResponse:
    index = STATIC / "index.html"
    if not index.is_file():
        return web.Response(status=404, text="The sandbox's page is not part of this installation.")
    # Framed by another site, its buttons could be pressed under somebody else's picture.
    headers = {"Cache-Control": "no-cache", "X-Frame-Options": "DENY"}
    return web.FileResponse(index, headers=headers)
