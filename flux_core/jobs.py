"""A job as data: frozen, serialisable, with named states and the transitions between them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any, Literal

from flux_core.generation import GenerationRequest
from flux_core.models import Mode


class JobState(StrEnum):
    """Where a job stands. Delivery to Discord is apart from it (``Job.delivered_at``)."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to the job any more."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # REFUSED from there where a moderator does not approve it.
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED, JobState.REFUSED}),
    # Back to the queue when its worker's lease ran out; FAILED from there after too many attempts.
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.REFUSED}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.REFUSED: frozenset(),
}


class Origin(StrEnum):
    """What started a job."""

    IMAGINE = "imagine"
    REROLL = "reroll"
    VARIATION = "variation"
    SHELL = "shell"


@dataclass(frozen=True, slots=True)
class Account:
    """A member as a community knows them: quota and turns are counted per account. Guild 0 is outside any guild."""

    guild_id: int
    user_id: int


SHELL_ACCOUNT = Account(guild_id=0, user_id=0)


class Lane(IntEnum):
    """Which jobs come first: a relaxed one is drawn when nothing waits that was paid for."""

    FAST = 0
    RELAXED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a member asks, and as who: what a community's rules look at."""

    channel_ids: tuple[int, ...] = ()
    """The channel; of a thread the thread first, then its channel."""
    role_ids: frozenset[int] = frozenset()
    age_restricted: bool = False


NOWHERE = Whereabouts()
"""The shell, and direct messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyTo:
    """Where the answer to a job belongs, and how long the short way there stays open."""

    application_id: int
    channel_id: int
    interaction_token: str
    """A secret: it lets anybody edit the answer until it expires. Never logged."""
    token_expires_at: float
    """Unix seconds; Discord gives 15 minutes."""
    message_id: int | None = None
    """The one message that lives through the job, once Discord has told its id."""
    upload_limit: int = 10 * 1024 * 1024
    """Bytes per file that the interaction allowed."""
    private: bool = False
    spoiler: bool = False

    def __repr__(self) -> str:
        return f"ReplyTo(channel_id={self.channel_id}, message_id={self.message_id}, private={self.private})"


VenueKind = Literal["any", "local", "hosted"]
"""Who may draw a job: everybody, our own cards alone, or hosted providers alone."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about how a job was drawn that its member may want to know."""

    code: str
    """``routed`` (facts: provider, why), ``passed_on`` (provider, code), ``partly_withheld`` (missing, reason,
    refunded: thousandths of a credit), ``from_words`` (provider) or ``other_mode`` (provider, mode, reason)."""
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One finished picture of a job, kept in the picture store."""

    position: int
    """0-based within the job."""
    key: str | None
    """Where the store has it; None once it was deleted."""
    width: int
    height: int
    seed: int
    content_type: str
    size: int
    """Bytes."""
    unsafe: float | None = None
    """How sure the output check was, 0 to 1, that it is not for everybody; None: it was not looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request on its way from a member's command to posted pictures. All times are unix seconds."""

    id: str
    account: Account
    request: GenerationRequest
    origin: Origin
    cost: int
    """Reserved at submit, in thousandths of a credit; 0 in the relaxed lane."""
    created_at: float
    state: JobState = JobState.QUEUED
    parent_id: str | None = None
    """The job whose button was pressed."""
    parent_position: int | None = None
    """Which of its pictures a variation starts from, 0-based."""
    reply_to: ReplyTo | None = None
    """None for jobs from the shell: nobody has to be told."""
    start_tag: float = 0.0
    finish_tag: float = 0.0
    attempts: int = 0
    worker_id: str | None = None
    lease_until: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    cancel_requested: bool = False
    steps_done: int = 0
    steps_total: int = 0
    preview_key: str | None = None
    provider: str | None = None
    provider_job_id: str | None = None
    error_code: str | None = None
    error_facts: dict[str, Any] | None = None
    delivered_at: float | None = None
    venue: VenueKind = "any"
    tried: tuple[str, ...] = ()
    """Providers that failed on it and are not asked again."""
    remarks: tuple[Remark, ...] = ()
    """In the order in which things happened."""
    lane: Lane = Lane.FAST
    price: int = 0
    """What it takes of the workers: its cost, also where nothing is charged."""
    held: str | None = None
    """"approval" while it waits for a moderator; it stays so where it ends without one."""
    age_restricted: bool = False
    """Whether it was asked for in an age-restricted channel."""
    notify: bool = False
    """Whether its member wants a direct message when the pictures are there."""
    microdollars: int | None = None
    """What a hosted provider charged, or was expected to, in millionths of a dollar; None when nobody was paid."""
    drawn_mode: Mode | None = None
    """The mode it was drawn in; None until it is, and for jobs of versions without modes."""
    unreadable: bool = False
    """Whether this version cannot read what was asked for: then ``request`` only stands in its place."""
    units: float | None = field(default=None, compare=False)
    """The work in a new job, as estimates reckon it; None: as its request says, or nobody has asked the database."""

    def evolve(self, **changes: Any) -> Job:
        """Return a copy with ``changes``; raises ValueError for a state that cannot follow this one."""
        state = changes.get("state", self.state)
        if state is not self.state and state not in TRANSITIONS[self.state]:
            raise ValueError(f"A {self.state} job cannot become {state}.")
        return replace(self, **changes)


_RANDOM_BITS, _STEP_BITS = 48, 32
_last_id = 0


def new_job_id() -> str:
    """Return 24 hexadecimal characters that fit Discord's 25-character nonce.

    They sort by time, to the millisecond between processes, and in the order of the calls within one: ids decide
    between jobs whose turn is the same.
    """
    global _last_id
    fresh = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    _last_id = fresh if fresh > _last_id else _last_id + 1 + secrets.randbits(_STEP_BITS)
    return f"{_last_id:024x}"
