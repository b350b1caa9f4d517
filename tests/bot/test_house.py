"""What runs together in one house, and what the shell lends a job."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.command_line import cli, house, shell
from flux_core.bootstrap import chosen_providers, job_queue, open_database, open_studio
from flux_core.database.queue import WorkerInfo
from flux_core.errors import ConfigurationError, NobodyDraws
from flux_core.generation import RequestOptions, resolve
from flux_core.jobs import SHELL_ACCOUNT
from flux_core.offers import Offer
from flux_core.settings import Settings
from tests import vendors


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    vendors.only_these(monkeypatch)
    monkeypatch.setenv("CLOUD_API_KEY", "k")
    monkeypatch.setenv("COMMONS_API_KEY", "k")
    return Settings(_env_file=None, data_dir=tmp_path, flux_tiny_path="tiny", flux_schnell_path="schnell")


def test_one_more_process_runs_all_hosted_providers(settings: Settings) -> None:
    local, hosted = house.worker_commands(settings, 1, house.hosted_names(settings))
    assert "--providers" not in local
    assert hosted[hosted.index("--providers") + 1] == "all"
    assert local[local.index("--id") + 1] != hosted[hosted.index("--id") + 1]
    assert "--supervised" in hosted


def metrics_ports(settings: Settings) -> list[str]:
    commands = house.worker_commands(settings, 2, house.hosted_names(settings))
    return [command[command.index("--metrics-port") + 1] for command in commands]


def test_each_process_of_a_house_has_a_port_for_its_metrics(settings: Settings) -> None:
    assert metrics_ports(settings) == ["", "", ""]
    assert metrics_ports(settings.model_copy(update={"metrics_port": 9100})) == ["9101", "9102", "9103"]
    assert metrics_ports(settings.model_copy(update={"metrics_port": 0})) == ["0", "0", "0"]
    assert metrics_ports(settings.model_copy(update={"metrics_port": 65534})) == ["65535", "", ""]


@pytest.mark.parametrize(("given", "understood"), [("", None), ("0", 0), ("9101", 9101)])
def test_a_worker_takes_the_port_that_it_is_given(
    given: str, understood: int | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    taken: list[Settings] = []

    async def run_worker(settings: Settings, **_: object) -> None:
        taken.append(settings)

    monkeypatch.setenv("METRICS_PORT", "9100")
    monkeypatch.setattr("flux_core.worker.process.run_worker", run_worker)
    monkeypatch.setattr("bot.command_line.cli.configure_logging", lambda _: None)
    done = CliRunner().invoke(cli.app, ["worker", "--data-dir", str(tmp_path), "--metrics-port", given])
    assert done.exit_code == 0, done.output
    assert [settings.metrics_port for settings in taken] == [understood]


async def test_workers_that_the_shell_lends_leave_the_ports_to_the_house(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent: list[int | None] = []

    class Nobody:
        async def run(self, stop: asyncio.Event) -> None:
            await stop.wait()

    def crew(settings: Settings, *_: object) -> Nobody:
        lent.append(settings.metrics_port)
        return Nobody()

    monkeypatch.setattr(house, "_crew", crew)
    async with house.lent_workers(settings.model_copy(update={"metrics_port": 9100}), local=True, hosted=()):
        pass
    assert lent == [None]


def test_no_weights_no_worker_of_our_own(settings: Settings) -> None:
    assert house.local_count(settings) == settings.workers == 1
    assert house.local_count(settings.model_copy(update={"workers": 0})) == 0
    bare = Settings(_env_file=None, flux_tiny_path="")
    assert house.local_count(bare) == 0
    assert house.hosted_names(bare) == ["all"]


def test_no_provider_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    vendors.only_these(monkeypatch)
    bare = Settings(_env_file=None)
    assert house.worker_commands(bare, 0, house.hosted_names(bare)) == []


def test_providers_are_chosen_by_name(settings: Settings) -> None:
    assert chosen_providers(settings, ["all"]) == ["cloud", "commons"]
    assert chosen_providers(settings, [" Commons", "", "commons"]) == ["commons"]
    for names, said in (
        (["clout"], "cloud, garage, commons"),
        (["cloud", "garage"], "GARAGE_BASE_URL"),
        ([""], "flux-bot providers"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            chosen_providers(settings, names)


@pytest.mark.parametrize(
    ("options", "local", "hosted"),
    [
        ({"model": "flux-tiny"}, True, []),
        ({"model": "flux-dev"}, False, ["cloud", "commons"]),
        ({"model": "flux-dev", "provider": "commons"}, False, ["commons"]),
        ({"model": "flux-schnell", "provider": "cloud"}, False, ["cloud"]),
        ({"model": "flux-schnell", "provider": "local"}, True, []),
        ({"model": "flux-schnell"}, True, ["cloud"]),
    ],
)
async def test_the_shell_lends_whoever_can_draw_it(
    settings: Settings, options: dict[str, str], local: bool, hosted: list[str]
) -> None:
    async with open_studio(settings) as studio:
        request = resolve(RequestOptions(prompt="a", **options), studio.catalogue)
        assert await shell.needed(settings, studio, request) == (local, hosted)


async def test_the_shell_lends_nobody_where_somebody_draws(settings: Settings) -> None:
    async with open_database(settings) as database, open_studio(settings) as studio:
        queue = job_queue(settings, database)
        shared = {"host": "h", "pid": 1, "device": "d", "started_at": 0.0}
        offers = {"flux-schnell": Offer(theirs="x")}
        await queue.register(WorkerInfo(id="card", offers=offers, **shared))  # type: ignore[arg-type]
        request = resolve(RequestOptions(prompt="a", model="flux-schnell"), studio.catalogue)
        assert await shell.needed(settings, studio, request) == (False, [])
        wish = request.model_copy(update={"provider": "cloud"})
        assert await shell.needed(settings, studio, wish) == (False, ["cloud"])


async def test_the_shell_says_that_torch_is_missing_and_orders_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    vendors.only_these(monkeypatch)
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    monkeypatch.setattr(shell, "find_spec", lambda name: None)
    options = RequestOptions(prompt="a red circle", model="flux-tiny")
    async with asyncio.timeout(60):
        with pytest.raises(
            ConfigurationError,
            match=r"draw flux-tiny here, torch is needed.*pip install -c constraints\.txt '\.\[worker\]'",
        ):
            await shell.imagine(settings, options, output=tmp_path / "a.png", image=None)
    async with open_studio(settings) as studio:
        assert await studio.jobs_of(SHELL_ACCOUNT) == []
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("names", "said"), [("nobody", "There is no provider 'nobody'"), ("eachlabs", "set EACHLABS_API_KEY")]
)
def test_a_wrong_name_ends_the_command_with_a_sentence(names: str, said: str, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin", "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [sys.executable, "-m", "bot", "worker", "--providers", names, "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
        timeout=60,
    )
    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.split())


async def test_models_elsewhere_are_taken_while_nobody_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    vendors.only_these(monkeypatch)
    elsewhere = frozenset({"flux-dev", "flux-pro-1.1"})
    away = Settings(_env_file=None, data_dir=tmp_path, flux_tiny_path="", offered_elsewhere=elsewhere)
    async with open_studio(away) as studio:
        request = resolve(RequestOptions(prompt="a", model="flux-dev"), studio.catalogue)
        await studio.check(SHELL_ACCOUNT, request)
        with pytest.raises(NobodyDraws):
            await studio.check(
                SHELL_ACCOUNT, resolve(RequestOptions(prompt="a", model="flux-pro-1.1"), studio.catalogue)
            )
