"""Many who ask the same kind of question at once are answered by one look at the database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Gathering(Generic[Question, Answer]):
    """Looks once for all who have asked. Who asks during a look waits for the next, so no answer is older than its
    question.
    """

    def __init__(self, look: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], *, most: int) -> None:
        """``look`` answers up to ``most`` questions, in their order; what it raises, all who asked for it get."""
        self._look = look
        self._most = most
        self._asked: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """Return the answer; raises what the look raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked.append((question, answer))
        if self._looking is None:
            # A task of its own: the look goes on for the others when whoever asked first gives up.
            self._looking = asyncio.create_task(self._look_for_all(), name="gathering")
        return await answer

    async def _look_for_all(self) -> None:
        try:
            while self._asked:
                some, self._asked = self._asked[: self._most], self._asked[self._most :]
                try:
                    answers = await self._look([question for question, _ in some])
                except Exception as error:
                    for _, answer in some:
                        if not answer.done():
                            answer.set_exception(error)
                else:
                    for (_, answer), found in zip(some, answers, strict=True):
                        if not answer.done():
                            answer.set_result(found)
        finally:
            self._looking = None
