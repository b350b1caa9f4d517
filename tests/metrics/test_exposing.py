"""What a process tells of itself, whatever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from http.client import HTTPConnection
from typing import Any

import pytest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import SecretStr, ValidationError

from flux_core.errors import StorageUnavailable
from flux_core.metrics import definitions as m
from flux_core.metrics import exposing, lag
from flux_core.metrics.exposing import address, exposed
from flux_core.metrics.house import House
from flux_core.settings import Settings
from tests.database.scene import SCHNELL, Scene
from tests.metrics.asking import ask, value, values

TOKEN = "abcdefghijklmnopqrstuvwx.ABCDEF.0123456789_-abcdefghijklmno"


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **({"metrics_port": 0} | changes))


async def fine() -> str | None:
    return None


async def test_without_a_port_nothing_is_served() -> None:
    assert Settings(_env_file=None).metrics_port is None
    assert settings(metrics_port="").metrics_port is None
    before = len(asyncio.all_tasks())
    async with exposed(settings(metrics_port=None), {}) as port:
        assert port is None
        assert len(asyncio.all_tasks()) == before


async def test_only_this_machine_may_ask_unless_told_otherwise() -> None:
    assert Settings(_env_file=None).metrics_host == "127.0.0.1"
    with pytest.raises(ValidationError):
        settings(metrics_host="")  # for asyncio, that would be every address


async def test_a_process_that_answers_lives() -> None:
    async with exposed(settings(), {"database": fine}) as port:
        assert port is not None
        assert ((said := await ask(port, "/healthz")).status, said.text) == (200, "ok\n")


async def test_it_is_ready_when_everything_is() -> None:
    trouble: dict[str, str | None] = {"gateway": None}

    async def gateway() -> str | None:
        return trouble["gateway"]

    async with exposed(settings(), {"database": fine, "gateway": gateway}) as port:
        assert port is not None
        assert ((said := await ask(port, "/readyz")).status, said.text) == (200, "database: ok\ngateway: ok\n")
        trouble["gateway"] = "not connected: shard 0"
        said = await ask(port, "/readyz")
        assert (said.status, said.text) == (503, "database: ok\ngateway: not connected: shard 0\n")
        assert (await ask(port, "/healthz")).status == 200


async def test_what_does_not_answer_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposing, "PATIENCE", 0.05)

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    async with exposed(settings(), {"database": hangs}) as port:
        assert port is not None
        assert ((said := await ask(port, "/readyz")).status, said.text) == (503, "database: no answer\n")


async def test_a_reason_tells_no_secret() -> None:
    async def drawing() -> str | None:
        return f"the vendor does not take {TOKEN}"

    async with exposed(settings(discord_token=SecretStr(TOKEN)), {"drawing": drawing}) as port:
        assert port is not None
        assert (await ask(port, "/readyz")).text == "drawing: the vendor does not take ***\n"


class Gauge(Collector):
    def __init__(self, name: str) -> None:
        self.name = name

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("flux_provider_open", "Said by each.", labels=("provider",))
        family.add_metric((self.name,), 1.0)
        return [family]


async def test_what_several_providers_have_is_told_as_one_metric() -> None:
    async with exposed(settings(), {}, collectors=[Gauge("a"), Gauge("b")]) as port:
        assert port is not None
        said = await ask(port, "/metrics")
        assert said.text.count("# TYPE flux_provider_open gauge") == 1
        assert said.text.count("flux_provider_open{") == 2


async def test_it_speaks_open_metrics_to_those_who_ask_for_it() -> None:
    async with exposed(settings(), {}) as port:
        assert port is not None
        said = await ask(port, "/metrics", Accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
        assert said.headers["content-type"].startswith("application/openmetrics-text")
        assert said.text.endswith("# EOF\n")
        said = await ask(port, "/metrics")
        assert said.headers["content-type"].startswith("text/plain; version=")
        assert "process_resident_memory_bytes" in said.text


async def test_the_log_names_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with exposed(settings(), {}) as port:
        assert f"Metrics are at http://127.0.0.1:{port}/metrics" in caplog.messages
    assert address("::1", 9100) == "http://[::1]:9100/metrics"


async def test_an_ordinary_client_is_served() -> None:
    def get(port: int) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status, answer.read()

    async with exposed(settings(), {}) as port:
        assert port is not None
        assert await asyncio.to_thread(get, port) == (200, b"ok\n")


async def test_the_event_loops_lateness_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "EVERY", 0.01)
    async with exposed(settings(), {}) as port:
        assert port is not None
        before = await values(port)
        await asyncio.sleep(0.05)
        import time

        time.sleep(0.3)  # noqa: ASYNC251 (it is the point)
        await asyncio.sleep(0.05)
        after = await values(port)
    name = "flux_event_loop_lag_seconds"
    assert value(after, f"{name}_count") >= value(before, f"{name}_count") + 3
    late = value(after, f"{name}_count") - value(after, f"{name}_bucket", le="0.25")
    assert late - (value(before, f"{name}_count") - value(before, f"{name}_bucket", le="0.25")) == 1


# The house


async def told(scene: Scene, house: House) -> dict[str, float]:
    await house.look()
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in house.collect()
        for sample in family.samples
    }


@pytest.fixture
def house(scene: Scene) -> House:
    return House(scene.db, lease_seconds=30.0, zone=scene.studio.rules.zone)


async def test_the_house_is_read_when_somebody_asks(scene: Scene, house: House) -> None:
    await scene.worker()
    await scene.submit()
    scene.clock.now += 90
    async with exposed(settings(), {"database": house.trouble}, house=house) as port:
        assert port is not None
        found = await values(port)
        assert (await ask(port, "/readyz")).status == 200
    where = {"lane": "fast", "model": SCHNELL, "venue": "ours"}
    assert value(found, "flux_database_up") == 1
    assert value(found, "flux_queue_jobs", **where) == 1
    assert value(found, "flux_queue_oldest_seconds", **where) == 90
    assert {name for name, _ in found} >= {reading.name for reading in (m.QUEUE_STOPPED, m.OUTBOX_JOBS, m.CREDITS)}


async def test_everything_of_the_house_is_told(scene: Scene, house: House) -> None:
    await house.look()
    families = {family.name for family in house.collect()}
    assert families == {reading.name for reading in (m.DATABASE_UP, *m.HOUSE)}


async def test_many_who_ask_at_once_cost_one_look(scene: Scene, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    read = scene.db.read

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        return await read(*args, **options)

    monkeypatch.setattr(scene.db, "read", counted)
    await asyncio.gather(*(told(scene, house) for _ in range(20)))
    assert looks == 1
    monkeypatch.setattr("flux_core.metrics.house.time.monotonic", lambda: 1e12)
    await told(scene, house)
    assert looks == 2


async def test_a_long_look_is_kept_for_longer(scene: Scene, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    ticks = [0.0]
    read = scene.db.read

    async def slow(*args: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        ticks[0] += 2.0
        return await read(*args, **options)

    monkeypatch.setattr(scene.db, "read", slow)
    monkeypatch.setattr("flux_core.metrics.house.time.monotonic", lambda: ticks[0] + 1e9)
    await house.look()
    ticks[0] += 39.0
    await house.look()
    assert looks == 1
    ticks[0] += 2.0
    await house.look()
    assert looks == 2


async def test_a_database_that_hangs_is_looked_for_again_at_once(
    scene: Scene, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux_core.metrics.house.PATIENCE", 0.2)
    monkeypatch.setattr("flux_core.metrics.house.KEPT", 0.05)
    read = scene.db.read

    async def hangs(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(scene.db, "read", hangs)
    assert await told(scene, house) == {"flux_database_up[]": 0}
    monkeypatch.setattr(scene.db, "read", read)
    monkeypatch.setattr("flux_core.metrics.house.PATIENCE", 15.0)
    await asyncio.sleep(0.06)
    assert (await told(scene, house))["flux_database_up[]"] == 1


async def test_without_a_database_the_process_tells_what_it_knows(
    scene: Scene, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.submit()
    assert (await told(scene, house))["flux_database_up[]"] == 1

    async def gone(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("The database does not answer.")

    monkeypatch.setattr(scene.db, "read", gone)
    monkeypatch.setattr("flux_core.metrics.house.time.monotonic", lambda: 1e12)
    async with exposed(settings(), {"database": house.trouble}, house=house) as port:
        assert port is not None
        found = await values(port)
        said = await ask(port, "/readyz")
    assert value(found, "flux_database_up") == 0
    assert not [name for name, _ in found if name.startswith("flux_queue")], "what is not known is not told as before"
    assert ("process_start_time_seconds", frozenset()) in found
    assert (said.status, said.text) == (503, "database: no answer\n")
