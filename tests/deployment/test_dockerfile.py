"""The images: what a linter says of them, who they run as, and what is in them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.deployment.dockerfile import ROOT, STAGES, context, environment, healthcheck, instructions, last
from tests.deployment.known import FOREIGN, settings

DOCKERFILE = ROOT / "Dockerfile"
OF_PYTHON = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize("target", ["bot", "worker"])
def test_an_image_runs_its_half_as_nobody_in_particular(target: str) -> None:
    lines = instructions(target, STAGES)
    user = last("USER", lines)
    assert user.isdigit(), "Kubernetes' runAsNonRoot cannot look names up"
    assert int(user) > 0
    assert json.loads(last("CMD", lines)) == ["flux-bot", target]
    assert "/healthz" in " ".join(healthcheck(lines))
    assert last("VOLUME", lines) == environment(lines)["DATA_DIR"]


@pytest.mark.parametrize("target", ["bot", "worker"])
def test_an_image_holds_its_environment_and_nothing_that_built_it(target: str) -> None:
    copied = [rest for word, rest in instructions(target, STAGES) if word in ("COPY", "ADD")]
    assert copied == [f"--from=build-{target} /opt/flux /opt/flux"]
    installed = [rest for word, rest in instructions(f"build-{target}", STAGES) if word == "RUN"]
    assert f"pip install -c constraints.txt '.[{target}]'" in installed


@pytest.mark.parametrize("target", ["bot", "worker"])
def test_an_image_sets_no_variable_that_nobody_reads(target: str) -> None:
    assert set(environment(instructions(target, STAGES))) <= settings() | FOREIGN | OF_PYTHON


def test_the_bot_has_no_torch() -> None:
    assert "torch" not in " ".join(rest for _, rest in instructions("build-bot", STAGES))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not [need for need in extras["bot"] if re.match("torch|diffusers|transformers", need)]


def test_no_secret_and_no_rubbish_gets_into_a_build() -> None:
    seen = {path.parts[0] for path in context()}
    assert seen == {"pyproject.toml", "constraints.txt", "README.md", "LICENSE", "bot", "flux_core"}
    copied = {part for word, rest in STAGES["build"].lines if word == "COPY" for part in rest.split()[:-1]}
    assert copied == seen
    assert not [path for path in context() if path.suffix == ".pyc" or path.name.startswith(".env")]
