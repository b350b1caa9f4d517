"""Interactions as nobody would send them: the real bot answers or stays silent, changes nothing, and lives on.

Payloads of every kind come from the sandbox's own; hypothesis changes values and shapes in them, and they reach the bot
over the gateway. Who acts and with which rights is left as it is: that is Discord's word (see test_foreign_presses).
"""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bot.sandbox.driver import Person
from bot.sandbox.events import Event, InteractionOpened
from bot.sandbox.interactions import Interaction, InteractionKind
from bot.sandbox.reading import RawMessage
from tests.bot.conftest import Stage
from tests.bot.governing import open_admin
from tests.bot.scenes import FORGED_JOB, draw, is_private, png
from tests.bot.test_foreign_presses import GARBLED, all_stays

EXAMPLES = 60
"""Payloads of each test."""
AT_ONCE = 5
"""Payloads in the air at once."""
TRUSTED = {"user", "member", "permissions", "app_permissions", "guild_id", "application_id", "token", "id", "type"}
"""What a member has no hand in, at the top of a payload."""

words = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            *("", " ", "\0", "\u202e", "@everyone <@1> ```", "--ar 16:9 --seed -1 --n 99", "--" * 500, "x" * 7000),
            *(
                "9" * 400,
                "-1",
                "1e999",
                "NaN",
                "../../etc/passwd",
                "https://169.254.169.254/",
                "{}",
                "\ud83d\ude00" * 50,
            ),
            *GARBLED,
            *(f"flux:{action}:{FORGED_JOB}" for action in ("reroll", "delete", "show", "cancel")),
        ]
    ),
)
leaves = st.one_of(
    words,
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**53, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308]),
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3))


def places(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything inside a payload."""
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [found for key, value in inner for found in [(*path, key), *places(value, (*path, key))]]


def put(payload: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    holder: Any = payload
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value


def at(payload: dict[str, Any], path: tuple[Any, ...]) -> Any:
    for step in path:
        payload = payload[step]
    return payload


def members_own(payload: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the path of everything that a member fills in: options, forms, and what a file says of itself."""
    own: list[tuple[Any, ...]] = []
    for path in places(payload["data"], ("data",)):
        in_file = "attachments" in path and path[-1] in ("filename", "content_type", "size", "width", "height", "url")
        filled = path[-1] == "value" and not str(at(payload, path)).isdecimal()  # which is an id, or a number
        if in_file or filled or (path == ("data", "custom_id") and payload["type"] == 3):
            own.append(path)
    return own


LIKE: dict[type, st.SearchStrategy[Any]] = {
    str: words,
    bool: st.booleans(),
    int: st.integers(0, 2**53),
    float: st.floats(-(2.0**53), 2.0**53, allow_nan=False),
}
"""What Discord lets a member fill in, by the kind of what was there."""


@st.composite
def filled_in(draw: Callable[..., Any], payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload in which a member has filled in something else, of the kind that Discord takes there."""
    payload = copy.deepcopy(payload)
    own = members_own(payload)
    for _ in range(draw(st.integers(1, 3)) if own else 0):
        path = draw(st.sampled_from(own))
        put(payload, path, draw(LIKE[type(at(payload, path))]))
    return payload


@st.composite
def damaged(draw: Callable[..., Any], payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload with one to three values of any kind changed or taken away."""
    payload = copy.deepcopy(payload)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([path for path in places(payload) if path[0] not in TRUSTED]))
        if draw(st.integers(0, 3)):
            put(payload, path, draw(leaves if draw(st.booleans()) else values))
        else:
            holder = at(payload, path[:-1])
            del holder[path[-1]]
    return payload


async def specimens(stage: Stage, ada: Person, linus: Person) -> list[tuple[Interaction, dict[str, Any]]]:
    """Do one of everything, and return what the bot got."""
    seen: list[tuple[Interaction, dict[str, Any]]] = []

    def listen(event: Event) -> None:
        if isinstance(event, InteractionOpened):
            seen.append((event.interaction, copy.deepcopy(event.payload)))

    done: RawMessage = await draw(stage, linus, prompt="a", count=1)
    await ada.wait_for(lambda m: m["id"] == done["id"])
    forget = stage.sandbox.world.bus.subscribe(listen)
    picture = await ada.upload(png(), "mine.png")
    policy = await ada.upload(b"{}", "policy.json")
    orders = {
        "prompt": "a --seed 3",
        "aspect": "1:1",
        "steps": 2,
        "guidance": 2.5,
        "seed": 1,
        "count": 1,
        "image": picture,
    }
    commands: list[tuple[str, dict[str, Any]]] = [
        ("imagine", orders | {"strength": 0.5, "format": "png", "private": True, "model": "flux-tiny"}),
        ("history", {"words": "a", "model": "flux-tiny"}),
        ("settings show", {}),
        ("admin ban", {"member": linus.id, "duration": "7d", "reason": "x"}),
        ("admin policy import", {"file": policy}),
    ]
    for name, options in commands:
        await ada.outcome(await ada.command(name, options))
    await ada.autocomplete("imagine", "model", "flux", prompt="a")
    await ada.autocomplete("admin queue cancel", "job", "a")
    await ada.outcome(await ada.press(done, "Delete"))
    opened = await ada.message_menu("Report", done)
    await ada.response(await ada.submit_modal(opened, {"What is wrong with it?": "all"}))
    await ada.outcome(await ada.message_menu("Picture details", done))
    forget()
    return seen


Change = Callable[[dict[str, Any]], st.SearchStrategy[dict[str, Any]]]


async def send_changed(stage: Stage, ada: Person, linus: Person, change: Change) -> None:
    """Send the bot changed payloads of every kind; it goes on answering, and nothing changes."""
    open_admin(stage)
    known = await specimens(stage, ada, linus)
    await stage.studio.line.pause(int(known[0][1]["guild_id"]), by=1, reason="so that no order is taken")
    loop, world, sent = asyncio.get_running_loop(), stage.sandbox.world, count(1)

    async def send(kind: int, payload: dict[str, Any]) -> None:
        like, _ = known[kind]
        opened = world.interactions.open(
            world.snowflakes.next(),
            like.kind,
            like.member_id,
            like.channel,
            like.metadata,
            source=like.source,
            command=like.command,
        )
        if opened.kind is InteractionKind.AUTOCOMPLETE:
            opened.option_type, opened.choices = like.option_type, loop.create_future()
        world.bus.publish(InteractionOpened(opened, payload | {"id": opened.id, "token": opened.token}))
        if next(sent) % AT_ONCE == 0:
            assert is_private(await ada.response(await ada.command("help")))

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        kind = data.draw(st.integers(0, len(known) - 1))
        payload = data.draw(change(known[kind][1]))
        asyncio.run_coroutine_threadsafe(send(kind, payload), loop).result(60)

    async with all_stays(stage):
        await asyncio.to_thread(run)
        await ada.response(await ada.command("help"))


async def test_whatever_members_fill_in_is_answered(
    stage: Stage, ada: Person, linus: Person, caplog: pytest.LogCaptureFixture
) -> None:
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    caplog.set_level(logging.ERROR)
    await send_changed(stage, ada, linus, filled_in)
    gc.collect()  # what a task raised is told when it is forgotten
    assert [record.getMessage() + str(record.exc_text) for record in caplog.records] == []
    assert unhandled == []


async def test_no_damage_to_payloads_ends_the_bot(stage: Stage, ada: Person, linus: Person) -> None:
    """discord.py says in the log what it could not read; the bot lives, and nothing comes of it."""
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await send_changed(stage, ada, linus, damaged)
