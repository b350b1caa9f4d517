"""/admin blocklist: words that this server does not want in prompts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import discord
from discord import app_commands

from bot.commands.admin import choosing
from bot.commands.admin.check import check
from bot.interactions.answers import answer
from bot.interactions.paging import page_of, paged
from bot.layouts import panels_moderation
from bot.layouts.cards import Card
from flux_core.generation import MAX_PROMPT
from flux_core.moderation.prompts import judge
from flux_core.moderation.rule_edits import name_of, new_rule, rule_called, with_rule, without_rule

if TYPE_CHECKING:
    from bot.client import FluxBot

blocklist = app_commands.Group(name="blocklist", description="Rules about prompts.")

Pattern = app_commands.Range[str, 1, 300]
Prompt = app_commands.Range[str, 1, MAX_PROMPT]


@blocklist.command(description="Add a rule, or change what one does.")
@app_commands.describe(
    kind="A whole word; words in a row, also within words; RE2's syntax",
    pattern="What to look for, however it is disguised",
    action="By default refuse",
    everywhere="False: not in age-restricted channels",
)
async def add(
    interaction: discord.Interaction[FluxBot],
    kind: Literal["word", "phrase", "regex"],
    pattern: Pattern,
    action: Literal["refuse", "spoiler", "approve"] = "refuse",
    everywhere: bool = True,
) -> None:
    """Put a rule in, in place of one for the same pattern."""
    check(interaction)
    rule = new_rule(kind, pattern, action, everywhere)
    await interaction.client.studio.policies.change(
        interaction.guild_id or 0,
        lambda before: with_rule(before, rule),
        by=interaction.user.id,
        action="blocklist add",
        kind=kind,
        pattern=rule.pattern,
        does=action,
        everywhere=everywhere,
    )
    await answer(interaction, f"From now on: {panels_moderation.rule(rule)}. `/admin blocklist test` tries it out.")


@choosing.for_moderators
async def rules(interaction: discord.Interaction[Any], typed: str) -> choosing.Choices:
    """Offer the rules that there are."""
    wanted, policy = typed.strip().casefold(), await interaction.client.studio.policies.of(interaction.guild_id or 0)
    named = [(panels_moderation.choice(rule), name_of(rule)) for rule in policy.prompt_rules]
    return [choosing.choice(name, value) for name, value in named if wanted in name.casefold()]


@blocklist.command(description="Take a rule out.")
@app_commands.describe(rule="Which one")
@app_commands.autocomplete(rule=rules)
async def remove(interaction: discord.Interaction[FluxBot], rule: Pattern) -> None:
    """Remove a rule by its name or pattern."""
    check(interaction)
    studio, guild_id = interaction.client.studio, interaction.guild_id or 0
    gone = rule_called(await studio.policies.of(guild_id), rule)
    await studio.policies.change(
        guild_id,
        lambda before: without_rule(before, rule_called(before, name_of(gone))),
        by=interaction.user.id,
        action="blocklist remove",
        kind=gone.kind,
        pattern=gone.pattern,
    )
    await answer(interaction, f"No rule any more: {panels_moderation.rule(gone)}.")


@blocklist.command(description="All rules.")
async def show(interaction: discord.Interaction[FluxBot]) -> None:
    """List the rules, privately."""
    await answer(interaction, await _page(interaction, ""))


@paged("blocklist")
async def _page(interaction: discord.Interaction[Any], cursor: str) -> Card:
    check(interaction)
    policy = await interaction.client.studio.policies.of(interaction.guild_id or 0)
    lines = [panels_moderation.rule(rule) for rule in policy.prompt_rules]
    return page_of("blocklist", "Rules about prompts", lines, cursor, empty="Any prompt is drawn.")


@blocklist.command(description="Tell what would happen to a prompt.")
@app_commands.describe(prompt="As a member would write it")
async def test(interaction: discord.Interaction[FluxBot], prompt: Prompt) -> None:
    """Tell what would become of a prompt."""
    check(interaction)
    rules = (await interaction.client.studio.policies.of(interaction.guild_id or 0)).prompt_rules
    # In a thread: the longest prompt and many rules take longer than other members should wait.
    everyday, grown_up = await asyncio.gather(
        *(asyncio.to_thread(judge, rules, prompt, age_restricted=where) for where in (False, True))
    )
    await answer(interaction, panels_moderation.trial(prompt, everyday, grown_up))
