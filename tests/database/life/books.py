"""Credits as the rules of the house say, counted apart from the code that counts them."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flux_core.jobs import Account
from tests.database.life.ground import ALLOWANCE, MOST_WAITING, ZONE

ROLLING_HOURS = 12
KEYS = tuple[Account, str, str, str | None, int]
"""Account, purse, kind, job and part of a row of the ledger."""


@dataclass(frozen=True)
class Rules:
    """What a guild has decided; credits in thousandths."""

    allowance: int = ALLOWANCE
    rolling: bool = False
    """Over the last twelve hours, instead of by the day."""
    pool: int | None = None
    relaxed: bool = False
    most_running: int | None = None
    hosted_first: bool = False
    most_waiting: int = MOST_WAITING


@dataclass
class Order:
    """What the books know of one job."""

    account: Account
    at: float
    shares: list[tuple[str, int]]
    """Purse and amount, in the order of the parts."""
    pool: str | None
    back: list[int] = field(default_factory=list)
    """What went back of each share; empty while it has not ended."""
    ended: bool = False


def day(now: float) -> str:
    """Return the purse of the day in Berlin, where no midnight is ever skipped."""
    return f"day:{datetime.fromtimestamp(now, ZONE).date().isoformat()}"


def midnight_after(now: float) -> float:
    """Return when the next day begins in Berlin."""
    tomorrow = datetime.fromtimestamp(now, ZONE).date() + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=ZONE).timestamp()


class Books:
    """Every row that the ledger has to have, and what follows from them."""

    def __init__(self) -> None:
        self.rows: dict[KEYS, int] = defaultdict(int)
        """Their sums."""
        self.orders: dict[str, Order] = {}
        self.given_back: dict[Account, list[tuple[float, int]]] = defaultdict(list)
        """What moderators gave back of rolling allowances: as of when, and how much."""

    def _book(
        self, account: Account, purse: str, kind: str, amount: int, job: str | None = None, part: int = 0
    ) -> None:
        self.rows[account, purse, kind, job, part] += amount

    def balance(self, account: Account, purse: str) -> int:
        """Return the sum of a purse."""
        return sum(amount for key, amount in self.rows.items() if key[:2] == (account, purse))

    def posted(self, account: Account, purse: str) -> int:
        """Return what a purse received of an allowance."""
        return self.rows.get((account, purse, "allowance", None, 0), 0)

    # What is left

    def _rolled(self, account: Account, now: float) -> dict[float, int]:
        """Return what is spent of a rolling allowance within its window: when → how much."""
        since, spent = now - ROLLING_HOURS * 3600, defaultdict[float, int](int)
        for order in self.orders.values():
            if order.account == account and order.at > since:
                for part, (purse, amount) in enumerate(order.shares):
                    if purse == "rolling":
                        spent[order.at] += amount - (order.back[part] if order.back else 0)
        for at, amount in self.given_back[account]:
            if at > since:
                spent[at] -= amount
        return spent

    def spent(self, account: Account, rules: Rules, now: float) -> int:
        """Return what is spent of this period's allowance."""
        if rules.rolling:
            return max(sum(self._rolled(account, now).values()), 0)
        return self.posted(account, day(now)) - self.balance(account, day(now))

    def granted(self, account: Account, now: float) -> dict[str, int]:
        """Return the granted purses that have not expired, those first that expire first: name → what is in it."""
        names = sorted({purse for of, purse, *_ in self.rows if of == account and purse.startswith("granted")})
        ends = {name: math.inf if name == "granted" else float(name.partition(":")[2]) for name in names}
        return {name: self.balance(account, name) for name in sorted(names, key=ends.__getitem__) if ends[name] > now}

    def pool_left(self, account: Account, rules: Rules, now: float) -> float:
        """Return what the guild's members may still spend together."""
        if rules.pool is None:
            return math.inf
        mine = [order for order in self.orders.values() if order.account.guild_id == account.guild_id]
        taken = 0
        for order in mine:
            if order.pool == day(now):
                first = [part for part, (purse, _) in enumerate(order.shares) if not purse.startswith("granted")]
                taken += sum(order.shares[part][1] - (order.back[part] if order.back else 0) for part in first)
        return max(rules.pool - taken, 0)

    def purses(self, account: Account, rules: Rules, now: float) -> list[tuple[str, int]]:
        """Return what an account pays with, in that order."""
        allowance = (
            ("rolling" if rules.rolling else day(now)),
            int(min(rules.allowance - self.spent(account, rules, now), self.pool_left(account, rules, now))),
        )
        granted = list(self.granted(account, now).items())
        renews = now if rules.rolling else midnight_after(now)
        sooner = [one for one in granted if one[0] != "granted" and float(one[0].partition(":")[2]) < renews]
        return [*sooner, allowance, *(one for one in granted if one not in sooner)]

    def left(self, account: Account, rules: Rules, now: float) -> int:
        """Return what a job may cost."""
        return sum(max(amount, 0) for _, amount in self.purses(account, rules, now))

    # What happens

    def order(self, job: str, account: Account, price: int, rules: Rules, now: float, *, relaxed: bool) -> None:
        """Take what a job costs."""
        purse = "rolling" if rules.rolling else day(now)
        if relaxed:
            shares = [("relaxed", 0)]
        else:
            shares = self._split(account, price, rules, now)
            if not rules.rolling and (missing := rules.allowance - self.posted(account, purse)):
                self._book(account, purse, "allowance", missing)
        # The pool is told of the allowance's share, whatever that is; a relaxed job has none.
        pooled = rules.pool is not None and any(name == purse for name, _ in shares)
        self.orders[job] = Order(account, now, shares, day(now) if pooled else None)
        for part, (name, amount) in enumerate(shares):
            self._book(account, name, "reserve", -amount, job, part)

    def _split(self, account: Account, price: int, rules: Rules, now: float) -> list[tuple[str, int]]:
        shares = []
        for name, amount in self.purses(account, rules, now):
            if share := min(price, max(amount, 0)):
                shares.append((name, share))
                price -= share
        assert price == 0, "it was to be refused"
        return shares

    def settle(self, job: str) -> None:
        """Keep what a job cost."""
        order = self.orders[job]
        order.ended, order.back = True, [0] * len(order.shares)
        self._book(order.account, "settled", "settle", 0, job)

    def refund(self, job: str, now: float) -> None:
        """Give back what a job cost."""
        self._give_back(job, [amount for _, amount in self.orders[job].shares], now)

    def settle_partly(self, job: str, missing: int, count: int, now: float) -> None:
        """Give back what ``missing`` of ``count`` pictures cost: in whole parts, the largest remainders first."""
        amounts = [amount for _, amount in self.orders[job].shares]
        exact = [amount * missing / count for amount in amounts]
        back = [math.floor(amount) for amount in exact]
        for part in sorted(range(len(back)), key=lambda part: back[part] - exact[part]):
            if sum(back) < sum(amounts) * missing // count:
                back[part] += 1
        if any(back):
            self._give_back(job, back, now)
        else:
            self.settle(job)

    def _give_back(self, job: str, back: list[int], now: float) -> None:
        order = self.orders[job]
        order.ended, order.back = True, back
        for part, ((purse, _), amount) in enumerate(zip(order.shares, back, strict=True)):
            self._book(order.account, purse, "refund", amount, job, part)
            if amount and purse.startswith("granted:") and float(purse.partition(":")[2]) <= now:
                # They have expired: they last for another day.
                self._book(order.account, purse, "grant", -amount)
                self.grant(order.account, amount, now + 86_400)

    def grant(self, account: Account, amount: int, expires_at: float | None) -> None:
        """Give credits."""
        purse = "granted" if expires_at is None else f"granted:{math.ceil(expires_at):013d}"
        self._book(account, purse, "grant", amount)

    def take(self, account: Account, amount: int, now: float) -> None:
        """Take granted credits back, those first that expire first."""
        for purse, has in self.granted(account, now).items():
            share = min(amount, max(has, 0))
            if share:
                self._book(account, purse, "grant", -share)
                amount -= share
        assert amount == 0, "it was to be refused"

    def reset(self, account: Account, rules: Rules, now: float) -> int:
        """Give back what is spent of this period's allowance on jobs that have ended; return that."""
        if self.spent(account, rules, now) <= 0:
            return 0
        purse = "rolling" if rules.rolling else day(now)
        reserved = defaultdict[float, int](int)
        for order in self.orders.values():
            if order.account == account and not order.ended:
                for name, amount in order.shares:
                    reserved[order.at] += amount if name == purse else 0
        if rules.rolling:
            parts = {at: spent - reserved[at] for at, spent in self._rolled(account, now).items()}
        else:
            parts = {now: self.spent(account, rules, now) - sum(reserved.values())}
        given = sum(parts.values())
        if given <= 0:
            return 0
        self._book(account, purse, "grant", given)
        if rules.rolling:
            self.given_back[account] += parts.items()
        return given
