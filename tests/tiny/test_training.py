"""The training's parts: they compute what they claim, and what they save is never half written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from flux_core.tiny import checkpoints
from flux_core.tiny.architecture import build_pipeline, build_random, build_tokenizer, build_transformer
from flux_core.tiny.attention import TrainingAttention
from flux_core.tiny.definition import MAX_SEQUENCE_LENGTH, WEIGHTS
from flux_core.tiny.flow_training import redraw, sample_times
from flux_core.tiny.latent_cache import pack
from flux_core.tiny.muon import Muon, orthogonalise
from flux_core.tiny.network import TextReader, TinyFlux, detail_weights, position_ids
from flux_core.tiny.train import run_adopt
from flux_core.tiny.vae_training import build_trainable_vae, encode_mean, fold_scale
from flux_core.tiny.vocabulary import END, PAD, START, TOKENS, UNKNOWN


def test_packing_and_positions_are_the_pipelines_own() -> None:
    latents = torch.randn(2, 16, 16, 24)
    assert torch.equal(pack(latents), FluxPipeline._pack_latents(latents, 2, 16, 16, 24))
    ids = FluxPipeline._prepare_latent_image_ids(2, 8, 12, "cpu", torch.float32)
    assert torch.equal(position_ids(192, 128), ids)


def test_training_attention_computes_what_diffusers_computes() -> None:
    torch.manual_seed(0)
    transformer = build_transformer()
    inputs = {
        "hidden_states": torch.randn(2, 64, 64),
        "encoder_hidden_states": torch.randn(2, 32, 128),
        "pooled_projections": torch.randn(2, 96),
        "timestep": torch.tensor([0.3, 0.9]),
        "guidance": torch.ones(2),
        "img_ids": position_ids(128, 128),
        "txt_ids": torch.zeros(32, 3),
        "return_dict": False,
    }
    with torch.no_grad():
        expected = transformer(**inputs)[0]
        transformer.set_attn_processor(TrainingAttention())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            actual = transformer(**inputs)[0].float()
    assert (actual - expected).abs().max() < 0.03 * expected.abs().max()


def test_the_tokenizers_read_words_and_pad_to_the_models_length() -> None:
    clip, t5 = TextReader()(["A red circle, on a zyzzyva!"])
    words = ["a", "red", "circle", "on", "a", UNKNOWN, END]
    assert [TOKENS[index] for index in t5[0]] == words + [PAD] * (MAX_SEQUENCE_LENGTH - len(words))
    assert TOKENS[int(clip[0, 0])] == START
    assert clip.shape == t5.shape == (1, MAX_SEQUENCE_LENGTH)
    long = build_tokenizer(start=False)("red " * 100, truncation=True, max_length=MAX_SEQUENCE_LENGTH).input_ids
    assert len(long) == MAX_SEQUENCE_LENGTH


def test_the_transformer_starts_with_zero_velocity() -> None:
    network = TinyFlux()
    pooled, tokens = network.read(*TextReader()(["a cat"]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        velocity = network.transformer(
            hidden_states=torch.randn(1, 64, 64),
            encoder_hidden_states=tokens,
            pooled_projections=pooled,
            timestep=torch.tensor([0.5]),
            guidance=torch.ones(1),
            img_ids=position_ids(128, 128),
            txt_ids=torch.zeros(32, 3),
            return_dict=False,
        )[0]
    assert velocity.abs().max() == 0


def test_scaling_the_latents_changes_no_picture() -> None:
    torch.manual_seed(0)
    vae, pixels = build_trainable_vae(), torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before = vae.decoder(encode_mean(vae, pixels))
        spread = encode_mean(vae, pixels).std(dim=(0, 2, 3))
        fold_scale(vae, spread)
        scaled = encode_mean(vae, pixels)
        assert torch.allclose(scaled.std(dim=(0, 2, 3)), torch.ones(16), atol=1e-4)
        assert torch.allclose(vae.decoder(scaled), before, atol=1e-3)
        posterior = vae.encode(pixels).latent_dist
    assert (posterior.sample() - scaled).abs().max() < 1e-3


def test_orthogonalise_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((192, 768), (768, 192)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.4


def test_muon_learns_a_linear_map() -> None:
    torch.manual_seed(0)
    layer, wanted, inputs = torch.nn.Linear(32, 16, bias=False), torch.randn(16, 32) / 6, torch.randn(256, 32)
    optimiser = Muon([layer.weight], lr=0.02)
    losses = []
    for _ in range(150):
        loss = (layer(inputs) - inputs @ wanted.T).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.05 * losses[0]


def test_details_weigh_more_than_plain_background() -> None:
    latents = torch.zeros(1, 64, 64)
    latents[0, 27] = 3.0
    weights = detail_weights(latents, 128, 128)[0, :, 0]
    assert weights.mean().item() == pytest.approx(1)
    assert weights[27] == weights[19] == weights[26] > 2 * weights[0]


def test_noise_levels_stay_in_range_and_reach_pure_noise() -> None:
    torch.manual_seed(0)
    times = sample_times(4000)
    assert times.min() > 0
    assert times.max() <= 1
    assert 0.2 < (times > 0.95).float().mean() < 0.45


def test_a_redrawing_starts_from_the_twin_and_ends_in_the_picture_asked_for() -> None:
    torch.manual_seed(0)
    clean, twins, noise = (torch.randn(3, 64, 64) for _ in range(3))
    times = torch.tensor([0.6, 0.8, 0.97])
    noisy, velocity = redraw(clean, twins, noise, times)
    assert torch.allclose(noisy[1], 0.2 * twins[1] + 0.8 * noise[1], atol=1e-5)
    assert torch.allclose(noisy - times[:, None, None] * velocity, clean, atol=1e-5)
    _, usual = redraw(clean, clean, noise, times)
    assert torch.allclose(usual, noise - clean, atol=1e-5)


def test_training_goes_on_from_the_shipped_weights(tmp_path: Path) -> None:
    run_adopt(tmp_path)
    state = checkpoints.load(tmp_path / "flow.pt")
    assert state is not None
    network = TinyFlux()
    network.load_state_dict(state["average"])
    shipped = FluxPipeline.from_pretrained(WEIGHTS, dtype=torch.float32, local_files_only=True)
    assert all(
        torch.equal(mine, theirs)
        for mine, theirs in zip(network.transformer.parameters(), shipped.transformer.parameters(), strict=True)
    )
    (tmp_path / "flow.pt").write_bytes(b"mine")
    run_adopt(tmp_path)
    assert (tmp_path / "flow.pt").read_bytes() == b"mine"


def test_a_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "state.pt"
    assert checkpoints.load(file) is None
    checkpoints.save(file, {"step": 1})
    checkpoints.save(file, {"step": 2})
    assert checkpoints.load(file) == {"step": 2}
    assert [path.name for path in file.parent.iterdir()] == ["state.pt"]


def test_a_stopped_process_spends_no_time() -> None:
    code = (
        "from flux_core.tiny.checkpoints import Stopwatch\n"
        "Stopwatch.LONGEST_LAP = 0.2\n"
        "clock = Stopwatch(5.0)\nprint('ready', flush=True)\ninput()\nprint(clock.lap())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate("\n")
    assert 5.0 < float(output) <= 5.2


def test_random_weights_load_like_any_flux_folder(tmp_path: Path) -> None:
    folder = build_random(tmp_path / "random", seed=3)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 16_000_000
    loaded = FluxPipeline.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    built = build_pipeline(seed=3)
    for name in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        for (key, value), (_, original) in zip(
            getattr(loaded, name).state_dict().items(), getattr(built, name).state_dict().items(), strict=True
        ):
            assert torch.allclose(value, original, atol=2e-3), f"{name}.{key}"
