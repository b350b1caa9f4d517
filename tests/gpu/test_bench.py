"""``flux-bot bench`` measures drawing on the machine it runs on, and counts what it measures against."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from flux_core.errors import ConfigurationError, InvalidSize, ModelUnavailable, OutOfMemory, OutOfRange, UnknownMode
from flux_core.family import FLUX_DEV
from flux_core.generation import GenerationRequest
from flux_core.gpu.bench import command, trial
from flux_core.gpu.bench.plan import Plan
from flux_core.gpu.bench.report import RANDOM_WEIGHTS, Bench, show
from flux_core.gpu.loading import RANDOM, load
from flux_core.gpu.pipelines import FAMILIES
from flux_core.gpu.shapes import SHAPES
from flux_core.models import Mode
from flux_core.providers.base import Drawing, DrawTask, Progress
from flux_core.providers.local import LocalProvider
from flux_core.settings import Settings
from tests.gpu.narrow import narrow

NOTHING_TYPED = {"model": None, "sizes": None, "modes": None, "steps": None, "random_weights": False, "quick": True}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    # The whole process would log as the command does.
    monkeypatch.setattr(command, "configure_logging", lambda settings: None)
    return Settings(device="cpu", torch_threads=1, _env_file=None)


def measured(settings: Settings, file: Path | None = None, **typed: object) -> str:
    console = Console(width=160, file=StringIO(), record=True)
    command.run(settings, console, file=file, **(NOTHING_TYPED | typed))  # type: ignore[arg-type]
    return console.export_text()


def test_a_quick_bench_tells_what_it_found_to_people_and_to_machines(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    said = measured(settings, file, steps=2, modes="quality,turbo")
    figures = json.loads(file.read_text())
    found = Bench.model_validate(figures)
    assert (found.model, found.device, found.threads, found.profile) == ("flux-tiny", "cpu", 1, "cpu")
    assert [(one.mode, one.width, one.height, one.steps) for one in found.drawings] == [
        ("quality", 128, 128, 2),
        ("turbo", 128, 128, 2),
    ]
    quality = found.drawings[0]
    assert 0 < quality.seconds <= quality.slowest < found.cold_seconds + 60
    assert quality.floor == pytest.approx(quality.operations / found.rates["fp32"])
    assert quality.ratio == pytest.approx(quality.seconds / quality.floor)
    assert quality.gain == pytest.approx(2 * quality.seconds / quality.batch_seconds)
    assert {"floor", "ratio", "gain"} <= figures["drawings"][0].keys()
    assert quality.peak_bytes > 100 << 20
    assert found.gap_seconds >= 0
    assert set(found.errors) == {"turbo"}
    assert found.errors["turbo"].psnr > 20
    for expected in ("flux-tiny on cpu", "128×128", "quality", "turbo", "matrix rate fp32", "Similarity"):
        assert expected in said
    assert "tells nothing of turbo" not in said
    console = Console(width=160, file=StringIO(), record=True)
    show(found.model_copy(update={"weights": RANDOM_WEIGHTS}), console)
    assert "tells nothing of turbo" in console.export_text()


def test_weights_are_fetched_before_the_clock_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download is no part of a cold start, and takes none of its minutes."""

    async def fetch(self: LocalProvider, request: GenerationRequest) -> None:
        raise ModelUnavailable(f"{request.model} was to be fetched.", model=request.model)

    async def draw(self: LocalProvider, task: DrawTask, progress: Progress) -> Drawing:
        raise AssertionError("It would be fetched while it is measured.")

    monkeypatch.setattr(LocalProvider, "fetch", fetch)
    monkeypatch.setattr(LocalProvider, "draw", draw)
    with pytest.raises(ModelUnavailable, match="flux-schnell was to be fetched"):
        measured(settings.model_copy(update={"flux_schnell_path": "studio/nothing"}), model="flux-schnell")


def test_what_a_worker_here_would_do_is_what_is_measured(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[trial.Trial] = []

    class Noted(trial.Trial):
        def check(self, plan: Plan) -> None:
            made.append(self)
            raise InvalidSize(value="", reason="format", limit="")  # that is enough

    monkeypatch.setattr(command, "Trial", Noted)
    for name in ("auto", "cpu-bf16"):
        with pytest.raises(InvalidSize):
            measured(settings.model_copy(update={"gpu_profile": name}))
    assert [(one.profile().name, one._numbers_name) for one in made] == [("cpu", "fp32"), ("cpu-bf16", "bf16")]
    with pytest.raises(ConfigurationError, match="bf16-streamed"):
        measured(settings.model_copy(update={"gpu_profile": "bf16-streamed"}))


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ({"sizes": "3000x3000"}, InvalidSize),
        ({"sizes": "17x"}, InvalidSize),
        ({"modes": "warp"}, UnknownMode),
        ({"steps": 900}, OutOfRange),
        ({"random_weights": True, "model": "flux-tiny"}, ConfigurationError),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, typed: dict[str, object], error: type[Exception]
) -> None:
    monkeypatch.setattr(trial, "LocalProvider", None)
    with pytest.raises(error):
        measured(settings, **typed)


def test_a_file_in_no_folder_is_refused_at_once(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        measured(settings, tmp_path / "nowhere" / "figures.json")


def test_random_weights_that_do_not_fit_into_memory_are_not_built(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "free_bytes", lambda device: 8 << 30)
    with pytest.raises(ConfigurationError, match=r"flux-dev takes \d\d GiB of memory here, and 8 GiB are free"):
        measured(settings, random_weights=True, model="flux-dev")


def test_random_weights_have_the_shapes_of_the_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transformer alone is built, on the meta device: a floor needs no weights."""
    dev = trial.Trial.__new__(trial.Trial)
    dev.spec, dev._hub_token = replace(FLUX_DEV, source=RANDOM), None
    request = SimpleNamespace(width=1024, height=1024, steps_taken=28, input_picture=None, input_mask=None)
    assert dev._operations(request) / 28e12 == pytest.approx(74.4, abs=0.05)  # type: ignore[arg-type]


def test_random_weights_are_measured_without_a_download_and_what_fails_is_noted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FLUX.1 [dev], only narrow. Memory runs out in turbo at the second size, and for nothing else."""
    drawn, file, known = LocalProvider.draw, tmp_path / "figures.json", list[Bench]()

    async def draw(self: LocalProvider, task: DrawTask, progress: Progress) -> Drawing:
        if task.request.mode is Mode.TURBO and task.request.width == 320:
            known.append(Bench.model_validate_json(file.read_text()))  # what is on the disk by then
            raise OutOfMemory("flux-dev at 320×256: CUDA out of memory")
        return await drawn(self, task, progress)

    monkeypatch.setattr(LocalProvider, "draw", draw)
    options = {"steps": 1, "modes": "quality,turbo", "sizes": "256x256,320x256", "quick": False}
    monkeypatch.setattr(command, "Plan", partial(Plan, runs=1, batch=2))
    with narrow():
        said = measured(settings, file, model="flux-dev", random_weights=True, **options)
    found = Bench.model_validate_json(file.read_text())
    assert (found.weights, found.complete, found.errors) == (RANDOM_WEIGHTS, True, {})
    rows = [(one.mode, one.width) for one in found.drawings]
    assert rows == [("quality", 256), ("quality", 320), ("turbo", 256)]
    assert [(one.what, one.why) for one in found.failed] == [
        ("turbo at 320x256", "OutOfMemory: flux-dev at 320×256: CUDA out of memory")
    ]
    assert found.gap_seconds is not None
    assert "Not measured: turbo at 320x256" in said
    assert [(len(one.drawings), one.complete) for one in known] == [(3, False)]


def test_a_bench_ends_in_time_with_what_it_has(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turbo hangs: what was measured before is shown, and after it nothing is begun."""

    async def draw(self: LocalProvider, task: DrawTask, progress: Progress) -> Drawing:
        if task.request.mode is Mode.TURBO:
            await asyncio.Event().wait()
        progress.step(1, 1)
        return Drawing(pictures=())

    monkeypatch.setattr(LocalProvider, "draw", draw)
    monkeypatch.setattr(trial.Trial, "_rates", lambda self: {"fp32": 1e12})
    said = measured(settings, steps=1, modes="quality,turbo", minutes=0.1)
    assert "quality" in said
    for what in ("turbo at 1:1", "two queued jobs"):
        assert f"Not measured: {what}: the 0.1 minutes are over" in said
    with pytest.raises(ConfigurationError, match="--minutes"):
        measured(settings, steps=1, modes="turbo", minutes=0.01)


def test_where_nothing_can_be_drawn_the_reason_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def draw(self: LocalProvider, task: DrawTask, progress: Progress) -> Drawing:
        raise OutOfMemory("flux-tiny: CUDA out of memory")

    monkeypatch.setattr(LocalProvider, "draw", draw)
    with pytest.raises(OutOfMemory):
        measured(settings, modes="quality")


def test_a_model_of_random_weights_draws(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """In small: what builds the real shapes is given flux-tiny's."""
    from flux_core.gpu import loading
    from flux_core.tiny.architecture import build_pipeline

    monkeypatch.setattr(loading, "build_pipeline", lambda id, device, dtype: build_pipeline(3).to(device, dtype))
    model = load(replace(FLUX_DEV, source=RANDOM), torch.device("cpu"))
    assert set(model.pipelines) == set(FAMILIES[FLUX_DEV.architecture].ways)
    assert "flux-dev" in SHAPES
    assert Mode.QUALITY is model.profile.mode
