"""What the engine needs to know of a vendor: its facts, and how to say and read a few things in its wire format."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar

from flux_core.errors import GenerationFailed
from flux_core.generation import GenerationRequest
from flux_core.offers import MICRO, Offer
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer, Transport

CENSORED = "the provider's safety filter held it back"
"""What a member reads where the vendor gives no reason; follows a colon."""


@dataclass(frozen=True, slots=True)
class Limits:
    """A vendor's published limits, where the operator sets no others."""

    concurrency: int
    """Pictures in the making at once."""
    per_minute: float
    """Submits a minute."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the operator reaches a vendor; what the settings of this vendor say."""

    base_url: str
    """Without a slash at the end."""
    key: str | None
    models: Mapping[str, str] = field(default_factory=dict)
    """Our model id → the vendor's name for it, over its own table."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Settings that only this vendor has, by their name in lower case."""

    def __repr__(self) -> str:
        return f"Access(base_url={self.base_url!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One submit: what one call to the vendor shall draw. Most vendors draw one picture a call, with its own seed."""

    request: GenerationRequest
    offer: Offer
    size: tuple[int, int]
    """Width and height that the vendor is asked for: the nearest of its sizes."""
    seeds: tuple[int, ...]
    """One for each picture of this call; one, unless ``Vendor.pictures_per_shot`` is more."""
    picture: bytes | None = None
    """PNG, RGB, already of ``size``: what to start from. None when drawn from words."""
    link: Callable[[], Awaitable[str]] | None = None
    """Returns a URL under which the vendor can fetch ``picture``; None where our store has none."""
    client_id: str
    """A new UUID, for vendors that let the client name its task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One picture in a vendor's answer: its bytes, or where they are, or why there are none."""

    data: bytes | None = None
    url: str | None = None
    """Absolute, http(s) or data:; downloaded at once, without our key."""
    seed: int | None = None
    """As the vendor tells it; None: the one asked for counts."""
    withheld: str | None = None
    """Why there is no picture, in plain words for the member."""
    flagged: bool = False
    """Whether the vendor says that the picture, which it gives all the same, is not for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A shot that ended."""

    found: Sequence[Found]
    """One for each picture asked for; those missing at the end count as withheld."""
    microdollars: int | None = None
    """What the vendor says it charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A shot that the vendor works on."""

    ticket: str | None = None
    """The vendor's id of it, or whatever ``poll`` needs, as text; given by ``submit``."""
    progress: float | None = None
    """0 to 1, where the vendor tells."""
    preview: bytes | None = None
    """An encoded picture of where it stands."""


Outcome = Done | Pending


class Vendor:
    """One vendor's wire format. Subclasses keep nothing but ``access``: the engine calls from many jobs at once.

    A method raises a GenerationFailed for whatever is no picture: Refused(reason=…) for moderation, a ProviderFault
    otherwise. ``Transport`` raises those of the network by itself.
    """

    name: ClassVar[str]
    """Lower case, as in ``PROVIDER_CHOICE`` and in the prefix of its settings (``EACHLABS_API_KEY``)."""
    title: ClassVar[str]
    base_url: ClassVar[str]
    """The vendor's public address; empty for a server of one's own, which the operator must name."""
    needs_key: ClassVar[bool] = True
    key_page: ClassVar[str] = ""
    """Where an operator gets a key."""
    extra_settings: ClassVar[Mapping[str, str]] = {}
    """Settings of this vendor alone: name in lower case → one sentence. The variable is PREFIX_NAME."""
    required_settings: ClassVar[tuple[str, ...]] = ()
    """Those of ``extra_settings`` without which it cannot be used."""
    limits: ClassVar[Limits]
    polled: ClassVar[bool]
    """Whether ``submit`` returns Pending and ``poll`` the rest; otherwise ``submit`` answers with the pictures."""
    trusted_hosts: ClassVar[tuple[str, ...]] = ()
    """Host patterns (``*.bfl.ai``), besides the base URL's own, that may see our key when a poll URL points there."""
    submit_seconds: ClassVar[float] = 60.0
    """Longest silence while a submit is answered; a vendor that draws meanwhile needs minutes."""
    poll_every: ClassVar[tuple[float, float]] = (0.5, 3.0)
    """Seconds between two polls: the first, and the longest it grows to."""
    pictures_per_shot: ClassVar[int] = 1
    """More than one only where the vendor draws picture i with seed + i, or takes a list of seeds."""
    names_tasks: ClassVar[bool] = False
    """Whether ``Shot.client_id`` becomes the task's id there, so that ``poll(client_id)`` finds an unclear one."""

    def __init__(self, access: Access) -> None:
        self.access = access

    @property
    def offers(self) -> Mapping[str, Offer]:
        """Return what it draws: our model id → offer, with ``access.models`` applied."""
        raise NotImplementedError

    def headers(self) -> dict[str, str]:
        """Return what authenticates a request. Sent to the base URL's host and to trusted hosts only."""
        return {} if self.access.key is None else {"Authorization": f"Bearer {self.access.key}"}

    async def submit(self, shot: Shot, transport: Transport) -> Outcome:
        """Order ``shot``. The one call that is paid for is made with ``transport.submit``, once."""
        raise NotImplementedError

    async def poll(self, ticket: str, transport: Transport) -> Outcome:
        """Look how the shot with ``ticket`` is doing. Repeatable.

        Raises LookupError when the vendor has no such task (with ``names_tasks``: surely has never heard of it), which
        is believed only when it is repeated; ``faults.missing`` of a 404 counts as well.
        """
        raise NotImplementedError

    async def cancel(self, ticket: str, transport: Transport) -> None:
        """Ask the vendor to stop a shot, where it can; by default nothing is done."""

    async def check(self, transport: Transport) -> str:
        """Make a free authenticated call and return one line about the account; raises ProviderFault.

        Raises NotImplementedError where the vendor has no such call.
        """
        raise NotImplementedError

    def fault(self, answer: Answer) -> GenerationFailed | None:
        """Return what an answer means that is no success (status 400 and more, or not JSON where JSON is due).

        None leaves it to the engine, which goes by the status alone (``faults.by_status``).
        """
        return None

    def closed(self, reason: str, detail: str) -> GenerationFailed:
        """Return the error for a key, credit or address that the operator has to look at."""
        return faults.closed(self.title, reason, detail)


def microdollars(dollars: Any) -> int | None:
    """Return what a vendor says that it charged, in millionths of a dollar; None where that is no amount.

    Nothing is free there: a cost of 0 stands where the vendor does not know it (yet).
    """
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 < dollars < inf:
        return None
    return round(dollars * MICRO)


def text_of(value: Any) -> str:
    """Return a vendor's message as one short line."""
    return " ".join(str(value).split())[:300]
