"""Modes as members meet them: chosen, drawn, told apart, repeated."""

from __future__ import annotations

import time

from bot.sandbox.driver import Person
from bot.sandbox.reading import text_of
from flux_core.database.queue import WorkerInfo
from flux_core.models import Mode
from flux_core.offers import Offer
from tests.bot.conftest import Stage
from tests.bot.scenes import ask, finished, is_private, press


async def test_the_modes_are_offered_and_which_nobody_here_has(stage: Stage, ada: Person) -> None:
    offered = await ada.autocomplete("imagine", "mode", "")
    assert [choice["value"] for choice in offered] == ["quality", "fast", "turbo"]
    assert [choice["name"].endswith("(nobody here can now)") for choice in offered] == [False, True, True]
    quick = Offer(theirs="flux-tiny", modes=(Mode.QUALITY, Mode.TURBO))
    await stage.easel.queue.register(
        WorkerInfo(id="quick", host="x", pid=2, device="card", offers={"flux-tiny": quick}, started_at=time.time())
    )
    offered = await ada.autocomplete("imagine", "mode", "turbo")
    assert [choice["name"] for choice in offered] == ["turbo: quickest: steps that change little are left out"]


async def test_a_mode_is_told_on_the_card_and_repeated(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a boat --mode Turbo", count=1)
    assert "· turbo ·" in text_of(first)
    job = await stage.easel.take()
    assert (job.request.mode, job.request.prompt) == (Mode.TURBO, "a boat")
    ended = await stage.easel.finish(job, mode=Mode.TURBO)
    assert (ended.drawn_mode, ended.remarks) == (Mode.TURBO, ())
    done = await finished(ada, first["id"])
    assert "· turbo ·" in text_of(done)
    assert "**Mode:** turbo, quickest" in text_of(await press(ada, done, "Details"))
    for button in ("Reroll", "V1"):
        await press(ada, done, button)
        again = await stage.easel.take()
        assert again.request.mode is Mode.TURBO
        await stage.easel.finish(again, mode=Mode.TURBO)


async def test_what_could_not_be_drawn_so_says_why(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a boat", mode="fast", count=1)
    await stage.easel.finish(await stage.easel.take(), why_mode="the card does not compute in 8 bits")
    done = await finished(ada, first["id"])
    assert "Drawn in quality: the card does not compute in 8 bits." in text_of(done)
    assert "· fast ·" not in text_of(done)
    assert "**Mode:** quality, nothing is left out (asked for: fast)" in text_of(await press(ada, done, "Details"))


async def test_a_provider_with_one_mode_needs_no_reason(stage: Stage, ada: Person) -> None:
    first = await ask(ada, prompt="a boat", mode="fast", count=1)
    await stage.easel.finish(await stage.easel.take())
    assert "Drawn in quality: easel has no other mode." in text_of(await finished(ada, first["id"]))


async def test_a_mode_that_there_is_not_is_refused_privately(stage: Stage, ada: Person) -> None:
    refusal = await ask(ada, prompt="a boat --mode warp")
    assert is_private(refusal)
    assert "There is no mode “warp”. Choose one of" in text_of(refusal)
    assert await stage.studio.live_jobs() == []


async def test_a_member_sets_a_mode_of_their_own(stage: Stage, ada: Person) -> None:
    told = await ada.response(await ada.command("settings set", mode="turbo"))
    assert "**Mode:** turbo · your own setting" in text_of(told)
    await ask(ada, prompt="a boat")
    assert (await stage.easel.take()).request.mode is Mode.TURBO
    await ask(ada, prompt="a boat", mode="quality")
    assert (await stage.easel.take()).request.mode is Mode.QUALITY
