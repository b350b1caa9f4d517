"""Flags inside a prompt: ``a fox --ar 16:9 --seed 7`` becomes the prompt ``a fox`` and two options."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from flux_core.errors import InvalidRequest, NotANumber, UnknownFlag
from flux_core.generation import RequestOptions

FLAGS: dict[str, str] = {
    "ar": "aspect",
    "aspect": "aspect",
    "seed": "seed",
    "steps": "steps",
    "n": "count",
    "count": "count",
    "guidance": "guidance",
    "strength": "strength",
    "model": "model",
    "size": "size",
    "format": "output_format",
    "provider": "provider",
    "lora": "lora",
    "mode": "mode",
}
"""Flag → field of RequestOptions."""

EXAMPLES: dict[str, str] = {
    "aspect": "16:9",
    "seed": "7",
    "steps": "20",
    "count": "2",
    "guidance": "3",
    "strength": "0.6",
    "model": "flux-dev",
    "size": "1024x768",
    "output_format": "png",
    "provider": "local",
    "lora": "ink:0.8",
    "mode": "turbo",
}
OPTION_NAMES: dict[str, str] = {field: field for field in EXAMPLES} | {"output_format": "format"}
"""Field of RequestOptions → the name of its option in /imagine."""

_WHOLE = frozenset({"seed", "steps", "count"})
_DECIMAL = frozenset({"guidance", "strength"})

# A flag stands after a space or at the start, and a letter follows its dashes at once: "black--and--white", "- - -" and
# a lone "--" are part of the picture. Phones turn "--" into "—" or "–".
_FLAG = re.compile(r"(?<!\S)(?P<dashes>--|[—–])(?P<name>[A-Za-z][A-Za-z_-]*)(?P<glue>[=:])?")
_QUOTES = {'"': '"', "'": "'", "“": "”", "”": "”", "„": "“”", "‘": "’", "’": "’", "«": "»"}
_TYPED_ASPECT = re.compile(r"([0-9]+)[∶：/xX×]([0-9]+)")
_TYPED_MINUS = str.maketrans({"−": "-", "–": "-", "—": "-"})


def parse(text: str) -> RequestOptions:
    """Read ``text`` as typed; the result holds the prompt without its flags, and what they said.

    Raises UnknownFlag, NotANumber, or InvalidRequest with facts reason ("missing_value" or "repeated") and flag.
    """
    values: dict[str, Any] = {}
    kept: list[str] = []
    at = 0
    while (found := _next_flag(text, at)) is not None:
        field = FLAGS.get(found["name"].lower())
        if field is None:
            raise UnknownFlag(value=found["name"], known=list(FLAGS))
        flag = f"--{found['name'].lower()}"
        raw, end = _value(text, found.end(), glued=found["glue"] is not None)
        if not raw:
            raise InvalidRequest(reason="missing_value", flag=flag, example=EXAMPLES[field])
        value = _read(field, flag, raw)
        if field in values and not _same(field, values[field], value):
            raise InvalidRequest(reason="repeated", flag=flag, first=str(values[field]), second=str(value))
        values[field] = value
        kept.append(text[at : found.start()].rstrip())
        at = end
    kept.append(text[at:].lstrip() if kept else text)
    return RequestOptions(prompt=" ".join(part for part in kept if part), **values)


def combine(flags: RequestOptions, given: RequestOptions) -> RequestOptions:
    """Join what the flags said with the command's own options; the prompt is that of ``flags``.

    Raises InvalidRequest with facts reason "contradiction", option, given and flagged where the two disagree.
    """
    joined: dict[str, Any] = {}
    for field, name in OPTION_NAMES.items():
        flagged, chosen = getattr(flags, field), getattr(given, field)
        if flagged is not None and chosen is not None and not _same(field, flagged, chosen):
            raise InvalidRequest(reason="contradiction", option=name, given=str(chosen), flagged=str(flagged))
        joined[field] = flagged if chosen is None else chosen
    return RequestOptions(prompt=flags.prompt, **joined)


def _next_flag(text: str, at: int) -> re.Match[str] | None:
    while (found := _FLAG.search(text, at)) is not None:
        name = found["name"].lower()
        # A typographic dash also opens a clause ("a forest —misty"): there, only what looks like a flag is one.
        if found["dashes"] == "--" or name in FLAGS or get_close_matches(name, FLAGS, n=1, cutoff=0.75):
            return found
        at = found.end()
    return None


def _value(text: str, at: int, *, glued: bool) -> tuple[str, int]:
    """Return the value that starts behind ``at`` and where the text goes on."""
    rest = text[at:]
    start = at if glued else at + len(rest) - len(rest.lstrip())
    if start >= len(text) or (not glued and _FLAG.match(text, start)):
        return "", start
    if closing := _QUOTES.get(text[start]):
        ends = [end for mark in closing if (end := text.find(mark, start + 1)) > start]
        if ends:
            end = min(ends)
            return text[start + 1 : end].strip(), end + 1
    word = re.match(r"\S*", text[start:])
    token = word[0] if word is not None else ""
    return token.strip("".join(_QUOTES)).rstrip(",;."), start + len(token)


def _read(field: str, flag: str, raw: str) -> str | int | float:
    if field in _WHOLE:
        number = raw.translate(_TYPED_MINUS)
        if re.fullmatch(r"[+-]?[0-9]{1,30}", number) is None:
            raise NotANumber(field=flag, value=raw[:40], whole=True)
        return int(number)
    if field in _DECIMAL:
        number = raw.translate(_TYPED_MINUS).replace(",", ".")
        if re.fullmatch(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})", number) is None:
            raise NotANumber(field=flag, value=raw[:40])
        return float(number)
    if field == "aspect":
        return _TYPED_ASPECT.sub(r"\1:\2", raw)
    return raw.lower() if field in ("model", "output_format", "provider", "mode") else raw


def _same(field: str, one: Any, other: Any) -> bool:
    if field == "size":
        return _plain_size(one) == _plain_size(other)
    if isinstance(one, str) and isinstance(other, str):
        return one.strip().lower() == other.strip().lower()
    return bool(one == other)


def _plain_size(text: str) -> str:
    return re.sub(r"\s", "", text.lower()).translate(str.maketrans("×*", "xx"))
