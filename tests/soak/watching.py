"""What everybody could see in the sandbox, as it happened: which message showed which job, and in which state."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

from bot.layouts.custom_ids import Action, Press, parse
from bot.sandbox.events import (
    Event,
    InteractionOpened,
    InteractionSettled,
    MessageCreated,
    MessageDeleted,
    MessageUpdated,
)
from bot.sandbox.messages import Message
from bot.sandbox.reading import controls_of
from bot.sandbox.world import World

FINAL = (Action.DETAILS, Action.DELETE)
"""Buttons that only the card of an ended job has."""
T = TypeVar("T")


def presses_on(raw: dict[str, Any]) -> list[Press]:
    """Return what the bot's own buttons on a message stand for, those that can be pressed."""
    found = [parse(control.get("custom_id") or "") for control in controls_of(raw) if not control.get("disabled")]
    return [press for press in found if press is not None]


def job_on(raw: dict[str, Any]) -> str | None:
    """Return the job that a message shows."""
    found = [parse(control.get("custom_id") or "") for control in controls_of(raw)]
    return next((press.job_id for press in found if press is not None), None)


def is_final(raw: dict[str, Any]) -> bool:
    """Say whether a message shows how its job ended."""
    return any(press.action in FINAL for press in presses_on(raw))


def is_waiting(message: Message) -> bool:
    """Say whether a message promises something that is still to come, and would do so for ever."""
    return any(press.action is Action.CANCEL for press in presses_on(message.raw))


class Watch:
    """Listens to a sandbox from the beginning, and lets others wait for what they want to see."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._changed = asyncio.Event()
        self.finals: dict[str, set[str]] = defaultdict(set)
        """Job → ids of the messages that ever showed how it ended."""
        self.jobs: set[str] = set()
        """Every job that anybody was ever shown."""
        self.payloads: dict[str, InteractionOpened] = {}
        self.settled: set[str] = set()
        self.gone: set[str] = set()
        self._stop = world.bus.subscribe(self._take)

    def close(self) -> None:
        """Listen no more."""
        self._stop()

    def _take(self, event: Event) -> None:
        match event:
            case MessageCreated(message) | MessageUpdated(message):
                job = job_on(message.raw)
                if job is not None:
                    self.jobs.add(job)
                    if is_final(message.raw):
                        self.finals[job].add(message.id)
            case MessageDeleted(message):
                self.gone.add(message.id)
            case InteractionOpened(interaction):
                self.payloads[interaction.id] = event
            case InteractionSettled(interaction):
                self.settled.add(interaction.id)
            case _:
                return
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, look: Callable[[], T | None], within: float) -> T | None:
        """Return what ``look`` gives as soon as that is something; None after ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                while not (found := look()):
                    await self._changed.wait()
        except TimeoutError:
            return None
        return found

    def messages(self) -> list[Message]:
        """Return every message that is there now, in all channels, direct and private ones included."""
        store = self._world.messages
        return [message for channel in self._world.community.channels for message in store.newest_first(channel)]
