"""The real sizes of FLUX.1, without its weights."""

from __future__ import annotations

import pytest
import torch

from flux_core.gpu import shapes
from flux_core.gpu.shapes import Part, build, parameters

GIB = 2**30


@pytest.mark.parametrize(
    ("part", "gibibytes"), [(Part.TRANSFORMER, 22.2), (Part.T5, 8.87), (Part.CLIP, 0.23), (Part.VAE, 0.16)]
)
def test_the_parts_have_the_sizes_of_the_published_weights(part: Part, gibibytes: float) -> None:
    assert parameters("flux-dev")[part] * 2 / GIB == pytest.approx(gibibytes, rel=0.03)


def test_only_dev_is_told_its_guidance() -> None:
    difference = parameters("flux-dev")[Part.TRANSFORMER] - parameters("flux-schnell")[Part.TRANSFORMER]
    assert difference == 256 * 3072 + 3072 + 3072 * 3072 + 3072
    assert parameters("flux-dev")[Part.T5] == parameters("flux-schnell")[Part.T5]


def test_a_part_is_built_where_it_is_wanted_and_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, same = (build(Part.VAE, "flux-schnell", "cpu", seed=3) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_default_dtype() == torch.float32
    assert {weight.dtype for weight in one.parameters()} == {torch.bfloat16}
    assert all(torch.equal(*pair) for pair in zip(one.parameters(), same.parameters(), strict=True))


def test_a_whole_pipeline_can_be_planned_without_memory() -> None:
    pipeline = shapes.build_pipeline("flux-dev", "meta")
    assert {weight.device.type for weight in pipeline.transformer.parameters()} == {"meta"}
    words = pipeline.tokenizer_2("a red circle", padding="max_length", max_length=512).input_ids
    assert len(words) == 512
    assert max(words) < pipeline.text_encoder_2.config.vocab_size
