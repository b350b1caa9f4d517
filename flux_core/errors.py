"""Every error the studio raises, as one tree.

::

    FluxError
    ├── MemberError                what a member can put right; nothing was changed or charged
    │   ├── InvalidRequest
    │   │   ├── PromptMissing, PromptTooLong
    │   │   ├── NotANumber, OutOfRange
    │   │   ├── UnknownModel, UnknownAspect, UnknownFormat, UnknownMode, UnknownFlag
    │   │   ├── InvalidSize, SizeContradiction
    │   │   └── OperationUnavailable, StrengthWithoutPicture, MaskWithoutPicture, MaskShowsNothing,
    │   │   │   MaskOfAnotherShape
    │   │   └── UnknownLora, LoraNotForModel
    │   ├── InvalidPicture
    │   │   ├── PictureEmpty, PictureTooHeavy, PictureTooLarge, PictureUnreadable, PictureUnsupported
    │   │   └── PictureNotFetched
    │   ├── QuotaSpent, PoolSpent, TooManyWaiting, TooSoon, QueuePaused
    │   ├── Banned, ChannelClosed, ModelDenied, BeyondLimit, PromptForbidden, RulesUnreadable
    │   ├── UnknownProvider, NobodyDraws
    │   ├── NotAllowed, JobNotFound, JobAlreadyEnded, JobUnreadable, PictureGone, TooManyReports
    │   └── InvalidPolicy, NotThere, AlreadySo, AlreadyDecided, Expired
    ├── GenerationFailed           a job ended without pictures and was refunded
    │   ├── Refused, OutcomeUnknown, InputGone, OrderUnreadable
    │   │   └── Rejected, OutputRefused, ApprovalExpired     (under Refused)
    │   ├── ModelUnavailable, LoraUnusable, OutOfMemory, DrawingBroken, TimedOut, WorkerLost
    │   └── ProviderFault          a hosted provider did not draw; another may
    │       └── ProviderBusy, ProviderDown, ProviderBroken, ProviderClosed, RequestRejected
    ├── Cancelled                  the member stopped the job
    ├── LeaseLost                  this worker no longer owns the job it works on
    ├── StorageUnavailable         database or picture store does not answer
    └── ConfigurationError         the operator has something to put right

An error carries a stable ``code`` (kept on failed jobs) and the ``facts`` that a sentence about it needs. The sentence
itself is written in one place for members (``bot/words/wording.py``); ``str(error)`` is the operator's line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class FluxError(Exception):
    """Base of every error the studio raises on purpose."""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str = "", /, **facts: Any) -> None:
        self.detail = detail
        self.facts = facts
        super().__init__(detail)

    def __str__(self) -> str:
        """Return the operator's line: the detail, or the code and its facts."""
        if self.detail:
            return self.detail
        known = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.code} ({known})" if known else self.code


class MemberError(FluxError):
    """Say that a member asked for something that cannot be done; nothing was changed or charged."""

    code = "not_possible"


class InvalidRequest(MemberError):
    """Refuse options that no model could draw."""

    code = "invalid_request"


class PromptMissing(InvalidRequest):
    """Refuse an empty prompt."""

    code = "prompt_missing"


class PromptTooLong(InvalidRequest):
    """Refuse a prompt over the limit. Facts: length, limit (characters)."""

    code = "prompt_too_long"


class NotANumber(InvalidRequest):
    """Refuse text where a number belongs. Facts: field, value."""

    code = "not_a_number"


class OutOfRange(InvalidRequest):
    """Refuse a number outside its bounds. Facts: field, value, low, high."""

    code = "out_of_range"


class UnknownModel(InvalidRequest):
    """Refuse a model this studio does not offer. Facts: value, known (list of ids)."""

    code = "unknown_model"


class UnknownAspect(InvalidRequest):
    """Refuse an aspect outside the list. Facts: value, known (list)."""

    code = "unknown_aspect"


class UnknownFormat(InvalidRequest):
    """Refuse an output format outside the list. Facts: value, known (list)."""

    code = "unknown_format"


class UnknownMode(InvalidRequest):
    """Refuse a mode that there is not. Facts: value, known (list)."""

    code = "unknown_mode"


class UnknownFlag(InvalidRequest):
    """Refuse a flag inside the prompt that means nothing. Facts: value, known (list)."""

    code = "unknown_flag"


class InvalidSize(InvalidRequest):
    """Refuse a size the model cannot draw.

    Facts: value, reason ("format", "multiple", "small", "large" or "fixed"), limit.
    """

    code = "invalid_size"


class SizeContradiction(InvalidRequest):
    """Refuse a size and an aspect that disagree. Facts: size, aspect."""

    code = "size_contradiction"


class OperationUnavailable(InvalidRequest):
    """Refuse an operation the model lacks. Facts: model, operation, does (list of those it has)."""

    code = "operation_unavailable"


class StrengthWithoutPicture(InvalidRequest):
    """Refuse a strength where there is no picture to start from."""

    code = "strength_without_picture"


class MaskWithoutPicture(InvalidRequest):
    """Refuse a mask where there is no picture that it could belong to."""

    code = "mask_without_picture"


class MaskShowsNothing(InvalidRequest):
    """Refuse a mask that is white nowhere: the picture would come back as it was."""

    code = "mask_shows_nothing"


class MaskOfAnotherShape(InvalidRequest):
    """Refuse a mask that is not as wide for its height as the picture. Facts: mask, picture ("640×480")."""

    code = "mask_of_another_shape"


class UnknownLora(InvalidRequest):
    """Refuse a LoRA that the operator has not listed. Facts: value, known (list of names)."""

    code = "unknown_lora"


class LoraNotForModel(InvalidRequest):
    """Refuse a LoRA that is for another model. Facts: lora, model, fits (the model it is for)."""

    code = "lora_not_for_model"


class InvalidPicture(MemberError):
    """Refuse an uploaded picture."""

    code = "invalid_picture"


class PictureEmpty(InvalidPicture):
    """Refuse a file without bytes."""

    code = "picture_empty"


class PictureTooHeavy(InvalidPicture):
    """Refuse a file over the byte limit. Facts: size, limit (bytes)."""

    code = "picture_too_heavy"


class PictureTooLarge(InvalidPicture):
    """Refuse a picture over the pixel limit. Facts: width, height, limit (pixels)."""

    code = "picture_too_large"


class PictureUnreadable(InvalidPicture):
    """Refuse a file that is broken off or damaged."""

    code = "picture_unreadable"


class PictureUnsupported(InvalidPicture):
    """Refuse a file that is no PNG, JPEG, WebP or GIF, whatever its name says."""

    code = "picture_unsupported"


class PictureNotFetched(InvalidPicture):
    """Refuse an upload that could not be fetched from where it was uploaded."""

    code = "picture_not_fetched"


class QuotaSpent(MemberError):
    """Refuse a job the member cannot pay. Facts: cost, left (thousandths of a credit), renews_at (unix seconds; None
    for a rolling allowance).
    """

    code = "quota_spent"


class TooManyWaiting(MemberError):
    """Refuse one more waiting job. Facts: waiting, limit."""

    code = "too_many_waiting"


class PoolSpent(MemberError):
    """Refuse a job that the server's pool cannot pay. Facts: cost, left (thousandths of a credit), renews_at (unix
    seconds; None for a rolling one).
    """

    code = "pool_spent"


class TooSoon(MemberError):
    """Refuse an order within the cooldown after the last one. Facts: until (unix seconds), seconds (the cooldown)."""

    code = "too_soon"


class QueuePaused(MemberError):
    """Refuse new jobs while the moderators hold the queue. Facts: reason, drains (what waits is still drawn)."""

    code = "queue_paused"


class Banned(MemberError):
    """Refuse a banned member. Facts: reason, until (unix seconds; None: until lifted)."""

    code = "banned"


class ChannelClosed(MemberError):
    """Refuse to draw in a channel. Facts: open (ids of channels that were allowed by name; may be empty)."""

    code = "channel_closed"


class ModelDenied(MemberError):
    """Refuse a model that the server, or the member's tier, does not have. Facts: model, known (ids they may use)."""

    code = "model_denied"


class BeyondLimit(MemberError):
    """Refuse what is more than a member may ask for at once.

    Facts: field ("size": megapixels, or "count": pictures), value, limit.
    """

    code = "beyond_limit"


class PromptForbidden(MemberError):
    """Refuse a prompt that the server's rules forbid. Facts: said (the words of the prompt that matched)."""

    code = "prompt_forbidden"


class RulesUnreadable(MemberError):
    """Refuse to guess what a community has decided, where its policy cannot be read.

    Facts: whose ("server" or "member": a policy, or what is set for one member).
    """

    code = "rules_unreadable"


class InvalidPolicy(MemberError):
    """Refuse a policy, or a change to it, that does not make sense. Facts: problems (list of sentences)."""

    code = "invalid_policy"


class NotThere(MemberError):
    """Say that what shall be changed is not there. Facts: what ("ban", "tier", "channel", "rule" …), name."""

    code = "not_there"


class AlreadySo(MemberError):
    """Say that nothing would change. Facts: what."""

    code = "already_so"


class AlreadyDecided(MemberError):
    """Say that another moderator has decided. Facts: verdict, by (user id), at (unix seconds)."""

    code = "already_decided"


class Expired(MemberError):
    """Say that a confirmation came too late, or was used already."""

    code = "expired"


class UnknownProvider(InvalidRequest):
    """Refuse a provider this studio does not have. Facts: value, known (list of names), listed (several were named)."""

    code = "unknown_provider"


class NobodyDraws(MemberError):
    """Refuse what no provider of this studio can draw. Facts: model, reasons (provider → why not)."""

    code = "nobody_draws"


class NotAllowed(MemberError):
    """Refuse what only others may do. Facts: action."""

    code = "not_allowed"


class JobNotFound(MemberError):
    """Say that no such job exists for this member's eyes."""

    code = "job_not_found"


class JobAlreadyEnded(MemberError):
    """Say that a job can no longer be cancelled. Facts: state."""

    code = "job_already_ended"


class JobUnreadable(MemberError):
    """Say that a job cannot be drawn again, since this version cannot read what was asked for."""

    code = "job_unreadable"


class PictureGone(MemberError):
    """Say that a picture was deleted."""

    code = "picture_gone"


class TooManyReports(MemberError):
    """Refuse one more report of a member whose earlier ones the moderators have not decided. Facts: limit."""

    code = "too_many_reports"


class GenerationFailed(FluxError):
    """End a job without pictures; its cost goes back."""

    code = "generation_failed"
    retryable: ClassVar[bool] = False
    """Whether another attempt on the same job may succeed."""


class Refused(GenerationFailed):
    """End a job whose content a provider or a rule declined. Facts: reason."""

    code = "refused"


class Rejected(Refused):
    """End a job that a moderator did not approve."""

    code = "rejected"


class ApprovalExpired(Refused):
    """End a job for whose approval nobody found the time."""

    code = "approval_expired"


class OutputRefused(Refused):
    """End a job whose pictures the output check, or the provider, thinks are not for this channel.

    Facts: elsewhere (whether an age-restricted channel would do).
    """

    code = "output_refused"


class OutcomeUnknown(GenerationFailed):
    """End a paid job whose submit may or may not have arrived; it is never sent again."""

    code = "outcome_unknown"


class InputGone(GenerationFailed):
    """End a job whose picture to start from was deleted before it was drawn."""

    code = "input_gone"


class OrderUnreadable(GenerationFailed):
    """End a job whose row is damaged, or says what this version does not know."""

    code = "order_unreadable"


class ModelUnavailable(GenerationFailed):
    """End a job whose model cannot be loaded here. Facts: model."""

    code = "model_unavailable"


class LoraUnusable(GenerationFailed):
    """End a job whose LoRA is not there, or does not fit its model. Facts: lora, model."""

    code = "lora_unusable"


class OutOfMemory(GenerationFailed):
    """End a job that does not fit into the card's memory."""

    code = "out_of_memory"


class DrawingBroken(GenerationFailed):
    """End a job whose drawing raised something unforeseen."""

    code = "drawing_broken"
    retryable = True


class TimedOut(GenerationFailed):
    """End a job that took longer than allowed. Facts: seconds."""

    code = "timed_out"


class WorkerLost(GenerationFailed):
    """End a job whose workers died on it too often. Facts: attempts."""

    code = "worker_lost"


class ProviderFault(GenerationFailed):
    """End a hosted provider's attempt. It was not paid for, or is known to be lost: another provider may draw the job.

    Facts: provider (its title).
    """

    code = "provider_fault"
    transient: ClassVar[bool] = False
    """Whether the same provider may succeed a little later."""


class ProviderBusy(ProviderFault):
    """Say that a provider takes no more work now: too many requests, or overloaded."""

    code = "provider_busy"
    transient = True


class ProviderDown(ProviderFault):
    """Say that a provider cannot be reached, or answers with an error of its own."""

    code = "provider_down"
    transient = True


class ProviderBroken(ProviderFault):
    """Say that a provider answered with something that is no picture, or a wrong one."""

    code = "provider_broken"


class ProviderClosed(ProviderFault):
    """Say that a provider does not serve us until the operator acts: bad key, no credit, wrong address.

    Facts: reason ("key", "credit" or "address").
    """

    code = "provider_closed"


class RequestRejected(ProviderFault):
    """Say that a provider does not take this request, for another reason than what it shows."""

    code = "request_rejected"


class Cancelled(FluxError):
    """Stop a drawing because its member cancelled it."""

    code = "cancelled"


class LeaseLost(FluxError):
    """Stop working on a job that went back to the queue or to another worker."""

    code = "lease_lost"


class StorageUnavailable(FluxError):
    """Say that the database or the picture store does not answer."""

    code = "storage_unavailable"


class ConfigurationError(FluxError):
    """Say what an operator has to put right."""

    code = "configuration"


def walk(root: type[FluxError] = FluxError) -> Iterator[type[FluxError]]:
    """Yield ``root`` and every error of this module below it: what others derive has no code of its own."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == __name__:
            yield from walk(child)


def from_code(code: str, facts: dict[str, Any]) -> FluxError:
    """Rebuild the error a failed job remembers; an unknown code becomes a plain GenerationFailed."""
    kind = next((kind for kind in walk() if kind.code == code), GenerationFailed)
    return kind(**facts)
