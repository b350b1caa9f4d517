"""A bounded number of random lives of a whole studio, the same ones every time; ``make soak`` plays many more."""

from __future__ import annotations

from tests.database.life.machine import live


def test_whatever_happens_in_whatever_order_on_a_file() -> None:
    live("sqlite", examples=25, steps=40)


def test_whatever_happens_in_whatever_order_on_a_server() -> None:
    live("postgresql", examples=8, steps=40)
