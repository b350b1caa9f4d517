"""make, before there is anything to test with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment.dockerfile import ROOT


@pytest.mark.parametrize("python", ["./older", "missing"])
def test_a_python_that_is_too_old_is_told_before_anything_is_made(tmp_path: Path, python: str) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (older := tmp_path / "older").write_text("#!/bin/sh\nexit 1\n")  # what it is asked for is whether it is new enough
    older.chmod(0o755)
    run = subprocess.run(["make", "run", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"flux-bot needs Python 3.11 or newer, and {python} is none." in run.stderr
    assert "make run PYTHON=python3.11" in run.stderr
    assert not (tmp_path / ".venv").exists()
