"""What a community has decided: one document per guild, written by its moderators, read with every job.

Whatever it leaves out (None, or empty) is as the operator has set it for all. Amounts are credits and dollars, as
people say them; Discord's ids are text in its JSON, because many readers of JSON round numbers of that size.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from flux_core.models import CREDIT
from flux_core.moderation.patterns import check
from flux_core.router import RoutingPolicy

MOST_CREDITS = 1_000_000.0
"""Credits in one amount: sums of many stay exact, and a slip of the finger stays repairable."""
MOST_DOLLARS = 1_000_000.0
MOST_MODELS = 100
"""In one list of models."""
MOST_TIERS = 50
MOST_CHANNELS = 500
"""Discord allows that many channels in a server."""
MOST_RULES = 500
"""Prompt rules of one guild: all of them are tried on every prompt."""

Snowflake = Annotated[int, Field(ge=1, lt=2**63), PlainSerializer(str, return_type=str, when_used="json")]
Credits = Annotated[float, Field(ge=0, le=MOST_CREDITS, allow_inf_nan=False)]
Dollars = Annotated[float, Field(ge=0, le=MOST_DOLLARS, allow_inf_nan=False)]
ModelIds = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=60)], ...], Field(max_length=MOST_MODELS)]


class Part(BaseModel):
    """A frozen part of the document; what it does not know is an error, not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Renewal(Part):
    """When an allowance is new again."""

    every: Literal["day", "week", "month", "rolling"] = "day"
    """At a stated local time of the day, on Mondays, or on the first of the month; or never at once: ``rolling`` gives
    back every job's cost ``hours`` after it was asked for."""
    at: str = Field(default="00:00", pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    """Local time, not for ``rolling``."""
    zone: str | None = Field(default=None, max_length=60)
    """IANA time zone; None: the operator's."""
    hours: int = Field(default=24, ge=1, le=31 * 24)
    """The window of ``rolling``."""

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (KeyError, ValueError, OSError) as error:
                raise ValueError("this is no IANA time zone such as Europe/Berlin") from error
        return value


class Limits(Part):
    """What somebody may do. None: not said here, so the next wider circle decides."""

    credits: Credits | None = None
    """Each ``renewal``."""
    renewal: Renewal | None = None
    """Goes with ``credits``: whoever says those says when they are new again."""
    weight: float | None = Field(default=None, ge=0.01, le=100, allow_inf_nan=False)
    """Share of the workers, against 1 for everybody else."""
    max_waiting: int | None = Field(default=None, ge=1, le=1000)
    max_running: int | None = Field(default=None, ge=1, le=1000)
    """Jobs drawn at the same time."""
    max_megapixels: float | None = Field(default=None, gt=0, le=64, allow_inf_nan=False)
    """Of one picture as it is drawn, before a model's enlargement; 1 is 1024 × 1024."""
    max_count: int | None = Field(default=None, ge=1, le=10)
    """Pictures of one job."""
    models: ModelIds | None = None
    """The only ones; None: every one that the server allows."""


class Tier(Limits):
    """What a role gives beyond what everybody has. Of several tiers, a member has the best of each."""

    role_id: Snowflake
    name: str = Field(min_length=1, max_length=100)
    """As members read it: the role's name when the tier was made."""


class Defaults(Part):
    """Options taken where a member names none."""

    model: str | None = Field(default=None, max_length=60)
    aspect: str | None = Field(default=None, max_length=10)
    count: int | None = Field(default=None, ge=1, le=10)
    steps: int | None = Field(default=None, ge=1, le=200)
    output_format: str | None = Field(default=None, max_length=10)
    spoiler: bool | None = None
    private: bool | None = None


class ChannelRule(Part):
    """What holds in one channel, and in its threads."""

    channel_id: Snowflake
    allowed: bool | None = None
    """False: nothing is drawn here. As soon as any channel says True, only those that do are left."""
    defaults: Defaults = Defaults()


class PromptRule(Part):
    """Words that a community does not want, or wants looked at."""

    kind: Literal["word", "phrase", "regex"]
    """A whole word; words in a row, anywhere; a regular expression in RE2's syntax."""
    pattern: str = Field(min_length=1, max_length=300)
    action: Literal["refuse", "spoiler", "approve"] = "refuse"
    """Refuse the job, hide its pictures until clicked, or have moderators look first."""
    everywhere: bool = True
    """False: not in age-restricted channels."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        check(self.kind, self.pattern)
        return self


class OutputRule(Part):
    """What happens to pictures that the output check, or the provider itself, thinks are not for everybody."""

    action: Literal["allow", "spoiler", "age_restricted", "refuse"] = "age_restricted"
    """Nothing; hidden until clicked; refused outside of age-restricted channels; refused."""
    threshold: float = Field(default=0.8, gt=0, le=1, allow_inf_nan=False)
    """How sure the check has to be."""


class GuildPolicy(Part):
    """Everything a community has decided."""

    everybody: Limits = Limits()
    tiers: tuple[Tier, ...] = Field(default=(), max_length=MOST_TIERS)
    pool: Credits | None = None
    """Credits that all members together may spend of their allowances, each renewal of ``everybody``."""
    dollars_a_day: Dollars | None = None
    """Most that hosted providers may get for this server a day, in the operator's zone."""
    cooldown_seconds: float = Field(default=0, ge=0, le=86_400, allow_inf_nan=False)
    """Between two orders of one member."""
    relaxed: bool = False
    """Whether members without credits left may still draw, on our own cards, when nobody with credits is waiting."""
    channels: tuple[ChannelRule, ...] = Field(default=(), max_length=MOST_CHANNELS)
    models_denied: ModelIds = ()
    routing: RoutingPolicy | None = None
    """Who draws; None: as the operator prefers."""
    prompt_rules: tuple[PromptRule, ...] = Field(default=(), max_length=MOST_RULES)
    moderators_channel: Snowflake | None = None
    """Where approvals and reports go."""
    output: OutputRule = OutputRule()
    tell_prompt: bool = True
    """False: picture files do not tell their prompt."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for what, ids in (
            ("tier", [tier.role_id for tier in self.tiers]),
            ("channel", [rule.channel_id for rule in self.channels]),
        ):
            if len(set(ids)) < len(ids):
                raise ValueError(f"there are two rules for the same {what}")
        if self.moderators_channel is None and any(rule.action == "approve" for rule in self.prompt_rules):
            raise ValueError("a prompt rule asks for approval, so moderators_channel has to be set")
        return self

    def rule_for(self, channel_ids: tuple[int, ...]) -> ChannelRule | None:
        """Return the rule of the first of ``channel_ids`` that has one: a thread first, then its channel."""
        rules = {rule.channel_id: rule for rule in self.channels}
        return next((rules[id] for id in channel_ids if id in rules), None)

    def draws_in(self, channel_ids: tuple[int, ...]) -> bool:
        """Say whether pictures may be drawn in a channel, or in a thread (whose channel comes behind it)."""
        said = next(
            (rule.allowed for id in channel_ids if (rule := self.rule_for((id,))) and rule.allowed is not None), None
        )
        if said is not None:
            return said
        return not any(rule.allowed for rule in self.channels)


NOTHING_DECIDED = GuildPolicy()
"""A community that has not said anything."""


def millicredits(credits: float) -> int:
    """Return an amount of credits in the thousandths that the ledger counts."""
    return round(credits * CREDIT)
