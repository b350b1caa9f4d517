"""/admin policy: what a server has decided leaves as a file, and comes back after a look at what changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.commands.admin.policy import LARGEST
from bot.layouts.policy_card import ROOM, changed, summary
from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID, PATRON_ROLE_ID, STUDIO_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, labels_of, text_of
from flux_core.database.audit import Entry, Wanted
from flux_core.database.policies import parse
from flux_core.policy import check as policy_check
from flux_core.policy.diff import Change
from flux_core.policy.guild import (
    NOTHING_DECIDED,
    ChannelRule,
    Defaults,
    GuildPolicy,
    Limits,
    OutputRule,
    PromptRule,
    Renewal,
    Tier,
)
from flux_core.router import RoutingPolicy
from tests.bot.conftest import Stage
from tests.bot.scenes import is_private

GUILD = int(GUILD_ID)
FULL = GuildPolicy(
    everybody=Limits(credits=20, renewal=Renewal(every="week", at="06:00", zone="Europe/Berlin"), max_count=2),
    tiers=(Tier(role_id=2**60, name="Art*ists", weight=2, models=("flux-dev",)),),
    pool=500,
    dollars_a_day=2.5,
    cooldown_seconds=30,
    relaxed=True,
    channels=(ChannelRule(channel_id=7, allowed=False), ChannelRule(channel_id=8, defaults=Defaults(aspect="16:9"))),
    models_denied=("flux-schnell",),
    routing=RoutingPolicy(first="hosted", providers=()),
    prompt_rules=(
        PromptRule(kind="word", pattern="ugly", action="approve"),
        PromptRule(kind="regex", pattern="u+gh"),
    ),
    moderators_channel=int(STUDIO_ID),
    output=OutputRule(action="refuse", threshold=0.5),
    tell_prompt=False,
)


async def say(person: Person, command: str, **options: Any) -> RawMessage:
    return await person.response(await person.command(f"admin policy {command}", **options))


async def bring(person: Person, document: Any) -> RawMessage:
    """Import a document: bytes as they are, a text as such, anything else as JSON."""
    if not isinstance(document, bytes):
        document = (document if isinstance(document, str) else json.dumps(document)).encode()
    return await say(person, "import", file=await person.upload(document, "policy.json"))


async def agree(person: Person, question: RawMessage, button: str) -> str:
    await person.press(question, button)

    def settled(message: RawMessage) -> bool:
        return message["id"] == question["id"] and not labels_of(message) and "One moment" not in text_of(message)

    return text_of(await person.wait_for(settled))


async def put(stage: Stage, policy: GuildPolicy) -> None:
    await stage.studio.policies.change(GUILD, lambda _: policy, by=1, action="test")


async def held(stage: Stage) -> GuildPolicy:
    return await stage.studio.policies.of(GUILD)


async def log(stage: Stage) -> list[Entry]:
    page = await stage.studio.audit.page(Wanted(guild_id=GUILD))
    return [one for one in page.entries if one.action != "test"]


@pytest.fixture
async def admin(stage: Stage, grace: Person) -> Person:
    """Somebody who runs the server, and does not own the bot."""
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    return grace


async def test_what_leaves_as_a_file_comes_back_the_same(stage: Stage, admin: Person) -> None:
    await put(stage, FULL)
    sent = await say(admin, "export")
    assert is_private(sent)
    [file] = sent["attachments"]
    assert file["filename"] == "flux-bot-policy.json"
    document = await admin.download(file["url"])
    assert json.loads(document)["tiers"][0]["role_id"] == str(2**60), "ids are text: many readers round such numbers"
    assert document.startswith(b"{\n  ")
    assert "the file says what holds already" in text_of(await bring(admin, document))
    question = await say(admin, "reset")
    assert "### What would change" in text_of(question)
    assert await held(stage) == FULL
    assert "has decided nothing any more" in await agree(admin, question, "Forget it all")
    assert await held(stage) == NOTHING_DECIDED
    assert "this server has decided nothing" in text_of(await say(admin, "reset"))
    question = await bring(admin, b"\xef\xbb\xbf" + document)
    assert is_private(question)
    assert "Applied: " in await agree(admin, question, "Apply")
    assert await held(stage) == FULL
    assert [(one.action, one.by) for one in await log(stage)] == [
        ("policy import", int(admin.id)),
        ("policy reset", int(admin.id)),
    ]


async def test_the_difference_is_shown_before_anything_is_done(stage: Stage, admin: Person) -> None:
    await put(stage, GuildPolicy(pool=5, relaxed=True))
    question = await bring(admin, {"pool": 10, "everybody": {"max_count": 2}})
    assert text_of(question).splitlines()[:4] == [
        "### What would change",
        "- `everybody.max_count`: not said → `2`",
        "- `pool`: `5` → `10`",
        "- `relaxed`: `true` → `false`",
    ]
    assert (await held(stage)).pool == 5
    await put(stage, GuildPolicy(pool=7))
    assert "the policy has changed since you were asked" in await agree(admin, question, "Apply")
    assert (await held(stage)).pool == 7
    question = await say(admin, "reset")
    await put(stage, GuildPolicy(pool=8))
    assert "the policy has changed since you were asked" in await agree(admin, question, "Forget it all")
    assert (await held(stage)).pool == 8
    assert await log(stage) == []


async def test_documents_that_make_no_sense_change_nothing(stage: Stage, admin: Person) -> None:
    await put(stage, GuildPolicy(pool=5))
    twice = [{"role_id": "1", "name": "a"}, {"role_id": "1", "name": "b"}]
    for document, problem in (
        (b"", "Nothing was changed"),
        ("{", "Nothing was changed"),
        ("[]", "Nothing was changed"),
        ("[" * 5000, "Nothing was changed"),
        (b"\xff\xfe{}", "this file is no JSON text in UTF-8"),
        (b" " * (1024 * 1024 + 1), "this file has 1,025 KB, and a policy has 1,024 KB at most"),
        ('{"everybody":' * 9000, "this is no JSON (recursion limit"),
        ('{"pool": NaN}', "pool: Input should be a finite number"),
        ('{"pool": 1e999}', "pool: Input should be a finite number"),
        (f'{{"pool": {"9" * 5000}}}', "this is no JSON (number out of range"),
        ('{"routing": {"overflow_seconds": 1e999}}', "routing.overflow_seconds: "),
        ({"everybody": {"renewal": {"at": "0٣:00"}}}, "everybody.renewal.at: "),
        ({"pools": 5}, "pools: a policy has no such entry"),
        ({"@everyone **`": 5}, "@\u200beveryone **`: a policy has no such entry"),
        ({f"k{number}": 1 for number in range(20_000)}, "and 19,994 more"),
        ({"models_denied": ["flux-dev"] * 20_000}, "models_denied: there can be at most 100, not"),
        ({"tiers": [{"role_id": "1", "name": " "}]}, "tiers.0.name: there is nothing to read in it"),
        ({"moderators_channel": "1092000000000000001"}, "moderators_channel: this server has no such channel"),
        ({"channels": [{"channel_id": "99", "allowed": True}]}, "none of those that are allowed is in this server"),
        ({"pool": -1}, "pool: Input should be greater than or equal to 0"),
        ({"pool": "NaN"}, "pool: "),
        ({"everybody": {"renewal": {"zone": "Mars/Olympus"}}}, "no IANA time zone"),
        ({"tiers": twice}, "two rules for the same tier"),
        ({"prompt_rules": [{"kind": "regex", "pattern": "(("}]}, "prompt_rules.0"),
        ({"prompt_rules": [{"kind": "word", "pattern": "ugly", "action": "approve"}]}, "moderators_channel"),
        ({"everybody": {"models": ["flux-deV2"]}}, "everybody.models: there is no model “flux-deV2” here; “flux-dev”"),
        ({"channels": [{"channel_id": "1", "defaults": {"aspect": "1:7"}}]}, "there is no aspect “1:7” here"),
        ({"routing": {"providers": ["nobody"]}}, "routing.providers: there is no provider “nobody” here"),
        ({"models_denied": ["flux-tiny", "flux-schnell", "flux-dev"]}, "would have no model left"),
    ):
        told = await bring(admin, document)
        assert problem in text_of(told).replace("\\", ""), document if len(document) < 500 else problem
        assert labels_of(told) == []
        assert is_private(told)
    assert await held(stage) == GuildPolicy(pool=5)
    assert await log(stage) == []


async def test_policies_are_for_those_who_run_the_server(stage: Stage, ada: Person, grace: Person) -> None:
    await put(stage, GuildPolicy(pool=5))
    with pytest.raises(driver.Refused, match="permission"):
        await ada.command("admin policy show")
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    for command in ("show", "export", "reset"):
        refusal = await say(ada, command)
        assert "Manage Server" in text_of(refusal), command
        assert is_private(refusal)
        assert refusal["attachments"] == []
    assert "Manage Server" in text_of(await bring(ada, {"pool": 1}))
    question = await bring(grace, {"pool": 1})
    stage.sandbox.world.community.people[grace.id].role_ids = ()
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    assert "Manage Server" in await agree(grace, question, "Apply"), "the right is asked for with the button"
    assert (await held(stage)).pool == 5


async def test_what_was_decided_is_told(stage: Stage, admin: Person) -> None:
    assert "Nothing yet" in text_of(await say(admin, "show"))
    await put(stage, FULL)
    told = await say(admin, "show")
    assert is_private(told)
    assert text_of(told).splitlines() == [
        "### What this server has decided",
        "**Everybody:** 20 credits of allowance · renews each Monday at 06:00 (Europe/Berlin) · up to 2 pictures a job",
        "**Pool:** 500 credits of their allowances for all members together",
        "**Hosted providers:** at most $2.50 a day",
        "**Cooldown:** 30 s between two orders of a member",
        "**Relaxed:** without credits left, still drawn when nobody with credits is waiting",
        "**Tiers:**",
        f"- **<@&{2**60}> (Art\\*ists)**: weight 2 · only `flux-dev`",
        "**Channels:**",
        "- <#7>: not drawn here",
        "- <#8>: defaults aspect 16\\:9",
        "**Models denied:** `flux-schnell`",
        "**Who draws:** hosted providers first; no hosted provider may draw, the cheapest before others",
        "**Prompt rules:** 2 rules (1 approve, 1 refuse)",
        f"**Approvals and reports:** <#{STUDIO_ID}>",
        "**Pictures not for everybody:** refused, where the check is 50% sure",
        "**Picture files:** do not tell their prompt",
    ]


@pytest.mark.parametrize(("document", "said"), [({"pools": 3}, "no such entry"), ({"pool": 3}, "What would change")])
async def test_an_answer_comes_after_a_lost_receipt(
    stage: Stage, admin: Person, document: dict[str, int], said: str
) -> None:
    """Discord has the first acknowledgement; discord.py knows nothing of it."""
    file = await admin.upload(json.dumps(document).encode(), "policy.json")
    await admin.faults(rest_lost=1)
    assert said in text_of(await say(admin, "import", file=file))


async def test_a_file_of_another_server_is_told_apart(stage: Stage, admin: Person) -> None:
    here = {"channel_id": STUDIO_ID, "allowed": True}
    question = await bring(
        admin,
        {
            "channels": [here, {"channel_id": "99", "allowed": False}],
            "tiers": [{"role_id": "98", "name": "Elsewhere"}, {"role_id": PATRON_ROLE_ID, "name": "Patron"}],
        },
    )
    assert "this server does not have 1 channel and 1 role of this file" in text_of(question)
    assert "Applied: 4 changes" in await agree(admin, question, "Apply")
    # What holds already may be said again, though its channel is gone from the server.
    await put(stage, GuildPolicy(moderators_channel=97, channels=(ChannelRule(channel_id=96, allowed=True),)))
    kept = {"moderators_channel": "97", "channels": [{"channel_id": "96", "allowed": True}], "pool": 3}
    assert "- `pool`: not said → `3`" in text_of(await bring(admin, kept))


def test_the_fullest_policy_can_be_imported_again() -> None:
    limits: dict[str, Any] = {"credits": 123456.789, "renewal": Renewal(zone="America/Argentina/ComodRivadavia")}
    limits |= {"models": tuple(f"{'m' * 58}{number:02}" for number in range(20)), "weight": 99.99, "max_waiting": 1000}
    taken = Defaults(model="m" * 60, aspect="16:9", count=10, steps=200, output_format="webp", spoiler=True)
    full = GuildPolicy(
        everybody=Limits(**limits),
        tiers=tuple(Tier(role_id=2**62 + number, name="😀" * 100, **limits) for number in range(50)),
        channels=tuple(ChannelRule(channel_id=2**62 + number, allowed=True, defaults=taken) for number in range(500)),
        prompt_rules=tuple(PromptRule(kind="regex", pattern=f"{number:03}{'😀' * 297}") for number in range(500)),
    )
    text = full.model_dump_json(indent=2, exclude_none=True)
    assert 256 * 1024 < len(text.encode()) < LARGEST
    assert parse(text) == full


def test_the_longest_policy_fits_a_message() -> None:
    models = tuple("m" * 60 for _ in range(40))
    tiers = tuple(Tier(role_id=2**62 + id, name="*" * 100, models=models) for id in range(50))
    channels = tuple(ChannelRule(channel_id=2**62 + id, allowed=True) for id in range(500))
    told = summary(GuildPolicy(tiers=tiers, channels=channels, models_denied=models), "UTC")
    assert len(told) < 4000
    assert "and 40 more: `/admin tier show`" in told
    everybody = Limits(models=tuple(f"{'m' * 57}{number:03}" for number in range(100)))
    told = summary(GuildPolicy(everybody=everybody, pool=5, tell_prompt=False), "UTC")
    assert "**Pool:** 5 credits" in told, "a long line hides no other"
    assert "do not tell their prompt" in told
    assert len(told) < 4000
    many = [Change(f"a{number}", "`x" * 200, "@everyone" * 50) for number in range(100)]
    told = changed(many)
    assert len(told) < ROOM + 50
    assert "more changes" in told
    assert told.count("`") % 2 == 0


def test_names_that_were_there_before_may_stay() -> None:
    had = GuildPolicy(models_denied=("gone",), routing=RoutingPolicy(providers=("gone",)))
    known = {"models": ["flux-dev"], "providers": ["cloud"]}
    assert policy_check.problems(had, before=had, **known) == []
    assert len(policy_check.problems(had, **known)) == 2
    tier = Tier(role_id=1, name="a", models=("gone",))
    channel = ChannelRule(channel_id=1, defaults=Defaults(model="x", output_format="gif"))
    assert len(policy_check.problems(GuildPolicy(tiers=(tier,), channels=(channel,)), before=had, **known)) == 2
