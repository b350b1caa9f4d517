"""Train flux-tiny from nothing: `python -m flux_core.tiny.train`, or one stage of it by name.

Every stage keeps its state in `.training/` and goes on from there when started again, also after a kill; a stopped
process (SIGSTOP) loses nothing. Run at low priority (`nice -n 19`) beside other work.
"""

import argparse
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import FluxPipeline
from torch.multiprocessing.spawn import spawn

from flux_core.tiny import checkpoints
from flux_core.tiny.architecture import build_pipeline, save_pipeline
from flux_core.tiny.definition import WEIGHTS
from flux_core.tiny.flow_training import SQUARE, WIDE, train_flow
from flux_core.tiny.latent_cache import Shard, encode_shard
from flux_core.tiny.network import TinyFlux
from flux_core.tiny.text_pretraining import pretrain_text
from flux_core.tiny.vae_training import train_vae

VAE_MINUTES = 14.0
TEXT_STEPS = 160
FLOW_MINUTES = 118.0
PROCESSES = 2


def plan_shards() -> Iterator[Shard]:
    """List the shards in the order in which training needs them; more of them only add variety."""
    yield Shard(False, *SQUARE, 0)
    yield Shard(True, *SQUARE, 0)
    for index in range(2):
        yield Shard(False, *SQUARE, index)
        yield Shard(False, *SQUARE, index, recoloured=True)
    for index in range(2, 7):
        yield Shard(False, *SQUARE, index)
    for index in range(1, 5):
        yield Shard(True, *SQUARE, index)
    for size in WIDE:
        yield Shard(False, *size, 0)
        yield Shard(True, *size, 0)
    for index in range(7, 16):
        yield Shard(False, *SQUARE, index)


def run_adopt(folder: Path, weights: Path = WEIGHTS) -> None:
    """Start from exported weights instead of from nothing: only what is missing in the training folder is written."""
    pipeline = FluxPipeline.from_pretrained(weights, dtype=torch.float32, local_files_only=True)
    network = TinyFlux()
    network.clip.load_state_dict(pipeline.text_encoder.state_dict())
    network.t5.load_state_dict(pipeline.text_encoder_2.state_dict())
    network.transformer.load_state_dict(pipeline.transformer.state_dict())
    learned = network.state_dict()
    for file, state in {
        "vae.pt": {"vae": pipeline.vae.state_dict(), "done": True},
        "text.pt": {"network": learned},
        "flow.pt": {"network": learned, "average": learned, "step": 0, "pictures": 0, "spent": 0.0},
    }.items():
        if not (folder / file).exists():
            checkpoints.save(folder / file, state)


def run_vae(folder: Path) -> None:
    """Train the autoencoder."""
    train_vae(folder, VAE_MINUTES)


def run_latents(folder: Path, at_most: int | None = None) -> None:
    """Encode the training pictures; the flow may already train on the first of them."""
    torch.set_num_threads(1)
    vae = train_vae(folder, VAE_MINUTES).eval()
    for number, shard in enumerate(plan_shards()):
        if number == at_most:
            return
        encode_shard(folder / "latents", vae, shard)
        print(f"latents {shard.name}", flush=True)


def run_text(folder: Path) -> None:
    """Pretrain the text encoders."""
    pretrain_text(folder, TEXT_STEPS)


def run_flow(folder: Path) -> None:
    """Train the flow with one process per core."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_flow_process, args=(folder, port), nprocs=PROCESSES)  # type: ignore[no-untyped-call]


def _flow_process(rank: int, folder: Path, port: int) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=PROCESSES)
    try:
        train_flow(folder, pretrain_text(folder, TEXT_STEPS), FLOW_MINUTES, rank)
    finally:
        dist.destroy_process_group()


def run_export(folder: Path, weights: Path = WEIGHTS) -> None:
    """Write the trained parts (the flow's running average) as a diffusers folder."""
    flow, vae = checkpoints.load(folder / "flow.pt"), checkpoints.load(folder / "vae.pt")
    if flow is None or vae is None:
        raise SystemExit("Nothing trained yet: run the stages vae, latents, text and flow first.")
    network = TinyFlux()
    network.load_state_dict(flow["average"])
    pipeline = build_pipeline()
    pipeline.vae.load_state_dict(vae["vae"])
    pipeline.text_encoder.load_state_dict(network.clip.state_dict())
    pipeline.text_encoder_2.load_state_dict(network.t5.state_dict())
    pipeline.transformer.load_state_dict(network.transformer.state_dict())
    save_pipeline(pipeline, weights)
    print(f"wrote {weights} after {flow['step']} steps, {flow['pictures']} pictures, {flow['spent'] / 60:.0f} minutes")


STAGES: dict[str, Callable[[Path], None]] = {
    "vae": run_vae,
    "latents": run_latents,
    "text": run_text,
    "flow": run_flow,
    "export": run_export,
}


def main() -> None:
    """Run the stages named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], default=[], metavar="stage", help=", ".join(STAGES))
    parser.add_argument("--adopt", action="store_true", help="start from the shipped weights")
    parser.add_argument("--folder", type=Path, default=checkpoints.TRAINING_FOLDER)
    arguments = parser.parse_args()
    if arguments.adopt:
        run_adopt(arguments.folder)
    for name in arguments.stages or STAGES:
        started = time.monotonic()
        STAGES[name](arguments.folder)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
