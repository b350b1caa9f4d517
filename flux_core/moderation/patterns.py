"""A rule's pattern as something that finds it: through case, accents, lookalikes, digits for letters and stretching.

Every search is RE2's, in time linear in the text. Nothing here knows of policies, so that these can be checked with it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

import re2

from flux_core.moderation.lookalikes import script_of
from flux_core.moderation.normalising import SYMBOLS, is_part_of_word, is_shapeless, laid_bare, looked_at, plain

MEMORY = 1 << 19
"""Bytes that one expression may take, RE2's own measure: 500 of a guild's cannot fill a machine."""
LEAST_LETTERS = 2
"""Of a word or phrase: a single letter would match nearly everything."""
STANDS_FOR = {
    "a": "4@", "b": "8", "e": "3€", "g": "69", "i": "1!|", "l": "1|", "o": "0", "s": "5$", "t": "7+", "z": "2",
}  # fmt: skip
"""Digits and symbols that people write for a letter."""
_LOOSELY = str.maketrans({sign: letter for letter, signs in STANDS_FOR.items() for sign in signs} | {"l": "i"})
# 1 and | stand for i as well as l, so both are one letter here.
_LOOSELY |= str.maketrans({"1": "i", "|": "i"})
UNSPACED = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "IDEOGRAPHIC"})
"""Scripts that put no spaces between words: in them, a word is found anywhere."""
_BETWEEN_WORDS = f"[ {re2.escape(''.join(SYMBOLS))}]*"


class Unusable(ValueError):
    """Say why a pattern cannot be used, as moderators read it."""


@lru_cache(maxsize=4096)
def check(kind: str, pattern: str) -> None:
    """Raise Unusable for a pattern that no rule of ``kind`` ("word", "phrase" or "regex") can have.

    Every change of a policy asks it again of all its rules, so it remembers those that can be used.
    """
    if kind == "regex":
        if expression(spelled_alike(pattern)).search("") is not None:
            raise Unusable("this expression matches where there is nothing, so it would match every prompt")
        return
    words = _words(laid_bare(pattern))
    if not words:
        raise Unusable("this has no letters or digits to look for; an expression (regex) finds other signs")
    if kind == "word" and len(pattern.split()) > 1:
        raise Unusable("this is more than one word: make it a phrase")
    if sum(map(len, words)) < LEAST_LETTERS and not _is_unspaced(words[0]):
        raise Unusable("this is a single letter, and would match nearly every prompt")
    for posing in (False, True):
        expression(sought(pattern, posing).form)


def spelled_alike(pattern: str) -> str:
    """Return an expression with its letters composed and without shapeless signs, as the texts are that it reads."""
    composed = unicodedata.normalize("NFC", "".join(c for c in pattern if not is_shapeless(c)))
    return composed if composed.isascii() else "".join(_folded(composed))


def _folded(pattern: str) -> Iterator[str]:
    """Yield the parts of an expression, with the signs that folding changes into several: ß is read as ss."""
    escaped = inside = False
    for character in pattern:
        folded = character if character.isascii() else plain(character).text
        if len(folded) > 1 and not (escaped or inside):
            yield f"(?:{re2.escape(folded)})"
        else:
            yield "i" if character == "İ" else character
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            inside = character != "]" if inside else character == "["


@lru_cache(maxsize=2048)
def expression(pattern: str) -> Any:
    """Return the compiled regular expression of a rule; raises Unusable where RE2 does not take it."""
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise Unusable(f"this is no regular expression in RE2's syntax ({text})") from None


@dataclass(frozen=True, slots=True)
class Sought:
    """A word or phrase to look for."""

    letters: str
    """Without spaces."""
    form: str
    """As a regular expression."""
    counts_digits: bool
    """Whether digits of a text may stand for letters of this: not where it has digits itself."""

    def fits(self, found: str) -> bool:
        """Say whether a match is mostly written in letters: 50 is no "so", but sh1t and b00b5 are what they are."""
        if not self.counts_digits or not any(character.isdigit() for character in found):
            return True
        signs = [character for character in found if not character.isspace()]
        letters = sum(not character.isdigit() for character in signs)
        return letters * 2 >= len(signs) or (len(signs) >= 5 and letters >= 2)

    def is_word(self, word: str) -> bool:
        """Say whether ``word`` is this one."""
        return expression(self.form).fullmatch(word) is not None and self.fits(word)

    def places_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where it stands, in words or across them, in a text with spaces between its words and nothing else."""
        for match in expression(self.form).finditer(text):
            if self.fits(match.group()):
                yield match.span()


def sought(pattern: str, posing: bool) -> Sought:
    """Return what finds a word or phrase: in words as they are, or in those that pose as Latin ones."""
    words = _words(looked_at(pattern) if posing else laid_bare(pattern))
    letters = "".join(words)
    return Sought(
        letters=letters,
        form=_BETWEEN_WORDS.join(map(_stretched, words)),
        counts_digits=not any(character.isdigit() for character in letters),
    )


def loosely(word: str) -> str:
    """Return what a word and all its disguises have in common: a key to look rules up by."""
    return "".join(letter for letter, _ in groupby(word.translate(_LOOSELY)))


def found_anywhere(kind: str, pattern: str) -> bool:
    """Say whether a rule is looked for within words, too."""
    return kind == "phrase" or _is_unspaced(laid_bare(pattern))


def _words(text: str) -> list[str]:
    """Return the words of a pattern in letters; what joins their parts, such as a hyphen, is left out."""
    written = (_in_letters(chunk) for chunk in text.split())
    return [word for word in written if word]


def _in_letters(chunk: str) -> str:
    signs = {"@": "a", "$": "s", "€": "e"}
    return "".join(c if is_part_of_word(c) else signs.get(c, "") for c in chunk)


def _is_unspaced(text: str) -> bool:
    return any(script_of(character) in UNSPACED for character in text)


def _stretched(word: str) -> str:
    """Return an expression for a word whose letters may be drawn out: three or more stand for any number."""
    return "".join(_run(letter, len(list(run))) for letter, run in groupby(word))


def _run(letter: str, count: int) -> str:
    signs = f"[{''.join(map(re2.escape, _signs_for(letter)))}]"
    if letter.isdigit():
        return signs + (f"{{{count}}}" if count > 1 else "")
    if count >= 3:
        return f"{signs}{{3,}}"
    return f"(?:{signs}{{{count}}}|{signs}{{3,}})"


def _signs_for(letter: str) -> Iterable[str]:
    return letter + STANDS_FOR.get(letter, "")
