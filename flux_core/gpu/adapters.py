"""LoRAs on a loaded model: put on for a job that wants one, exchanged for the next one's, taken off for one without.

Only the network that draws is changed. What a LoRA says for text encoders is left aside: prompts that were read once
are kept, and would otherwise depend on who came before.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import save_file

from flux_core.errors import LoraUnusable
from flux_core.gpu.lora_files import LoraFiles
from flux_core.gpu.shortage import first_line, ran_out
from flux_core.loras import Lora, LoraUse

log = logging.getLogger(__name__)

ADAPTER = "lora"
"""The name of the one place for a LoRA in a pipeline: the next one takes the place of the last."""
MOST_RANK = 64
"""The room in that place where the network is compiled: larger ones are compiled anew."""
_FOR_WORDS = ("text_encoder", "lora_te")


class Wardrobe:
    """What one pipeline wears. Used from the engine's thread alone."""

    def __init__(self, pipeline: Any, model: str, *, compiled: bool = False) -> None:
        """Begin with nothing on; ``model`` is the id that errors name.

        ``compiled``: whether the network is, so that all LoRAs of up to MOST_RANK get layers of the same size.
        """
        self._pipeline = pipeline
        self._compiled = compiled
        self._model = model
        self.worn: Lora | None = None
        self._weight: float | None = None
        self._whole: dict[LoraLayer, float] = {}
        """By what each layer multiplies what it adds, where the weight is 1: alpha over rank, each LoRA's own."""

    def change(self, use: LoraUse | None, known: LoraFiles) -> None:
        """Put on what ``use`` asks for, in place of what was on; None, or a weight of 0, takes everything off.

        Raises LoraUnusable, with nothing on, for one that is not there or does not fit.
        """
        if use is None or use.weight == 0:
            self.take_off()
            return
        lora = known.named(use.name, self._model)
        if self.worn != lora:
            self._put_on(lora, known)
        if self._weight != use.weight:
            self._weigh(use.weight)
            self._weight = use.weight

    def take_off(self) -> None:
        """Leave the network as it was loaded, to the bit."""
        if self.worn is None:
            return
        self._undress()

    def _put_on(self, lora: Lora, known: LoraFiles) -> None:
        try:
            with _for_network(known.find(lora)) as file:
                if self.worn is not None and self._exchanged(file):
                    self.worn = lora
                    return
                self.take_off()
                if self._compiled and not _has_layers(self._pipeline.transformer):
                    self._pipeline.enable_lora_hotswap(target_rank=MOST_RANK, check_compiled="ignore")
                self._pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=ADAPTER)
                self.worn, self._weight = lora, None
                if not _has_layers(self._pipeline.transformer):
                    raise ValueError("it has nothing for this network")
                self._measure()
        except LoraUnusable:
            raise
        except Exception as error:
            self._undress()
            if ran_out(error):
                raise
            # peft, diffusers and safetensors each raise errors of their own for a file that does not fit.
            first = first_line(error)
            raise LoraUnusable(
                f"{lora.name} does not fit {self._model}: {first}", lora=lora.name, model=self._model
            ) from error

    def _exchanged(self, file: Path) -> bool:
        """Write ``file`` into the layers that are there, if it fits: then nothing is compiled anew."""
        try:
            self._pipeline.load_lora_weights(file.parent, weight_name=file.name, adapter_name=ADAPTER, hotswap=True)
        except Exception as error:
            log.info("%s: a LoRA cannot take the place of %s, so it is loaded anew: %s", self._model, self.worn, error)
            return False
        self._weight = None
        self._measure()
        return True

    def _measure(self) -> None:
        """Keep what the LoRA that was just written into the layers multiplies by: its weight is 1 now."""
        layers = (layer for layer in self._pipeline.transformer.modules() if isinstance(layer, LoraLayer))
        self._whole = {layer: float(layer.scaling[ADAPTER]) for layer in layers if ADAPTER in layer.scaling}

    def _weigh(self, weight: float) -> None:
        """Let the LoRA speak as strongly as ``weight``.

        Not with ``set_adapters``: that reckons with alpha and rank of the LoRA whose place this one took, and puts
        numbers in the place of the tensors that let compiled layers be.
        """
        for layer, whole in self._whole.items():
            if isinstance(known := layer.scaling[ADAPTER], torch.Tensor):
                known.fill_(whole * weight)
            else:
                layer.scaling[ADAPTER] = whole * weight

    def _undress(self) -> None:
        """Take off what is there, or whatever a loading that broke has left behind."""
        self._pipeline.unload_lora_weights()
        self._whole = {}
        self.worn = self._weight = None


@contextmanager
def _for_network(file: Path) -> Iterator[Path]:
    """Give the file, or one for the while that holds only what is for the network that draws."""
    with safe_open(file, framework="pt") as opened:
        names = list(opened.keys())
        kept = [name for name in names if not name.startswith(_FOR_WORDS)]
        if len(kept) == len(names):
            whole = True
        else:
            whole, metadata = False, opened.metadata()
            weights = {name: opened.get_tensor(name) for name in kept}
    if whole:
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="flux-bot-lora-") as folder:
        copy = Path(folder, "network.safetensors")
        save_file(weights, copy, metadata=metadata)
        yield copy


def _has_layers(network: Any) -> bool:
    return bool(getattr(network, "peft_config", None))
