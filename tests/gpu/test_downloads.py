"""Weights come from the hub whole and unharmed, through its real client and a stand-in for the hub."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from rich.console import Console

from bot.command_line import weights
from flux_core import downloads
from flux_core.catalogue import Catalogue
from flux_core.downloads import DownloadBroken, explain, fetch, folder_of
from flux_core.errors import ConfigurationError, LoraUnusable, ModelUnavailable
from flux_core.family import FLUX_SCHNELL
from flux_core.generation import RequestOptions, resolve
from flux_core.gpu import lora_files
from flux_core.gpu.lora_files import LoraFiles, file_of
from flux_core.loras import Lora
from flux_core.providers.local import LocalProvider
from flux_core.settings import Settings
from tests.hub import Hub

NAME = "studio/tiny-flux"
WEIGHTS = "transformer/weights.safetensors"
FILES = {
    "model_index.json": b"{}",
    "transformer/config.json": b'{"num_layers": 1}',
    WEIGHTS: os.urandom(300_000),
    "whole.safetensors": b"the same weights once more",
    "README.md": b"words",
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    served = Hub(NAME, FILES)
    yield served
    served.close()


class Told:
    """What an operator was shown."""

    def __init__(self) -> None:
        self.all: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.all.append((done, total))


_fetched = downloads._get


def _killed(source: str, file: downloads.RemoteFile, *rest: Any) -> None:
    if file.path == WEIGHTS:
        raise KeyboardInterrupt
    _fetched(source, file, *rest)


def get(hub: Hub, cache: Path, **options: Any) -> Path:
    return fetch(NAME, endpoint=hub.url, cache=cache, **options)


def test_only_what_diffusers_loads_is_fetched_and_the_progress_is_told(hub: Hub, tmp_path: Path) -> None:
    told = Told()
    folder = get(hub, tmp_path, tell=told)
    fetched = {str(file.relative_to(folder)) for file in folder.glob("**/*") if file.is_file()}
    assert fetched == {"model_index.json", "transformer/config.json", WEIGHTS}
    assert (folder / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    total = sum(len(FILES[name]) for name in fetched)
    assert told.all[0] == (0, total)
    assert told.all[-1] == (total, total)
    assert [done for done, _ in told.all] == sorted(done for done, _ in told.all)
    hub.sent.clear()
    assert get(hub, tmp_path) == folder
    assert hub.sent == []


def test_a_download_that_broke_off_goes_on_where_it_was(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads.constants, "DOWNLOAD_CHUNK_SIZE", 1 << 16)  # 10 MiB are written at once otherwise
    hub.break_off[WEIGHTS] = 200_000
    folder = get(hub, tmp_path)
    assert (folder / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    starts = [start for name, start in hub.sent if name == WEIGHTS]
    assert starts[0] == 0
    assert starts[-1] > 0


@pytest.mark.parametrize("check_all", [False, True])
def test_a_file_that_was_cut_short_is_found_and_fetched_again(hub: Hub, tmp_path: Path, check_all: bool) -> None:
    folder = get(hub, tmp_path)
    (folder / WEIGHTS).resolve().write_bytes(FILES[WEIGHTS][:1000])
    assert (get(hub, tmp_path, check_all=check_all) / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_file_that_was_altered_is_found_when_everything_is_checked(hub: Hub, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    altered = bytes([FILES[WEIGHTS][0] ^ 1]) + FILES[WEIGHTS][1:]
    (folder / WEIGHTS).resolve().write_bytes(altered)
    assert (get(hub, tmp_path) / WEIGHTS).read_bytes() == altered
    assert (get(hub, tmp_path, check_all=True) / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_file_that_arrives_damaged_is_fetched_once_more_and_then_refused(hub: Hub, tmp_path: Path) -> None:
    hub.garble[WEIGHTS] = 1
    assert (get(hub, tmp_path) / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    hub.garble[WEIGHTS] = 2
    with pytest.raises(DownloadBroken, match=r"weights\.safetensors of studio/tiny-flux was altered"):
        get(hub, tmp_path / "another")
    assert (get(hub, tmp_path / "another") / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, downloads.SPARE + 1000))
    with pytest.raises(DownloadBroken, match="make room, or set HF_HOME"):
        get(hub, tmp_path)
    assert hub.sent == []


def test_without_a_network_what_is_whole_serves_and_what_is_not_says_so(hub: Hub, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    hub.close()
    assert get(hub, tmp_path) == folder
    with pytest.raises(LocalEntryNotFoundError) as caught:
        get(hub, tmp_path / "empty")
    spec = replace(FLUX_SCHNELL, source=NAME)
    assert "check the network" in explain(caught.value, spec, local=False)


@pytest.mark.parametrize("status", [408, 429, 503])
def test_a_hub_that_is_busy_is_no_reason_not_to_draw_with_what_is_whole(hub: Hub, tmp_path: Path, status: int) -> None:
    folder = get(hub, tmp_path)
    hub.status = status
    assert get(hub, tmp_path) == folder


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_is_whole_serves_though_the_hub_refuses_it_now(
    hub: Hub, tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that ran out, or a repository that was taken down: the studio goes on with what it has."""
    folder = get(hub, tmp_path)
    hub.status = status
    assert get(hub, tmp_path) == folder
    assert f"The hub refuses {NAME}" in caplog.text
    for asked in (partial(get, hub, tmp_path, check_all=True), partial(get, hub, tmp_path / "empty")):
        with pytest.raises(HfHubHTTPError) as caught:
            asked()
        assert caught.value.response.status_code == status


def test_a_hub_that_never_answers_is_away(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the call and says nothing: whoever loads a model would else wait for ever, and nobody would know."""
    monkeypatch.setattr(downloads, "LISTING_SECONDS", 0.3)
    folder = get(hub, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert fetch(NAME, endpoint=endpoint, cache=tmp_path) == folder
        with pytest.raises(LocalEntryNotFoundError):
            fetch(NAME, endpoint=endpoint, cache=tmp_path / "empty")


def test_a_part_is_not_taken_for_the_whole_while_the_hub_is_away(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process is killed between two files, and the network is gone at the next start."""
    monkeypatch.setattr(downloads, "_get", _killed)
    with pytest.raises(KeyboardInterrupt):
        get(hub, tmp_path)
    monkeypatch.setattr(downloads, "_get", _fetched)
    monkeypatch.setattr(downloads.constants, "HF_HUB_CACHE", str(tmp_path))
    assert not downloads.is_whole(NAME)
    hub.status = 503
    with pytest.raises(LocalEntryNotFoundError):
        get(hub, tmp_path)
    hub.status = None
    folder = get(hub, tmp_path)
    assert downloads.is_whole(NAME)
    hub.status = 503
    assert get(hub, tmp_path) == folder


def test_what_the_hub_refuses_becomes_advice(hub: Hub, tmp_path: Path) -> None:
    def asked(source: str) -> str:
        def through(name: str, *, token: str | None) -> Path:
            return fetch(name, token=token, endpoint=hub.url, cache=tmp_path)

        with pytest.raises(ModelUnavailable) as caught:
            folder_of(replace(FLUX_SCHNELL, source=source), "hf_secret", through)
        assert "hf_secret" not in str(caught.value)
        return str(caught.value)

    hub.gated = True
    assert f"Accept its licence at https://huggingface.co/{NAME} and give a token" in asked(NAME)
    assert "neither a folder nor a hub repository studio/nothing; check FLUX_SCHNELL_PATH" in asked("studio/nothing")
    assert "there is no folder ./not/here; FLUX_SCHNELL_PATH names it" in asked("./not/here")
    assert set(hub.tokens) == {"Bearer hf_secret"}


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "the hub does not know the token; check HF_TOKEN"),
        (403, "does not let the token read studio/tiny-flux; one of its fine-grained tokens in HF_TOKEN has to allow"),
        (429, "has been asked too often; try again in some minutes. With HF_TOKEN"),
        (503, r"out of order \(it answers 503\); try again later"),
    ],
)
def test_why_the_hub_gives_nothing_is_told_apart(hub: Hub, tmp_path: Path, status: int, advice: str) -> None:
    hub.status = status
    through = partial(fetch, endpoint=hub.url, cache=tmp_path)
    with pytest.raises(ModelUnavailable, match=advice) as caught:
        folder_of(replace(FLUX_SCHNELL, source=NAME), "hf_secret", through)
    assert hub.url not in str(caught.value)


def test_a_disk_that_fills_up_on_the_way_is_named_and_what_is_there_stays(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, file: downloads.RemoteFile, *rest: Any) -> None:
        if file.path == WEIGHTS:
            raise OSError(errno.ENOSPC, "No space left on device")
        _fetched(source, file, *rest)

    through = partial(fetch, endpoint=hub.url, cache=tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(downloads, "_get", full)
        with pytest.raises(ModelUnavailable, match="the disk is full; make room, or set HF_HOME"):
            folder_of(replace(FLUX_SCHNELL, source=NAME), None, through)
    hub.sent.clear()
    get(hub, tmp_path)
    assert {name for name, _ in hub.sent} == {WEIGHTS}


def test_two_who_fetch_the_same_at_once_both_get_it_whole(hub: Hub, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as two:
        one, other = two.map(lambda _: get(hub, tmp_path), range(2))
    assert one == other
    assert (one / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert sorted(name for name, _ in hub.sent) == ["model_index.json", "transformer/config.json", WEIGHTS]


def test_a_repository_that_is_changed_on_the_way_is_fetched_once_more(hub: Hub, tmp_path: Path) -> None:
    hub.served = "f" * 40
    with pytest.raises(DownloadBroken, match="changed on the hub while it was fetched"):
        get(hub, tmp_path)
    hub.listed = hub.served
    hub.sent.clear()
    assert (get(hub, tmp_path) / WEIGHTS).read_bytes() == FILES[WEIGHTS]
    assert hub.sent == [], "what is the same is not sent again"


def test_a_link_to_nothing_is_not_taken_for_a_file(hub: Hub, tmp_path: Path) -> None:
    folder = get(hub, tmp_path)
    (folder / WEIGHTS).resolve().unlink()  # as a clean-up of large files does
    assert (get(hub, tmp_path) / WEIGHTS).read_bytes() == FILES[WEIGHTS]


def test_a_lora_on_the_hub_is_fetched_by_its_one_file(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora_files, "fetch", partial(fetch, endpoint=hub.url, cache=tmp_path))
    assert file_of(Lora("ink", NAME)).read_bytes() == FILES["whole.safetensors"]
    with pytest.raises(LoraUnusable, match="ink: there is neither a folder nor a hub repository studio/nothing; check"):
        file_of(Lora("ink", "studio/nothing"))
    hub.gated = True
    monkeypatch.setattr(lora_files, "fetch", partial(fetch, endpoint=hub.url, cache=tmp_path / "another"))
    with pytest.raises(LoraUnusable, match=f"ink: {NAME} is gated. Accept its licence at https://huggingface.co/"):
        file_of(Lora("ink", NAME))


def test_one_lora_of_several_in_a_repository_is_fetched_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(NAME, {"ink.safetensors": b"ink", "oil.safetensors": b"oil", "old/wax.safetensors": b"wax"})
    monkeypatch.setattr(lora_files, "fetch", partial(fetch, endpoint=hub.url, cache=tmp_path))
    for file in ("ink.safetensors", "old/wax.safetensors"):
        assert file_of(Lora("one", f"{NAME}/{file}")).read_bytes() == hub.files[file]
    assert {file for file, _ in hub.sent} == {"ink.safetensors", "old/wax.safetensors"}
    for missing, why in [
        ("pen.safetensors", "holds nothing of pen"),
        ("*.safetensors", "there is no studio/tiny-flux/"),
    ]:
        with pytest.raises(LoraUnusable, match=why):
            file_of(Lora("one", f"{NAME}/{missing}"))
    with pytest.raises(LoraUnusable, match=rf"there is no \./{NAME}/ink\.safetensors"):
        file_of(Lora("one", f"./{NAME}/ink.safetensors"))
    hub.close()
    with pytest.raises(LoraUnusable, match=r"oil\.safetensors was not downloaded yet; check the network"):
        file_of(Lora("one", f"{NAME}/oil.safetensors"))
    assert file_of(Lora("one", f"{NAME}/ink.safetensors")).read_bytes() == b"ink"


def test_the_hub_is_asked_once_for_a_lora_that_is_put_on_again_and_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora_files, "fetch", partial(fetch, endpoint=hub.url, cache=tmp_path))
    lora = Lora("ink", NAME)
    files = LoraFiles({"ink": lora})
    assert not files.has("ink")
    first = files.find(lora)
    hub.asked.clear()
    assert files.find(lora) == first
    assert files.has("ink")
    assert hub.asked == []
    first.unlink()
    assert not files.has("ink")
    assert files.find(lora).is_file()
    with pytest.raises(LoraUnusable, match="pen is not in this worker's LORAS"):
        files.named("pen", "flux-tiny")


async def test_a_lora_is_fetched_outside_of_the_engines_thread(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []

    def fetched(*place: Any, **options: Any) -> Path:
        threads.append(threading.current_thread().name)
        return fetch(*place, endpoint=hub.url, cache=tmp_path, **options)

    monkeypatch.setattr(lora_files, "fetch", fetched)
    loras = {"ink": Lora("ink", NAME), "gone": Lora("gone", "studio/nothing")}
    provider = LocalProvider(Catalogue({"flux-tiny": "nowhere"}, loras=loras), device="cpu", threads=1)
    request = resolve(RequestOptions(prompt="a", lora="ink"), provider._catalogue)
    assert not provider.has_files(request)
    await asyncio.gather(provider.fetch(request), provider.fetch(request))
    assert provider.has_files(request)
    assert [name.partition("_")[0] for name in threads] == ["files"]
    without = resolve(RequestOptions(prompt="a", lora="gone:0"), provider._catalogue)
    assert provider.has_files(without)
    await provider.fetch(without)
    with pytest.raises(LoraUnusable, match="gone: there is neither"):
        await provider.fetch(resolve(RequestOptions(prompt="a", lora="gone"), provider._catalogue))
    await provider.close()


def test_the_command_fetches(hub: Hub, tmp_path: Path) -> None:
    """As an operator types it, with the variables that the real client reads."""
    surroundings = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "FLUX_SCHNELL_PATH": NAME,
    }
    command = [sys.executable, "-m", "bot", "models", "download", "flux-schnell"]
    done = subprocess.run(command, env=surroundings, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "flux-schnell is complete" in done.stdout
    assert "100 %" in done.stderr
    assert "HTTP Request" not in done.stderr, "signed addresses are among them"


def test_what_is_there_and_what_is_not_is_listed(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads.constants, "HF_HUB_CACHE", str(tmp_path))
    settings = Settings(
        flux_schnell_path=NAME, flux_dev_path="studio/nothing", loras="ink=studio/ink:flux-dev", _env_file=None
    )

    def listed() -> str:
        console = Console(width=160, file=io.StringIO(), record=True)
        weights.show(settings, console)
        return console.export_text()

    def rows() -> dict[str, str]:
        return {line.split()[1]: line for line in listed().splitlines() if "flux-" in line and len(line.split()) > 1}

    assert "not yet" in rows()["flux-schnell"]
    assert "studio/nothing" in rows()["flux-dev"]
    assert "set FLUX_KLEIN_PATH" in rows()["flux-klein-4b"]
    assert "studio/ink" in rows()["ink"]
    (get(hub, tmp_path) / WEIGHTS).unlink()
    monkeypatch.setattr(downloads, "_get", _killed)
    with pytest.raises(KeyboardInterrupt):
        get(hub, tmp_path)
    assert "not whole yet" in rows()["flux-schnell"]
    monkeypatch.setattr(downloads, "_get", _fetched)
    get(hub, tmp_path)
    assert "MiB" in rows()["flux-schnell"]
    assert "not whole" not in rows()["flux-schnell"]


def test_weights_that_there_are_not_are_refused_by_name(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "fetch", partial(fetch, endpoint=hub.url, cache=tmp_path))
    settings, console = Settings(flux_dev_path="studio/nothing", _env_file=None), Console(file=io.StringIO())
    with pytest.raises(ModelUnavailable, match="neither a folder nor a hub repository studio/nothing"):
        weights.download(settings, "flux-dev", console)
    with pytest.raises(ConfigurationError, match="FLUX_SCHNELL_PATH is not set"):
        weights.download(settings, "flux-schnell", console)
    with pytest.raises(ConfigurationError, match="There are no weights of 'flux-2-pro'"):
        weights.download(settings, "flux-2-pro", console)


def test_a_lora_is_fetched_beforehand_by_its_name(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "fetch", partial(fetch, endpoint=hub.url, cache=tmp_path))
    (tmp_path / "oil.safetensors").write_bytes(b"")
    listed = f"ink={NAME},oil={tmp_path}/oil.safetensors,pen=studio/nothing,wax=./not/here,art={NAME}/whole.safetensors"
    settings, console = Settings(loras=listed, _env_file=None), Console(file=io.StringIO(), force_terminal=True)
    folder = weights.download(settings, "ink", console)
    assert [file.name for file in folder.iterdir()] == ["whole.safetensors"]
    assert weights.download(settings, "art", console) == folder
    assert weights.download(settings, "oil", console) == tmp_path / "oil.safetensors"
    for name, told in (("pen", "nor a hub repository studio/nothing; check LORAS"), ("wax", "no ./not/here")):
        with pytest.raises(ModelUnavailable, match=told):
            weights.download(settings, name, console)
