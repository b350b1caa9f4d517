"""What decides over open options, for one member and for a crowd that asks in the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from flux_core.database import members
from flux_core.database.tables import members as table
from flux_core.errors import RulesUnreadable, StorageUnavailable
from flux_core.jobs import Account, Whereabouts
from flux_core.policy.guild import ChannelRule, Defaults, Limits, Tier
from flux_core.policy.permitted import EVERYTHING
from flux_core.preferences import NOTHING_SET
from flux_core.service.gathering import Gathering
from flux_core.service.personal import NOTHING_KNOWN
from tests.database.scene import SCHNELL, Scene

GUILD, ABROAD, CHANNEL, PATRON = 7, 8, 12, 50
CROWD = 300
"""More than one statement names, and than one look answers."""


async def test_a_crowd_is_told_what_each_of_them_is_told_alone(scene: Scene) -> None:
    tiers = (Tier(role_id=PATRON, name="Patrons", max_count=8),)
    channels = (ChannelRule(channel_id=CHANNEL, defaults=Defaults(private=True)),)
    decided = {"everybody": Limits(max_count=2), "tiers": tiers, "channels": channels}
    await scene.studio.policies.change(GUILD, lambda before: before.model_copy(update=decided), by=9, action="a test")
    asked = [
        (
            Account(guild_id=GUILD if number % 3 else ABROAD, user_id=number),
            Whereabouts(
                channel_ids=(CHANNEL,) if number % 5 else (), role_ids=frozenset({PATRON} if number % 7 == 0 else ())
            ),
        )
        for number in range(1, CROWD + 1)
    ]
    for account, _ in asked[::10]:
        await scene.studio.personal.set_preferences(
            account, lambda before: before.model_copy(update={"count": 1, "private": False})
        )
    for account, _ in asked[::11]:
        await scene.db.write(members.put_limits, account, Limits(max_megapixels=0.5, models=(SCHNELL,)))
    together = await asyncio.gather(*(scene.studio.personal.circumstances(*one) for one in asked))
    for number, ((account, where), known) in enumerate(zip(asked, together, strict=True)):
        assert known.preferences == await scene.studio.personal.preferences(account)
        assert known.permitted == await scene.studio.personal.permitted(account, where.role_ids)
        assert (known.preferences != NOTHING_SET) == (number % 10 == 0)
        assert (known.permitted.max_megapixels == 0.5) == (number % 11 == 0)
        assert known.channel.private is (True if account.guild_id == GUILD and where.channel_ids else None)
        assert (known.permitted.max_count == 8) == (account.guild_id == GUILD and bool(where.role_ids))
    strangers = await scene.studio.personal.circumstances(Account(guild_id=99, user_id=1), Whereabouts())
    assert strangers.permitted.allows(SCHNELL)
    assert (strangers.preferences, strangers.channel) == (NOTHING_KNOWN.preferences, NOTHING_KNOWN.channel)
    assert (strangers.permitted.models, strangers.permitted.max_count) == (EVERYTHING.models, EVERYTHING.max_count)


async def test_what_cannot_be_read_of_one_is_nobody_elses_trouble(scene: Scene) -> None:
    accounts = [Account(guild_id=GUILD, user_id=number) for number in range(1, 6)]
    await scene.db.write(members.put_limits, accounts[2], Limits(max_count=1))
    await scene.db.write(lambda connection: connection.execute(sa.update(table).values(limits="{")).close())
    told = await asyncio.gather(
        *(scene.studio.personal.circumstances(one, Whereabouts()) for one in accounts), return_exceptions=True
    )
    assert [isinstance(one, RulesUnreadable) for one in told] == [False, False, True, False, False]


class Desk:
    """Answers numbers with their doubles, as soon as it is told to."""

    def __init__(self) -> None:
        self.looks: list[list[int]] = []
        self.open = asyncio.Event()
        self.trouble: Exception | None = None

    async def look(self, numbers: Sequence[int]) -> list[int]:
        self.looks.append(list(numbers))
        await self.open.wait()
        if self.trouble is not None:
            raise self.trouble
        return [2 * number for number in numbers]


async def asked(gathering: Gathering[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(gathering.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_who_asks_during_a_look_waits_for_the_next_which_is_for_all_of_them() -> None:
    desk = Desk()
    gathering = Gathering(desk.look, most=3)
    first = await asked(gathering, 1, 2)
    assert desk.looks == [[1, 2]]
    later = await asked(gathering, 3, 4, 5, 6)
    assert desk.looks == [[1, 2]]
    desk.open.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 6, 8, 10, 12]
    assert desk.looks == [[1, 2], [3, 4, 5], [6]]
    assert await gathering.ask(7) == 14


async def test_one_who_gives_up_takes_nobody_along() -> None:
    desk = Desk()
    gathering = Gathering(desk.look, most=3)
    hasty, patient = await asked(gathering, 1, 2)
    hasty.cancel()
    await asyncio.wait({hasty})
    desk.open.set()
    assert await patient == 4


async def test_trouble_is_told_to_all_who_asked_and_to_nobody_after_them() -> None:
    desk = Desk()
    gathering = Gathering(desk.look, most=3)
    desk.trouble = StorageUnavailable("away")
    tasks = await asked(gathering, 1, 2)
    desk.open.set()
    for task in tasks:
        with pytest.raises(StorageUnavailable):
            await task
    desk.trouble = None
    assert await gathering.ask(3) == 6
