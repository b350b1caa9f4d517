"""What moderators read about usage is what happened: counted, charged, paid, waited, on the right days."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from statistics import median

import pytest

from flux_core.database import usage
from flux_core.database.usage import By, Use
from flux_core.errors import DrawingBroken, Refused
from flux_core.policy.guild import GuildPolicy, Limits, Renewal
from flux_core.quota import UTC
from tests.database.scene import ABROAD, ANNE, BERT, DAY, DEV, NOON, ON_SQLITE, SCHNELL, Scene, a_scene
from tests.database.test_plans import plans

GUILD = ANNE.guild_id


async def drawn(scene: Scene, account=ANNE, model: str = SCHNELL, *, wait: float = 0.0, count: int = 1):
    job = await scene.submit(account, model, count=count)
    scene.clock.now += wait
    await scene.claim("w1", model)
    scene.clock.now += 2.0  # which is how long the scene's drawings take
    return await scene.succeed(job)


async def uses(scene: Scene, by: str, guild: int | None = GUILD, days: int = 1) -> dict[str, Use]:
    return dict((await scene.studio.usage.report(guild, days=days, by=by)).uses)


async def test_jobs_are_counted_by_how_they_ended(scene: Scene) -> None:
    await drawn(scene, count=3)
    failed = await scene.submit()
    await scene.claim()
    await scene.queue.fail("w1", failed.id, Refused(reason="no"))
    for _ in range(3):
        broken = await scene.submit(BERT)
        await scene.claim()
        await scene.queue.fail("w1", broken.id, DrawingBroken())
        await scene.studio.cancel(broken.id, by=BERT.user_id, moderator=False)
    waiting = await scene.submit()
    told = await scene.studio.usage.report(GUILD, days=1, by="member")
    states = [(await scene.studio.job(job.id)).state.value for job in (failed, waiting)]
    assert states == ["refused", "queued"]
    assert told.total.jobs == 6
    assert (told.total.pictures, told.total.refused, told.total.failed + told.total.cancelled) == (3, 1, 3)
    assert told.total.millicredits == 4_000, "what failed, was refused or cancelled went back"
    anne, bert = dict(told.uses)["1"], dict(told.uses)["2"]
    assert (anne.jobs, anne.refused, anne.millicredits) == (3, 1, 4_000)
    assert (bert.jobs, bert.pictures, bert.millicredits) == (3, 0, 0)
    assert [name for name, _ in told.uses] == ["1", "2"], "who has the most pictures comes first"


@pytest.mark.parametrize("waits", [[4.0], [1.0, 9.0], [9.0, 1.0, 2.0], [5.0, 5.0, 1.0, 2.0]])
async def test_the_wait_is_the_median(scene: Scene, waits: list[float]) -> None:
    for wait in waits:
        await drawn(scene, wait=wait)
    await scene.submit()
    assert (await uses(scene, "model"))[SCHNELL].wait == pytest.approx(median(waits))
    assert (await scene.studio.usage.report(GUILD, days=1, by="day")).total.wait == pytest.approx(median(waits))


async def test_models_are_told_apart_and_guilds_are_separate(scene: Scene) -> None:
    await drawn(scene)
    await drawn(scene, model=DEV, count=2)
    await drawn(scene, ABROAD)
    here = await uses(scene, "model")
    assert {name: use.pictures for name, use in here.items()} == {DEV: 2, SCHNELL: 1}
    assert here[DEV].wait == 0.0
    assert {name: use.pictures for name, use in (await uses(scene, "model", None)).items()} == {DEV: 2, SCHNELL: 2}
    assert await uses(scene, "model", 99) == {}


async def test_a_day_begins_at_midnight_of_the_guilds_own_zone(scene: Scene) -> None:
    scene.clock.now = NOON - 0.5 * DAY - 3  # 20 November, 23:59:57 UTC
    await drawn(scene)
    scene.clock.now = NOON
    await drawn(scene, count=2)
    told = await scene.studio.usage.report(GUILD, days=3, by="day")
    assert [(day, use.pictures) for day, use in told.uses] == [("2026-11-19", 0), ("2026-11-20", 1), ("2026-11-21", 2)]
    assert (told.first, told.last) == (date(2026, 11, 19), date(2026, 11, 21))
    in_berlin = GuildPolicy(everybody=Limits(credits=5, renewal=Renewal(zone="Europe/Berlin")))
    await scene.studio.policies.change(GUILD, lambda _: in_berlin, by=9, action="quota set")
    days = await uses(scene, "day", days=2)
    assert (days["2026-11-20"].pictures, days["2026-11-21"].pictures) == (0, 3), "there it was 00:59 already"
    assert (await scene.studio.usage.report(GUILD, days=1, by="day")).total.pictures == 3


async def test_a_day_of_25_hours_is_one_day(database_url: str, tmp_path: Path) -> None:
    async with a_scene(database_url, tmp_path, zone="Europe/Berlin") as scene:
        scene.clock.now = 1_792_880_000.0  # 2026-10-25 00:13 in Berlin, where the clock goes back at 3:00
        await drawn(scene)
        scene.clock.now += 24.5 * 3600
        await drawn(scene)
        days = await uses(scene, "day", days=1)
        assert {day: use.pictures for day, use in days.items()} == {"2026-10-25": 2}


async def test_dollars_go_to_whoever_got_them(scene: Scene) -> None:
    await scene.vendor("acme", cents=3)
    job = await scene.submit(count=4)
    await scene.claim_hosted("acme")
    await scene.queue.succeed(
        "acme", job.id, [], provider="acme", seconds=1.0, missing=3, withheld="no", microdollars=30_000
    )
    by_provider = await uses(scene, "provider")
    assert by_provider["acme"].microdollars == 30_000
    assert by_provider["acme"].millicredits == 1_000, "three of four pictures were held back"
    assert (await uses(scene, "member"))["1"].microdollars == 30_000
    assert await scene.studio.usage.spent_today(GUILD) == 30_000
    assert await scene.studio.usage.spent_today(ABROAD.guild_id) == 0
    scene.clock.now += DAY
    assert await scene.studio.usage.spent_today(GUILD) == 0


async def test_what_nobody_drew_yet_has_no_provider(scene: Scene) -> None:
    await scene.submit()
    assert (await uses(scene, "provider"))[""] == Use(jobs=1, millicredits=1_000)


@ON_SQLITE  # the plan is that of SQLite
@pytest.mark.parametrize("by", ["day", "member", "model", "provider"])
async def test_a_guilds_usage_is_read_from_its_own_jobs_alone(scene: Scene, by: By) -> None:
    await drawn(scene)
    plan = await plans(scene, usage.report, GUILD, 30, by, UTC, NOON)
    assert plan.count("SEARCH jobs USING INDEX ix_jobs_usage") == 6, plan
    assert "SCAN jobs" not in plan
