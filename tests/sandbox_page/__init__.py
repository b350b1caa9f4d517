"""The sandbox page in Chromium, with the real sandbox and a scripted discord.py bot."""
