"""Words pulled apart: b a d, b.a.d, b-a-d and ba-d are read as one word, but ordinary words are not run together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from flux_core.moderation.normalising import SYMBOLS, Reading, words_of

WIDEST_GAP = 3
"""Most characters between two letters that are spelled out, besides any number of spaces."""
LEAST_SPELLED = 3
"""Letters in a row that count as spelled out; two are an abbreviation."""
MOST_PIECES = 8
"""Pieces of a chunk that are tried together."""
PUNCTUATION = "!|+"
"""Symbols that stand for letters, but oftener between or behind words."""
LISTS = frozenset(",;()[]{}")
"""What separates words even without a space."""
LONERS = frozenset("ai")
"""Words of one letter, which may stand before or behind a word that is spelled out."""
_APOSTROPHES = frozenset("'\u2019\u02bc")
_SHORTENED = {
    **dict.fromkeys(
        ("ll", "re", "ve", "d", "m", "s"),
        frozenset({"i", "you", "he", "she", "it", "we", "they", "who", "that", "there"}),
    ),
    "t": frozenset(
        {"can", "won", "don", "ain", "isn", "aren", "wasn", "weren", "doesn", "didn", "hasn", "haven", "hadn"}
    ),
}
"""Behind the apostrophe of an English contraction → what may stand before it: he'll and we're are no hell and were."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """A word that a reading may have, and where."""

    text: str
    start: int
    end: int
    posing: bool


def spellings(reading: Reading) -> Iterator[Spelling]:
    """Yield every word that a text may have: as written, without what hangs on it, and put together again."""
    pieces = list(words_of(reading.text))
    for start, end in pieces:
        yield from _variants(reading, start, end)
    for chunk in _chunks(reading.text, pieces):
        yield from _put_together(reading, chunk)
    for run in _spelled_out(reading.text, pieces):
        yield from _read_out(reading, run)


def joined(reading: Reading) -> Reading | None:
    """Return the reading with pulled-apart words put together; None when there are none."""
    pieces = list(words_of(reading.text))
    gaps: set[int] = set()
    for row in (*_chunks(reading.text, pieces), *_spelled_out(reading.text, pieces)):
        for (_, end), (start, _) in pairwise(row):
            if reading.text[end - 1].isdigit() and reading.text[start].isdigit():
                continue
            gaps.update(range(end, start))
    return reading.without(gaps) if gaps else None


def _variants(reading: Reading, start: int, end: int) -> Iterator[Spelling]:
    """Yield a piece as it is, its parts between signs that may be punctuation, and it without what hangs on it."""
    bare = _stripped(reading.text, start, end)
    spans = {(start, end): None, bare: None, _numbered(reading.text, *bare): None}
    first = start
    for n in range(start, end + 1):
        if n == end or reading.text[n] in PUNCTUATION:
            spans[first, n] = None
            first = n + 1
    for first, last in spans:
        if first < last:
            yield Spelling(reading.text[first:last], first, last, any(reading.posing[first:last]))


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start] in SYMBOLS:
        start += 1
    while end > start and text[end - 1] in SYMBOLS:
        end -= 1
    return start, end


def _numbered(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a piece without the digits before and behind it, if a word of some length is left; it all otherwise."""
    first, last = start, end
    while first < last and text[first].isdigit():
        first += 1
    while last > first and text[last - 1].isdigit():
        last -= 1
    return (first, last) if last - first >= LEAST_SPELLED else (start, end)


def _chunks(text: str, pieces: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield rows of pieces with something between them that is neither space nor comma, as in ``fu-ck``."""
    row: list[tuple[int, int]] = []
    for piece in pieces:
        if row and not _is_joint(text, row[-1], piece):
            if len(row) > 1:
                yield row
            row = []
        row.append(piece)
    if len(row) > 1:
        yield row


def _is_joint(text: str, before: tuple[int, int], behind: tuple[int, int]) -> bool:
    gap = text[before[1] : behind[0]]
    if len(gap) > WIDEST_GAP or any(character.isspace() or character in LISTS for character in gap):
        return False
    return gap not in _APOSTROPHES or text[slice(*before)] not in _SHORTENED.get(text[slice(*behind)], ())


def _put_together(reading: Reading, row: list[tuple[int, int]]) -> Iterator[Spelling]:
    """Yield a chunk as one word, and those parts of it in which a letter stands alone."""
    for first in range(len(row)):
        alone = False
        for last in range(first, min(first + MOST_PIECES, len(row))):
            alone = alone or row[last][1] - row[last][0] == 1
            if last > first and (alone or (first == 0 and last == len(row) - 1)):
                word = _one_word(reading, row[first : last + 1])
                if alone or not word.text.isdigit():  # 14.88 is a price
                    yield word


def _spelled_out(text: str, pieces: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Yield rows of single letters."""
    row: list[tuple[int, int]] = []
    for piece in pieces:
        single = piece[1] - piece[0] == 1
        if row and (not single or len("".join(text[row[-1][1] : piece[0]].split())) > WIDEST_GAP):
            if len(row) >= LEAST_SPELLED:
                yield row
            row = []
        if single:
            row.append(piece)
    if len(row) >= LEAST_SPELLED:
        yield row


def _read_out(reading: Reading, row: list[tuple[int, int]]) -> Iterator[Spelling]:
    """Yield a row of letters as one word, its parts between wider gaps, and both without a word of one letter."""
    gaps = [start - end for (_, end), (start, _) in pairwise(row)]
    parts: list[list[tuple[int, int]]] = [[row[0]]]
    usual = min(gaps)
    for gap, piece in zip(gaps, row[1:], strict=True):
        if gap > usual:
            parts.append([])
        parts[-1].append(piece)
    for part in [row] if len(parts) == 1 else [row, *parts]:
        rest = [part]
        if reading.text[part[0][0]] in LONERS:
            rest.append(part[1:])
        if reading.text[part[-1][0]] in LONERS:
            rest += [one[:-1] for one in rest]
        for letters in rest:
            if len(letters) >= LEAST_SPELLED:
                yield _one_word(reading, letters)


def _one_word(reading: Reading, row: list[tuple[int, int]]) -> Spelling:
    text = "".join(reading.text[start:end] for start, end in row)
    start, end = row[0][0], row[-1][1]
    return Spelling(text, start, end, any(reading.posing[start:end]))
