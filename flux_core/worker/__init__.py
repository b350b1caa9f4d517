"""Whoever draws: claims jobs, draws them, stores the pictures and writes how it ended."""
