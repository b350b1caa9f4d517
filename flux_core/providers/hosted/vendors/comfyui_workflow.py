"""Graphs of nodes for ComfyUI: the built-in one for FLUX, and operators' own with placeholders in it.

A workflow in "API format" is a JSON object: node id → ``{"class_type": …, "inputs": {…}}``; an input is a value, or a
link ``[node id, output number]`` (ComfyUI's server source and its documentation).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flux_core.errors import ConfigurationError

PLACEHOLDERS: Mapping[str, str] = {
    "prompt": "the words",
    "seed": "a whole number",
    "width": "pixels",
    "height": "pixels",
    "steps": "steps that are really taken, also from a picture",
    "guidance": "a number; 1 for models without one",
    "strength": "0 to 1, as KSampler's denoise; 1 when drawn from words",
    "image": "LoadImage's name of the picture to start from",
    "checkpoint": "CheckpointLoaderSimple's name of the model",
}
_WORD = re.compile(r"\{([a-z_]+)\}")
_NEEDED = {False: ("prompt", "seed", "width", "height"), True: ("prompt", "seed", "image")}


@dataclass(frozen=True, slots=True)
class Workflow:
    """A graph whose inputs hold placeholders such as ``"{seed}"``."""

    graph: Mapping[str, Any]

    @property
    def placeholders(self) -> frozenset[str]:
        """Return the names of those of ``PLACEHOLDERS`` that occur in it."""
        texts = (text for node in self.graph.values() for text in _texts(node["inputs"]))
        return frozenset(name for text in texts for name in _WORD.findall(text) if name in PLACEHOLDERS)

    def filled(self, values: Mapping[str, str | int | float]) -> dict[str, Any]:
        """Return the graph with ``values`` (placeholder → value) in it.

        A text that is one placeholder and nothing else becomes the value itself, so numbers stay numbers. Filled in
        once only: a prompt that says "{seed}" keeps it.
        """
        return {id: {**node, "inputs": _replaced(node["inputs"], values)} for id, node in self.graph.items()}


def built_in(*, guided: bool, picture: bool) -> Workflow:
    """Return the graph that draws with a FLUX checkpoint that has its encoders and VAE inside.

    ``guided``: whether the model takes a guidance; ``picture``: whether it starts from one. The picture ends in
    ComfyUI's temporary folder, which is emptied whenever it starts: our own store keeps what was drawn.
    """
    graph: dict[str, Any] = {
        "1": _node("CheckpointLoaderSimple", ckpt_name="{checkpoint}"),
        "2": _node("CLIPTextEncode", text="{prompt}", clip=["1", 1]),
        # Without classifier-free guidance (cfg 1) the negative words have no effect, but KSampler wants some.
        "3": _node("CLIPTextEncode", text="", clip=["1", 1]),
        "5": _node(
            "KSampler",
            model=["1", 0],
            positive=["8", 0] if guided else ["2", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed="{seed}",
            steps="{steps}",
            cfg=1.0,
            sampler_name="euler",
            scheduler="simple",
            denoise="{strength}",
        ),
        "6": _node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": _node("PreviewImage", images=["6", 0]),
    }
    if guided:
        graph["8"] = _node("FluxGuidance", conditioning=["2", 0], guidance="{guidance}")
    if picture:
        graph["9"] = _node("LoadImage", image="{image}")
        graph["4"] = _node("VAEEncode", pixels=["9", 0], vae=["1", 2])
    else:
        graph["4"] = _node("EmptySD3LatentImage", width="{width}", height="{height}", batch_size=1)
    return Workflow(graph)


def read(path: str, *, setting: str, picture: bool) -> Workflow:
    """Read an operator's workflow from a JSON file that ``setting`` (a variable) names.

    ``picture``: whether it starts from one. Raises ConfigurationError that says what is wrong with the file.
    """

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"{setting} is {path!r}, {what}")

    try:
        graph = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise wrong(f"which cannot be read: {error.strerror}.") from None
    except ValueError:
        raise wrong("which holds no JSON.") from None
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        raise wrong("a workflow as the page saves it. Export it with Workflow → Export (API) instead.")
    if not isinstance(graph, dict) or not graph or not all(_is_node(node) for node in graph.values()):
        raise wrong("which is no workflow in API format: node id → class_type and inputs.")
    workflow = Workflow(graph)
    for text in (text for node in graph.values() for text in _texts(node["inputs"])):
        whole = _WORD.fullmatch(text)
        if whole is not None and whole[1] not in PLACEHOLDERS:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise wrong(f"with the unknown placeholder {text}; known are {known}.")
    if missing := [name for name in _NEEDED[picture] if name not in workflow.placeholders]:
        raise wrong(f"which nowhere says {{{missing[0]}}} ({PLACEHOLDERS[missing[0]]}); put it where that belongs.")
    if not picture and "image" in workflow.placeholders:
        raise wrong(f"which starts from a picture ({{image}}); name it in {setting}_IMAGE instead.")
    return workflow


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def _is_node(node: object) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _replaced(value: Any, values: Mapping[str, str | int | float]) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(inner, values) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, values) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _WORD.fullmatch(value)
    if whole is not None and whole[1] in values:
        return values[whole[1]]
    return _WORD.sub(lambda found: str(values.get(found[1], found[0])), value)
