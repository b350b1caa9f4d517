"""What is kept with a job of what was ordered."""

from __future__ import annotations

import asyncio

import pytest

from flux_core.providers.hosted.receipt import (
    Ended,
    Receipt,
    ReceiptUnreadable,
    Sent,
    State,
    Ticket,
    parse,
    text_of,
)

EVERY: list[State] = [None, Sent("0b5c"), Ticket('{"url": "https://a.example/1?x=ü"}'), Ended("nudity")]


def test_every_state_comes_back_and_the_text_is_short() -> None:
    text = text_of(EVERY)
    assert parse(text, 4) == EVERY
    assert len(text) < 160


@pytest.mark.parametrize(
    "text",
    [
        "",
        "task-17",
        "null",
        "[]",
        "{}",
        '{"v":1}',
        '{"v":2,"shots":[null,null,null,null]}',
        '{"v":1,"shots":[null]}',
        '{"v":1,"shots":[null,null,null,["paid","x"]]}',
        '{"v":1,"shots":[null,null,null,["ticket",7]]}',
        '{"v":1,"shots":[null,null,null,["ticket"]]}',
        '{"v":1,"shots":"abcd"}',
        "[" * 100_000,
    ],
)
def test_a_text_that_tells_nothing_is_not_taken_for_an_empty_receipt(text: str) -> None:
    with pytest.raises(ReceiptUnreadable):
        parse(text, 4)


class Disk:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.fails = 0

    async def write(self, text: str) -> None:
        await asyncio.sleep(0.03)
        if self.fails:
            self.fails -= 1
            raise OSError("away")
        self.texts.append(text)


async def test_what_is_kept_together_is_written_once() -> None:
    disk = Disk()
    receipt = Receipt([None] * 4, disk.write, written=False)

    async def send(index: int) -> None:
        receipt[index] = Sent(str(index))
        await receipt.keep()
        assert parse(disk.texts[-1], 4)[index] == Sent(str(index))

    await asyncio.gather(*(send(index) for index in range(4)))
    assert len(disk.texts) == 1
    await receipt.keep()
    assert len(disk.texts) == 1


async def test_what_changes_while_it_is_written_is_written_after() -> None:
    disk = Disk()
    receipt = Receipt([None, None], disk.write, written=False)
    receipt[0] = Sent("a")
    writing = asyncio.create_task(receipt.keep())
    await asyncio.sleep(0.015)
    receipt[1] = Sent("b")
    await asyncio.gather(writing, receipt.keep())
    assert [parse(text, 2) for text in disk.texts] == [[Sent("a"), None], [Sent("a"), Sent("b")]]


async def test_a_write_that_failed_is_made_up_for() -> None:
    disk = Disk()
    disk.fails = 1
    receipt = Receipt([None], disk.write, written=False)
    receipt[0] = Sent("a")
    with pytest.raises(OSError, match="away"):
        await receipt.keep()
    await receipt.keep()
    assert len(disk.texts) == 1


async def test_a_job_of_which_nothing_is_ordered_is_let_go_of_once() -> None:
    disk = Disk()
    fresh = Receipt([None, None], disk.write, written=False)
    await fresh.clear()
    assert disk.texts == []
    ordered = Receipt([Ticket("a"), Ended("no")], disk.write, written=True)
    await ordered.clear()
    await ordered.clear()
    assert disk.texts == [""]
