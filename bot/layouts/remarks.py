"""What a member is told about who drew a job, and how that went. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bot.words.phrasing import credits, escape, shorten, title_of
from flux_core.family import FAMILY
from flux_core.generation import GenerationRequest
from flux_core.jobs import Job, Origin, Remark
from flux_core.models import Mode, ModelSpec
from flux_core.offers import Offer
from flux_core.provider_settings import vendors

USUAL_SIZE = (1024, 1024)
"""Width and height of the picture whose price stands for all."""
LONGEST_REASON = 200
"""Characters of a reason, before it is escaped."""

_SPECS = {spec.id: spec for spec in FAMILY}
_WHY_PASSED_ON = {
    "provider_busy": "had too much to do",
    "provider_down": "did not answer",
    "provider_broken": "sent no picture that could be used",
    "provider_closed": "takes no jobs at the moment",
    "request_rejected": "did not take this request",
}


def is_hosted(provider: str | None) -> bool:
    """Tell whether somebody else draws there, whose steps are not ours to count."""
    return provider is not None and provider in vendors()


def drawn_by(job: Job) -> str | None:
    """Return a few words about the hosted provider that draws or drew ``job``; None for our own machines."""
    if job.provider is None or not is_hosted(job.provider):
        return None
    return f"drawn by {title_of(job.provider)}"


def notes(job: Job, *, quote: Callable[[str], str] = escape) -> list[str]:
    """Return the sentences that belong under finished pictures; ``quote`` makes foreign text fit what they stand in."""
    told = []
    if _started_anew(job):
        told.append(_anew(quote(_model_title(job))))
    for remark in job.remarks:
        if remark.code == "from_words":
            told.append(_anew(quote(_title(remark.facts))))
        elif remark.code == "partly_withheld":
            told.append(_withheld(job, remark.facts, quote))
        elif remark.code == "other_mode":
            told.append(_other_mode(remark.facts, quote))
    return told


def as_drawn(job: Job) -> GenerationRequest:
    """Return the request without its strength where no picture was started from after all."""
    aside = any(remark.code == "from_words" for remark in job.remarks)
    return job.request.model_copy(update={"strength": None}) if aside else job.request


def history(job: Job) -> Iterator[tuple[str, str]]:
    """Yield rows for Details, in markdown: who draws or drew it and why, and who did not."""
    routed = [remark.facts for remark in job.remarks if remark.code == "routed"]
    if job.provider is not None and (is_hosted(job.provider) or routed):
        whys = [str(facts["why"]) for facts in routed if facts.get("provider") == job.provider and facts.get("why")]
        why = f" ({escape(shorten(whys[-1], LONGEST_REASON))})" if whys else ""
        yield "Drawn by", f"{escape(title_of(job.provider))}{why}"
    failed = Counter(_failure(remark) for remark in job.remarks if remark.code == "passed_on")
    for what, times in failed.items():
        yield "Passed on", what if times == 1 else f"{what} ({times} times)"


def setback(job: Job) -> str | None:
    """Return a sentence for a job that waits because the provider that had it could not draw it; None for others."""
    failed = [remark for remark in job.remarks if remark.code == "passed_on"]
    return f"{_failure(failed[-1])}. This is tried again, or drawn by somebody else." if failed else None


def _failure(remark: Remark) -> str:
    reason = _WHY_PASSED_ON.get(str(remark.facts.get("code")), "could not draw it")
    return f"{escape(_title(remark.facts))} {reason}"


def has_steps(model: str) -> bool:
    """Tell whether a model's steps are for anybody but its host to choose."""
    spec = _SPECS.get(model)
    return spec is None or spec.steps.low < spec.steps.high


def usual_price(offer: Offer, spec: ModelSpec) -> int:
    """Return what a picture of one megapixel in the usual steps costs, in millionths of a dollar."""
    if offer.price is None:
        return 0
    width, height = offer.sizes.nearest(*USUAL_SIZE) or USUAL_SIZE
    return offer.price.of(width, height, int(spec.steps.default))


def is_spent(offers: Mapping[str, Offer], left: int) -> bool:
    """Tell whether ``left`` millionths of a dollar pay no usual picture of any model."""
    prices = [usual_price(offer, _SPECS[model]) for model, offer in offers.items() if model in _SPECS]
    return bool(prices) and left < min(prices)


def _withheld(job: Job, facts: Mapping[str, Any], quote: Callable[[str], str]) -> str:
    missing = int(facts.get("missing", 1))
    reason = " ".join(str(facts.get("reason") or "").split()).rstrip(".")
    why = f": {quote(shorten(reason, LONGEST_REASON))}" if reason else ""
    back = int(facts.get("refunded", 0))
    refund = f" {credits(back)} went back." if back > 0 else ""
    return f"{missing} of {job.request.count} {'was' if missing == 1 else 'were'} held back{why}.{refund}"


def mode_of(job: Job) -> Mode:
    """Return the mode that a job was drawn in, or, before it is, the one that was asked for."""
    return job.request.mode if job.drawn_mode is None else job.drawn_mode


def _other_mode(facts: Mapping[str, Any], quote: Callable[[str], str]) -> str:
    reason = " ".join(str(facts.get("reason") or "").split()).rstrip(".")
    if not reason:
        reason = f"{title_of(str(facts.get('provider')))} has no other mode"
    return f"Drawn in {facts.get('mode', Mode.QUALITY)}: {quote(shorten(reason, LONGEST_REASON))}."


def _started_anew(job: Job) -> bool:
    """Whether a variation had to leave its picture aside, because no version of the model starts from one."""
    spec = _SPECS.get(job.request.model)
    return (
        job.origin is Origin.VARIATION
        and job.request.input_picture is None
        and spec is not None
        and not spec.starts_from_pictures
    )


def _anew(title: str) -> str:
    return f"{title} draws from words only, so this starts anew: same words, new seed."


def _model_title(job: Job) -> str:
    spec = _SPECS.get(job.request.model)
    return job.request.model if spec is None else spec.title


def _title(facts: Mapping[str, Any]) -> str:
    name = title_of(str(facts.get("provider") or "A provider"))
    return name[0].upper() + name[1:]
