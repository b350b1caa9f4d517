"""Judge a prompt by a community's rules. Pure, and in linear time whatever the rules and the prompt are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from flux_core.moderation.normalising import Reading, in_words, plain, unmasked
from flux_core.moderation.patterns import Sought, expression, found_anywhere, loosely, sought, spelled_alike
from flux_core.moderation.spacing import joined, spellings
from flux_core.policy.guild import PromptRule

LONGEST_SAID = 80
"""Characters of a prompt that a judgement repeats."""
SEVERITY = {"refuse": 0, "approve": 1, "spoiler": 2}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a prompt."""

    action: str
    """"refuse", "approve" or "spoiler": the strictest of the rules that match."""
    said: str
    """The words of the prompt that matched, as the member wrote them, at most 80 characters."""
    rule: PromptRule
    veiled: bool = False
    """Whether a rule that matches wants the pictures hidden, be it the strictest or not."""


def judge(rules: tuple[PromptRule, ...], prompt: str, *, age_restricted: bool) -> Judgement | None:
    """Return what the strictest matching rule says, of several the first; None when none matches."""
    applying = tuple(rule for rule in rules if rule.everywhere or not age_restricted)
    if not applying:
        return None
    book = _compiled(applying)
    basis = plain(prompt)
    reading = unmasked(basis)
    readings = [in_words(one) for one in (reading, joined(reading)) if one is not None] if book.searches else []
    hits = [*book.words_in(reading)]
    strictest = min((hit.rank for hit in hits), default=len(applying))
    for search in book.searches:
        if search.rank < strictest and (place := search.first_in(basis, readings)) is not None:
            hits.append(_Hit(search.rank, *place))
            break  # the others rank behind
    if not hits:
        return None
    hit = min(hits, key=lambda hit: hit.rank)
    rule = book.rules[hit.rank]
    veiled = any(book.rules[one.rank].action == "spoiler" for one in hits) or (
        rule.action == "approve"  # what is refused needs no veil
        and any(
            search.first_in(basis, readings) for search in book.searches if book.rules[search.rank].action == "spoiler"
        )
    )
    return Judgement(rule.action, _shortened(prompt[hit.start : hit.end]), rule, veiled)


@dataclass(frozen=True, slots=True)
class _Hit:
    rank: int
    start: int
    end: int
    """In the member's own text."""


@dataclass(frozen=True, slots=True)
class _Word:
    rank: int
    sought: Sought


@dataclass(frozen=True, slots=True)
class _Search:
    """A rule that is looked for anywhere in a text."""

    rank: int
    regex: Any = None
    as_it_is: Sought | None = None
    posing: Sought | None = None
    """Where it differs from ``as_it_is``: the pattern has letters of another alphabet."""

    def first_in(self, basis: Reading, readings: list[Reading]) -> tuple[int, int] | None:
        if self.regex is not None:
            match = self.regex.search(basis.text)
            return None if match is None or match.start() == match.end() else basis.original(*match.span())
        for reading in readings:
            for form, poses in ((self.as_it_is, False), (self.posing, True)):
                for start, end in () if form is None else form.places_in(reading.text):
                    if not poses or any(reading.posing[start:end]):
                        return reading.original(start, end)
        return None


@dataclass(slots=True)
class _Book:
    """A guild's rules, the strictest first, ready to be looked up."""

    rules: tuple[PromptRule, ...]
    words: dict[tuple[str, bool], list[_Word]] = field(default_factory=dict)
    """By what a word has in common with its disguises, and whether it poses as a Latin one."""
    searches: list[_Search] = field(default_factory=list)

    def words_in(self, reading: Reading) -> Iterator[_Hit]:
        if not self.words:
            return
        for spelling in spellings(reading):
            for word in self.words.get((loosely(spelling.text), spelling.posing), ()):
                if word.sought.is_word(spelling.text):
                    yield _Hit(word.rank, *reading.original(spelling.start, spelling.end))


@lru_cache(maxsize=64)
def _compiled(rules: tuple[PromptRule, ...]) -> _Book:
    book = _Book(tuple(sorted(rules, key=lambda rule: SEVERITY[rule.action])))
    for rank, rule in enumerate(book.rules):
        if rule.kind == "regex":
            book.searches.append(_Search(rank, regex=expression(spelled_alike(rule.pattern))))
            continue
        as_it_is, posing = sought(rule.pattern, False), sought(rule.pattern, True)
        if found_anywhere(rule.kind, rule.pattern):
            differs = posing.letters != as_it_is.letters
            book.searches.append(_Search(rank, as_it_is=as_it_is, posing=posing if differs else None))
            continue
        for form, poses in ((as_it_is, False), (posing, True)):
            book.words.setdefault((loosely(form.letters), poses), []).append(_Word(rank, form))
    return book


def _shortened(said: str) -> str:
    return said if len(said) <= LONGEST_SAID else said[: LONGEST_SAID - 1] + "…"
