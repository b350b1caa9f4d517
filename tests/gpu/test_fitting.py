"""What profiles do to a pipeline: for real where a processor can, for a card as far as signatures tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLFlux2, Flux2Transformer2DModel, FluxPipeline, FluxTransformer2DModel
from diffusers.hooks import apply_group_offloading
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from transformers import (
    CLIPTextModel,
    Qwen3Config,
    Qwen3Model,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5EncoderModel,
)

from flux_core.catalogue import Catalogue
from flux_core.errors import ConfigurationError, ModelUnavailable
from flux_core.family import FLUX_DEV, FLUX_KLEIN
from flux_core.generation import GenerationRequest
from flux_core.gpu import fitting, loading
from flux_core.gpu.engine import Engine
from flux_core.gpu.fitting import fit, number_type, tile
from flux_core.gpu.float8 import RoundedLinear, rounded
from flux_core.gpu.loading import held_as, load
from flux_core.gpu.profile import Encoders, Offload, Profile
from flux_core.gpu.rungs import KINDS
from flux_core.gpu.shapes import Part, build
from flux_core.gpu.sizes import size_of
from flux_core.models import Mode
from tests.gpu import family
from tests.gpu.conftest import Watcher
from tests.gpu.narrow import draw
from tests.gpu.test_profile import MACHINES, card, first, ladder

CPU = torch.device("cpu")
CARD = torch.device("cuda", 1)
PLAIN = Profile(name="plain", why="A test asks for it.", transformer=fitting.Weights.FP32)
Ask = Callable[..., GenerationRequest]


@pytest.fixture(scope="module")
def exact(catalogue: Catalogue) -> torch.Tensor:
    """What the pipeline draws as it is, loaded by diffusers alone."""
    pipeline = FluxPipeline.from_pretrained(catalogue["flux-tiny"].source, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return draw(pipeline)


@pytest.mark.parametrize(
    "profile",
    [
        PLAIN,
        replace(PLAIN, offload=Offload.GROUP, encoders=Encoders.STREAMED),
        replace(PLAIN, vae_tiling=True, attention="native"),
        replace(PLAIN, attention="_native_math"),
    ],
    ids=["resident", "brought in parts", "tiled", "another attention"],
)
def test_what_only_saves_memory_changes_no_picture(catalogue: Catalogue, exact: torch.Tensor, profile: Profile) -> None:
    model = load(catalogue["flux-tiny"], CPU, profile=profile)
    assert model.profile == profile
    torch.testing.assert_close(draw(model.text_to_image), exact, rtol=0, atol=1e-4)


def test_the_large_products_are_rounded_to_eight_bits_and_nothing_else(
    catalogue: Catalogue, exact: torch.Tensor
) -> None:
    model = load(catalogue["flux-tiny"], CPU, profile=replace(PLAIN, transformer=fitting.Weights.FP8_EMULATED))
    assert held_as(model.spec, model.profile) != model.spec.id
    transformer = model.text_to_image.transformer
    kinds = {name: type(module) for name, module in transformer.named_modules()}
    inside = {kind for name, kind in kinds.items() if name.startswith(fitting.BLOCKS)}
    assert RoundedLinear in inside
    assert torch.nn.Linear not in inside
    assert kinds["x_embedder"] is kinds["proj_out"] is torch.nn.Linear
    drawn = draw(model.text_to_image)
    error = float((drawn - exact).norm() / exact.norm())
    assert 1e-4 < error < 0.1


def test_rounding_is_that_of_a_card() -> None:
    values = torch.randn(64, 32, generator=torch.Generator().manual_seed(2)) * 100
    kept = rounded(values)
    torch.testing.assert_close(kept.abs().amax(-1), values.abs().amax(-1))  # the largest of each row stays
    assert float(((kept - values).abs() / values.abs()).max()) < 2**-4 + 2**-9 / float(values.abs().min())
    assert torch.equal(rounded(torch.zeros(1, 4)), torch.zeros(1, 4))
    torch.testing.assert_close(rounded(kept), kept)


def test_a_decoder_works_in_tiles_that_are_smaller_than_its_pictures(catalogue: Catalogue) -> None:
    whole = build(Part.VAE, "flux-dev")
    assert whole.tile_sample_min_size == 1024, "of itself it would tile nothing that FLUX draws"
    tile(whole)
    assert (whole.use_tiling, whole.tile_sample_min_size, whole.tile_latent_min_size) == (True, 512, 64)
    vae = load(catalogue["flux-tiny"], CPU, profile=PLAIN).text_to_image.vae
    latents = torch.randn(1, 16, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        before = vae.decode(latents).sample
        tile(vae)
        after = vae.decode(latents).sample
    assert after.shape == before.shape
    assert not torch.equal(after, before)
    assert float((after - before).abs().mean()) < 0.1


@pytest.mark.parametrize("name", ["cpu", "cpu-bf16", "cpu-fp8"])
def test_profiles_of_a_processor_draw(catalogue: Catalogue, ask: Ask, name: str) -> None:
    engine = Engine(CPU, profile=name)
    request = ask(steps=1)
    (picture,) = engine.draw(catalogue["flux-tiny"], request, None, Watcher())
    assert picture.size == (request.width, request.height)
    assert engine.loaded == ["flux-tiny in fp8-emulated" if name == "cpu-fp8" else "flux-tiny"]


def test_a_processor_computes_in_single_precision_and_cards_in_bfloat16() -> None:
    kinds = {rung.name: number_type(rung) for rungs in KINDS.values() for rung in rungs}
    assert {name for name, numbers in kinds.items() if numbers == torch.float32} == {"cpu", "cpu-compiled", "cpu-fp8"}
    assert set(kinds.values()) == {torch.float32, torch.bfloat16}, "never fp16: FLUX overflows it and draws black"


def test_a_profile_that_is_none_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(ConfigurationError, match="GPU_PROFILE is 'warp'"):
        Engine(CPU, profile="warp")


def test_the_size_of_a_model_is_known_before_it_is_loaded(catalogue: Catalogue, tiny_folder: Path) -> None:
    size = size_of(catalogue["flux-tiny"])
    loaded = load(catalogue["flux-tiny"], CPU, profile=PLAIN).text_to_image
    for held, part in [
        (size.transformer, loaded.transformer),
        (size.t5, loaded.text_encoder_2),
        (size.clip, loaded.text_encoder),
        (size.vae, loaded.vae),
    ]:
        assert held == pytest.approx(sum(one.numel() for one in part.parameters()), rel=0.06)
    assert size.width == 192
    assert size_of(replace(FLUX_DEV, source="black-forest-labs/FLUX.1-dev")).transformer == 11_901_408_320


def test_what_looks_at_pictures_for_redux_has_its_place_beside_the_weights_that_draw(tmp_path: Path) -> None:
    with torch.device("meta"):
        sees = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=1152,
                intermediate_size=4304,
                num_hidden_layers=27,
                num_attention_heads=16,
                image_size=384,
                patch_size=14,
            )
        )
        parts = (sees, ReduxImageEncoder(redux_dim=1152, txt_in_features=4096))
    counted = sum(one.numel() for part in parts for one in part.parameters())
    hub = {"flux-dev": "black-forest-labs/FLUX.1-dev", "flux-redux-dev": "black-forest-labs/FLUX.1-Redux-dev"}
    catalogue = Catalogue(hub)
    alone, beside = size_of(Catalogue({"flux-dev": hub["flux-dev"]})["flux-dev"]), size_of(catalogue["flux-dev"])
    assert (alone.eyes, beside.eyes) == (0, counted)
    assert catalogue["flux-redux-dev"].base == catalogue["flux-dev"]
    for name in ("bf16", "nf4-in-turns"):
        taken = [ladder(card(79.1, (9, 0)), size, Mode.QUALITY, name)[0] for size in (alone, beside)]
        assert taken[1].card_bytes - taken[0].card_bytes == 2 * counted, name
        assert taken[1].main_bytes == taken[0].main_bytes
    folder = tmp_path / "redux"
    family.redux(folder)
    near = Catalogue({"flux-dev": hub["flux-dev"], "flux-redux-dev": str(folder)})["flux-dev"]
    files = [*folder.glob("image_e*/*.safetensors")]
    assert len(files) == 2
    assert size_of(near).eyes == sum(file.stat().st_size for file in files) // 2


def test_the_size_of_klein_is_that_of_its_own_shapes() -> None:
    """Taken for as large as FLUX.1 it would be streamed where all of it fits."""
    transformer_config = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24}
    with torch.device("meta"):
        transformer = Flux2Transformer2DModel(**transformer_config, joint_attention_dim=7680, guidance_embeds=False)
        words = Qwen3Model(
            Qwen3Config(
                vocab_size=151936,
                hidden_size=2560,
                intermediate_size=9728,
                num_hidden_layers=36,
                num_attention_heads=32,
                num_key_value_heads=8,
                head_dim=128,
            )
        )
        vae = AutoencoderKLFlux2()
    size = size_of(replace(FLUX_KLEIN, source="black-forest-labs/FLUX.2-klein-4B"))
    counted = [sum(one.numel() for one in part.parameters()) for part in (transformer, words, vae)]
    assert [size.transformer, size.t5, size.vae] == counted
    blocks = (transformer.transformer_blocks[0], transformer.single_transformer_blocks[0])
    assert size.largest_block == max(sum(one.numel() for one in block.parameters()) for block in blocks)
    assert first(card(23.9, (8, 9)), size) == "bf16"


def test_what_cannot_be_held_so_is_no_fault_of_the_worker(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages of other versions than the ladder takes them for, say: the operator reads what to do."""

    def broken(*_: object) -> None:
        raise ValueError("flash_attn_interface is of another age\nand so on")

    monkeypatch.setattr(loading, "fit", broken)
    with pytest.raises(ModelUnavailable, match=r"profile plain .*another age\); GPU_PROFILE names another\.$"):
        load(catalogue["flux-tiny"], CPU, profile=PLAIN)


# For a card


class Card:
    """A pipeline for a card that is not here: every part takes calls as the real class does, and does nothing."""

    def __init__(self, profile: Profile) -> None:
        self.transformer = create_autospec(FluxTransformer2DModel, instance=True)
        self.vae = create_autospec(AutoencoderKL, instance=True)
        self.vae.tile_sample_min_size, self.vae.tile_latent_min_size = 1024, 128
        self.clip = create_autospec(CLIPTextModel, instance=True)
        self.t5 = create_autospec(T5EncoderModel, instance=True)
        for part in (self.transformer, self.vae, self.clip, self.t5):
            part.is_loaded_in_4bit = False
        self.pipeline = create_autospec(FluxPipeline, instance=True)
        self.pipeline.transformer, self.pipeline.vae = self.transformer, self.vae
        self.pipeline.components = {
            "transformer": self.transformer,
            "vae": self.vae,
            "text_encoder": self.clip,
            "text_encoder_2": self.t5,
            "scheduler": None,
        }
        self.compiled: list[object] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fitting, "compile_blocks", self.compiled.append)
            fit(self.pipeline, profile, CARD)


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``apply_group_offloading``, with its own signature and without a card."""
    recorded = create_autospec(apply_group_offloading)
    monkeypatch.setattr(fitting, "apply_group_offloading", recorded)
    return recorded


def test_on_a_card_all_stays_and_the_blocks_are_compiled(brought: Any) -> None:
    card = Card(Profile(name="x", why="x", attention="_native_cudnn", compiled=True))
    for part in (card.transformer, card.clip, card.t5):
        part.to.assert_called_once_with(CARD)
    card.vae.to.assert_any_call(CARD)
    card.vae.to.assert_any_call(memory_format=torch.channels_last)
    card.transformer.set_attention_backend.assert_called_once_with("_native_cudnn")
    assert card.compiled == [card.transformer]
    assert not brought.called


def test_what_does_not_fit_comes_onto_the_card_on_a_stream_of_its_own(brought: Any) -> None:
    card = Card(Profile(name="x", why="x", encoders=Encoders.STREAMED, offload=Offload.GROUP, vae_tiling=True))
    assert brought.call_args.args == (card.t5,)
    for call in (brought.call_args, card.transformer.enable_group_offload.call_args):
        assert call.kwargs["onload_device"] == CARD
        assert call.kwargs["use_stream"]
    assert not card.transformer.to.called
    assert not card.t5.to.called
    card.clip.to.assert_called_once_with(CARD)
    card.vae.enable_tiling.assert_called_once_with()
    assert (card.vae.tile_sample_min_size, card.vae.tile_latent_min_size) == (512, 64)


def test_where_one_part_fits_at_a_time_diffusers_moves_them() -> None:
    card = Card(Profile(name="x", why="x", offload=Offload.MODEL, transformer=fitting.Weights.NF4))
    card.pipeline.enable_model_cpu_offload.assert_called_once_with(device=CARD)
    assert not card.transformer.to.called


@pytest.mark.parametrize("name", ["_native_cudnn", "_flash_3", "flash"])
def test_an_attention_that_does_not_work_here_is_left(
    catalogue: Catalogue, exact: torch.Tensor, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A processor has none of them, as a card may lack one: what draws is torch's own, and the log says so."""
    model = load(catalogue["flux-tiny"], CPU, profile=replace(PLAIN, attention=name))
    torch.testing.assert_close(draw(model.text_to_image), exact, rtol=0, atol=1e-4)
    assert f"Attention {name} does not work here" in caplog.text


def test_an_attention_is_that_of_its_own_network_alone(catalogue: Catalogue) -> None:
    before = _AttentionBackendRegistry.get_active_backend()
    model = load(catalogue["flux-tiny"], CPU, profile=replace(PLAIN, attention="_native_math"))
    assert _AttentionBackendRegistry.get_active_backend() == before
    processors = {one._attention_backend for one in model.pipeline.transformer.attn_processors.values()}
    assert processors == {AttentionBackendName._NATIVE_MATH}


def test_every_attention_of_the_ladder_is_one_of_diffusers(catalogue: Catalogue) -> None:
    size = size_of(catalogue["flux-tiny"])
    names = {rung.attention for facts in MACHINES for rung in ladder(facts, size)}
    assert names == {"native", "_native_cudnn", "_flash_3"}
    assert names <= {backend.value for backend in AttentionBackendName}


def test_a_small_model_is_drawn_as_it_is_on_any_card(catalogue: Catalogue) -> None:
    assert {first(facts, size_of(catalogue["flux-tiny"]), Mode.QUALITY) for facts in MACHINES} == {"bf16"}
