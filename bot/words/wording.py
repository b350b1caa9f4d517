"""What a member reads: every error of the studio as one sentence written for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from bot.words.phrasing import (
    credits,
    duration,
    escape,
    megabytes,
    megapixels,
    moment,
    number,
    quoted,
    shorten,
    title_of,
)
from flux_core.errors import FluxError
from flux_core.generation import OutputFormat
from flux_core.models import ASPECTS, MAX_SIDE, Mode

Facts = Mapping[str, Any]


def sentence(error: FluxError) -> str:
    """Return what the member reads about ``error``; works with any facts missing."""
    return SENTENCES.get(error.code, SENTENCES["internal"])(error.facts)


def incident(id: str) -> str:
    """Return the sentence for something nobody foresaw; ``id`` finds it in the operator's log."""
    return f"Something went wrong on our side. If it happens again, tell the moderators this number: `{id}`."


def missing_permissions(names: list[str]) -> str:
    """Return the sentence for a channel in which the bot could not post its result."""
    here = f"I can't post pictures in this channel: I need {_and(names)} here."
    return f"{here} Please ask a moderator, or try another channel."


FOREIGN_BUTTON = "This button is not one of mine, or it was tampered with. Start a new picture with `/imagine`."
OUTDATED = "This command has changed since your Discord loaded it. Please reload Discord, and give it again."
NOT_IN_TIME = "That took too long on our side. Please try again in a moment."


def _and(words: list[str]) -> str:
    bold = [f"**{word}**" for word in words]
    return bold[0] if len(bold) == 1 else f"{', '.join(bold[:-1])} and {bold[-1]}"


def _list(values: Any) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _nearest(value: object, known: Any, template: str = "`{}`") -> str:
    near = get_close_matches(str(value).lower(), [str(k) for k in known], n=1, cutoff=0.5)
    return f" Did you mean {template.format(near[0])}?" if near else ""


def _invalid_request(f: Facts) -> str:
    match f.get("reason"):
        case "missing_value":
            return f"`{f['flag']}` needs a value behind it, for example `{f['flag']} {f['example']}`."
        case "repeated":
            return (
                f"`{f['flag']}` is there twice, with {quoted(f['first'])} and {quoted(f['second'])}. Please keep one."
            )
        case "contradiction":
            return (
                f"The option `{f['option']}` says {quoted(f['given'])}, but the flag in your prompt says "
                f"{quoted(f['flagged'])}. Please keep one of them."
            )
    return "Something in this request doesn't fit together. Please check the options; `/help` shows examples."


def _prompt_too_long(f: Facts) -> str:
    if "length" not in f:
        return "Your prompt is too long. Please shorten it."
    return f"Your prompt has {f['length']:,} characters; I can read up to {f['limit']:,}. Please shorten it."


def _not_a_number(f: Facts) -> str:
    kind = "a whole number" if f.get("whole") else "a number"
    return f"`{f.get('field', 'This option')}` needs {kind}, but it says {quoted(f.get('value', ''))}."


def _out_of_range(f: Facts) -> str:
    if "low" not in f:
        return "One of the numbers is out of its range. `/help` shows what is possible."
    name = f.get("field", "This option")
    return f"`{name}` can be {number(f['low'])} to {number(f['high'])} here, not {number(f.get('value'))}."


def _unknown_model(f: Facts) -> str:
    known = f.get("known", ())
    if not known:
        return "This studio does not offer that model. Choose one from the list that `/imagine` shows."
    return (
        f"There is no model {quoted(f.get('value', ''))} here.{_nearest(f.get('value', ''), known)} "
        f"This studio offers {_list(known)}."
    )


def _unknown_aspect(f: Facts) -> str:
    return f"I don't know the aspect {quoted(f.get('value', ''))}. Choose one of {_list(f.get('known', ASPECTS))}."


def _unknown_format(f: Facts) -> str:
    known = f.get("known", [known.value for known in OutputFormat])
    return f"I can't save pictures as {quoted(f.get('value', ''))}. Choose one of {_list(known)}."


def _unknown_mode(f: Facts) -> str:
    known = f.get("known", [known.value for known in Mode])
    return f"There is no mode {quoted(f.get('value', ''))}. Choose one of {_list(known)}."


def _unknown_lora(f: Facts) -> str:
    known = f.get("known", ())
    if not known:
        return "There is no LoRA for this model here. Leave `lora` out, or ask the bot's owner to add one."
    value = f.get("value", "")
    return f"There is no LoRA {quoted(value)} here.{_nearest(value, known)} There is {_list(known)}."


def _lora_not_for_model(f: Facts) -> str:
    if "lora" not in f:
        return "This LoRA is for another model. Leave it out, or choose that model."
    return f"The LoRA `{f['lora']}` is for `{f['fits']}`, not for `{f['model']}`. Choose that model, or leave it out."


def _lora_unusable(f: Facts) -> str:
    lora = f"The LoRA `{f['lora']}`" if "lora" in f else "That LoRA"
    return (
        f"{lora} can't be used with this model, or its file is damaged. Your credits are back; leave it out, or tell "
        "the moderators."
    )


def _unknown_flag(f: Facts) -> str:
    value, known = f.get("value", ""), f.get("known", ())
    shown = f"`--{shorten(re.sub(r'[^A-Za-z_-]', '', str(value)), 30)}`"
    return (
        f"I don't know the flag {shown}.{_nearest(value, known, '`--{}`')} "
        f"Known flags: {', '.join(f'`--{flag}`' for flag in known)}. "
        "To write two dashes as text, put a space behind them."
    )


def _invalid_size(f: Facts) -> str:
    value, limit = quoted(f.get("value", "")), f.get("limit")
    match f.get("reason"):
        case "format":
            return f"I can't read the size {value}. Write it like `1024x768`."
        case "multiple":
            return f"Both sides of the size must be multiples of {limit}; {value} is not."
        case "small":
            return f"The size {value} is too small: each side needs at least {limit} pixels."
        case "large":
            in_all = isinstance(limit, int) and limit > MAX_SIDE
            most = f"{megapixels(limit or 0)} in all" if in_all else f"{limit} pixels a side"
            return f"The size {value} is too large: at most {most}."
        case "fixed":
            return (
                f"This model draws that shape only at {limit}, not at {value}. Leave the size out, or choose an aspect."
            )
    return "That size is not possible. Write it like `1024x768`, or choose an aspect."


def _size_contradiction(f: Facts) -> str:
    if "size" not in f:
        return "The size and the aspect don't fit together. Please give only one of them."
    return f"The size {f['size']} and the aspect {f['aspect']} don't fit together. Please give only one of them."


def _mask_of_another_shape(f: Facts) -> str:
    sizes = f" The mask has {f['mask']} pixels, the picture {f['picture']}." if "mask" in f and "picture" in f else ""
    return f"Your `mask` has another shape than your picture, so I can't tell which place in it means which.{sizes}"


def _operation_unavailable(f: Facts) -> str:
    model = f"`{f['model']}`" if "model" in f else "This model"
    does, asked = f.get("does", ()), f.get("operation")
    if "inpaint" in does and asked == "image-to-image":
        return (
            f"{model} needs to know where to paint: give it a `mask` of your picture, white there and black elsewhere."
        )
    if asked == "text-to-image" and does:
        needed = "a picture as `image` and a `mask` of it" if "inpaint" in does else "a picture as `image`"
        return f"{model} draws nothing from words alone. Give it {needed}, or choose another model."
    what = {
        "image-to-image": "start from a picture",
        "inpaint": "paint anew what a mask shows",
    }.get(str(asked), "draw from words alone")
    return f"{model} cannot {what}. Please choose another model."


def _picture_too_heavy(f: Facts) -> str:
    if "limit" not in f:
        return "That picture is too large a file."
    if f.get("size", 0) <= f["limit"]:
        return f"That picture is too large a file; I take up to {megabytes(f['limit'])}."
    return f"That picture is a file of {megabytes(f['size'])}; I take up to {megabytes(f['limit'])}."


def _picture_too_large(f: Facts) -> str:
    if "limit" not in f:
        return "That picture has too many pixels."
    size = f"{f['width']}×{f['height']} pixels" if "width" in f else "too many pixels"
    return f"That picture has {size}; I take up to {f['limit'] / 1e6:g} megapixels."


def _quota_spent(f: Facts) -> str:
    renews = f" It renews {moment(f['renews_at'])}." if f.get("renews_at") else ""
    if "cost" not in f:
        return f"Your allowance is used up.{renews}"
    smaller = " Fewer or smaller pictures cost less." if f.get("left", 0) > 0 else ""
    return f"This costs {credits(f['cost'])} and you have {credits(f.get('left', 0))} left.{renews}{smaller}"


def _too_many_waiting(f: Facts) -> str:
    if "waiting" not in f:
        return "You already have as many pictures waiting as allowed. Please let one finish first."
    return (
        f"You already have {f['waiting']} jobs waiting; {f['limit']} is the most. "
        "Let one finish, or cancel one with `/jobs`."
    )


def _queue_paused(f: Facts) -> str:
    reason = f" Their reason: {quoted(f['reason'], 200)}" if f.get("reason") else ""
    waiting = " What waits already is still drawn." if f.get("drains") else ""
    return f"The moderators have paused new pictures for now.{waiting}{reason}"


def _pool_spent(f: Facts) -> str:
    renews = f" It renews {moment(f['renews_at'])}." if f.get("renews_at") else ""
    if f.get("left", 0) > 0 and "cost" in f:
        return (
            f"This costs {credits(f['cost'])}, and the allowance that all members of this server share has "
            f"{credits(f['left'])} left.{renews}"
        )
    return f"The allowance that all members of this server share is used up.{renews}"


def _too_soon(f: Facts) -> str:
    if "until" not in f:
        return "Please wait a moment before your next order."
    gap = f", {duration(f['seconds'])} after the last one" if f.get("seconds") else ""
    return f"You can order again {moment(f['until'])}{gap}."


def _banned(f: Facts) -> str:
    until = f" until {moment(f['until'], 'f')}" if f.get("until") else ""
    reason = f" Their reason: {quoted(f['reason'], 200)}" if f.get("reason") else ""
    return f"The moderators do not let you draw in this server{until}.{reason}"


CHANNELS_SHOWN = 5
"""Most channels named in one sentence."""


def _channel_closed(f: Facts) -> str:
    named = [f"<#{id}>" for id in f.get("open", ())]
    more = " and others" if len(named) > CHANNELS_SHOWN else ""
    where = f" Try {', '.join(named[:CHANNELS_SHOWN])}{more}." if named else " Please use another channel."
    return f"Pictures are not drawn in this channel.{where}"


def _model_denied(f: Facts) -> str:
    model = f"`{f['model']}`" if "model" in f else "that model"
    known = f.get("known", ())
    use = f" You can use {_list(known)}." if known else ""
    return f"You can't use {model} in this server.{use}"


def _beyond_limit(f: Facts) -> str:
    if "limit" not in f:
        return "That is more than you may ask for at once here."
    if f.get("field") == "size":
        return (
            f"This size has {number(round(f.get('value', 0), 2))} megapixels; "
            f"you can have up to {number(f['limit'])} in this server."
        )
    return f"You asked for {number(f.get('value'))} pictures; you can have up to {number(f['limit'])} at once here."


def _prompt_forbidden(f: Facts) -> str:
    said = f" ({quoted(f['said'], 80)})" if f.get("said") else ""
    return f"This server's rules do not allow that prompt{said}. Nothing was charged; please say it differently."


PROBLEMS_SHOWN = 6


def _invalid_policy(f: Facts) -> str:
    problems = [escape(shorten(str(problem), 200)) for problem in f.get("problems", ())]
    if not problems:
        return "That would not make sense, so nothing was changed."
    if len(problems) == 1:
        return f"Nothing was changed: {problems[0]}."
    listed = "\n".join(f"- {problem}" for problem in problems[:PROBLEMS_SHOWN])
    more = f"\n- and {len(problems) - PROBLEMS_SHOWN:,} more" if len(problems) > PROBLEMS_SHOWN else ""
    return f"Nothing was changed:\n{listed}{more}"


def _not_there(f: Facts) -> str:
    name = f" {quoted(f['name'])}" if f.get("name") else ""
    return f"There is no {f.get('what', 'such thing')}{name} here, so nothing was changed."


def _already_decided(f: Facts) -> str:
    by = f" by <@{f['by']}>" if f.get("by") else ""
    at = f" {moment(f['at'])}" if f.get("at") else ""
    return f"This was decided already{by}{at}: {f.get('verdict', 'done')}."


def _output_refused(f: Facts) -> str:
    elsewhere = " An age-restricted channel would show it." if f.get("elsewhere") else ""
    return f"What came out is not for this channel, so I do not show it.{elsewhere} Your credits are back."


_FORBIDDEN = {
    "cancel": "Only the member who asked for this picture, or a moderator, can cancel it.",
    "delete": "Only the member who asked for this picture, or a moderator, can delete it.",
    "move": "Only the member who asked for this picture can move it up.",
    "watch": "Only moderators can look at what other members do.",
    "draw from outside": "This draws on your account in a server that you are not in (any more).",
    "admin": "You need the permission **Manage Server** for this.",
    "review": "Only moderators can decide this: members with **Manage Messages** or **Manage Server** here.",
    "ban yourself": "You can't ban yourself. **Delete** removes the picture.",
    "ban the owner": "The bot's owner can't be banned. **Delete** removes the picture.",
    "everywhere": "Only the bot's owner can do this for every server at once.",
}


def _said(f: Facts) -> str:
    return f" ({quoted(f['reason'], 200)})" if f.get("reason") else ""


def _refused(f: Facts) -> str:
    return f"This request was declined because of its content{_said(f)}. Your credits are back."


def _fixed(text: str) -> Callable[[Facts], str]:
    return lambda _facts: text


def _model_unavailable(f: Facts) -> str:
    model = f"The model `{f['model']}`" if "model" in f else "The model you chose"
    return f"{model} can't be loaded right now. Your credits are back; try another model, or tell the moderators."


def _provider(f: Facts) -> str:
    return f"{escape(shorten(str(f['provider']), 60))}, which was to draw this," if f.get("provider") else ""


def _provider_failed(what: str, advice: str) -> Callable[[Facts], str]:
    """Make the sentence of a provider's fault: who, ``what`` went wrong, where the credits are, and what to do."""

    def told(f: Facts) -> str:
        who = _provider(f)
        return f"{f'The provider {who}' if who else 'The provider that was to draw this'} {what}. {advice}"

    return told


def _unknown_provider(f: Facts) -> str:
    value, known = f.get("value", ""), f.get("known", ())
    if not known and f.get("listed"):
        return "No hosted provider is configured here; the bot's owner can change that."
    if not known:
        return "There is no such provider here. Leave `provider` out, and the studio decides who draws."
    titled = next((name for name in known if title_of(name).lower() == str(value).strip().lower()), None)
    meant = _nearest(value, known) if titled is None else f" Did you mean `{titled}`?"
    if f.get("listed"):
        return (
            f"There is no hosted provider {quoted(value)} here.{meant} "
            f"Name some of {_list(known)}, with commas between, or say `all` or `none` alone."
        )
    return (
        f"There is no provider {quoted(value)} here.{meant} This studio has {_list(known)}. "
        "Leave `provider` out, and the studio decides who draws."
    )


ASKED_FOR_ANOTHER = "another provider was asked for"
"""The router's objection to everybody but the one that the member named."""
REASONS_SHOWN = 6
"""Most providers whose objections are told in one sentence."""


def _nobody_draws(f: Facts) -> str:
    model = f"`{f['model']}`" if f.get("model") else "this model"
    given = {str(who): str(why) for who, why in (f.get("reasons") or {}).items()}
    # Where a provider was asked for, the others are no news; and whoever lacks the model says the least.
    said = {who: why for who, why in given.items() if why != ASKED_FOR_ANOTHER} or given
    listed = sorted(said.items(), key=lambda one: one[1].startswith("no "))[:REASONS_SHOWN]
    told = "; ".join(f"{escape(shorten(title_of(who), 40))}: {escape(shorten(why, 80))}" for who, why in listed)
    reasons = f" ({told})" if told else ""
    if len(said) == 1 < len(given):
        return f"The provider you named can't draw this with {model}{reasons}. Please name another, or leave it out."
    return f"Nobody here can draw this with {model}{reasons}. Please choose another model or change the options."


SENTENCES: dict[str, Callable[[Facts], str]] = {
    "internal": _fixed("Something went wrong on our side. Please try again."),
    "not_possible": _fixed("That is not possible."),
    "invalid_request": _invalid_request,
    "prompt_missing": _fixed("There is nothing to draw yet: please describe the picture in `prompt`."),
    "prompt_too_long": _prompt_too_long,
    "not_a_number": _not_a_number,
    "out_of_range": _out_of_range,
    "unknown_model": _unknown_model,
    "unknown_aspect": _unknown_aspect,
    "unknown_format": _unknown_format,
    "unknown_mode": _unknown_mode,
    "unknown_flag": _unknown_flag,
    "invalid_size": _invalid_size,
    "size_contradiction": _size_contradiction,
    "operation_unavailable": _operation_unavailable,
    "strength_without_picture": _fixed(
        "`strength` says how much of your own picture may change, but there is none. Attach an `image` or drop it."
    ),
    "unknown_lora": _unknown_lora,
    "lora_not_for_model": _lora_not_for_model,
    "mask_shows_nothing": _fixed(
        "Your `mask` is white nowhere, so nothing of the picture would change. Paint white what shall be drawn anew."
    ),
    "mask_of_another_shape": _mask_of_another_shape,
    "mask_without_picture": _fixed(
        "A `mask` shows where your own picture is painted anew, but there is none. Attach it as `image`, too."
    ),
    "invalid_picture": _fixed("I can't use this picture. Please upload a PNG, JPEG, WebP or GIF."),
    "picture_not_fetched": _fixed("Discord did not hand me your picture. Please upload it again."),
    "picture_empty": _fixed("That file is empty. Please upload the picture again."),
    "picture_too_heavy": _picture_too_heavy,
    "picture_too_large": _picture_too_large,
    "picture_unreadable": _fixed("That picture is damaged or cut off, I can't open it. Please upload it again."),
    "picture_unsupported": _fixed("That file is no picture I can read. I take PNG, JPEG, WebP and GIF."),
    "quota_spent": _quota_spent,
    "too_many_waiting": _too_many_waiting,
    "queue_paused": _queue_paused,
    "pool_spent": _pool_spent,
    "too_soon": _too_soon,
    "banned": _banned,
    "channel_closed": _channel_closed,
    "model_denied": _model_denied,
    "beyond_limit": _beyond_limit,
    "prompt_forbidden": _prompt_forbidden,
    "rules_unreadable": lambda f: (
        f"I can't read what was decided for {'you' if f.get('whose') == 'member' else 'this server'}, "
        "so nothing is drawn until that is put right. Please tell the moderators."
    ),
    "invalid_policy": _invalid_policy,
    "not_there": _not_there,
    "already_so": lambda f: f"Nothing to change: {f['what']}." if f.get("what") else "That is so already.",
    "already_decided": _already_decided,
    "expired": _fixed("That is too late: please give the command again."),
    "rejected": lambda f: f"A moderator did not approve this{_said(f)}. Your credits are back.",
    "approval_expired": _fixed("No moderator looked at this in time. Your credits are back; you may ask again."),
    "output_refused": _output_refused,
    "unknown_provider": _unknown_provider,
    "nobody_draws": _nobody_draws,
    "not_allowed": lambda f: _FORBIDDEN.get(str(f.get("action", "")), "You are not allowed to do that here."),
    "job_not_found": _fixed("I don't know this picture here. It may be too old, or from another server."),
    "job_already_ended": _fixed("This one has already ended, so there is nothing left to cancel."),
    "too_many_reports": lambda f: (
        f"You have {f.get('limit', 'several')} reports that the moderators have not decided yet. "
        "Please wait until they have."
    ),
    "job_unreadable": _fixed("I can't read any more what was asked for there, so please give the command anew."),
    "picture_gone": _fixed("This picture was deleted, so it can't be used any more."),
    "generation_failed": _fixed("The drawing failed. Your credits are back; please try again."),
    "refused": _refused,
    "outcome_unknown": _fixed(
        "The way to the provider broke off, and I can't tell what became of this drawing. Your credits are back."
    ),
    "provider_fault": _provider_failed("could not draw it", "Your credits are back; please try again."),
    "provider_busy": _provider_failed(
        "has too much to do right now", "Your credits are back; please try again in a few minutes."
    ),
    "provider_down": _provider_failed(
        "does not answer right now", "Your credits are back; please try again in a few minutes."
    ),
    "provider_broken": _provider_failed(
        "sent something that is no picture", "Your credits are back; please try again."
    ),
    "provider_closed": _provider_failed(
        "takes no jobs from us at the moment",
        "Your credits are back; please tell the moderators, or choose another `provider` or model.",
    ),
    "request_rejected": _provider_failed(
        "did not take this request",
        "Your credits are back; please change the options, or choose another `provider` or model.",
    ),
    "order_unreadable": _fixed(
        "I can't read any more what was asked for: it was damaged, or written by another version of me. "
        "Your credits are back; please ask again."
    ),
    "input_gone": _fixed("The picture to start from was deleted before its turn came. Your credits are back."),
    "model_unavailable": _model_unavailable,
    "lora_unusable": _lora_unusable,
    "out_of_memory": _fixed(
        "This picture does not fit into the graphics card's memory. Your credits are back; "
        "try a smaller size or fewer pictures."
    ),
    "drawing_broken": _fixed("The drawing broke off. Your credits are back; please try again."),
    "timed_out": lambda f: (
        f"The drawing took longer than {duration(f['seconds']) if 'seconds' in f else 'allowed'} and was stopped. "
        "Your credits are back."
    ),
    "worker_lost": _fixed("The drawing was interrupted too often. Your credits are back; please try again."),
    "cancelled": _fixed("Cancelled. Your credits are back."),
    "lease_lost": _fixed("The drawing moved to another machine. Please wait a little."),
    "storage_unavailable": _fixed("I can't reach my storage right now. Nothing was charged; please try again soon."),
    "configuration": _fixed("This studio is not set up completely yet. Please tell the moderators."),
}
"""One entry per error code of flux_core.errors."""
