"""``flux-bot bench``: how fast this machine draws, against what its matrix units could."""
