"""Settings: what an operator gets wrong is said by name, and never with its value."""

from __future__ import annotations

import pytest

from flux_core import provider_settings
from flux_core.errors import ConfigurationError
from flux_core.provider_settings import DAILY_CAP
from flux_core.settings import Settings, load_settings
from tests import vendors


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """Run in an empty folder, so that no .env of a developer joins in."""
    monkeypatch.chdir(tmp_path)
    vendors.only_these(monkeypatch)
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
        ("NON_COMMERCIAL_MODELS", "secret-value"),
        ("PROMPT_IN_PICTURES", "secret-value"),
        ("OWNER_IDS", "12, somebody"),
        ("ROUTE_FIRST", "secret-value"),
        ("ROUTE_ORDER", "secret-value"),
        ("OVERFLOW_SECONDS", "nan"),
        ("OFFERED_ELSEWHERE", "flux-dev, secret-value"),
        ("CLOUD_API_KEY", "secret-value\nsecond line"),
        ("CLOUD_BASE_URL", "secret-value"),
        ("CLOUD_BASE_URL", "ftp://secret-value"),
        ("CLOUD_BASE_URL", "https://anne:secret-value@host"),
        ("CLOUD_BASE_URL", "https://host/v1?key=secret-value"),
        ("CLOUD_CONCURRENCY", "0"),
        ("CLOUD_PER_MINUTE", "inf"),
        ("CLOUD_DAILY_CAP", "-1"),
        ("CLOUD_DAILY_CAP", "secret-value"),
        ("CLOUD_MODELS", "flux-dev"),
        ("CLOUD_MODELS", "secret-value=theirs"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert "secret-value" not in str(caught.value)


def test_a_file_in_another_encoding_is_told(tmp_path):
    (tmp_path / ".env").write_bytes("# in a café\nTIMEZONE=UTC\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"\.env is not written in UTF-8"):
        load_settings()


def test_a_file_that_may_not_be_read_is_told(monkeypatch, tmp_path):
    def refused(*args, **options):
        raise PermissionError(13, "Permission denied")

    (tmp_path / ".env").write_text("TIMEZONE=UTC\n")
    monkeypatch.setattr("dotenv.main.open", refused, raising=False)  # whoever tests as root may read everything
    with pytest.raises(ConfigurationError, match=r"\.env in .* cannot be read: Permission denied"):
        load_settings()


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


def test_a_provider_is_configured_by_its_key_alone(monkeypatch):
    monkeypatch.setenv("CLOUD_API_KEY", "key-of-the-cloud")
    settings = load_settings()
    assert list(settings.providers) == ["cloud"]
    given = settings.providers["cloud"]
    access = given.access(vendors.Cloud)
    assert (access.base_url, access.key) == ("https://api.cloud.example/v1", "key-of-the-cloud")
    assert given.daily_cap == DAILY_CAP
    assert (given.concurrency, given.per_minute) == (None, None)
    assert "key-of-the-cloud" not in repr(settings) + repr(given) + repr(access)
    assert list(given.secrets) == ["key-of-the-cloud"]


def test_everything_about_a_provider_can_be_set(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text(
        "CLOUD_API_KEY=k\nCLOUD_BASE_URL=http://127.0.0.1:9/api/\nCLOUD_CONCURRENCY=7\nCLOUD_PER_MINUTE=2.5\n"
        "CLOUD_DAILY_CAP=none\nCLOUD_MODELS=flux-dev = their/dev , flux-schnell=s=1\n"
    )
    monkeypatch.setenv("CLOUD_CONCURRENCY", "8")
    given = load_settings().providers["cloud"]
    assert (given.concurrency, given.per_minute, given.daily_cap) == (8, 2.5, None)
    access = given.access(vendors.Cloud)
    assert access.base_url == "http://127.0.0.1:9/api"
    assert access.models == {"flux-dev": "their/dev", "flux-schnell": "s=1"}
    assert load_settings(_env_file=None).providers == {}


@pytest.mark.parametrize(
    ("given", "configured"),
    [
        ({}, []),
        ({"CLOUD_API_KEY": " "}, []),
        ({"CLOUD_BASE_URL": "http://localhost"}, []),
        ({"GARAGE_API_KEY": "k"}, []),
        ({"GARAGE_BASE_URL": "http://localhost:8188"}, ["garage"]),
        ({"COMMONS_API_KEY": "k"}, ["commons"]),
        ({"COMMONS_BASE_URL": "https://commons.example"}, ["commons"]),
        ({"CLOUD_API_KEY": "k", "GARAGE_BASE_URL": "http://localhost"}, ["cloud", "garage"]),
    ],
)
def test_who_counts_as_configured(monkeypatch, given, configured):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert list(load_settings().providers) == configured


def test_what_is_missing_is_named():
    missing = {
        name: given.missing(provider_settings.vendors()[name]) for name, given in load_settings().every_provider.items()
    }
    assert missing == {
        "cloud": ["CLOUD_API_KEY"],
        "garage": ["GARAGE_BASE_URL"],
        "commons": ["COMMONS_API_KEY"],
    }


def test_a_blank_cap_is_the_default_and_never_no_cap(monkeypatch):
    monkeypatch.setenv("CLOUD_DAILY_CAP", "")
    assert load_settings().every_provider["cloud"].daily_cap == DAILY_CAP
    monkeypatch.setenv("CLOUD_DAILY_CAP", "0")
    assert load_settings().every_provider["cloud"].daily_cap == 0


def test_a_vendor_has_settings_of_its_own(monkeypatch):
    monkeypatch.setenv("GARAGE_BASE_URL", "http://localhost")
    monkeypatch.setenv("GARAGE_WORKFLOW", "flux.json")
    monkeypatch.setenv("GARAGE_PASSWORD", "of-the-garage")
    settings = load_settings()
    given = settings.providers["garage"]
    assert given.access(vendors.Garage).extra == {"workflow": "flux.json", "password": "of-the-garage"}
    assert list(given.secrets) == ["of-the-garage"]
    assert "of-the-garage" not in repr(given) + repr(settings)


def test_models_are_offered_that_others_draw(monkeypatch):
    monkeypatch.setenv("CLOUD_API_KEY", "k")
    monkeypatch.setenv("OFFERED_ELSEWHERE", "flux-pro-1.1")
    catalogue = load_settings().catalogue
    assert {spec.id: spec.local for spec in catalogue} == {
        "flux-schnell": False,
        "flux-dev": False,
        "flux-tiny": True,
        "flux-pro-1.1": False,
    }


def test_the_operator_decides_who_comes_first(monkeypatch):
    for name, value in {"ROUTE_FIRST": "hosted", "ROUTE_ORDER": "fastest", "OVERFLOW_SECONDS": "7"}.items():
        monkeypatch.setenv(name, value)
    routing = load_settings().routing
    assert (routing.first, routing.order, routing.overflow_seconds, routing.providers) == ("hosted", "fastest", 7, None)


@pytest.mark.parametrize(
    "where", [{"FLUX_DEV_PATH": "hub/dev"}, {"CLOUD_API_KEY": "k"}, {"OFFERED_ELSEWHERE": "flux-dev"}]
)
def test_one_setting_turns_models_off_that_forbid_commerce_whoever_would_draw_them(monkeypatch, where):
    for name, value in where.items():
        monkeypatch.setenv(name, value)
    before = [spec.id for spec in load_settings().catalogue]
    assert "flux-dev" in before
    monkeypatch.setenv("NON_COMMERCIAL_MODELS", "false")
    assert [spec.id for spec in load_settings().catalogue] == [id for id in before if id != "flux-dev"]
    monkeypatch.setenv("DEFAULT_MODEL", "flux-dev")
    with pytest.raises(ConfigurationError, match=r"DEFAULT_MODEL.*NON_COMMERCIAL_MODELS"):
        _ = load_settings().catalogue
