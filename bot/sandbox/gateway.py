"""The gateway: sessions that survive their connections, with replay, sharding and compression."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections import deque
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from . import events
from .community import APPLICATION_ID, Channel
from .compression import compressor_for
from .faults import GatewayDrop
from .guild_objects import guild_create
from .identifying import check
from .rules.permissions import Permission
from .sessions import Closed, Connection, Session, is_told
from .starts import Starts
from .world import World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME, RECONNECT = 0, 1, 2, 3, 4, 6, 7
REQUEST_MEMBERS, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 8, 9, 10, 11

GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 0, 1 << 9, 1 << 12

ACKNOWLEDGED_AFTER = 0.02
"""Seconds, as over a network. discord.py notes in another thread when it sent a heartbeat; an acknowledgement that is
back before that counts from the beat before, and it warns that the connection is 41 seconds behind."""


class Gateway:
    """Accept bots, keep their sessions, and tell them what happens in the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions: dict[str, Session] = {}
        self._connections: set[Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self.starts = Starts(world.limits)
        world.bus.subscribe(self._on_event)

    @property
    def online(self) -> bool:
        """Tell whether a bot is connected right now."""
        return any(session.connection is not None for session in self._sessions.values())

    @property
    def shards(self) -> list[list[int] | None]:
        """Return the shard and the number of shards of every session that is connected; None: it named none."""
        connected = [session.shard for session in self._sessions.values() if session.connection is not None]
        return [None if shard is None else list(shard) for shard in connected]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one WebSocket from HELLO to its end."""
        socket = web.WebSocketResponse(compress=False, max_msg_size=64 * 1024)
        await socket.prepare(request)
        try:
            compress = compressor_for(request.query.get("compress"))
        except ValueError as unknown:
            await socket.close(code=4000, message=str(unknown).encode())
            return socket
        if request.query.get("v") != "10" or request.query.get("encoding", "json") != "json":
            await socket.close(code=4012, message=b"Only API version 10 with JSON is spoken here.")
            return socket
        connection = Connection(socket, compress)
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write(), name="sandbox-gateway-writer")
        try:
            connection.send_op(HELLO, {"heartbeat_interval": int(self._world.limits.heartbeat_seconds * 1_000)})
            await self._read(connection)
        except Closed as closed:
            await self._close(connection, closed.code, closed.reason)
        finally:
            self._connections.discard(connection)
            self._detach(connection)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await writer
        return socket

    async def _read(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        connection.last_beat = loop.time()
        patience = self._world.limits.heartbeat_seconds * 1.5
        budget, window = 120, loop.time()
        while True:
            try:
                frame = await connection.socket.receive(timeout=patience)
            except TimeoutError:
                raise Closed(4009, "Session timed out.") from None
            now = loop.time()
            if now - connection.last_beat > patience:
                raise Closed(4009, "Session timed out.")
            if frame.type is not WSMsgType.TEXT:
                return
            budget, window = (119, now) if now - window > 60 else (budget - 1, window)
            if budget < 0:
                raise Closed(4008, "Rate limited.")
            try:
                message = json.loads(frame.data)
                op, data = message["op"], message.get("d")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise Closed(4002, "Error while decoding payload.") from None
            self._receive(connection, op, data)

    def _receive(self, connection: Connection, op: int, data: Any) -> None:
        if op == HEARTBEAT:
            loop = asyncio.get_running_loop()
            connection.last_beat = loop.time()
            loop.call_later(ACKNOWLEDGED_AFTER, connection.send_op, HEARTBEAT_ACK)
        elif op == IDENTIFY:
            self._identify(connection, data)
        elif op == RESUME:
            self._resume(connection, data)
        elif connection.session is None:
            raise Closed(4003, "Not authenticated.")
        elif op == REQUEST_MEMBERS:
            self._send_members(connection.session, data)
        elif op not in (PRESENCE, VOICE):
            raise Closed(4001, "Unknown opcode.")

    def _identify(self, connection: Connection, data: Any) -> None:
        if connection.session is not None:
            raise Closed(4005, "Already authenticated.")
        intents, shard = check(data, self._world.token)
        guilds = [guild_id for guild_id in self._world.community.guilds if is_told(shard, guild_id)]
        if len(guilds) > self._world.limits.guilds_per_shard:
            raise Closed(4011, "Sharding required.")
        if not self.starts.left:
            # Discord ends everything then, and has the owner make a new token.
            self._world.token = secrets.token_urlsafe(32)
            for other in tuple(self._connections):
                self._cut_off(other, 4004, "Authentication failed.")
            return
        if not self.starts.take(0 if shard is None else shard[0]):
            connection.send_op(INVALID_SESSION, False)
            return
        session = Session(secrets.token_hex(16), shard, intents, deque(maxlen=self._world.limits.replay_events))
        self._sessions[session.id] = session
        self._attach(session, connection)
        community = self._world.community
        guilds = [guild_id for guild_id in guilds if community.guilds[guild_id].has_bot]
        ready: dict[str, Any] = {
            "v": 10,
            "user": {**community.bot.raw(), "verified": True, "mfa_enabled": False, "email": None, "flags": 0},
            "guilds": [{"id": guild_id, "unavailable": True} for guild_id in guilds],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": self._world.addresses.gateway_url,
            "private_channels": [],
            "relationships": [],
            "application": {"id": APPLICATION_ID, "flags": 0},
        }
        if shard is not None:
            ready["shard"] = list(shard)
        session.dispatch("READY", json.dumps(ready))
        for guild_id in guilds:
            if intents & GUILDS:
                session.dispatch("GUILD_CREATE", json.dumps(guild_create(community, guild_id)))

    def _resume(self, connection: Connection, data: Any) -> None:
        if connection.session is not None:
            raise Closed(4005, "Already authenticated.")
        if not isinstance(data, dict) or not isinstance(data.get("seq"), int | None):
            raise Closed(4002, "Error while decoding payload.")
        if data.get("token") != self._world.token:
            raise Closed(4004, "Authentication failed.")
        session = self._sessions.get(str(data.get("session_id")))
        seen = data.get("seq") or 0
        if session is not None and seen > session.sequence:
            raise Closed(4007, "Invalid seq.")
        missed = [] if session is None else [(number, frame) for number, frame in session.replay if number > seen]
        if session is None or len(missed) < session.sequence - seen:
            # Unknown, expired, or more was missed than the buffer holds: the bot has to identify afresh.
            connection.send_op(INVALID_SESSION, False)
            return
        if session.connection is not None:
            session.connection.session = None
        self._attach(session, connection)
        for _, frame in missed:
            connection.send(frame)
        session.dispatch("RESUMED", "{}")

    def _attach(self, session: Session, connection: Connection) -> None:
        was_online = self.online
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        session.connection, connection.session = connection, session
        if not was_online:
            self._world.bus.publish(events.BotPresence(True))

    def _detach(self, connection: Connection) -> None:
        session, connection.session = connection.session, None
        if session is None or session.connection is not connection:
            return
        session.connection = None
        if connection.socket.close_code in (WSCloseCode.OK, WSCloseCode.GOING_AWAY):
            self._sessions.pop(session.id, None)  # the bot said good-bye: nothing to resume
        else:
            loop = asyncio.get_running_loop()
            session.expiry = loop.call_later(self._world.limits.resume_seconds, self._sessions.pop, session.id, None)
        if not self.online:
            self._world.bus.publish(events.BotPresence(False))

    def _send_members(self, session: Session, data: Any) -> None:
        guild_id = str(data.get("guild_id")) if isinstance(data, dict) else ""
        guild = self._world.community.guilds.get(guild_id)
        if guild is None or not session.wants(0, guild_id):
            return
        wanted = data.get("user_ids")
        ids = {str(wanted)} if isinstance(wanted, str | int) else {str(user_id) for user_id in wanted or ()}
        query = str(data.get("query") or "").lower()
        members = [
            member.raw()
            for member in guild.members.values()
            if (member.user.id in ids if ids else member.user.username.startswith(query))
        ]
        chunk: dict[str, Any] = {"guild_id": guild_id, "members": members, "chunk_index": 0, "chunk_count": 1}
        chunk["not_found"] = sorted(ids - set(guild.members))
        if data.get("nonce") is not None:
            chunk["nonce"] = data["nonce"]
        session.dispatch("GUILD_MEMBERS_CHUNK", json.dumps(chunk))

    def drop(self, how: GatewayDrop) -> None:
        """Cut every connection off: a resumable close, op 7, or op 9 that ends the session."""
        for connection in tuple(self._connections):
            if how == "reconnect":
                connection.send_op(RECONNECT)
            elif how == "invalid":
                if connection.session is not None:
                    self._sessions.pop(connection.session.id, None)
                connection.send_op(INVALID_SESSION, False)
            else:
                self._cut_off(connection, 4000, "Dropped on request.")

    def _cut_off(self, connection: Connection, code: int, reason: str) -> None:
        task = asyncio.create_task(self._close(connection, code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, connection: Connection, code: int, reason: str) -> None:
        # Detach first, so that events from now on wait for the replay instead of going into a closing socket.
        session = connection.session
        if session is not None and session.connection is connection:
            session.connection = None
            session.expiry = asyncio.get_running_loop().call_later(
                self._world.limits.resume_seconds, self._sessions.pop, session.id, None
            )
            connection.session = None
            if not self.online:
                self._world.bus.publish(events.BotPresence(False))
        await connection.socket.close(code=code, message=reason.encode())

    async def close(self) -> None:
        """Close every connection, as Discord does when a gateway node goes away."""
        for connection in tuple(self._connections):
            await self._close(connection, WSCloseCode.GOING_AWAY, "The sandbox stops.")
        for session in self._sessions.values():
            if session.expiry is not None:
                session.expiry.cancel()

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.InteractionOpened(interaction, payload):
                self._tell("INTERACTION_CREATE", payload, 0, interaction.channel)
            case events.MessageCreated(message) | events.MessageUpdated(message) if message.ephemeral_for is None:
                name = "MESSAGE_CREATE" if isinstance(event, events.MessageCreated) else "MESSAGE_UPDATE"
                self._tell_about_message(name, message.channel_id, message.raw)
            case events.MessageDeleted(message) if message.ephemeral_for is None:
                gone: dict[str, Any] = {
                    key: message.raw[key] for key in ("id", "channel_id", "guild_id") if key in message.raw
                }
                self._tell_about_message("MESSAGE_DELETE", message.channel_id, gone)
            case events.ChannelUpdated(channel):
                name = "CHANNEL_UPDATE" if channel.parent_id is None else "THREAD_UPDATE"
                self._tell(name, channel.raw(), GUILDS, channel)
            case events.ChannelDeleted(channel):
                name = "CHANNEL_DELETE" if channel.parent_id is None else "THREAD_DELETE"
                self._tell(name, channel.raw(), GUILDS, channel)
            case events.BotRemoved(guild_id):
                self._tell_guild("GUILD_DELETE", {"id": guild_id}, GUILDS, guild_id)
            case events.BotInvited(guild_id):
                self._tell_guild("GUILD_CREATE", guild_create(self._world.community, guild_id), GUILDS, guild_id)

    def _tell_about_message(self, name: str, channel_id: str, raw: dict[str, Any]) -> None:
        community = self._world.community
        channel = community.channels[channel_id]
        if community.permissions(community.bot.id, channel) & Permission.VIEW_CHANNEL:
            intent = DIRECT_MESSAGES if channel.is_direct else GUILD_MESSAGES
            self._tell(name, raw, intent, channel)

    def _tell(self, name: str, data: dict[str, Any], intent: int, place: Channel) -> None:
        self._tell_guild(name, data, intent, None if place.is_direct else place.guild_id)

    def _tell_guild(self, name: str, data: dict[str, Any], intent: int, guild_id: str | None) -> None:
        interested = [session for session in self._sessions.values() if session.wants(intent, guild_id)]
        if interested:
            text = json.dumps(data, separators=(",", ":"))
            for session in interested:
                session.dispatch(name, text)
