"""What moderators read: true, within Discord's limits, and nothing that members typed gets out of hand."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from discord import ui
from hypothesis import given
from hypothesis import strategies as st

from bot.interactions.paging import LINES, page_of
from bot.layouts import panels_admin
from flux_core.policy.guild import ChannelRule, Defaults, GuildPolicy, Limits, Renewal, Tier
from flux_core.quota import QuotaRules
from flux_core.service import Ban, Quota

RULES = QuotaRules(allowance=100_000, zone=ZoneInfo("UTC"), max_waiting=10)
FULL = Limits(
    credits=999_999.999,
    renewal=Renewal(every="month", at="23:59", zone="America/Argentina/ComodRivadavia"),
    weight=0.25,
    max_waiting=1000,
    max_running=1000,
    max_megapixels=1.5,
    max_count=10,
    models=tuple(f"{'model-' * 9}{n}" for n in range(100)),
)
HELD = Quota(
    allowance=5000,
    renewal=Renewal(every="rolling", hours=24),
    spent=7000,
    granted=3000,
    expiring=((1000, 1_800_000_000.0),),
    left=3000,
    renews_at=None,
    waiting=2,
    max_waiting=10,
    running=1,
    max_running=2,
    weight=2.0,
    tiers=("*Patron*",),
)


def text_of(view: ui.LayoutView) -> str:
    return "\n".join(item.content for item in view.walk_children() if isinstance(item, ui.TextDisplay))


def test_every_kind_of_renewal_is_told() -> None:
    told = [
        panels_admin.renewal(when, "UTC")
        for when in (
            Renewal(),
            Renewal(every="week", at="06:00", zone="Europe/Berlin"),
            Renewal(every="month"),
            Renewal(every="rolling", hours=48),
        )
    ]
    assert told == [
        "each day at 00:00 (UTC)",
        "each Monday at 06:00 (Europe/Berlin)",
        "on the first of each month at 00:00 (UTC)",
        "each credit back 48 h after it was spent",
    ]


def test_a_member_reads_as_they_stand() -> None:
    ban = Ban(user_id=5, until=None, reason="@everyone *spam*", by=9, since=1_700_000_000.0)
    told = panels_admin.member(5, HELD, Limits(max_count=1, models=()), ban, "UTC")
    for part in (
        "**3 credits left**",
        "0 credits of an allowance of 5 credits, each credit back 24 h after it was spent",
        "3 credits granted, of these 1 credit until <t:1800000000:f>",
        "2 of at most 10 waiting, 1 of at most 2 being drawn",
        "weight 2",
        r"tiers: \*Patron\*",
        "set for them alone: up to 1 picture a job · no model",
        "banned until it is lifted (by <@9>, <t:1700000000:R>): “@\u200beveryone \\*spam\\*”",
    ):
        assert part in told, part


def test_the_longest_of_everything_fits_a_message() -> None:
    tier = Tier(role_id=2**62, name="*" * 100, **dict(FULL))
    policy = GuildPolicy(
        everybody=FULL, tiers=(tier,), pool=1.0, cooldown_seconds=86_400, relaxed=True,
        models_denied=tuple(f"{'gone-' * 11}{n}" for n in range(100)),
    )  # fmt: skip
    for text in (
        panels_admin.server(policy, RULES, 10**9),
        panels_admin.role(tier, "UTC"),
        panels_admin.models(policy, ["flux-dev"]),
        panels_admin.member(2**62, HELD, FULL, None, "UTC"),
    ):
        assert 0 < len(text) <= panels_admin.MOST_TEXT < 4000
    lines = [panels_admin.tier(tier, "UTC")] * 50
    for first in range(0, 50, LINES):
        page = page_of("tiers", "Tiers", lines, str(first), empty="")
        assert len(text_of(page)) <= 4000
        assert sum(1 for _ in page.walk_children()) <= 40


@given(
    st.lists(st.text(max_size=500), max_size=60),
    st.one_of(st.integers(0, 100).map(str), st.sampled_from(["", "99999999", "999999999", "x", "1,2", "-1"])),
)
def test_any_page_of_any_list_is_there(lines: list[str], cursor: str) -> None:
    page = page_of("list", "A list", lines, cursor, empty="nothing")
    told = text_of(page)
    assert 0 < len(told) <= 4000
    ids = [item.custom_id for item in page.walk_children() if isinstance(item, ui.Button)]
    assert len(ids) == len(set(ids)) <= 2
    for id in ids:
        assert id is not None
        assert 0 <= int(id.rpartition(":")[2]) < len(lines)


def test_pages_together_show_every_line_once() -> None:
    lines = [f"line {n}." for n in range(2 * LINES + 3)]
    told = "".join(text_of(page_of("list", "A", lines, str(n), empty="")) for n in range(0, len(lines), LINES))
    assert all(told.count(line) == 1 for line in lines)


def test_a_channel_is_told_with_all_that_holds_there() -> None:
    told: dict[str, Any] = {
        "drawn here": ChannelRule(channel_id=7, allowed=True),
        "not drawn here": ChannelRule(channel_id=7, allowed=False),
        "defaults model flux-dev · private no": ChannelRule(
            channel_id=7, defaults=Defaults(model="flux-dev", private=False)
        ),
        "drawn here, defaults format png · spoiler yes": ChannelRule(
            channel_id=7, allowed=True, defaults=Defaults(output_format="png", spoiler=True)
        ),
    }
    for words, rule in told.items():
        assert panels_admin.channel(rule) == f"<#7>: {words}"


def test_a_list_of_bans_tells_of_each_by_whom_it_is():
    ban = Ban(user_id=2**62, until=1e10, reason="*" * 200, by=2**61, since=1e9)
    page = page_of("bans", "Bans", [panels_admin.banned(ban)] * 10, "0", empty="")
    text = "\n".join(item.content for item in page.walk_children() if isinstance(item, ui.TextDisplay))
    assert text.count(f"(by <@{2**61}>, <t:1000000000:R>)") == 10
    assert len(text) < 4000
