"""What belongs to a member: their settings, their history, their data, and nobody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from flux_core.database import history, own_data
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.pictures import discarded_keys
from flux_core.database.removals import due
from flux_core.database.tables import jobs, members, preferences
from flux_core.errors import AlreadySo, InputGone, JobNotFound
from flux_core.generation import InputPicture
from flux_core.jobs import Account, Job, JobState, Whereabouts
from flux_core.policy.guild import GuildPolicy, Limits, PromptRule, Tier
from flux_core.preferences import NOTHING_SET, Preferences
from flux_core.service import Forgotten
from tests.database.scene import ABROAD, ANNE, BERT, DEV, NOON, ON_SQLITE, TINY, Scene, a_reply, a_request
from tests.database.test_plans import plans


async def drawn(scene: Scene, **more: Any) -> Job:
    """Submit a job, draw it and deliver it."""
    await scene.submit(**more)
    done = await scene.succeed(await scene.claim("w1", "flux-schnell", DEV, TINY))
    await scene.studio.delivered(done.id)
    return done


async def test_preferences_are_kept_per_member_and_guild(scene: Scene) -> None:
    personal = scene.studio.personal
    given = Preferences(model="flux-dev", count=2, private=False)
    assert await personal.set_preferences(ANNE, lambda _: given) == given
    assert await personal.preferences(ANNE) == given
    assert await personal.preferences(BERT) == await personal.preferences(ABROAD) == NOTHING_SET
    with pytest.raises(AlreadySo):
        await personal.set_preferences(ANNE, lambda before: before)
    await personal.set_preferences(ANNE, lambda _: NOTHING_SET)
    rows = await scene.db.read(lambda connection: connection.execute(sa.select(preferences)).all())
    assert rows == []


async def test_settings_of_a_later_version_are_read_as_far_as_they_are_known(scene: Scene) -> None:
    row = {"guild_id": 7, "user_id": 1, "given": json.dumps({"count": 3, "mood": "blue"})}
    await scene.db.write(lambda connection: connection.execute(sa.insert(preferences), row))
    assert await scene.studio.personal.preferences(ANNE) == Preferences(count=3)


async def test_what_is_permitted_follows_tiers_and_the_members_own_limits(scene: Scene) -> None:
    tier = Tier(role_id=5, name="Patron", max_count=4, max_megapixels=2)
    policy = GuildPolicy(everybody=Limits(max_count=1, max_megapixels=1), tiers=(tier,), models_denied=(DEV,))
    await scene.studio.policies.change(7, lambda _: policy, by=9, action="policy import")
    personal = scene.studio.personal
    plain, patron = await personal.permitted(ANNE, ()), await personal.permitted(ANNE, {5})
    assert (plain.max_count, plain.max_megapixels) == (1, 1)
    assert (patron.max_count, patron.max_megapixels) == (4, 2)
    assert not patron.allows(DEV)
    assert (await personal.permitted(ABROAD, {5})).allows(DEV)


async def test_history_pages_and_searches_ones_own_alone(scene: Scene) -> None:
    for number in range(5):
        await scene.submit(ANNE, request=a_request(prompt=f'Owl "{number}" \\ ÄRGER'))
    fox = await scene.submit(ANNE, DEV, request=a_request(DEV, prompt="a fox"))
    await scene.submit(BERT, request=a_request(prompt="his owl"))
    await scene.submit(ABROAD, request=a_request(prompt="an owl elsewhere"))
    find = scene.studio.personal.history
    assert len((await find(ANNE)).jobs) == 6
    assert [job.id for job in (await find(ANNE, model=DEV)).jobs] == [fox.id]
    assert (await find(ANNE, words="fox", model="flux-schnell")).jobs == []
    page = await find(ANNE, words="ärger OWL", skipped=1, limit=2)
    assert [job.request.prompt[5] for job in page.jobs] == ["3", "2"]
    assert not page.cut
    assert len((await find(ANNE, words='"4" \\')).jobs) == 1
    # What stands elsewhere in the request is no word of the prompt.
    assert (await find(ANNE, words="width")).jobs == []
    assert (await find(ANNE, words="%_")).jobs == []


async def test_a_search_that_is_cut_says_so(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SEARCHED", 3)
    for number in range(4):
        await scene.submit(ANNE, request=a_request(prompt=f"owl {number}"))
    assert (await scene.studio.personal.history(ANNE, words="owl 0")).cut
    assert not (await scene.studio.personal.history(ANNE, words="owl", limit=2)).cut


async def test_an_export_comes_page_by_page(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flux_core.service.personal.PAGE", 2)
    mine = [await drawn(scene, where=Whereabouts(role_ids=frozenset({5}))) for _ in range(5)]
    await scene.submit(BERT)
    await scene.studio.members.grant(ANNE, 2_500, by=9, reason="a prize")
    await scene.studio.members.ban(ANNE, by=9, reason="a while", until=NOON + 60)
    await scene.studio.members.change_limits(ANNE, lambda _: Limits(max_count=2), by=9)
    found = await scene.studio.personal.export(ANNE)
    assert [job["id"] for job in found["jobs"]] == [job.id for job in mine]
    assert sum(row["credits"] for row in found["ledger"] if row["kind"] == "reserve") == -5
    assert [row["reason"] for row in found["ledger"] if row["kind"] == "grant"] == ["a prize"]
    assert found["ban"] == {
        "reason": "a while",
        "since": "2026-11-21T12:00:00+00:00",
        "until": "2026-11-21T12:01:00+00:00",
    }
    assert found["limits"] == {"max_count": 2}
    assert found["roles_when_last_ordered"] == [5]
    assert [(one["action"], one["facts"].get("reason")) for one in found["moderators_log"]] == [
        ("quota grant", "a prize"),
        ("ban", "a while"),
        ("quota set", None),
    ]
    assert (await scene.studio.personal.export(BERT))["moderators_log"] == []
    assert (await scene.studio.personal.export(ABROAD))["moderators_log"] == []
    json.dumps(found)


async def test_an_export_tells_of_ones_own_part_in_moderation_and_of_nobody_elses(scene: Scene) -> None:
    rule = PromptRule(kind="word", pattern="dragon", action="approve")
    policy = GuildPolicy(prompt_rules=(rule,), moderators_channel=5)
    await scene.studio.policies.change(7, lambda _: policy, by=9, action="policy import")
    await scene.submit(ANNE, request=a_request(prompt="a Dragon"), reply_to=a_reply())
    shown = await drawn(scene, request=a_request(prompt="a fox"), reply_to=a_reply(message_id=21))
    desk, personal = scene.studio.reviews, scene.studio.personal
    await desk.report(shown.id, account=BERT, reason="ugly")
    for review in await desk.waiting(7):
        if review.kind == "approval":
            await desk.reject(review.id, guild_id=7, by=9, reason="no dragons")
        else:
            await desk.dismiss(review.id, guild_id=7, by=9)
    hers, his, theirs = [await personal.export(account) for account in (ANNE, BERT, Account(7, 9))]
    assert [(one["words"], one["verdict"]) for one in hers["approvals"]] == [("Dragon", "rejected")]
    assert [(one["action"], one["facts"]["reason"]) for one in hers["moderators_log"]] == [
        ("review reject", "no dragons")
    ]
    assert [(one["reason"], one["verdict"]) for one in his["reports_made"]] == [("ugly", "dismissed")]
    assert his["moderators_log"] == his["approvals"] == hers["reports_made"] == []
    assert [one["action"] for one in theirs["moderators_log"]] == ["policy import", "review reject", "review dismiss"]
    assert all(one["by_you"] and "facts" not in one for one in theirs["moderators_log"])


async def test_forgetting_leaves_the_books_and_others_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flux_core.service.personal.AT_ONCE", 2)
    shown = await drawn(scene, reply_to=a_reply(message_id=21))
    await drawn(scene, reply_to=a_reply(message_id=22, private=True))
    more = [await drawn(scene) for _ in range(3)]
    others = await drawn(scene, account=BERT)
    abroad = await drawn(scene, account=ABROAD)
    waiting = [await scene.submit(ANNE, where=Whereabouts(role_ids=frozenset({5}))) for _ in range(3)]
    await scene.studio.personal.set_preferences(ANNE, lambda _: Preferences(count=1))
    await scene.studio.members.ban(ANNE, by=9, reason="a while", until=None)
    spent = (await scene.studio.quota(ANNE)).spent - 3_000
    done = await scene.studio.personal.forget(ANNE)
    assert done == Forgotten(jobs=8, pictures=5, messages=1, cancelled=3)
    for job in (shown, *more, *waiting):
        with pytest.raises(JobNotFound):
            await scene.studio.job(job.id)
    texts = await scene.db.read(
        lambda connection: (
            connection.execute(sa.select(jobs.c.request).where(jobs.c.user_id == 1, jobs.c.guild_id == 7))
            .scalars()
            .all()
        )
    )
    assert len(texts) == 8
    assert not any("red circle" in text for text in texts)
    assert (await scene.studio.job(others.id)).request.prompt
    assert (await scene.studio.job(abroad.id)).request.prompt
    assert (await scene.studio.quota(ANNE)).spent == spent
    assert await scene.studio.members.ban_of(ANNE) is not None
    roles = sa.select(members.c.roles).where(members.c.guild_id == 7, members.c.user_id == 1)
    assert await scene.db.read(lambda connection: connection.execute(roles).scalar()) is None
    [removal] = await scene.db.read(due, NOON, 10)
    assert (removal.channel_id, removal.message_id) == (12, 21)
    assert await scene.db.read(discrepancies) == []
    # There is nothing left to do.
    assert await scene.studio.personal.forget(ANNE) == Forgotten()


async def test_a_job_of_somebody_else_that_starts_from_a_forgotten_picture_ends_with_its_cost_back(
    scene: Scene,
) -> None:
    done = await drawn(scene)
    [picture] = await scene.studio.pictures(done.id)
    assert picture.key is not None
    start = InputPicture(key=picture.key, width=picture.width, height=picture.height)
    await scene.submit(BERT, request=replace_input(a_request(), start))
    await scene.studio.personal.forget(ANNE)
    job = await scene.claim()
    await scene.queue.fail("w1", job.id, InputGone())
    assert (await scene.studio.quota(BERT)).spent == 0


async def given(scene: Scene, *names: str) -> list[InputPicture]:
    """Upload pictures, ten minutes ago."""
    for name in names:
        await scene.queue.note_input(f"inputs/{name}.png")
    return [InputPicture(key=f"inputs/{name}.png", width=64, height=64) for name in names]


async def test_every_file_of_a_forgotten_member_goes(scene: Scene) -> None:
    start, mask, shared = await given(scene, "start", "mask", "shared")
    scene.clock.now += 600
    [fresh] = await given(scene, "fresh")
    for picture in (start, shared, fresh):
        request = a_request().model_copy(update={"input_picture": picture, "input_mask": mask, "strength": 0.6})
        await scene.submit(request=request)
        job = await scene.claim()
        await scene.queue.progress("w1", job.id, 1, 4, f"previews/{job.id}/1.webp")
        done = await scene.succeed(job)
        await scene.studio.delivered(done.id)
    await scene.submit(BERT, request=replace_input(a_request(), shared))
    exported = (await scene.studio.personal.export(ANNE))["jobs"]
    assert [(one["started_from_a_picture"], one["with_a_mask"]) for one in exported] == [(True, True)] * 3
    await scene.studio.personal.forget(ANNE)
    discarded = await scene.db.read(discarded_keys, 100)
    # What was uploaded just now may be about to be ordered with, and goes a day later.
    assert sorted(key for key in discarded if key.startswith("inputs/")) == [mask.key, start.key]
    assert sorted(key.split("/")[0] for key in discarded) == ["inputs"] * 2 + ["pictures"] * 3 + ["previews"] * 3


def replace_input(request: Any, start: InputPicture) -> Any:
    return request.model_copy(update={"input_picture": start, "strength": 0.6})


async def test_a_job_that_is_being_handed_over_is_left_until_it_has_arrived(scene: Scene) -> None:
    await scene.submit(reply_to=a_reply(message_id=21))
    job = await scene.succeed(await scene.claim())
    assert await scene.studio.claim_delivery(job.id, "a-bot", 30)
    assert await scene.studio.personal.forget(ANNE, patience=0) == Forgotten(busy=1)
    await scene.studio.delivered(job.id)
    assert await scene.studio.personal.forget(ANNE, patience=0) == Forgotten(jobs=1, pictures=1, messages=1)


async def test_an_answer_that_nobody_hands_over_is_not_posted_any_more(scene: Scene) -> None:
    await scene.submit(reply_to=a_reply(message_id=21))
    await scene.succeed(await scene.claim())
    assert len(await scene.studio.live_jobs(states=[JobState.SUCCEEDED])) == 1
    await scene.studio.personal.forget(ANNE, patience=0)
    assert await scene.studio.live_jobs() == []


@ON_SQLITE  # the plan is that of SQLite
async def test_ones_own_is_found_by_index(scene: Scene) -> None:
    await drawn(scene)
    for query, args in (
        (history.history_of, (ANNE, "", None, 0, 7)),
        (history.history_of, (ANNE, "owl", DEV, 0, 7)),
        (own_data.jobs_page, (ANNE, "", 5)),
        (own_data.forget_some, (replace(ANNE, user_id=99), "", NOON, 5)),
        (own_data.ledger_page, (ANNE, 0, 5)),
    ):
        plan = await plans(scene, query, *args)
        assert "SCAN" not in plan, plan
