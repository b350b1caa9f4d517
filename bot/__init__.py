"""Everything that knows Discord, and the flux-bot command."""
