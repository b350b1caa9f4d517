"""Processes are killed at random moments while a crowd draws, and nothing is lost, posted twice or charged twice.

``python -m tests.soak --jobs 2000 --seed 7`` runs the long version and prints its report; ``test_short`` a short one.
"""
