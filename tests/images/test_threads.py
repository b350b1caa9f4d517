"""Pictures are decoded and encoded in threads that stand back."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import pytest

from flux_core.images.threads import NICENESS, in_picture_thread


async def test_work_is_done_in_another_thread_and_its_errors_come_back() -> None:
    assert await in_picture_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_picture_thread(lambda: 1 // 0)


async def test_a_processor_is_left_to_the_event_loop() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    await asyncio.gather(*(in_picture_thread(work) for _ in range(12)))
    assert 1 <= most <= max(1, (os.cpu_count() or 2) - 1)


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is counted by thread on Linux alone")
async def test_it_gives_way_without_slowing_the_process() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    there = await in_picture_thread(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert there == max(before, NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
