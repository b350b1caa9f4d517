"""What moderators set for single members: limits, credits and bans, each with its line in the audit log."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from flux_core.database import bookkeeping
from flux_core.database.tables import audit, ledger
from flux_core.errors import (
    AlreadySo,
    Banned,
    BeyondLimit,
    InvalidPolicy,
    NotThere,
    OutOfMemory,
    OutOfRange,
    QuotaSpent,
)
from flux_core.jobs import Account, Job, Whereabouts
from flux_core.maintenance import chores
from flux_core.policy.guild import Limits, Renewal
from tests.database.scene import ABROAD, ANNE, BERT, CLEO, DAY, NOON, Scene, a_request

MODERATOR = 9
PATRON = 50
AS_PATRON = Whereabouts(role_ids=frozenset({PATRON}))


async def audited(scene: Scene) -> list[tuple[str, int | None, dict[str, Any]]]:
    rows = await scene.db.read(lambda connection: connection.execute(sa.select(audit).order_by(audit.c.id)).all())
    assert all(row.by_user == MODERATOR for row in rows)
    return [(row.action, row.target_user, json.loads(row.facts)) for row in rows]


async def posted(scene: Scene, account: Account) -> list[tuple[str, str, int]]:
    mine = sa.select(ledger).where(ledger.c.user_id == account.user_id, ledger.c.guild_id == account.guild_id)
    rows = await scene.db.read(lambda connection: connection.execute(mine.order_by(ledger.c.id)).all())
    return [(row.kind, row.purse, row.amount) for row in rows]


async def drawn(scene: Scene, account: Account, count: int, **more: Any) -> Job:
    """Order pictures and have them drawn."""
    await scene.submit(account, count=count, **more)
    return await scene.succeed(await scene.claim())


async def books_agree(scene: Scene) -> bool:
    return list(await scene.db.read(bookkeeping.discrepancies)) == []


async def forget_bans(scene: Scene) -> int:
    [chore] = [one for one in chores(scene.db, scene.queue, scene.store) if one.name == "bans forgotten that are over"]
    return await chore.work()


# Limits


async def test_limits_of_a_member_hold_from_the_next_job_on(scene: Scene) -> None:
    after = await scene.studio.members.change_limits(
        ANNE, lambda before: before.model_copy(update={"max_count": 1, "credits": 2.0}), by=MODERATOR, count=1
    )
    assert after == await scene.studio.members.limits(ANNE) == Limits(max_count=1, credits=2)
    with pytest.raises(BeyondLimit):
        await scene.submit(ANNE, request=a_request(count=2))
    await scene.submit(ANNE, request=a_request(count=1))
    await scene.submit(BERT, request=a_request(count=2))
    assert (await scene.studio.quota(ANNE)).left == 1000
    assert await audited(scene) == [("quota set", ANNE.user_id, {"count": 1})]
    await scene.studio.members.change_limits(ANNE, lambda _: Limits(), by=MODERATOR)
    assert await scene.studio.members.limits(ANNE) == Limits()


async def test_limits_that_make_no_sense_change_nothing(scene: Scene) -> None:
    wrong: list[dict[str, Any]] = [
        {"max_count": 11},
        {"credits": -1.0},
        {"renewal": Renewal.model_construct(every="year")},
    ]
    for change in wrong:
        with pytest.raises(InvalidPolicy):
            await scene.studio.members.change_limits(ANNE, partial(Limits.model_copy, update=change), by=MODERATOR)
    with pytest.raises(AlreadySo):
        await scene.studio.members.change_limits(ANNE, lambda before: before, by=MODERATOR)
    assert await scene.studio.members.limits(ANNE) == Limits()
    assert await audited(scene) == []


# Credits


async def test_granted_credits_are_spent_after_the_allowance_and_can_be_taken_back(scene: Scene) -> None:
    members = scene.studio.members
    held = await members.grant(ANNE, 3000, by=MODERATOR, reason="a prize")
    assert (held.granted, held.left, held.expiring) == (3000, 103_000, ())
    held = await members.grant(ANNE, -1000, by=MODERATOR, reason="oops")
    assert held.granted == 2000
    with pytest.raises(OutOfRange) as refused:
        await members.grant(ANNE, -2001, by=MODERATOR, reason="oops")
    assert refused.value.facts["low"] == -2000
    for amount in (0, 10**12 + 1, 2**63):
        with pytest.raises(OutOfRange):
            await members.grant(ANNE, amount, by=MODERATOR, reason="typo")
    assert (await scene.studio.quota(ANNE)).granted == 2000
    assert (await scene.studio.quota(ABROAD)).granted == 0
    assert await books_agree(scene)
    assert await audited(scene) == [
        ("quota grant", ANNE.user_id, {"millicredits": 3000, "reason": "a prize"}),
        ("quota grant", ANNE.user_id, {"millicredits": -1000, "reason": "oops"}),
    ]


async def test_credits_that_expire_go_first_and_are_gone_after_their_time(scene: Scene) -> None:
    members, later = scene.studio.members, NOON + 2 * DAY
    await members.grant(ANNE, 1000, by=MODERATOR, reason="", expires_at=later)
    held = await members.grant(ANNE, 5000, by=MODERATOR, reason="")
    assert (held.granted, held.expiring) == (6000, ((1000, later),))
    # Of what is taken back, too, those go first that would be gone soonest.
    held = await members.grant(ANNE, -1500, by=MODERATOR, reason="")
    assert (held.granted, held.expiring) == (4500, ())
    await members.grant(ANNE, 700, by=MODERATOR, reason="", expires_at=later)
    scene.clock.now = later
    assert (await scene.studio.quota(ANNE)).granted == 4500
    with pytest.raises(OutOfRange) as refused:
        await members.grant(ANNE, -5200, by=MODERATOR, reason="")
    assert refused.value.facts["low"] == -4500


async def test_everybody_who_has_drawn_or_only_those_with_a_role_get_credits(scene: Scene) -> None:
    members = scene.studio.members
    for nobody in (None, PATRON):
        with pytest.raises(NotThere):
            await members.grant_all(ANNE.guild_id, nobody, 1000, by=MODERATOR, reason="")
    await scene.submit(ANNE, where=AS_PATRON)
    await scene.submit(BERT)
    await scene.submit(ABROAD, where=AS_PATRON)
    assert await members.grant_all(ANNE.guild_id, PATRON, 1000, by=MODERATOR, reason="x", expires_at=NOON + 60) == 1
    assert await members.grant_all(ANNE.guild_id, None, 500, by=MODERATOR, reason="") == 2
    granted = [(await scene.studio.quota(account)).granted for account in (ANNE, BERT, CLEO, ABROAD)]
    assert granted == [1500, 500, 0, 0]
    with pytest.raises(OutOfRange):
        await members.grant_all(ANNE.guild_id, None, -500, by=MODERATOR, reason="")
    assert await audited(scene) == [
        (
            "quota grant",
            None,
            {"members": 1, "millicredits": 1000, "reason": "x", "expires_at": NOON + 60, "role": str(PATRON)},
        ),
        ("quota grant", None, {"members": 2, "millicredits": 500}),
    ]


async def test_a_reset_makes_the_allowance_full_again(scene: Scene) -> None:
    members = scene.studio.members
    with pytest.raises(AlreadySo):
        await members.reset(ANNE, by=MODERATOR)
    done = await drawn(scene, ANNE, 4)
    assert (await scene.studio.quota(ANNE)).left == 96_000
    assert await members.reset(ANNE, by=MODERATOR) == 4000
    held = await scene.studio.quota(ANNE)
    assert (held.spent, held.left, held.granted) == (0, 100_000, 0)
    assert (await posted(scene, ANNE))[-1] == ("grant", "day:2026-11-21", 4000)
    with pytest.raises(AlreadySo):
        await members.reset(ANNE, by=MODERATOR)
    # What was given back is of this period: it does not outlive it, and is not given back twice.
    await scene.submit(ANNE, count=1)
    assert (await scene.studio.quota(ANNE)).left == 99_000
    scene.clock.now += DAY
    assert (await scene.studio.quota(ANNE)).left == 100_000
    assert done.cost == 4000
    assert await audited(scene) == [("quota reset", ANNE.user_id, {"millicredits": 4000})]
    assert await books_agree(scene)


@pytest.mark.parametrize("renewal", [Renewal(), Renewal(every="rolling")])
async def test_a_reset_and_a_refund_together_give_back_no_more_than_was_spent(scene: Scene, renewal: Renewal) -> None:
    members = scene.studio.members
    await members.change_limits(ANNE, lambda _: Limits(credits=20, renewal=renewal), by=MODERATOR)
    await drawn(scene, ANNE, 3)
    # At the same moment: what is spent and what is reserved have the same time.
    waiting, running = await scene.submit(ANNE, count=4), await scene.submit(ANNE, count=2)
    await members.grant(ANNE, 500, by=MODERATOR, reason="")
    assert (await scene.claim()).id == waiting.id
    running, waiting = waiting, running
    assert await members.reset(ANNE, by=MODERATOR) == 3000
    assert (await scene.studio.quota(ANNE)).spent == 6000
    with pytest.raises(AlreadySo):
        await members.reset(ANNE, by=MODERATOR)
    with pytest.raises(AlreadySo):
        await members.reset_all(ANNE.guild_id, None, by=MODERATOR)
    await scene.studio.cancel(waiting.id, by=ANNE.user_id, moderator=False)
    await scene.queue.fail("w1", running.id, OutOfMemory())
    held = await scene.studio.quota(ANNE)
    assert (held.spent, held.left, held.granted) == (0, 20_500, 500)
    assert await books_agree(scene)


async def test_a_reset_of_a_rolling_allowance_leaves_the_window_with_what_it_gave_back(scene: Scene) -> None:
    await scene.studio.members.change_limits(
        ANNE, lambda _: Limits(credits=5, renewal=Renewal(every="rolling", hours=24)), by=MODERATOR
    )
    await drawn(scene, ANNE, 2)
    scene.clock.now += DAY / 2
    await drawn(scene, ANNE, 3)
    with pytest.raises(QuotaSpent):
        await scene.submit(ANNE, count=1)
    assert await scene.studio.members.reset(ANNE, by=MODERATOR) == 5000
    assert (await scene.studio.quota(ANNE)).left == 5000
    await scene.submit(ANNE, count=4)
    assert (await scene.studio.quota(ANNE)).left == 1000
    # The first two are out of the window, and what was given back for them, too.
    scene.clock.now += DAY / 2
    assert (await scene.studio.quota(ANNE)).left == 1000
    scene.clock.now += DAY / 2
    assert (await scene.studio.quota(ANNE)).left == 5000
    assert await books_agree(scene)


async def test_all_who_spent_something_are_reset_together(scene: Scene) -> None:
    members = scene.studio.members
    with pytest.raises(NotThere):
        await members.reset_all(ANNE.guild_id, None, by=MODERATOR)
    await drawn(scene, ANNE, 1, where=AS_PATRON)
    await drawn(scene, BERT, 2)
    await drawn(scene, CLEO, 3, where=AS_PATRON)
    assert await members.reset_all(ANNE.guild_id, PATRON, by=MODERATOR) == 2
    assert [(await scene.studio.quota(account)).spent for account in (ANNE, BERT, CLEO)] == [0, 2000, 0]
    with pytest.raises(AlreadySo):
        await members.reset_all(ANNE.guild_id, PATRON, by=MODERATOR)
    assert await members.reset_all(ANNE.guild_id, None, by=MODERATOR) == 1
    assert (await scene.studio.quota(BERT)).spent == 0
    assert await audited(scene) == [
        ("quota reset", None, {"members": 2, "millicredits": 4000, "role": str(PATRON)}),
        ("quota reset", None, {"members": 1, "millicredits": 2000}),
    ]


async def test_a_whole_server_is_reset_in_steps_that_others_can_go_between(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux_core.service.members.AT_ONCE", 2)
    everybody = [Account(ANNE.guild_id, user) for user in range(1, 7)]
    for number, account in enumerate(everybody):
        await drawn(scene, account, 1, where=AS_PATRON if number % 2 else Whereabouts())
    with pytest.raises(NotThere):
        await scene.studio.members.reset_all(ANNE.guild_id, PATRON + 1, by=MODERATOR)
    assert await scene.studio.members.reset_all(ANNE.guild_id, PATRON, by=MODERATOR) == 3
    assert await scene.studio.members.reset_all(ANNE.guild_id, None, by=MODERATOR) == 3
    with pytest.raises(AlreadySo):
        await scene.studio.members.reset_all(ANNE.guild_id, None, by=MODERATOR)
    assert [(await scene.studio.quota(account)).spent for account in everybody] == [0] * 6
    assert [facts["members"] for _, _, facts in await audited(scene)] == [1] * 6
    assert await books_agree(scene)


# Bans


async def test_a_ban_holds_until_its_end_in_its_guild_alone(scene: Scene) -> None:
    members = scene.studio.members
    await members.ban(ANNE, by=MODERATOR, reason="flooding", until=NOON + 60)
    with pytest.raises(Banned) as refused:
        await scene.submit(ANNE)
    assert refused.value.facts == {"reason": "flooding", "until": NOON + 60}
    await scene.submit(BERT)
    await scene.submit(ABROAD)
    ban = await members.ban_of(ANNE)
    assert ban is not None
    assert (ban.by, ban.reason, ban.since, ban.until) == (MODERATOR, "flooding", NOON, NOON + 60)
    scene.clock.now += 60
    assert await members.ban_of(ANNE) is None
    with pytest.raises(NotThere):
        await members.unban(ANNE, by=MODERATOR)
    await scene.submit(ANNE)
    assert await forget_bans(scene) == 1
    assert await audited(scene) == [("ban", ANNE.user_id, {"reason": "flooding", "until": NOON + 60})]


async def test_a_ban_without_end_holds_until_it_is_lifted_and_a_new_one_takes_its_place(scene: Scene) -> None:
    members = scene.studio.members
    await members.ban(ANNE, by=MODERATOR, reason="", until=NOON + 60)
    await members.ban(ANNE, by=MODERATOR, reason="again", until=None)
    scene.clock.now += 1000 * DAY
    assert await forget_bans(scene) == 0
    with pytest.raises(Banned):
        await scene.submit(ANNE)
    await members.unban(ANNE, by=MODERATOR)
    await scene.submit(ANNE)
    with pytest.raises(NotThere):
        await members.unban(ANNE, by=MODERATOR)
    assert [action for action, *_ in await audited(scene)] == ["ban", "ban", "unban"]


async def test_bans_are_listed_newest_first_in_pages(scene: Scene) -> None:
    members = scene.studio.members
    for user in range(1, 6):
        scene.clock.now += 1
        await members.ban(Account(7, user), by=MODERATOR, reason=f"r{user}", until=None)
    await members.ban(Account(7, 6), by=MODERATOR, reason="over", until=scene.clock.now)
    await members.ban(ABROAD, by=MODERATOR, reason="abroad", until=None)
    page, total = await members.bans(7, limit=3)
    assert ([ban.user_id for ban in page], total) == ([5, 4, 3], 5)
    page, total = await members.bans(7, skipped=3, limit=3)
    assert ([ban.user_id for ban in page], total) == ([2, 1], 5)
