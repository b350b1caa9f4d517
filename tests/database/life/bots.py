"""What bots do with what has ended: claim a delivery, hand it over, die between the two."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.database.life.base import Base, deed, fate, pick, which
from tests.database.life.ground import Fate
from tests.database.life.model import Delivery, Known

BOTS = ("bot-1", "bot-2")
SECONDS = 30.0


class Bots(Base):
    """Two bots over one outbox."""

    def __init__(self) -> None:
        super().__init__()
        self.posting: dict[str, dict[str, float]] = {bot: {} for bot in BOTS}
        """Bot → job → until when the bot believes to be the only one that hands it over."""

    @deed(
        8,
        when=lambda self: any(job.ended_at is not None for job in self.model.jobs.values()),
        bot=st.sampled_from(BOTS),
        which=which,
        fate=fate,
    )
    def claim_delivery(self, bot: str, which: int, fate: Fate) -> None:
        """Begin to hand an answer over."""
        ended = [job for job in self.model.jobs.values() if job.ended_at is not None]
        self._claim(bot, pick([job for job in ended if job.awaited] or ended, which), fate)

    def _the_other_wants_it_too(self, bot: str, job: Known, seconds: float) -> None:
        """Have the other bot claim what ``bot`` is handing over: it gets that once the first one's time is up."""
        [other] = [other for other in BOTS if other != bot]
        self._set(seconds)
        self.untouched = False
        self._claim(other, job, "well")

    def _claim(self, bot: str, job: Known, fate: Fate) -> None:
        free = job.delivery is None or job.delivery.owner == bot or job.delivery.until <= self.now
        outcome = self.act(lambda: self.house.studio.claim_delivery(job.id, bot, SECONDS), fate)
        if not outcome.committed:
            return
        assert outcome.result == (job.awaited and free)
        if not outcome.result:
            self.untouched = True
            return
        job.delivery = Delivery(bot, self.now + SECONDS)
        if outcome.answered:
            others = [other for other in BOTS if other != bot and self.posting[other].get(job.id, 0.0) > self.now]
            assert not others, "two bots hand it over at once"
            self.posting[bot][job.id] = self.now + SECONDS

    @deed(
        8,
        when=lambda self: any(self.posting.values()),
        which=which,
        how=st.sampled_from(["posted", "posted", "later", "never", "died"]),
        fate=fate,
    )
    def hand_over(self, which: int, how: str, fate: Fate) -> None:
        """Post the answer and say so, or that Discord would not have it; or post it and die."""
        bot, id = pick([(bot, id) for bot in BOTS for id in self.posting[bot]], which)
        job, studio = self.model.jobs[id], self.house.studio
        if how == "died":
            self.posting[bot].clear()
            self.untouched = True
            return
        calls = {
            "posted": lambda: studio.delivered(id),
            "later": lambda: studio.delivery_failed(id, self.now + 60, "Discord is away"),
            "never": lambda: studio.give_up_delivery(id, "the channel is gone"),
        }
        outcome = self.act(calls[how], fate)
        if outcome.answered:
            del self.posting[bot][id]
        if not outcome.committed:
            return
        if how == "posted" and not job.delivered:
            job.delivered, job.given_up, job.delivery = True, False, None
        elif how != "posted" and job.awaited:
            job.given_up, job.delivery = how == "never", None
