"""Settings as an operator writes them, and what is said about those that are wrong."""

from __future__ import annotations

import pytest

from flux_core.errors import ConfigurationError
from flux_core.settings import load_settings


@pytest.mark.parametrize(
    ("written", "ids"),
    [("", set()), ("12", {12}), ("12,34", {12, 34}), (" 12, 34 ,", {12, 34}), ("[12, 34]", {12, 34}), ("[]", set())],
)
def test_owners_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch, written: str, ids: set[int]) -> None:
    monkeypatch.setenv("OWNER_IDS", written)
    assert load_settings(_env_file=None).owner_ids == ids


def test_the_data_may_lie_below_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anne")
    settings = load_settings(data_dir="~/flux", _env_file=None)
    assert settings.pictures == "/home/anne/flux/pictures"
    assert settings.database == "sqlite:////home/anne/flux/flux-bot.db"


def test_each_wrong_setting_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OWNER_IDS", "12,anne")
    monkeypatch.setenv("WORKERS", "many")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(_env_file=None)
    told = str(caught.value)
    assert "OWNER_IDS" in told
    assert "WORKERS" in told
    assert "anne" not in told
    assert "many" not in told
