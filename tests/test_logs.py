"""No secret reaches a log, in whatever way it gets there."""

import io
import json
import logging
import subprocess
import sys
from datetime import timedelta

import asyncpg
import httpx
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import create_async_engine

from flux_core.images import store
from flux_core.images.store import PictureStore
from flux_core.logs import configure_logging, mask
from flux_core.settings import Settings, child_environment
from tests import vendors

HUB_TOKEN = "hf_" + "t" * 34
PROVIDER_KEY = "tttttt-of-the-cloud"
PASSWORD = "tttttt-of-the-garage"
DATABASE = "postgresql://flux:tttttt-of-the-database@db/flux"
STORE = "s3://key:tttttt-of-the-store@bucket/house"
PROXY = "http://anne:tttttt%40of-the-proxy@proxy:3128"
TOKEN = "abcdefghijklmnopqrstuvwx.ABCDEF.0123456789_-abcdefghijklmno"


@pytest.fixture
def logged(monkeypatch):
    vendors.only_these(monkeypatch)
    monkeypatch.setenv("CLOUD_API_KEY", PROVIDER_KEY)
    monkeypatch.setenv("GARAGE_PASSWORD", PASSWORD)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tttttt-of-amazon/+")
    monkeypatch.setenv("PGPASSWORD", "tttttt-of-libpq")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    tokens = {"discord_token": SecretStr(TOKEN), "hf_token": SecretStr(HUB_TOKEN)}
    addresses = {"database_url": DATABASE, "picture_store": STORE}
    configure_logging(Settings(**tokens, **addresses, log_format="json", _env_file=None), stream)
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
        "the database does not take tttttt-of-libpq",
        f"PATCH https://discord.com/api/v10/webhooks/12345/{'t' * 60}/messages/@original -> 500",
        f"POST /interactions/12345/{'t' * 60}/callback",
        f"Authorization: Bot {'t' * 40}",
        f"{{'token': '{'t' * 40}'}}",
        f"postgresql://flux:{'t' * 40}@db/flux",
        "the server does not take tttttt-of-the-database",
        f"EACHLABS_API_KEY={'t' * 40}",
        f"aws_secret_access_key={'t' * 40}",
        f"DefaultEndpointsProtocol=https;AccountName=flux;AccountKey={'t' * 40}==;",
        f"found the token of another account, hf_{'t' * 34}x, in ~/.cache",
        f"postgresql://flux:t@tttttt/{'x' * 4}@db/flux".replace("/xxxx", "tttttt"),
        f"https://{'t' * 40}@example.com/repository",
        f"redis://:{'t' * 12}@cache/0",
        "the bucket does not take tttttt-of-the-store",
        "the proxy does not take tttttt@of-the-proxy",
        f"CONNECT failed through {PROXY}",
        "S3 refuses the key tttttt-of-amazon/+",
        "GET /?key=tttttt-of-amazon%2F%2B",
        "Proxy-Authorization: Basic YW5uZTp0dHR0dHQtb2YtdGhlLXByb3h5",
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


def test_what_is_logged_beside_the_words_is_masked(logged):
    secrets = {"a": [TOKEN, {"b": f"over {PROVIDER_KEY}"}], TOKEN: (PASSWORD,), "error": RuntimeError(DATABASE), "n": 3}
    logging.getLogger("anything").warning("%s and %r", RuntimeError(TOKEN), {"k": HUB_TOKEN}, extra=secrets)
    structlog.get_logger("anything").warning("words", **{key: value for key, value in secrets.items() if key != TOKEN})
    text = json.dumps(logged())
    assert TOKEN not in text
    assert "tttttt" not in text
    assert text.count('"n": 3') == 2


async def postgres_down() -> None:
    await asyncpg.connect("postgresql://flux:tttttt-of-the-database@127.0.0.1:1/flux", timeout=5)


async def no_such_dsn() -> None:
    await asyncpg.connect("postgresql://flux:tttttt-of-the-database@db:none/flux")


async def database_down() -> None:
    engine = create_async_engine("postgresql+asyncpg://flux:tttttt-of-the-database@127.0.0.1:1/flux")
    async with engine.connect():
        pass


async def proxy_down() -> None:
    async with httpx.AsyncClient(proxy="http://anne:tttttt%40of-the-proxy@127.0.0.1:1") as client:
        await client.get("https://example.com/")


async def no_such_proxy() -> None:
    httpx.AsyncClient(proxy="foo://anne:tttttt%40of-the-proxy@127.0.0.1:1")


async def refused_url() -> None:
    answer = httpx.Response(
        403, request=httpx.Request("GET", "https://u:tttttt-of-the-store@host/a?api_key=tttttttttt")
    )
    answer.raise_for_status()


async def store_of_no_kind() -> None:
    PictureStore("ftp://key:tttttt-of-the-store@bucket/house")


async def store_down() -> None:
    await PictureStore("s3://bucket").put("a/b.webp", b"x", "image/webp")


@pytest.mark.parametrize(
    "breaking",
    [
        *(postgres_down, no_such_dsn, database_down, proxy_down, no_such_proxy, refused_url),
        *(store_of_no_kind, store_down),
    ],
)
async def test_what_libraries_say_of_their_addresses_is_masked(logged, monkeypatch, breaking):
    """The exception, its cause and the whole traceback, as they are logged."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://key:tttttt-of-the-store@127.0.0.1:1")
    monkeypatch.setattr(store, "RETRIES", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
    try:
        await breaking()
    except Exception as error:
        logging.getLogger("anything").exception("it broke: %s", error)
        logging.getLogger("anything").error("it broke: %r", error, extra={"error": error, "args_": error.args})
    lines = logged()
    assert len(lines) == 2, "nothing broke"
    assert "Traceback" in lines[0]["exception"]
    assert "tttttt" not in json.dumps(lines)


def test_an_operators_mistake_is_told_without_the_password(tmp_path):
    """A password has no place there; it is said without being repeated."""
    ran = subprocess.run(
        [sys.executable, "-m", "bot", "doctor"],
        capture_output=True,
        text=True,
        env=child_environment(DISCORD_API_BASE="http://anne:tttttt-of-the-proxy@proxy/api", DATA_DIR=str(tmp_path)),
        check=False,
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 2
    assert "DISCORD_API_BASE: Value error, it takes no user name and no password" in said
    assert "tttttt" not in said


def test_a_plain_sentence_stays_as_it_is():
    sentence = "job 0193a2 drew 4 pictures at /pictures/0193a2/0.webp in 3.2 s"
    assert mask(sentence) == sentence
