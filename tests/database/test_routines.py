"""Whole transactions in one message to a server: how many messages a job takes, and what they must not overlook."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.util import await_only

from flux_core.database import locks
from flux_core.database.opening import driver_of
from flux_core.database.routines import Routine
from flux_core.database.standing import standing
from flux_core.database.tables import pauses
from flux_core.errors import MemberError
from flux_core.jobs import JobState
from flux_core.models import Mode
from flux_core.policy.guild import Limits
from tests.database import postgres
from tests.database.scene import ANNE, BERT, SCHNELL, Scene, a_request, a_scene, pictures, rules


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """A studio on a server."""
    async with a_scene(await postgres.new_database(), tmp_path, pool=3, allowance=10**9) as scene:
        yield scene


async def told(scene: Scene) -> list[str]:
    """Return a list to which everything is added that the only connection of a studio tells the server from now on."""
    messages: list[str] = []

    def hear(record: asyncpg.connection.LoggedQuery) -> None:
        messages.append(record.query)

    await scene.db.write(lambda connection: driver_of(connection).add_query_logger(hear))
    messages.clear()
    return messages


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[Scene]:
    """A studio with one connection, which has made its routines."""
    async with a_scene(await postgres.new_database(), tmp_path, pool=1, allowance=10**9) as scene:
        for _ in range(2):  # the first one makes the guild and the member known
            await scene.submit()
            await scene.succeed(await scene.claim())
        yield scene


async def test_a_job_takes_four_messages(lone: Scene) -> None:
    messages = await told(lone)
    await lone.submit()
    job = await lone.claim()
    await lone.succeed(job)
    await asyncio.sleep(0)  # what is heard is called soon
    look, *calls = messages
    assert "virtual_time" in look
    assert [call.partition("(")[0] for call in calls] == [
        "SELECT * FROM pg_temp.submit_1_0_1_0",
        "SELECT * FROM pg_temp.claim_1_0_8",
        "SELECT * FROM pg_temp.succeed",
    ]


async def test_a_limited_member_submits_in_two_messages_and_waits_all_the_same(lone: Scene) -> None:
    await lone.studio.members.change_limits(ANNE, lambda _: Limits(max_running=1), by=9)
    first = await lone.submit()
    await lone.submit()
    messages = await told(lone)
    await lone.submit()
    await asyncio.sleep(0)
    assert len(messages) == 2
    assert (await lone.claim()).id == first.id
    await lone.submit()
    assert await lone.queue.claim("w2", [SCHNELL]) is None


async def nothing(scene: Scene) -> None:
    """Leave everything as it is."""


async def a_look(scene: Scene) -> None:
    """Be alone with the house, and write nothing."""
    await scene.db.write(lambda connection: connection.exec_driver_sql("SELECT 1").close())


async def somebody_else(scene: Scene) -> None:
    """Submit for another member, and have a job drawn."""
    await scene.submit(BERT)
    job = await scene.claim()
    await scene.succeed(job)


async def the_same_member(scene: Scene) -> None:
    await scene.submit(ANNE)


async def a_ban(scene: Scene) -> None:
    await scene.studio.members.ban(ANNE, by=9, until=None, reason="spam")


async def a_cancellation(scene: Scene) -> None:
    (job, *_) = await scene.studio.jobs_of(ANNE)
    await scene.studio.cancel(job.id, by=ANNE.user_id, moderator=False)


@pytest.mark.parametrize(
    ("between", "holds"),
    [
        (nothing, True),
        (a_look, True),
        (somebody_else, True),
        (the_same_member, False),
        (a_ban, False),
        (a_cancellation, False),
    ],
)
async def test_what_was_seen_before_the_locks_has_to_hold_under_them(
    scene: Scene, between: Callable[[Scene], Awaitable[None]], holds: bool
) -> None:
    await scene.submit(ANNE)
    await scene.submit(BERT)

    @locks.in_a_message
    def look_and_look_again(connection: Connection) -> bool:
        seen = standing(connection, ANNE, (), rules(), scene.clock.now, before_locks=True).seen
        assert seen is not None
        await_only(between(scene))
        locks.account(connection, ANNE)
        key = {"guild": ANNE.guild_id, "user": ANNE.user_id}
        return bool(connection.execute(sa.select(locks.UNCHANGED), key | seen._asdict()).scalar_one())

    assert await scene.db.write(look_and_look_again) is holds


async def test_who_is_banned_between_look_and_order_gets_no_job(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Banned by another process, while this one was deciding."""
    await scene.submit(ANNE)
    before = Routine.rows
    banned = asyncio.Event()

    def late(self: Routine, connection: Connection, parameters: dict[str, object]) -> list[object]:
        if not banned.is_set():
            banned.set()
            await_only(a_ban(scene))
        return before(self, connection, parameters)

    monkeypatch.setattr(Routine, "rows", late)
    with pytest.raises(MemberError):
        await scene.submit(ANNE)
    assert banned.is_set()
    assert len(await scene.studio.jobs_of(ANNE)) == 1


async def test_one_key_makes_one_job_however_often_it_comes_at_once(scene: Scene) -> None:
    await scene.submit()
    made = await asyncio.gather(*(scene.submit(key="the same") for _ in range(6)))
    assert len({job.id for job in made}) == 1
    assert len(await scene.studio.jobs_of(ANNE)) == 2


async def test_another_mode_than_asked_for_is_remarked(scene: Scene) -> None:
    job = await scene.submit(request=a_request())
    await scene.claim()
    done = await scene.queue.succeed(
        "w1", job.id, pictures(job), provider="local", seconds=1.0, mode=Mode.FAST, why_mode="no room"
    )
    assert done.state is JobState.SUCCEEDED
    assert [remark.code for remark in (await scene.studio.job(job.id)).remarks] == ["other_mode"]


async def test_a_routine_is_gone_with_the_transaction_that_made_it(scene: Scene) -> None:
    routine = Routine("told", sa.select(sa.cast(sa.bindparam("word", type_=sa.Text), sa.Text).label("word")))

    @locks.beside_others
    def make(connection: Connection, *, fail: bool) -> list[str]:
        connection.execute(sa.select(1))
        rows = routine.rows(connection, {"word": "it's $1"})
        if fail:
            raise LookupError
        return [row.word for row in rows]

    with pytest.raises(LookupError):
        await scene.db.write(make, fail=True)
    for _ in range(2):
        assert await scene.db.write(make, fail=False) == ["it's $1"]


async def test_an_error_in_a_routine_is_what_it_would_be_without_and_shows_no_parameters(scene: Scene) -> None:
    """They hold interaction tokens."""
    pause = {"guild_id": 7, "reason": "x", "by_user": 1, "since": 0.0}
    put = sa.insert(pauses).inline().values({name: sa.bindparam(f"new_{name}") for name in pause})
    routine = Routine("put", sa.select(sa.literal_column("1", sa.Integer).label("done")).add_cte(put.cte("put")))

    @locks.beside_others
    def pause_once(connection: Connection) -> None:
        routine.rows(connection, {f"new_{name}": value for name, value in pause.items()})

    await scene.db.write(pause_once)
    with pytest.raises(IntegrityError) as caught:
        await scene.db.write(pause_once)
    assert caught.value.params is None
    await scene.db.write(lambda connection: connection.execute(sa.delete(pauses)).close())  # the connection goes on


async def test_where_nobody_may_make_routines_locks_do(tmp_path: Path) -> None:
    url = await postgres.new_database()
    name = sa.make_url(url).database
    server = postgres.shared()
    for statement in (
        f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
        "DROP ROLE IF EXISTS poor",
        "CREATE ROLE poor LOGIN",
    ):
        await server.run(statement, name or "")
    for kind in ("TABLES", "SEQUENCES"):
        await server.run(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO poor", name or "")
    try:
        async with a_scene(url.replace("//postgres@", "//poor@"), tmp_path) as scene:
            for _ in range(2):
                job = await scene.submit()
                assert (await scene.claim()).id == job.id
                await scene.succeed(job)
                assert (await scene.studio.job(job.id)).state is JobState.SUCCEEDED
    finally:
        await server.run("DROP OWNED BY poor", name or "")
        await server.run("DROP ROLE poor")
