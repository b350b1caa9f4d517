"""The step cache of mode turbo: where the first block changes little, the others are taken from the step before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from diffusers import FirstBlockCacheConfig

from flux_core.gpu.profile import Profile
from flux_core.models import ModelSpec


@contextmanager
def stepping(transformer: Any, spec: ModelSpec, profile: Profile) -> Iterator[None]:
    """Let ``transformer`` take the steps of one drawing as ``profile`` says; however it ends, nothing of it is left.

    Put around the call of any of its pipelines, by the one thread that uses them.
    """
    if not profile.step_cache or spec.step_cache is None:
        yield
        return
    transformer.enable_cache(FirstBlockCacheConfig(threshold=spec.step_cache))
    try:
        # Pipelines that start from a picture do not name the drawing that a cache belongs to.
        with transformer.cache_context("drawing"):
            yield
    finally:
        transformer.disable_cache()
