"""The output check loads a real model and adds up the labels that are not for everybody."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import pipeline

from flux_core.errors import ConfigurationError, GenerationFailed
from flux_core.gpu.classifier import Classifier
from tests.gpu.classifiers import build_classifier

PICTURES = [Image.new("RGB", (64, 48), colour) for colour in ("red", "green", "white")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_classifier(tmp_path_factory.mktemp("classifier"), ["neutral", "NSFW", "Porn", "drawing"])


async def test_the_probabilities_of_the_named_labels_are_added_up(folder: Path) -> None:
    expected = [
        sum(one["score"] for one in scores if one["label"] in ("NSFW", "drawing"))
        for scores in pipeline("image-classification", model=str(folder), device="cpu")(PICTURES, top_k=None)
    ]
    check = Classifier(str(folder), ["nsfw", "Drawing"])
    assert await check.unsafe(PICTURES) == pytest.approx(expected, abs=1e-5)
    assert all(0 < sure < 1 for sure in expected)
    assert await check.unsafe([]) == []
    await check.close()


async def test_without_names_the_usual_labels_count(folder: Path) -> None:
    named, usual = Classifier(str(folder), ["nsfw", "porn"]), Classifier(str(folder), [])
    assert await usual.unsafe(PICTURES) == await named.unsafe(PICTURES)


async def test_a_model_that_knows_red_from_the_rest(tmp_path: Path) -> None:
    check = Classifier(str(build_classifier(tmp_path, ["normal", "nsfw"], reds="nsfw")), [])
    red, green, white = await check.unsafe(PICTURES)
    assert red > 0.99
    assert max(green, white) < 0.01


async def test_a_label_that_the_model_does_not_have_is_named_with_those_it_has(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"has no gore; its labels are neutral, NSFW, Porn, drawing"):
        await Classifier(str(folder), ["nsfw", "gore"]).unsafe(PICTURES)


async def test_a_model_with_none_of_the_usual_labels_wants_names(tmp_path: Path) -> None:
    build_classifier(tmp_path, ["cat", "dog"])
    with pytest.raises(ConfigurationError, match=r"has to say which .* for everybody; it has cat, dog"):
        await Classifier(str(tmp_path), []).unsafe(PICTURES)


async def test_what_is_no_classifier_is_told_once_and_not_tried_with_every_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "config.json").write_text("{}")
    check = Classifier(str(tmp_path), [])
    with caplog.at_level(logging.ERROR, "flux_core.gpu.classifier"):
        for _ in range(3):
            with pytest.raises(ConfigurationError, match="no image classifier that can be loaded"):
                await check.unsafe(PICTURES)
    told = [record for record in caplog.records if record.name == "flux_core.gpu.classifier"]
    assert [record.getMessage().startswith("Pictures are not checked: OUTPUT_CHECK_MODEL is") for record in told] == [
        True
    ]


async def test_it_can_be_loaded_beforehand(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "flux_core.gpu.classifier"):
        await Classifier(str(folder), []).prepare()
        await Classifier(str(tmp_path), []).prepare()
    told = [record.getMessage() for record in caplog.records if record.name == "flux_core.gpu.classifier"]
    assert told[0] == f"Pictures are checked with {folder}"
    assert told[1].startswith("Pictures are not checked: OUTPUT_CHECK_MODEL is")


async def test_a_model_that_breaks_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = Classifier(str(folder), [])
    await check.unsafe(PICTURES)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no memory\nat all")

    monkeypatch.setattr(check, "_pipeline", broken)
    with pytest.raises(GenerationFailed, match=r"broke: RuntimeError: no memory$"):
        await check.unsafe(PICTURES)


async def test_it_computes_modestly_and_lets_others_compute_as_before(folder: Path) -> None:
    def threads() -> int:
        with ThreadPoolExecutor(1) as fresh:
            return fresh.submit(torch.get_num_threads).result()

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        check = Classifier(str(folder), [])
        await check.unsafe(PICTURES)
        assert check._thread.submit(torch.get_num_threads).result() == 1
        assert threads() == 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


async def test_the_event_loop_goes_on_meanwhile(folder: Path) -> None:
    check = Classifier(str(folder), [])
    looking = asyncio.create_task(check.unsafe([Image.new("RGB", (512, 512))] * 8))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 50
    assert len(await looking) == 8
    assert torch.is_inference_mode_enabled() is False
