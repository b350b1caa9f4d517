"""No secret reaches a log, in whatever way it gets there."""

import io
import json
import logging

import pytest
from pydantic import SecretStr

from flux_core.logs import configure_logging, mask
from flux_core.settings import Settings
from tests import vendors

HUB_TOKEN = "hf_" + "t" * 34
PROVIDER_KEY = "tttttt-of-the-cloud"
PASSWORD = "tttttt-of-the-garage"
DATABASE = "postgresql://flux:tttttt-of-the-database@db/flux"
TOKEN = "abcdefghijklmnopqrstuvwx.ABCDEF.0123456789_-abcdefghijklmno"


@pytest.fixture
def logged(monkeypatch):
    vendors.only_these(monkeypatch)
    monkeypatch.setenv("CLOUD_API_KEY", PROVIDER_KEY)
    monkeypatch.setenv("GARAGE_PASSWORD", PASSWORD)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    tokens = {"discord_token": SecretStr(TOKEN), "hf_token": SecretStr(HUB_TOKEN)}
    configure_logging(Settings(**tokens, database_url=DATABASE, log_format="json", _env_file=None), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        f"logging in with {TOKEN}",
        f"the hub refused {HUB_TOKEN}",
        f"{{'headers': ['x-key', '{PROVIDER_KEY}']}}",
        f"the server at home does not take {PASSWORD}",
        f"PATCH https://discord.com/api/v10/webhooks/12345/{'t' * 60}/messages/@original -> 500",
        f"POST /interactions/12345/{'t' * 60}/callback",
        f"Authorization: Bot {'t' * 40}",
        f"{{'token': '{'t' * 40}'}}",
        f"postgresql://flux:{'t' * 40}@db/flux",
        "the server does not take tttttt-of-the-database",
        f"EACHLABS_API_KEY={'t' * 40}",
    ],
)
def test_secrets_in_messages_are_masked(logged, text):
    logging.getLogger("anything").warning(text)
    [line] = logged()
    assert TOKEN not in line["event"]
    assert "tttttt" not in line["event"]
    assert "***" in line["event"]


def test_a_secret_inside_a_traceback_is_masked(logged):
    try:
        raise RuntimeError(f"refused: {TOKEN}")
    except RuntimeError:
        logging.getLogger("anything").exception("it broke")
    [line] = logged()
    assert "RuntimeError" in line["exception"]
    assert TOKEN not in json.dumps(line)


def test_a_plain_sentence_stays_as_it_is():
    sentence = "job 0193a2 drew 4 pictures at /pictures/0193a2/0.webp in 3.2 s"
    assert mask(sentence) == sentence
