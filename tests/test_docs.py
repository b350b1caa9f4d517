"""The docs tell the truth: every setting and every command is in them, as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main
from discord import app_commands

from bot.command_line.cli import app
from bot.commands import COMMANDS
from flux_core.metrics.definitions import READINGS, REGISTRY
from flux_core.metrics.definitions import every as every_metric
from flux_core.provider_settings import DAILY_CAP, ProviderSettings, variable
from flux_core.providers.hosted.registry import VENDORS
from flux_core.providers.hosted.vendor import Access
from flux_core.settings import Settings

NEEDED = {"cloudflare": {"account_id": "0" * 32}}
"""Settings of their own that vendors do not work without."""
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
ADMINISTRATION = (ROOT / "docs" / "administration.md").read_text()


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
    named = set(re.findall(r"^\| `([A-Z0-9_]+)` \|", SETTINGS, re.MULTILINE))
    own = {variable(vendor, name) for vendor in VENDORS.values() for name in vendor.extra_settings}
    assert named == {name.upper() for name in Settings.model_fields} | own


@pytest.mark.parametrize("name", list(ProviderSettings.model_fields))
def test_each_setting_of_every_provider_is_documented(name):
    assert f"| `…_{name.upper()}` |" in SETTINGS
    assert ProviderSettings.model_fields[name].description in SETTINGS


@pytest.mark.parametrize("vendor", list(VENDORS.values()), ids=list(VENDORS))
def test_each_provider_is_documented_with_what_turns_it_on(vendor):
    needed = " and ".join(f"`{name}`" for name in ProviderSettings.model_construct().missing(vendor))
    limits = f"{vendor.limits.concurrency} | {vendor.limits.per_minute:g}"
    assert f"| {vendor.title} (`{vendor.name}`) | {needed} | {vendor.key_page} | {limits} |" in SETTINGS
    assert all(f"| {sentence} |" in SETTINGS for sentence in vendor.extra_settings.values())
    [row] = [line for line in README.splitlines() if line.startswith(f"| {vendor.title} |")]
    assert needed in row
    offers = vendor(Access(base_url=vendor.base_url, key=None, extra=NEEDED.get(vendor.name, {}))).offers
    named = [f"`{id}`" + ("" if offer.image_input is None else r"\*") for id, offer in offers.items()]
    assert sorted(re.findall(r"`flux-[a-z0-9.-]+`(?:\\\*)?", row)) == sorted(named)


def test_the_default_cap_is_documented():
    assert f"| `…_DAILY_CAP` | `{DAILY_CAP:g}` |" in SETTINGS


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
    menu = isinstance(command, app_commands.ContextMenu)
    assert (f"**{command.name}**" if menu else f"`/{command.qualified_name}`") in README


def under_admin():
    return {c.qualified_name: c for c in slash_commands(COMMANDS) if c.qualified_name.startswith("admin ")}


def of_limits():
    """The options that are explained once, in a table of their own."""
    table = ADMINISTRATION[ADMINISTRATION.index("The limits, in ") :].partition("\n\n**")[0]
    commands = re.findall(r"`/(admin [a-z ]+)`", table.partition("\n\n")[0])
    options = {
        name for row in re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    return commands, options


@pytest.mark.parametrize("name", list(under_admin()))
def test_each_admin_command_is_explained_to_moderators_with_all_its_options(name):
    [row] = [line for line in ADMINISTRATION.splitlines() if line.startswith(f"| `/{name}` |")]
    commands, elsewhere = of_limits()
    explained = set(re.findall(r"`(\w+)(?::[^`]*)?`", row)) | (elsewhere if name in commands else set())
    assert {option.display_name for option in under_admin()[name].parameters} <= explained


def test_moderators_read_of_no_command_and_no_option_that_does_not_exist():
    known = {c.qualified_name: {o.display_name for o in getattr(c, "parameters", ())} for c in slash_commands(COMMANDS)}
    groups = {name.rpartition(" ")[0] for name in known}
    named = re.findall(r"`/([a-z ]+?)((?: [a-z]+:[^`]*)?)`", ADMINISTRATION)
    block = ADMINISTRATION[ADMINISTRATION.index("```\n") + 4 :].partition("```")[0]
    named += re.findall(r"^/([a-z ]+?)((?: [a-z]+:.*)?)$", block, re.MULTILINE)
    assert len(named) > 60
    for name, options in named:
        assert name in known or (name in {*groups, "admin"} and not options), name
        assert set(re.findall(r" ([a-z]+):", options)) <= known.get(name, set()), (name, options)
    commands, options = of_limits()
    assert len(commands) == 3
    assert all(options - {"clear"} <= known[name] for name in commands)


def test_each_command_of_a_menu_is_explained_to_moderators():
    menus = [command.name for command in slash_commands(COMMANDS) if isinstance(command, app_commands.ContextMenu)]
    words = {"Picture details": "Details"}
    assert menus
    assert [name for name in menus if words.get(name, name) not in ADMINISTRATION] == []


def test_each_option_of_imagine_is_in_the_readme():
    [imagine] = [command for command in slash_commands(COMMANDS) if command.name == "imagine"]
    [row] = [line for line in README.splitlines() if line.startswith("| `/imagine`")]
    assert [option.display_name for option in imagine.parameters if f"`{option.display_name}`" not in row] == []


@pytest.mark.parametrize("reading", list(every_metric()), ids=lambda reading: reading.name)
def test_each_metric_is_documented_as_it_is(reading):
    labels = ", ".join(f"`{label}`" for label in reading.labels)
    assert f"| `{reading.name}` | {labels} | {reading.help} |" in METRICS


def test_no_metric_is_documented_that_does_not_exist():
    known = {reading.name for reading in every_metric()}
    named = {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bflux_[a-z_]+", METRICS)}
    assert named == known
    alarms = re.findall(r"(flux_[a-z_]+)\{(\w+)=", METRICS)
    labels = {reading.name: reading.labels for reading in every_metric()}
    assert len(alarms) >= 3
    assert all(label in labels[name] for name, label in alarms)


def test_all_that_is_counted_or_read_is_in_the_list_of_metrics():
    told = {family.name for family in REGISTRY.collect() if not family.name.startswith("process_")}
    assert told == {reading.name.removesuffix("_total") for reading in every_metric()} - {one.name for one in READINGS}


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
