"""Train the autoencoder on crops of generated pictures, then scale its latents to unit variance."""

from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from flux_core.tiny import checkpoints
from flux_core.tiny.architecture import LATENT_CHANNELS, build_vae
from flux_core.tiny.drawing import draw
from flux_core.tiny.world import sample

BATCH = 16
CROP = 64
LEARNING_RATE = 1.5e-3
WARM_UP = 100
LATENT_NOISE = 0.05
"""Noise added to the latents in training, relative to their spread: what a sampler leaves behind must not show."""


def to_tensor(images: list[np.ndarray]) -> Tensor:
    """Stack uint8 pictures (H, W, 3) to floats (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def crops(rng: Random, count: int) -> Tensor:
    """Draw `count` crops; some with mixed-up colours, so that uploaded pictures survive the round trip too."""
    images = []
    for _ in range(count):
        width, height = rng.choice(((128, 128), (128, 128), (192, 128), (128, 192)))
        pixels = np.asarray(draw(sample(rng, scenes=0.5), width, height))
        left, top = rng.randint(0, width - CROP), rng.randint(0, height - CROP)
        crop = pixels[top : top + CROP, left : left + CROP]
        if rng.random() < 0.25:
            order = rng.sample((0, 1, 2), 3)
            low, high = sorted((rng.uniform(0, 255), rng.uniform(0, 255)))
            crop = (crop[..., order] * ((high - low) / 255) + low).astype(np.uint8)
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        images.append(np.ascontiguousarray(crop))
    return to_tensor(images)


def build_trainable_vae() -> AutoencoderKL:
    """Build the autoencoder with every residual branch at zero and a straight trunk.

    At the start it is then an almost linear map; with the usual initialisation this small net does not get going.
    """
    vae = build_vae()
    for name, module in vae.named_modules():
        if not isinstance(module, torch.nn.Conv2d) or name.endswith("conv1"):
            continue
        if name.endswith("conv2"):
            torch.nn.init.zeros_(module.weight)
        elif "upsamplers" in name:
            torch.nn.init.dirac_(module.weight)
        else:
            torch.nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            torch.nn.init.zeros_(module.bias)
    return vae


def encode_mean(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Encode pixels to the posterior's mean (B, 16, H/8, W/8)."""
    moments: Tensor = vae.encoder(pixels)
    return moments[:, :LATENT_CHANNELS]


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Weigh absolute, squared and edge differences; edges keep outlines sharp."""
    difference = output - target
    across = difference[..., :, 1:] - difference[..., :, :-1]
    down = difference[..., 1:, :] - difference[..., :-1, :]
    return difference.abs().mean() + difference.square().mean() + 0.5 * (across.abs().mean() + down.abs().mean())


def fold_scale(vae: AutoencoderKL, spread: Tensor) -> None:
    """Divide each latent channel by its spread inside the encoder's last and the decoder's first convolution.

    The posterior's log-variance becomes -20 everywhere: image-to-image samples it, and should get the mean.
    """
    with torch.no_grad():
        last, first = vae.encoder.conv_out, vae.decoder.conv_in
        last.weight[:LATENT_CHANNELS] /= spread[:, None, None, None]
        last.bias[:LATENT_CHANNELS] /= spread
        last.weight[LATENT_CHANNELS:] = 0
        last.bias[LATENT_CHANNELS:] = -20
        first.weight *= spread[None, :, None, None]


def train_vae(folder: Path, minutes: float, seed: int = 0) -> AutoencoderKL:
    """Train (or continue) for `minutes` of this stage in all and return the scaled autoencoder."""
    file = folder / "vae.pt"
    torch.manual_seed(seed)
    vae = build_trainable_vae()
    optimiser = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=1e-4)
    step, spent = 0, 0.0
    if state := checkpoints.load(file):
        vae.load_state_dict(state["vae"])
        if state["done"]:
            return vae
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    rng = Random(f"vae {seed} {step}")
    clock = checkpoints.Stopwatch(spent)
    while (spent := clock.lap()) < minutes * 60:
        progress = spent / (minutes * 60)
        rate = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * (0.03 + 0.97 * (1 - progress))
        for group in optimiser.param_groups:
            group["lr"] = rate
        pixels = crops(rng, BATCH)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = encode_mean(vae, pixels).float()
            spread = latents.detach().std(dim=(0, 2, 3), keepdim=True)
            output = vae.decoder(latents + LATENT_NOISE * spread * torch.randn_like(latents)).float()
        moments = latents.mean(dim=(0, 2, 3)).square() + latents.std(dim=(0, 2, 3)).clamp_min(1e-3).log().square()
        loss = reconstruction_loss(output, pixels) + 1e-3 * moments.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        step += 1
        if step % 100 == 0:
            psnr = -10 * torch.log10((output - pixels).square().mean() / 4).item()
            print(f"vae step {step} {spent:.0f} s loss {loss.item():.4f} psnr {psnr:.1f} dB", flush=True)
        if step % 500 == 0:
            _save(file, vae, optimiser, step, spent, done=False)
    with torch.no_grad():
        latents = torch.cat([encode_mean(vae, crops(rng, BATCH)) for _ in range(32)])
    fold_scale(vae, latents.std(dim=(0, 2, 3)))
    _save(file, vae, optimiser, step, spent, done=True)
    return vae


def _save(
    file: Path, vae: AutoencoderKL, optimiser: torch.optim.Optimizer, step: int, spent: float, *, done: bool
) -> None:
    checkpoints.save(
        file,
        {
            "vae": vae.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
            "spent": spent,
            "done": done,
        },
    )
