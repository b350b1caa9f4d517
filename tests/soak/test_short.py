"""A short soak on PostgreSQL with two bots; and that an inspection sees what a bug would do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from bot.sandbox.messages import Message
from flux_core.bootstrap import open_database
from flux_core.database.tables import jobs, pictures
from flux_core.images.store import PictureStore
from tests.soak.report import PROMISES, written
from tests.soak.run import Run
from tests.soak.schedule import Setup

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
SETUP = Setup(64, workers=3, every=6, until=0.75)
SEED = 11


async def test_nothing_is_lost_posted_twice_or_charged_twice(tmp_path: Path) -> None:
    async with Run(tmp_path, SETUP, SEED, hasty=True) as run:
        result = await run.go()
        report = written(result, f"python -m tests.soak --jobs {SETUP.jobs} --seed {SEED}")
        assert result.findings.wrong == {}, report
        assert len(run.accepted) == SETUP.jobs
        assert {"bot", "worker", "postgresql", "tokens"} <= {what for what, number in result.killed.items() if number}
        assert result.findings.counts["delivered"] >= SETUP.jobs - 2, report
        assert result.findings.counts["jobs succeeded"] >= SETUP.jobs * 0.7, report
        await see_what_is_wrong(run)


async def see_what_is_wrong(run: Run) -> None:
    """Spoil what a run has left, thing by thing, and see that each is found."""
    world, store = run.sandbox.world, PictureStore(run.settings.pictures)
    posted = next(m for m in run.watch.messages() if m.ephemeral_for is None and "Reroll" in str(m.raw["components"]))
    again = Message({**posted.raw, "id": world.snowflakes.next()})
    async with open_database(run.settings) as db:

        async def seen() -> set[str]:
            return set((await run.inspect(db)).wrong)

        async def spoil(change: Callable[[Connection], sa.CursorResult]) -> None:
            await db.write(lambda connection: change(connection).rowcount)

        a_job = sa.select(jobs.c.id).where(jobs.c.state == "succeeded").order_by(jobs.c.id).limit(1).scalar_subquery()
        found: set[str] = set()
        world.messages.add(again)
        found |= await seen()
        assert found == {"posted twice"}
        world.messages.remove(again)
        assert await seen() == set()
        await store.put("pictures/0123456789abcdef01234567/0.webp", b"stray", "image/webp")
        run.accepted["1"] = "0" * 24
        run.watch.jobs.add("0" * 24)
        await spoil(lambda c: c.execute(sa.update(jobs).where(jobs.c.id == a_job).values(delivered_at=None)))
        await spoil(lambda c: c.execute(sa.update(jobs).where(jobs.c.id == a_job).values(cost=jobs.c.cost + 1)))
        await spoil(lambda c: c.execute(sa.update(pictures).where(pictures.c.job_id == a_job).values(key="pictures/x")))
        found |= await seen()
        world.messages.remove(posted)
        waiting = Message({**posted.raw, "id": world.snowflakes.next()})
        waiting.raw["components"] = [cancel_button(posted)]
        world.messages.add(waiting)
        found |= await seen()
    assert found == set(PROMISES) - {
        *("not ended", "an answer that shows another order's job", "settled or refunded other than once"),
        *("succeeded without its pictures", "shown with other pictures than it has"),
        "pictures of a job that did not succeed",
    }


def cancel_button(message: Message) -> dict[str, object]:
    """Return the row of a card that waits."""
    return {"type": 1, "id": 1, "components": [{"type": 2, "id": 2, "custom_id": f"flux:cancel:{message.id:0>24}"}]}
