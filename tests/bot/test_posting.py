"""Which way an answer takes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import discord
import pytest

from bot.delivery.posting import (
    DM_UPLOAD_LIMIT,
    SMALLEST_UPLOAD_LIMIT,
    Way,
    passing,
    progress_way,
    too_large,
    upload_limits,
    ways,
)
from bot.interactions.permissions import administers, missing_to_post, moderates, owners
from flux_core.jobs import JobState, ReplyTo
from tests.bot.test_cards import REPLY, job

LIVE, LATE = 100.0, 899.0


def reply(**changes: Any) -> ReplyTo:
    return replace(REPLY, **changes)


@pytest.mark.parametrize(
    ("now", "private", "expected"),
    [
        (LIVE, False, [Way.TOKEN, Way.CHANNEL, Way.EDIT, Way.DIRECT]),
        (LATE, False, [Way.CHANNEL, Way.EDIT, Way.DIRECT]),
        (LIVE, True, [Way.TOKEN, Way.DIRECT]),
        (LATE, True, [Way.DIRECT]),
    ],
)
def test_a_result_goes_the_best_way_that_is_open(now: float, private: bool, expected: list[Way]) -> None:
    assert ways(job(JobState.SUCCEEDED, reply_to=reply(private=private)), now) == expected


def test_a_forgotten_token_is_no_way() -> None:
    assert Way.TOKEN not in ways(job(JobState.SUCCEEDED, reply_to=reply(interaction_token="")), LIVE)


def test_a_cancelled_job_is_never_posted_anew() -> None:
    assert ways(job(JobState.CANCELLED), LATE) == [Way.EDIT]
    assert ways(job(JobState.CANCELLED, reply_to=reply(private=True)), LATE) == []


def test_a_message_that_was_never_known_is_not_edited() -> None:
    assert ways(job(JobState.SUCCEEDED, reply_to=reply(message_id=None)), LATE) == [Way.CHANNEL, Way.DIRECT]


def test_a_job_from_the_shell_has_nobody_to_tell() -> None:
    assert ways(job(JobState.SUCCEEDED, reply_to=None), LIVE) == []
    assert progress_way(job(JobState.RUNNING, reply_to=None), LIVE) is None


def test_progress_is_told_as_long_as_the_message_can_change() -> None:
    assert progress_way(job(JobState.RUNNING), LIVE) is Way.TOKEN
    assert progress_way(job(JobState.RUNNING), LATE) is Way.EDIT
    assert progress_way(job(JobState.RUNNING, reply_to=reply(private=True)), LATE) is None


def http_error(status: int, code: int = 0) -> discord.HTTPException:
    response = cast(Any, SimpleNamespace(status=status, reason="", headers={}))
    return discord.HTTPException(response, {"code": code, "message": ""})


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503])
def test_faults_of_discord_pass(status: int) -> None:
    """401 without a code says that the bot's own token is no good; an interaction's end comes with one."""
    assert passing(http_error(status))


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, 10008), (404, 10003), (403, 50001), (403, 50013), (403, 50007), (401, 50027), (400, 50035)],
)
def test_refusals_of_discord_do_not(status: int, code: int) -> None:
    assert not passing(http_error(status, code))


@pytest.mark.parametrize(
    ("status", "code", "large"), [(413, 40005, True), (413, 0, True), (400, 40005, True), (400, 50035, False)]
)
def test_what_is_too_large_is_known_by_its_status_or_its_code(status: int, code: int, large: bool) -> None:
    assert too_large(http_error(status, code)) is large


def test_uploads_are_tried_smaller_down_to_what_discord_takes_everywhere() -> None:
    boosted, plain = reply(upload_limit=100 * 1024 * 1024), reply(upload_limit=DM_UPLOAD_LIMIT)
    assert upload_limits(boosted, Way.TOKEN) == [100 * 1024 * 1024, DM_UPLOAD_LIMIT, SMALLEST_UPLOAD_LIMIT]
    assert upload_limits(boosted, Way.DIRECT) == [DM_UPLOAD_LIMIT, SMALLEST_UPLOAD_LIMIT]
    assert upload_limits(plain, Way.CHANNEL) == [DM_UPLOAD_LIMIT, SMALLEST_UPLOAD_LIMIT]
    assert upload_limits(reply(upload_limit=1000), Way.TOKEN) == [1000]


def test_the_network_comes_back() -> None:
    assert passing(TimeoutError())
    assert passing(aiohttp.ServerDisconnectedError())
    assert passing(ConnectionResetError())
    assert not passing(ValueError())


# Permissions


def test_what_is_missing_is_named_as_discord_names_it() -> None:
    none, every = discord.Permissions.none(), discord.Permissions.all()
    assert missing_to_post(every, private=False, in_thread=False) == []
    assert missing_to_post(discord.Permissions(administrator=True), private=False, in_thread=False) == []
    assert missing_to_post(none, private=False, in_thread=False) == [
        "View Channel",
        "Send Messages",
        "Attach Files",
        "Embed Links",
    ]
    assert "Send Messages in Threads" in missing_to_post(none, private=False, in_thread=True)
    assert missing_to_post(none, private=True, in_thread=False) == ["Attach Files"]


def test_who_keeps_order() -> None:
    assert moderates(discord.Permissions(manage_messages=True))
    assert moderates(discord.Permissions(administrator=True))
    assert not moderates(discord.Permissions(manage_guild=True))
    assert administers(discord.Permissions(manage_guild=True))
    assert not administers(discord.Permissions(manage_messages=True))


def test_the_owners_are_the_application_s_and_the_operator_s() -> None:
    accepted, invited = discord.TeamMembershipState.accepted, discord.TeamMembershipState.invited
    alone = cast(Any, SimpleNamespace(team=None, owner=SimpleNamespace(id=1)))
    members = [SimpleNamespace(id=2, membership_state=accepted), SimpleNamespace(id=3, membership_state=invited)]
    team = cast(Any, SimpleNamespace(team=SimpleNamespace(members=members), owner=SimpleNamespace(id=9)))
    assert owners(None, [7]) == {7}
    assert owners(alone, [7]) == {1, 7}
    assert owners(team, []) == {2}
