"""What members do: turn it into interactions, once it has passed what Discord's own client would check."""

from __future__ import annotations

import asyncio
from typing import Any

from .community import APPLICATION_ID, Channel
from .events import InteractionOpened
from .interactions import Interaction, InteractionKind
from .messages import Message
from .rules.commands import ATTACHMENT, CHANNEL, GROUP, MENTIONABLE, MESSAGE, ROLE, SUBCOMMAND, USER, USER_OPTION
from .rules.components import BUTTON, LINK, PREMIUM, SELECTS, walk
from .rules.invocations import DoesNotFit, fit_options
from .rules.modals import FILE_UPLOAD, check_answer, check_values, fields_of
from .rules.permissions import Permission
from .world import World

COMPONENT_OPTION = {5: USER_OPTION, 6: ROLE, 7: MENTIONABLE, 8: CHANNEL, FILE_UPLOAD: ATTACHMENT}
"""Which option type's resolved objects go with a component type."""


class Invoker:
    """Check what a member does and open the interaction. Every method raises DoesNotFit with a sentence."""

    def __init__(self, world: World) -> None:
        self._world = world

    def place(self, member_id: str, channel_id: str) -> Channel:
        """Find the channel a member means, "dm" being the direct one, and make sure that the member sees it."""
        community = self._world.community
        if member_id not in community.people:
            raise DoesNotFit("There is no such member.")
        if channel_id == "dm":
            return community.direct_channel(member_id)
        channel = community.channels.get(channel_id)
        if channel is None or not community.permissions(member_id, channel) & Permission.VIEW_CHANNEL:
            raise DoesNotFit("There is no such channel.")
        return channel

    def command(
        self, member_id: str, channel: Channel, name: str, kind: int, options: Any, target_id: str | None
    ) -> Interaction:
        """Send a command."""
        command = self._command(member_id, channel, name, kind)
        data: dict[str, Any] = {"id": command["id"], "name": command["name"], "type": kind}
        resolved: dict[str, dict[str, Any]] = {}
        path = [command["name"]]
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        if kind == USER:
            if target_id not in self._world.community.guild_of(channel).members:
                raise DoesNotFit("There is no such member.")
            data["target_id"] = target_id
            self._resolve(resolved, channel, USER_OPTION, target_id)
        elif kind == MESSAGE:
            message = self._visible_message(member_id, channel, target_id or "")
            data["target_id"] = message.id
            resolved["messages"] = {message.id: message.raw}
        else:
            fitted = fit_options(command.get("options") or [], options, self._known(channel))
            if fitted:
                data["options"] = fitted
            path += _subcommands(fitted)
            self._resolve_options(resolved, channel, fitted)
        if resolved:
            data["resolved"] = resolved
        metadata = {"type": int(InteractionKind.COMMAND), "name": " ".join(path), "command_type": kind}
        return self._open(InteractionKind.COMMAND, member_id, channel, data, metadata, command=command)

    def autocomplete(self, member_id: str, channel: Channel, name: str, options: Any) -> Interaction:
        """Ask the bot to complete the focused option; the interaction's `choices` will hold what it says."""
        command = self._command(member_id, channel, name, 1)
        fitted = fit_options(command.get("options") or [], options, self._known(channel), partial=True)
        focused = [option for option in _leaves(fitted) if option.get("focused")]
        if len(focused) != 1:
            raise DoesNotFit("Exactly one option must be focused.")
        data: dict[str, Any] = {"id": command["id"], "name": command["name"], "type": 1, "options": fitted}
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        metadata = {"type": int(InteractionKind.AUTOCOMPLETE)}
        interaction = self._open(
            InteractionKind.AUTOCOMPLETE, member_id, channel, data, metadata, command=command, announce=False
        )
        interaction.option_type = focused[0]["type"]
        interaction.choices = asyncio.get_running_loop().create_future()
        self._announce(interaction, data)
        return interaction

    def component(
        self,
        member_id: str,
        channel: Channel,
        message_id: str,
        custom_id: str,
        kind: int,
        values: list[Any],
        *,
        forged: bool = False,
    ) -> Interaction:
        """Use a component of a message. `forged` sends a custom_id that the message does not have."""
        message = self._visible_message(member_id, channel, message_id)
        component = next((c for _, c in walk(message.raw["components"]) if c.get("custom_id") == custom_id), None)
        if forged:
            component = {"type": kind, "custom_id": custom_id, "id": 0}
        if component is None or component["type"] != kind:
            raise DoesNotFit("This message has no such component.")
        if component.get("disabled") or component.get("style") in (LINK, PREMIUM):
            raise DoesNotFit("This component cannot be used.")
        data: dict[str, Any] = {"custom_id": custom_id, "component_type": kind, "id": component["id"]}
        if kind in SELECTS:
            chosen = [str(value) for value in values]
            wrong = check_values(component.get("placeholder") or custom_id, component, chosen, needed=True)
            if wrong:
                raise DoesNotFit(wrong)
            data["values"] = chosen
            data["resolved"] = self._resolve_values(channel, component, chosen)
        elif kind != BUTTON:
            raise DoesNotFit("Only buttons and selects can be used.")
        metadata = {"type": int(InteractionKind.COMPONENT), "interacted_message_id": message.id}
        return self._open(InteractionKind.COMPONENT, member_id, channel, data, metadata, source=message)

    def modal(self, member_id: str, opener_id: str, custom_id: str, components: Any) -> Interaction:
        """Submit the modal that an earlier interaction opened."""
        opener = self._world.interactions.get(opener_id)
        if opener is None or opener.modal is None or opener.member_id != member_id:
            raise DoesNotFit("There is no such modal.")
        if opener.modal["custom_id"] != custom_id:
            raise DoesNotFit("The modal has another custom_id.")
        resolved: dict[str, dict[str, Any]] = {}
        answers = self._answers(opener, components, resolved)
        data: dict[str, Any] = {"custom_id": custom_id, "components": answers}
        if resolved:
            data["resolved"] = resolved
        metadata = {"type": int(InteractionKind.MODAL_SUBMIT), "triggering_interaction_metadata": opener.metadata}
        return self._open(InteractionKind.MODAL_SUBMIT, member_id, opener.channel, data, metadata, source=opener.source)

    def _answers(
        self, opener: Interaction, components: Any, resolved: dict[str, dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Put a member's answers into the modal's own order and shape."""
        assert opener.modal is not None
        if not isinstance(components, list) or not all(isinstance(component, dict) for component in components):
            raise DoesNotFit("Components must be a list of objects.")
        given = {key: answer for key, (_, answer) in fields_of(components).items()}
        fields = fields_of(opener.modal["components"])
        for key in given.keys() - fields.keys():
            raise DoesNotFit(f"The modal has no field {key!r}.")
        answers: list[dict[str, Any]] = []
        for component in opener.modal["components"]:
            inner = component.get("component") or next(iter(component.get("components") or ()), None)
            if inner is None:
                answers.append({"type": component["type"], "id": component["id"]})
                continue
            label, field = fields[inner["custom_id"]]
            answer = given.get(inner["custom_id"])
            wrong = check_answer(label, field, answer)
            if wrong:
                raise DoesNotFit(wrong)
            filled = self._filled(opener.channel, field, answer or {}, resolved)
            nested = {"component": filled} if "component" in component else {"components": [filled]}
            answers.append({"type": component["type"], "id": component["id"], **nested})
        return answers

    def _filled(
        self,
        channel: Channel,
        field: dict[str, Any],
        answer: dict[str, Any],
        resolved: dict[str, dict[str, Any]],
    ) -> dict[str, Any]:
        filled = {"type": field["type"], "id": field["id"], "custom_id": field["custom_id"]}
        if field["type"] in (4, 21, 23):
            empty: dict[int, Any] = {4: "", 21: None, 23: False}
            return filled | {"value": answer.get("value", empty[field["type"]])}
        chosen = [str(value) for value in answer.get("values") or ()]
        for group, objects in self._resolve_values(channel, field, chosen).items():
            resolved.setdefault(group, {}).update(objects)
        return filled | {"values": chosen}

    def _command(self, member_id: str, channel: Channel, name: str, kind: int) -> dict[str, Any]:
        guild = self._world.community.guild_of(channel)
        command = self._world.commands.named(name, kind, guild.id)
        if command is None or not guild.has_bot:
            raise DoesNotFit(f"There is no command called {name!r}.")
        held = self._world.community.permissions(member_id, channel)
        if channel.is_direct:
            contexts = command["contexts"]
            reachable = command["dm_permission"] if contexts is None else 1 in contexts
            if not reachable or "guild_id" in command:
                raise DoesNotFit("This command does not work in direct messages.")
            return command
        if command["contexts"] is not None and 0 not in command["contexts"]:
            raise DoesNotFit("This command does not work in a server.")
        if command["nsfw"] and not channel.nsfw:
            raise DoesNotFit("This command works in age-restricted channels only.")
        needed = command["default_member_permissions"]
        if not held & Permission.USE_APPLICATION_COMMANDS or (needed is not None and not _has(held, int(needed))):
            raise DoesNotFit("You do not have permission to use this command.")
        return command

    def _visible_message(self, member_id: str, channel: Channel, message_id: str) -> Message:
        message = self._world.messages.get(channel.id, message_id)
        if message is None or not message.visible_to(member_id):
            raise DoesNotFit("There is no such message.")
        return message

    def _known(self, channel: Channel) -> dict[int, Any]:
        community = self._world.community
        here = community.guild_of(channel)
        places = {
            key: place for key, place in community.channels.items() if not place.is_direct and place.guild_id == here.id
        }
        return {
            USER_OPTION: here.members,
            CHANNEL: places,
            ROLE: here.roles,
            ATTACHMENT: self._world.uploads,
        }

    def _resolve_values(self, channel: Channel, component: dict[str, Any], values: list[str]) -> dict[str, Any]:
        resolved: dict[str, dict[str, Any]] = {}
        kind = COMPONENT_OPTION.get(component["type"])
        if kind is not None:
            for value in values:
                self._resolve(resolved, channel, kind, value)
        return resolved

    def _resolve_options(
        self, resolved: dict[str, dict[str, Any]], channel: Channel, options: list[dict[str, Any]]
    ) -> None:
        for option in _leaves(options):
            if option["type"] in (USER_OPTION, CHANNEL, ROLE, MENTIONABLE, ATTACHMENT):
                option["value"] = str(option["value"])
                self._resolve(resolved, channel, option["type"], option["value"])

    def _resolve(self, resolved: dict[str, dict[str, Any]], channel: Channel, kind: int, wanted: Any) -> None:
        """Add the object that an id means to the interaction's resolved objects."""
        community = self._world.community
        here = community.guild_of(channel)
        if kind in (USER_OPTION, MENTIONABLE) and wanted in here.members:
            member = here.members[wanted]
            resolved.setdefault("users", {})[wanted] = member.user.raw()
            if not channel.is_direct:
                raw = member.raw(community.permissions(wanted, channel))
                del raw["user"]
                resolved.setdefault("members", {})[wanted] = raw
        elif kind in (ROLE, MENTIONABLE) and wanted in here.roles:
            resolved.setdefault("roles", {})[wanted] = here.roles[wanted].raw()
        elif kind == CHANNEL and wanted in community.channels:
            found = community.channels[wanted]
            raw = {**found.raw(), "permissions": str(int(community.permissions(community.bot.id, found)))}
            resolved.setdefault("channels", {})[wanted] = raw
        elif kind == ATTACHMENT and wanted in self._world.uploads:
            resolved.setdefault("attachments", {})[wanted] = self._world.uploads[wanted]
        else:
            raise DoesNotFit(f"Nothing here has the id {wanted!r}.")

    def _open(
        self,
        kind: InteractionKind,
        member_id: str,
        channel: Channel,
        data: dict[str, Any],
        metadata: dict[str, Any],
        *,
        source: Message | None = None,
        command: dict[str, Any] | None = None,
        announce: bool = True,
    ) -> Interaction:
        interaction_id = self._world.snowflakes.next()
        owners = {"0": "0" if channel.is_direct else channel.guild_id}
        metadata = {"id": interaction_id, "authorizing_integration_owners": owners, **metadata}
        metadata["user"] = self._world.community.members[member_id].user.raw()
        interaction = self._world.interactions.open(
            interaction_id, kind, member_id, channel, metadata, source=source, command=command
        )
        if announce:
            self._announce(interaction, data)
        return interaction

    def _announce(self, interaction: Interaction, data: dict[str, Any]) -> None:
        """Publish Discord's INTERACTION_CREATE for an interaction."""
        world, channel = self._world, interaction.channel
        community = world.community
        member = community.guild_of(channel).members[interaction.member_id]
        held = community.permissions(interaction.member_id, channel)
        payload: dict[str, Any] = {
            "id": interaction.id,
            "application_id": APPLICATION_ID,
            "type": int(interaction.kind),
            "token": interaction.token,
            "version": 1,
            "data": data,
            "channel_id": channel.id,
            "channel": {**channel.raw(), "permissions": str(int(held))},
            "locale": "en-US",
            "app_permissions": str(int(community.permissions(community.bot.id, channel))),
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": interaction.metadata["authorizing_integration_owners"],
            "context": 1 if channel.is_direct else 0,
            "attachment_size_limit": world.limits.attachment_bytes,
        }
        if channel.is_direct:
            payload["user"] = member.user.raw()
        else:
            payload["guild_id"] = channel.guild_id
            payload["guild"] = {"id": channel.guild_id, "locale": "en-US", "features": []}
            payload["guild_locale"] = "en-US"
            payload["member"] = member.raw(held)
        if interaction.source is not None:
            payload["message"] = interaction.source.raw
        world.bus.publish(InteractionOpened(interaction, payload))


def _subcommands(options: list[dict[str, Any]]) -> list[str]:
    """Return the names of the group and subcommand that were chosen, if any."""
    nested = next((option for option in options if option["type"] in (SUBCOMMAND, GROUP)), None)
    return [] if nested is None else [nested["name"], *_subcommands(nested["options"])]


def _leaves(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the options with values, out of any subcommands."""
    found: list[dict[str, Any]] = []
    for option in options:
        found += _leaves(option["options"]) if "options" in option else [option]
    return found


def _has(held: Permission, needed: int) -> bool:
    """Tell whether all needed bits are held; bits this sandbox does not know count only for administrators."""
    return bool(held & Permission.ADMINISTRATOR) or (needed != 0 and int(held) & needed == needed)
