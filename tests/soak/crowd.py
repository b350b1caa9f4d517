"""Members who order, cancel, reroll, and press again until it works: what each does is drawn from a seed."""

from __future__ import annotations

import asyncio
import io
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from PIL import Image

from bot.layouts.custom_ids import Action, Press
from bot.sandbox.community import Channel
from bot.sandbox.files import SentFile, describe
from bot.sandbox.interactions import Interaction
from bot.sandbox.invoking import Invoker
from bot.sandbox.rules.invocations import DoesNotFit
from bot.sandbox.server import Sandbox
from tests.soak.watching import Watch, job_on, presses_on

AGAIN_AFTER = 0.5
"""Seconds before a member presses again where nothing came of it."""
ADMITTED_WITHIN = 20.0
"""Seconds for which a member believes that an answer without a job will become one."""
DRAWN_WITHIN = 120.0
"""Seconds after which a member stops looking; the job has to be delivered all the same."""
ROOMS = ("studio", "general", "colour studies", "studio-2")


class Crowd:
    """A number of members at their keyboards, each with one order at a time."""

    def __init__(self, sandbox: Sandbox, watch: Watch, *, jobs: int, seed: int, at_once: int) -> None:
        self._world = sandbox.world
        self._invoker = Invoker(sandbox.world)
        self._watch = watch
        self._jobs = jobs
        self._seed = seed
        self._at_once = at_once
        self._numbers = iter(range(1, jobs + 1))
        self._results: list[tuple[str, str, str]] = []
        """(member, channel, job) of results that can be rerolled."""
        self.accepted: dict[str, str] = {}
        """Interaction → the job that its answer shows."""
        self.did: Counter[str] = Counter()
        self._heard = asyncio.Event()

    @property
    def rooms(self) -> list[list[Channel]]:
        """Return the places where orders are given, by guild."""
        every = self._world.community.channels.values()
        guilds = self._world.community.guilds
        return [[one for one in every if one.name in ROOMS and one.guild_id == guild] for guild in guilds]

    async def run(self) -> None:
        """Order until every job was accepted, and what its member waited for is there."""
        async with asyncio.TaskGroup() as group:
            for seat in range(self._at_once):
                group.create_task(self._sit(), name=f"seat {seat}")

    async def reached(self, number: int) -> None:
        """Wait until so many orders were accepted."""
        while len(self.accepted) < number:
            await self._heard.wait()

    async def _sit(self) -> None:
        for number in self._numbers:
            await self._order(random.Random(f"order {self._seed} {number}"), number)

    async def _order(self, chance: random.Random, number: int) -> None:
        """Have one job accepted, however often it takes, and look at what becomes of it."""
        member = chance.choice(list(self._world.community.people))
        channel = chance.choice(chance.choice(self.rooms))
        rerolls, doubles, cancels = chance.random() < 0.2, chance.random() < 0.1, chance.random() < 0.08
        private, starts = chance.random() < 0.15, chance.random() < 0.1
        options = [
            {"name": "prompt", "type": 3, "value": f"a red circle, number {number}"},
            {"name": "count", "type": 4, "value": chance.choice((1, 1, 2))},
            *([{"name": "private", "type": 5, "value": True}] if private else []),
        ]

        def press() -> Interaction:
            if rerolls and self._results:
                who, where, job = chance.choice(self._results)
                message = next(iter(self._watch.finals[job] - self._watch.gone), "")
                reroll = str(Press(Action.REROLL, job))
                with suppress(DoesNotFit):  # no message, or a bot that took the button away meanwhile
                    opened = self._invoker.component(who, self._invoker.place(who, where), message, reroll, 2, [])
                    self.did["rerolls"] += 1
                    return opened
            given = [{"name": "image", "type": 11, "value": self._upload(channel, number)}] if starts else []
            return self._invoker.command(member, channel, "imagine", 1, options + given, None)

        job = None
        while job is None:
            self.did["presses"] += 1
            try:
                interaction = press()
            except DoesNotFit:  # no bot has ever said what its commands are
                await asyncio.sleep(AGAIN_AFTER)
                continue
            if doubles:
                doubles = False
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.3), self._say_again, interaction.id)
            job = await self._admitted(interaction)
            if job is None:
                await asyncio.sleep(AGAIN_AFTER)
        self.accepted[interaction.id] = job
        self._heard.set()
        self._heard = asyncio.Event()
        if cancels:
            await self._cancel(interaction, job, chance.uniform(0, 0.4))
        if await self._watch.until(lambda: self._watch.finals.get(job), 5 if cancels else DRAWN_WITHIN) is None:
            self.did["cancelled without a word" if cancels else "waited in vain"] += 1
        elif not cancels:
            self._results.append((interaction.member_id, interaction.channel.id, job))

    def _upload(self, channel: Channel, number: int) -> str:
        """Upload a picture of this order's own, as the page does; return its id."""
        self.did["pictures to start from"] += 1
        data = io.BytesIO()
        Image.new("RGB", (64, 64), (number % 256, number // 256 % 256, 90)).save(data, "PNG")
        upload, sent = self._world.snowflakes.next(), SentFile("start.png", data.getvalue())
        self._world.files.put(upload, sent)
        self._world.uploads[upload] = describe(
            upload,
            sent,
            cdn_base=self._world.addresses.cdn_base,
            folder="ephemeral-attachments",
            channel_id=channel.id,
            ephemeral=True,
        )
        return upload

    def _say_again(self, interaction_id: str) -> None:
        """Dispatch an interaction a second time, as a gateway does that replays what it is not sure of."""
        self.did["interactions dispatched twice"] += 1
        self._world.bus.publish(self._watch.payloads[interaction_id])

    async def _admitted(self, interaction: Interaction) -> str | None:
        """Return the job that answers an interaction; None where it failed or was refused."""
        settled = self._watch.settled
        await self._watch.until(lambda: interaction.id in settled, self._world.limits.ack_seconds + 5)
        if interaction.state != "acknowledged":
            self.did["presses that nobody answered"] += 1
            return None
        found = await self._watch.until(self._answer(interaction), ADMITTED_WITHIN)
        if found is None or found == "refused":
            self.did["presses refused" if found else "answers without a job"] += 1
            return None
        return found

    def _answer(self, interaction: Interaction) -> Callable[[], str | None]:
        def look() -> str | None:
            message = interaction.original
            if message is None or message.id in self._watch.gone:
                return "refused"
            if (job := job_on(message.raw)) is not None:
                return job
            private_note = message.ephemeral_for is not None and not message.is_loading
            return "refused" if private_note and not presses_on(message.raw) else None

        return look

    async def _cancel(self, interaction: Interaction, job: str, after: float) -> None:
        """Press Cancel on a card that still has it."""
        await asyncio.sleep(after)
        message, who = interaction.original, interaction.member_id
        cancel = str(Press(Action.CANCEL, job))
        if message is None:
            return
        with suppress(DoesNotFit):
            self._invoker.component(who, interaction.channel, message.id, cancel, 2, [])
            self.did["cancels"] += 1
