"""/admin usage: what was drawn, as a table, a chart and a file, for those who may see it."""

from __future__ import annotations

import csv
import io
from datetime import date
from typing import Any

import discord
import pytest
from PIL import Image

from bot.layouts import usage_chart, usage_table
from bot.layouts.usage_chart import Chart
from bot.sandbox import driver
from bot.sandbox.community import GUILD_ID
from bot.sandbox.driver import Person
from bot.sandbox.reading import RawMessage, pictures_of, text_of
from flux_core.database.usage import Report, Use
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import Account, Origin
from flux_core.service import Submission
from tests.bot.conftest import Stage
from tests.bot.scenes import account_of, draw, is_private

GUILD = int(GUILD_ID)
BARS = Chart(title="Pictures", subtitle="$5 and $6", names=["a$b$", "c"], values=[3, 0], told=["$3", "0"])


async def submit(stage: Stage, account: Account) -> None:
    request = resolve(RequestOptions(prompt="a boat", count=2), stage.studio.catalogue)
    await stage.studio.submit(Submission(account=account, request=request, origin=Origin.SHELL))


async def say(person: Person, **options: Any) -> RawMessage:
    return await person.response(await person.command("admin usage", **options), within=30)


async def csv_of(person: Person, message: RawMessage) -> list[dict[str, str]]:
    [file] = [one for one in message["attachments"] if one["filename"].endswith(".csv")]
    text = (await person.download(file["url"])).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process that draws not even start."""
    monkeypatch.setattr(usage_chart.sys, "executable", "/no/such/python")


async def test_a_report_has_a_table_a_chart_and_a_file(stage: Stage, ada: Person, grace: Person) -> None:
    await draw(stage, ada, prompt="a boat", count=2)
    told = await say(grace)
    assert is_private(told)
    assert "Usage by day, in this server" in text_of(told)
    assert "**1 job** · **2 pictures**" in text_of(told)
    [picture] = [url for url in pictures_of(told) if usage_table.CHART in url]
    with Image.open(io.BytesIO(await grace.download(picture))) as chart:
        assert (chart.format, chart.width) == ("PNG", 1200)
        colours = {colour for _, colour in chart.convert("RGB").getcolors(1 << 20) or ()}
    assert {(0x2B, 0x2D, 0x31), (0x79, 0x83, 0xF5)} <= colours, "the ground and a bar"
    rows = await csv_of(grace, told)
    assert len(rows) == 7
    assert [row["pictures"] for row in rows] == ["0"] * 6 + ["2"]


@pytest.mark.usefixtures("without_charts")
async def test_members_are_named_and_counted(stage: Stage, ada: Person, linus: Person, grace: Person) -> None:
    await draw(stage, ada, prompt="a boat", count=2)
    await submit(stage, account_of(linus))
    await submit(stage, Account(GUILD, 424242))
    await submit(stage, Account(GUILD + 1, 5))
    told = await say(grace, by="member", days=1)
    text = text_of(told)
    assert "The chart could not be drawn this time." in text
    assert "**3 jobs** · **2 pictures**" in text
    table = text.split("```")[1].strip().splitlines()
    assert table[0].split() == ["Member", "Jobs", "Pictures", "Credits", "Paid", "Failed", "Waited"]
    assert [line.split()[:3] for line in table[1:]] == [
        ["Ada", "1", "2"],
        ["Linus", "1", "0"],
        ["…424242", "1", "0"],
    ]
    rows = await csv_of(grace, told)
    assert [(row["member"], row["mention"]) for row in rows] == [
        ("Ada", f"<@{ada.id}>"),
        ("Linus", f"<@{linus.id}>"),
        ("", "<@424242>"),
    ]
    everywhere = text_of(await say(grace, by="model", days=1, everywhere=True))
    assert "Usage by model, in every server" in everywhere
    assert "**4 jobs**" in everywhere
    provider = text_of(await say(grace, by="provider", days=90))
    assert "not drawn" in provider


@pytest.mark.usefixtures("without_charts")
async def test_a_server_without_jobs_has_an_empty_report(grace: Person) -> None:
    told = await say(grace, by="provider")
    assert "Nothing was asked for in this time." in text_of(told)
    assert await csv_of(grace, told) == []


async def test_usage_is_for_those_who_run_the_server(stage: Stage, ada: Person, grace: Person) -> None:
    group = stage.sandbox.world.commands.named("admin", 1)
    assert group is not None
    group["default_member_permissions"] = None
    refusal = await say(ada)
    assert "Manage Server" in text_of(refusal)
    assert is_private(refusal)
    assert stage.bot is not None
    stage.bot.owners = frozenset()
    assert "Only the bot's owner" in text_of(await say(grace, everywhere=True))
    for days in (0, 91):
        with pytest.raises(driver.Refused):
            await grace.command("admin usage", days=days)
    with pytest.raises(driver.Refused):
        await grace.command("admin usage", by="moon")


async def test_a_chart_that_cannot_be_drawn_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert await usage_chart.draw(BARS, seconds=0.01) is None
    assert "longer than 0.01 s" in caplog.text
    monkeypatch.setattr(usage_chart, "_drawing", usage_chart.AT_ONCE)
    assert await usage_chart.draw(BARS) is None
    assert "are being drawn already" in caplog.text
    monkeypatch.setattr(usage_chart, "_drawing", 0)
    broken = Chart(title="x", subtitle="", names=["a"], values=["no number"], told=["1"])  # type: ignore[list-item]
    assert await usage_chart.draw(broken) is None
    assert "the process ended with 1" in caplog.text
    assert usage_chart._drawing == 0


def report(uses: dict[str, Use]) -> Report:
    total = Use(jobs=sum(use.jobs for use in uses.values()), pictures=sum(use.pictures for use in uses.values()))
    return Report(date(2026, 10, 23), date(2026, 11, 21), list(uses.items()), total)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("＝1", "'＝1"),
        ("Ada", "Ada"),
        ("", ""),
    ],
)
def test_no_name_is_a_formula_in_a_spreadsheet(cell: str, written: str) -> None:
    data = usage_table.sheet(report({"1": Use(jobs=1)}), "member", {"1": cell})
    [row] = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert row["member"] == written


def test_no_name_begins_a_cell_where_semicolons_part_them() -> None:
    data = usage_table.sheet(report({"1": Use(jobs=1)}), "member", {"1": 'a;=1+1;"b'})
    [_, row] = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";")
    assert not any(cell.startswith("=") for cell in row)


async def test_names_that_cannot_be_had_leave_the_report_whole(
    stage: Stage, ada: Person, grace: Person, without_charts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submit(stage, account_of(ada))

    async def broken(*_: object) -> None:
        raise ConnectionResetError("the line is cut")

    monkeypatch.setattr(discord.Guild, "fetch_member", broken)
    assert f"…{ada.id[-6:]}" in text_of(await say(grace, by="member"))


def test_a_long_table_is_cut_and_the_file_is_not() -> None:
    long = report({str(10**17 + number): Use(jobs=99_999, pictures=300 - number) for number in range(300)})
    names = usage_table.names_of(long, "member", {str(10**17): "`code` block"})
    text = usage_table._table(long, "member", names)
    assert len(text) < 3500
    assert "'code' block" in text
    assert "more; all of them are in the file" in text
    assert len(usage_table.sheet(long, "member", {}).splitlines()) == 301


def test_a_chart_has_at_most_twelve_bars_and_counts_the_others() -> None:
    uses = {f"m{number}": Use(jobs=1, pictures=20 - number) for number in range(15)}
    chart = usage_table.chart(report(uses), "model", usage_table.names_of(report(uses), "model", {}), "Here")
    assert len(chart.names) == usage_table.MOST_BARS
    assert chart.names[-1] == "4 others"
    assert chart.others_last
    assert chart.values[-1] == 9 + 8 + 7 + 6
    assert sum(chart.values) == sum(use.pictures for use in uses.values())
    assert chart.subtitle == "Here · 23 Oct – 21 Nov 2026 · 195 pictures"


def test_days_are_written_as_people_say_them() -> None:
    assert usage_table.span(date(2026, 11, 21), date(2026, 11, 21)) == "21 Nov 2026"
    assert usage_table.span(date(2026, 11, 15), date(2026, 11, 21)) == "15 – 21 Nov 2026"
    assert usage_table.span(date(2025, 12, 30), date(2026, 1, 2)) == "30 Dec 2025 – 2 Jan 2026"
