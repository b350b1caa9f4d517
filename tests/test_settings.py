"""Settings: what an operator gets wrong is said by name, and never with its value."""

from __future__ import annotations

import pytest

from flux_core.errors import ConfigurationError
from flux_core.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Run in an empty folder, so that no .env of a developer joins in."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def test_everything_has_a_default(tmp_path):
    settings = load_settings()
    assert settings.discord_token is None
    assert settings.pictures == str(tmp_path / "data" / "pictures")
    assert settings.database == f"sqlite:///{tmp_path / 'data' / 'flux-bot.db'}"
    assert [spec.id for spec in settings.catalogue] == ["flux-tiny"]


def test_a_file_and_the_environment_are_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("DISCORD_TOKEN=from-the-file\nMAX_WAITING=3\n")
    monkeypatch.setenv("MAX_WAITING", "4")
    settings = load_settings()
    assert settings.discord_token.get_secret_value() == "from-the-file"
    assert settings.max_waiting == 4
    assert "from-the-file" not in repr(settings)


@pytest.mark.parametrize("name", ["DISCORD_TOKEN", "HF_TOKEN", "DEFAULT_MODEL", "DATABASE_URL", "PICTURE_STORE"])
def test_what_is_left_blank_is_not_given(monkeypatch, name):
    monkeypatch.setenv(name, " ")
    settings = load_settings()
    assert getattr(settings, name.lower()) is None
    assert settings.catalogue.default.id == "flux-tiny"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIMEZONE", "secret-value"),
        ("MAX_WAITING", "secret-value"),
        ("MAX_WAITING", "0"),
        ("LOG_LEVEL", "secret-value"),
        ("SANDBOX_PORT", "70000"),
        ("OWNER_IDS", "12, somebody"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert name in str(caught.value)


def test_a_secret_in_the_wrong_place_is_not_repeated(monkeypatch):
    monkeypatch.setenv("MAX_WAITING", "a-pasted-secret")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "a-pasted-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "ids"),
    [("", set()), ("12", {12}), ("12,34", {12, 34}), (" 12, 34 ,", {12, 34}), ("[12, 34]", {12, 34}), ("[]", set())],
)
def test_owners_are_a_list_with_commas(monkeypatch, written, ids):
    monkeypatch.setenv("OWNER_IDS", written)
    assert load_settings().owner_ids == ids


def test_the_data_may_lie_below_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anne")
    settings = load_settings(data_dir="~/flux")
    assert settings.pictures == "/home/anne/flux/pictures"
    assert settings.database == "sqlite:////home/anne/flux/flux-bot.db"


@pytest.mark.parametrize(
    ("paths", "default", "offered"),
    [
        ({"FLUX_SCHNELL_PATH": "hub/schnell"}, "flux-schnell", ["flux-schnell", "flux-tiny"]),
        ({"FLUX_DEV_PATH": "hub/dev"}, "flux-dev", ["flux-dev", "flux-tiny"]),
        ({"FLUX_DEV_PATH": "hub/dev", "DEFAULT_MODEL": "flux-tiny"}, "flux-tiny", ["flux-dev", "flux-tiny"]),
        ({"FLUX_DEV_PATH": "hub/dev", "FLUX_TINY_PATH": ""}, "flux-dev", ["flux-dev"]),
    ],
)
def test_models_are_offered_when_their_place_is_known(monkeypatch, paths, default, offered):
    for name, value in paths.items():
        monkeypatch.setenv(name, value)
    catalogue = load_settings().catalogue
    assert [spec.id for spec in catalogue] == offered
    assert catalogue.default.id == default


@pytest.mark.parametrize("wrong", [{"DEFAULT_MODEL": "flux-dev"}, {"FLUX_TINY_PATH": ""}])
def test_a_house_without_its_model_does_not_open(monkeypatch, wrong):
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=r"FLUX_|DEFAULT_MODEL"):
        _ = load_settings().catalogue
