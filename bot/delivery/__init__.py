"""Results on their way to members: the outbox, its ways, and what is to be deleted."""
