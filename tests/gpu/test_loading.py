"""Loading: one set of weights for both operations, and clear words where there is none."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from httpx import Request, Response
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from pydantic import SecretStr

from flux_core import downloads
from flux_core.catalogue import Catalogue
from flux_core.errors import ModelUnavailable
from flux_core.family import FLUX_DEV
from flux_core.generation import RequestOptions, resolve
from flux_core.gpu import loading, shelf
from flux_core.gpu.loading import explain, load
from flux_core.gpu.profile import Profile, Weights
from flux_core.providers.base import DrawTask
from flux_core.settings import Settings
from flux_core.worker.process import local_provider
from tests.hub import Hub
from tests.providers.recorder import Recorder

CPU = torch.device("cpu")


def test_both_operations_share_every_weight(catalogue: Catalogue) -> None:
    model = load(catalogue["flux-tiny"], CPU)
    for name, part in model.text_to_image.components.items():
        assert model.image_to_image.components[name] is part
    assert model.text_to_image.transformer.dtype == torch.float32
    assert model.text_to_image.text_encoder_2.dtype == torch.float32
    assert not model.text_to_image.transformer.training


@pytest.mark.parametrize("missing", ["model_index.json", "vae", "transformer/diffusion_pytorch_model.safetensors"])
def test_an_incomplete_folder_says_which_setting_to_check(
    catalogue: Catalogue, tiny_folder: Path, tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "flux"
    shutil.copytree(tiny_folder, folder)
    shutil.rmtree(folder / missing) if (folder / missing).is_dir() else (folder / missing).unlink()
    with pytest.raises(ModelUnavailable, match="FLUX_TINY_PATH") as caught:
        load(replace(catalogue["flux-tiny"], source=str(folder)), CPU)
    assert "\n" not in str(caught.value)


def test_damaged_weights_say_so(catalogue: Catalogue, tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flux"
    shutil.copytree(tiny_folder, folder)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelUnavailable, match="FLUX_TINY_PATH"):
        load(replace(catalogue["flux-tiny"], source=str(folder)), CPU)


async def test_the_hub_is_asked_with_the_configured_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place, token = "black-forest-labs/FLUX.1-dev", SecretStr("hf_secret")
    hub = Hub(place, {"model_index.json": b"{}"})
    hub.gated = True
    through = partial(downloads.fetch, endpoint=hub.url, cache=tmp_path)
    monkeypatch.setattr(shelf, "folder_of", partial(downloads.folder_of, fetch=through))
    settings = Settings(flux_dev_path=place, hf_token=token, device="cpu", _env_file=None)
    request = resolve(RequestOptions(prompt="a red circle", model="flux-dev"), settings.catalogue)
    provider = local_provider(settings)
    with pytest.raises(ModelUnavailable, match="HF_TOKEN") as caught:
        await provider.draw(DrawTask(job_id="1", request=request), Recorder())
    await provider.close()
    hub.close()
    assert set(hub.tokens) == {"Bearer hf_secret"}
    assert "hf_secret" not in str(caught.value)


def test_what_the_hub_answers_becomes_advice() -> None:
    spec = replace(FLUX_DEV, source="black-forest-labs/FLUX.1-dev")
    answer = Response(403, request=Request("GET", "https://huggingface.co"))
    wrapped = OSError("Cannot load model_index.json")
    wrapped.__cause__ = GatedRepoError("403", response=answer)
    said = explain(wrapped, spec, local=False)
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in said
    assert "HF_TOKEN" in said
    missing = explain(RepositoryNotFoundError("404", response=answer), spec, local=False)
    assert "neither a folder nor a hub repository" in missing
    assert "FLUX_DEV_PATH" in missing
    for error in (LocalEntryNotFoundError("offline"), ConnectionError("no route")):
        assert "network" in explain(error, spec, local=False)
    assert explain(ValueError("odd\nsecond line"), spec, local=False).endswith("(odd).")


@pytest.mark.parametrize(("free", "place"), [(20, "cpu"), (40, "cuda")])
def test_random_weights_are_made_where_there_is_room_for_all_bits(
    monkeypatch: pytest.MonkeyPatch, free: int, place: str
) -> None:
    """A card for 8 bits need not have room for 16, in which they are made before they are rounded."""
    places: list[str] = []
    monkeypatch.setattr(loading, "free_bytes", lambda _: free << 30)
    monkeypatch.setattr(loading, "build_pipeline", lambda _, device, __: places.append(torch.device(device).type))
    eight = Profile(name="fp8", why="A test asks for it.", transformer=Weights.FP8)
    with pytest.raises(AttributeError):  # nothing was built
        loading._at_random(replace(FLUX_DEV, source=loading.RANDOM), eight, torch.device("cuda", 0))
    assert places == [place]


def test_decoding_with_care_leaves_the_very_same_weights(catalogue: Catalogue) -> None:
    """Nothing of them is given away meanwhile: on a card, another stream could take that memory and still be read."""
    model = load(catalogue["flux-tiny"], CPU, profile=Profile(name="half", why="A test asks for it."))
    held = {name: (one, one.data_ptr(), one.dtype) for name, one in model.pipeline.vae.state_dict().items()}
    with torch.inference_mode():
        model.decoder.decode(torch.zeros(1, 16, 8, 8), careful=True)
    after = {name: (one.data_ptr(), one.dtype) for name, one in model.pipeline.vae.state_dict().items()}
    assert after == {name: (place, kind) for name, (_, place, kind) in held.items()}
    assert {kind for _, _, kind in held.values()} == {torch.bfloat16}
