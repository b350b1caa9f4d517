"""The flux-bot command ends with a sentence for whoever has to put something right, never with a secret."""

from __future__ import annotations

import json
import logging

import pytest

from bot.command_line import cli

PASSWORD = "hunter-two-2718"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Keep the settings and the logs of whoever runs the tests out of this."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers.copy())
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setenv("DISCORD_TOKEN", "a-token-that-nobody-looks-at")


@pytest.mark.parametrize(
    ("url", "status", "reason"),
    [
        (f"postgresql://flux:{PASSWORD}@127.0.0.1:1/flux", 1, "The database does not answer: "),
        (f"postgres://flux:{PASSWORD}@127.0.0.1:1/flux", 1, "The database does not answer: "),
        ("sqlite:////dev/null/house/flux-bot.db", 1, "The folder of the database cannot be made: "),
        ("sqlite:///junk.db", 1, "The database does not answer: file is not a database. "),
        (f"mysql://flux:{PASSWORD}@db/flux", 2, "DATABASE_URL names 'mysql'"),
    ],
)
@pytest.mark.parametrize("command", [["db", "upgrade"], ["bot"]], ids=["db upgrade", "bot"])
def test_an_operator_reads_why_the_database_cannot_be_used(url, status, reason, command, tmp_path, monkeypatch, capsys):
    (tmp_path / "junk.db").write_text("Neither a database nor an empty file.\n" * 100)
    monkeypatch.setattr("sys.argv", ["flux-bot", *command])
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert said.startswith(f"flux-bot cannot run. {reason}")
    assert said.count("\n") == 1, "logs of containers have one line for it"
    assert ("`flux-bot doctor` says what to look at." in said) == (status == 1)
    assert end.value.code == status
    assert PASSWORD not in said


def test_what_nobody_foresaw_ends_in_a_line_of_the_log_and_keeps_its_secrets(tmp_path, monkeypatch, capsys):
    async def stumble(settings):
        raise RuntimeError(f"cannot read postgresql://flux:{PASSWORD}@db/flux")

    monkeypatch.setattr("bot.command_line.house.bot", stumble)
    monkeypatch.setattr("sys.argv", ["flux-bot", "bot"])
    monkeypatch.setenv("LOG_FORMAT", "json")
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    said = json.loads(capsys.readouterr().err)
    assert said["level"] == "critical"
    assert "RuntimeError: cannot read postgresql://flux:***@db/flux" in said["exception"]
