"""A bounded number of random lives of a whole studio, the same ones every time.

``python -m tests.database.life`` plays as many others as one likes.
"""

from __future__ import annotations

import pytest

from tests.database.life.base import Base
from tests.database.life.machine import live

pytestmark = pytest.mark.timeout(900)  # where a life goes wrong, the shortest way there is looked for


def test_whatever_happens_in_whatever_order_on_a_file() -> None:
    Base.met.clear()
    live("sqlite", examples=14, steps=80)
    # They are lives: jobs end in every way, are paid in every way, and are handed over.
    ends = {
        "succeeded",
        "failed",
        "cancelled",
        "settle",
        "refund",
        "delivered",
        "ordered",
        "worker_lost",
        "outcome_unknown",
    }
    assert ends <= set(Base.met)


def test_whatever_happens_in_whatever_order_on_a_server() -> None:
    live("postgresql", examples=6, steps=50)
