"""Cloudflare: an account of its own, one size, and errors that are told apart by their codes."""

from __future__ import annotations

import pytest
from aiohttp import web

from flux_core import provider_settings
from flux_core.errors import ConfigurationError, ProviderBroken, ProviderBusy, ProviderClosed, Refused, RequestRejected
from flux_core.family import FLUX_SCHNELL
from flux_core.generation import GenerationRequest
from flux_core.providers.hosted.vendor import Access
from flux_core.providers.hosted.vendors.cloudflare import Cloudflare
from flux_core.settings import Settings
from tests.providers.hosted.alone import alone
from tests.providers.hosted.troubles import Status
from tests.providers.hosted.vendors.cloudflare_standin import CASES, CloudflareStandIn, envelope

(CASE,) = CASES


@pytest.mark.parametrize("account", [{}, {"account_id": ""}, {"account_id": "../../user"}])
def test_an_account_must_be_named(account: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        Cloudflare(Access(base_url=Cloudflare.base_url, key="k", extra=account))


async def test_the_order_is_what_the_model_takes() -> None:
    async with CloudflareStandIn() as standin, alone(standin, CASE) as cloudflare:
        found = await cloudflare.found()
        assert found.url is not None
        assert found.url.startswith("data:")
    assert standin.submits == [{"prompt": "a lighthouse at dusk", "steps": 4, "seed": 7}]


def test_only_squares_within_its_steps_are_taken() -> None:
    offer = Cloudflare(Access(base_url="https://cloudflare.example", key="k", extra=CASE.extra)).offers["flux-schnell"]

    def objection(width: int, height: int, steps: int) -> str | None:
        request = GenerationRequest(
            prompt="a", model="flux-schnell", width=width, height=height, steps=steps, guidance=None, seed=1, count=1
        )
        return offer.objection(request, links=True)

    assert objection(1024, 1024, 8) is None
    assert objection(1024, 1024, 9) is not None
    assert objection(*FLUX_SCHNELL.size_for_aspect("16:9"), 4) is not None


def test_a_picture_costs_its_tiles_and_its_steps() -> None:
    price = Cloudflare(Access(base_url="https://cloudflare.example", key="k", extra=CASE.extra)).offers["flux-schnell"]
    assert price.price is not None
    assert price.price.of(1024, 1024, 4) == 4 * 53 + 4 * 110


async def test_a_refused_prompt_is_moderation_not_a_mistake() -> None:
    async with CloudflareStandIn() as standin, alone(standin, CASE) as cloudflare:
        standin.moderate = {0}
        with pytest.raises(Refused):
            await cloudflare.draw()


async def test_a_wrong_account_is_an_address_to_look_at() -> None:
    async with CloudflareStandIn() as standin, alone(standin, CASE, extra={"account_id": "f" * 32}) as cloudflare:
        with pytest.raises(ProviderClosed) as caught:
            await cloudflare.draw()
        assert caught.value.facts["reason"] == "address"
        assert standin.submits == []


async def test_spent_neurons_close_it_at_once_while_a_full_house_is_asked_again() -> None:
    async with CloudflareStandIn() as standin, alone(standin, CASE) as cloudflare:
        standin.trouble("submit", Status(429, envelope(3036, "daily free allocation used up")), times=9)
        with pytest.raises(ProviderClosed):
            await cloudflare.draw()
        assert len(standin.of_kind("submit")) == 1
    async with CloudflareStandIn() as standin, alone(standin, CASE) as cloudflare:
        standin.trouble("submit", Status(429, envelope(3040, "No more data centers")))
        await cloudflare.draw()
        assert len(standin.submits) == 1
        assert len(standin.of_kind("submit")) == 2
        standin.trouble("submit", Status(429, envelope(3040, "No more data centers")), times=9)
        with pytest.raises(ProviderBusy):
            await cloudflare.draw()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (envelope(5006, "Error: must not be"), RequestRejected),
        ({"result": {}, "success": True, "errors": []}, ProviderBroken),
        ({"result": None}, ProviderBroken),
        ([], ProviderBroken),
        ({"result": {"image": 7}, "errors": "none"}, ProviderBroken),
    ],
)
async def test_success_without_a_picture_is_none(body: object, error: type[Exception]) -> None:
    async with CloudflareStandIn() as standin, alone(standin, CASE) as cloudflare:
        standin.trouble("submit", Status(200, body))
        with pytest.raises(error):
            await cloudflare.draw()
        assert len(standin.submits) == 1


class ExpiredStandIn(CloudflareStandIn):
    """Its token has run out."""

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"result": {"id": "t", "status": "expired"}, "success": True, "errors": []})


async def test_the_check_knows_an_expired_token() -> None:
    async with CloudflareStandIn() as standin, alone(standin, CASE) as cloudflare:
        assert await cloudflare.check()
        assert standin.submits == []
    async with ExpiredStandIn() as standin, alone(standin, CASE) as cloudflare:
        with pytest.raises(ProviderClosed) as caught:
            await cloudflare.check()
        assert caught.value.facts["reason"] == "key"


def test_a_vendor_s_own_required_setting_is_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_KEY", "a-key-of-some-length")
    settings = Settings(_env_file=None)
    assert "cloudflare" not in settings.providers
    vendor = provider_settings.vendors()["cloudflare"]
    assert settings.every_provider["cloudflare"].missing(vendor) == ["CLOUDFLARE_ACCOUNT_ID"]
    monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", "f" * 32)
    assert "cloudflare" in Settings(_env_file=None).providers
