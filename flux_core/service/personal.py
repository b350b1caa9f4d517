"""What belongs to a member alone: their settings, their history, their data."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from flux_core.database import members, own_data, policies, preferences
from flux_core.database.engine import Database
from flux_core.database.history import History, history_of
from flux_core.database.members import NO_LIMITS
from flux_core.database.own_data import Forgotten
from flux_core.errors import AlreadySo, FluxError
from flux_core.jobs import Account, Whereabouts
from flux_core.policy.entitlement import entitled
from flux_core.policy.guild import NOTHING_DECIDED, Defaults
from flux_core.policy.permitted import EVERYTHING, Permitted, permitted_to
from flux_core.preferences import NOTHING_SET, Preferences
from flux_core.quota import QuotaRules
from flux_core.service.gathering import Gathering
from flux_core.service.store import PictureStore

PAGE = 500
"""Rows read at once: others read in between."""
AT_ONCE = 50
"""Jobs changed in one transaction."""
CROWD = 256
"""Members whose circumstances are looked up at once."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides over the options that a member leaves open, in one place."""

    preferences: Preferences
    channel: Defaults
    permitted: Permitted


NOTHING_KNOWN = Circumstances(NOTHING_SET, Defaults(), EVERYTHING)
"""Where nobody has said anything."""


class Personal:
    """What belongs to a member alone: their settings, their history, their data."""

    def __init__(self, db: Database, pictures: PictureStore, rules: QuotaRules) -> None:
        self._db = db
        self._pictures = pictures
        self._rules = rules
        self._asked = Gathering(self._circumstances, most=CROWD)

    # Settings

    async def preferences(self, account: Account) -> Preferences:
        """Return what a member has set for themselves."""
        return await self._db.read(preferences.preferences_of, account)

    async def set_preferences(self, account: Account, change: Callable[[Preferences], Preferences]) -> Preferences:
        """Change what a member has set for themselves; return the new settings.

        ``change`` gets them as they are and returns them as they shall be; what it raises refuses the change. It runs
        on the database's thread and must not wait for anything. Raises AlreadySo where nothing would change.
        """
        return await self._db.write(_change, account, change)

    async def permitted(self, account: Account, role_ids: Collection[int]) -> Permitted:
        """Return what a member with these roles may choose from."""
        return await self._db.read(_permitted, account, role_ids, self._rules)

    async def circumstances(self, account: Account, where: Whereabouts) -> Circumstances:
        """Return what decides over the options that a member leaves open ``where`` they ask."""
        return await self._asked.ask((account, where))

    async def _circumstances(self, asked: Sequence[tuple[Account, Whereabouts]]) -> Sequence[Circumstances | Exception]:
        return await self._db.read(_circumstances, asked, self._rules)

    # History

    async def history(
        self, account: Account, *, words: str = "", model: str | None = None, skipped: int = 0, limit: int = 25
    ) -> History:
        """Return an account's jobs, newest first, without the first ``skipped``: those whose prompt has all ``words``.

        ``model``: of this one alone.
        """
        return await self._db.read(history_of, account, words, model, skipped, limit)

    # Data

    async def export(self, account: Account) -> dict[str, Any]:
        """Return everything that is kept about a member in this community, as JSON takes it; times are UTC."""
        now = self._db.clock()
        document = await self._db.read(own_data.about, account, now)
        document["exported_at"] = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        listed: list[dict[str, Any]] = []
        while page := await self._db.read(own_data.jobs_page, account, listed[-1]["id"] if listed else "", PAGE):
            listed += page
        booked: list[dict[str, Any]] = []
        while rows := await self._db.read(own_data.ledger_page, account, booked[-1]["number"] if booked else 0, PAGE):
            booked += rows
        logged: list[dict[str, Any]] = []
        while noted := await self._db.read(own_data.log_page, account, logged[-1]["number"] if logged else 0, PAGE):
            logged += noted
        return document | {"jobs": listed, "ledger": booked, "moderators_log": logged}

    async def forget(self, account: Account, *, patience: float = 15.0) -> Forgotten:
        """Forget a member in this community: settings, prompts, pictures; have their messages deleted.

        What waits or runs is cancelled; running jobs, and those being handed over, are waited for up to ``patience``
        seconds. Amounts in the ledger, limits, bans, the audit log and reports stay. Every step is a transaction of
        its own, so that others can go on meanwhile; asking again goes on where a step failed.
        """
        cancelled = 0
        while some := await self._db.write(own_data.stop, account, self._db.clock(), AT_ONCE):
            cancelled += some
        cancelled += await self._db.write(own_data.stop_running, account)
        await self._db.write(own_data.forget_settings, account)
        done = Forgotten(cancelled=cancelled)
        deadline = time.monotonic() + patience
        while True:
            # Asked for before the look, so that nothing is missed that changes during it.
            version = await self._db.changed(None, 0.0)
            done = await self._forget_ended(account, done)
            left = deadline - time.monotonic()
            if not done.busy or left <= 0:
                return done
            await self._db.changed(version, min(1.0, left))

    async def _forget_ended(self, account: Account, done: Forgotten) -> Forgotten:
        after: str | None = ""
        while after is not None:
            some, after = await self._db.write(own_data.forget_some, account, after, self._db.clock(), AT_ONCE)
            done = replace(
                done,
                jobs=done.jobs + some.jobs,
                pictures=done.pictures + some.pictures,
                messages=done.messages + some.messages,
                busy=some.busy,
            )
        return done


def _change(connection: Connection, account: Account, change: Callable[[Preferences], Preferences]) -> Preferences:
    before = preferences.preferences_of(connection, account)
    after = change(before)
    if after == before:
        raise AlreadySo()
    preferences.put_preferences(connection, account, after)
    return after


def _permitted(connection: Connection, account: Account, role_ids: Collection[int], rules: QuotaRules) -> Permitted:
    policy = policies.policy_of(connection, account.guild_id)
    return permitted_to(entitled(policy, role_ids, members.limits_of(connection, account), rules), policy)


def _circumstances(
    connection: Connection, asked: Sequence[tuple[Account, Whereabouts]], rules: QuotaRules
) -> Sequence[Circumstances | Exception]:
    try:
        return _read_together(connection, asked, rules)
    except (FluxError, ValueError) as error:
        if len(asked) == 1:
            return [error]
    # What is kept of one of them cannot be read: that is nobody else's trouble.
    return [_circumstances(connection, [one], rules)[0] for one in asked]


def _read_together(
    connection: Connection, asked: Sequence[tuple[Account, Whereabouts]], rules: QuotaRules
) -> list[Circumstances]:
    accounts = {account for account, _ in asked}
    decided = policies.policies_of(connection, [account.guild_id for account in accounts])
    given = preferences.preferences_of_several(connection, accounts)
    limits = members.limits_of_several(connection, accounts)

    def circumstances(account: Account, where: Whereabouts) -> Circumstances:
        policy = decided.get(account.guild_id, NOTHING_DECIDED)
        rule = policy.rule_for(where.channel_ids)
        own = limits.get(account, NO_LIMITS)
        return Circumstances(
            preferences=given.get(account, NOTHING_SET),
            channel=Defaults() if rule is None else rule.defaults,
            permitted=permitted_to(entitled(policy, where.role_ids, own, rules), policy),
        )

    return [circumstances(account, where) for account, where in asked]
