"""Each half runs without the other's libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

MISSING = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # importing it raises ImportError, as though it were not installed
import {module}
"""


@pytest.mark.parametrize(
    ("module", "missing"),
    [
        (
            "bot.session, bot.command_line.house, bot.command_line.cli, bot.sandbox.server",
            ["torch", "diffusers", "transformers", "numpy", "matplotlib"],
        ),
        ("flux_core.worker.process, flux_core.providers.local, bot.command_line.cli", ["discord", "aiohttp"]),
        ("flux_core.service, flux_core.bootstrap", ["discord", "aiohttp", "torch", "diffusers", "transformers"]),
    ],
)
def test_one_half_does_without_the_other(module, missing):
    script = MISSING.format(module=module, missing=missing)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
