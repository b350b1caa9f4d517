"""A whole studio's life in random order, beside a model that says after every step what has to be true.

``python -m tests.database.life --examples 2000`` runs it long; see ``__main__``.
"""
