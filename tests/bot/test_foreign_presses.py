"""What members can influence gives them nothing of others: every button of ours, planted on a message they see.

The boundary that is trusted is Discord's: an interaction comes over the bot's own gateway connection, so who acts, in
which server and channel, and with which permissions is what Discord says, and nobody else can send one. What a member
chooses is which button they press (of any message they see, also an old one), the values of options, the text of
forms and the files. So here every kind of button carries ids that were never meant for the one who presses.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from bot.buttons import KINDS
from bot.commands import COMMANDS
from bot.interactions.confirmation import QuestionButton
from bot.interactions.controls import JobButton
from bot.interactions.paging import LISTS, PageButton
from bot.layouts.custom_ids import Action, Press
from bot.reviews.buttons import ReviewButton
from bot.reviews.custom_ids import Choice
from bot.sandbox.community import APPLICATION_ID, GUILD_ID
from bot.sandbox.composing import Body, create
from bot.sandbox.driver import Person
from bot.sandbox.messages import COMPONENTS_V2
from bot.sandbox.reading import RawMessage, text_of
from bot.words.wording import FOREIGN_BUTTON, sentence
from flux_core.database import tables
from flux_core.errors import Expired, FluxError, JobNotFound, NotAllowed
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Job, Origin, ReplyTo
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.governing import as_read, nothing_changes, offered, say
from tests.bot.scenes import FORGED_JOB, is_private
from tests.bot.test_reviews import channel_of, moderate, open_reviews

SECRET = "the secret garden"
ELSEWHERE = int(GUILD_ID) + 1
OWN_LISTS = {"jobs", "history"}
"""Lists that show everybody their own; all others are the moderators'."""


GARBLED = [
    "flux:reroll:",
    f"flux:vary:{FORGED_JOB}:5",
    f"flux:grant:{FORGED_JOB}",
    f"flux:reroll:{FORGED_JOB.upper()}",
    f"flux:reroll:{FORGED_JOB}\n",
    f"flux:review:approve:{FORGED_JOB}0",
    f"flux:review:pardon:{FORGED_JOB}",
    "flux:page:nothing:0",
    "flux:page:audit:" + "9" * 61,
    "flux:page:AUDIT:0",
    "flux:yes:0",
    "flux:yes:" + "٠" * 16,
    "' OR 1=1 --",
]
"""What none of our buttons ever carried."""


async def foreign(
    stage: Stage, person: Person, *, guild: int = int(GUILD_ID), channel: int, private: bool = False, drawn: bool = True
) -> Job:
    """Return a job of ``person`` whose answer is in a channel, drawn or waiting."""
    reply = ReplyTo(
        application_id=int(APPLICATION_ID),
        channel_id=channel,
        interaction_token="dead",
        token_expires_at=time.time(),
        message_id=1,
        private=private,
    )
    request = resolve(RequestOptions(prompt=SECRET, count=1, model="flux-tiny"), stage.studio.catalogue)
    account = Account(guild, int(person.id))
    job = await stage.studio.submit(Submission(account=account, request=request, origin=Origin.IMAGINE, reply_to=reply))
    if drawn:
        job = await stage.easel.finish(await stage.easel.take())
        await stage.studio.delivered(job.id)
    return job


async def plant(stage: Stage, person: Person, custom_ids: list[str]) -> list[RawMessage]:
    """Let the bot have sent ``person`` private messages with these buttons; return them."""
    world, place = stage.sandbox.world, await channel_of(person, "studio")
    planted = []
    for first in range(0, len(custom_ids), 25):
        some = custom_ids[first : first + 25]
        rows = [
            {"type": 1, "components": [{"type": 2, "style": 2, "label": "x", "custom_id": id} for id in row]}
            for row in (some[at : at + 5] for at in range(0, len(some), 5))
        ]
        body = Body({"components": rows, "flags": COMPONENTS_V2})
        message = create(world, body, world.community.channels[str(place)], ephemeral_for=person.id)
        planted += [message.for_page()] * len(some)
    return planted


@asynccontextmanager
async def all_stays(stage: Stage) -> AsyncIterator[None]:
    """Fail when any job, picture, review, removal, or anything that moderators decide, changes meanwhile."""

    def rows(connection: sa.Connection) -> list[object]:
        kept = (tables.jobs, tables.pictures, tables.reviews, tables.removals, tables.preferences)
        return [connection.execute(sa.select(table).order_by(*table.primary_key)).all() for table in kept]

    before = await stage.studio._db.read(rows)
    async with nothing_changes(stage):
        yield
    assert await stage.studio._db.read(rows) == before


async def refusals(stage: Stage, person: Person, custom_ids: list[str]) -> list[str]:
    """Press every button; return what each answer says, all of them private and without a word of others' prompts."""
    read = []
    for message, custom_id in zip(await plant(stage, person, custom_ids), custom_ids, strict=True):
        answer = await person.response(await person.press(message, custom_id))
        assert is_private(answer), custom_id
        assert SECRET not in text_of(answer), custom_id
        read.append(as_read(answer))
    return read


def said(error: FluxError) -> str:
    return as_read({"content": sentence(error), "embeds": [], "components": []})


def every_press(job_ids: list[str]) -> list[str]:
    """Return the custom_id of every button about a job, for each of these."""
    return [str(Press(action, job_id, 0 if action is Action.VARY else None)) for job_id in job_ids for action in Action]


async def test_no_button_opens_others_jobs(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    studio, moderators = await channel_of(grace, "studio"), await channel_of(grace, "moderators")
    here = [
        await foreign(stage, linus, channel=studio, private=True),
        await foreign(stage, linus, channel=moderators),
    ]
    elsewhere = [
        await foreign(stage, linus, channel=studio, guild=ELSEWHERE),
        # Her own, of another server: there it is hers, and here nobody's.
        await foreign(stage, ada, channel=studio, guild=ELSEWHERE),
        await foreign(stage, linus, channel=studio, guild=0),
        await foreign(stage, linus, channel=studio, private=True, drawn=False),
    ]
    async with all_stays(stage):
        ids = every_press([FORGED_JOB, *(job.id for job in [*here, *elsewhere])])
        assert set(await refusals(stage, ada, ids)) == {said(JobNotFound())}
        # A moderator keeps order in this server and in the channel that they see, and nowhere else.
        ids = every_press([job.id for job in [here[0], *elsewhere]])
        assert set(await refusals(stage, grace, ids)) == {said(JobNotFound())}


async def test_no_button_decides_for_moderators(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    studio = await channel_of(grace, "studio")
    await moderate(stage, grace)
    here, elsewhere = [await foreign(stage, ada, channel=studio, guild=guild) for guild in (int(GUILD_ID), ELSEWHERE)]
    for job, guild in ((here, int(GUILD_ID)), (elsewhere, ELSEWHERE)):
        await stage.studio.reviews.report(job.id, account=Account(guild, int(linus.id)), reason="no")
    [review] = await open_reviews(stage, when=lambda review: review.message_id is not None)
    [there] = await stage.studio.reviews.waiting(ELSEWHERE)

    def decide(*ids: str) -> list[str]:
        return [f"flux:review:{choice.value}:{id}" for choice in Choice for id in ids]

    async with all_stays(stage):
        assert set(await refusals(stage, linus, decide(review.id, there.id, FORGED_JOB))) == {
            said(NotAllowed(action="review"))
        }
        for answer in await refusals(stage, grace, decide(there.id, FORGED_JOB)):
            assert answer.startswith("There is no such request to the moderators here"), answer
        # The moderators' lists are no list of a member's, whatever page the button names.
        pages = ("", "0", "99999", "0||Zm9v", "=|=")
        lists = [f"flux:page:{name}:{cursor}" for name in sorted(LISTS.keys() - OWN_LISTS) for cursor in pages]
        assert set(await refusals(stage, linus, lists)) == {said(NotAllowed(action="admin"))}
        for own in (f"flux:page:{name}:{cursor}" for name in sorted(OWN_LISTS) for cursor in pages):
            await refusals(stage, linus, [own])  # it takes the place of the message
        questions = [f"flux:{reply}:{'0' * 16}" for reply in ("yes", "no")]
        assert set(await refusals(stage, linus, questions)) == {said(Expired())}
        assert set(await refusals(stage, linus, GARBLED)) == {FOREIGN_BUTTON}


def test_every_kind_of_button_is_walked() -> None:
    """A new kind has to be pressed here with what is not meant for whoever presses it."""
    assert set(KINDS) == {JobButton, PageButton, QuestionButton, ReviewButton}


async def test_menus_and_lists_show_nothing_of_others(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    studio = await channel_of(grace, "studio")
    private = await foreign(stage, linus, channel=studio, private=True)
    elsewhere = await foreign(stage, linus, channel=studio, guild=ELSEWHERE)
    menus = [one.name for one in COMMANDS if getattr(one, "type", None) is not None and one.type.value == 3]
    assert sorted(menus) == ["Picture details", "Report", "Vary"]
    async with all_stays(stage):
        for job in (private, elsewhere):
            for person in (ada, grace):
                [message] = await plant(stage, person, [str(Press(Action.DETAILS, job.id))])
                for menu in menus:
                    answer = await person.response(await person.message_menu(menu, message))
                    assert as_read(answer) == said(JobNotFound())
                    assert is_private(answer)
    waiting = await foreign(stage, linus, channel=studio, guild=ELSEWHERE, drawn=False)
    async with all_stays(stage):
        assert await say(grace, "queue cancel", job=waiting.id) == said(JobNotFound())
        assert await offered(grace, "queue cancel", "job") == []
        assert await ada.autocomplete("imagine", "prompt", "the") == []
        answers = [await say(grace, "queue show"), await say(grace, "audit")]
        answers += [text_of(await ada.response(await ada.command(command))) for command in ("jobs", "history")]
        assert SECRET not in "".join(answers)
