"""Credits that moderators give, take back, or give back: rows of the ledger in their name."""

from __future__ import annotations

import json
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy import Connection, bindparam

from flux_core.database import ledger
from flux_core.database.jobs import IS_QUEUED, IS_RUNNING
from flux_core.database.standing import spent_while_rolling, standing
from flux_core.database.tables import jobs, members
from flux_core.database.tables import ledger as rows
from flux_core.errors import OutOfRange, QuotaSpent
from flux_core.jobs import Account
from flux_core.quota import ROLLING, QuotaRules, granted_purse, payment

MOST_GRANTED = 10**12
"""Thousandths of a credit that one grant may give: sums of thousands of grants still fit into 64 bits."""

_MEMBERS = (
    sa.select(members.c.user_id, members.c.roles)
    .where(members.c.guild_id == bindparam("guild"), members.c.user_id > bindparam("after"))
    .order_by(members.c.user_id)
    .limit(bindparam("most"))
)
_ALL = 2**31

_TAKEN = (
    sa.select(rows.c.at, rows.c.amount)
    .select_from(jobs.join(rows, rows.c.job_id == jobs.c.id))
    .where(jobs.c.guild_id == bindparam("guild"), jobs.c.user_id == bindparam("user"))
    .where(rows.c.kind == sa.literal_column("'reserve'"), rows.c.purse == bindparam("of"))
)
_RESERVED = [_TAKEN.where(kind) for kind in (IS_QUEUED, IS_RUNNING)]


def known_members(connection: Connection, guild_id: int, role_id: int | None) -> dict[Account, frozenset[int]]:
    """Return the members who have ordered in a guild, with the roles that they had when they did so last.

    ``role_id``: only those who had it.
    """
    return some_known_members(connection, guild_id, role_id, -1, _ALL)[0]


def some_known_members(
    connection: Connection, guild_id: int, role_id: int | None, after: int, most: int
) -> tuple[dict[Account, frozenset[int]], int | None]:
    """Return those of the next ``most`` members behind the user id ``after``, and the last one's id; None: no more."""
    found = connection.execute(_MEMBERS, {"guild": guild_id, "after": after, "most": most}).all()
    known = {Account(guild_id, row.user_id): frozenset(json.loads(row.roles) if row.roles else ()) for row in found}
    wanted = {account: roles for account, roles in known.items() if role_id is None or role_id in roles}
    return wanted, found[-1].user_id if len(found) == most else None


def give(
    connection: Connection,
    accounts: Collection[Account],
    amount: int,
    by: int,
    reason: str,
    expires_at: float | None,
    now: float,
) -> None:
    """Give each account ``amount`` thousandths of a credit until ``expires_at`` (unix seconds; None: for good).

    Raises OutOfRange for more than one grant may give.
    """
    if not 0 < amount <= MOST_GRANTED:
        raise OutOfRange(field="credits", value=amount, low=-MOST_GRANTED, high=MOST_GRANTED)
    purse = granted_purse(expires_at)
    ledger.grant_each(connection, accounts, amount, by=by, reason=reason, now=now, purse=purse)


def take_back(
    connection: Connection, account: Account, amount: int, by: int, reason: str, rules: QuotaRules, now: float
) -> None:
    """Take ``amount`` thousandths back of what an account was granted, those first that expire soonest.

    Raises OutOfRange, with what can be taken as its fact ``low`` (negative), when less is left.
    """
    granted = standing(connection, account, (), rules, now).purses[1:]
    try:
        shares = payment(amount, granted, None)
    except QuotaSpent as error:
        raise OutOfRange(field="credits", value=-amount, low=-error.facts["left"], high=MOST_GRANTED) from None
    for purse, share in shares.items():
        ledger.grant(connection, account, -share, by=by, reason=reason, now=now, purse=purse)


def refill(
    connection: Connection, account: Account, role_ids: frozenset[int], by: int, rules: QuotaRules, now: float
) -> int:
    """Give back what an account spent of its allowance in this period; return that, in thousandths of a credit.

    What is reserved for jobs that have not ended is not spent yet: it comes back by itself where they come to nothing.
    """
    known = standing(connection, account, role_ids, rules, now)
    if known.spent <= 0:
        return 0
    reserved = _reserved(connection, account, known.period.purse)
    if known.period.purse != ROLLING:
        parts = [(now, known.spent - sum(reserved.values()))]
    else:
        # Each part as of when it was spent, so that both leave the window together.
        rolling = spent_while_rolling(connection, account, known.period.since)
        parts = [(at, spent - reserved.get(at, 0)) for at, spent in rolling]
    parts = [(at, spent) for at, spent in parts if spent]
    given = sum(spent for _, spent in parts)
    if given <= 0:
        return 0
    for at, spent in parts:
        ledger.grant(connection, account, spent, by=by, reason="reset", now=at, purse=known.period.purse)
    return given


def _reserved(connection: Connection, account: Account, purse: str) -> dict[float, int]:
    """Return what jobs that have not ended took from a purse: when → thousandths of a credit."""
    key = {"guild": account.guild_id, "user": account.user_id, "of": purse}
    reserved: dict[float, int] = {}
    for statement in _RESERVED:
        for row in connection.execute(statement, key):
            reserved[row.at] = reserved.get(row.at, 0) - int(row.amount)
    return reserved
