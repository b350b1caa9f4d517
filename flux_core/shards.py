"""Shards: Discord spreads a bot's servers over them, and each process of the bot keeps some. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from flux_core.errors import ConfigurationError

AUTO = "auto"
_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?")
_ORDINAL = re.compile(r"-(\d{1,6})$")


def shard_of(guild_id: int, count: int) -> int:
    """Return the shard of ``count`` that hears of a guild; 0, that of direct messages, for no guild (0).

    The formula is Discord's: https://discord.com/developers/docs/events/gateway#sharding
    """
    return (guild_id >> 22) % count


def parse(text: str) -> frozenset[int]:
    """Read numbers and ranges, such as ``0-3,8``; raises ValueError with a sentence."""
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is no shard and no range of shards such as 0-3")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ValueError(f"the range {part.strip()} goes backwards")
        found |= set(range(first, last + 1))
    return frozenset(found)


def shown(ids: Iterable[int]) -> str:
    """Return shards as ``parse`` reads them: 0-3, 8."""
    runs: list[list[int]] = []
    for id in sorted(ids):
        if runs and id == runs[-1][-1] + 1:
            runs[-1].append(id)
        else:
            runs.append([id])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def kept(shards: str, count: int, *, per_bot: int, host: str) -> tuple[int, ...] | None:
    """Return the shards that the settings give to the process on ``host``, in order; None: all that there are.

    With ``auto`` the number at the end of the host's name counts: bot-2 keeps the third ``per_bot`` of ``count``.
    Raises ConfigurationError where the settings leave nothing, or what does not exist.
    """
    if not shards:
        return None
    if not count:
        raise ConfigurationError(
            "SHARDS needs SHARD_COUNT, the same in every process of the bot. `flux-bot doctor` says how many shards "
            "Discord recommends."
        )
    if shards == AUTO:
        return _by_number(count, per_bot, host)
    ids = parse(shards)
    beyond = [id for id in ids if id >= count]
    if beyond:
        raise ConfigurationError(
            f"SHARDS has to stay below SHARD_COUNT: shards are counted from 0 to {count - 1}, and {shown(beyond)} is "
            "not among them."
        )
    return tuple(sorted(ids))


def _by_number(count: int, per_bot: int, host: str) -> tuple[int, ...]:
    match = _ORDINAL.search(host)
    if match is None:
        raise ConfigurationError(
            f"SHARDS=auto needs a host's name that ends with a number, such as bot-0, as the pods of a StatefulSet "
            f"have; this one is called {host}. Say SHARDS=0-3 instead."
        )
    number = int(match[1])
    ids = tuple(range(number * per_bot, min(count, (number + 1) * per_bot)))
    if not ids:
        needed = -(-count // per_bot)
        raise ConfigurationError(
            f"There are no shards left for {host}: SHARD_COUNT={count} and SHARDS_PER_BOT={per_bot} make {needed} "
            f"{'process' if needed == 1 else 'processes'}, counted from 0."
        )
    return ids


def missing(count: int, kept_ids: Iterable[Collection[int]]) -> list[int]:
    """Return the shards of ``count`` that nobody keeps, in order."""
    found = {id for ids in kept_ids for id in ids}
    return [id for id in range(count) if id not in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """A process of the bot, and the shards that it keeps."""

    id: str
    application_id: int
    host: str
    pid: int
    shards: tuple[int, ...]
    count: int
    started_at: float
    """Unix seconds."""
    seen_at: float
    """When it last gave a sign of life."""

    def __str__(self) -> str:
        """Name it as an operator knows it."""
        return f"{self.host} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class Share:
    """The servers that a process of the bot looks after: those of its shards, and of such as nobody keeps."""

    count: int
    ids: frozenset[int]

    @property
    def whole(self) -> bool:
        """Tell whether that is all of them."""
        return len(self.ids) >= self.count

    def includes(self, guild_id: int) -> bool:
        """Tell whether a guild is among them, or direct messages (0)."""
        return shard_of(guild_id, self.count) in self.ids


def share_of(me: Keeper, living: Sequence[Keeper]) -> Share:
    """Return what ``me`` looks after beside the others: the oldest of them stands in where nobody is."""
    crew = [me, *(one for one in living if one.id != me.id and one.count == me.count)]
    ids = set(me.shards)
    if min(crew, key=lambda one: (one.started_at, one.id)) is me:
        ids |= set(missing(me.count, [one.shards for one in crew]))
    return Share(me.count, frozenset(ids))


def mistakes(living: Sequence[Keeper]) -> list[str]:
    """Tell what is wrong between the living processes of one bot: sentences, none where all is well."""
    newest = max((one.started_at for one in living), default=0.0)
    # One that was killed, and that its successor has just followed, gives no sign of life any more.
    living = [one for one in living if one.seen_at >= newest]
    found: list[str] = []
    counts = sorted({one.count for one in living})
    if len(counts) > 1:
        said = "; ".join(f"{count} at {', '.join(str(k) for k in living if k.count == count)}" for count in counts)
        found.append(f"The bot's processes count their shards differently: {said}. Give all the same SHARD_COUNT.")
    for index, one in enumerate(living):
        for other in living[index + 1 :]:
            both = set(one.shards) & set(other.shards)
            if both and one.count == other.count:
                found.append(
                    f"Shard {shown(both)} is kept twice, by {one} and by {other}, so members are answered twice. "
                    "End one, or give each SHARDS of its own."
                )
    return found
