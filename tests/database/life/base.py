"""The ground that all rules stand on: doing something, whatever becomes of the transaction, and looking after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from inspect import getmembers
from itertools import count
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from flux_core.errors import FluxError, LeaseLost, MemberError, StorageUnavailable
from flux_core.jobs import Account
from tests.database.life.checks import check
from tests.database.life.ground import CARDS, HOSTED, WORKERS, Fate, Ground
from tests.database.life.model import Model
from tests.database.life.snapshot import Snapshot, snapshot

T = TypeVar("T")

DEED = "_deed"
ACCOUNTS = (Account(7, 1), Account(7, 2), Account(8, 1))
GUILDS = (7, 8)
account = st.sampled_from(ACCOUNTS)
guild = st.sampled_from(GUILDS)
card = st.sampled_from(CARDS)
hosted = st.sampled_from([*HOSTED])
worker = st.sampled_from(WORKERS)
which = st.integers(0, 5)
"""Which of those there are: counted round and round."""
fate: st.SearchStrategy[Fate] = st.sampled_from(["well", "well", "well", "well", "lost answer", "undone"])


@dataclass(frozen=True)
class Deed:
    """Something to do, as it is printed."""

    name: str
    given: dict[str, Any]

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.given.items())})"


@dataclass(frozen=True)
class Kind:
    """One kind of deed."""

    weight: int
    """How often it comes, beside the others."""
    when: Callable[[Any], object]
    """Whether there is anything to do it to."""
    given: st.SearchStrategy[dict[str, Any]]


def deed(
    weight: int, *, when: Callable[[Any], object] = lambda self: True, **given: st.SearchStrategy[Any]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Mark a method as a kind of deed.

    Rules of hypothesis's own come equally often, and half of them never in a given example: in forty steps, hardly a
    job would get from its order to its end.
    """

    def mark(method: Callable[..., None]) -> Callable[..., None]:
        setattr(method, DEED, Kind(weight, when, st.fixed_dictionaries(given)))
        return method

    return mark


@cache
def kinds(machine: type) -> dict[str, Kind]:
    """Return the kinds of deeds that a machine has."""
    return {name: getattr(method, DEED) for name, method in getmembers(machine) if hasattr(method, DEED)}


@cache
def deeds(machine: type) -> st.SearchStrategy[Deed]:
    """Return what a machine may do, possible at the moment or not: so one deed more or less leaves the others alone."""
    known = kinds(machine)
    often = sorted(known, key=lambda name: -known[name].weight)  # hypothesis likes what comes first
    names = [name for name in often for _ in range(known[name].weight)]
    return st.sampled_from(names).flatmap(lambda name: known[name].given.map(partial(Deed, name)))


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    result: Any
    """What was committed; None where nothing was."""
    committed: bool
    answered: bool
    """Whether the caller heard of it."""
    refusal: FluxError | None


class Base(RuleBasedStateMachine):
    """Does one thing after the other and compares."""

    ground: ClassVar[Ground]
    met: ClassVar[Counter[str]] = Counter()
    """What all of them did and met so far."""

    def __init__(self) -> None:
        super().__init__()
        self.house = self.ground.fresh()
        self.model = Model()
        self.hands: dict[str, list[str]] = {name: [] for name in WORKERS}
        """The jobs that each worker believes to have."""
        self.serial = count(1)
        self.idle = False
        self.untouched = False
        """Whether the last step is to have changed nothing at all."""
        self.model.alive = dict.fromkeys(WORKERS, self.now)
        self.seen: Snapshot = self.look()

    @property
    def now(self) -> float:
        """What the clocks say."""
        return self.house.clock.now

    def look(self) -> Snapshot:
        """Look at everything."""
        return self.ground.look(snapshot)

    def act(self, call: Callable[[], Awaitable[Any]], fate: Fate = "well") -> Outcome:
        """Do something that is one transaction, which meets ``fate``."""
        db = self.house.db
        db.fate = fate
        db.committed.clear()
        answered, refusal = True, None
        try:
            self.house.run(call())
        except StorageUnavailable:
            answered = False
        except (MemberError, LeaseLost) as error:
            refusal = error
        db.fate = "well"
        committed = bool(db.committed)
        self.untouched = not committed
        return Outcome(db.committed[-1] if committed else None, committed, answered, refusal)

    def _set(self, seconds: float) -> None:
        """Move the clocks by so many seconds."""
        self.house.clock.now += seconds
        self.untouched = True

    def read(self, awaitable: Awaitable[T]) -> T:
        """Return what something answers that changes nothing."""
        self.untouched = True
        return self.house.run(awaitable)

    @rule(deed=st.runner().flatmap(lambda self: deeds(type(self))))
    def do(self, deed: Deed) -> None:
        """Do something, where there is anything to do it to."""
        self.idle = not kinds(type(self))[deed.name].when(self)
        if not self.idle:
            self.met[deed.name] += 1
            getattr(self, deed.name)(**deed.given)

    @invariant()
    def everything_is_right(self) -> None:
        """Hold the database against the model."""
        if self.idle:
            return
        after = self.look()
        if self.untouched:
            assert after == self.seen, "nothing was to change"
        check(self.model, self.seen, after)
        self.seen, self.untouched = after, False


def pick(found: Sequence[T], which: int) -> T:
    """Return one of ``found``."""
    return found[which % len(found)]
