"""Workflows that operators write for ComfyUI: filled in as they are meant, and what is wrong said at the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flux_core.errors import ConfigurationError
from flux_core.offers import ImageInput
from flux_core.providers.hosted.vendor import Access
from flux_core.providers.hosted.vendors.comfyui import ComfyUi
from flux_core.providers.hosted.vendors.comfyui_workflow import read
from tests.providers.hosted.alone import alone
from tests.providers.hosted.vendors.comfyui_standin import CASES, ComfyUiStandIn

(CASE,) = CASES
OWN: dict[str, Any] = {
    "10": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{checkpoint}"}},
    "11": {"class_type": "CLIPTextEncode", "inputs": {"text": "oil painting of {prompt}", "clip": ["10", 1]}},
    "12": {"class_type": "EmptySD3LatentImage", "inputs": {"width": "{width}", "height": "{height}"}},
    "13": {"class_type": "KSampler", "inputs": {"seed": "{seed}", "steps": 8, "latent_image": ["12", 0]}},
    "14": {"class_type": "SaveImage", "inputs": {"images": ["13", 0]}, "_meta": {"title": "{anything}"}},
}


def write(folder: Path, workflow: object) -> str:
    path = folder / "workflow.json"
    path.write_text(workflow if isinstance(workflow, str) else json.dumps(workflow))
    return str(path)


async def test_an_operators_workflow_is_filled_in(tmp_path: Path) -> None:
    extra = {"workflow": write(tmp_path, OWN)}
    async with ComfyUiStandIn() as standin, alone(standin, CASE, extra=extra) as server:
        await server.draw("flux-dev", seed=11, size=(768, 512))
        assert server.vendor.offers["flux-dev"].image_input is None
    graph = standin.submits[0]["prompt"]
    drawn = {node["class_type"]: node["inputs"] for node in graph.values()}
    assert drawn["CLIPTextEncode"]["text"] == "oil painting of a lighthouse at dusk"
    assert drawn["EmptySD3LatentImage"] == {"width": 768, "height": 512}
    assert drawn["KSampler"] == {"seed": 11, "steps": 8, "latent_image": ["12", 0]}
    assert graph["14"]["_meta"] == {"title": "{anything}"}


def test_a_prompt_cannot_fill_in_anything(tmp_path: Path) -> None:
    workflow = read(write(tmp_path, OWN), setting="COMFYUI_WORKFLOW", picture=False)
    graph = workflow.filled({"prompt": "{seed} {checkpoint}", "seed": 5, "checkpoint": "x"})
    assert graph["11"]["inputs"]["text"] == "oil painting of {seed} {checkpoint}"


def without(node: str, name: str) -> dict[str, Any]:
    graph: dict[str, Any] = json.loads(json.dumps(OWN))
    graph[node]["inputs"][name] = 1
    return graph


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ("{", "JSON"),
        ([], "API format"),
        ({"nodes": [], "links": []}, "Export"),
        ({"1": {"class_type": "KSampler"}}, "API format"),
        (without("13", "seed"), "{seed}"),
        (without("11", "text"), "{prompt}"),
        (without("12", "height"), "{height}"),
        ({**OWN, "15": {"class_type": "LoadImage", "inputs": {"image": "{image}"}}}, "COMFYUI_WORKFLOW_IMAGE"),
        ({**OWN, "15": {"class_type": "KSampler", "inputs": {"cfg": "{guidence}"}}}, "{guidence}"),
    ],
)
def test_a_wrong_workflow_is_noticed_at_the_start(tmp_path: Path, workflow: object, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ComfyUi(Access(base_url="http://c", key=None, extra={"workflow": write(tmp_path, workflow)}))
    assert words in str(error.value)
    assert "COMFYUI_WORKFLOW" in str(error.value)


def test_a_workflow_that_is_not_there_is_noticed_at_the_start(tmp_path: Path) -> None:
    extra = {"workflow_image": str(tmp_path / "none.json")}
    with pytest.raises(ConfigurationError, match="COMFYUI_WORKFLOW_IMAGE"):
        ComfyUi(Access(base_url="http://c", key=None, extra=extra))


async def test_a_workflow_of_ones_own_may_start_from_a_picture_alone(tmp_path: Path) -> None:
    graph: dict[str, Any] = json.loads(json.dumps(OWN))
    graph["12"] = {"class_type": "LoadImage", "inputs": {"image": "{image}"}}
    graph["13"]["inputs"]["denoise"] = "{strength}"
    extra = {"workflow_image": write(tmp_path, graph)}
    async with ComfyUiStandIn() as standin, alone(standin, CASE, extra=extra) as server:
        assert server.vendor.offers["flux-dev"].image_input is ImageInput.UPLOAD
        await server.draw("flux-dev", strength=0.25)
        await server.draw("flux-dev")
    from_picture, from_words = (body["prompt"] for body in standin.submits)
    assert from_picture["13"]["inputs"]["denoise"] == 0.25
    assert "FluxGuidance" in {node["class_type"] for node in from_words.values()}
