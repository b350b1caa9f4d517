"""What a run says: the seed that repeats it, every kill, what happened, and what must not have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.bench.report import machine
from tests.soak.run import Result

EXAMPLES = 5


def written(result: Result, command: str) -> str:
    """Return the report as lines of text; ``command`` repeats the run."""
    return "\n".join(_lines(result, command))


def _lines(result: Result, command: str) -> Iterator[str]:
    setup, findings = result.setup, result.findings
    kind = "PostgreSQL" if setup.server else "SQLite"
    yield f"Soak on {kind}, seed {result.seed}: {setup.jobs} jobs, {setup.bots} bots, {setup.workers} workers"
    yield f"{machine()}, {datetime.now(UTC):%Y-%m-%d}"
    yield f"again: {command}"
    yield f"{result.seconds:.0f} s, of which {result.settled_after:.0f} s after the last order"
    yield "\nKilled:"
    yield from (f"  {number:>5}  {what}" for what, number in sorted(result.killed.items()))
    yield from (f"  {kill}" for kill in result.schedule)
    yield "\nEnded by themselves and started anew:"
    yield from (f"  {number:>5}  {what}" for what, number in sorted(Counter(result.ended).items()))
    yield "\nWhat happened:"
    for what, number in sorted({**result.did, **findings.counts}.items()):
        yield f"  {number:>7,}  {what}"
    yield "\nWhat must not happen:"
    for what in PROMISES:
        yield f"  {len(findings.wrong.get(what, [])):>7,}  {what}"
    for what, examples in findings.wrong.items():
        yield f"\nWRONG, {what}: {len(examples)}"
        yield from (f"  {example}" for example in examples[:EXAMPLES])


PROMISES = (
    "accepted and lost",
    "shown and not in the database",
    "an answer that shows another order's job",
    "not ended",
    "neither delivered nor given up with a reason",
    "delivered and nowhere to be seen",
    "posted twice",
    "charged wrongly",
    "settled or refunded other than once",
    "the books do not agree",
    "succeeded without its pictures",
    "shown with other pictures than it has",
    "pictures of a job that did not succeed",
    "pictures that are not in the store",
    "files that nothing refers to",
    "messages that wait for ever",
    "work that is left",
)
"""Everything that an inspection looks for."""
