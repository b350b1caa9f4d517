"""What was ordered for a job, as short text that outlives its worker: whoever resumes it must not pay twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

VERSION = 1
JOIN_SECONDS = 0.002
"""Shots that begin, or are named, at about the same moment are written down together."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Ordered, perhaps: the order was about to leave, and what the vendor said to it is not known."""

    client_id: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """Ordered, and the vendor's name for it."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Ended without pictures: the vendor refused it."""

    reason: str


State = Sent | Ticket | Ended | None
"""Of a shot; None: never sent."""


class ReceiptUnreadable(ValueError):
    """Say that a text tells nothing of what was ordered."""


def parse(text: str, shots: int) -> list[State]:
    """Read what ``text_of`` has written for a job of ``shots`` shots; raises ReceiptUnreadable."""
    try:
        value = json.loads(text)
        if value["v"] != VERSION or len(value["shots"]) != shots:
            raise ReceiptUnreadable(f"no receipt of version {VERSION} for {shots} shots")
        return [_state(entry) for entry in value["shots"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ReceiptUnreadable(f"{type(error).__name__}: {error}") from error


def text_of(states: list[State]) -> str:
    """Return the text that is kept with the job."""
    return json.dumps({"v": VERSION, "shots": [_entry(state) for state in states]}, separators=(",", ":"))


def _state(entry: object) -> State:
    match entry:
        case None:
            return None
        case ["sent", str(client_id)]:
            return Sent(client_id)
        case ["ticket", str(text)]:
            return Ticket(text)
        case ["ended", str(reason)]:
            return Ended(reason)
    raise ReceiptUnreadable("an entry that is none")


def _entry(state: State) -> list[str] | None:
    match state:
        case Sent(client_id):
            return ["sent", client_id]
        case Ticket(text):
            return ["ticket", text]
        case Ended(reason):
            return ["ended", reason]
    return None


class Receipt:
    """The states of one job's shots, written down through ``write``; writes that are asked for together become one."""

    def __init__(self, states: list[State], write: Callable[[str], Awaitable[None]], *, written: bool) -> None:
        """Begin with ``states``; ``written``: whether some text is kept with the job already."""
        self._states = states
        self._write = write
        self._written = written
        self._changes = 0
        self._kept = 0
        self._writing = asyncio.Lock()

    def __getitem__(self, index: int) -> State:
        return self._states[index]

    def __setitem__(self, index: int, state: State) -> None:
        if self._states[index] != state:
            self._states[index] = state
            self._changes += 1

    @property
    def tickets(self) -> list[str]:
        """Return the vendor's names of all shots that it has."""
        return [state.text for state in self._states if isinstance(state, Ticket)]

    async def keep(self) -> None:
        """Return when the states, as they are now, are on disk; raises what ``write`` raises.

        A job in which nothing is ordered any more has an empty text: it is free to be drawn elsewhere.
        """
        wanted = self._changes
        async with self._writing:
            await asyncio.sleep(JOIN_SECONDS)
            if self._kept >= wanted:
                return
            changes = self._changes
            text = text_of(self._states) if any(state is not None for state in self._states) else ""
            if text or self._written:
                await self._write(text)
                self._written = bool(text)
            self._kept = changes

    async def clear(self) -> None:
        """Write down that nothing of what was ordered will come: somebody else may draw the job."""
        for index in range(len(self._states)):
            self[index] = None
        await self.keep()
