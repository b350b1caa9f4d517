"""Shapes that many vendors took over from OpenAI, FastAPI or NestJS: pictures in a list, and how an error is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flux_core.errors import GenerationFailed, Refused, RequestRejected
from flux_core.providers.hosted import faults
from flux_core.providers.hosted.transport import Answer
from flux_core.providers.hosted.vendor import CENSORED, Found, text_of

# OpenAI's codes as its users see them; no document at hand lists them (not confirmed).
MODERATION_CODES = frozenset({"moderation_blocked", "content_policy_violation", "content_filter"})
CREDIT_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "insufficient_credits"})
MODERATED = re.compile(
    r"\bnsfw\b|moderat|content.?polic|content.?filter|safety.?(system|filter)|rejected by the safety|flagged|"
    r"inappropriate|explicit content",
    re.IGNORECASE,
)
NO_CREDIT = re.compile(r"credit|balance|billing|quota|payment|top.?up|spending limit|insufficient fund", re.IGNORECASE)
NO_MODEL = re.compile(
    r"(unknown|no such|unsupported|unable to access|(could|can)( ?not|n't) (load|find)).{0,40}\bmodel\b|"
    r"\bmodel\b.{0,120}(not (found|exist|available|supported|served)|n't exist|unavailable|deprecated)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error's body says."""

    text: str
    """One short line; empty where nothing was said."""
    codes: frozenset[str]
    """Its code and its type, where it has them."""
    field: str | None = None
    """The field of the request that it is about."""


def complaint(answer: Answer) -> Complaint:
    """Read the body of an answer that is no success.

    Known are {"error": {"message", "type", "param", "code"}}, "error" or "detail" or "message" as plain text, FastAPI's
    {"detail": [{"loc", "msg"}]}, NestJS's list of messages, and "error" or "message" inside of "detail".
    """
    body = answer.json
    if not isinstance(body, dict):
        return Complaint("", frozenset())
    told = next((body[name] for name in ("error", "detail", "message") if body.get(name)), "")
    if not isinstance(told, dict | list) and isinstance(body.get("message"), str) and body["message"]:
        told = body["message"]  # NestJS: "error" is the status in words, "message" the reason
    if isinstance(told, list):
        fields = [_place(item) for item in told if isinstance(item, dict)]
        return Complaint(text_of("; ".join(map(_sentence, told))), frozenset(), next(iter(filter(None, fields)), None))
    if not isinstance(told, dict):
        return Complaint(text_of(told), _codes(body))
    message = told.get("message") or told.get("error") or told.get("msg") or ""
    if isinstance(message, list):
        message = "; ".join(map(str, message))
    param = told.get("param")
    return Complaint(text_of(message), _codes(told), param if isinstance(param, str) and param else None)


def fault_of(title: str, answer: Answer, said: Complaint) -> GenerationFailed | None:
    """Return what the words of an error mean at any of these vendors; None where the status alone decides.

    ``title`` is the vendor's. Statuses that may pass by themselves are left to the status.
    """
    status = answer.status
    if not said.text and not said.codes:
        return None
    line = f"{title} answered {status}: {said.text}"
    if said.codes & MODERATION_CODES or (status in (400, 403, 422) and MODERATED.search(said.text)):
        return Refused(line, reason=CENSORED)
    if said.codes & CREDIT_CODES or (status in (402, 403) and NO_CREDIT.search(said.text)):
        return faults.closed(title, "credit", said.text)
    if status in (400, 404, 422) and NO_MODEL.search(said.text):
        return RequestRejected(line, provider=title)
    if 400 <= status < 500 and status != 429 and status not in faults.UNCLEAR:
        return faults.by_status(title, status, said.text, submitting=answer.paid)
    return None


def listed(body: Any, name: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list ``name`` of a body; none where there is no such list."""
    items = body.get(name) if isinstance(body, dict) else None
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def picture(item: Mapping[str, Any], seed: int | None = None) -> Found | None:
    """Return the picture in {"b64_json": …} or {"url": …}, whichever is given; None where neither is."""
    if isinstance(data := item.get("b64_json"), str) and data:
        return Found(url=in_line(data), seed=seed)
    if isinstance(url := item.get("url"), str) and url:
        return Found(url=url, seed=seed)
    return None


def in_line(data: str) -> str:
    """Return base64 of a picture as a data URI; one that is a URI already stays as it is."""
    return data if data.startswith("data:") else f"data:image/png;base64,{data}"


def whole(value: Any) -> int | None:
    """Return ``value`` where it is a whole number, also one written as text."""
    if isinstance(value, bool):
        return None
    return int(value) if str(value).isdecimal() else None


def _codes(told: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(value.lower() for value in (told.get("code"), told.get("type")) if isinstance(value, str))


def _sentence(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    place = _place(item)
    return f"{place}: {item.get('msg', '')}" if place else str(item.get("msg") or item.get("message") or "")


def _place(item: Mapping[str, Any]) -> str | None:
    loc = item.get("loc")
    return ".".join(str(part) for part in loc if part != "body") or None if isinstance(loc, list) else None
