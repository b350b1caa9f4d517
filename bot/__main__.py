"""Run the flux-bot command as ``python -m bot``."""

from bot.command_line.cli import main

main()
