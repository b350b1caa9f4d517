"""What is set for single members: limits, credits, bans."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection

from flux_core.database import audit, bans, grants, members, policies, submissions
from flux_core.database.bans import Ban
from flux_core.database.engine import Database
from flux_core.database.submissions import Quota
from flux_core.errors import AlreadySo, InvalidPolicy, NotThere
from flux_core.jobs import Account
from flux_core.policy.guild import Limits
from flux_core.quota import QuotaRules

AT_ONCE = 500
"""Members whose allowance is looked at in one transaction, about a third of a second: others wait no longer."""


class Members:
    """What is set for single members: limits, credits, bans. Every change is written into the audit log with it."""

    def __init__(self, db: Database, rules: QuotaRules) -> None:
        self._db = db
        self._rules = rules

    # Limits

    async def limits(self, account: Account) -> Limits:
        """Return what is set for a member alone."""
        return await self._db.read(members.limits_of, account)

    async def change_limits(
        self, account: Account, change: Callable[[Limits], Limits], *, by: int, **facts: Any
    ) -> Limits:
        """Change what is set for a member alone, from their next job on; return it.

        ``change`` is as for ``Policies.change``; ``facts`` are what the audit log tells of it (JSON).
        Raises InvalidPolicy when the result makes no sense, AlreadySo when it is what it was.
        """
        return await self._db.write(_change_limits, account, change, by, facts, self._db.clock())

    # Credits

    async def grant(
        self,
        account: Account,
        millicredits: int,
        *,
        by: int,
        reason: str,
        expires_at: float | None = None,
        role_ids: Collection[int] = (),
    ) -> Quota:
        """Give an account credits, or take granted ones back when negative; return what a member with these roles has.

        ``expires_at``: unix seconds; None: they do not expire. Raises OutOfRange when more would be taken than is left
        of them.
        """
        return await self._db.write(
            _grant, account, millicredits, by, reason, expires_at, role_ids, self._rules, self._db.clock()
        )

    async def reach(self, guild_id: int, role_id: int | None) -> int:
        """Return how many members ``grant_all`` would reach now; raises NotThere for nobody."""
        reached = await self._db.read(grants.known_members, guild_id, role_id)
        if not reached:
            raise _nobody(role_id)
        return len(reached)

    async def grant_all(
        self,
        guild_id: int,
        role_id: int | None,
        millicredits: int,
        *,
        by: int,
        reason: str,
        expires_at: float | None = None,
    ) -> int:
        """Give credits to every known member of a guild, or to those with a role; return how many got them.

        Known are those who have ordered; their roles are those of their last order. Raises NotThere for nobody.
        """
        return await self._db.write(
            _grant_all, guild_id, role_id, millicredits, by, reason, expires_at, self._db.clock()
        )

    async def reset(self, account: Account, *, by: int, role_ids: Collection[int] = ()) -> int:
        """Make this period's allowance of a member with these roles full again; return what that gave, in thousandths.

        What is reserved for jobs that have not ended stays reserved: it goes back with them where they come to nothing.
        Raises AlreadySo when nothing else is spent.
        """
        return await self._db.write(_reset, account, frozenset(role_ids), by, self._rules, self._db.clock())

    async def reset_all(self, guild_id: int, role_id: int | None, *, by: int) -> int:
        """Do so for every known member of a guild, or for those with a role; return for how many it changed anything.

        Many members take several transactions, each of which writes its own entry into the audit log: whoever repeats
        it after a crash gives nothing twice.
        Raises NotThere for nobody, AlreadySo when there is nothing to give back to any of them.
        """
        now, after = self._db.clock(), -1
        reached = changed = 0
        while True:
            some = await self._db.write(_reset_some, guild_id, role_id, after, by, self._rules, now)
            reached, changed = reached + some.reached, changed + some.changed
            if some.last is None:
                break
            after = some.last
        if not reached:
            raise _nobody(role_id)
        if not changed:
            raise AlreadySo(what="none of them has spent anything of this period's allowance on jobs that have ended")
        return changed

    # Bans

    async def ban(self, account: Account, *, by: int, reason: str, until: float | None) -> None:
        """Refuse a member's orders until then (unix seconds; None: until it is lifted), in place of any earlier ban."""
        await self._db.write(_ban, account, by, reason, until, self._db.clock())

    async def unban(self, account: Account, *, by: int) -> None:
        """Lift a ban; raises NotThere."""
        await self._db.write(_unban, account, by, self._db.clock())

    async def ban_of(self, account: Account) -> Ban | None:
        """Return the ban of a member; None where there is none."""
        return await self._db.read(bans.ban_of, account, self._db.clock())

    async def bans(self, guild_id: int, *, skipped: int = 0, limit: int = 10) -> tuple[list[Ban], int]:
        """Return a guild's bans behind the first ``skipped``, the newest first, and how many there are in all."""
        return await self._db.read(bans.page_of, guild_id, skipped, limit, self._db.clock())


def _change_limits(
    connection: Connection,
    account: Account,
    change: Callable[[Limits], Limits],
    by: int,
    facts: dict[str, Any],
    now: float,
) -> Limits:
    before = members.limits_to_change(connection, account)
    try:
        # Copies with changes are not checked when they are made.
        after = Limits.model_validate_json(change(before).model_dump_json())
    except ValidationError as error:
        raise InvalidPolicy(problems=policies.problems(error)) from None
    if after == before and members.is_legible(connection, account):
        raise AlreadySo()
    members.put_limits(connection, account, after)
    audit.note(connection, account.guild_id, by, "quota set", now, target=account.user_id, **facts)
    return after


def _grant(
    connection: Connection,
    account: Account,
    amount: int,
    by: int,
    reason: str,
    expires_at: float | None,
    role_ids: Collection[int],
    rules: QuotaRules,
    now: float,
) -> Quota:
    if amount < 0:
        grants.take_back(connection, account, -amount, by, reason, rules, now)
    else:
        grants.give(connection, [account], amount, by, reason, expires_at, now)
    facts = {"millicredits": amount, "reason": reason, "expires_at": expires_at}
    audit.note(connection, account.guild_id, by, "quota grant", now, target=account.user_id, **_said(facts))
    return submissions.quota_of(connection, account, role_ids, rules, now)


def _grant_all(
    connection: Connection,
    guild_id: int,
    role_id: int | None,
    amount: int,
    by: int,
    reason: str,
    expires_at: float | None,
    now: float,
) -> int:
    reached = _known(connection, guild_id, role_id)
    grants.give(connection, reached, amount, by, reason, expires_at, now)
    facts = {"millicredits": amount, "reason": reason, "expires_at": expires_at, "role": _id(role_id)}
    audit.note(connection, guild_id, by, "quota grant", now, members=len(reached), **_said(facts))
    return len(reached)


def _reset(
    connection: Connection, account: Account, role_ids: frozenset[int], by: int, rules: QuotaRules, now: float
) -> int:
    given = grants.refill(connection, account, role_ids, by, rules, now)
    if not given:
        raise AlreadySo(what="nothing of this period's allowance is spent on jobs that have ended")
    audit.note(connection, account.guild_id, by, "quota reset", now, target=account.user_id, millicredits=given)
    return given


@dataclass(frozen=True, slots=True)
class _Reset:
    """What one transaction did."""

    reached: int
    changed: int
    last: int | None
    """The last member looked at; None: there are no more."""


def _reset_some(
    connection: Connection, guild_id: int, role_id: int | None, after: int, by: int, rules: QuotaRules, now: float
) -> _Reset:
    known, last = grants.some_known_members(connection, guild_id, role_id, after, AT_ONCE)
    given = [grants.refill(connection, account, roles, by, rules, now) for account, roles in known.items()]
    changed = sum(1 for amount in given if amount)
    if changed:
        facts = {"members": changed, "millicredits": sum(given), "role": _id(role_id)}
        audit.note(connection, guild_id, by, "quota reset", now, **_said(facts))
    return _Reset(len(known), changed, last)


def _known(connection: Connection, guild_id: int, role_id: int | None) -> Collection[Account]:
    known = grants.known_members(connection, guild_id, role_id)
    if not known:
        raise _nobody(role_id)
    return known


def _nobody(role_id: int | None) -> NotThere:
    return NotThere(what="member who has drawn" if role_id is None else "member with this role who has drawn")


def _ban(connection: Connection, account: Account, by: int, reason: str, until: float | None, now: float) -> None:
    bans.put(connection, account, by, reason, until, now)
    facts = _said({"reason": reason, "until": until})
    audit.note(connection, account.guild_id, by, "ban", now, target=account.user_id, **facts)


def _unban(connection: Connection, account: Account, by: int, now: float) -> None:
    if bans.ban_of(connection, account, now) is None:
        raise NotThere(what="ban of this member")
    bans.lift(connection, account)
    audit.note(connection, account.guild_id, by, "unban", now, target=account.user_id)


def _id(role_id: int | None) -> str | None:
    # As text: many readers of JSON round numbers of that size.
    return None if role_id is None else str(role_id)


def _said(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value not in (None, "")}
