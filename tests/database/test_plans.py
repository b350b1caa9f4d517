"""What must stay fast however long the queue is takes its index: the plans, as the database tells them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, event

from flux_core.database import (
    claims,
    grants,
    hosted,
    jobs,
    leases,
    lineup,
    outbox,
    passing,
    pictures,
    places,
    retention,
    spending,
    strays,
    submissions,
    wanted,
)
from flux_core.database.admission import Offered
from flux_core.database.hosted import Terms
from flux_core.images.store import StoredPicture
from flux_core.jobs import NOWHERE, Origin
from flux_core.policy.guild import Limits, Renewal
from flux_core.quota import UTC, period_at
from flux_core.router import RoutingPolicy
from tests.database.scene import ANNE, BERT, ON_SQLITE, SCHNELL, TINY, Scene, a_request, rules
from tests.database.scene import pictures as pictures_of

pytestmark = ON_SQLITE  # the plans are those of SQLite

TERMS = Terms(policy=RoutingPolicy(), zone=UTC, lease_seconds=30.0)
OFFERED = Offered(models=(SCHNELL,), local=frozenset({SCHNELL}), policy=RoutingPolicy(), lease_seconds=30.0)


async def plans(scene: Scene, query, *args) -> str:  # type: ignore[no-untyped-def]
    """Run a query and return the plans of its statements."""

    def explained(connection: Connection) -> str:
        statements: list[tuple[str, Any]] = []

        def note(conn, cursor, statement, parameters, context, executemany):  # type: ignore[no-untyped-def]
            if not executemany:
                statements.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        query(connection, *args)
        event.remove(connection, "before_cursor_execute", note)
        rows = [
            connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            for statement, parameters in statements
        ]
        return "\n".join(str(row.detail) for result in rows for row in result)

    return await scene.db.write(explained)


async def test_a_claim_steps_into_its_index_once_per_model(scene: Scene) -> None:
    await scene.submit()
    plan = await plans(scene, claims.claim, "w", [SCHNELL, TINY], 0.0, 30.0)
    # From guild to guild, and to the first job of the one whose turn it is.
    assert plan.count("USING COVERING INDEX ix_jobs_claim (waits_for=? AND lane=? AND guild_id>?)") == 2
    assert plan.count("USING COVERING INDEX ix_jobs_claim (waits_for=? AND lane=? AND guild_id=?)") == 2
    assert "SCAN jobs" not in plan
    assert "SCAN waiting" not in plan


async def test_what_is_waited_for_is_read_in_steps_along_the_index_of_claims(scene: Scene) -> None:
    await scene.submit()
    plan = await plans(scene, wanted.waited_for)
    assert plan.count("USING COVERING INDEX ix_jobs_claim") == 2
    assert "SEARCH further USING COVERING INDEX ix_jobs_claim (waits_for>?)" in plan


async def test_a_hosted_claim_walks_along_its_index(scene: Scene) -> None:
    await scene.worker("w1", SCHNELL, TINY)
    await scene.vendor("acme", SCHNELL, TINY)
    await scene.submit(request=a_request(provider="acme"))
    plan = await plans(scene, hosted.claim, "acme", TERMS, scene.clock.now)
    assert plan.count("USING COVERING INDEX ix_jobs_hosted (waits_hosted=?)") == 1
    assert plan.count("USING COVERING INDEX ix_jobs_claim (waits_for=?)") == 1
    assert "USING INDEX ix_jobs_bound (provider=?)" in plan
    assert "SCAN policies" not in plan  # only those of the guilds whose jobs are looked at
    assert plan.count("SCAN jobs") == plan.count("SCAN jobs USING INDEX ix_jobs_running") == 1


async def test_a_long_line_is_looked_at_guild_by_guild(scene: Scene) -> None:
    for _ in range(3):
        await scene.submit()
    for look, index in (
        (lineup.for_us, "ix_jobs_claim (waits_for"),
        (lineup.for_hosted, "ix_jobs_hosted (waits_hosted"),
    ):
        plan = await plans(scene, look, [SCHNELL, TINY], 2)
        assert plan.count(f"USING COVERING INDEX {index}=? AND lane=? AND guild_id>?)") == 2
        assert f"{index}=? AND lane=? AND guild_id=?)" in plan
        assert "SCAN jobs" not in plan
        assert "SCAN first" not in plan


async def test_a_days_spending_is_read_from_its_index(scene: Scene) -> None:
    plan = await plans(scene, spending.on, "2026-11-21")
    assert "USING COVERING INDEX ix_spending_day (day=?)" in plan
    assert "TEMP B-TREE" not in plan


async def test_jobs_to_be_given_up_are_found_among_the_submitted(scene: Scene) -> None:
    assert "ix_jobs_bound" in await plans(scene, passing.missing, {}, 0.0, 0.0)
    assert "ix_jobs_bound" in await plans(scene, passing.abandon, ["acme"], 0.0)
    await scene.worker("w1")
    assert "ix_jobs_hosted" in await plans(scene, hosted.left_for_us, TERMS, scene.clock.now)


async def test_submitting_reads_nothing_but_the_accounts_own(scene: Scene) -> None:
    job = await scene.submit()
    plan = await plans(
        scene, submissions.check, ANNE, a_request(), Origin.IMAGINE, NOWHERE, 1, rules(), OFFERED, scene.clock.now
    )
    assert plan.count("USING COVERING INDEX ix_ledger_balance (guild_id=? AND user_id=? AND purse") == 2
    assert "ix_jobs_queued (guild_id=? AND user_id=?)" in plan
    assert "SCAN jobs" not in plan
    assert period_at(scene.clock.now, Renewal(), rules().zone).purse == (await scene.ledger(job))[0][1]


async def test_the_end_of_a_limited_members_job_looks_at_their_own_and_the_next_of_others(scene: Scene) -> None:
    await scene.studio.members.change_limits(ANNE, lambda _: Limits(max_running=1), by=9)
    first, _ = await scene.submit(), await scene.submit()
    for _ in range(4):
        await scene.submit(BERT)
    for _ in range(4):
        await scene.claim()
    plan = await plans(
        scene, leases.succeed, "w1", first.id, pictures_of(first), leases.Drawn(provider="local", seconds=1.0), 0.0
    )
    assert "ix_jobs_running (guild_id=? AND user_id=?)" in plan
    assert "ix_jobs_queued (guild_id=? AND user_id=?)" in plan
    assert "ix_jobs_claim (waits_for=? AND lane=? AND guild_id=?)" in plan
    assert "ix_jobs_hosted (waits_hosted=? AND lane=? AND guild_id=?)" in plan
    assert "SCAN jobs" not in plan


async def test_a_reset_looks_at_what_is_open(scene: Scene) -> None:
    await scene.submit()
    plan = await plans(scene, grants.refill, ANNE, frozenset(), 9, rules(), scene.clock.now)
    for index in ("ix_jobs_queued", "ix_jobs_running"):
        assert f"USING INDEX {index} (guild_id=? AND user_id=?)" in plan or f"USING COVERING INDEX {index}" in plan
    assert plan.count("SEARCH ledger USING INDEX uq_ledger_reserve (job_id=? AND purse=?)") == 2
    assert "SCAN jobs" not in plan


async def test_the_place_is_counted_on_the_claims_index_alone(scene: Scene) -> None:
    job = await scene.submit()
    plan = await plans(scene, places.place_of, job, TERMS, 0.0)
    assert "USING COVERING INDEX ix_jobs_claim (waits_for=?" in plan
    assert "USING INDEX ix_jobs_running" in plan


async def test_rescue_looks_at_running_jobs_only(scene: Scene) -> None:
    assert "USING INDEX ix_jobs_running" in await plans(scene, leases.rescue, 0.0, 3)


async def test_the_outbox_is_looked_at_by_state(scene: Scene) -> None:
    plan = await plans(scene, outbox.live, None, [])
    assert "USING INDEX ix_jobs_outbox (state=? AND id>?)" in plan
    assert "ix_jobs_outbox" in await plans(scene, outbox.forget_expired_tokens, 0.0)


async def test_chores_look_only_at_what_concerns_them(scene: Scene) -> None:
    previews = await plans(scene, pictures.drop_previews, 0.0, 0.0, 10)
    assert "USING INDEX ix_jobs_previews" in previews
    inputs = await plans(scene, pictures.drop_inputs, 0.0, 0.0, 10)
    assert "ix_jobs_inputs (input_key=?)" in inputs
    assert "ix_jobs_masks (mask_key=?)" in inputs


async def test_a_members_jobs_are_found_by_member(scene: Scene) -> None:
    active = await plans(scene, jobs.of_account, ANNE, True, 25, None)
    for index in ("ix_jobs_queued", "ix_jobs_running", "ix_jobs_undeliverable"):
        assert f"USING INDEX {index} (guild_id=? AND user_id=? AND id<?)" in active
    everything = await plans(scene, jobs.of_account, ANNE, False, 25, None)
    assert "ix_jobs_history (guild_id=? AND user_id=? AND id<?)" in everything


async def test_what_was_kept_long_enough_is_found_by_its_age(scene: Scene) -> None:
    job = await scene.submit()
    await scene.claim()
    await scene.succeed(job)
    for chore in (retention.drop_pictures, retention.forget_jobs):
        plan = await plans(scene, chore, scene.clock.now + 1, scene.clock.now, 10)
        assert "ix_jobs_kept (kept=? AND ended_at<?)" in plan
        assert "ix_jobs_inputs (input_key=?)" in plan
        assert "SCAN jobs" not in plan
        assert "SCAN pictures" not in plan
        assert "TEMP B-TREE" not in plan


async def test_strays_are_looked_up_by_key(scene: Scene) -> None:
    await scene.submit()
    files = [
        StoredPicture(key, 1, scene.clock.now + 1) for key in (f"pictures/{1:024x}/0.webp", f"inputs/{1:064x}.png")
    ]
    plan = await plans(scene, strays.among, files)
    assert "ix_jobs_inputs (input_key=?)" in plan
    assert "ix_jobs_masks (mask_key=?)" in plan
    # The first job's time is one step into the table's own index.
    assert plan.count("SCAN") == plan.count("SCAN jobs USING INDEX sqlite_autoindex_jobs_1") == 1
