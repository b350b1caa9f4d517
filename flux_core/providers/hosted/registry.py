"""Every vendor that flux-bot knows, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from flux_core.providers.hosted.a1111 import A1111
from flux_core.providers.hosted.aihorde import AiHorde
from flux_core.providers.hosted.aimlapi import AimlApi
from flux_core.providers.hosted.bfl import BlackForestLabs
from flux_core.providers.hosted.cloudflare import Cloudflare
from flux_core.providers.hosted.cometapi import CometApi
from flux_core.providers.hosted.comfyui import ComfyUi
from flux_core.providers.hosted.deepinfra import DeepInfra
from flux_core.providers.hosted.eachlabs import Eachlabs
from flux_core.providers.hosted.fal import Fal
from flux_core.providers.hosted.fireworks import Fireworks
from flux_core.providers.hosted.hf_inference import HfInference
from flux_core.providers.hosted.octoai import OctoAi
from flux_core.providers.hosted.openai_images import OpenAiImages
from flux_core.providers.hosted.replicate import Replicate
from flux_core.providers.hosted.runware import Runware
from flux_core.providers.hosted.together import Together
from flux_core.providers.hosted.vendor import Vendor

VENDORS: Mapping[str, type[Vendor]] = {
    vendor.name: vendor
    for vendor in (
        A1111,
        AiHorde,
        AimlApi,
        BlackForestLabs,
        Cloudflare,
        CometApi,
        ComfyUi,
        DeepInfra,
        Eachlabs,
        Fal,
        Fireworks,
        HfInference,
        OctoAi,
        OpenAiImages,
        Replicate,
        Runware,
        Together,
    )
}
"""In alphabetical order of their names."""
