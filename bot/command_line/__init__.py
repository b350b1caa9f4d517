"""The flux-bot command, and what each of its words does."""
