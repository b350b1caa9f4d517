"""The docs tell the truth: every setting and every command is in them, as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from discord import app_commands

from bot.cli import app
from bot.commands import COMMANDS
from flux_core.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()


def shell_commands(group, path="flux-bot"):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from shell_commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_each_setting_is_documented_with_its_own_description(name):
    assert f"| `{name.upper()}` |" in SETTINGS
    assert Settings.model_fields[name].description in SETTINGS


def test_no_setting_is_documented_that_does_not_exist():
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", SETTINGS, re.MULTILINE))
    assert named == {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("command", sorted(shell_commands(typer.main.get_command(app))))
def test_each_command_of_the_shell_is_in_the_readme(command):
    assert f"`{command}`" in README


def slash_commands(commands):
    for command in commands:
        if isinstance(command, app_commands.Group):
            yield from slash_commands(command.commands)
        else:
            yield command


@pytest.mark.parametrize("command", list(slash_commands(COMMANDS)), ids=lambda command: command.qualified_name)
def test_each_slash_command_is_in_the_readme(command):
    assert f"`/{command.qualified_name}`" in README


def test_each_option_of_imagine_is_in_the_readme():
    [imagine] = [command for command in slash_commands(COMMANDS) if command.name == "imagine"]
    [row] = [line for line in README.splitlines() if line.startswith("| `/imagine`")]
    assert [option.display_name for option in imagine.parameters if f"`{option.display_name}`" not in row] == []


def test_each_file_that_the_readme_names_is_there():
    linked = re.findall(r"\]\((?!https?://|#)([^)]+)\)", README)
    missing = [path for path in linked if not (ROOT / path).exists()]
    assert missing == []


def test_each_dependency_is_explained_in_the_readme():
    pyproject = (ROOT / "pyproject.toml").read_text()
    runtime = pyproject[pyproject.index("dependencies = [") : pyproject.index("test = [")]
    names = re.findall(r'"([A-Za-z][A-Za-z.-]*?)(?:\[\w+\])?[><=]', runtime)
    explained = README[README.index("### Built on") :].lower()
    assert len(names) > 10
    assert [name for name in names if name.lower() not in explained] == []
