"""When a vendor is left alone: after faults in a row for a while, without key or credit for longer.

Our own: breakers in libraries count calls. This one counts jobs, tells an outage from an account that the operator has
to look at, lets one job through as a probe, and says why in words.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBusy,
    ProviderClosed,
    ProviderFault,
    RequestRejected,
)

log = logging.getLogger(__name__)

FAULTS = 3
"""Jobs in a row that have to fail before the vendor is left alone."""
PAUSES = (15.0, 300.0)
"""Seconds of the first pause after faults, and of the longest; each is twice the one before."""
CLOSED_PAUSES = (600.0, 3600.0)
"""The same for a vendor that wants the operator to act."""


class Attempt:
    """One job's way past the breaker; exactly one of its methods is called in the end, the first call counts."""

    def __init__(self, breaker: Breaker, *, probe: bool) -> None:
        self.probe = probe
        self._breaker: Breaker | None = breaker

    def went_well(self) -> None:
        """The vendor works: it drew, or it refused for what the request shows."""
        if self._breaker is not None:
            self._breaker._went_well(self)
        self._breaker = None

    def failed(self, error: GenerationFailed) -> None:
        """The vendor failed; errors that say nothing of the vendor count as ``proved_nothing``."""
        if self._breaker is not None:
            self._breaker._failed(self, error)
        self._breaker = None

    def proved_nothing(self) -> None:
        """The job ended for a reason that says nothing of the vendor."""
        if self._breaker is not None:
            self._breaker._proved_nothing(self)
        self._breaker = None


class Breaker:
    """Stands before one vendor. Belongs to one event loop."""

    def __init__(
        self,
        title: str,
        *,
        advice: Callable[[str], str] = lambda reason: "",
        clock: Callable[[], float] = time.monotonic,
        faults: int = FAULTS,
        pauses: tuple[float, float] = PAUSES,
        closed_pauses: tuple[float, float] = CLOSED_PAUSES,
    ) -> None:
        """Stand before the vendor called ``title``; ``advice`` says what to do about ProviderClosed's reason."""
        self._title = title
        self._advice = advice
        self._clock = clock
        self._threshold = faults
        self._pauses = pauses
        self._closed_pauses = closed_pauses
        self._in_a_row = 0
        self._cause: GenerationFailed | None = None
        """Why the vendor is left alone; None while it is not."""
        self._until = 0.0
        self._pause = 0.0
        self._probe: Attempt | None = None
        self._judged = asyncio.Event()
        """Set when the probe has ended."""

    @property
    def closed(self) -> str | None:
        """Return why no job shall come; None while they may, and when it is time for a probe."""
        if self._cause is None or (self._probe is None and self._clock() >= self._until):
            return None
        return str(self._cause)

    async def admit(self) -> Attempt:
        """Let a job through; the first after a pause is the probe, and others wait for how that one ends.

        Raises ProviderClosed or ProviderBusy while the vendor is left alone.
        """
        while self._cause is not None:
            if self._probe is not None:
                await self._judged.wait()
            elif self._clock() < self._until:
                raise self._refusal(self._cause)
            else:
                self._judged = asyncio.Event()
                self._probe = Attempt(self, probe=True)
                log.info("%s is given one job to see whether it works again", self._title)
                return self._probe
        return Attempt(self, probe=False)

    def resumed(self) -> Attempt:
        """Let a job through that the vendor already has."""
        return Attempt(self, probe=False)

    def _refusal(self, cause: GenerationFailed) -> ProviderFault:
        if isinstance(cause, ProviderClosed):
            return ProviderClosed(cause.detail, **cause.facts)
        return ProviderBusy(f"{self._title} is left alone for a while: {cause}", provider=self._title)

    def _went_well(self, attempt: Attempt) -> None:
        if self._cause is None:
            self._in_a_row = 0
        elif attempt is self._probe:
            # Only a probe opens again: other jobs that end well may have been ordered before the trouble.
            log.info("%s works again", self._title)
            self._cause, self._in_a_row, self._pause = None, 0, 0.0
            self._end_probe()

    def _failed(self, attempt: Attempt, error: GenerationFailed) -> None:
        if not isinstance(error, OutcomeUnknown | ProviderFault) or isinstance(error, RequestRejected):
            self._proved_nothing(attempt)
            return
        self._in_a_row += 1
        probing = attempt is self._probe
        if isinstance(error, ProviderClosed):
            worse = not isinstance(self._cause, ProviderClosed)
            if worse or probing:
                self._leave_alone(error, self._closed_pauses, anew=worse)
        elif probing or (self._cause is None and self._in_a_row >= self._threshold):
            self._leave_alone(error, self._pauses, anew=not probing or isinstance(self._cause, ProviderClosed))
        if probing:
            self._end_probe()

    def _proved_nothing(self, attempt: Attempt) -> None:
        if attempt is self._probe:
            self._end_probe()

    def _leave_alone(self, error: GenerationFailed, pauses: tuple[float, float], *, anew: bool) -> None:
        first, longest = pauses
        self._pause = first if anew else min(longest, max(first, 2 * self._pause))
        self._until = self._clock() + self._pause
        self._cause = error
        if not anew:
            log.debug("%s still does not work, next look in %.0f s: %s", self._title, self._pause, error)
        elif isinstance(error, ProviderClosed):
            advice = self._advice(str(error.facts.get("reason", "")))
            log.error("%s is switched off: %s. %s", self._title, str(error).rstrip(". "), advice)
        else:
            log.warning("%s is left alone for %.0f s after faults in a row: %s", self._title, self._pause, error)

    def _end_probe(self) -> None:
        self._probe = None
        self._judged.set()
