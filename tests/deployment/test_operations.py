"""docs/operations.md names what there is: settings, commands, files, bounds."""

from __future__ import annotations

import re

import pytest
import typer.main

from bot.command_line.cli import app
from flux_core.database.engine import CLOCKS_APART
from flux_core.database.postgres import STATEMENT_SECONDS, _server_settings
from flux_core.insistence import RETRY_SECONDS
from flux_core.worker.process import STOP_SECONDS
from tests.deployment.dockerfile import ROOT, STAGES
from tests.deployment.known import FOREIGN, settings
from tests.deployment.test_compose import HOUSE, SERVICES

PAGE = (ROOT / "docs" / "operations.md").read_text()
BUILD_ARGUMENTS = {"TORCH_INDEX"}
OF_COMPOSE = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))


def test_every_variable_is_one_that_is_read() -> None:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", PAGE))
    block = set(re.findall(r"^([A-Z0-9_]+)=", PAGE, re.MULTILINE))
    assert len(named) > 10
    assert named <= settings() | FOREIGN | BUILD_ARGUMENTS
    assert block == OF_COMPOSE, "all that compose.yaml asks for, and no more"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`flux-bot ([a-z]+(?: [a-z]+)?)", PAGE))))
def test_every_command_exists(command: str) -> None:
    found = typer.main.get_command(app)
    for word in command.split():
        found = found.commands[word]  # type: ignore[attr-defined]


def test_every_file_and_link_is_there() -> None:
    paths = re.findall(r"`((?:deploy/|compose)[\w./-]*)`", PAGE) + re.findall(r"\]\((\w+\.md)", PAGE)
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists() and not (ROOT / "docs" / path).exists()] == []
    for page, title in re.findall(r"\]\((\w+\.md|)#([\w-]+)\)", PAGE):
        headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / (page or "operations.md")).read_text(), re.MULTILINE)
        assert title in [heading.lower().replace(" ", "-") for heading in headings]


def test_bounds_are_those_of_the_program() -> None:
    assert f"within {STOP_SECONDS:g} seconds" in PAGE
    assert 115 <= sum(RETRY_SECONDS) <= 135, "two minutes, it says"
    assert f"{SERVICES['worker']['stop_grace_period'].removesuffix('s')}\nseconds" in PAGE
    users = {rest for word, rest in STAGES["runtime"].lines if word == "USER"}
    assert f"user {users.pop()}" in PAGE


def test_a_pooler_is_told_to_take_whatever_connections_begin_with() -> None:
    [line] = re.findall(r"`ignore_startup_parameters = ([a-z_, ]+)`", PAGE)
    settings = _server_settings(STATEMENT_SECONDS).keys() - {"application_name"}
    assert set(line.split(", ")) == settings | {"synchronous_commit"}
    assert f"statement_timeout = '{STATEMENT_SECONDS:g}s'" in PAGE
    assert "two seconds off" in PAGE
    assert CLOCKS_APART == 2


def test_the_page_tells_of_every_service() -> None:
    assert [name for name in HOUSE["services"] if name not in PAGE.lower()] == []
