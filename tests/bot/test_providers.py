"""Hosted providers as members and moderators meet them: chosen, drawing, partly holding back, set by moderators."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.database.queue import WorkerInfo
from flux_core.errors import ProviderDown
from flux_core.jobs import Job
from flux_core.router import RoutingPolicy
from tests import vendors
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, finished, is_private, press

GUILD = int(GUILD_ID)


@pytest.fixture(autouse=True)
def configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure one hosted provider before the stage opens."""
    vendors.only_these(monkeypatch)
    monkeypatch.setenv("CLOUD_API_KEY", "key-of-the-cloud")


async def register(stage: Stage, provider: str = "cloud", **changes: Any) -> None:
    vendor = vendors.VENDORS[provider](stage.settings.every_provider[provider].access(vendors.VENDORS[provider]))
    await stage.easel.queue.register(
        WorkerInfo(
            id=provider,
            host="test",
            pid=2,
            device=vendor.title,
            offers=vendor.offers,
            started_at=time.time(),
            provider=provider,
            hosted=True,
            slots=4,
            **changes,
        )
    )


async def take(stage: Stage, provider: str = "cloud") -> Job:
    job = await stage.easel.queue.claim_hosted(provider)
    assert job is not None
    return job


async def finish(stage: Stage, person: Person, job: Job, message_id: str, **outcome: Any) -> RawMessage:
    """Draw a job that the hosted provider has; ``outcome`` is what it tells besides its pictures."""
    await stage.easel.finish(job, provider="cloud", **outcome)
    return await finished(person, message_id)


async def test_the_providers_of_a_model_are_offered_with_their_price(stage: Stage, ada: Person) -> None:
    offered = await ada.autocomplete("imagine", "provider", "", model="flux-dev")
    assert [choice["value"] for choice in offered] == ["local", "cloud"]
    assert offered[1]["name"] == "Cloud Nine: about $0.025 a picture"
    assert [c["value"] for c in await ada.autocomplete("imagine", "provider", "nine", model="flux-schnell")] == [
        "cloud"
    ]
    assert [c["value"] for c in await ada.autocomplete("imagine", "provider", "")] == ["local"], "flux-tiny is ours"
    await ada.response(await ada.command("settings set", model="flux-dev"))
    mine = [c["value"] for c in await ada.autocomplete("imagine", "provider", "")]
    assert mine == ["local", "cloud"], "of her own model, where she names none"
    await register(stage, "commons")
    offered = await ada.autocomplete("imagine", "provider", "", model="flux-dev")
    assert [choice["name"] for choice in offered][2] == "Commons: free"


async def test_what_moderators_do_not_allow_is_not_offered(stage: Stage, ada: Person) -> None:
    await stage.studio.set_routing(GUILD, RoutingPolicy(providers=()), by=1)
    assert [c["value"] for c in await ada.autocomplete("imagine", "provider", "", model="flux-dev")] == ["local"]


async def test_a_member_reads_that_a_provider_failed_while_the_job_waits(stage: Stage, ada: Person) -> None:
    await register(stage)
    first = await ask(ada, prompt="a", model="flux-schnell", provider="cloud", count=1)
    job = await take(stage)
    await stage.easel.queue.pass_on("cloud", job.id, ProviderDown(provider="Cloud Nine"))
    told = await ada.wait_for(lambda m: m["id"] == first["id"] and "did not answer" in text_of(m))
    assert "Cloud Nine did not answer. This is tried again" in text_of(told)


async def test_a_member_names_the_provider(stage: Stage, ada: Person) -> None:
    await register(stage)
    first = await ask(ada, prompt="a boat --provider Cloud", model="flux-dev", count=2, seed=7)
    job = await take(stage)
    assert job.request.provider == "cloud"
    assert job.request.prompt == "a boat"
    await stage.easel.queue.progress("cloud", job.id, 40, 100)
    drawing = await ada.wait_for(lambda m: m["id"] == first["id"] and "40%" in text_of(m))
    assert "drawn by Cloud Nine" in text_of(drawing)
    assert "step 40" not in text_of(drawing)
    done = await finish(stage, ada, job, first["id"])
    assert "drawn by Cloud Nine" in text_of(done)
    assert labels_of(done)[:2] == ["V1", "V2"]
    details = text_of(await press(ada, done, "Details"))
    assert "Cloud Nine" in details
    assert "$" not in details


async def test_a_provider_that_is_not_there_is_refused_privately(stage: Stage, ada: Person) -> None:
    refusal = await ask(ada, prompt="a", model="flux-dev", provider="clout")
    assert is_private(refusal)
    assert "Did you mean `cloud`?" in text_of(refusal)
    refusal = await ask(ada, prompt="a", model="flux-tiny", provider="cloud")
    assert is_private(refusal)
    assert "can't draw this with `flux-tiny` (Cloud Nine: no flux-tiny)" in text_of(refusal)
    refusal = await ask(ada, prompt="a --provider local", provider="cloud")
    assert "The option `provider` says" in text_of(refusal)
    assert await stage.studio.live_jobs() == []


async def test_what_a_provider_held_back_is_told_and_refunded(stage: Stage, ada: Person) -> None:
    await register(stage)
    first = await ask(ada, prompt="a", model="flux-schnell", provider="cloud", count=4)
    job = await take(stage)
    done = await finish(stage, ada, job, first["id"], withheld="its safety filter said no", missing=1)
    assert "1 of 4 was held back: its safety filter said no. 1 credit went back." in text_of(done)
    assert labels_of(done)[:4] == ["V1", "V2", "V3", "Reroll"]


async def test_a_variation_without_image_to_image_starts_anew_and_says_so(stage: Stage, ada: Person) -> None:
    await register(stage)
    first = await ask(ada, prompt="a", model="flux-schnell", provider="cloud", count=1, seed=7)
    done = await finish(stage, ada, await take(stage), first["id"])
    answer = await press(ada, done, "V1")
    job = await take(stage)
    assert job.request.seed != 7
    varied = await finish(stage, ada, job, answer["id"], from_words=True)
    assert "Cloud Nine draws from words only, so this starts anew: same words, new seed." in text_of(varied)


async def test_a_button_outlives_the_provider_that_was_asked_for(stage: Stage, ada: Person) -> None:
    await register(stage, "commons")
    first = await ask(ada, prompt="a", model="flux-dev", provider="commons", count=1)
    job = await take(stage, "commons")
    await stage.easel.finish(job, provider="commons")
    done = await finished(ada, first["id"])
    await stage.easel.queue.retire("commons")
    await press(ada, done, "Reroll")
    again = (await stage.studio.live_jobs())[-1].job
    assert (again.parent_id, again.request.provider) == (job.id, None)


async def test_moderators_decide_who_draws(stage: Stage, grace: Person) -> None:
    await register(stage, money_cap=5_000_000)
    told = await grace.response(await grace.command("admin provider show"))
    assert is_private(told)
    assert "First: **this studio's own machines**" in text_of(told)
    assert "running · $0.00 of $5.00 spent today" in text_of(told)
    told = await grace.response(
        await grace.command("admin provider set", first="hosted", order="fastest", overflow=30, providers=" Cloud ,")
    )
    assert "**Cloud Nine** may draw; the **fastest** comes first" in text_of(told)
    expected = RoutingPolicy(first="hosted", order="fastest", overflow_seconds=30, providers=("cloud",))
    assert await stage.studio.routing_of(GUILD) == expected
    await grace.response(await grace.command("admin provider set", providers="none"))
    assert await stage.studio.routing_of(GUILD) == expected.model_copy(update={"providers": ()})
    await grace.response(await grace.command("admin provider set", providers="all"))
    assert (await stage.studio.routing_of(GUILD)).providers is None
    assert (await stage.studio.routing_of(1)) == RoutingPolicy()


@pytest.mark.parametrize("named", ["clout", "cloud, clout", ",", "all, cloud"])
async def test_only_providers_that_are_there_can_be_set(stage: Stage, grace: Person, named: str) -> None:
    refusal = await grace.response(await grace.command("admin provider set", first="hosted", providers=named))
    assert "There is no hosted provider" in text_of(refusal)
    assert "`all` or `none` alone" in text_of(refusal)
    assert "Did you mean `all`" not in text_of(refusal)
    assert "Leave" not in text_of(refusal), "that is advice for somebody who draws"
    assert await stage.studio.routing_of(GUILD) == RoutingPolicy()


async def test_who_draws_is_for_moderators_to_say(stage: Stage, ada: Person) -> None:
    with pytest.raises(driver.Refused, match="permission"):
        await ada.command("admin provider show")
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    for command, options in (("admin provider show", {}), ("admin provider set", {"first": "hosted"})):
        answer = await ada.response(await ada.command(command, **options))
        assert "Manage Server" in text_of(answer)
        assert is_private(answer)
    assert await stage.studio.routing_of(GUILD) == RoutingPolicy()
