"""The doctor finds what is wrong and says what to do; a healthy house gets a clean bill."""

from __future__ import annotations

import io

import pytest
from pydantic import SecretStr
from rich.console import Console

from bot.doctor import examine
from bot.sandbox.server import Sandbox
from flux_core.settings import Settings


async def bill(settings):
    """Return whether the doctor is content, and what it printed."""
    screen = Console(file=io.StringIO(), width=300)
    healthy = await examine(settings, screen)
    return healthy, screen.file.getvalue()


@pytest.fixture
async def healthy_settings(tmp_path):
    (model := tmp_path / "tiny").mkdir()
    (model / "model_index.json").write_text("{}")
    async with Sandbox() as sandbox:
        yield Settings(
            data_dir=tmp_path / "data",
            discord_token=SecretStr(sandbox.token),
            discord_api_base=sandbox.api_base,
            flux_tiny_path=str(model),
            _env_file=None,
        )


async def test_a_healthy_house(healthy_settings):
    healthy, said = await bill(healthy_settings)
    assert healthy
    assert "The token belongs to flux-bot" in said
    assert "https://discord.com/oauth2/authorize?client_id=" in said
    assert healthy_settings.discord_token.get_secret_value() not in said


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ({"discord_token": SecretStr("wrong.token")}, "Reset Token"),
        ({"discord_token": SecretStr("wröng.token")}, "Reset Token"),
        ({"discord_api_base": "http://127.0.0.1:9/api/v10"}, "DISCORD_API_BASE"),
        ({"discord_api_base": "http://[::1"}, "DISCORD_API_BASE"),
        ({"flux_dev_path": "/nowhere/flux"}, "There is no folder /nowhere/flux"),
        ({"picture_store": "s4://bucket"}, "PICTURE_STORE"),
        ({"database_url": "mysql://user:hunter2hunter2@host/db"}, "DATABASE_URL"),
    ],
)
async def test_what_is_wrong_gets_advice(healthy_settings, change, advice):
    healthy, said = await bill(healthy_settings.model_copy(update=change))
    assert not healthy
    assert advice in said
    assert "hunter2" not in said


async def test_an_address_that_is_no_api_is_named(healthy_settings):
    page = healthy_settings.discord_api_base.removesuffix("/api/v10") + "/sandbox/world?"
    healthy, said = await bill(healthy_settings.model_copy(update={"discord_api_base": page}))
    assert not healthy
    assert "DISCORD_API_BASE" in said


async def test_a_folder_that_is_no_model_is_named(healthy_settings, tmp_path):
    (empty := tmp_path / "empty").mkdir()
    healthy, said = await bill(healthy_settings.model_copy(update={"flux_schnell_path": str(empty)}))
    assert not healthy
    assert "model_index.json" in said
