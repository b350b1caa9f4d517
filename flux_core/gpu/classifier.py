"""The output check: an image classifier says how sure it is that a picture is not for everybody."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import pipeline

from flux_core.errors import ConfigurationError, FluxError, GenerationFailed
from flux_core.gpu.quiet import silence
from flux_core.moderation.output import counted_labels

log = logging.getLogger(__name__)

AGAIN_SECONDS = 300.0
"""A model that did not load is tried again after this long: the hub may be back."""
THREADS = 1
"""Of torch, beside those that draw: a small classifier takes about 0.1 s a picture with one."""


def _compute_modestly() -> None:
    """Let this thread compute with few threads, and those that begin later with as many as before.

    torch keeps the count for the thread that sets it, and for every thread that computes for the first time after that.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    other = threading.Thread(target=torch.set_num_threads, args=(usual,))
    other.start()
    other.join()


class Classifier:
    """An image-classification model, on the CPU: the cards are for drawing. Loaded with the first picture, or before.

    All of it happens in one thread of its own, one picture after the other.
    """

    def __init__(self, model: str, labels: Sequence[str], *, hub_token: str | None = None) -> None:
        """Take a folder or hub id, and the labels that are not for everybody, in any case; nothing is loaded yet.

        Without ``labels``, those of USUAL_LABELS count that the model has.
        """
        self._model = model
        self._labels = frozenset(labels)
        self._hub_token = hub_token
        self._pipeline: Any = None
        self._failure: tuple[float, FluxError] | None = None
        self._thread = ThreadPoolExecutor(1, "output check", initializer=_compute_modestly)

    async def unsafe(self, images: Sequence[Image.Image]) -> list[float]:
        """Return for each RGB picture the sum of the probabilities of the labels that are not for everybody, 0 to 1.

        Raises ConfigurationError when the model does not load, and for a label that it does not have; GenerationFailed
        when it does not work.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look_at, list(images))

    async def prepare(self) -> None:
        """Load the model now; where it does not load, the log says so."""
        with suppress(ConfigurationError):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)

    async def close(self) -> None:
        """Look at no further pictures, once the one in hand is done."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def _look_at(self, images: list[Image.Image]) -> list[float]:
        classify = self._loaded()
        try:
            with torch.inference_mode():
                told = [classify(image, top_k=None) for image in images]
        except Exception as error:
            first = str(error).strip().split("\n", 1)[0]
            raise GenerationFailed(f"The output check {self._model} broke: {type(error).__name__}: {first}") from error
        # Models of several labels at once give each its own probability, so that a sum may be more than 1.
        return [
            min(1.0, sum(float(one["score"]) for one in scores if str(one["label"]).casefold() in self._labels))
            for scores in told
        ]

    def _loaded(self) -> Any:
        if self._pipeline is None:
            if self._failure is not None and time.monotonic() - self._failure[0] < AGAIN_SECONDS:
                raise self._failure[1]
            try:
                self._pipeline = self._load()
            except ConfigurationError as error:
                self._failure = time.monotonic(), error
                log.error("Pictures are not checked: %s", error)
                raise
            log.info("Pictures are checked with %s", self._model)
        return self._pipeline

    def _load(self) -> Any:
        silence()
        folder = Path(self._model).expanduser()
        try:
            loaded = pipeline(
                "image-classification",
                model=str(folder) if folder.is_dir() else self._model,
                device="cpu",
                token=self._hub_token,
            )
        except Exception as error:
            # transformers and the hub each raise errors of their own, often wrapped in plain OSError.
            first = str(error).strip().split("\n", 1)[0]
            raise ConfigurationError(
                f"OUTPUT_CHECK_MODEL is {self._model!r}, which is no image classifier that can be loaded ({first})."
            ) from error
        known = [str(label) for label in loaded.model.config.id2label.values()]
        self._labels = counted_labels(self._model, known, self._labels)
        return loaded
