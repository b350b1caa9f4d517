"""Every vendor that flux-bot knows, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from flux_core.providers.hosted.vendor import Vendor
from flux_core.providers.hosted.vendors.a1111 import A1111
from flux_core.providers.hosted.vendors.aihorde import AiHorde
from flux_core.providers.hosted.vendors.aimlapi import AimlApi
from flux_core.providers.hosted.vendors.bfl import BlackForestLabs
from flux_core.providers.hosted.vendors.cloudflare import Cloudflare
from flux_core.providers.hosted.vendors.cometapi import CometApi
from flux_core.providers.hosted.vendors.comfyui import ComfyUi
from flux_core.providers.hosted.vendors.deepinfra import DeepInfra
from flux_core.providers.hosted.vendors.eachlabs import Eachlabs
from flux_core.providers.hosted.vendors.fal import Fal
from flux_core.providers.hosted.vendors.fireworks import Fireworks
from flux_core.providers.hosted.vendors.hf_inference import HfInference
from flux_core.providers.hosted.vendors.octoai import OctoAi
from flux_core.providers.hosted.vendors.openai_images import OpenAiImages
from flux_core.providers.hosted.vendors.replicate import Replicate
from flux_core.providers.hosted.vendors.runware import Runware
from flux_core.providers.hosted.vendors.together import Together

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
