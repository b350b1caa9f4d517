"""The audit log in words: one phrase for each action, and one that fits any action. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from bot.words.phrasing import counted, credits, dollars, duration, escape, moment, number, quoted, shorten, title_of
from flux_core.database.audit import Entry
from flux_core.router import LOCAL

LONGEST = 380
"""Characters of one entry: a page of eight fits a message."""

Facts = Mapping[str, Any]
_PICTURES = {
    "allow": "are shown like any other",
    "spoiler": "are hidden until clicked",
    "age_restricted": "are shown in age-restricted channels only",
    "refuse": "are refused",
}
_KNOWN_ELSEWHERE = ("reason", "role", "name")
"""Facts that phrases tell in their own way."""


def told(entry: Entry) -> str:
    """Return what somebody did, in a line: when, who, what, to whom and why."""
    who = f"<@{entry.by}>" if entry.by else "Nobody"
    phrase = PHRASES.get(entry.action, _anything(entry.action))
    return shorten(f"{moment(entry.at, 'f')} · {who} {phrase(entry.facts, _whom(entry))}", LONGEST)


def _whom(entry: Entry) -> str:
    """Return to whom it was done: a member, a role, or all."""
    if entry.target is not None:
        return f"<@{entry.target}>"
    if entry.facts.get("role") is not None:
        return f"<@&{entry.facts['role']}>"
    return "everybody"


def _why(f: Facts) -> str:
    return f": {quoted(f['reason'], 120)}" if f.get("reason") else ""


def _until(f: Facts, name: str, word: str) -> str:
    return f" {word} {moment(float(f[name]), 'f')}" if f.get(name) else ""


def _value(name: str, value: Any) -> str:
    match name, value:
        case "millicredits", int():
            return credits(value)
        case (("until" | "expires_at"), (int() | float())):
            return moment(float(value), "f")
        case "cooldown_seconds", (int() | float()):
            return duration(value)
        case "role", _:
            return f"<@&{value}>"
        case "channel", _:
            return f"<#{value}>"
        case _, True:
            return "yes"
        case _, False:
            return "no"
        case _, None:
            return "none"
        case _, (int() | float()):
            return number(value)
        case _, str():
            return quoted(value, 80)
        case _, [*items] if all(isinstance(item, str | int | float) for item in items):
            return ", ".join(escape(shorten(str(item), 40)) for item in items[:8]) or "none"
    return quoted(json.dumps(value, ensure_ascii=False), 80)


def _called(name: str) -> str:
    return escape(name.removesuffix("_seconds").replace("_", " "))


def _list(f: Facts, *without: str) -> str:
    shown = [f"{_called(name)} {_value(name, value)}" for name, value in f.items() if name not in without]
    return ", ".join(shown[:8])


def _anything(action: str) -> Callable[[Facts, str], str]:
    def phrase(f: Facts, whom: str) -> str:
        for_whom = "" if whom == "everybody" else f" for {whom}"
        listed = _list(f, "reason", "role")
        return f"used **{escape(action)}**{for_whom}{f' ({listed})' if listed else ''}{_why(f)}"

    return phrase


def _grant(f: Facts, whom: str) -> str:
    amount = int(f.get("millicredits", 0))
    reached = f" ({counted(int(f['members']), 'member')})" if "members" in f else ""
    if amount < 0:
        return f"took {credits(-amount)} back from {whom}{reached}{_why(f)}"
    return f"gave {credits(amount)} to {whom}{reached}{_until(f, 'expires_at', 'until')}{_why(f)}"


def _reset(f: Facts, whom: str) -> str:
    reached = f" ({counted(int(f['members']), 'member')})" if "members" in f else ""
    return f"gave the spent allowance back to {whom}{reached}: {credits(int(f.get('millicredits', 0)))}"


def _anew(f: Facts, *without: str) -> str:
    """Return what was said behind a colon, and whether it took the place of all that had been said before."""
    listed = _list(f, *without, "clear")
    if f.get("clear"):
        return f" anew: {listed}" if listed else ": nothing any more"
    return f": {listed}" if listed else ""


def _limits(verb: str) -> Callable[[Facts, str], str]:
    def phrase(f: Facts, whom: str) -> str:
        return f"{verb} {whom}{_anew(f, *_KNOWN_ELSEWHERE)}"

    return phrase


def _queue_cancel(f: Facts, whom: str) -> str:
    if "job" in f:
        return f"stopped a job of {whom} (`{escape(str(f['job']))}`)"
    return f"stopped {counted(int(f.get('waiting', 0)) + int(f.get('running', 0)), 'job')} of {whom}"


def _queue_clear(f: Facts, _: str) -> str:
    back = credits(int(f.get("refunded", 0)))
    return f"cleared the queue: {counted(int(f.get('waiting', 0)), 'job')} cancelled, {back} given back"


def _provider_cap(f: Facts, _: str) -> str:
    most = f.get("dollars")
    if most is None:
        return "took back the cap of money for hosted providers"
    return f"let hosted providers have at most {dollars(round(float(most) * 1_000_000))} a day"


def _routing(f: Facts, _: str) -> str:
    routing, told = f.get("routing") or {}, []
    if "first" in routing:
        told.append(f"{title_of(LOCAL) if routing['first'] == LOCAL else 'hosted providers'} first")
    if "order" in routing:
        told.append(f"the {escape(str(routing['order']))} hosted provider before others")
    if "overflow_seconds" in routing:
        told.append(f"a hosted one after {duration(float(routing['overflow_seconds']))}")
    if "providers" in routing:
        names = routing["providers"]
        which = ", ".join(escape(title_of(str(name))) for name in names or ())
        told.append(f"{which or ('all hosted providers' if names is None else 'no hosted provider')} may draw")
    return f"changed who draws: {', '.join(told)}" if told else "changed who draws"


def _blocklist_add(f: Facts, _: str) -> str:
    does = {"refuse": "to be refused", "spoiler": "to hide the pictures", "approve": "to wait for a moderator"}
    what = does.get(str(f.get("does")), f"to {escape(str(f.get('does', '')))}")
    where = "" if f.get("everywhere", True) else ", but not in age-restricted channels"
    return (
        f"set prompts with the {escape(str(f.get('kind', 'word')))} {quoted(f.get('pattern', ''), 150)} {what}{where}"
    )


def _moderation_output(f: Facts, _: str) -> str:
    sure = f.get("threshold")
    does = _PICTURES.get(str(f.get("does")))
    told = [f"pictures that are not for everybody {does}"] if does else []
    told += [f"the check has to be {number(round(float(sure) * 100, 1))}% sure"] if sure is not None else []
    return f"decided: {', and '.join(told)}" if told else "changed what happens to pictures that are not for everybody"


def _tier_remove(f: Facts, whom: str) -> str:
    return f"removed the tier {quoted(f['name'])}" if f.get("name") else f"removed the tier of {whom}"


def _channel(verb: str) -> Callable[[Facts, str], str]:
    return lambda f, _: f"{verb} <#{f.get('channel', '0')}>"


def _channel_defaults(f: Facts, _: str) -> str:
    return f"set the options of <#{f.get('channel', '0')}>{_anew(f, 'channel')}"


def _moderation_channel(f: Facts, _: str) -> str:
    if not f.get("channel"):
        return "took the channel for approvals and reports away"
    return f"sent approvals and reports to <#{f['channel']}>"


def _review(verb: str) -> Callable[[Facts, str], str]:
    def phrase(f: Facts, whom: str) -> str:
        job = f" (`{escape(str(f['job']))}`)" if "job" in f else ""
        return f"{verb} {whom}{job}{_until(f, 'until', 'until')}{_why(f)}"

    return phrase


def _policy_import(f: Facts, _: str) -> str:
    paths = ", ".join(escape(shorten(str(path), 40)) for path in list(f.get("changed", ()))[:5])
    amount = counted(int(f.get("changes", 0)), "change")
    return f"imported a policy: {amount}{f' ({paths})' if paths else ''}"


PHRASES: Mapping[str, Callable[[Facts, str], str]] = {
    "quota grant": _grant,
    "quota reset": _reset,
    "quota set": _limits("set limits of"),
    "quota server": lambda f, _: f"set what all share{_anew(f)}",
    "tier add": _limits("made a tier of"),
    "tier edit": _limits("changed the tier of"),
    "tier remove": _tier_remove,
    "ban": lambda f, whom: f"banned {whom}{_until(f, 'until', 'until')}{_why(f)}",
    "unban": lambda f, whom: f"lifted the ban of {whom}{_why(f)}",
    "channel allow": _channel("allowed pictures in"),
    "channel deny": _channel("allowed no pictures in"),
    "channel reset": _channel("forgot the rules of"),
    "channel defaults": _channel_defaults,
    "models allow": lambda f, _: f"allowed the model {quoted(f.get('model', ''))}",
    "models deny": lambda f, _: f"denied the model {quoted(f.get('model', ''))}",
    "provider set": _routing,
    "provider enable": lambda f, _: f"let {escape(title_of(str(f.get('provider', ''))))} draw",
    "provider disable": lambda f, _: f"let {escape(title_of(str(f.get('provider', ''))))} draw no more",
    "provider cap": _provider_cap,
    "blocklist add": _blocklist_add,
    "blocklist remove": lambda f, _: (
        f"removed the rule about the {escape(str(f.get('kind', 'word')))} {quoted(f.get('pattern', ''), 150)}"
    ),
    "moderation channel": _moderation_channel,
    "moderation output": _moderation_output,
    "moderation prompts": lambda f, _: f"let picture files {'tell' if f.get('told') else 'not tell'} their prompt",
    "queue pause": lambda f, _: f"paused the queue{_why(f)}",
    "queue drain": lambda f, _: f"let the queue run dry{_why(f)}",
    "queue resume": lambda _f, _w: "let the queue go on",
    "queue cancel": _queue_cancel,
    "queue clear": _queue_clear,
    "job cancel": _review("cancelled a picture of"),
    "job delete": _review("deleted a picture of"),
    "policy import": _policy_import,
    "policy reset": lambda _f, _w: "took back all that the server had decided",
    "review approve": _review("approved a picture of"),
    "review reject": _review("did not approve a picture of"),
    "review expire": _review("looked in time at a picture of"),
    "review delete": _review("deleted a reported picture of"),
    "review ban": _review("deleted a reported picture, and banned"),
    "review dismiss": _review("dismissed a report about"),
}
"""What each action is called in a sentence, from its facts and to whom it was done."""
