"""Fair turns once more, in plain Python and by other means: what the queue has to do, job by job.

Two levels of start-time fair queueing (Goyal, Vin and Cheng, 1996): guilds with one another, members within each. It
knows all jobs and sorts them, where the database keeps a few numbers and looks one up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from flux_core.jobs import Account, Lane

Row = tuple[Account, Lane]


@dataclass
class Waiting:
    """A job in the queue."""

    id: str
    account: Account
    lane: Lane
    model: str
    price: int
    start: float
    end: float


class Reference:
    """The queue as it should be."""

    def __init__(self) -> None:
        self.waiting: list[Waiting] = []
        self.running: Counter[Account] = Counter()
        self.most_running: dict[Account, int | None] = {}
        self.guilds_now = 0.0
        self.guild_end: dict[int, float] = {}
        self.now: dict[tuple[int, Lane], float] = {}
        self.end: dict[Row, float] = {}

    def submit(self, id: str, account: Account, lane: Lane, model: str, price: int, weight: float) -> Waiting:
        """Queue a job behind its member's others, and not before now."""
        row = (account, lane)
        start = max(self.now.get((account.guild_id, lane), 0.0), self.end.get(row, 0.0))
        job = Waiting(id, account, lane, model, price, start, start + price / weight)
        self.end[row] = job.end
        self.waiting.append(job)
        return job

    def may_run(self, job: Waiting) -> bool:
        """Tell whether its member has fewer jobs running than they may."""
        return self._free(job.account)

    def _free(self, account: Account) -> bool:
        most = self.most_running.get(account)
        return most is None or self.running[account] < most

    def claim(self, models: Collection[str]) -> Waiting | None:
        """Take the job whose turn it is."""
        able = [job for job in self.waiting if job.model in models and self.may_run(job)]
        if not able:
            return None
        lane = min(job.lane for job in able)
        able = [job for job in able if job.lane is lane]
        guild = min((self.guild_end.get(job.account.guild_id, 0.0), job.account.guild_id) for job in able)[1]
        job = min((job for job in able if job.account.guild_id == guild), key=lambda job: (job.start, job.id))
        self.guilds_now = max(self.guilds_now, self.guild_end.get(guild, 0.0))
        self.guild_end[guild] = self.guilds_now + job.price
        self.now[guild, lane] = max(self.now.get((guild, lane), 0.0), job.start)
        self.waiting.remove(job)
        self.running[job.account] += 1
        return job

    def ended(self, account: Account) -> None:
        """Note that a running job of an account ended; what was held of it does not stand before the others' time."""
        held = not self._free(account)
        self.running[account] -= 1
        for lane in Lane if held else ():
            own = [job for job in self.waiting if (job.account, job.lane) == (account, lane)]
            if not own:
                continue
            own.sort(key=lambda job: (job.start, job.id))
            others = [
                job.start
                for job in self.waiting
                if job.account.guild_id == account.guild_id and (job.lane, job.model) == (lane, own[0].model)
                if job.account != account and self.may_run(job)
            ]
            earliest = min([*others, self.now.get((account.guild_id, lane), 0.0)])
            for job in own:
                if job.start < earliest:
                    job.start, job.end = earliest, earliest + (job.end - job.start)
                earliest = job.end
            self.end[account, lane] = max(self.end[account, lane], earliest)

    def cancel(self, id: str) -> None:
        """Take a job out; those of its member that stood right behind it close up."""
        gone = next(job for job in self.waiting if job.id == id)
        self.waiting.remove(gone)
        behind = sorted(
            (job for job in self.waiting if (job.account, job.lane) == (gone.account, gone.lane)),
            key=lambda job: (job.start, job.id),
        )
        hole, shift = gone.end, gone.end - gone.start
        for job in behind:
            if job.start == hole:
                hole = job.end
                job.start, job.end = job.start - shift, job.end - shift
        if self.end[gone.account, gone.lane] == hole:
            self.end[gone.account, gone.lane] = hole - shift
