"""The proof that ledger, counters and jobs agree. What is found was written past this program, or is a bug of it.

Each check is one pass of the database over its rows, whatever their number, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from flux_core.database import members as own
from flux_core.database import policies
from flux_core.database.engine import takes_long
from flux_core.database.jobs import CLAIMED_AGAIN, IS_QUEUED
from flux_core.database.tables import guilds, jobs, ledger, members, pools, spending
from flux_core.jobs import Lane
from flux_core.quota import BEHIND_GRANTED, GRANTED, ROLLING

MEANINGS = {
    "unpaid": (
        "Jobs without a reservation in the ledger, or with one of another account",
        "Their members were not charged, or somebody else was: even it out with /admin quota grant.",
    ),
    "mischarged": (
        "Jobs with another amount reserved than their cost",
        "Even it out with /admin quota grant, which also takes credits back.",
    ),
    "relaxed_paid": (
        "Relaxed jobs that cost something",
        "Give their members the cost back with /admin quota grant.",
    ),
    "settled_early": (
        "Jobs settled or refunded though they have not ended",
        "Cancel them with /admin queue cancel; a refund is paid once only.",
    ),
    "unsettled": (
        "Jobs that have ended and were neither settled nor refunded",
        "Where one did not succeed, give its member the cost back with /admin quota grant.",
    ),
    "settled_twice": (
        "Jobs both settled and refunded",
        "Take back with /admin quota grant what members got for pictures that they have.",
    ),
    "misrefunded": (
        "Jobs that gave back another part of what a purse paid than they should",
        "Even it out with /admin quota grant, which also takes credits back.",
    ),
    "overdrawn": (
        "Purses of granted credits from which more was spent than was given",
        "Bring them back to nothing with /admin quota grant.",
    ),
    "overgiven": (
        "Allowances of which more came back than was spent",
        "Until the next period their members may spend that much more than was decided.",
    ),
    "pool": (
        "Pools that do not say what their server's members spent",
        "Until such a pool renews, the members may spend that much more or less than was decided.",
    ),
    "nobodys_money": (
        "Rows of the ledger, or of what providers got, that belong to no job of their server",
        "They count, and nobody can say for what.",
    ),
    "dollars": (
        "Jobs that tell another price than what their provider got",
        "Compare the provider's bill for that day.",
    ),
    "turn": (
        "Accounts with jobs that wait behind the start of their next turn",
        "Their next jobs may come before those; it is right again once they are drawn.",
    ),
    "unknown_guild": (
        "Servers with waiting jobs that take no turns",
        "Nobody draws those before somebody there submits another job.",
    ),
    "policy": (
        "Servers whose policy cannot be read, so that nothing is drawn there",
        "Their moderators replace it with /admin policy import, or take it back with /admin policy reset.",
    ),
    "limits": (
        "Members for whom limits are set that cannot be read, so that nothing is drawn for them",
        "Set them anew with /admin quota set.",
    ),
    "claimable": (
        "Waiting jobs that can be claimed and should be held, or the other way round",
        "Pause and resume their server's queue with /admin queue: that looks at each of them again.",
    ),
}
"""Problem → which things have it, and what to do."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that ledger, counters and jobs disagree on."""

    problem: str
    """One of ``MEANINGS``."""
    number: int
    """How many have it."""
    example: str
    """One of them: a job's id, or the guild's and the user's."""

    def __str__(self) -> str:
        """Return one line for an operator."""
        return f"{MEANINGS[self.problem][0]}: {self.number}, such as {self.example}"

    @property
    def advice(self) -> str:
        """What to do."""
        return MEANINGS[self.problem][1]


Found = sa.Select[str, str]
"""Something with a problem: which, and how it is called."""


def _text(*parts: sa.ColumnElement[Any] | str) -> sa.ColumnElement[str]:
    texts = [sa.literal_column(f"'{part}'") if isinstance(part, str) else sa.cast(part, sa.Text) for part in parts]
    joined = texts[0]
    for text in texts[1:]:
        joined = joined.concat(text)
    return joined


def _literal(word: str) -> sa.ColumnElement[str]:
    return sa.literal_column(f"'{word}'")


def _found(problem: sa.ColumnElement[str], example: sa.ColumnElement[str], source: sa.FromClause) -> Found:
    return sa.select(problem.label("problem"), example.label("example")).select_from(source)


def _counted(found: sa.Select[*tuple[Any, ...]]) -> sa.Select[str, int, str]:
    rows = found.subquery("found")
    return (
        sa.select(rows.c.problem, sa.func.count().label("number"), sa.func.min(rows.c.example).label("example"))
        .where(rows.c.problem.is_not(None))
        .group_by(rows.c.problem)
        .order_by(rows.c.problem)
    )


def _jobs() -> Found:
    """Every job against its rows in the ledger: what was taken from each purse, and what came back."""
    row, job = ledger.c, jobs.c

    def amount(kind: str) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((row.kind == _literal(kind), row.amount), else_=0))

    def number(kind: str) -> sa.ColumnElement[Any]:
        return sa.func.sum(sa.case((row.kind == _literal(kind), 1), else_=0))

    purses = (
        sa.select(
            row.job_id,
            (-amount("reserve")).label("taken"),
            amount("refund").label("back"),
            number("reserve").label("reserves"),
            number("settle").label("settles"),
            number("refund").label("refunds"),
            sa.func.min(row.guild_id).label("guild_id"),
            sa.func.max(row.guild_id).label("last_guild_id"),
            sa.func.min(row.user_id).label("user_id"),
            sa.func.max(row.user_id).label("last_user_id"),
        )
        .where(row.job_id.is_not(None))
        .group_by(row.job_id, row.purse)
        .subquery("purses")
    )
    p = purses.c
    books = (
        sa.select(
            p.job_id,
            sa.func.sum(p.taken).label("taken"),
            sa.func.sum(p.reserves).label("reserves"),
            sa.func.sum(p.settles).label("settles"),
            sa.func.sum(p.refunds).label("refunds"),
            sa.func.max(sa.case((p.back > p.taken, 1), else_=0)).label("too_much"),
            sa.func.max(sa.case((p.back != p.taken, 1), else_=0)).label("uneven"),
            *(sa.func.min(p[name]).label(name) for name in ("guild_id", "user_id")),
            *(sa.func.max(p[name]).label(name) for name in ("last_guild_id", "last_user_id")),
        )
        .group_by(p.job_id)
        .subquery("books")
    )
    b = books.c
    of_another = sa.or_(
        *(job[name] != b[column] for name in ("guild_id", "user_id") for column in (name, f"last_{name}"))
    )
    succeeded = job.state == _literal("succeeded")
    problem = sa.case(
        (sa.or_(b.job_id.is_(None), b.reserves == 0, of_another), _literal("unpaid")),
        (b.taken != job.cost, _literal("mischarged")),
        (sa.and_(job.lane == Lane.RELAXED.value, job.cost != 0), _literal("relaxed_paid")),
        (sa.and_(job.ended_at.is_(None), b.settles + b.refunds > 0), _literal("settled_early")),
        (sa.and_(job.ended_at.is_not(None), b.settles + b.refunds == 0), _literal("unsettled")),
        (sa.or_(b.settles > 1, sa.and_(b.settles > 0, b.refunds > 0)), _literal("settled_twice")),
        (b.too_much == 1, _literal("misrefunded")),
        (sa.and_(job.ended_at.is_not(None), ~succeeded, b.uneven == 1), _literal("misrefunded")),
    )
    return _found(problem, job.id, jobs.outerjoin(books, b.job_id == job.id))


def _granted() -> Found:
    """Purses of granted credits: nobody spends what was not given. (Allowances may be lowered below what is spent.)"""
    row = ledger.c
    example = _text(row.guild_id, "/", row.user_id, " ", row.purse)
    return (
        _found(_literal("overdrawn"), example, ledger)
        .where(row.purse >= GRANTED, row.purse < BEHIND_GRANTED)
        .group_by(row.guild_id, row.user_id, row.purse)
        .having(sa.func.sum(row.amount) < 0)
    )


def _allowances() -> Found:
    """Purses of allowances: refunds and resets together give back no more than jobs took."""
    row = ledger.c
    example = _text(row.guild_id, "/", row.user_id, " ", row.purse)
    return (
        _found(_literal("overgiven"), example, ledger)
        .where(sa.or_(row.purse == ROLLING, *(row.purse.like(f"{every}:%") for every in ("day", "week", "month"))))
        .where(row.kind != _literal("allowance"))
        .group_by(row.guild_id, row.user_id, row.purse)
        .having(sa.func.sum(row.amount) > 0)
    )


def _pools() -> Found:
    """What is kept at hand of every pool against the ledger: their sum is nothing."""
    kept = sa.select(pools.c.guild_id, pools.c.period, pools.c.spent.label("amount"))
    booked = sa.select(ledger.c.guild_id, ledger.c.pool, ledger.c.amount).where(ledger.c.pool.is_not(None))
    both = sa.union_all(kept, booked).subquery("both")
    return (
        _found(_literal("pool"), _text(both.c.guild_id, " ", both.c.period), both)
        .group_by(both.c.guild_id, both.c.period)
        .having(sa.func.sum(both.c.amount) != 0)
    )


def _orphans(table: sa.Table) -> Found:
    """Rows that name a job which is not there, or is another server's."""
    ours = table.outerjoin(jobs, jobs.c.id == table.c.job_id)
    return _found(_literal("nobodys_money"), table.c.job_id, ours).where(
        table.c.job_id.is_not(None), sa.or_(jobs.c.id.is_(None), jobs.c.guild_id != table.c.guild_id)
    )


def _dollars() -> Found:
    """What succeeded jobs say that they cost against what was counted that day."""
    paid = jobs.join(spending, sa.and_(spending.c.job_id == jobs.c.id, spending.c.provider == jobs.c.provider))
    return _found(_literal("dollars"), jobs.c.id, paid).where(
        jobs.c.state == _literal("succeeded"), jobs.c.microdollars != spending.c.microdollars
    )


def _turns(lane: Lane, finish: sa.ColumnElement[Any]) -> Found:
    """Members whose waiting jobs end behind the start of their next turn, or who have none."""
    job = jobs.c
    mine = sa.and_(members.c.guild_id == job.guild_id, members.c.user_id == job.user_id)
    # Turns that changed hands were summed up in another order: that is true but for the last digits.
    latest = sa.func.max(job.finish_tag) > sa.func.max(sa.func.coalesce(finish, -1.0)) * (1 + 1e-9) + 1e-6
    return (
        _found(_literal("turn"), _text(job.guild_id, "/", job.user_id), jobs.outerjoin(members, mine))
        .where(IS_QUEUED, job.lane == lane.value)
        .group_by(job.guild_id, job.user_id)
        .having(latest)
    )


def _guilds() -> Found:
    """Guilds that take no turns: nobody would draw their jobs."""
    job = jobs.c
    known = jobs.outerjoin(guilds, guilds.c.guild_id == job.guild_id)
    return (
        _found(_literal("unknown_guild"), _text(job.guild_id), known)
        .where(IS_QUEUED, guilds.c.guild_id.is_(None))
        .group_by(job.guild_id)
    )


def _claimable() -> Found:
    """Waiting jobs against who may claim them by every rule: pauses, approvals, most running, who draws."""
    differs = [jobs.c[name].is_distinct_from(rule) for name, rule in CLAIMED_AGAIN.items()]
    return _found(_literal("claimable"), jobs.c.id, jobs).where(IS_QUEUED, sa.or_(*differs))


_CHECKS = [
    _counted(found)
    for found in (
        _jobs(),
        _granted(),
        _allowances(),
        _pools(),
        sa.union_all(_orphans(ledger), _orphans(spending)).subquery("orphans").select(),
        _dollars(),
        sa.union_all(
            _turns(Lane.FAST, members.c.last_finish), _turns(Lane.RELAXED, members.c.last_relaxed)
        ).subquery("turns").select(),
        _guilds(),
        _claimable(),
    )
]  # fmt: skip


@takes_long
def discrepancies(connection: Connection) -> list[Discrepancy]:
    """Return what ledger, counters and jobs disagree on, one for each kind of problem; nothing is changed.

    Also what stands in the way of orders because it cannot be read.
    """
    found = [
        Discrepancy(row.problem, int(row.number), str(row.example))
        for check in _CHECKS
        for row in connection.execute(check)
    ]
    if guilds_shut := sorted(policies.unreadable(connection)):
        found.append(Discrepancy("policy", len(guilds_shut), str(guilds_shut[0])))
    if shut := own.unreadable(connection):
        found.append(Discrepancy("limits", len(shut), f"{shut[0].guild_id}/{shut[0].user_id}"))
    return found
