"""The doctor finds what is wrong and says what to do; a healthy house gets a clean bill."""

from __future__ import annotations

import io
import re
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from aiohttp import web
from pydantic import SecretStr
from rich.console import Console

from bot.command_line import provider_list
from bot.command_line.doctor import examine
from bot.command_line.doctor_card import examine_card
from bot.sandbox.server import Sandbox
from flux_core.bootstrap import job_queue, open_database
from flux_core.database import bots, postgres, sqlite
from flux_core.database.queue import WorkerInfo
from flux_core.database.tables import policies
from flux_core.gpu.rungs import Facts
from flux_core.offers import Offer
from flux_core.settings import Settings
from flux_core.shards import Keeper
from tests import vendors
from tests.bucket import SECRET
from tests.database.postgres import new_database

KEY = "key-of-the-cloud-2718"


async def bill(settings):
    """Return whether the doctor is content, and what it printed."""
    screen = Console(file=io.StringIO(), width=300)
    healthy = await examine(settings, screen)
    return healthy, screen.file.getvalue()


@pytest.fixture(autouse=True)
def only_test_vendors(monkeypatch):
    vendors.only_these(monkeypatch)


@asynccontextmanager
async def cloud(status=200, said=None):
    """Run the one free call of the vendor of the tests; ``said`` is what it answers to our key."""

    async def account(request):
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": f"{request.headers.get('Authorization')} is wrong"}, status=401)
        return web.json_response(said or {"credits": 7}, status=status)

    app = web.Application()
    app.router.add_get("/account", account)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


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
    assert "Discord recommends 1 shard; 1,000 of 1,000 sessions" in said
    assert "Bots" in said


def a_bot(id, *shards, count=4):
    now = time.time()
    return Keeper(
        id=id, application_id=1, host=id, pid=7, shards=shards, count=count, started_at=now - 60, seen_at=now
    )  # fmt: skip


async def test_shards_that_nobody_keeps_or_two_do(healthy_settings):
    async with open_database(healthy_settings) as database:
        await database.write(bots.register, a_bot("red", 0, 1), time.time())
        await database.write(bots.register, a_bot("blue", 2, 3), time.time())
        healthy, said = await bill(healthy_settings)
        assert healthy
        assert re.search(r"Bot red \(process 7\)\s+shards 0-1 of 4", said)
        await database.write(bots.retire, "blue")
        healthy, said = await bill(healthy_settings)
        assert not healthy
        assert "Nobody keeps 2-3 of 4" in said
        assert "SHARDS=2-3 and SHARD_COUNT=4" in said
        await database.write(bots.register, a_bot("green", 1, 2, 3), time.time())
        healthy, said = await bill(healthy_settings)
        assert not healthy
        assert "Shard 1 is kept twice" in said


@pytest.mark.parametrize(
    ("change", "advice"),
    [({"shards": "0-3"}, "SHARDS needs SHARD_COUNT"), ({"shards": "0-9", "shard_count": 4}, "4-9 is not among them")],
)
async def test_shards_that_do_not_exist(healthy_settings, change, advice):
    healthy, said = await bill(healthy_settings.model_copy(update=change))
    assert not healthy
    assert advice in said


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


async def test_a_bucket_is_tried(healthy_settings, bucket, bucket_server):
    house = healthy_settings.model_copy(update={"picture_store": f"{bucket}/house"})
    healthy, said = await bill(house)
    assert healthy
    assert f"{bucket}/house" in said
    assert bucket_server.keys(bucket) == set(), "the probe is gone"
    with bucket_server.denying():
        healthy, said = await bill(house)
    assert not healthy
    assert "check its keys, which the environment names and not .env, and that they may" in said
    assert "(Cannot write doctor/probe.txt" in said
    assert SECRET not in said


async def test_a_bucket_that_is_not_there_is_to_be_made(healthy_settings, bucket):
    healthy, said = await bill(healthy_settings.model_copy(update={"picture_store": "s3://nobodys-bucket"}))
    assert not healthy
    assert "s3://nobodys-bucket cannot be used: make the bucket, or correct PICTURE_STORE (" in said


async def test_a_bucket_that_does_not_answer_is_looked_for(healthy_settings, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    healthy, said = await bill(healthy_settings.model_copy(update={"picture_store": bucket}))
    assert not healthy
    assert f"{bucket} cannot be used: check that it runs, that the network leads there, and its address (" in said


async def test_a_folder_that_takes_no_pictures_is_looked_at(healthy_settings, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "doctor").touch()  # where a folder is to be: nobody can write below it
    healthy, said = await bill(healthy_settings.model_copy(update={"picture_store": str(tmp_path / "full")}))
    assert not healthy
    assert "cannot be used: check that its disk has room and you may write there (" in said


async def test_a_database_that_somebody_holds_is_no_sound_one(healthy_settings, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    async with open_database(healthy_settings):
        pass  # now there is a file
    file = healthy_settings.database.removeprefix("sqlite:///")
    with closing(sqlite3.connect(file, isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        healthy, said = await bill(healthy_settings)
    assert not healthy
    assert "and that nothing else holds it (database is locked)" in said


async def test_a_database_server_that_is_away_is_told_once(healthy_settings):
    url = "postgresql://flux:hunter2hunter2@127.0.0.1:1/flux"
    healthy, said = await bill(healthy_settings.model_copy(update={"database_url": url}))
    assert not healthy
    advice = "check that the server runs, that the network leads there, and DATABASE_URL ("
    assert f"postgresql://flux:***@127.0.0.1:1/flux cannot be used: {advice}" in said
    assert said.count("127.0.0.1:1/flux") == 1
    assert "hunter2hunter2" not in said


async def test_a_database_server_is_named_without_its_password(healthy_settings):
    url = f"{await new_database()}&password=hunter2hunter2"
    healthy, said = await bill(healthy_settings.model_copy(update={"database_url": url}))
    assert healthy
    assert "postgresql://postgres@/flux_" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(("seconds", "where"), [(60.0, "ahead of"), (-60.0, "behind")])
async def test_a_clock_that_is_not_that_of_the_database_is_told(healthy_settings, monkeypatch, caplog, seconds, where):
    off = SimpleNamespace(time=lambda: time.time() + seconds, monotonic=time.monotonic)
    monkeypatch.setattr(postgres, "time", off)
    healthy, said = await bill(healthy_settings.model_copy(update={"database_url": await new_database()}))
    assert not healthy
    assert "NTP" in said
    # The way to the server takes its time, too.
    assert re.search(rf"clock is (5\d|60)\.\d s {where} the database's", said)
    assert re.search(rf"clock is (5\d|60)\.\d s {where} the database's", caplog.text)


async def test_clocks_of_one_mind_are_not_worth_a_word(healthy_settings, caplog):
    healthy, said = await bill(healthy_settings.model_copy(update={"database_url": await new_database()}))
    assert healthy
    assert "Clock" not in said
    assert not [record for record in caplog.records if record.name == postgres.__name__]


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


async def test_the_card_and_how_it_draws_are_told(healthy_settings):
    healthy, said = await bill(healthy_settings)
    assert healthy
    assert re.search(r"✓ +Card +cpu, [0-9.]+ GiB free", said)
    assert "quality: cpu, " in said
    assert "fast: drawn in quality, since a processor is no faster in 8 bits." in said
    assert "turbo: cpu with a step cache." in said
    healthy, said = await bill(healthy_settings.model_copy(update={"gpu_profile": "bf16"}))
    assert not healthy
    assert "GPU_PROFILE is 'bf16', but that is not for cpu. Possible here: auto, cpu, " in said
    _, said = await bill(healthy_settings.model_copy(update={"workers": 0}))
    assert "Card" not in said


async def test_a_model_that_ran_out_of_memory_is_named_with_the_worker_that_holds_it(healthy_settings):
    worker = WorkerInfo(
        id="a",
        host="h",
        pid=1,
        device="a card",
        offers={"flux-dev": Offer(theirs="x", leaner="nf4"), "flux-schnell": Offer(theirs="y")},
        started_at=time.time(),
    )
    async with open_database(healthy_settings) as database:
        await job_queue(healthy_settings, database).register(worker)
    healthy, said = await bill(healthy_settings)
    assert healthy
    assert "flux-dev, flux-schnell. Memory ran out: flux-dev is held as nf4 for an hour or more." in said


def test_a_card_that_others_use_as_well_is_told_of(healthy_settings, monkeypatch):
    from flux_core.gpu import device

    def facts(free):
        return lambda _: Facts(kind="cuda", name="a card", total=80 << 30, free=free << 30, capability=(9, 0))

    for free, taken in ((12, True), (79, False)):
        monkeypatch.setattr(device, "facts_of", facts(free))
        said = next(iter(examine_card(healthy_settings)))
        assert ("the rest is taken now" in said[2]) is taken


async def test_a_model_of_the_hub_is_planned_for_without_a_download(healthy_settings):
    healthy, said = await bill(healthy_settings.model_copy(update={"flux_dev_path": "black-forest-labs/FLUX.1-dev"}))
    assert healthy
    assert re.search(r"flux-dev here +quality: cpu(-bf16)?, [0-9]{2}\.[0-9] GiB\.", said)


async def test_what_a_worker_rehearses_when_it_starts_is_told(healthy_settings, monkeypatch):
    def said(**changes):
        return {about: remark for about, _, remark in examine_card(healthy_settings.model_copy(update=changes))}

    told = "A worker loads it when it starts, and rehearses it while nobody waits: "
    assert f"{told}quality." in said()["flux-tiny here"]
    assert told not in said(warm_up=("off",))["flux-tiny here"]
    assert "WARM_UP names flux-dev" in said(warm_up=("flux-dev",))["Warm-up"]
    facts = Facts(kind="cuda", name="a card", total=80 << 30, free=79 << 30, main_free=64 << 30, capability=(9, 0))
    monkeypatch.setattr("flux_core.gpu.device.facts_of", lambda device: facts)
    assert f"{told}quality, turbo." in said()["flux-tiny here"]


async def test_whether_pictures_are_checked_is_told(healthy_settings, tmp_path):
    async def said(model, *labels, content):
        healthy, told = await bill(
            healthy_settings.model_copy(update={"output_check_model": model, "output_check_labels": labels})
        )
        assert healthy is content
        return told

    folder = tmp_path / "classifier"
    assert "Off: nothing looks at drawn pictures" in await said("", content=True)
    assert "downloaded with the first picture" in await said("some/classifier", content=True)
    assert f"There is no folder {folder}; check OUTPUT_CHECK_MODEL" in await said(str(folder), content=False)
    folder.mkdir()
    assert "it is no image classifier" in await said(str(folder), content=False)
    (folder / "config.json").write_text('{"id2label": {"0": "Neutral", "1": "Porn", "2": "Hentai"}}')
    assert "not for everybody: hentai, porn" in await said(str(folder), content=True)
    assert "not for everybody: neutral" in await said(str(folder), "NEUTRAL", content=True)
    assert "has no gore; its labels are Neutral, Porn, Hentai" in await said(str(folder), "gore", content=False)


async def test_a_provider_is_asked_for_its_account(healthy_settings, monkeypatch):
    async with cloud() as address:
        monkeypatch.setenv("CLOUD_API_KEY", KEY)
        monkeypatch.setenv("CLOUD_BASE_URL", address)
        monkeypatch.setenv("GARAGE_BASE_URL", address)
        monkeypatch.setenv("COMMONS_CONCURRENCY", "3")
        healthy, said = await bill(healthy_settings)
    assert healthy
    assert re.search(r"✓ +Cloud Nine +7 credits left; at most \$5 a day", said)
    assert re.search(r"• +Garage +It has no call that costs nothing", said)
    assert re.search(r"• +Commons +Not in use: COMMONS_API_KEY is not set", said)
    assert re.search(r"✓ +flux-dev +hosted by Cloud Nine", said)
    assert KEY not in said


@pytest.mark.parametrize(
    ("key", "status", "advice"),
    [
        ("wrong-key-3141", 200, "Put a valid key into CLOUD_API_KEY. Keys are made at https://cloud.example/keys"),
        (KEY, 402, "Top the account up"),
        (KEY, 404, "Check CLOUD_BASE_URL"),
    ],
)
async def test_a_provider_that_does_not_serve_us_gets_advice(healthy_settings, monkeypatch, key, status, advice):
    async with cloud(status, {"error": f"no service for {KEY}"}) as address:
        monkeypatch.setenv("CLOUD_API_KEY", key)
        monkeypatch.setenv("CLOUD_BASE_URL", address)
        healthy, said = await bill(healthy_settings)
    assert not healthy
    assert advice in said
    assert key not in said


async def test_a_provider_out_of_reach_is_named_with_its_address(healthy_settings, monkeypatch):
    monkeypatch.setenv("CLOUD_API_KEY", KEY)
    monkeypatch.setenv("CLOUD_BASE_URL", "http://127.0.0.1:9")
    healthy, said = await bill(healthy_settings)
    assert not healthy
    assert "Check the network and CLOUD_BASE_URL" in said
    assert KEY not in said


async def listed(settings):
    screen = Console(file=io.StringIO(), width=200)
    await provider_list.show(settings, screen)
    return screen.file.getvalue()


async def test_the_list_tells_what_is_missing_and_what_pictures_cost(healthy_settings):
    said = await listed(healthy_settings)
    assert re.search(r"Cloud Nine \(cloud\) +not configured: set CLOUD_API_KEY, from https://cloud.example/keys", said)
    assert re.search(r"Garage \(garage\) +not configured: set GARAGE_BASE_URL", said)
    assert "flux-dev $0.025, also from pictures" in said
    assert re.search(r"flux-schnell \$0\.003 *\n", said)
    assert "flux-schnell free" in said


async def test_the_list_tells_health_and_spending(healthy_settings, monkeypatch):
    monkeypatch.setenv("CLOUD_API_KEY", KEY)
    monkeypatch.setenv("CLOUD_DAILY_CAP", "2.5")
    monkeypatch.setenv("CLOUD_CONCURRENCY", "9")
    monkeypatch.setenv("GARAGE_BASE_URL", "http://localhost:1")
    monkeypatch.setenv("GARAGE_DAILY_CAP", "none")
    settings = healthy_settings
    worker = {"host": "h", "pid": 1, "device": "d", "offers": {}, "hosted": True, "started_at": time.time()}
    async with open_database(settings) as database:
        queue = job_queue(settings, database)
        await queue.register(WorkerInfo(id="a", provider="cloud", closed=f"402 for {KEY}", **worker))
    said = await listed(settings)
    assert re.search(r"Cloud Nine \(cloud\) +closed: 402 for \*\*\* .*\$0\.00 of \$2\.50 +9", said)
    assert re.search(r"Garage \(garage\) +configured; no worker is up .*\$0\.00 no cap +1", said)
    assert KEY not in said
    async with open_database(settings) as database:
        await job_queue(settings, database).register(WorkerInfo(id="a", provider="cloud", **worker))
    assert re.search(r"Cloud Nine \(cloud\) +running ", await listed(settings))


async def test_the_list_tells_that_the_day_s_money_is_spent(healthy_settings, monkeypatch):
    monkeypatch.setenv("CLOUD_API_KEY", KEY)
    monkeypatch.setenv("CLOUD_DAILY_CAP", "0.002")
    vendor = healthy_settings.every_provider["cloud"].access(vendors.VENDORS["cloud"])
    worker = WorkerInfo(
        id="a",
        host="h",
        pid=1,
        device="d",
        provider="cloud",
        hosted=True,
        offers=vendors.VENDORS["cloud"](vendor).offers,
        started_at=time.time(),
    )
    async with open_database(healthy_settings) as database:
        await job_queue(healthy_settings, database).register(worker)
    assert "the day's money is spent (CLOUD_DAILY_CAP)" in await listed(healthy_settings)


async def test_a_server_whose_policy_cannot_be_read_is_named(healthy_settings):
    spoilt = {"guild_id": 42, "policy": '{"pool": "much"}', "by_user": 1, "since": 0.0}
    async with open_database(healthy_settings) as database:
        await database.write(lambda connection: connection.execute(sa.insert(policies), spoilt))
    healthy, said = await bill(healthy_settings)
    assert not healthy
    assert "Server 42" in said
    assert "pool: " in said
    assert "/admin policy import" in said


async def test_what_nobody_foresaw_keeps_no_other_finding_back(healthy_settings, monkeypatch):
    async def _models(settings):
        raise RuntimeError("no way to read postgresql://flux:hunter-two-2718@db/flux\nand much more")

    monkeypatch.setattr("bot.command_line.doctor._models", _models)
    healthy, said = await bill(healthy_settings)
    assert not healthy
    assert re.search(r"✗ +models +RuntimeError: no way to read postgresql://flux:\*\*\*@db/flux *\n", said)
    assert "None is running" in said, "what comes after it is looked at"
