"""Workers with LoRAs of their own: a job that names one goes only to a worker that has it. On both databases."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from flux_core.batching import TRIALS, shape_of
from flux_core.catalogue import Catalogue
from flux_core.database.bookkeeping import discrepancies
from flux_core.database.figures import OURS, figures
from flux_core.database.tables import jobs
from flux_core.database.wanted import waited_for
from flux_core.database.workers import WorkerInfo
from flux_core.errors import LoraNotForModel, ModelUnavailable, NobodyDraws, UnknownLora
from flux_core.generation import GenerationRequest
from flux_core.jobs import Account, Job, JobState, Lane
from flux_core.loras import Lora, LoraUse
from flux_core.offers import Offer
from flux_core.quota import UTC
from flux_core.router import LOCAL
from flux_core.skills import skills_of
from tests.database.scene import ANNE, BERT, CLEO, DEV, NOON, SCHNELL, Scene, a_request, a_scene


def with_lora(name: str = "ink", model: str = SCHNELL, **options: object) -> GenerationRequest:
    return a_request(model, **options).model_copy(update={"lora": LoraUse(name=name)})


async def worker(scene: Scene, id: str, **loras: tuple[str, ...]) -> list[str]:
    """Introduce a worker: of each model, its LoRAs. Returns its skills."""
    offers = {f"flux-{model}": Offer(theirs="x", loras=names) for model, names in loras.items()}
    await scene.queue.register(
        WorkerInfo(id=id, host="here", pid=1, device="cpu", offers=offers, started_at=scene.clock.now)
    )
    return skills_of(offers)


async def next_of(scene: Scene, id: str, skills: list[str]) -> str | None:
    job = await scene.queue.claim(id, skills)
    return None if job is None else job.id


async def test_it_goes_only_to_a_worker_that_has_it(scene: Scene) -> None:
    has, lacks = await worker(scene, "has", schnell=("ink", "oil")), await worker(scene, "lacks", schnell=("oil",))
    inked = await scene.submit(request=with_lora())
    behind = await scene.submit(BERT)
    oiled = await scene.submit(CLEO, request=with_lora("oil"))
    assert await scene.db.read(waited_for) == ["flux-schnell", "flux-schnell ink", "flux-schnell oil"]
    assert await next_of(scene, "lacks", lacks) == behind.id
    assert await next_of(scene, "has", has) == inked.id, "it was its turn all the time"
    assert await next_of(scene, "lacks", lacks) == oiled.id
    assert await scene.db.read(waited_for) == []
    assert await scene.db.read(discrepancies) == []


async def test_it_waits_for_the_same_after_whatever_brought_it_back(scene: Scene) -> None:
    has, lacks = await worker(scene, "has", schnell=("ink",)), await worker(scene, "lacks", schnell=())

    async def stands_again() -> None:
        assert await scene.column(job, "waits_for") == "flux-schnell ink"
        assert await next_of(scene, "lacks", lacks) is None
        assert await next_of(scene, "has", has) == job.id

    job = await scene.submit(request=with_lora())
    await stands_again()
    await scene.queue.hand_back("has", job.id)
    await stands_again()
    scene.clock.now += scene.queue.lease_seconds + 1
    await scene.queue.rescue()
    await worker(scene, "has", schnell=("ink",))
    await worker(scene, "lacks", schnell=())
    await stands_again()
    await scene.queue.hand_back("has", job.id)
    await scene.studio.line.pause(ANNE.guild_id, reason="storm", by=1)
    assert await next_of(scene, "has", has) is None
    await scene.studio.line.resume(ANNE.guild_id, by=1)
    await stands_again()
    assert await scene.db.read(discrepancies) == []


async def test_one_whose_model_does_not_load_leaves_it_to_another_that_has_both(scene: Scene) -> None:
    has = await worker(scene, "has", schnell=("ink",))
    await worker(scene, "lacks", schnell=())
    job = await scene.submit(request=with_lora())
    error = ModelUnavailable("its files are gone", model=SCHNELL)
    assert await next_of(scene, "has", has) == job.id
    assert (await scene.queue.pass_on("has", job.id, error)).state is JobState.FAILED, "the other one cannot draw it"
    again = await scene.submit(BERT, request=with_lora())
    await worker(scene, "too", schnell=("ink",))
    assert await next_of(scene, "has", has) == again.id
    after = await scene.queue.pass_on("has", again.id, error)
    assert (after.state, after.tried) == (JobState.QUEUED, ())


async def test_one_that_nobody_has_is_refused_and_costs_nothing(database_url: str, tmp_path: Path) -> None:
    catalogue = Catalogue({SCHNELL: "s", DEV: "d"}, default=SCHNELL, loras={"ink": Lora("ink", "ink.safetensors")})
    async with a_scene(database_url, tmp_path, catalogue=catalogue) as scene:
        waits = await scene.submit(request=with_lora())
        assert waits.venue == "any", "nobody lives who draws the model: it waits, as one without a LoRA does"
        before = await scene.studio.quota(ANNE)
        await worker(scene, "lacks", schnell=())
        with pytest.raises(NobodyDraws) as refused:
            await scene.submit(request=with_lora())
        assert refused.value.facts["reasons"] == {LOCAL: "none has the LoRA ink for flux-schnell at the moment"}
        assert await scene.studio.quota(ANNE) == before
        assert (await scene.submit(BERT, request=with_lora(model=DEV))).venue == "any"
        await worker(scene, "has", schnell=("ink",))
        assert (await scene.submit(BERT, request=with_lora())).venue == "any"
        await scene.vendor()
        with pytest.raises(NobodyDraws):
            await scene.submit(request=with_lora().model_copy(update={"provider": "acme"}))


async def test_members_may_ask_for_what_any_worker_has(scene: Scene) -> None:
    with pytest.raises(UnknownLora):
        await scene.submit(request=with_lora())
    await worker(scene, "w1", schnell=("ink",), dev=("oil",))
    assert await scene.studio.loras(now=True) == {"ink": [SCHNELL], "oil": [DEV]}
    assert (await scene.submit(request=with_lora())).venue == "any"
    with pytest.raises(LoraNotForModel) as refused:
        await scene.submit(request=with_lora("oil"))
    assert refused.value.facts["fits"] == DEV
    await scene.queue.retire("w1")
    assert await scene.studio.loras() == {}


async def test_hosted_providers_leave_it_to_the_cards_that_have_it(scene: Scene) -> None:
    await worker(scene, "has", schnell=("ink",))
    await scene.vendor()
    job = await scene.submit(request=with_lora())
    await scene.queue.beat("has", closed="it rests")
    scene.clock.now += 25.0
    await scene.queue.beat("acme")
    assert await scene.queue.claim_hosted("acme") is None
    plain = await scene.submit(BERT)
    assert (await scene.claim_hosted()).id == plain.id
    assert await scene.column(job, "waits_for") == "flux-schnell ink"


async def test_estimates_count_the_workers_that_have_it(scene: Scene) -> None:
    await worker(scene, "has", schnell=("ink",))
    for number in range(3):
        await worker(scene, f"lacks{number}", schnell=())
    await scene.queue.record_speed(LOCAL, SCHNELL, 4, 10.0)
    inked = [await scene.submit(Account(7, 20 + number), request=with_lora()) for number in range(3)]
    place = await scene.studio.place(inked[2].id)
    assert (place.position, place.seconds, place.workers) == (3, pytest.approx(30.0), 1)
    plain = await scene.submit(BERT)
    place = await scene.studio.place(plain.id)
    assert (place.position, place.seconds, place.workers) == (4, pytest.approx(17.5), 4)


async def test_only_those_with_the_same_are_drawn_together_and_a_warm_model_is_warm_with_it(scene: Scene) -> None:
    skills = await worker(scene, "w1", schnell=("ink",), dev=())
    cold = await scene.submit(Account(1, 1), request=a_request(DEV))
    inked = [await scene.submit(Account(1, 2 + number), request=with_lora()) for number in range(2)]
    shape = shape_of(with_lora())
    assert shape is not None
    for count, seconds in ((1, 1.0), (2, 1.2)):
        for _ in range(TRIALS):
            await scene.queue.record_pace("cpu", shape, count, count * with_lora().work, seconds)
    taken = await scene.queue.claim_together("w1", skills, "cpu", 4, {SCHNELL})
    assert [job.id for job in taken] == [job.id for job in inked]
    assert (await scene.column(cold, "passed_over")) == 1


async def test_the_house_counts_it_with_its_model(scene: Scene) -> None:
    await worker(scene, "has", schnell=("ink",))
    await scene.submit(request=with_lora())
    await scene.submit(BERT)
    found = await scene.db.read(figures, scene.clock.now, NOON - 30, UTC)
    assert {key: crowd.jobs for key, crowd in found.waiting.items()} == {(Lane.FAST, SCHNELL, OURS): 2}
    assert found.stopped == 0


async def test_the_database_refuses_another_skill_and_takes_that_of_older_programs(scene: Scene) -> None:
    await worker(scene, "has", schnell=("ink",))
    job, plain = await scene.submit(request=with_lora()), await scene.submit(BERT)

    async def write(one: Job, said: str) -> None:
        statement = sa.update(jobs).where(jobs.c.id == one.id).values(waits_for=said)
        await scene.db.write(lambda connection: connection.execute(statement) and None)

    await write(job, SCHNELL)
    for one, said in ((job, "flux-schnell oil"), (job, DEV), (plain, "flux-schnell ink"), (plain, "flux-schnell ")):
        with pytest.raises(sa.exc.IntegrityError, match="claimable"):
            await write(one, said)
