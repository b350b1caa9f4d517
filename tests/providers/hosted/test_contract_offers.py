"""What every hosted provider offers, and its free call."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from flux_core.errors import (
    ProviderClosed,
)
from flux_core.generation import RATIO_TOLERANCE
from flux_core.models import ASPECTS, Operation
from flux_core.offers import ImageInput
from flux_core.providers.hosted.http import HttpTransport
from flux_core.providers.hosted.registry import VENDORS
from flux_core.providers.hosted.vendor import Access, Vendor
from tests.providers.hosted.conftest import (
    CATALOGUE,
    PATIENT,
    Desk,
    request_for,
)
from tests.providers.hosted.contract import CASES
from tests.providers.hosted.standin import Case, StandIn
from tests.providers.hosted.troubles import Html


def test_every_vendor_is_registered_and_has_a_case() -> None:
    assert {case.vendor.name for case in CASES} == set(VENDORS)
    assert list(VENDORS) == sorted(VENDORS)
    assert all(vendor.name == name and vendor.title for name, vendor in VENDORS.items())


async def test_every_aspect_is_drawn_or_objected_to(desk: Desk) -> None:
    assert set(desk.case.models) <= set(desk.provider.offers)
    for model, offer in desk.provider.offers.items():
        assert offer.theirs
        for aspect in ASPECTS:
            request = request_for(model, aspect=aspect)
            objection = offer.objection(request, links=True)
            if objection is None:
                width, height = offer.size(request) or (0, 0)
                assert abs(width / height / (request.width / request.height) - 1) <= RATIO_TOLERANCE
                assert offer.cost(request) >= 0
            else:
                assert objection.strip()


async def test_what_an_operator_names_otherwise_is_asked_for_by_that_name(case: Case) -> None:
    async with case.standin() as standin:
        vendor = case.vendor(standin.access(case, models={case.models[0]: "another/name"}))
        assert vendor.offers[case.models[0]].theirs == "another/name"


def test_links_are_asked_for_only_where_the_picture_store_has_them(case: Case) -> None:
    vendor = case.vendor(Access(base_url="https://example.invalid", key=case.standin.key, extra=case.extra))
    for model, offer in vendor.offers.items():
        spec = CATALOGUE[model]
        if Operation.IMAGE_TO_IMAGE not in spec.operations or offer.image_input is not ImageInput.LINK:
            continue
        request = request_for(model, picture=Image.new("RGB", (512, 512)))
        assert offer.objection(request, links=False) is not None
        assert offer.objection(request, links=True) is None


async def checked(case: Case, standin: StandIn, **changed: Any) -> str | None:
    """Return what the vendor's free call tells; None where it has none that needs the key."""
    vendor = case.vendor(standin.access(case, **changed))
    async with HttpTransport(vendor, patience=PATIENT) as transport:
        try:
            return await vendor.check(transport)
        except NotImplementedError:
            assert standin.requests == []
            return None


async def checked_alone(case: Case) -> str | None:
    async with case.standin() as standin:
        return await checked(case, standin)


async def test_its_check_is_free_and_tells_a_wrong_key(case: Case) -> None:
    async with case.standin() as standin:
        line = await checked(case, standin)
        assert standin.submits == []
        if line is None:
            return
        assert line.strip()
        assert "\n" not in line
        assert standin.key not in line
        if case.vendor.needs_key:
            with pytest.raises(ProviderClosed) as caught:
                await checked(case, standin, key="wrong-key-0123456789")
            assert caught.value.facts["reason"] == "key"


async def test_a_page_for_people_proves_no_key(case: Case) -> None:
    async with case.standin() as standin:
        standin.trouble("free", Html(), times=10)
        if case.vendor.check is Vendor.check or await checked_alone(case) is None:
            return
        with pytest.raises(ProviderClosed) as caught:
            await checked(case, standin)
        assert caught.value.facts["reason"] == "address"
