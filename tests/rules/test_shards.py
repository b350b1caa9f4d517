"""Who keeps which shards, and who looks after which servers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_core.errors import ConfigurationError
from flux_core.settings import Settings, load_settings
from flux_core.shards import Keeper, kept, missing, mistakes, parse, shard_of, share_of, shown

GUILDS = st.integers(0, 2**63 - 1)


def a_keeper(id: str, *shards: int, count: int = 4, started: float = 0.0, seen: float = 100.0) -> Keeper:
    return Keeper(
        id=id, application_id=1, host=id, pid=1, shards=shards, count=count, started_at=started, seen_at=seen
    )  # fmt: skip


def test_a_guild_is_on_the_shard_that_discord_says():
    # A snowflake is made of the milliseconds since 2015 and 22 more bits: those of its process and a count.
    assert shard_of((1_000_003 << 22) + 12_345, 16) == 1_000_003 % 16 == 3
    assert shard_of(0, 7) == 0


@given(st.frozensets(st.integers(0, 40), min_size=1))
def test_shards_are_shown_as_they_are_read(ids):
    assert parse(shown(ids)) == ids


@pytest.mark.parametrize("wrong", ["x", "1-", "3-1", "1,,2", "-1", "1.5", "0-1-2"])
def test_what_is_no_range_is_refused_with_a_sentence(wrong):
    with pytest.raises(ConfigurationError, match="SHARDS"):
        load_settings(shards=wrong, shard_count=9, _env_file=None)


@pytest.mark.parametrize(
    ("shards", "count", "per_bot", "host", "expected"),
    [
        ("", 0, 1, "anywhere", None),
        ("", 8, 1, "anywhere", None),
        ("0-2, 5", 8, 1, "anywhere", (0, 1, 2, 5)),
        ("AUTO", 8, 3, "bot-0", (0, 1, 2)),
        ("auto", 8, 3, "bot-2", (6, 7)),
        ("auto", 4, 1, "flux-bot-3", (3,)),
    ],
)
def test_settings_say_which_shards_a_process_keeps(shards, count, per_bot, host, expected):
    settings = Settings(shards=shards, shard_count=count, shards_per_bot=per_bot, _env_file=None)
    assert settings.kept_shards(host) == expected


@pytest.mark.parametrize(
    ("shards", "count", "host", "says"),
    [
        ("0", 0, "bot-0", "SHARD_COUNT"),
        ("auto", 0, "bot-0", "SHARD_COUNT"),
        ("2-9", 4, "bot-0", "4-9"),
        ("auto", 4, "laptop", "laptop"),
        ("auto", 4, "bot-2", "2 processes"),
    ],
)
def test_settings_that_leave_no_shard_are_explained(shards, count, host, says):
    with pytest.raises(ConfigurationError, match=says):
        kept(shards, count, per_bot=2, host=host)


@given(GUILDS, st.integers(1, 6), st.lists(st.frozensets(st.integers(0, 5), min_size=1), min_size=1, max_size=5))
def test_some_process_looks_after_every_guild_and_one_alone_where_shards_are_kept_once(guild, count, ranges):
    ranges = [tuple(sorted(id for id in ids if id < count)) for ids in ranges]
    crew = [a_keeper(f"bot-{n}", *ids, count=count, started=n) for n, ids in enumerate(ranges)]
    looking = [one for one in crew if share_of(one, crew).includes(guild)]
    assert looking
    if sum(map(len, ranges)) == len({id for ids in ranges for id in ids}):
        assert len(looking) == 1


def test_the_oldest_stands_in_for_those_that_are_gone():
    old, young = a_keeper("old", 1, started=1), a_keeper("young", 2, started=2)
    assert share_of(old, [old, young]).ids == {0, 1, 3}
    assert share_of(young, [old, young]).ids == {2}
    assert share_of(young, [young]).whole
    assert missing(4, [old.shards, young.shards]) == [0, 3]


def test_nothing_is_said_where_each_shard_is_kept_once():
    assert mistakes([a_keeper("a", 0, 1), a_keeper("b", 2, 3)]) == []
    assert mistakes([]) == []


def test_a_shard_kept_twice_and_different_counts_are_told():
    [twice] = mistakes([a_keeper("a", 0, 1), a_keeper("b", 1, 2)])
    assert "Shard 1 is kept twice" in twice
    assert "a (process 1)" in twice
    [counts] = mistakes([a_keeper("a", 0), a_keeper("b", 0, count=2)])
    assert "SHARD_COUNT" in counts


def test_a_process_that_its_successor_followed_is_no_mistake():
    gone = a_keeper("a", 0, started=1, seen=9)
    assert mistakes([gone, a_keeper("b", 0, started=10)]) == []
    assert mistakes([replace(gone, seen_at=11.0), a_keeper("b", 0, started=10)]) != []
