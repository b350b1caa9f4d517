"""``flux-bot bot`` that takes a killed bot's deliveries over within seconds, for a run that has no more."""

from __future__ import annotations

import sys

from bot.command_line import cli
from bot.delivery import outbox as delivery

LEASE_SECONDS = 4.0

if __name__ == "__main__":
    delivery.LEASE = LEASE_SECONDS
    sys.argv = ["flux-bot", "bot"]
    cli.main()
