"""Vendors of the tests' own, so that what is said of settings and lists holds for any vendor."""

from __future__ import annotations

from typing import ClassVar

import pytest

from flux_core.offers import ImageInput, Offer, Price
from flux_core.providers.hosted import registry
from flux_core.providers.hosted.transport import Transport
from flux_core.providers.hosted.vendor import Limits, Vendor


class Cloud(Vendor):
    """Has a public address, wants a key, draws two models."""

    name = "cloud"
    title = "Cloud Nine"
    base_url = "https://api.cloud.example/v1"
    key_page = "https://cloud.example/keys"
    limits = Limits(concurrency=4, per_minute=60)
    polled = False

    @property
    def offers(self) -> dict[str, Offer]:
        """Draw flux-dev and, from words only, flux-schnell."""
        return {
            "flux-dev": Offer(
                theirs=self.access.models.get("flux-dev", "dev"),
                price=Price(megapixel=0.025),
                image_input=ImageInput.INLINE,
            ),
            "flux-schnell": Offer(
                theirs=self.access.models.get("flux-schnell", "schnell"), price=Price(megapixel=0.003)
            ),
        }

    async def check(self, transport: Transport) -> str:
        """Ask for the account."""
        answer = await transport.call("GET", "/account")
        return f"{answer.json['credits']} credits left"


class Garage(Vendor):
    """A server of one's own: no key, no public address, settings that only it has."""

    name = "garage"
    title = "Garage"
    base_url = ""
    needs_key = False
    extra_settings: ClassVar[dict[str, str]] = {
        "workflow": "File of the workflow.",
        "password": "Password of its user.",
    }
    limits = Limits(concurrency=1, per_minute=600)
    polled = True

    @property
    def offers(self) -> dict[str, Offer]:
        """Draw flux-schnell for nothing."""
        return {"flux-schnell": Offer(theirs="schnell.safetensors")}


class Commons(Vendor):
    """Has a public address and works without a key."""

    name = "commons"
    title = "Commons"
    base_url = "https://commons.example"
    needs_key = False
    key_page = "https://commons.example/register"
    limits = Limits(concurrency=2, per_minute=30)
    polled = True

    @property
    def offers(self) -> dict[str, Offer]:
        """Draw flux-dev for nothing."""
        return {"flux-dev": Offer(theirs="Flux.1-Dev")}


VENDORS: dict[str, type[Vendor]] = {vendor.name: vendor for vendor in (Cloud, Garage, Commons)}


def only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be no other vendors, and none of their settings in the environment."""
    monkeypatch.setattr(registry, "VENDORS", VENDORS)
    for vendor in VENDORS.values():
        for name in ("api_key", "base_url", "concurrency", "per_minute", "daily_cap", "models", *vendor.extra_settings):
            monkeypatch.delenv(f"{vendor.name}_{name}".upper(), raising=False)
