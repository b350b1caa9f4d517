"""What goes wrong at a vendor, as one of a small set of errors. Statuses as in RFC 9110; vendors' own words apart."""

from __future__ import annotations

from flux_core.errors import (
    GenerationFailed,
    OutcomeUnknown,
    ProviderBroken,
    ProviderBusy,
    ProviderClosed,
    ProviderDown,
    ProviderFault,
    RequestRejected,
)

UNCLEAR = frozenset({408, 499, 502, 504, 520, 521, 522, 523, 524})
"""Statuses that something between us and the vendor may have made: what became of the request is not known."""


def closed(provider: str, reason: str, detail: str = "") -> ProviderClosed:
    """Return the error for a ``reason`` ("key", "credit" or "address") that keeps a provider from serving us."""
    advice = {
        "key": "does not accept the key; check it",
        "credit": "says that the account has no credit left; top it up",
        "address": "does not answer as this vendor does; check its base URL",
    }[reason]
    return ProviderClosed(f"{provider} {advice}. {detail}".strip(), provider=provider, reason=reason)


def missing(provider: str, detail: str, *, submitting: bool) -> ProviderFault:
    """Return what a 404 in the vendor's own words means: its address is right, and what was asked for is not there.

    ``submitting``: that is the model. Otherwise it is the task, or a file; for a task, ``is_missing`` asks again.
    """
    if submitting:
        advice = "does not know what was ordered; check how it calls the model"
        return RequestRejected(f"{provider} {advice}: {detail}", provider=provider)
    return ProviderBroken(f"{provider} does not know what was asked for: {detail}", provider=provider, missing=True)


def is_missing(error: Exception) -> bool:
    """Say whether ``error`` tells of a task that is not there; its servers may be a moment behind each other."""
    return isinstance(error, ProviderBroken) and error.facts.get("missing") is True


def by_status(provider: str, status: int, detail: str, *, submitting: bool) -> GenerationFailed:
    """Return what a status means when the vendor's words say nothing more.

    ``submitting``: whether the request was one that costs money. Then an unclear status is an unknown outcome.
    """
    line = f"{provider} answered {status}: {detail}" if detail else f"{provider} answered {status}"
    if status in (401, 403):
        return closed(provider, "key", detail)
    if status == 402:
        return closed(provider, "credit", detail)
    if status in (404, 405, 410) or 300 <= status < 400:
        return closed(provider, "address", detail)
    if status == 429 or status == 503:
        return ProviderBusy(line, provider=provider)
    if status in UNCLEAR:
        return OutcomeUnknown(line) if submitting else ProviderDown(line, provider=provider)
    if status >= 500:
        return ProviderDown(line, provider=provider)
    if status >= 400:
        return RequestRejected(line, provider=provider)
    return ProviderBroken(line, provider=provider)
