"""Alembic's place for the history of the tables."""
