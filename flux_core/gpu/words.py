"""Prompts as the network reads them, each encoded once for as long as it is likely to be asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict

import torch

from flux_core.gpu.loading import LoadedModel
from flux_core.gpu.pipelines import Words, encoded

KEPT_BYTES = 64 << 20
"""Most that the words of one model take: sixteen of FLUX.1 [dev]'s prompts in bf16, 512 × 4096 numbers each."""


class Reader:
    """Encodes prompts with the text encoders of one loaded model. May be asked from any thread."""

    def __init__(self, model: LoadedModel, kept_bytes: int = KEPT_BYTES) -> None:
        """Read with ``model``; keep what was read last, on its device, up to ``kept_bytes``."""
        self._model = model
        self._kept_bytes = kept_bytes
        self._known: OrderedDict[tuple[str, int], Words] = OrderedDict()
        self._size = 0
        # Fast tokenizers are no thing for two threads; and who asks for what is being read shall get that.
        self._lock = threading.Lock()

    def read(self, prompt: str) -> Words:
        """Return the words of ``prompt``: one prompt at a time, so that company changes nothing of what it says."""
        key = prompt, self._model.spec.max_sequence_length
        with self._lock:
            if (words := self._known.get(key)) is None:
                words = self._encoded(prompt)
                self._known[key] = words
                self._size += words.bytes
            self._known.move_to_end(key)
            while self._size > self._kept_bytes and len(self._known) > 1:
                self._size -= self._known.popitem(last=False)[1].bytes
        return words

    def knows(self, prompt: str) -> bool:
        """Say whether ``prompt`` was read already, at once."""
        return (prompt, self._model.spec.max_sequence_length) in self._known

    def _encoded(self, prompt: str) -> Words:
        with torch.inference_mode():
            words = encoded(self._model.pipeline, prompt, self._model.spec.max_sequence_length)
            if words.embeds.is_cuda:
                # Whoever draws with them does so on another stream.
                torch.cuda.current_stream(words.embeds.device).synchronize()
        return words
