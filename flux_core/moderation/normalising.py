"""What a text says, whatever it is dressed up as: every character of the result knows where in the text it stood.

Two steps. ``plain`` takes away what nobody sees or what is only another way of writing the same: compatibility forms
and case (NFKC and case folding), and characters without a shape. ``unmasked`` also takes accents off, and reads letters
of other alphabets as the Latin ones they look like where they pose as such.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from flux_core.moderation.lookalikes import near_twins, script_of, twins

MOST_MARKS = 30
"""Marks on one letter that are looked at together (Unicode's stream-safe text format, UAX #15): sorting stays cheap."""
SYMBOLS = frozenset("@$€!|+")
"""What stands for a letter within words."""
_BOLD = frozenset("@$€")
"""Those of them that are hardly ever just punctuation."""
_SHAPELESS = {"\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180c", "\u180d", "\u180f", "\u3164"}
"""Default_Ignorable_Code_Point (Unicode's DerivedCoreProperties) beyond the category Cf and variation selectors."""
_SHAPELESS |= {"\uffa0", "\u2800", "\u0640"}
"""Blank in practice: the Braille blank; and the Arabic stroke that only stretches a word."""


@dataclass(slots=True)
class Reading:
    """A text as it is matched."""

    text: str = ""
    starts: list[int] = field(default_factory=list)
    """For each character, where what it stands for begins in the original, …"""
    ends: list[int] = field(default_factory=list)
    """… and where that ends."""
    posing: list[bool] = field(default_factory=list)
    """Whether it belongs to a word that poses as a Latin one."""

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return where the characters from ``start`` to before ``end`` stand in the original."""
        return self.starts[start], self.ends[end - 1]

    def without(self, dropped: set[int]) -> Reading:
        """Return the reading without the characters at some positions."""
        kept = [n for n in range(len(self.text)) if n not in dropped]
        return Reading(
            "".join(self.text[n] for n in kept),
            [self.starts[n] for n in kept],
            [self.ends[n] for n in kept],
            [self.posing[n] for n in kept],
        )


def plain(text: str) -> Reading:
    """Return ``text`` in NFKC, case folded, without characters that have no shape."""
    if text.isascii() and text.isprintable():
        return Reading(text.lower(), list(range(len(text))), list(range(1, len(text) + 1)), [False] * len(text))
    reading, folded = Reading(), []
    for start, end in _clusters(text):
        seen = "".join(character for character in text[start:end] if not is_shapeless(character))
        # Folding leaves the dot of a Turkish İ behind, on an i that has one.
        once = unicodedata.normalize("NFKC", seen).casefold().replace("i\u0307", "i")
        for character in unicodedata.normalize("NFKC", once):
            if not is_shapeless(character):
                folded.append(character)
                reading.starts.append(start)
                reading.ends.append(end)
    reading.text = "".join(folded)
    reading.posing = [False] * len(folded)
    return reading


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of characters with the marks, or jamo, that belong to them."""
    start = 0
    for n in range(1, len(text) + 1):
        if n == len(text) or n - start > MOST_MARKS or not _continues(text[n]):
            yield start, n
            start = n


def _continues(character: str) -> bool:
    return unicodedata.combining(character) != 0 or "\u1160" <= character <= "\u11ff" or is_shapeless(character)


def is_shapeless(character: str) -> bool:
    """Say whether nobody sees a character: it has no shape of its own, or only changes that of others."""
    if character.isascii():
        return character < " " and not character.isspace()
    if character in _SHAPELESS or "\ufe00" <= character <= "\ufe0f" or "\U000e0000" <= character <= "\U000e0fff":
        return True
    return unicodedata.category(character) == "Cf"


def unmasked(reading: Reading) -> Reading:
    """Return a plain reading with bare letters, and posing words in the Latin letters that they look like.

    A word poses when it mixes Latin letters with others, or when all of its letters are lookalikes and the text does
    not otherwise speak that alphabet, most of whose words have letters that no Latin one looks like.
    """
    bare = _bare(reading)
    if bare.text.isascii():
        return bare
    words = list(words_of(bare.text))
    looks = [_look(bare.text[start:end]) for start, end in words]
    met = Counter(looks)
    posing = [_poses(look, met, end - start) for look, (start, end) in zip(looks, words, strict=True)]
    found, at = Reading(), 0
    pieces: list[str] = []
    for (start, end), poses in zip(words, posing, strict=True):
        _copy(bare, at, start, found, pieces, {}, False)
        _copy(bare, start, end, found, pieces, near_twins() if poses else {}, poses)
        at = end
    _copy(bare, at, len(bare.text), found, pieces, {}, False)
    found.text = "".join(pieces)
    return found


def _copy(
    source: Reading, start: int, end: int, to: Reading, pieces: list[str], looks: Mapping[str, str], posing: bool
) -> None:
    for n in range(start, end):
        for character in looks.get(source.text[n], source.text[n]):
            pieces.append(character)
            to.starts.append(source.starts[n])
            to.ends.append(source.ends[n])
            to.posing.append(posing)


class _Letters(IntEnum):
    """How much the letters of a word in another alphabet look like Latin ones."""

    ALIKE = 0
    AT_A_GLANCE = 1
    THEIR_OWN = 2


_LATIN = ("LATIN", _Letters.THEIR_OWN)
_MIXED = ("", _Letters.ALIKE)


def _look(word: str) -> tuple[str, _Letters]:
    """Return the alphabet of a word and how Latin it looks; _MIXED for what poses at any rate."""
    scripts = {script_of(character) for character in word} - {""}
    if scripts <= {"LATIN"}:
        return _LATIN if word.isascii() else _MIXED
    if len(scripts) > 1:
        return _MIXED
    letters = [character for character in word if character.isalpha()]
    for grade, looks in ((_Letters.ALIKE, twins()), (_Letters.AT_A_GLANCE, near_twins())):
        if all(letter in looks for letter in letters):
            return scripts.pop(), grade
    return scripts.pop(), _Letters.THEIR_OWN


def _poses(look: tuple[str, _Letters], met: Counter[tuple[str, _Letters]], length: int) -> bool:
    if look in (_LATIN, _MIXED):
        return look == _MIXED
    script, grade = look
    alike, at_a_glance, their_own = (met[script, one] for one in _Letters)
    if grade is not _Letters.THEIR_OWN and their_own == 0 and (met[_LATIN] or met[_MIXED]):
        return True
    # Among words of its own alphabet a single letter is a word, or part of one that is spelled out.
    return length > 1 and grade is _Letters.ALIKE and alike > at_a_glance + their_own


def laid_bare(pattern: str) -> str:
    """Return ``pattern`` without accents, as ``unmasked`` leaves words that do not pose."""
    return _bare(plain(pattern)).text


def looked_at(pattern: str) -> str:
    """Return ``pattern`` as ``unmasked`` leaves words that pose."""
    return "".join(near_twins().get(character, character) for character in laid_bare(pattern))


def _bare(reading: Reading) -> Reading:
    """Return the reading without the accents of Latin and Greek letters, and without loose ones on any letter."""
    if reading.text.isascii():
        return reading
    found, pieces = Reading(), []
    for n, character in enumerate(reading.text):
        for one in _without_accents(character):
            pieces.append(one)
            found.starts.append(reading.starts[n])
            found.ends.append(reading.ends[n])
            found.posing.append(reading.posing[n])
    found.text = "".join(pieces)
    return found


def _without_accents(character: str) -> str:
    if character.isascii():
        return character
    if character == "ё":  # as Russians write it themselves; й is a letter of its own
        return "е"
    if character == "ı":  # written as a capital, nobody can tell it from an i
        return "i"
    if unicodedata.combining(character):
        # Marks that belong to a script (vowels, the Japanese voicing) make a different word.
        return "" if unicodedata.name(character, "").startswith(("COMBINING", "CYRILLIC")) else character
    apart = unicodedata.normalize("NFD", character)
    if len(apart) > 1 and script_of(apart[0]) in ("LATIN", "GREEK"):
        return apart[0]
    return character


def is_part_of_word(character: str) -> bool:
    """Say whether words are made of it: letters, digits, and the marks of their scripts."""
    return character.isalnum() or (not character.isascii() and (_is_mark(character) or character in twins()))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc")


def in_words(reading: Reading) -> Reading:
    """Return the reading with a space in place of whatever words are not made of."""
    text = "".join(c if is_part_of_word(c) or c in SYMBOLS else " " for c in reading.text)
    return replace(reading, text=text)


def words_of(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the words of a reading begin and end; symbols that stand for letters belong to what they touch."""
    start: int | None = None
    for n in range(len(text) + 1):
        inside = n < len(text) and (is_part_of_word(text[n]) or text[n] in SYMBOLS)
        if inside and start is None:
            start = n
        elif not inside and start is not None:
            if _may_be_word(text[start:n]):
                yield start, n
            start = None


def _may_be_word(signs: str) -> bool:
    """Say whether signs may be meant as a word: @$$ may, while $$$ and !!! are what they are."""
    return any(map(is_part_of_word, signs)) or (len(set(signs)) > 1 and not _BOLD.isdisjoint(signs))
