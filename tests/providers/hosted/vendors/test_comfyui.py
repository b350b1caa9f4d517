"""ComfyUI: names of our own, an empty history, and a socket that may fail."""

from __future__ import annotations

import io
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from flux_core.errors import (
    OutcomeUnknown,
    ProviderBroken,
    ProviderClosed,
    ProviderDown,
    RequestRejected,
)
from flux_core.providers.hosted.vendor import Done, Pending
from flux_core.providers.hosted.vendors import comfyui, comfyui_socket
from flux_core.providers.hosted.vendors.comfyui_workflow import built_in
from flux_core.providers.scripted import colour_of
from tests.providers.hosted.alone import Alone, alone, shot
from tests.providers.hosted.conftest import Watcher, desk_for, looks_like
from tests.providers.hosted.standin import unreachable_url
from tests.providers.hosted.troubles import Html, ResetAfterBody, ResetAtOnce, Status
from tests.providers.hosted.vendors.comfyui_standin import CASES, ComfyUiStandIn

(CASE,) = CASES


@pytest.fixture(autouse=True)
def _listen_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comfyui, "LISTENING", 0.3)
    monkeypatch.setattr(comfyui_socket, "PREVIEW_FOLLOWS", 0.05)


async def submitted(server: Alone, **wishes: Any) -> str:
    """Submit a shot and return its ticket, which is the name that we gave it."""
    order = shot(server.vendor, "flux-dev", **wishes)
    outcome = await server.vendor.submit(order, server.transport)
    assert isinstance(outcome, Pending)
    assert outcome.ticket == order.client_id
    return order.client_id


def nodes(graph: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {node["class_type"]: node["inputs"] for node in graph.values()}


async def test_dev_is_drawn_with_guidance_and_every_link_leads_somewhere() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        await server.draw("flux-dev", seed=42, steps=28, size=(1360, 768))
    (body,) = standin.submits
    graph = body["prompt"]
    drawn = nodes(graph)
    assert drawn["FluxGuidance"]["guidance"] == 3.5
    assert drawn["KSampler"]["positive"] == [next(id for id in graph if graph[id]["class_type"] == "FluxGuidance"), 0]
    assert (drawn["KSampler"]["seed"], drawn["KSampler"]["steps"], drawn["KSampler"]["denoise"]) == (42, 28, 1.0)
    assert drawn["EmptySD3LatentImage"] == {"width": 1360, "height": 768, "batch_size": 1}
    assert body["client_id"] == body["prompt_id"]
    for variant in [built_in(guided=g, picture=p).graph for g in (True, False) for p in (True, False)] + [graph]:
        links = [value for node in variant.values() for value in node["inputs"].values() if isinstance(value, list)]
        assert links
        assert all(link[0] in variant for link in links)


async def test_schnell_has_no_guidance() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        found = await server.found("flux-schnell", seed=9)
    drawn = nodes(standin.submits[0]["prompt"])
    assert "FluxGuidance" not in drawn
    assert drawn["CheckpointLoaderSimple"]["ckpt_name"] == "flux1-schnell-fp8.safetensors"
    assert found.data is not None
    assert Image.open(io.BytesIO(found.data)).getpixel((5, 5)) == colour_of(9)


async def test_a_picture_to_start_from_is_uploaded_to_the_temporary_folder() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        await server.draw("flux-dev", steps=20, strength=0.3, size=(768, 512))
    drawn = nodes(standin.submits[0]["prompt"])
    # KSampler takes all steps it is told, so it is told those that a strength of 0.3 leaves.
    assert (drawn["KSampler"]["denoise"], drawn["KSampler"]["steps"]) == (0.3, 6)
    assert "EmptySD3LatentImage" not in drawn
    assert drawn["LoadImage"]["image"].endswith(" [temp]")
    assert [picture.size for picture in standin.inputs] == [(768, 512)]


async def test_the_history_is_empty_until_the_end_and_steps_are_heard_meanwhile() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        ticket = await submitted(server, seed=3)
        first = await server.vendor.poll(ticket, server.transport)
        second = await server.vendor.poll(ticket, server.transport)
        third = await server.vendor.poll(ticket, server.transport)
    assert isinstance(first, Pending)
    assert isinstance(second, Pending)
    assert isinstance(third, Done)
    assert [first.progress, second.progress] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert first.preview is not None
    assert Image.open(io.BytesIO(first.preview)).format == "JPEG"
    assert standin.sockets == [ticket, ticket]


async def test_the_end_marker_of_the_socket_saves_a_poll() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.socket = "ends"
        standin.polls_needed = 100
        ticket = await submitted(server)
        assert isinstance(await server.vendor.poll(ticket, server.transport), Done)


@pytest.mark.parametrize("socket", ["silent", "refused", "garbage"])
async def test_polling_goes_on_without_a_socket(socket: Any) -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.socket = socket
        standin.polls_needed = 1
        ticket = await submitted(server)
        pending = await server.vendor.poll(ticket, server.transport)
        assert isinstance(pending, Pending)
        assert pending.progress is None
        assert isinstance(await server.vendor.poll(ticket, server.transport), Done)


async def test_a_socket_to_nowhere_is_no_news() -> None:
    news = await comfyui_socket.listen(unreachable_url(), "x", headers={}, seconds=0.3)
    assert (news.progress, news.preview, news.ended) == (None, None, False)


async def test_a_waiting_job_opens_no_socket() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        await submitted(server)
        second = await submitted(server)
        outcome = await server.vendor.poll(second, server.transport)
    assert isinstance(outcome, Pending)
    assert outcome.progress is None
    assert standin.sockets == []


async def test_an_unclear_submit_is_found_by_its_name() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.trouble("submit", ResetAfterBody())
        order = shot(server.vendor, "flux-dev")
        with pytest.raises(OutcomeUnknown):
            await server.vendor.submit(order, server.transport)
        for _ in range(standin.polls_needed):
            assert isinstance(await server.vendor.poll(order.client_id, server.transport), Pending)
        assert isinstance(await server.vendor.poll(order.client_id, server.transport), Done)
        assert standin.runs == [order.client_id]


async def test_a_name_that_was_never_heard_is_told_apart() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        await submitted(server)
        with pytest.raises(LookupError):
            await server.vendor.poll(str(uuid4()), server.transport)


async def test_an_older_server_names_the_job_and_still_finds_it_by_ours() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.names_tasks = False
        order = shot(server.vendor, "flux-dev")
        outcome = await server.vendor.submit(order, server.transport)
        assert isinstance(outcome, Pending)
        assert outcome.ticket not in (None, order.client_id)
        assert isinstance(await server.vendor.poll(order.client_id, server.transport), Pending)


async def test_the_same_name_twice_is_drawn_twice() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        order = shot(server.vendor, "flux-dev")
        await server.vendor.submit(order, server.transport)
        await server.vendor.submit(order, server.transport)
        assert standin.runs == [order.client_id] * 2  # which is why nobody sends an unclear submit again


async def test_a_missing_checkpoint_names_the_node_and_the_value() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE, models={"flux-dev": "other.safetensors"}) as server:
        assert set(server.vendor.offers) == {"flux-dev"}
        with pytest.raises(RequestRejected) as rejected:
            await server.draw("flux-dev")
        assert "other.safetensors" in await server.check()
    assert all(word in str(rejected.value) for word in ("CheckpointLoaderSimple", "node 1", "other.safetensors"))


@pytest.mark.parametrize(
    ("message", "word"),
    [
        (
            [
                "execution_error",
                {"exception_type": "torch.OutOfMemoryError", "exception_message": "Allocation on device "},
            ],
            "out of memory",
        ),
        (
            ["execution_error", {"exception_message": "mat1 and mat2", "node_id": "5", "node_type": "KSampler"}],
            "KSampler",
        ),
        (["execution_interrupted", {}], "stopped"),
    ],
)
async def test_a_failed_job_says_why(message: list[Any], word: str) -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.failure = message
        with pytest.raises(ProviderBroken, match=word):
            await server.draw("flux-dev")


@pytest.mark.parametrize(
    "outputs",
    [
        {"7": {"text": ["no picture"]}},
        {"7": {"images": [{"filename": "ComfyUI_temp_gone.png", "subfolder": "", "type": "temp"}]}},
    ],
)
async def test_a_picture_that_is_nowhere_is_the_servers_fault(outputs: dict[str, Any]) -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.outputs = outputs
        with pytest.raises(ProviderBroken):
            await server.draw("flux-dev")


async def test_a_page_instead_of_an_answer_is_asked_again_later() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        ticket = await submitted(server)
        standin.trouble("poll", Html())
        with pytest.raises(ProviderDown):
            await server.vendor.poll(ticket, server.transport)


async def test_only_our_own_job_is_stopped() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        others = await submitted(server)
        ours = await submitted(server)
        await server.vendor.cancel(ours, server.transport)
        assert standin.cancelled == [ours]
        await server.vendor.cancel(ours, server.transport)  # neither runs nor waits
        assert standin.cancelled == [ours]
        await server.vendor.cancel(others, server.transport)
        assert standin.cancelled == [ours, others]
    assert [seen.path for seen in standin.of_kind("free")] == ["/queue", "/interrupt"]


async def test_the_check_names_version_and_card_and_the_key_opens_all_doors() -> None:
    async with ComfyUiStandIn() as standin:
        async with alone(standin, CASE) as server:
            line = await server.check()
            await server.draw("flux-dev")
        async with alone(standin, CASE, key="wrong") as stranger:
            with pytest.raises(ProviderClosed) as closed:
                await stranger.check()
    assert "0.3.68" in line
    assert "RTX 4090" in line
    assert "checkpoint" not in line
    assert closed.value.facts["reason"] == "key"
    assert all(f"Bearer {standin.key}" == seen.headers["Authorization"] for seen in standin.of_kind("socket"))


async def test_another_server_at_the_address_is_noticed() -> None:
    async with ComfyUiStandIn() as standin, alone(standin, CASE) as server:
        standin.trouble("free", Status(200, {"status": "ok"}))
        with pytest.raises(ProviderClosed) as closed:
            await server.check()
    assert closed.value.facts["reason"] == "address"


async def test_a_member_sees_it_grow() -> None:
    async with desk_for(CASE) as desk:
        watcher = Watcher()
        drawing = await desk.draw(desk.task("flux-dev", steps=12), watcher)
    assert watcher.steps == sorted(set(watcher.steps))
    assert {4, 8, 12} <= {done for done, total in watcher.steps if total == 12}
    assert watcher.previews
    assert all(looks_like(preview, 7) for preview in watcher.previews)
    assert looks_like(drawing.pictures[0].image, 7)


async def test_an_order_that_never_arrived_is_free_for_others() -> None:
    async with desk_for(CASE) as desk:
        desk.standin.trouble("submit", ResetAtOnce())
        watcher = Watcher()
        error = await desk.outcome(desk.task("flux-dev"), watcher)
    assert isinstance(error, ProviderDown)
    assert watcher.receipt is None


async def test_a_socket_goes_to_the_server_itself_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"Authorization": f"Bearer {ComfyUiStandIn.key}"}
    async with ComfyUiStandIn() as standin, ComfyUiStandIn() as elsewhere:
        standin.socket_moved_to = elsewhere.root_url
        news = await comfyui_socket.listen(standin.base_url, "x", headers=headers, seconds=0.3)
    assert news.progress is None
    assert [seen.kind for seen in standin.requests] == ["socket"]
    assert elsewhere.requests == []
    assert ComfyUiStandIn.key not in caplog.text
