"""Whoever draws: the local engine, a scripted stand-in that ships, and one file per hosted vendor."""
