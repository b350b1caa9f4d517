"""How the bot keeps in touch with Discord: shards, sessions, commands, and what it counts of it."""
